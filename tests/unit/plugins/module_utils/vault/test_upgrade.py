# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade keeps survives a kill -9 at whatever it was doing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.container import older
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.holdings import missing
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.upgrade import Journal, Kept

BEFORE = {"image": "old", "version": "2.6.2"}
AFTER = {"image": "new", "version": "2.7.2"}
# What changes something on the disk, as the interpreter tells its audit hooks.
WRITES = {"os.rename", "os.link", "os.remove", "os.rmdir", "os.mkdir", "os.chown", "open"}


def tree(root: Path) -> dict[str, Any]:
    found = {}
    for path in sorted((root / "data").rglob("*")):
        about = path.stat()
        content = path.read_text() if path.is_file() else None
        found[str(path.relative_to(root))] = (about.st_mode, about.st_uid, about.st_gid, content)
    for name in ("server.hcl", "compose.yaml"):
        found[name] = ((root / name).read_text(),)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An old server that has stopped."""
    made = tmp_path / "vault"
    (made / "data" / "raft").mkdir(parents=True)
    (made / "data" / "raft" / "raft.db").write_text("old log")
    (made / "data" / "vault.db").write_text("old store")
    (made / "data" / "vault.db").chmod(0o600)
    if os.geteuid() == 0:
        os.chown(made / "data" / "vault.db", 10001, 10001)
    (made / "server.hcl").write_text("old config")
    (made / "compose.yaml").write_text("old image")
    return made


def kept(root: Path) -> Kept:
    return Kept(str(root), [str(root / "server.hcl"), str(root / "compose.yaml")])


def renew(root: Path) -> None:
    """What a new release and its server do."""
    for name in ("server.hcl", "compose.yaml"):
        (root / "fresh").write_text("new")
        (root / "fresh").replace(root / name)
    (root / "data" / "vault.db").write_text("new store")
    (root / "data" / "raft" / "more.db").write_text("new")


def begin(root: Path) -> None:
    place = kept(root)
    journal = place.read() or place.begin(Journal("begun", BEFORE, AFTER, "snap", {"a": {}}))
    if journal.state == "begun":
        place.keep(journal)


def undo(root: Path) -> None:
    place = kept(root)
    journal = place.read()
    assert journal is not None
    place.undo(journal)


def end(root: Path) -> None:
    place = kept(root)
    journal = place.read()
    if journal is not None:
        place.end(journal)


def killed(work: Callable[[Path], None], root: Path, at: int) -> bool:
    """Do it in a process that is killed at its write number ``at``; false if it ended before."""
    child = os.fork()
    if child == 0:
        count = [0]

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in WRITES or (event == "open" and not _writes(arguments)):
                return
            count[0] += 1
            if count[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        try:
            work(root)
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


def _writes(arguments: tuple[Any, ...]) -> bool:
    return bool(int(arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("step", ["begin", "undo", "end"])
def test_a_killed_step_is_finished_by_the_next_run(
    step: str, root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    work = {"begin": begin, "undo": undo, "end": end}[step]
    old = tree(root)
    places = 0
    for at in range(1, 100):
        again = tmp_path / f"again{at}"
        subprocess.run(["cp", "--archive", root, again], check=True)
        if step != "begin":
            begin(again)
            renew(again)
        if step == "end":
            undo(again)
        was_killed = killed(work, again, at)
        work(again)
        if step == "begin":
            journal = kept(again).read()
            assert journal is not None
            assert journal.state == "kept"
            renew(again)
        if step != "end":
            undo(again)
        assert tree(again) == old, f"killed at write {at} of {step}"
        end(again)
        assert kept(again).read() is None
        assert tree(again) == old
        if not was_killed:
            break
        places = at
    assert places >= 5


def test_the_way_back_keeps_what_is_there_if_the_copy_is_not(root: Path) -> None:
    place = kept(root)
    journal = place.begin(Journal("begun", BEFORE, AFTER))
    assert tree(root) == tree(root)
    place.undo(journal)  # the new server never ran
    assert (root / "data" / "vault.db").read_text() == "old store"


def test_the_way_back_keeps_what_the_newer_server_has_left(root: Path) -> None:
    # It may have served for days by then, and what was written into it exists nowhere else.
    for written in ("since the first", "since the second"):
        begin(root)
        (root / "data" / "vault.db").write_text(written)
        undo(root)
        end(root)
        assert (root / "data" / "vault.db").read_text() == "old store"
        assert (root / "data.undone" / "vault.db").read_text() == written


def test_a_killed_way_back_keeps_it_too(root: Path) -> None:
    begin(root)
    renew(root)
    # Between the two renames.
    place = kept(root)
    journal = place.read()
    assert journal is not None
    place.write(replace(journal, state="undoing"))
    (root / "data").rename(root / "data.undone")
    undo(root)
    assert (root / "data" / "vault.db").read_text() == "old store"
    assert (root / "data.undone" / "vault.db").read_text() == "new store"


def test_a_way_back_without_any_data_is_refused(root: Path) -> None:
    begin(root)
    place = kept(root)
    (root / "data").rename(root / "elsewhere")
    (root / "upgrade" / "data").rename(root / "elsewhere2")
    journal = place.read()
    assert journal is not None
    with pytest.raises(PhoenixError, match="neither"):
        place.undo(journal)


def test_a_damaged_journal_is_said_to_be_one(root: Path) -> None:
    begin(root)
    (root / "upgrade" / "journal.json").write_text('{"state": "kept"}')
    with pytest.raises(PhoenixError, match="is damaged"):
        kept(root).read()


def test_no_room_is_seen_before_anything_happens(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: type("Usage", (), {"free": 1 << 20}))
    with pytest.raises(PhoenixError, match="has 1 MiB free"):
        kept(root).need_room()


def test_versions_are_compared_by_number() -> None:
    assert older("2.6.10", "2.7.0")
    assert not older("2.10.0", "2.9.9")
    assert not older("2.7.2", "2.7.2")
    with pytest.raises(PhoenixError, match="not a version"):
        older("latest", "2.7.2")


def test_what_came_anew_is_no_fault() -> None:
    before = {"policy a": {"text": "1"}, "policy b": {"text": "2"}}
    after = {"policy a": {"text": "1", "more": "3"}, "policy c": {"text": "4"}}
    assert missing(before, after) == ["policy b is gone"]
    after["policy b"] = {"text": "5"}
    assert missing(before, after) == ["policy b has another text"]
