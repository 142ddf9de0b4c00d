# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keep secrets out of text, and compare them without keeping them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterable, Iterator

__all__ = ["MASK", "MIN_LENGTH", "fingerprint", "redact"]

MASK = "********"

# A shorter value stands in ordinary words: masking it would garble text and hide nothing.
MIN_LENGTH = 4


def redact(text: str, secrets: Iterable[str]) -> str:
    """Replace each of the secrets in a text, the longest first, so that none shows in part.

    Also as Python or JSON would quote it: a text is often made from a structure.
    """
    forms = {form for s in secrets if len(s) >= MIN_LENGTH for form in _forms(s)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield repr(secret)[1:-1]
    # Python escapes a single quote only where there are double ones as well.
    yield repr(secret + "'\"")[1:-4]
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]


def fingerprint(key: bytes, value: bytes | str) -> str:
    """HMAC-SHA256 of a value, 32 hexadecimal digits (128 bits).

    Keyed, so that a stored fingerprint of a guessable value does not give the value away.
    """
    data = value.encode("utf-8") if isinstance(value, str) else value
    return hmac.new(key, data, hashlib.sha256).hexdigest()[:32]
