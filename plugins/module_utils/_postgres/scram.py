# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SCRAM-SHA-256 verifiers as PostgreSQL stores them (RFC 5803, RFC 7677).

A verifier computed here lets a password be set without the password itself reaching the server, its
log or its statistics.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import unicodedata

__all__ = ["matches", "new_password", "verifier"]

ITERATIONS = 4096  # PostgreSQL's own default (scram_iterations)


def new_password(length: int = 40) -> str:
    """A password of letters and digits: 40 of them carry 238 bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    return "".join(secrets.choice(alphabet) for _unused in range(length))


def verifier(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """``SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>``.

    :arg salt: 16 random bytes where it is not given.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    stored, server = _keys(password, salt, iterations)
    encoded = [base64.b64encode(part).decode("ascii") for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${iterations}:{encoded[0]}${encoded[1]}:{encoded[2]}"


def matches(password: str, stored: str) -> bool:
    """Whether a stored verifier was made from this password. False for anything but SCRAM."""
    try:
        method, parameters, keys = stored.split("$")
        iterations, salt = parameters.split(":")
        if method != "SCRAM-SHA-256":
            return False
        again = verifier(password, salt=base64.b64decode(salt), iterations=int(iterations))
    except ValueError:
        return False
    return hmac.compare_digest(again.split("$")[2], keys)


def _keys(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    # SASLprep (RFC 4013) leaves ASCII alone; of the rest, NFKC is what decides in practice.
    prepared = unicodedata.normalize("NFKC", password).encode("utf-8")
    salted = hashlib.pbkdf2_hmac("sha256", prepared, salt, iterations)
    client = hmac.new(salted, b"Client Key", hashlib.sha256).digest()
    server = hmac.new(salted, b"Server Key", hashlib.sha256).digest()
    return hashlib.sha256(client).digest(), server
