# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files that are either the old or the new one, whatever happens in between."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

__all__ = ["fsync_directory", "read_bytes_or_none", "symlink_atomic", "write_atomic"]


def read_bytes_or_none(path: str | Path) -> bytes | None:
    """The content of a file, ``None`` where there is none."""
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        return None


def fsync_directory(path: str | Path) -> None:
    """Make the names in a directory durable: a rename survives a power cut only after this."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(
    path: str | Path,
    data: bytes,
    *,
    mode: int,
    uid: int | None = None,
    gid: int | None = None,
) -> None:
    """Replace a file's content by one rename.

    Owner and mode are right before the first byte is written, so nobody who may not read the
    result can read the temporary file either.

    :raises OSError: as the system gives it; the old file is untouched and no temporary is left.
    """
    target = Path(path)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        if uid is not None or gid is not None:
            os.fchown(handle, -1 if uid is None else uid, -1 if gid is None else gid)
        os.fchmod(handle, stat.S_IMODE(mode))
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    fsync_directory(target.parent)


def symlink_atomic(target: str, link: str | Path) -> None:
    """Point a symbolic link to a target by one rename."""
    place = Path(link)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
        fresh = Path(folder) / place.name
        fresh.symlink_to(target)
        fresh.replace(place)
    fsync_directory(place.parent)
