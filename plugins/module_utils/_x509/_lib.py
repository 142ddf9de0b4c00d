# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The third-party library, in one place, so that a host without it gets a sentence, not a crash.

Works with ``cryptography`` 38 (Debian 12) and later.
"""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    CRYPTOGRAPHY_ERROR: str | None = None
else:
    try:
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError:
        CRYPTOGRAPHY_ERROR = traceback.format_exc()
        x509 = hashes = serialization = ec = padding = rsa = None
        Cipher = algorithms = modes = ExtendedKeyUsageOID = NameOID = None
        InvalidSignature = UnsupportedAlgorithm = Exception
    else:
        CRYPTOGRAPHY_ERROR = None

__all__ = [
    "CRYPTOGRAPHY_ERROR",
    "Cipher",
    "ExtendedKeyUsageOID",
    "InvalidSignature",
    "NameOID",
    "UnsupportedAlgorithm",
    "algorithms",
    "ec",
    "hashes",
    "modes",
    "not_after",
    "not_before",
    "padding",
    "rsa",
    "serialization",
    "utc",
    "x509",
]


def utc(value: datetime) -> datetime:
    """A time with its zone; the library gave times without one until version 42."""
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


def not_before(certificate: Any) -> datetime:
    if hasattr(certificate, "not_valid_before_utc"):
        return utc(certificate.not_valid_before_utc)
    return utc(certificate.not_valid_before)


def not_after(certificate: Any) -> datetime:
    if hasattr(certificate, "not_valid_after_utc"):
        return utc(certificate.not_valid_after_utc)
    return utc(certificate.not_valid_after)
