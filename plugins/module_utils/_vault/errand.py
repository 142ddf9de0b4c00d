# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a token is for, in words that only the holder of a key can have said.

Whoever is root may read any secret, and give a token any metadata. The server's audit log shows the
metadata of the token with each request. So a run that reads secrets as root, on behalf of the
estate, does it by a token whose metadata are signed and say since when, and a proof that reads the
log can tell it from everybody else who is root, later on as well.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint

__all__ = ["LIFETIME", "purpose_of", "words"]

LIFETIME = 3600
"""Seconds after which nothing is done on an errand any more, and its token ends."""
_SKEW = 5.0


def words(key: bytes, purpose: str, now: float) -> dict[str, str]:
    """Metadata for a token.

    :arg now: Seconds since the epoch.
    """
    since = f"{now:.0f}"
    return {"purpose": purpose, "since": since, "word": _word(key, purpose, since)}


def purpose_of(key: bytes, metadata: Mapping[str, Any], at: float) -> str:
    """What a token was for that did something at a time; empty where nobody can know."""
    purpose, since = str(metadata.get("purpose", "")), str(metadata.get("since", ""))
    given = str(metadata.get("word", "")).encode()
    genuine = hmac.compare_digest(given, _word(key, purpose, since).encode())
    if not key or not genuine or not -_SKEW <= at - float(since) <= LIFETIME + _SKEW:
        return ""
    return purpose


def _word(key: bytes, purpose: str, since: str) -> str:
    return fingerprint(key, f"errand\0{purpose}\0{since}")
