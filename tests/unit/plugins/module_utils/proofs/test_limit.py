# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search that takes too long is ended, with all that it started, and says what it missed."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import limit, scan, shapes
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until


def ended(pid: int) -> bool:
    """A zombie is one that has ended and that nobody has waited for yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.parametrize(
    ("program", "search", "missed"),
    [
        ("find", lambda path: shapes.in_files([path], since=0), "what is below {}"),
        ("grep", lambda path: shapes.in_files([path], since=0), "1 files"),
        ("find", lambda path: scan.files([path], [NEEDLE], since=0), "what is below {}"),
        ("grep", lambda path: scan.files([path], [NEEDLE], since=0), "1 files"),
    ],
)
def test_what_a_search_has_started_ends_with_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    search: Callable[[str], Any],
    missed: str,
) -> None:
    """The program that hangs is started by xargs where it is grep."""
    tree, programs, note = tmp_path / "tree", tmp_path / "bin", tmp_path / "pid"
    for folder in (tree, programs):
        folder.mkdir()
    (tree / "file").write_text("x")
    path = f"{programs}:/usr/bin:/bin"
    (programs / program).write_text(f"#!/bin/sh\necho $$ > {note}\nexec sleep 60\n")
    (programs / program).chmod(0o755)
    monkeypatch.setenv("PATH", path)
    monkeypatch.setitem(shapes._ENVIRONMENT, "PATH", path)
    monkeypatch.setitem(scan._GREP, "PATH", path)
    begun = time.monotonic()
    with pytest.raises(PhoenixError) as failed, limit.within(0.5):
        search(str(tree))
    assert time.monotonic() - begun < 5
    assert str(failed.value) == (
        f"{missed.format(tree)} could not be searched to the end within 0.5 s "
        "(attest_search_timeout)"
    )
    pid = int(note.read_text())
    assert pid != os.getpid()
    assert wait_until(lambda: ended(pid), timeout=5, what="it to end")


NEEDLE = scan.Needle("it", "hunter2hunter2")


def test_a_search_in_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hunter2hunter2")
    with limit.within(30):
        assert len(scan.files([str(tmp_path)], [NEEDLE], since=0)[0]) == 1


def test_unpacking_ends_with_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the threads that unpack, where nobody else looks at the clock."""
    (tmp_path / "backup.gz").write_bytes(gzip.compress(b"one"))
    unpacked: list[str] = []

    def streamed(path: str, _unpacker: object) -> Iterator[bytes]:
        while True:
            unpacked.append(path)
            yield b"more"

    monkeypatch.setattr(scan, "_streamed", streamed)
    over = "what is packed could not be searched to the end"
    with pytest.raises(PhoenixError, match=over), limit.within(0.5):
        scan.files([str(tmp_path)], [NEEDLE], since=0)
    assert unpacked
