# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read, plan and write a list of directories and files.

A file that belongs to a running service counts as done only when the service has taken it. What is
still to be applied is noted on disk before the first write, so a run that is killed in between is
finished by the next one, which finds the files as they should be and the note.
"""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    fsync_directory,
    read_bytes_or_none,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan

__all__ = ["Apply", "Bulk", "Directory", "File", "Run", "run_command"]

Run = Callable[[Sequence[str], float], tuple[int, str]]
"""Runs a command without a shell, for at most so many seconds; exit code and output."""


@dataclass(frozen=True)
class Directory:
    """A directory that has to exist. Its content is left alone."""

    path: str
    mode: int
    owner: str
    group: str


@dataclass(frozen=True)
class File:
    """A file that has to have this content, or that must not exist (``content`` is ``None``)."""

    path: str
    content: bytes | None
    mode: int
    owner: str
    group: str
    secret: bool = False
    validate: tuple[str, ...] = ()
    apply: str = ""
    unvalidated: bool = False
    """Accept the file unseen where the validator is not installed yet."""


@dataclass(frozen=True)
class Apply:
    """A command that makes changed files take effect. It has to be safe to run again."""

    name: str
    command: tuple[str, ...]
    timeout: float = 60.0
    unit: str = ""
    """A systemd unit that is told; one that does not run reads its files when it starts."""


def run_command(command: Sequence[str], timeout: float) -> tuple[int, str]:
    """Run a command; a missing one has exit code 127, one that does not end 124."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        return 127, f"{command[0]}: not found"
    except subprocess.TimeoutExpired:
        return 124, f"did not end within {timeout:g} s"
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


class Bulk:
    """What is declared, compared with what is there.

    :arg pending: A directory for notes of what is still to be applied.
    """

    def __init__(
        self,
        directories: Iterable[Directory],
        files: Iterable[File],
        apply: Iterable[Apply],
        *,
        pending: str,
        run: Run = run_command,
    ) -> None:
        self.directories = list(directories)
        self.files = list(files)
        self.apply = {a.name: a for a in apply}
        self.pending = Path(pending)
        self.run = run
        self.plan = Plan()
        self.unpredictable: list[str] = []
        self._stale_directories: list[Directory] = []
        self._stale_files: list[File] = []
        self._due: list[Apply] = []

    def check(self) -> None:
        """What can be known of :meth:`act` without doing it: whether validators refuse a file.

        A validator that is not installed yet is named in ``unpredictable``.
        """
        self._validate(installed_only=True)

    def read(self) -> Plan:
        """Compare, and plan what differs."""
        for file in self.files:
            if file.apply and file.apply not in self.apply:
                raise PhoenixError(f"{file.path}: there is no apply named {file.apply}")
        for directory in self.directories:
            self._compare_directory(directory)
        for file in self.files:
            self._compare_file(file)
        touched = {file.apply for file in self._stale_files}
        for name, apply in self.apply.items():
            due = name in touched or self._note(apply).exists()
            if due and self._runs(apply.unit):
                self._due.append(apply)
                note = "" if name in touched else "left over from a run that did not end"
                self.plan.add("apply", name, "run", note=note)
        return self.plan

    def act(self) -> None:
        """Write what differs and make it take effect.

        :raises PhoenixError: for a file that its validator refuses (nothing is written then), and
            for a command that fails (the files stay written, and the next run tries it again).
        """
        self._validate()
        for directory in self._stale_directories:
            path = Path(directory.path)
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _own(path, directory)
        for apply in self._due:
            self.pending.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(self._note(apply), b"", mode=0o600)
        for file in self._stale_files:
            self._write(file)
        for apply in self._due:
            code, output = self.run(apply.command, apply.timeout)
            if code != 0:
                raise PhoenixError(
                    f"{apply.name}: {' '.join(apply.command)} failed with exit code {code}: "
                    f"{output[-2000:]}",
                    hint="The files are written; the next run tries the command again.",
                )
            self._note(apply).unlink()

    def changed_paths(self) -> list[str]:
        directories = [directory.path for directory in self._stale_directories]
        return directories + [file.path for file in self._stale_files]

    def _note(self, apply: Apply) -> Path:
        return self.pending / hashlib.sha256(apply.name.encode()).hexdigest()[:16]

    def _runs(self, unit: str) -> bool:
        return not unit or self.run(("systemctl", "is-active", "--quiet", unit), 30.0)[0] == 0

    def _compare_directory(self, directory: Directory) -> None:
        before = _attributes(directory, stat.S_ISDIR)
        after = _declared(directory)
        if before != after:
            self._stale_directories.append(directory)
            action = "create" if before is None else "update"
            self.plan.add("directory", directory.path, action, before, after)

    def _compare_file(self, file: File) -> None:
        before = _attributes(file, stat.S_ISREG)
        if file.content is None:
            if before is not None:
                self._stale_files.append(file)
                self.plan.add("file", file.path, "delete", before, None)
            return
        after = _declared(file)
        old = None if before is None else read_bytes_or_none(file.path)
        if before == after and old == file.content:
            return
        if old != file.content:
            if before is not None:
                before["content"] = _shown(old or b"", secret=file.secret)
            after["content"] = _shown(file.content, secret=file.secret)
            if file.secret and before is not None:
                after["content"] = "another secret"
        self._stale_files.append(file)
        self.plan.add("file", file.path, "create" if before is None else "update", before, after)

    def _validate(self, *, installed_only: bool = False) -> None:
        refused = []
        for file in self._stale_files:
            if not file.validate or file.content is None:
                continue
            # In memory where there is a choice: what is validated may be a secret.
            memory = "/run" if os.access("/run", os.W_OK) else None
            with tempfile.TemporaryDirectory(dir=memory) as folder:
                candidate = Path(folder) / Path(file.path).name
                write_atomic(candidate, file.content, mode=0o600)
                command = [part.replace("%s", str(candidate)) for part in file.validate]
                code, output = self.run(command, 60.0)
            if code == 127 and file.unvalidated:
                continue
            if code == 127 and installed_only:
                self.unpredictable.append(f"{file.path}: {command[0]} is not there to check it")
            elif code != 0:
                output = "" if file.secret else f": {output[-2000:]}"
                refused.append(f"{file.path} is refused by {command[0]} (exit code {code}){output}")
        if refused:
            raise PhoenixError("; ".join(refused), hint="Nothing was written.")

    def _write(self, file: File) -> None:
        path = Path(file.path)
        if file.content is None:
            path.unlink(missing_ok=True)
            fsync_directory(path.parent)
            return
        if not path.parent.is_dir():
            raise PhoenixError(f"{file.path}: the directory {path.parent} does not exist")
        write_atomic(
            path,
            file.content,
            mode=file.mode,
            uid=_uid(file.owner, file.path),
            gid=_gid(file.group, file.path),
        )


def _own(path: Path, thing: Directory) -> None:
    os.chown(path, _uid(thing.owner, thing.path), _gid(thing.group, thing.path))
    path.chmod(thing.mode)


def _declared(thing: Directory | File) -> dict[str, Any]:
    return {"mode": f"{thing.mode:04o}", "owner": thing.owner, "group": thing.group}


def _attributes(thing: Directory | File, kind: Callable[[int], bool]) -> dict[str, Any] | None:
    """Mode and owner of what is there, ``None`` for nothing.

    :raises PhoenixError: where there is something else (a link, a directory in a file's place);
        replacing it silently is how data get lost.
    """
    path = thing.path
    try:
        found = Path(path).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not kind(found.st_mode):
        wanted = "directory" if kind is stat.S_ISDIR else "regular file"
        raise PhoenixError(f"{path} exists and is no {wanted}", hint="Move it away.")
    return {
        "mode": f"{stat.S_IMODE(found.st_mode):04o}",
        "owner": _name(pwd.getpwuid, found.st_uid, thing.owner),
        "group": _name(grp.getgrgid, found.st_gid, thing.group),
    }


def _name(look: Callable[[int], Any], number: int, declared: str) -> str:
    """An owner in the terms of the declaration: by number where that gives a number."""
    if declared.isdigit():
        return str(number)
    try:
        return str(look(number)[0])
    except KeyError:
        return str(number)


def _uid(owner: str, path: str) -> int:
    if owner.isdigit():
        return int(owner)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise PhoenixError(f"{path}: there is no user {owner} on this host") from None


def _gid(group: str, path: str) -> int:
    if group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise PhoenixError(f"{path}: there is no group {group} on this host") from None


def _shown(content: bytes, *, secret: bool) -> Any:
    """Lines for the diff."""
    if secret:
        return "a secret"
    try:
        return content.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return f"{len(content)} bytes"
