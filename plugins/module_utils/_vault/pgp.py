# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public PGP keys in the form that servers want: base64 of the binary key, on one line."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["public_key", "public_keys"]

_BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PUBLIC_KEY = 6
_END = "-----END PGP PUBLIC KEY BLOCK-----"


def public_keys(texts: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read several; returns the keys, and what is wrong with each that is none."""
    keys, mistakes = [], []
    for number, text in enumerate(texts):
        try:
            keys.append(public_key(text))
        except PhoenixError as error:
            mistakes.append(f"pgp_keys[{number}]: {error.message}")
    return keys, mistakes


def public_key(text: str) -> str:
    """Read an ASCII-armoured key (RFC 9580, section 6.2) or base64 as it is.

    :raises PhoenixError: if it is neither, or is a private key.
    """
    if "PRIVATE KEY" in text:
        raise PhoenixError("that is a private PGP key, which must never leave its owner")
    body = text.strip()
    if _BEGIN in body:
        inner = body.split(_BEGIN, 1)[1].split(_END, 1)[0].strip("\r\n")
        lines = [line.strip() for line in inner.splitlines()]
        if "" in lines:  # armour headers, then a blank line
            lines = lines[lines.index("") + 1 :]
        body = "".join(line for line in lines if not line.startswith("="))  # the checksum
    body = "".join(body.split())
    try:
        data = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise PhoenixError("not a public PGP key, neither armoured nor base64") from None
    if not data or _tag(data[0]) != _PUBLIC_KEY:
        raise PhoenixError("not a public PGP key: it begins with another kind of packet")
    return base64.b64encode(data).decode()


def _tag(first: int) -> int:
    """The kind of packet, from its first octet in the old or the new format (section 4.2)."""
    if not first & 0x80:
        return -1
    return first & 0x3F if first & 0x40 else first >> 2 & 0x0F
