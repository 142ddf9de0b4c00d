# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vault_migrate run by its main(), and exactly what it asks each of the two servers for."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.kv import Scope
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.source import (
    ReadOnlyClient,
    refuse_plain_http,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.answers import Reply
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import Connection
from ansible_collections.tamshai.phoenix.plugins.modules import vault_migrate

OLD, NEW = "http://127.0.0.1:8201", "https://vault.test:8200"
MOUNTS = {
    "secret/": {"type": "kv", "options": {"version": "2"}, "config": {}},
    "sys/": {"type": "system"},
    "pki/": {"type": "pki"},
}
ABOUT = {"current_version": 1, "versions": {"1": {"deletion_time": "", "destroyed": False}}}
ROLE = {"token_ttl": 3600, "token_policies": ["p"], "bind_secret_id": True, "brand_new": "x"}


class Servers:
    """What the two would answer, and what they were asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str, str], Any] = {}
        self.calls: dict[str, list[tuple[str, str]]] = {OLD: [], NEW: []}
        self.bodies: list[Any] = []

    def holds(self, url: str, path: str, data: Any, method: str = "GET") -> None:
        self.answers[url, method, path] = {"data": data}

    def lists(self, url: str, path: str, *keys: str) -> None:
        self.holds(url, path, {"keys": list(keys)}, "LIST")

    def call(self, client: VaultClient, method: str, path: str, **options: Any) -> Reply:
        path, url = path.strip("/"), client.connection.url
        self.calls[url].append((method, path))
        if method not in ("GET", "LIST"):
            self.bodies.append(options.get("body") or json.loads(options.get("payload") or b"{}"))
            # What was written can be read back.
            if "/data/" in path:
                self.holds(NEW, path, {"data": self.bodies[-1]["data"]})
                self.holds(NEW, path.replace("/data/", "/metadata/"), ABOUT)
            elif path.startswith("sys/policies"):
                self.holds(NEW, path, self.bodies[-1])
            elif path.startswith("auth/approle/role"):
                self.holds(NEW, path, {**ROLE, **self.bodies[-1]})
                self.holds(NEW, f"{path}/role-id", {"role_id": self.bodies[-1]["role_id"]})
            return Reply(204, {})
        answer = self.answers.get((url, method, path))
        if answer is None:
            return Reply(404, {})
        return Reply(200, answer if path != "sys/seal-status" else answer["data"])


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    made = Servers()

    def call(self: VaultClient, method: str, path: str, **options: Any) -> Reply:
        return made.call(self, method, path, **options)

    monkeypatch.setattr(VaultClient, "call", call)
    for url in (OLD, NEW):
        made.holds(url, "sys/seal-status", {"cluster_id": url, "version": "9.9"})
    made.holds(NEW, "sys/mounts", {})
    made.holds(NEW, "sys/auth", {"approle/": {"type": "approle"}})
    made.holds(OLD, "sys/mounts", MOUNTS)
    made.holds(OLD, "sys/auth", {"approle/": {"type": "approle"}, "token/": {"type": "token"}})
    made.lists(OLD, "secret/metadata", "app")
    made.holds(OLD, "secret/metadata/app", ABOUT)
    made.holds(OLD, "secret/data/app", {"data": {"PASSWORD": "of the source"}})
    made.lists(OLD, "sys/policies/acl", "default", "root", "mcp-hr")
    made.holds(OLD, "sys/policies/acl/mcp-hr", {"policy": "# text"})
    made.lists(OLD, "auth/approle/role", "mcp-hr")
    made.holds(OLD, "auth/approle/role/mcp-hr", ROLE)
    made.holds(OLD, "auth/approle/role/mcp-hr/role-id", {"role_id": "mcp-hr-role-id"})
    made.lists(OLD, "auth/approle/role/mcp-hr/secret-id", "accessor 1", "accessor 2")
    return made


def run(*, check: bool = False, **arguments: Any) -> dict[str, Any]:
    options = {
        "url": NEW,
        "token": "token of the target",
        "source": {"url": OLD, "token": "token of the source"},
        "fingerprint_key": "key of fingerprints",
        "concurrency": 1,
        **arguments,
        "_ansible_check_mode": check,
        "_ansible_diff": True,
    }
    output = io.StringIO()
    with (
        patch_module_args(options),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        vault_migrate.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


def writes(servers: Servers, url: str = NEW) -> list[tuple[str, str]]:
    return [call for call in servers.calls[url] if call[0] not in ("GET", "LIST")]


def test_what_is_written_and_in_which_order(servers: Servers) -> None:
    result = run()
    assert not result.get("failed"), result
    assert writes(servers) == [
        ("POST", "sys/mounts/secret"),
        ("POST", "secret/data/app"),
        ("POST", "sys/policies/acl/mcp-hr"),
        ("POST", "auth/approle/role/mcp-hr"),
    ]
    assert servers.bodies[1] == {"options": {"cas": 0}, "data": {"PASSWORD": "of the source"}}
    assert servers.bodies[3]["role_id"] == "mcp-hr-role-id"
    assert writes(servers, OLD) == []
    assert result["counts"] == {"created": 4, "unchanged": 1}
    assert "of the source" not in json.dumps({k: v for k, v in result.items() if k != "invocation"})
    told = {f"{lost['name']}: {lost['why']}" for lost in result["not_kept"]}
    assert "pki: engines of type pki stay" in told
    assert "approle/mcp-hr: the target does not know the setting brand_new" in told
    left = [lost["secret_ids"] for lost in result["not_kept"] if "secret_ids" in lost]
    assert left == [2]


def test_check_mode_says_the_same_and_writes_nothing(servers: Servers) -> None:
    foreseen = run(check=True)
    assert writes(servers) == []
    made = run()
    assert [foreseen[k] for k in ("objects", "diff", "record")] == [
        made[k] for k in ("objects", "diff", "record")
    ]


def test_the_target_is_not_asked_for_what_it_does_not_list(servers: Servers) -> None:
    run(check=True)
    assert not any("secret/" in path for _method, path in servers.calls[NEW])
    assert ("GET", "auth/approle/role/mcp-hr") not in servers.calls[NEW]


def test_a_token_that_is_a_word_neither_shows_nor_garbles_names(servers: Servers) -> None:
    servers.lists(OLD, "sys/policies/acl", "root-ca")
    servers.holds(OLD, "sys/policies/acl/root-ca", {"policy": "# of root"})
    result = run(source={"url": OLD, "token": "root"})
    assert "policy root-ca" in result["record"]
    assert result["record"]["policy root-ca"]["name"] == "root-ca"
    assert result["invocation"]["module_args"]["source"]["token"] == "********"
    assert "token of the target" not in json.dumps(result)


def test_a_clash_writes_nothing(servers: Servers) -> None:
    servers.lists(NEW, "sys/policies/acl", "mcp-hr")
    servers.holds(NEW, "sys/policies/acl/mcp-hr", {"policy": "# another"})
    result = run()
    assert result["clashes"] == [{"kind": "policy", "name": "mcp-hr", "why": "its text is another"}]
    assert writes(servers) == []


def test_the_callers_own_policy_is_not_replaced(servers: Servers) -> None:
    servers.lists(NEW, "sys/policies/acl", "mcp-hr")
    servers.holds(NEW, "sys/policies/acl/mcp-hr", {"policy": "# another"})
    servers.holds(NEW, "auth/token/lookup-self", {"policies": ["mcp-hr"]})
    result = run(clash="replace")
    assert result["failed"] is True
    assert result["clashes"][0]["why"] == "the caller's own"


def test_a_secret_that_changes_between_reading_and_writing(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = servers.call

    def call(client: VaultClient, method: str, path: str, **options: Any) -> Reply:
        if (method, path) == ("POST", "sys/mounts/secret"):
            servers.holds(OLD, "secret/data/app", {"data": {"PASSWORD": "another"}})
        return original(client, method, path, **options)

    monkeypatch.setattr(servers, "call", call)
    result = run()
    assert "has changed at the source meanwhile" in result["msg"]
    assert ("POST", "secret/data/app") not in writes(servers)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mounts": [{"source": "nowhere"}]}, "has no key-value engine nowhere"),
        (
            {"mounts": [{"source": "secret"}, {"source": "other", "target": "secret"}]},
            "named twice as a target: secret",
        ),
        ({"approle_mounts": {"elsewhere": "x"}}, "has no AppRole method elsewhere"),
        ({"source": {"url": OLD}}, "needs 'token' or 'token_file'"),
    ],
)
def test_wrong_options_are_refused(servers: Servers, options: dict[str, Any], said: str) -> None:
    assert said in run(**options)["msg"]
    assert writes(servers) == []


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8200", "http://[::1]:8200", "http://localhost:8200", "https://x.test"]
)
def test_where_plain_http_is_harmless(url: str) -> None:
    refuse_plain_http(url, allowed=False)


@pytest.mark.parametrize("url", ["http://10.1.2.3:8200", "http://127.0.0.1.evil.test"])
def test_where_it_is_not(url: str) -> None:
    with pytest.raises(PhoenixError, match="in clear over the network"):
        refuse_plain_http(url, allowed=False)
    refuse_plain_http(url, allowed=True)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_source_is_sent_no_write_whoever_asks(method: str) -> None:
    client = ReadOnlyClient(Connection(url="http://127.0.0.1:1", token="t"))
    with pytest.raises(errors.RefusedError, match="is only read"):
        client.call(method, "secret/data/x")


@pytest.mark.parametrize(
    ("path", "held"),
    [
        ("apps", True),
        ("apps/a", True),
        ("apps/tmp", False),
        ("apps/tmp/x", False),
        ("apps/tmpx", True),
        ("apps2", False),
        ("other/deep/x", True),
        ("other", False),
    ],
)
def test_prefixes_are_folders_and_secrets(path: str, held: bool) -> None:
    scope = Scope("s", "t", ("apps/", "/other/deep"), ("apps/tmp",))
    assert scope.holds(path) is held


def test_only_folders_that_may_hold_something_are_listed() -> None:
    scope = Scope("s", "t", ("apps/a", "other"), ("other/not",))
    folders = ["apps/", "apps/a/", "apps/b/", "other/", "other/not/", "else/"]
    assert [f for f in folders if scope.leads(f)] == ["apps/", "apps/a/", "other/"]
