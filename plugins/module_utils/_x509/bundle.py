# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bundles on disk: ``<name>/current -> versions/<serial>/{tls.crt,tls.key,ca.crt,tls.pem}``.

A directory of a version is complete, with owner and mode, before it gets its name, and ``current``
is moved by one rename. So a process killed at any point leaves the old bundle or the new one, and
at most left-overs that the next run removes.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    fsync_directory,
    read_bytes_or_none,
    symlink_atomic,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.issue import (
    serial_text,
)

__all__ = ["Bundle", "Tree"]

MODES = {"tls.crt": 0o444, "tls.key": 0o400, "ca.crt": 0o444, "tls.pem": 0o400}

# The current one and the one before it, which is what a failed reload goes back to.
KEPT_VERSIONS = 2

_OF_A_BUNDLE = {"current", "versions", "clients"}


@dataclass(frozen=True)
class Bundle:
    """A bundle as it lies on disk: read, parsed, key and certificate compared."""

    serial: str
    leaf: Any
    chain: list[Any]
    root: Any

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """:raises PhoenixError: says what is missing, cannot be read or does not match."""
        files: dict[str, bytes] = {}
        for name in MODES:
            data = read_bytes_or_none(directory / name)
            if data is None:
                raise PhoenixError(f"{name} is missing")
            files[name] = data
        leaf, *chain = keys.load_certificates(files["tls.crt"], "tls.crt")
        root = keys.load_certificate(files["ca.crt"], "ca.crt")
        key = keys.load_key(files["tls.key"], "tls.key")
        if not keys.same_key(key.public_key(), leaf.public_key()):
            raise PhoenixError("tls.key does not match the certificate in tls.crt")
        if files["tls.pem"] != files["tls.key"] + files["tls.crt"]:
            raise PhoenixError("tls.pem is not tls.key and tls.crt in one file")
        return cls(serial_text(leaf.serial_number), leaf, chain, root)


@dataclass(frozen=True)
class Tree:
    """The directory of all bundles.

    :arg root: ``/opt/tamshai/certs`` on a managed host.
    """

    root: Path

    @property
    def staging(self) -> Path:
        return self.root / ".staging"

    @property
    def pending_marks(self) -> Path:
        return self.root / ".pending"

    def base(self, declared: Declaration) -> Path:
        return self.root / declared.directory

    def current(self, declared: Declaration) -> Path:
        return self.base(declared) / "current"

    def current_serial(self, declared: Declaration) -> str | None:
        """The serial that ``current`` points to, whatever state that version is in."""
        try:
            return self.current(declared).readlink().name
        except OSError:
            return None

    def read(self, declared: Declaration) -> Bundle | None:
        """The current bundle, ``None`` where there never was one.

        :raises PhoenixError: when there is one and it is broken.
        """
        link = self.current(declared)
        if not os.path.lexists(link):
            return None
        if not link.is_symlink():
            raise PhoenixError("current is not a symbolic link")
        return Bundle.read(link)

    def drift(self, declared: Declaration) -> list[str]:
        """Files of the current bundle whose owner or mode is not as declared."""
        wrong = []
        for name, mode in MODES.items():
            found = (self.current(declared) / name).stat()
            if (
                stat.S_IMODE(found.st_mode) != mode
                or declared.uid not in (None, found.st_uid)
                or declared.gid not in (None, found.st_gid)
            ):
                wrong.append(name)
        return wrong

    def repair(self, declared: Declaration) -> None:
        """Set owner and mode of the current bundle's files."""
        for name, mode in MODES.items():
            handle = os.open(self.current(declared) / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fchmod(handle, 0o400)
                os.fchown(handle, _id(declared.uid), _id(declared.gid))
                os.fchmod(handle, mode)
            finally:
                os.close(handle)

    def check_in_memory(self) -> None:
        """:raises PhoenixError: when a key written here would lie on a disk."""
        place = os.path.realpath(self.root)
        kind = ""
        for line in Path("/proc/self/mounts").read_text("utf-8", "surrogateescape").splitlines():
            fields = line.split(" ")
            if fields[1] == place:
                kind = fields[2]
        if kind not in ("tmpfs", "ramfs"):
            raise PhoenixError(
                f"{self.root} is no memory file system, so no private key is made in it",
                hint="Restart the unit that mounts it: systemctl restart tamshai-certs.service.",
            )

    def staged(self) -> list[str]:
        """Names of bundles that a run which did not finish has left in the making."""
        return sorted(path.name for path in self.staging.iterdir()) if self._staging() else []

    def clear_staging(self) -> None:
        if self._staging():
            shutil.rmtree(self.staging)

    def stage_key(self, name: str, pem: bytes) -> None:
        """Put a new private key where only the user who runs can read it."""
        place = self.staging / name
        self._make_directory(self.staging, 0o700)
        self._make_directory(place, 0o700)
        write_atomic(place / "tls.key", pem, mode=0o600)

    def staged_key(self, name: str) -> bytes:
        """:raises PhoenixError: when another run has removed it meanwhile."""
        pem = read_bytes_or_none(self.staging / name / "tls.key")
        if pem is None:
            raise PhoenixError(
                f"certificate {name}: its private key is not staged any more",
                hint="Another run has cleaned it up; run again.",
            )
        return pem

    def place(self, declared: Declaration, key: bytes, chain: bytes, root: bytes) -> str | None:
        """Make a version of a bundle and point ``current`` to it.

        :arg chain: The leaf and its issuing authorities, PEM.
        :return: The serial that was current before.
        """
        leaf = keys.load_certificates(chain, "tls.crt")[0]
        serial = serial_text(leaf.serial_number)
        base = self.base(declared)
        fresh = self.staging / declared.name / serial
        for directory in (self.staging, fresh.parent):
            self._make_directory(directory, 0o700)
        place = self.root
        for part in (*declared.directory.parts, "versions"):
            place = place / part
            self._make_directory(place, 0o755)
        shutil.rmtree(fresh, ignore_errors=True)
        self._make_directory(fresh, 0o755)
        content = {"tls.crt": chain, "tls.key": key, "ca.crt": root, "tls.pem": key + chain}
        for name, data in content.items():
            write_atomic(fresh / name, data, mode=MODES[name], uid=declared.uid, gid=declared.gid)
        target = base / "versions" / serial
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        fsync_directory(target.parent)
        before = self.current_serial(declared)
        if before is not None and declared.reload != "none":
            self.mark_pending(declared.name, serial, before)
        self.point(declared, serial)
        shutil.rmtree(self.staging / declared.name, ignore_errors=True)
        return before

    def point(self, declared: Declaration, serial: str) -> None:
        """Make a version that exists the current one."""
        link = self.current(declared)
        if link.is_dir() and not link.is_symlink():
            raise PhoenixError(
                f"certificate {declared.name}: {link} is a directory, not a symbolic link",
                hint="Something else has written there; move it away.",
            )
        symlink_atomic(f"versions/{serial}", link)

    def surplus(self, declared: Declaration) -> list[str]:
        """Versions to be removed: all but the current one and one of the others.

        That is the one which a failed reload goes back to, as its mark says; the newest where
        there is no mark. Times alone do not tell: a reboot restores all versions at once.
        """
        versions = self.base(declared) / "versions"
        current = self.current_serial(declared)
        if current is None or not versions.is_dir():
            return []
        mark = self.pending_marks / declared.name
        before = self._mark(mark)["before"] if mark.exists() else ""
        others = sorted(
            (path for path in versions.iterdir() if path.name != current),
            key=lambda path: (path.name == before, path.lstat().st_mtime),
            reverse=True,
        )
        return [path.name for path in others[KEPT_VERSIONS - 1 :]]

    def undeclared(self, names: Collection[str], root: Any) -> dict[str, Bundle]:
        """Whole bundles of a root under other names than these, each where :meth:`place` puts it.

        What is no bundle, or comes from elsewhere, is not of this tree's making and is left out.
        """
        places = {path.name: path for path in self._folders(self.root)}
        for service, place in tuple(places.items()):
            for path in self._folders(place / "clients"):
                places[f"{service}.{path.name}"] = path
        found: dict[str, Bundle] = {}
        # Those of its logins before a service: it goes only if all that is below it goes.
        for name in sorted({*places} - {*names}, reverse=True):
            link = places[name] / "current"
            others = {path.name for path in places[name].iterdir()} - _OF_A_BUNDLE
            logins = places[name] / "clients"
            if logins.is_dir():
                others |= {f"{name}.{path.name}" for path in logins.iterdir()} - {*found}
            if others or not link.is_symlink() or link.readlink().parent.name != "versions":
                continue
            try:
                bundle = Bundle.read(link)
            except PhoenixError:
                continue
            if bundle.root == root:
                found[name] = bundle
        return found

    @staticmethod
    def _folders(place: Path) -> list[Path]:
        if not place.is_dir() or place.is_symlink():
            return []
        return [
            path
            for path in sorted(place.iterdir())
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".")
        ]

    def remove(self, name: str) -> None:
        """Take a bundle away by one rename, so that it is there whole or not at all."""
        service, _dot, login = name.partition(".")
        base = self.root / service / "clients" / login if login else self.root / service
        self._make_directory(self.staging, 0o700)
        shutil.rmtree(self.staging / name, ignore_errors=True)
        base.rename(self.staging / name)
        fsync_directory(base.parent)
        shutil.rmtree(self.staging / name)
        self.clear_pending([name])

    def prune(self, declared: Declaration) -> None:
        for serial in self.surplus(declared):
            shutil.rmtree(self.base(declared) / "versions" / serial)

    # A mark says that a consumer may still use the bundle from before the swap. It is set before
    # the swap and taken away when a handshake has shown the new serial, so a run that dies in
    # between leaves it for the next one.

    def mark_pending(self, name: str, serial: str, before: str) -> None:
        self._make_directory(self.pending_marks, 0o700)
        text = json.dumps({"serial": serial, "before": before}) + "\n"
        write_atomic(self.pending_marks / name, text.encode("ascii"), mode=0o600)

    def pending(self) -> dict[str, dict[str, str]]:
        """The marks by name of the certificate."""
        result: dict[str, dict[str, str]] = {}
        if not self.pending_marks.is_dir():
            return result
        for path in sorted(self.pending_marks.iterdir()):
            if path.name.startswith("."):
                continue
            result[path.name] = self._mark(path)
        return result

    @staticmethod
    def _mark(path: Path) -> dict[str, str]:
        try:
            mark = json.loads(path.read_text("utf-8"))
            return {"serial": str(mark["serial"]), "before": str(mark["before"])}
        except (ValueError, KeyError, TypeError):
            return {"serial": "", "before": ""}

    def clear_pending(self, names: Iterable[str]) -> None:
        for name in names:
            (self.pending_marks / name).unlink(missing_ok=True)

    def _staging(self) -> bool:
        return self.staging.is_dir() and not self.staging.is_symlink()

    @staticmethod
    def _make_directory(path: Path, mode: int) -> None:
        # Not by mkdir's mode alone: the umask would take bits away.
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir()
        except FileExistsError:
            if not path.is_dir() or path.is_symlink():
                raise PhoenixError(f"{path} is not a directory") from None
            if stat.S_IMODE(path.stat().st_mode) == mode:
                return
        path.chmod(mode)


def _id(value: int | None) -> int:
    return -1 if value is None else value


def reason_of(probe: Callable[[], Any]) -> str | None:
    """The message of the error that a check raises, ``None`` when it passes."""
    try:
        probe()
    except PhoenixError as error:
        return error.message
    return None
