# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Secrets in a key-value engine of version 2, written so that nothing equal is written again.

Two ways of knowing what is equal:

``read``
    The values are read and compared. The token needs ``read`` on ``data/``.
``fingerprint``
    Nothing is read but metadata. Each value that was written has a keyed fingerprint in the
    secret's custom metadata, together with the version that it was written as. A fingerprint
    counts only while that version is the newest: what somebody else wrote since is unknown, and
    is written again. Whoever writes then drops the fingerprints of all other keys. Which keys
    exist is asked of ``subkeys/``, which shows no value.

Writing merges into what is there (``PATCH``), under check-and-set, so keys of others stay and a
concurrent writer is noticed. The merge is RFC 7396's, which goes into mappings and takes null for
'remove': so each entry of a mapping that is to go is named in it, and null is refused as a value.
So is a number that the engine would round: it keeps 53 bits of each.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.exact import canonical

__all__ = ["Generate", "Secret", "Verdict", "generate_value"]

MARK = "phoenix"
VERSION = f"{MARK}.version"
# The server takes 64 entries of custom metadata; one is the version, the rest is for others.
MAX_FINGERPRINTS = 48
# What the server takes as custom metadata.
MAX_METADATA_KEY, MAX_METADATA_VALUE, MAX_METADATA = 128, 512, 64
CONFLICTS = 5
ALPHABETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "printable": string.ascii_letters + string.digits + "!#$%&*+-./:;<=>?@[]^_{|}~",
}


@dataclass(frozen=True)
class Generate:
    """A value that is made where there is none, and then stays."""

    length: int = 32
    alphabet: str = "alphanumeric"


@dataclass(frozen=True)
class Verdict:
    """What one secret needs.

    :arg there: What exists; by fingerprint only the keys, with those of mappings below them.
    :arg doomed: Whether the newest version is to be deleted.
    :arg stale: Entries of custom metadata with fingerprints of an older version than the newest.
    :arg metadata_version: For check-and-set, where the server knows that of metadata as well.
    """

    exists: bool
    version: int
    changed_keys: tuple[str, ...] = ()
    made_keys: tuple[str, ...] = ()
    removed_keys: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    dead: bool = False
    there: Mapping[str, Any] = field(default_factory=dict, repr=False)
    doomed: bool = False
    stale: tuple[str, ...] = ()
    metadata_version: int | None = 0

    @property
    def changed(self) -> bool:
        return bool(self.data_changed or self.metadata or self.doomed)

    @property
    def keys(self) -> list[str]:
        """All keys that are written, made or removed."""
        return sorted(self.changed_keys + self.made_keys + self.removed_keys)

    @property
    def data_changed(self) -> bool:
        return bool(self.changed_keys or self.made_keys or self.removed_keys)


def generate_value(wanted: Generate) -> str:
    """A random value from the operating system's generator."""
    alphabet = ALPHABETS[wanted.alphabet]
    return "".join(secrets.choice(alphabet) for _count in range(wanted.length))


@dataclass(frozen=True)
class Secret:
    """One path with what is to be in it.

    :arg data: Keys and their exact values.
    :arg generate: Keys that get a random value if they do not exist.
    :arg only: Whether keys that are not named are removed.
    :arg metadata: Custom metadata of the caller's own.
    :arg key: Key of the fingerprints; empty compares by reading.
    :arg gone: Whether there is to be no such secret.
    """

    mount: str
    path: str
    data: Mapping[str, Any] = field(default_factory=dict, repr=False)
    generate: Mapping[str, Generate] = field(default_factory=dict)
    only: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    key: bytes = field(default=b"", repr=False)
    gone: bool = False

    def __post_init__(self) -> None:
        mistakes = list(self._mistakes())
        if mistakes:
            raise PhoenixError("; ".join(f"{self.path or '(no path)'}: {m}" for m in mistakes))

    def _mistakes(self) -> Iterator[str]:
        if not {"", ".", ".."}.isdisjoint(self.path.split("/")):
            yield "no path of a secret: its parts must not be empty, '.' or '..'"
        if self.gone and (self.data or self.generate or self.only or self.metadata):
            yield "what is in it is stated, and that it is absent"
        both = sorted(set(self.data) & set(self.generate))
        if both:
            yield f"both given and generated: {', '.join(both)}"
        short = sorted(key for key, wanted in self.generate.items() if wanted.length < 1)
        if short:
            yield f"generated without a single character: {', '.join(short)}"
        lossy = sorted(key for key, value in self.data.items() if _lossy(value))
        if lossy:
            yield f"null, or a number that the engine would round: {', '.join(lossy)}"
        if self.key and len(self.data) > MAX_FINGERPRINTS:
            yield f"more than {MAX_FINGERPRINTS} keys cannot be compared by fingerprint"
        yield from self._metadata_mistakes()

    def _metadata_mistakes(self) -> Iterator[str]:
        for name, value in self.metadata.items():
            if not 0 < len(name.encode()) <= MAX_METADATA_KEY:
                yield f"custom_metadata: a name has 1 to {MAX_METADATA_KEY} bytes: {name[:20]!r}"
            if not 0 < len(value.encode()) <= MAX_METADATA_VALUE:
                yield f"custom_metadata: a value has 1 to {MAX_METADATA_VALUE} bytes: {name[:20]!r}"
        if len(self.metadata) + (len(self.data) + 1 if self.key else 0) > MAX_METADATA:
            yield f"custom_metadata: more than {MAX_METADATA} entries, fingerprints included"

    def _at(self, part: str) -> str:
        return f"{self.mount}/{part}/{self.path}"

    # -- read and decide ----------------------------------------------------------------------

    def absent(self) -> Verdict:
        """What is needed where there is nothing."""
        if self.gone:
            return Verdict(exists=False, version=0)
        return Verdict(
            exists=False,
            version=0,
            changed_keys=tuple(sorted(self.data)),
            made_keys=tuple(sorted(self.generate)),
            metadata=dict(self.metadata),
        )

    def inspect(self, client: VaultClient) -> Verdict:
        """Find out what differs; changes nothing."""
        about = client.read(self._at("metadata"))
        if about is None:
            return self.absent()
        version = int(about.get("current_version") or 0)
        custom = {str(k): str(v) for k, v in (about.get("custom_metadata") or {}).items()}
        newest = (about.get("versions") or {}).get(str(version)) or {}
        metadata = {k: v for k, v in self.metadata.items() if custom.get(k) != v}
        content = self._content(client, newest) if version else None
        if self.gone:
            return Verdict(exists=True, version=version, doomed=content is not None)
        there: Mapping[str, Any] = content or {}
        if self.key and content is not None:
            changed = self._by_fingerprint(there, custom, version)
        else:
            changed = [k for k, v in self.data.items() if k not in there or _differ(there[k], v)]
        return Verdict(
            exists=True,
            version=version,
            changed_keys=tuple(sorted(changed)),
            made_keys=tuple(sorted(key for key in self.generate if key not in there)),
            removed_keys=tuple(self._to_remove(there)),
            metadata=metadata,
            dead=content is None,
            there=there,
            stale=tuple(_stale(custom, version)),
            metadata_version=about.get("current_metadata_version"),
        )

    def _content(self, client: VaultClient, newest: Mapping[str, Any]) -> dict[str, Any] | None:
        """What the newest version holds, as far as it has to be known; ``None`` if it is deleted.

        A time of deletion may be still to come; the server knows.
        """
        if newest.get("destroyed"):
            return None
        if self.gone and not newest.get("deletion_time"):
            return {}
        part = "subkeys" if self.key or self.gone else "data"
        answer = client.read(self._at(part))
        return None if answer is None else answer.get(part) or {}

    def _by_fingerprint(
        self, there: Mapping[str, Any], custom: Mapping[str, str], version: int
    ) -> list[str]:
        stale = _stale(custom, version)
        return [
            key
            for key, value in self.data.items()
            if key not in there
            or _entry(key) in stale
            or custom.get(_entry(key)) != self._print(value)
        ]

    def _to_remove(self, there: Mapping[str, Any]) -> list[str]:
        if not self.only:
            return []
        return sorted(set(there) - set(self.data) - set(self.generate))

    def _print(self, value: Any) -> str:
        # The path is part of it, so equal values in two places do not look equal.
        return fingerprint(self.key, f"{self.mount}/{self.path}\0{canonical(value)}")

    # -- act ----------------------------------------------------------------------------------

    def write(self, client: VaultClient, verdict: Verdict) -> int:
        """Do what the verdict says; returns the version that is the newest afterwards.

        :raises errors.ConflictError: if others keep writing to the same path meanwhile.
        """
        for _attempt in range(CONFLICTS):
            try:
                return self._write_once(client, verdict)
            except errors.ConflictError:
                verdict = self.inspect(client)
                if not verdict.changed:
                    return verdict.version
        return self._write_once(client, verdict)

    def _write_once(self, client: VaultClient, verdict: Verdict) -> int:
        version = verdict.version
        if verdict.doomed:
            # That version, and not what somebody has written since.
            client.write(self._at("delete"), {"versions": [version]})
        if verdict.data_changed:
            version = self._write_data(client, verdict)
        metadata: dict[str, str | None] = dict(verdict.metadata)
        if self.key and verdict.data_changed:
            # Under the new version these would count again.
            metadata.update(dict.fromkeys(verdict.stale))
            metadata.update({_entry(k): self._print(v) for k, v in self.data.items()})
            metadata[VERSION] = str(version)
        if metadata:
            # Of a secret without any version there is nothing yet that could be merged into.
            bare = not verdict.exists and not verdict.data_changed
            send = client.write if bare else client.patch
            body: dict[str, Any] = {"custom_metadata": metadata}
            if verdict.metadata_version is not None:
                body["metadata_cas"] = verdict.metadata_version
            send(self._at("metadata"), body)
        return version

    def _write_data(self, client: VaultClient, verdict: Verdict) -> int:
        values: dict[str, Any] = {key: self.data[key] for key in verdict.changed_keys}
        values |= {key: generate_value(self.generate[key]) for key in verdict.made_keys}
        merging = verdict.exists and not verdict.dead
        if merging:
            values = {key: _merging(verdict.there.get(key), v) for key, v in values.items()}
            values |= dict.fromkeys(verdict.removed_keys)
        send = client.patch if merging else client.write
        answer = send(self._at("data"), {"options": {"cas": verdict.version}, "data": values})
        return int((answer.get("data") or {}).get("version") or 0)


def _differ(one: Any, other: Any) -> bool:
    """Whether two values are not the same JSON, in which true is not 1, and 1.0 is."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return set(one) != set(other) or any(_differ(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) != len(other) or any(map(_differ, one, other))
    return isinstance(one, bool) != isinstance(other, bool) or one != other


def _lossy(value: Any) -> bool:
    """Whether the server would not keep a value as it is."""
    if isinstance(value, Mapping):
        return any(map(_lossy, value.values()))
    if isinstance(value, list):
        return any(map(_lossy, value))
    return value is None or (isinstance(value, int) and value.bit_length() > 53)


def _merging(there: Any, wanted: Any) -> Any:
    """What has to be merged into a value to make it another one (RFC 7396)."""
    if not isinstance(there, Mapping) or not isinstance(wanted, Mapping):
        return wanted
    gone = dict.fromkeys(key for key in there if key not in wanted)
    return gone | {key: _merging(there.get(key), value) for key, value in wanted.items()}


def _entry(key: str) -> str:
    """The name of a key's fingerprint in custom metadata, which is limited to 128 bytes."""
    if len(key.encode()) <= 80:
        return f"{MARK}:{key}"
    return f"{MARK}#{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def _stale(custom: Mapping[str, str], version: int) -> list[str]:
    """The fingerprints that do not count: somebody else has written since."""
    if custom.get(VERSION) == str(version):
        return []
    return [name for name in custom if name.startswith((f"{MARK}:", f"{MARK}#"))]
