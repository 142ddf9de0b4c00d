# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a place holds of shares and root tokens, by the shape that the server gives them.

A share of a key that is split is 33 bytes: 66 hexadecimal digits. (In Base64 it has no shape of its
own, and a key that is not split at all looks like any SHA-256; neither is told from other text.)
A token begins with ``s.`` or ``hvs.``. Whether a text of that shape *is* a root token, only the
server can say; here it is merely kept for that question.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["LARGEST", "PATTERN", "Store", "from_environment", "from_files", "token_file"]

LARGEST = 2 * 1024 * 1024
"""Bytes beyond which a file is a program or data, and not what somebody put a share in."""

# The same expression for Python and for grep's extended ones, so that both find the same.
PATTERN = (
    r"\b(hvs\.[A-Za-z0-9_-]{24,}|s\.[A-Za-z0-9]{24,}|[0-9a-fA-F]{66})\b"
    r'|"kind": ?"(unseal-share|root-token)"'
)
_PATTERN = re.compile(PATTERN.encode())
# What the command lines of both products read.
_TOKEN_FILE = ".vault-token"
_TOKEN_VARIABLES = ("VAULT_TOKEN", "BAO_TOKEN")


@dataclass
class Store:
    """One place, with all that whoever has it has.

    :arg encrypted: How many shares lie there under the passphrase of the estate's state, by server.
    :arg shares: How many different values of the shape of a share lie there in clear.
    :arg offers: How many shares wait there for their custodians, each encrypted to his key.
    :arg root_files: Files that say that they hold a root token.
    :arg tokens: Values of the shape of a token, by where they are. Secret.
    """

    name: str
    encrypted: dict[str, int] = field(default_factory=dict)
    shares: int = 0
    offers: int = 0
    root_files: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    @classmethod
    def told(cls, given: Mapping[str, Any], tokens: Mapping[str, str]) -> Store:
        """From :meth:`public`, and the tokens that were handed over apart from it."""
        return cls(**{**given, "tokens": dict(tokens)})

    def public(self) -> dict[str, Any]:
        """Everything but the tokens."""
        return {k: v for k, v in self.__dict__.items() if k != "tokens"}

    @property
    def most(self) -> int:
        """How many shares of one server are there at most."""
        return self.shares + max(self.encrypted.values(), default=0)

    def add(self, found: Iterable[tuple[str, str]]) -> None:
        """Take in what a search found: pairs of a place and a value of one of the shapes."""
        shares: set[str] = set()
        for where, value in found:
            if value.startswith(("s.", "hvs.")):
                self.tokens[where if where not in self.tokens else f"{where} ({value[-4:]})"] = (
                    value
                )
            elif value.startswith('"kind"'):
                if "root-token" in value:
                    self.root_files.append(where)
                else:
                    self.encrypted["unknown"] = self.encrypted.get("unknown", 0) + 1
            else:
                shares.add(value.lower())
        self.shares += len(shares)


def from_files(store: Store, places: Iterable[str]) -> None:
    """Look at every file of a few small trees, and at single files."""
    found: list[tuple[str, str]] = []
    for path in _walk(places):
        try:
            if path.stat().st_size > LARGEST:
                continue
            content = path.read_bytes()
        except OSError:  # gone by now, or somebody else's
            continue
        if content.startswith(b"-----BEGIN PGP MESSAGE") or path.suffix == ".pgp":
            store.offers += 1
        label = _label(content)
        if label.get("kind") == "unseal-share":
            server = str(label.get("server", "unknown"))
            store.encrypted[server] = store.encrypted.get(server, 0) + 1
        elif label.get("kind") == "root-token":
            store.root_files.append(str(path))
        else:
            found += [(str(path), value) for value in _values(content)]
    store.add(found)


def from_environment(store: Store, environment: Mapping[str, str], prefix: str) -> None:
    """Look at variables that shares and tokens are handed over in."""
    for name, value in environment.items():
        if prefix and name.startswith(prefix) and value.strip():
            store.shares += 1
        elif name in _TOKEN_VARIABLES and value.strip():
            store.tokens[f"environment variable {name}"] = value.strip()


def token_file(home: Path) -> str:
    """Where a person's command line keeps the token of the last login."""
    return str(home / _TOKEN_FILE)


def _walk(places: Iterable[str]) -> Iterator[Path]:
    seen: set[str] = set()
    for place in places:
        path = Path(place).expanduser()
        if path.is_file():
            found = [path]
        else:
            found = [Path(top) / name for top, _dirs, names in os.walk(path) for name in names]
        for item in found:
            real = os.path.realpath(item)
            if real not in seen and Path(real).is_file():
                seen.add(real)
                yield item


def _label(content: bytes) -> dict[str, Any]:
    """What an encrypted file of the custody says about itself."""
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    known = isinstance(document, dict) and "ciphertext" in document
    return document if known else {}


def _values(content: bytes) -> list[str]:
    return [match[0].decode("ascii") for match in _PATTERN.finditer(content)]
