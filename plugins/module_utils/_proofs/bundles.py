# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificate bundles as they lie in the estate's store."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["all_leaves", "leaf", "matches_key", "not_after", "not_before", "spki"]


def leaf(bundle: Path) -> Any:
    """The first certificate of a bundle.

    :raises OSError: where there is none.
    """
    from cryptography import x509

    return x509.load_pem_x509_certificate((bundle / "tls.crt").read_bytes())


def all_leaves(store: Path) -> Iterator[tuple[str, Path]]:
    """Every bundle in a store, current or not, with its path below the store."""
    for path in sorted(store.rglob("tls.crt")):
        # 'current' is a link to one of the versions.
        if not any(parent.is_symlink() for parent in path.parents):
            yield str(path.parent.relative_to(store)), path.parent


def matches_key(certificate: Any, bundle: Path) -> bool:
    """Whether the key next to a certificate is its key."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key((bundle / "tls.key").read_bytes(), None)
    return spki(key.public_key()) == spki(certificate.public_key())


def spki(public: Any) -> str:
    """SHA-256 of a public key in its standard form, hexadecimal."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).hexdigest()


def not_before(certificate: Any) -> datetime.datetime:
    return _aware(certificate, "not_valid_before")


def not_after(certificate: Any) -> datetime.datetime:
    return _aware(certificate, "not_valid_after")


def _aware(certificate: Any, name: str) -> datetime.datetime:
    # Debian 12 has a cryptography without the _utc properties.
    found = getattr(certificate, f"{name}_utc", None)
    if found is None:
        found = getattr(certificate, name).replace(tzinfo=datetime.UTC)
    return datetime.datetime.fromtimestamp(found.timestamp(), datetime.UTC)
