# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an upgrade of the server leaves on the host until it is proven, and the way back.

``<root>/upgrade`` has a journal, a copy of the data as the old server left them, and the files that
the old server was started with. A newer server may rewrite its storage so that the older one does
not become active on it, so the way back takes the data along with the image. What the newer one
has left stays beside them, as ``<root>/data.undone``: it may have served for days by then.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import filecmp
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    fsync_directory,
    read_bytes_or_none,
    write_atomic,
)

__all__ = ["Journal", "Kept"]

# Room beside the copy: the server goes on writing.
_SPARE = 64 * 1024 * 1024


@dataclass(frozen=True)
class Journal:
    """How far an upgrade has come.

    :arg state: ``begun`` - the old server is, or will be, stopped; ``kept`` - the copy is whole and
        the new server may run; ``undoing``; ``undone`` - the old data and files are in place;
        ``proven`` - all that is left is to clear up.
    :arg before: ``image`` and ``version`` that it comes from, ``after``: that it goes to.
    :arg held: What the server held before, see :mod:`holdings`.
    """

    state: str
    before: dict[str, str]
    after: dict[str, str]
    snapshot: str = ""
    held: dict[str, dict[str, str]] = field(default_factory=dict)


class Kept:
    """The directory of an upgrade.

    :arg root: Directory of the server, with ``data`` in it.
    :arg files: Absolute paths of the files that the server is started with.
    """

    def __init__(self, root: str, files: Sequence[str] = ()) -> None:
        self.data = Path(root) / "data"
        self.undone = Path(root) / "data.undone"
        self.folder = Path(root) / "upgrade"
        self._files = [Path(name) for name in files]
        self._journal = self.folder / "journal.json"
        self._copy = self.folder / "data"

    def read(self) -> Journal | None:
        """The journal, ``None`` where no upgrade is under way."""
        content = read_bytes_or_none(self._journal)
        if content is None:
            return None
        try:
            return Journal(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise PhoenixError(f"{self._journal} is damaged: {error}") from error

    def write(self, journal: Journal) -> Journal:
        write_atomic(self._journal, json.dumps(asdict(journal)).encode(), mode=0o600)
        return journal

    def idle(self) -> float:
        """Seconds since the upgrade that is under way took its last step."""
        return max(time.time() - self._journal.stat().st_mtime, 0.0)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """One run at a time. The lock goes with the process that holds it, so none is stale.

        :raises PhoenixError: while another run takes a step.
        """
        handle = os.open(self.data.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PhoenixError(
                    "another run takes a step of an upgrade of this server right now",
                    hint="One control node at a time: run again when it has ended.",
                ) from error
            yield
        finally:
            os.close(handle)

    def holds_data(self) -> bool:
        return self.data.is_dir() and any(self.data.iterdir())

    def need_one_disk(self) -> None:
        """:raises PhoenixError: where the way back could not put the old data in their place."""
        if self._on_own_disk():
            raise PhoenixError(
                f"{self.data} is a mount point, and the way back from an upgrade puts another "
                "directory in its place",
                hint=f"Mount that disk at {self.data.parent}, with the data in its 'data'.",
            )

    def need_room(self) -> None:
        """:raises PhoenixError: where the disk has no room for the copy."""
        place = self.data.parent
        copied = [path for path in self._files if path.exists() and _apart(path.parent, place)]
        needed = _SPARE + sum(path.stat().st_size for path in (*_below(self.data), *copied))
        free = shutil.disk_usage(place).free
        if free < needed:
            raise PhoenixError(
                f"the disk under {place} has {free >> 20} MiB free, and a copy of the data "
                f"needs {needed >> 20} MiB"
            )

    def begin(self, journal: Journal) -> Journal:
        """Keep the files, and write the journal."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for path, place in self._places():
            place.unlink(missing_ok=True)
            if path.exists():
                # A file of ours is replaced by a rename, never rewritten: a link keeps the old one.
                _link(path, place)
        return self.write(journal)

    def keep(self, journal: Journal) -> Journal:
        """Copy the data, once the server has stopped."""
        part = self.folder / "data.part"
        for leftover in (part, self._copy):
            shutil.rmtree(leftover, ignore_errors=True)
        _copy_tree(self.data, part)
        part.rename(self._copy)
        fsync_directory(self.folder)
        return self.write(replace(journal, state="kept"))

    def undo(self, journal: Journal) -> Journal:
        """Put back the data and the files of the old server, once the new one has stopped."""
        if journal.state == "kept":
            journal = self.write(replace(journal, state="undoing"))
        if journal.state == "undoing":
            if self._copy.is_dir():
                # Where it is not there, a run was killed that had put it aside.
                if self.data.exists():
                    if self._on_own_disk():
                        raise PhoenixError(
                            f"{self.data} is a mount point, and the old data cannot take its place",
                            hint=f"Move what is in {self.data} aside and what is in {self._copy} "
                            f"there, remove {self._copy}, and run again.",
                        )
                    shutil.rmtree(self.undone, ignore_errors=True)
                    self.data.rename(self.undone)
                self._copy.rename(self.data)
                fsync_directory(self.data.parent)
                fsync_directory(self.folder)
            if not self.data.is_dir():
                raise PhoenixError(f"neither {self.data} nor the copy of it is there")
        for path, place in self._places():
            if place.exists():
                fresh = path.with_name(f".{path.name}.back")
                fresh.unlink(missing_ok=True)
                _link(place, fresh)
                fresh.replace(path)
                fsync_directory(path.parent)
        return self.write(replace(journal, state="undone"))

    def files_in_place(self) -> bool:
        """Whether each file that was kept is what the old server was started with."""
        return all(
            path.exists() and filecmp.cmp(path, place, shallow=False)
            for path, place in self._places()
            if place.exists()
        )

    def end(self, journal: Journal) -> None:
        """Clear up: nothing of the upgrade is needed any more."""
        self.write(replace(journal, state="proven"))
        for path in self.folder.iterdir():
            if path == self._journal:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        self._journal.unlink()
        self.folder.rmdir()

    def _on_own_disk(self) -> bool:
        return self.data.exists() and _apart(self.data, self.data.parent)

    def _places(self) -> Iterator[tuple[Path, Path]]:
        for number, path in enumerate(self._files):
            yield path, self.folder / f"{number}-{path.name}"


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, modes and times, and flush it to the disk."""

    shutil.copytree(source, target, copy_function=_copy_file)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        _own(source / folder.relative_to(target), folder)
        fsync_directory(folder)


def _copy_file(source: str | Path, target: str | Path) -> str | Path:
    shutil.copy2(source, target)
    _own(Path(source), Path(target))
    handle = os.open(target, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return target


def _link(source: Path, target: Path) -> None:
    """Have a file under another name, which is not there yet; as a copy on another disk."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copy_file(source, target)


def _apart(one: Path, other: Path) -> bool:
    """Whether a rename from one directory to the other is none within a file system.

    By their mounts: one file system may be mounted twice, and no rename leads from here to there.
    """
    return _mount(one) != _mount(other)


def _mount(folder: Path) -> str:
    handle = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        about = Path(f"/proc/self/fdinfo/{handle}").read_text(encoding="ascii")
    finally:
        os.close(handle)
    return next(line for line in about.splitlines() if line.startswith("mnt_id:"))


def _own(source: Path, target: Path) -> None:
    about = source.stat()
    os.chown(target, about.st_uid, about.st_gid)
