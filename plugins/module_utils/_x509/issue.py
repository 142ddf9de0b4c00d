# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates, requests and revocation lists as RFC 5280 and the SPIFFE X.509-SVID want them."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    ExtendedKeyUsageOID,
    NameOID,
    UnsupportedAlgorithm,
    ec,
    hashes,
    not_after,
    not_before,
    serialization,
    x509,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    KEY_TYPES,
    Declaration,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.keys import (
    key_type,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import (
    Constraints,
)

__all__ = [
    "BACKDATE",
    "check_request",
    "describe",
    "make_authority",
    "make_leaf",
    "make_request",
    "make_revocation_list",
    "new_serial",
    "read_constraints",
    "serial_text",
]

# Clocks of two machines differ. A certificate is valid from a little before it was made, and a
# machine whose clock is further off than this is told so.
BACKDATE = timedelta(minutes=5)


def new_serial() -> int:
    """A random serial number of 20 octets that reads the same in every tool.

    RFC 5280 4.1.2.2: positive, at most 20 octets. The first hexadecimal digit is 1 to 7, so it is
    always 40 digits long, without a leading zero that one tool would print and another not.
    """
    return (secrets.randbelow(7) + 1) << 156 | secrets.randbits(156)


def serial_text(serial: int) -> str:
    """40 hexadecimal digits in lower case; OpenSSL prints the same in upper case."""
    return f"{serial:040x}"


def make_authority(
    *,
    key: Any,
    common_name: str,
    organization: str,
    constraints: Constraints,
    path_length: int,
    now: datetime,
    lifetime: timedelta,
    issuer: tuple[Any, Any] | None = None,
) -> Any:
    """A certificate of an authority: a root, or an issuing one under ``issuer``.

    :arg issuer: Certificate and private key; ``None`` makes a root that signs itself.
    :raises PhoenixError: when the issuer does not live long enough.
    """
    start, end = _span(now, lifetime)
    if issuer is not None and end > not_after(issuer[0]):
        raise PhoenixError(
            f"{common_name} would outlive the authority that signs it "
            f"({_date(end)} after {_date(not_after(issuer[0]))})"
        )
    public = key.public_key()
    signer = issuer[1] if issuer else key
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(public)
        .serial_number(new_serial())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority_key_identifier(issuer, public), critical=False)
        .add_extension(_name_constraints(constraints), critical=True)
    )
    return builder.sign(signer, _hash_for(signer))


def make_request(key: Any, declared: Declaration) -> bytes:
    """A PKCS #10 request (RFC 2986) in PEM.

    It proves that the key is held and says which name it is for; everything else of the
    certificate comes from the declaration that the authority has.
    """
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(_subject(declared.common_name))
        .sign(key, _hash_for(key))
    )
    return request.public_bytes(serialization.Encoding.PEM)


def check_request(pem: str, declared: Declaration) -> Any:
    """The public key of a request.

    Extensions and attributes that the request carries are not looked at: the allow-list of what a
    requester may decide is its key.

    :raises PhoenixError: no request, a broken signature, another name, another kind of key.
    """
    name = declared.name
    try:
        request = x509.load_pem_x509_csr(pem.encode("utf-8"))
        public = request.public_key()
        genuine = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PhoenixError(
            f"certificate {name}: not a certificate request ({type(error).__name__})"
        ) from None
    if not genuine:
        raise PhoenixError(
            f"certificate {name}: the request is not signed by the key that it names"
        )
    if request.subject != _subject(declared.common_name):
        raise PhoenixError(
            f"certificate {name}: the request is for {request.subject.rfc4514_string()!r}, "
            f"not for CN={declared.common_name}"
        )
    kind = key_type(public)
    if kind not in KEY_TYPES or kind != declared.key_type:
        raise PhoenixError(
            f"certificate {name}: the request has a key of type {kind}, "
            f"{declared.key_type} is declared"
        )
    return public


def make_leaf(
    *,
    public_key: Any,
    declared: Declaration,
    issuer: tuple[Any, Any],
    now: datetime,
    lifetime: timedelta,
) -> Any:
    """A certificate for a service, a host or a person.

    :arg issuer: Certificate and private key of the issuing authority.
    :raises PhoenixError: a name outside the issuer's constraints, an issuer that does not live
        long enough or is not valid now.
    """
    authority, signer = issuer
    start, end = _span(now, lifetime)
    _check_issuer(authority, declared.name, now, end)
    _check_names(declared, read_constraints(authority))
    usages = {
        "server": ExtendedKeyUsageOID.SERVER_AUTH,
        "client": ExtendedKeyUsageOID.CLIENT_AUTH,
    }
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(declared.common_name))
        .issuer_name(authority.subject)
        .public_key(public_key)
        .serial_number(new_serial())
        .not_valid_before(max(start, not_before(authority)))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([usages[usage] for usage in declared.usages]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(_authority_key_identifier(issuer, public_key), critical=False)
    )
    alternatives = [
        *(x509.DNSName(name) for name in declared.dns),
        *(x509.IPAddress(ipaddress.ip_address(text)) for text in declared.ips),
        *(x509.UniformResourceIdentifier(text) for text in declared.uris),
    ]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(signer, _hash_for(signer))


def make_revocation_list(
    *,
    issuer: tuple[Any, Any],
    revoked: Iterable[tuple[int, datetime]],
    number: int,
    now: datetime,
    lifetime: timedelta,
) -> Any:
    """A revocation list (RFC 5280 section 5) with its number and the identifier of its signer."""
    authority, signer = issuer
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.subject)
        .last_update(max(now - BACKDATE, not_before(authority)))
        .next_update(now + lifetime)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key_identifier(issuer, authority.public_key()), critical=False)
    )
    for serial, at in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at).build()
        )
    return builder.sign(signer, _hash_for(signer))


def describe(certificate: Any) -> dict[str, Any]:
    """What a certificate states, in the words of :meth:`Declaration.public`.

    Names of a kind that the authority never issues appear under ``other``.
    """
    dns: list[str] = []
    ips: list[str] = []
    uris: list[str] = []
    other: list[str] = []
    for name in _extension(certificate, x509.SubjectAlternativeName) or ():
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress):
            ips.append(str(name.value))
        elif isinstance(name, x509.UniformResourceIdentifier):
            uris.append(name.value)
        else:
            other.append(type(name).__name__)
    known = {
        ExtendedKeyUsageOID.SERVER_AUTH: "server",
        ExtendedKeyUsageOID.CLIENT_AUTH: "client",
    }
    usages = [
        known.get(oid, oid.dotted_string)
        for oid in _extension(certificate, x509.ExtendedKeyUsage) or ()
    ]
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    result = {
        "common_name": str(common[0].value) if common else "",
        "dns": sorted(dns),
        "ips": sorted(ips),
        "uris": sorted(uris),
        "usages": sorted(usages, reverse=True),
        "key_type": key_type(certificate.public_key()),
    }
    if other:
        result["other"] = sorted(other)
    return result


def read_constraints(authority: Any) -> Constraints:
    """The name constraints of an authority.

    :raises PhoenixError: when it has none, excludes something or constrains other kinds: then it
        is not an authority of this collection.
    """
    found = _extension(authority, x509.NameConstraints)
    subject = authority.subject.rfc4514_string()
    if found is None or not found.permitted_subtrees or found.excluded_subtrees:
        raise PhoenixError(f"{subject} is not constrained to names as an authority must be")
    dns: list[str] = []
    ips: list[str] = []
    hosts: list[str] = []
    for name in found.permitted_subtrees:
        if isinstance(name, x509.DNSName):
            dns.append(name.value)
        elif isinstance(name, x509.IPAddress):
            ips.append(str(name.value))
        elif isinstance(name, x509.UniformResourceIdentifier):
            hosts.append(name.value)
        else:
            raise PhoenixError(f"{subject} constrains a kind of name that is never issued")
    return Constraints.parse(dns, ips, hosts)


def _check_issuer(authority: Any, name: str, now: datetime, end: datetime) -> None:
    if now < not_before(authority) or now > not_after(authority):
        raise PhoenixError(
            f"certificate {name}: the issuing authority is valid from "
            f"{_date(not_before(authority))} to {_date(not_after(authority))}, "
            f"and it is {_date(now)} here",
            hint="Set the clock, or renew the authority.",
        )
    if end > not_after(authority):
        raise PhoenixError(
            f"certificate {name}: it would outlive the issuing authority, "
            f"which ends on {_date(not_after(authority))}",
            hint="Renew the issuing authority, or ask for a shorter lifetime.",
        )


def _check_names(declared: Declaration, constraints: Constraints) -> None:
    outside = constraints.outside(declared.dns, declared.ips, declared.uris)
    # OpenSSL and Java take a common name for a DNS name where there is no such alternative name.
    common = declared.common_name
    if not declared.dns and "." in common and not constraints.permits_dns(common):
        outside.append(f"common name {common}")
    if outside:
        raise PhoenixError(
            f"certificate {declared.name}: outside the name constraints of the authority: "
            f"{', '.join(outside)}",
            hint=f"Permitted are {_words(constraints)}.",
        )


def _words(constraints: Constraints) -> str:
    parts = [
        *(f"{name} and names below" for name in constraints.dns),
        *(str(network) for network in constraints.ips),
        *(f"URIs with host {host}" for host in constraints.uri_hosts),
    ]
    return ", ".join(parts) or "no names at all"


def _span(now: datetime, lifetime: timedelta) -> tuple[datetime, datetime]:
    now = now.replace(microsecond=0)
    return now - BACKDATE, now + lifetime


def _date(value: datetime) -> str:
    return value.strftime("%Y-%m-%dT%H:%M:%SZ")


def _subject(common_name: str) -> Any:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _extension(certificate: Any, kind: Any) -> Any:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _authority_key_identifier(issuer: tuple[Any, Any] | None, own: Any) -> Any:
    if issuer is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(own)
    identifier = _extension(issuer[0], x509.SubjectKeyIdentifier)
    if identifier is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _name_constraints(constraints: Constraints) -> Any:
    permitted = [
        *(x509.DNSName(name) for name in constraints.dns),
        *(x509.IPAddress(network) for network in constraints.ips),
        *(x509.UniformResourceIdentifier(host) for host in constraints.uri_hosts),
    ]
    if not permitted:
        raise PhoenixError("an authority must be constrained to some name")
    return x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None)


def _key_usage(**allowed: bool) -> Any:
    bits = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: allowed.get(bit, False) for bit in bits})


def _hash_for(key: Any) -> Any:
    curve = getattr(key, "curve", None)
    if isinstance(curve, ec.SECP384R1):
        return hashes.SHA384()
    return hashes.SHA256()
