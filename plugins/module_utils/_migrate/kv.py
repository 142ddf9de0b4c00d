# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets of key-value engines, read at one server and written to another.

Values are in memory only while one version is copied; what is compared are keyed fingerprints.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.ledger import Marks
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.replay import (
    DEFAULT_SETTINGS,
    DELETED,
    DESTROYED,
    LIVE,
    PLACEHOLDER,
    Delete,
    Destroy,
    Expire,
    History,
    Settings,
    Step,
    Version,
    Write,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.exact import dumps

__all__ = ["Copy", "Engine", "Scope", "below", "settings_of"]


@dataclass(frozen=True)
class Scope:
    """One mount at the source, and what becomes of it.

    :arg source: Its path there.
    :arg target: Its path at the target.
    :arg prefixes: Folders and secrets to move; all, if empty.
    :arg exclude: Folders and secrets to leave.
    """

    source: str
    target: str
    prefixes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        wanted = not self.prefixes or any(below(path, prefix) for prefix in self.prefixes)
        return wanted and not any(below(path, prefix) for prefix in self.exclude)

    def leads(self, folder: str) -> bool:
        """Whether anything in a folder may be meant."""
        if any(below(folder, prefix) for prefix in self.exclude):
            return False
        return not self.prefixes or any(
            below(folder, prefix) or below(prefix, folder) for prefix in self.prefixes
        )


def below(path: str, prefix: str) -> bool:
    """Whether a path is a prefix, or lies in the folder of that name."""
    prefix = prefix.strip("/")
    return path.rstrip("/") == prefix or path.startswith(f"{prefix}/") or not prefix


def settings_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a secret, or of a mount, as a server answers them."""
    found = {name: about.get(name, default) for name, default in DEFAULT_SETTINGS.items()}
    text = str(found["delete_version_after"])
    # A mount may say by a negative time that nothing in it ever ends.
    found["delete_version_after"] = 0 if text.startswith("-") else seconds(text)
    return found


@dataclass(frozen=True)
class Engine:
    """A key-value engine of one server.

    :arg home: The mount at the target; marks are made for it, wherever the data are read.
    :arg version: Of the engine, 1 or 2.
    """

    client: VaultClient
    mount: str
    home: str
    version: int
    marks: Marks

    def mark(self, path: str, data: Any, version: int = 0) -> str:
        return self.marks.of("secret", f"{self.home}/{path}", data, version)

    def paths(self, scope: Scope | None = None) -> list[str]:
        """All secrets, or those that a scope holds; found folder by folder."""
        base = f"{self.mount}/metadata" if self.version == 2 else self.mount
        found: list[str] = []
        folders = [""]
        while folders:
            listed = self.client.map(lambda folder: self.client.keys(f"{base}/{folder}"), folders)
            keys = [f + key for f, names in zip(folders, listed, strict=True) for key in names]
            found += [key for key in keys if not key.endswith("/")]
            folders = [k for k in keys if k.endswith("/") and (scope is None or scope.leads(k))]
        return sorted(path for path in found if scope is None or scope.holds(path))

    def single(self, path: str) -> str:
        """The mark of a secret of version 1; empty where there is none."""
        data = self.client.read(f"{self.mount}/{path}")
        return "" if data is None else self.mark(path, data)

    def history(self, path: str) -> History | None:
        """All of a secret of version 2, read version by version."""
        about = self.client.read(f"{self.mount}/metadata/{path}")
        if about is None:
            return None
        known = about.get("versions") or {}
        return History(
            current=int(about.get("current_version") or 0),
            versions={n: self._version(path, n, known[str(n)]) for n in sorted(map(int, known))},
            settings=settings_of(about),
            custom=dict(about.get("custom_metadata") or {}),
            revision=int(about.get("current_metadata_version") or 0),
        )

    def _version(self, path: str, n: int, about: Mapping[str, Any]) -> Version:
        if about.get("destroyed"):
            return Version(DESTROYED)
        # Whether a time of deletion has passed is for the server's clock to say.
        answer = self.client.read(f"{self.mount}/data/{path}", version=str(n))
        if answer is None:
            return Version(DELETED)
        data = answer.get("data")
        end = str(about.get("deletion_time") or "")
        return Version(LIVE, self.mark(path, data, n), end, data == PLACEHOLDER)

    def data(self, path: str, version: int, mark: str) -> Any:
        """What a secret holds now.

        :raises PhoenixError: if it is not what was decided upon.
        """
        where = f"{self.mount}/data/{path}" if version else f"{self.mount}/{path}"
        answer = self.client.read(where, **({"version": str(version)} if version else {}))
        data = answer.get("data") if answer and version else answer
        if answer is None or self.mark(path, data, version) != mark:
            raise PhoenixError(f"{where} has changed at the source meanwhile", hint=_AGAIN)
        return data


_AGAIN = "Run it again; what has been moved by now stays."


@dataclass(frozen=True)
class Copy:
    """One secret on its way from an engine to another."""

    source: Engine
    target: Engine
    path: str

    def _at(self, part: str) -> str:
        return f"{self.target.mount}/{part}/{self.path}"

    def overwrite(self, mark: str) -> None:
        """Write a secret of version 1."""
        data = self.source.data(self.path, 0, mark)
        where = f"{self.target.mount}/{self.path}"
        self.target.client.call("POST", where, payload=dumps(data).encode())

    def forget(self, steps: Sequence[Step]) -> None:
        """Delete all versions of a secret, and what is known about it, to make room for others.

        :arg steps: What is going to be written. It has to be there still, or nothing is deleted.
        """
        for step in steps:
            if isinstance(step, Write) and step.mark:
                self.source.data(self.path, step.version, step.mark)
        self.target.client.delete(self._at("metadata"))

    def tell(self, steps: Sequence[Step], revision: int, named: bool) -> None:
        """Carry out the steps for a secret of version 2.

        :arg revision: Number of the newest version of the metadata.
        :arg named: Whether a change of the metadata has to name its predecessor.
        """
        client = self.target.client
        for step in steps:
            if isinstance(step, Write):
                self._write(step)
            elif isinstance(step, Delete):
                client.write(self._at("delete"), {"versions": list(step.versions)})
            elif isinstance(step, Destroy):
                client.write(self._at("destroy"), {"versions": list(step.versions)})
            else:
                values = self._values(step)
                if named:
                    values["metadata_cas"] = revision
                client.write(self._at("metadata"), values)
                revision += 1

    def _values(self, step: Settings | Expire) -> dict[str, Any]:
        if isinstance(step, Expire):
            left = datetime.datetime.fromisoformat(step.at) - datetime.datetime.now(datetime.UTC)
            if left.total_seconds() < 1:
                raise PhoenixError(
                    f"a version of {self.path} has come to its end meanwhile", hint=_AGAIN
                )
            return {"delete_version_after": f"{int(left.total_seconds())}s"}
        values = dict(step.values)
        if "delete_version_after" in values:
            values["delete_version_after"] = f"{values['delete_version_after']}s"
        return values

    def _write(self, step: Write) -> None:
        data = self.source.data(self.path, step.version, step.mark) if step.mark else PLACEHOLDER
        body = f'{{"options":{{"cas":{step.version - 1}}},"data":{dumps(data)}}}'
        client = self.target.client
        try:
            client.call("POST", self._at("data"), payload=body.encode())
        except errors.ConflictError:
            # Sent twice, since the answer to the first was lost? Then it is there.
            there = client.read(self._at("data"), version=str(step.version)) or {}
            if there.get("data") != data:
                raise
