# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build contexts hold what the recipe names, with modes that no umask decides."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._images.context import write_context


def modes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): f"{stat.S_IMODE(path.stat().st_mode):04o}"
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "app" / "__pycache__").mkdir(parents=True)
    (root / "app" / "deep").mkdir()
    (root / "app" / "main.py").write_text("1")
    (root / "app" / "deep" / "x.py").write_text("2")
    (root / "app" / "__pycache__" / "main.pyc").write_text("3")
    (root / "bin").mkdir()
    (root / "bin" / "run").write_text("4")
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return root


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_context(source: Path, tmp_path: Path, umask: int) -> None:
    context = tmp_path / "context"
    before = os.umask(umask)
    try:
        write_context(
            context, "FROM x\n", source, [{"src": "app"}, {"src": "bin/run", "mode": "0755"}]
        )
    finally:
        os.umask(before)
    assert (context / "Dockerfile").read_text() == "FROM x\n"
    assert modes(context / "files") == {
        "app": "0755",
        "app/deep": "0755",
        "app/deep/x.py": "0644",
        "app/main.py": "0644",
        "bin": "0755",
        "bin/run": "0755",
    }
    assert list((context / "fetched").iterdir()) == []


def test_what_a_killed_run_left_is_gone(source: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    write_context(context, "FROM x\n", source, [{"src": "app"}])
    (context / "fetched" / "half").write_text("")
    write_context(context, "FROM y\n", source, [{"src": "bin"}])
    assert sorted(modes(context)) == [
        "Dockerfile",
        "fetched",
        "files",
        "files/bin",
        "files/bin/run",
    ]


@pytest.mark.parametrize("src", ["gone", "../outside", "/etc/passwd"])
def test_a_source_that_is_not_there(source: Path, tmp_path: Path, src: str) -> None:
    (tmp_path / "outside").write_text("")
    with pytest.raises(PhoenixError, match="There is no"):
        write_context(tmp_path / "context", "", source, [{"src": src}])
