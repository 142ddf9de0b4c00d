# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Path validation as far as this collection's own authorities go (RFC 5280 section 6).

It runs where no recent library can be counted on. It is stricter than the RFC where the estate's
profile is: every authority must be constrained to names, every leaf must carry its usages.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    InvalidSignature,
    ec,
    not_after,
    not_before,
    padding,
    rsa,
    x509,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.issue import (
    describe,
    read_constraints,
)

__all__ = ["check_chain", "check_clock", "signed_by"]


def signed_by(certificate: Any, authority: Any) -> bool:
    """Whether the authority's key made the signature of a certificate or revocation list."""
    key = authority.public_key()
    body = getattr(certificate, "tbs_certificate_bytes", None)
    if body is None:
        body = certificate.tbs_certlist_bytes
    digest = certificate.signature_hash_algorithm
    if digest is None or digest.name in ("md5", "sha1"):
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(certificate.signature, body, ec.ECDSA(digest))
        elif isinstance(key, rsa.RSAPublicKey):
            key.verify(certificate.signature, body, padding.PKCS1v15(), digest)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def check_clock(certificate: Any, now: datetime, what: str) -> None:
    """:raises PhoenixError: not valid yet, which points to a clock, or not valid any more."""
    start, end = not_before(certificate), not_after(certificate)
    if now < start:
        raise PhoenixError(
            f"{what} is valid from {_date(start)}, and this machine's clock says {_date(now)}",
            hint="Set the clock of the machine that is wrong.",
        )
    if now > end:
        raise PhoenixError(
            f"{what} expired on {_date(end)}, and this machine's clock says {_date(now)}"
        )


def check_chain(leaf: Any, chain: list[Any], root: Any, now: datetime, what: str) -> None:
    """Verify a leaf up to a root that is trusted because it was given, not because it is there.

    :arg chain: The issuing authorities, the leaf's own first; without the root.
    :raises PhoenixError: says at which certificate and why.
    """
    path = [leaf, *chain, root]
    if len(path) > 4:
        raise PhoenixError(f"{what}: the chain is longer than any that is issued")
    basic = _value(leaf, x509.BasicConstraints)
    if basic is None or basic.ca:
        raise PhoenixError(f"{what}: it is an authority's certificate, not one for a peer")
    for depth, certificate in enumerate(path):
        title = what if depth == 0 else f"{what}: authority {_subject(certificate)}"
        check_clock(certificate, now, title)
        _check_critical(certificate, title)
        if depth > 0:
            _check_authority(certificate, depth, title)
            _check_link(path[depth - 1], certificate, title)
    stated = describe(leaf)
    if "other" in stated:
        raise PhoenixError(f"{what}: names of a kind that is never issued: {stated['other']}")
    for authority in path[1:]:
        permitted = read_constraints(authority)
        outside = permitted.outside(stated["dns"], stated["ips"], stated["uris"])
        if outside:
            raise PhoenixError(
                f"{what}: outside the name constraints of {_subject(authority)}: "
                f"{', '.join(outside)}"
            )
    if not signed_by(root, root):
        raise PhoenixError(f"{what}: {_subject(root)} is not a root, it is not signed by itself")


def _check_authority(certificate: Any, depth: int, title: str) -> None:
    basic = _value(certificate, x509.BasicConstraints)
    usage = _value(certificate, x509.KeyUsage)
    if basic is None or not basic.ca or usage is None or not usage.key_cert_sign:
        raise PhoenixError(f"{title} is not allowed to sign certificates")
    # depth - 1 authorities stand between this one and the leaf.
    if basic.path_length is not None and depth - 1 > basic.path_length:
        raise PhoenixError(f"{title} may not have an authority below it (path length)")


def _check_link(child: Any, authority: Any, title: str) -> None:
    if child.issuer != authority.subject or not signed_by(child, authority):
        raise PhoenixError(f"{title} has not signed {_subject(child)}: the chain does not verify")
    expected = _value(authority, x509.SubjectKeyIdentifier)
    stated = _value(child, x509.AuthorityKeyIdentifier)
    if expected is None or stated is None or stated.key_identifier != expected.digest:
        raise PhoenixError(f"{title}: the key identifiers of issuer and issued do not agree")


def _check_critical(certificate: Any, title: str) -> None:
    understood = (x509.BasicConstraints, x509.KeyUsage, x509.NameConstraints)
    try:
        extensions = list(certificate.extensions)
    except ValueError:
        raise PhoenixError(f"{title} has extensions that cannot be read") from None
    for extension in extensions:
        if extension.critical and not isinstance(extension.value, understood):
            oid = extension.oid.dotted_string
            raise PhoenixError(f"{title} has a critical extension that is never issued: {oid}")


def _value(certificate: Any, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _subject(certificate: Any) -> str:
    return str(certificate.subject.rfc4514_string())


def _date(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")
