# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Snapshots of integrated storage: taken, checked, kept, put back.

A snapshot is a gzipped tar archive of ``meta.json``, ``state.bin`` and ``SHA256SUMS``. Its content
is encrypted by the server's own master key, so it opens only with the shares (or the seal) that
the server had when it was taken.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import json
import re
import tarfile
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import write_atomic
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["PUT_BACK", "TAKE", "Store", "inspect", "restore", "take"]

TAKE, PUT_BACK = "sys/storage/raft/snapshot", "sys/storage/raft/snapshot-force"
SUFFIX = ".snap"
ABANDONED = 3600  # seconds; none takes so long to be written
_NOT_ACTIVE = (429, 472, 473, 501, 503)
_STAMP = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Snapshot:
    """What an intact snapshot says about itself."""

    index: int
    term: int
    size: int
    sha256: str


def inspect(data: bytes) -> Snapshot:
    """Check a snapshot against its own sums.

    :raises PhoenixError: if it is cut short, damaged, or none.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            files = {
                member.name: handle.read()
                for member in archive
                if member.isfile() and (handle := archive.extractfile(member)) is not None
            }
        meta = json.loads(files["meta.json"])
        lines = files["SHA256SUMS"].decode("ascii").splitlines()
        sums = {name: digest for digest, name in (line.split() for line in lines if line.strip())}
        index, term = int(meta["Index"]), int(meta["Term"])
    except (tarfile.TarError, zlib.error, EOFError, OSError, KeyError, ValueError) as error:
        raise PhoenixError(f"not an intact snapshot: {type(error).__name__}: {error}") from None
    for name in ("meta.json", "state.bin"):
        found = hashlib.sha256(files.get(name, b"")).hexdigest()
        if sums.get(name) != found:
            raise PhoenixError(f"not an intact snapshot: the sum of {name} is another")
    return Snapshot(index, term, len(data), hashlib.sha256(data).hexdigest())


def take(client: VaultClient) -> bytes:
    """A snapshot of the server as it is now, checked."""
    reply = client.call("GET", TAKE)
    data = reply.body.get("raw")
    if not isinstance(data, bytes):
        raise PhoenixError(f"{client.url} did not answer with a snapshot")
    inspect(data)
    return data


def restore(client: VaultClient, data: bytes, *, timeout: float = 60) -> bool:
    """Put a snapshot in the place of all that the server holds, and wait until it has taken it.

    :return: Whether the server is sealed now. It is where the snapshot is another server's, or of
        other shares, and opens with those of the snapshot's time.
    """
    inspect(data)
    before = _applied(client)
    client.call("POST", PUT_BACK, payload=data, repeatable=False)
    state: dict[str, Any] = {}

    def taken() -> bool:
        # The server answers the restore at once, and takes some seconds for it.
        state.update(client.seal_status())
        if state.get("sealed"):
            return True
        health = client.call("GET", "sys/health", authenticated=False, accept=_NOT_ACTIVE)
        if health.status != 200:
            return False
        return not client.token_lives() if client.token_is_new else _applied(client) != before

    wait_until(taken, timeout=timeout, what=f"{client.url} to take the snapshot")
    # Whatever token this run had was made after the snapshot, and went with what it replaced.
    client.lower(gone=True)
    return bool(state.get("sealed"))


def _applied(client: VaultClient) -> Any:
    return client.call("GET", "sys/leader", authenticated=False).body.get("raft_applied_index")


class Store:
    """A directory of snapshots, named ``<prefix>-<UTC time>.snap``."""

    def __init__(self, directory: str, prefix: str) -> None:
        self.directory = Path(directory)
        self.prefix = prefix
        self._name = re.compile(
            rf"{re.escape(prefix)}-\d{{8}}T\d{{6}}\.\d{{6}}Z{re.escape(SUFFIX)}"
        )

    def paths(self) -> list[Path]:
        """All of this prefix, the newest first; nothing else in the directory is looked at."""
        if not self.directory.is_dir():
            return []
        found = [p for p in self.directory.iterdir() if self._name.fullmatch(p.name)]
        return sorted(found, key=lambda path: path.name, reverse=True)

    def fresh_path(self) -> Path:
        now = datetime.datetime.now(datetime.UTC).strftime(_STAMP)
        return self.directory / f"{self.prefix}-{now}{SUFFIX}"

    def save(self, path: Path, data: bytes) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._clear()
        write_atomic(path, data, mode=0o600)

    def _clear(self) -> None:
        """Remove the unfinished files of runs that were killed, not those of one that is at it."""
        for path in self.directory.iterdir():
            named = self._name.match(path.name[1:]) if path.name.startswith(".") else None
            if named and time.time() - path.stat().st_mtime > ABANDONED:
                path.unlink(missing_ok=True)

    def surplus(self, keep: int, *, more: int = 0) -> list[Path]:
        """What has to go so that ``keep`` are left, ``more`` of which are still to be written."""
        return self.paths()[max(keep - more, 0) :] if keep else []


def describe(path: Path, snapshot: Snapshot) -> dict[str, Any]:
    return {"path": str(path), **snapshot.__dict__}
