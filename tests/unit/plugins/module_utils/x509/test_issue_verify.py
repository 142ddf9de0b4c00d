# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is issued, what is refused, and what the verifier finds wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import issue, keys, verify
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import Declaration
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

DAYS_90 = timedelta(days=90)
Make = Callable[..., Any]


@pytest.fixture
def make(authority: Authority, declared: dict[str, Declaration], now: datetime) -> Make:
    """Issue ``api``, with anything changed."""
    issuer = authority.signer("issuing")

    def _make(**changed: Any) -> Any:
        given = {
            "public_key": keys.make_key("ecdsa-p256").public_key(),
            "declared": declared["api"],
            "issuer": issuer,
            "now": now,
            "lifetime": DAYS_90,
            **changed,
        }
        return issue.make_leaf(**given)

    return _make


def test_a_leaf_is_what_was_declared(
    make: Make, declared: dict[str, Declaration], now: datetime
) -> None:
    leaf = make()
    assert issue.describe(leaf) == declared["api"].public()
    assert leaf.not_valid_after_utc == now + DAYS_90
    assert leaf.not_valid_before_utc == now - issue.BACKDATE
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca


def test_a_leaf_without_names_has_no_empty_extension(make: Make) -> None:
    bare = Declaration.parse({"name": "x", "common_name": "login", "usages": ["client"]})
    with pytest.raises(x509.ExtensionNotFound):
        make(declared=bare).extensions.get_extension_for_class(x509.SubjectAlternativeName)


def test_serials_read_the_same_everywhere() -> None:
    for _unused in range(200):
        serial = issue.new_serial()
        assert 0 < serial.bit_length() <= 159
        assert f"{serial:x}" == issue.serial_text(serial)
        assert len(issue.serial_text(serial)) == 40


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dns": ["api.evil.test"]}, "DNS name api.evil.test"),
        ({"ips": ["10.0.0.1"]}, "IP address 10.0.0.1"),
        ({"uris": ["spiffe://evil.test/service/api"]}, "URI spiffe://evil.test"),
        ({"dns": [], "common_name": "api.evil.test"}, "common name api.evil.test"),
    ],
)
def test_names_outside_the_constraints_are_refused(
    make: Make, entries: list[dict[str, Any]], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(PhoenixError, match="outside the name constraints") as caught:
        make(declared=Declaration.parse({**entries[0], **change}))
    assert words in caught.value.message
    assert "198.18.0.0/16" in caught.value.hint


def test_a_leaf_may_not_outlive_its_issuer(make: Make) -> None:
    with pytest.raises(PhoenixError, match="would outlive the issuing authority"):
        make(lifetime=timedelta(days=1200))


@pytest.mark.parametrize("offset", [timedelta(days=-1), timedelta(days=1096)])
def test_an_issuer_that_is_not_valid_now_signs_nothing(
    make: Make, now: datetime, offset: timedelta
) -> None:
    with pytest.raises(PhoenixError, match="the issuing authority is valid from"):
        make(now=now + offset)


def test_an_issuing_authority_may_not_outlive_the_root(
    authority: Authority, constraints: Constraints, now: datetime
) -> None:
    with pytest.raises(PhoenixError, match="would outlive"):
        issue.make_authority(
            key=keys.make_key("ecdsa-p256"),
            common_name="x",
            organization="x",
            constraints=constraints,
            path_length=0,
            now=now,
            lifetime=timedelta(days=4000),
            issuer=authority.signer("root"),
        )


def test_an_authority_without_constraints_is_not_made(now: datetime) -> None:
    with pytest.raises(PhoenixError, match="constrained"):
        issue.make_authority(
            key=keys.make_key("ecdsa-p256"),
            common_name="x",
            organization="x",
            constraints=Constraints(),
            path_length=0,
            now=now,
            lifetime=DAYS_90,
        )


def test_authorities_have_the_profile_of_rfc_5280(authority: Authority) -> None:
    for which, length in (("root", 1), ("issuing", 0)):
        certificate = authority.certificate(which)
        assert certificate is not None
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, length)
        names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
        assert names.critical
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        assert usage.critical
        assert usage.value.key_cert_sign
        assert usage.value.crl_sign
        assert not usage.value.digital_signature


# Requests


def _request(key: Any, common_name: str = "api.estate.test", *more: Any) -> str:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    )
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


def test_a_request_gives_its_key_and_nothing_else(declared: dict[str, Declaration]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    evil = x509.SubjectAlternativeName([x509.DNSName("evil.test")])
    ca = x509.BasicConstraints(ca=True, path_length=None)
    public = issue.check_request(_request(key, "api.estate.test", evil, ca), declared["api"])
    assert keys.same_key(public, key.public_key())


def test_extensions_of_a_request_do_not_reach_the_certificate(
    make: Make, declared: dict[str, Declaration]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    evil = x509.SubjectAlternativeName([x509.DNSName("evil.test")])
    public = issue.check_request(_request(key, "api.estate.test", evil), declared["api"])
    assert issue.describe(make(public_key=public)) == declared["api"].public()


def test_our_own_request_is_accepted(declared: dict[str, Declaration]) -> None:
    key = keys.make_key("ecdsa-p256")
    pem = issue.make_request(key, declared["api"]).decode()
    assert keys.same_key(issue.check_request(pem, declared["api"]), key.public_key())


@pytest.mark.parametrize(
    ("key", "name", "words"),
    [
        (ec.generate_private_key(ec.SECP384R1()), "api.estate.test", "type ecdsa-p384"),
        (rsa.generate_private_key(65537, 2048), "api.estate.test", "type rsa-2048"),
        (ec.generate_private_key(ec.SECP256R1()), "other.estate.test", "CN=other.estate.test"),
    ],
)
def test_requests_with_another_key_or_name_are_refused(
    declared: dict[str, Declaration], key: Any, name: str, words: str
) -> None:
    with pytest.raises(PhoenixError, match=words):
        issue.check_request(_request(key, name), declared["api"])


def test_a_request_that_is_not_signed_by_its_key_is_refused(
    declared: dict[str, Declaration],
) -> None:
    pem = _request(ec.generate_private_key(ec.SECP256R1()))
    request = x509.load_pem_x509_csr(pem.encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    at = bytes(der).rindex(request.signature) + len(request.signature) - 1
    der[at] ^= 1
    broken = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(PhoenixError, match="not signed by the key"):
        issue.check_request(broken.decode(), declared["api"])


@pytest.mark.parametrize("pem", ["", "x", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n"])
def test_what_is_no_request_is_refused(declared: dict[str, Declaration], pem: str) -> None:
    with pytest.raises(PhoenixError, match="not a certificate request"):
        issue.check_request(pem, declared["api"])


# Path validation


def _foreign(authority: Authority, now: datetime, key: Any, **changed: Any) -> Any:
    """A certificate that this collection would not make, signed by its issuing authority."""
    issuer = changed.pop("issuer", authority.signer("issuing"))
    extensions: dict[Any, bool] = {
        x509.BasicConstraints(ca=False, path_length=None): True,
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[0].public_key()): False,
        **changed.pop("extensions", {}),
    }
    for kind in changed.pop("without", ()):
        extensions = {e: critical for e, critical in extensions.items() if not isinstance(e, kind)}
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")]))
        .issuer_name(issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(changed.pop("serial", 1))
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + DAYS_90)
    )
    for extension, critical in extensions.items():
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer[1], changed.pop("digest", hashes.SHA256()))


def test_a_good_chain_verifies(authority: Authority, make: Make, root: Any, now: datetime) -> None:
    verify.check_chain(make(), [authority.certificate("issuing")], root, now, "it")


@pytest.mark.parametrize(
    ("offset", "words"),
    [(timedelta(days=-1), "this machine's clock says"), (timedelta(days=91), "it expired on")],
)
def test_time_is_checked(
    authority: Authority, make: Make, root: Any, now: datetime, offset: timedelta, words: str
) -> None:
    with pytest.raises(PhoenixError, match=words):
        verify.check_chain(make(), [authority.certificate("issuing")], root, now + offset, "it")


def test_an_expired_authority_breaks_a_chain(
    authority: Authority, make: Make, root: Any, now: datetime
) -> None:
    late = now + timedelta(days=1096)
    leaf = make()
    with pytest.raises(PhoenixError, match="expired"):
        verify.check_chain(leaf, [authority.certificate("issuing")], root, late, "it")


def test_another_root_is_refused(
    authority: Authority, make: Make, constraints: Constraints, root: Any, now: datetime
) -> None:
    other = issue.make_authority(
        key=keys.make_key("ecdsa-p384"),
        common_name="estate root",
        organization="estate",
        constraints=constraints,
        path_length=1,
        now=now,
        lifetime=DAYS_90 * 8,
    )
    assert other.subject == root.subject
    with pytest.raises(PhoenixError, match="the chain does not verify"):
        verify.check_chain(make(), [authority.certificate("issuing")], other, now, "it")


def test_a_missing_link_is_refused(make: Make, root: Any, now: datetime) -> None:
    with pytest.raises(PhoenixError, match="does not verify"):
        verify.check_chain(make(), [], root, now, "it")


def test_an_issuing_authority_that_is_no_root_is_no_anchor(
    authority: Authority, make: Make, now: datetime
) -> None:
    with pytest.raises(PhoenixError, match="is not a root"):
        verify.check_chain(make(), [], authority.certificate("issuing"), now, "it")


def test_a_leaf_cannot_issue(authority: Authority, make: Make, root: Any, now: datetime) -> None:
    key = keys.make_key("ecdsa-p256")
    middle = make(public_key=key.public_key())
    leaf = _foreign(authority, now, keys.make_key("ecdsa-p256"), issuer=(middle, key))
    with pytest.raises(PhoenixError, match="not allowed to sign certificates"):
        verify.check_chain(leaf, [middle, authority.certificate("issuing")], root, now, "it")


def test_path_length_is_kept(
    authority: Authority, constraints: Constraints, root: Any, now: datetime
) -> None:
    key = keys.make_key("ecdsa-p256")
    below = issue.make_authority(
        key=key,
        common_name="below",
        organization="estate",
        constraints=constraints,
        path_length=0,
        now=now,
        lifetime=DAYS_90,
        issuer=authority.signer("issuing"),
    )
    leaf = _foreign(authority, now, keys.make_key("ecdsa-p256"), issuer=(below, key))
    with pytest.raises(PhoenixError, match="path length"):
        verify.check_chain(leaf, [below, authority.certificate("issuing")], root, now, "it")


def test_an_authority_is_no_leaf(authority: Authority, root: Any, now: datetime) -> None:
    with pytest.raises(PhoenixError, match="an authority's certificate"):
        verify.check_chain(authority.certificate("issuing"), [], root, now, "it")


@pytest.mark.parametrize(
    ("extensions", "words"),
    [
        (
            {x509.SubjectAlternativeName([x509.DNSName("evil.test")]): False},
            "outside the name constraints",
        ),
        (
            {x509.SubjectAlternativeName([x509.RFC822Name("a@evil.test")]): False},
            "a kind that is never issued",
        ),
        (
            {x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"): True},
            "critical extension that is never issued: 1.2.3.4",
        ),
    ],
)
def test_what_is_never_issued_does_not_verify(
    authority: Authority, root: Any, now: datetime, extensions: dict[Any, bool], words: str
) -> None:
    leaf = _foreign(authority, now, keys.make_key("ecdsa-p256"), extensions=extensions)
    with pytest.raises(PhoenixError, match=words):
        verify.check_chain(leaf, [authority.certificate("issuing")], root, now, "it")


def test_key_identifiers_have_to_agree(authority: Authority, root: Any, now: datetime) -> None:
    leaf = _foreign(
        authority, now, keys.make_key("ecdsa-p256"), without=[x509.AuthorityKeyIdentifier]
    )
    with pytest.raises(PhoenixError, match="key identifiers"):
        verify.check_chain(leaf, [authority.certificate("issuing")], root, now, "it")


def test_a_changed_byte_breaks_the_signature(authority: Authority, make: Make) -> None:
    issuing = authority.certificate("issuing")
    der = bytearray(make().public_bytes(serialization.Encoding.DER))
    at = bytes(der).index(b"api.estate.test")
    der[at : at + 3] = b"apx"
    assert not verify.signed_by(x509.load_der_x509_certificate(bytes(der)), issuing)
    assert verify.signed_by(make(), issuing)


def test_rsa_signatures_verify_too(now: datetime, constraints: Constraints) -> None:
    key = keys.make_key("rsa-3072")
    root = issue.make_authority(
        key=key,
        common_name="r",
        organization="e",
        constraints=constraints,
        path_length=1,
        now=now,
        lifetime=DAYS_90,
    )
    assert verify.signed_by(root, root)


# Revocation lists


def test_a_revocation_list_is_signed_and_names_serials(authority: Authority, now: datetime) -> None:
    made = issue.make_revocation_list(
        issuer=authority.signer("issuing"),
        revoked=[(4711, now)],
        number=7,
        now=now,
        lifetime=timedelta(days=30),
    )
    assert verify.signed_by(made, authority.certificate("issuing"))
    assert not verify.signed_by(made, authority.certificate("root"))
    assert [entry.serial_number for entry in made] == [4711]
    assert made.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 7
