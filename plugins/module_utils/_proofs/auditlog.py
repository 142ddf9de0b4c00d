# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Vault's audit log as it lies on the host: what the server itself says about who did what."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["device_file", "entries", "log_file", "wait_for_path"]

# A host that has run for long has a long log; the newest part of it answers.
_NEWEST = 64 * 1024 * 1024
_TAIL = 4 * 1024 * 1024
# A log that has just been put aside must not take what it says with it.
_ASIDE = 2
_AUDIT_MOUNT = "/bao/audit"


def log_file(site: Site) -> Path:
    """The file of the file device, seen from the host.

    :raises PhoenixError: where the server's container has no such mount.
    """
    source = site.container(site.the("vault")["name"]).source_of(_AUDIT_MOUNT)
    if not source:
        raise PhoenixError(f"the Vault container has nothing mounted at {_AUDIT_MOUNT}")
    return Path(source) / "audit.json"


def device_file(site: Site) -> Path:
    """The file in which the engine keeps what the server writes to its standard output."""
    path = site.container(site.the("vault")["name"]).inspected.get("LogPath")
    if not path:
        raise PhoenixError("the engine keeps no log file of the Vault container")
    return Path(path)


def entries(site: Site, containing: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Entries of the file device in whose text one of some byte strings occurs, oldest first.

    The newest logs that were put aside are read too.
    """
    for line in _lines(log_file(site)):
        if any(part in line for part in containing):
            try:
                entry = json.loads(line)
            except ValueError:  # the first line may be cut, the last one half written
                continue
            if isinstance(entry, dict):
                yield entry


def _lines(path: Path) -> Iterator[bytes]:
    with contextlib.ExitStack() as stack:
        # Opened before the others are looked for: were it put aside meanwhile, it is read twice,
        # which is no harm, and not missed.
        current = stack.enter_context(path.open("rb"))
        aside = [stack.enter_context(_open(name)) for name in _put_aside(path)]
        for stream in [*aside, current]:
            size = stream.seek(0, io.SEEK_END)
            stream.seek(max(0, size - _NEWEST))
            yield from stream


def _put_aside(path: Path) -> list[Path]:
    """The newest logs that the host's timer has put aside, oldest first.

    They carry the time in their names. One that is just being compressed is there in both forms,
    of which the clear one is whole.
    """
    packed, clear = (path.parent.glob(f"audit-*.json{end}") for end in (".gz", ""))
    found = {name.name.removesuffix(".gz"): name for name in (*packed, *clear)}
    return [found[name] for name in sorted(found)[-_ASIDE:]]


def _open(path: Path) -> io.BufferedIOBase:
    if path.suffix != ".gz":
        try:
            return path.open("rb")
        except FileNotFoundError:  # compressed meanwhile
            path = path.with_name(f"{path.name}.gz")
    return gzip.open(path)


def _tail(path: Path) -> bytes:
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - _TAIL))
        return stream.read()


def _just_aside(path: Path) -> list[Path]:
    """The log before this one, as the engine names it, or the host's timer."""
    engine = path.with_name(f"{path.name}.1")
    clear = [name for name in _put_aside(path)[-1:] if name.suffix != ".gz"]
    return [*clear, *([engine] if engine.exists() else [])]


def wait_for_path(path: Path, text: bytes, *, timeout: float = 15) -> bool:
    """Whether a text turns up near the end of a log, which is written a moment after the answer.

    That moment is as long as a busy disk makes it.

    Were the log put aside in that moment, it is at the end of what was put aside.
    """

    def there() -> bool:
        return text in _tail(path) or any(text in _tail(name) for name in _just_aside(path))

    try:
        return wait_until(there, timeout=timeout, what=f"an entry in {path}", interval=0.05)
    except PhoenixError:
        return False
