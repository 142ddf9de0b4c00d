# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade keeps survives a kill -9 at whatever it was doing."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
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


def no_link(_source: Path, _target: Path) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("disks", [1, 2])
@pytest.mark.parametrize("step", ["begin", "undo", "end"])
def test_a_killed_step_is_finished_by_the_next_run(
    step: str, disks: int, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if disks == 2:
        monkeypatch.setattr("os.link", no_link)
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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on another disk than the root's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        if Path(made).stat().st_dev == tmp_path.stat().st_dev:
            pytest.skip("there is one disk only")
        yield Path(made)


def test_files_on_another_disk_are_kept_and_come_back(root: Path, disk: Path) -> None:
    compose = disk / "compose.yaml"
    compose.write_text("old image")
    compose.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(compose, 10001, 10002)
    before = compose.stat()
    place = Kept(str(root), [str(compose)])
    journal = place.keep(place.begin(Journal("begun", BEFORE, AFTER)))
    compose.write_text("new image")
    assert not place.files_in_place()
    compose.chmod(0o600)
    place.undo(journal)
    assert compose.read_text() == "old image"
    after = compose.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert [path.name for path in disk.iterdir()] == ["compose.yaml"]
    assert place.files_in_place()


def test_room_is_needed_on_the_disk_that_gets_the_copies(
    root: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk / "bao").write_bytes(b"x")
    os.truncate(disk / "bao", 1 << 30)
    asked: list[Path] = []

    def usage(path: Path) -> Any:
        asked.append(Path(path))
        return type("Usage", (), {"free": 1 << 30})

    monkeypatch.setattr("shutil.disk_usage", usage)
    kept(root).need_room()
    with pytest.raises(PhoenixError, match="needs 1088 MiB"):
        Kept(str(root), [str(disk / "bao")]).need_room()
    assert asked == [root, root]


def test_data_on_a_disk_of_their_own_are_refused(root: Path, disk: Path) -> None:
    kept(root).need_one_disk()
    begin(root)
    shutil.move(root / "data", disk / "data")
    (root / "data").symlink_to(disk / "data")
    with pytest.raises(PhoenixError, match="is a mount point"):
        kept(root).need_one_disk()
    with pytest.raises(PhoenixError, match="is a mount point") as caught:
        undo(root)
    # What it says to do.
    assert caught.value.hint.startswith(f"Move what is in {root / 'data'} aside")
    shutil.rmtree(disk / "data")
    shutil.move(root / "upgrade" / "data", disk / "data")
    undo(root)
    journal = kept(root).read()
    assert journal is not None
    assert journal.state == "undone"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
def test_a_mount_of_the_same_disk_is_refused_as_well(root: Path) -> None:
    """It has the same device, and cannot be renamed."""
    child = os.fork()
    if child == 0:
        ended = 9
        try:
            new_namespace = 0x20000
            if ctypes.CDLL(None).unshare(new_namespace) != 0:
                os._exit(77)
            for words in (["--make-rprivate", "/"], ["--bind", root / "data", root / "data"]):
                subprocess.run(["mount", *words], check=True)
            try:
                kept(root).need_one_disk()
                ended = 1
            except PhoenixError:
                ended = 0
        finally:
            os._exit(ended)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended == 77:
        pytest.skip("may not mount")
    assert ended == 0


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
