# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates in the eyes of others: OpenSSL (strict), Go and Java.

Each accepts what is right, and refuses a name outside the constraints, an expired certificate and
a wrong usage. What they are to refuse is made with the real authority by going round its checks.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, issue, keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    KEY_TYPES,
    Declaration,
    Lifetime,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

SOURCES = Path(__file__).parent / "fixtures" / "verifiers"
CACHE = Path(__file__).parents[2] / "build" / "cache"
NAME = "api.estate.test"
NOW = datetime.now(UTC).replace(microsecond=0)
API = Declaration.parse(
    {
        "name": "api",
        "common_name": NAME,
        "dns": [NAME],
        "ips": ["127.0.0.1", "198.18.3.4"],
        "uris": ["spiffe://estate.test/service/api"],
        "usages": ["server", "client"],
    }
)
LOGIN = Declaration.parse(
    {
        "name": "api.app_login",
        "common_name": "app_login",
        "uris": ["spiffe://estate.test/service/api/login/app_login"],
        "usages": ["client"],
    }
)

# Verifies a chain for a usage at a time: whether it is accepted, and what was said.
Verifier = Callable[[Path, Path, str, datetime], tuple[bool, str]]


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing: apt-get install --no-install-recommends {package}"
    return found


def outcome(command: list[Any]) -> tuple[bool, str]:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode == 0, done.stdout + done.stderr


def openssl(root: Path, chain: Path, usage: str, at: datetime) -> tuple[bool, str]:
    command = [tool("openssl", "openssl"), "verify", "-x509_strict", "-no-CApath", "-no-CAstore"]
    command += ["-attime", str(int(at.timestamp())), "-purpose", f"ssl{usage}"]
    if usage == "server":
        command += ["-verify_hostname", NAME]
    return outcome([*command, "-CAfile", root, "-untrusted", chain, chain])


@pytest.fixture(scope="session")
def go_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = tool("go", "golang-go")
    place = tmp_path_factory.mktemp("go")
    shutil.copy(SOURCES / "verify.go", place / "main.go")
    subprocess.run(
        [go, "build", "-o", "verify", "main.go"],
        cwd=place,
        check=True,
        env={
            "PATH": str(Path(go).parent),
            "HOME": str(place),
            "GOCACHE": str(CACHE / "go"),
            "GO111MODULE": "off",
            "CGO_ENABLED": "0",
        },
    )
    return place / "verify"


@pytest.fixture(scope="session")
def java_program(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    place = tmp_path_factory.mktemp("java")
    subprocess.run(
        [tool("javac", "default-jdk-headless"), "-d", str(place), str(SOURCES / "Verify.java")],
        check=True,
    )
    return [tool("java", "default-jre-headless"), "-cp", str(place), "Verify"]


@pytest.fixture(params=["openssl", "go", "java"])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    if request.param == "openssl":
        return openssl
    if request.param == "go":
        program = request.getfixturevalue("go_program")

        def go(root: Path, chain: Path, usage: str, at: datetime) -> tuple[bool, str]:
            name = NAME if usage == "server" else ""
            return outcome([program, root, chain, usage, name, at.isoformat()])

        return go
    command = request.getfixturevalue("java_program")

    def java(root: Path, chain: Path, usage: str, at: datetime) -> tuple[bool, str]:
        moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return outcome([*command, root, chain, usage, moment])

    return java


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("state") / "ca", b"correct horse battery staple")
    constraints = Constraints.parse(
        ["estate.test"], ["127.0.0.1/32", "198.18.0.0/16"], ["estate.test"]
    )
    settings = flow.AuthoritySettings(
        "estate", constraints, 3650 * 86400, Lifetime.parse("1095d", None), 30 * 86400
    )
    flow.ensure_authority(made, settings, NOW, Plan())
    return made


@pytest.fixture(scope="session")
def issuer(authority: Authority) -> tuple[Any, Any]:
    return authority.signer("issuing")


@pytest.fixture
def chain(issuer: tuple[Any, Any], tmp_path: Path) -> Callable[..., Path]:
    def _chain(declared: Declaration = API, key: Any = None, signer: Any = None) -> Path:
        by = signer or issuer
        leaf = issue.make_leaf(
            public_key=(key or keys.make_key(declared.key_type)).public_key(),
            declared=declared,
            issuer=by,
            now=NOW,
            lifetime=timedelta(days=90),
        )
        path = tmp_path / "chain.pem"
        path.write_bytes(keys.certificate_pem(leaf) + keys.certificate_pem(by[0]))
        return path

    return _chain


@pytest.fixture
def root(authority: Authority) -> Path:
    return authority.directory / "root.crt"


@pytest.mark.parametrize("usage", ["server", "client"])
def test_a_service_is_accepted(
    verifier: Verifier, root: Path, chain: Callable[..., Path], usage: str
) -> None:
    accepted, words = verifier(root, chain(), usage, NOW)
    assert accepted, words


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_every_type_of_key_is_accepted(
    verifier: Verifier, root: Path, chain: Callable[..., Path], key_type: str
) -> None:
    accepted, words = verifier(root, chain(replace(API, key_type=key_type)), "server", NOW)
    assert accepted, words


def test_a_login_is_accepted_as_a_client(
    verifier: Verifier, root: Path, chain: Callable[..., Path]
) -> None:
    accepted, words = verifier(root, chain(LOGIN), "client", NOW)
    assert accepted, words


def test_a_host_with_dots_in_its_name_is_accepted(
    verifier: Verifier, root: Path, chain: Callable[..., Path]
) -> None:
    """Its common name is outside the constraints, and not looked at since there is a DNS name."""
    host = replace(API, common_name="vps1.provider.example")
    accepted, words = verifier(root, chain(host), "client", NOW)
    assert accepted, words


@pytest.mark.parametrize(
    "outside",
    [
        {"dns": ("api.estate.test", "api.evil.test")},
        {"ips": ("127.0.0.2",)},
        {"ips": ("::1",)},
        {"uris": ("spiffe://evil.test/service/api",)},
    ],
    ids=["dns", "ip", "ip6", "uri"],
)
def test_a_name_outside_the_constraints_is_refused(
    verifier: Verifier,
    root: Path,
    chain: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    outside: dict[str, Any],
) -> None:
    monkeypatch.setattr(issue, "_check_names", lambda *_unused: None)
    accepted, words = verifier(root, chain(replace(API, **outside)), "server", NOW)
    assert not accepted
    assert any(
        known in words.lower()
        for known in ("permitted subtree violation", "not permitted", "name constraints")
    ), words


def test_a_uri_with_a_host_below_is_refused(
    verifier: Verifier,
    root: Path,
    chain: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """RFC 5280 permits exactly the host. Go permits what is below it too, so servers in Go have
    to compare whole SPIFFE IDs, as the estate's do; the day that Go changes, this test says so."""
    monkeypatch.setattr(issue, "_check_names", lambda *_unused: None)
    below = replace(API, uris=("spiffe://sub.estate.test/service/api",))
    accepted, words = verifier(root, chain(below), "server", NOW)
    assert accepted == ("[go]" in request.node.name), words


@pytest.mark.parametrize("days", [-1, 91])
def test_a_certificate_outside_its_time_is_refused(
    verifier: Verifier, root: Path, chain: Callable[..., Path], days: int
) -> None:
    accepted, words = verifier(root, chain(), "server", NOW + timedelta(days=days))
    assert not accepted
    assert any(
        k in words.lower() for k in ("expired", "not yet valid", "validity", "not before")
    ), words


@pytest.mark.parametrize(("usages", "asked"), [(("client",), "server"), (("server",), "client")])
def test_a_wrong_usage_is_refused(
    verifier: Verifier,
    root: Path,
    chain: Callable[..., Path],
    usages: tuple[str, ...],
    asked: str,
) -> None:
    accepted, words = verifier(root, chain(replace(API, usages=usages)), asked, NOW)
    assert not accepted
    assert any(
        known in words.lower()
        for known in (
            "unsuitable certificate purpose",
            "unsupported certificate purpose",
            "key usage",
            "extended key usage",
        )
    ), words


def test_a_service_cannot_issue(
    verifier: Verifier,
    root: Path,
    chain: Callable[..., Path],
    issuer: tuple[Any, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stolen leaf key signs another leaf."""
    key = keys.make_key("ecdsa-p256")
    stolen = chain(API, key).read_bytes()
    monkeypatch.setattr(issue, "_check_issuer", lambda *_unused: None)
    monkeypatch.setattr(issue, "_check_names", lambda *_unused: None)
    monkeypatch.setattr(issue, "read_constraints", lambda _unused: None)
    middle = keys.load_certificates(stolen, "stolen")[0]
    forged = chain(replace(API, common_name="forged"), signer=(middle, key))
    forged.write_bytes(forged.read_bytes() + keys.certificate_pem(issuer[0]))
    accepted, words = verifier(root, forged, "server", NOW)
    assert not accepted, words


def test_openssl_refuses_what_is_revoked(
    authority: Authority, root: Path, chain: Callable[..., Path], issuer: tuple[Any, Any]
) -> None:
    path = chain()
    leaf = keys.load_certificates(path.read_bytes(), "chain")[0]
    index = authority.index()
    index.record("api", leaf, issuer[0], NOW)
    authority.save_index(index)
    flow.ensure_revocation_lists(authority, 30 * 86400, NOW, Plan())
    command: list[Any] = [tool("openssl", "openssl"), "verify", "-x509_strict", "-crl_check_all"]
    for name in ("crl.pem", "root-crl.pem"):
        command += ["-CRLfile", authority.directory / name]
    command += ["-CAfile", root, "-untrusted", path, path]
    accepted, words = outcome(command)
    assert accepted, words
    flow.ensure_revocation_lists(
        authority, 30 * 86400, NOW, Plan(), revoke=[issue.serial_text(leaf.serial_number)]
    )
    accepted, words = outcome(command)
    assert not accepted
    assert "certificate revoked" in words


def test_openssl_takes_a_list_with_a_certificate_of_the_issuing_authority_before(
    authority: Authority, root: Path, chain: Callable[..., Path], issuer: tuple[Any, Any]
) -> None:
    """It refuses none of the present one's for that, nor the list itself."""
    path = chain()
    leaf = keys.load_certificates(path.read_bytes(), "chain")[0]
    before = issue.serial_text(2**158 + 1)
    index = authority.index()
    index.record("api", leaf, issuer[0], NOW)
    index.certificates.append({**index.certificates[-1], "serial": before, "issuer": "0" * 40})
    authority.save_index(index)
    flow.ensure_revocation_lists(authority, 30 * 86400, NOW, Plan(), revoke=[before])
    made = authority.revocation_list("crl.pem")
    assert before in {issue.serial_text(entry.serial_number) for entry in made or []}
    command: list[Any] = [tool("openssl", "openssl"), "verify", "-x509_strict", "-crl_check_all"]
    for name in ("crl.pem", "root-crl.pem"):
        command += ["-CRLfile", authority.directory / name]
    accepted, words = outcome([*command, "-CAfile", root, "-untrusted", path, path])
    assert accepted, words
