# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules in the hands of someone who has a server and nothing else of this collection.

What is wrong is told before anything is written, all of it at once; what is right converges.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.transport import tls_context
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_db_static_role,
    vault_init,
    vault_kv,
    vault_rekey,
    vault_seal_info,
    vault_snapshot,
    vault_unseal,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="the bao binary is missing")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        with made.ready().client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
            client.write("sys/mounts/old", {"type": "kv", "options": {"version": "1"}})
        yield made


@pytest.fixture
def root(server: OpenBao) -> Iterator[VaultClient]:
    with server.client() as client:
        yield client


def writes(server: OpenBao) -> int:
    """How many requests that change something the server has logged."""
    entries = map(json.loads, server.audit_log.read_text(encoding="utf-8").splitlines())
    return sum(
        entry["type"] == "request" and entry["request"]["operation"] not in ("read", "list", "help")
        for entry in entries
    )


def refused(server: OpenBao, module: Any, *words: str, **options: Any) -> dict[str, Any]:
    """The result of a call that has to fail in these words, alike in check mode, having written
    nothing."""
    before = writes(server)
    at = {**server.arguments(token=server.root_token), **options}
    for check in (True, False):
        result = run_module(module, check=check, **{k: v for k, v in at.items() if v is not None})
        assert result.get("failed"), result
        for word in words:
            assert word in result["msg"]
    assert writes(server) == before
    return result


class TestKv:
    def put(self, server: OpenBao, path: str, **more: Any) -> list[bool]:
        """Whether each of a prediction, a run and another run changes something."""
        key, mount = more.pop("fingerprint_key", None), more.pop("mount", "kv")
        secrets = [{"path": path, **more}]
        at = server.arguments(token=server.root_token, mount=mount, secrets=secrets)
        at |= {"fingerprint_key": key} if key else {}
        results = [run_module(vault_kv, check=check, **at) for check in (True, False, False)]
        assert not [result for result in results if result.get("failed")], results
        return [result["changed"] for result in results]

    @pytest.mark.parametrize("key", [None, "a key of fingerprints"])
    def test_mappings_become_what_is_stated(
        self, server: OpenBao, root: VaultClient, key: str | None
    ) -> None:
        path = f"mappings-{key is None}"
        whole = {"a": {"x": 1, "y": {"z": [1, {"q": 2}], "w": 0}}, "theirs": {"b": 1}}
        assert self.put(server, path, data=whole, fingerprint_key=key) == [True, True, False]
        for value in ({"x": 1}, {"y": {"w": 1}}, {}, "text", ["list"], {"x": {"y": "z"}}):
            changed = self.put(server, path, data={"a": value}, fingerprint_key=key)
            assert changed == [True, True, False], value
            kept = (root.read(f"kv/data/{path}") or {})["data"]
            assert kept == {"a": value, "theirs": {"b": 1}}

    def test_true_is_not_one(self, server: OpenBao, root: VaultClient) -> None:
        assert self.put(server, "true", data={"a": 1}) == [True, True, False]
        assert self.put(server, "true", data={"a": True}) == [True, True, False]
        assert (root.read("kv/data/true") or {})["data"]["a"] is True
        assert self.put(server, "true", data={"a": 1.5, "b": [False]}) == [True, True, False]
        assert self.put(server, "true", data={"b": [0]}) == [True, True, False]
        assert self.put(server, "true", data={"b": [0.0]}) == [False, False, False]

    def test_metadata_of_a_secret_that_is_still_to_be_written(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        about = {"owner": "hr"}
        assert self.put(server, "bare", custom_metadata=about) == [True, True, False]
        assert (root.read("kv/metadata/bare") or {})["custom_metadata"] == about

    @pytest.mark.parametrize("key", [None, "a key of fingerprints"])
    def test_a_version_that_ends_by_itself_is_not_ended_yet(
        self, server: OpenBao, root: VaultClient, key: str | None
    ) -> None:
        path = f"ends-{key is None}"
        root.write(f"kv/metadata/{path}", {"delete_version_after": "1h"})
        put = {"data": {"A": "x"}, "generate": [{"key": "MADE"}], "fingerprint_key": key}
        assert self.put(server, path, **put) == [True, True, False]
        made = (root.read(f"kv/data/{path}") or {})["data"]["MADE"]
        root.write(f"kv/delete/{path}", {"versions": [1]})
        assert self.put(server, path, **put) == [True, True, False]
        assert (root.read(f"kv/data/{path}") or {})["data"]["MADE"] != made

    def test_absent_deletes_what_is_there_once(self, server: OpenBao, root: VaultClient) -> None:
        gone = {"state": "absent"}
        assert self.put(server, "gone", **gone) == [False, False, False]
        assert self.put(server, "gone", data={"A": "x"}) == [True, True, False]
        assert self.put(server, "gone", **gone) == [True, True, False]
        assert root.read("kv/data/gone") is None
        root.write("kv/undelete/gone", {"versions": [1]})
        root.write("kv/metadata/gone", {"delete_version_after": "1h"})
        root.write("kv/data/gone", {"data": {"A": "y"}})
        assert self.put(server, "gone", **gone) == [True, True, False]
        assert self.put(server, "gone", data={"A": "x"}) == [True, True, False]
        root.write("kv/destroy/gone", {"versions": [3]})
        assert self.put(server, "gone", **gone) == [False, False, False]
        mixed = [{"path": "gone", "state": "absent", "data": {"A": "x"}}]
        refused(server, vault_kv, "and that it is absent", mount="kv", secrets=mixed)
        old = [{"path": "gone", "state": "absent"}]
        refused(server, vault_kv, "old is an engine of version 1", mount="old", secrets=old)

    @pytest.mark.parametrize("key", [None, "a key of fingerprints"])
    def test_an_engine_that_demands_check_and_set_of_everything(
        self, server: OpenBao, root: VaultClient, key: str | None
    ) -> None:
        if "strict/" not in (root.read("sys/mounts") or {}):
            root.write("sys/mounts/strict", {"type": "kv", "options": {"version": "2"}})
            demands = {"cas_required": True, "metadata_cas_required": True}
            root.write("strict/config", demands)
        more = {"mount": "strict", "fingerprint_key": key}
        for value in ("one", "two"):
            about = {"data": {"A": value}, "custom_metadata": {"is": value}}
            assert self.put(server, f"a-{key is None}", **about, **more) == [True, True, False]

    def test_an_engine_of_version_1_is_not_written_into(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        secrets = [{"path": "a", "data": {"A": "value"}}]
        refused(server, vault_kv, "old is an engine of version 1", mount="old", secrets=secrets)
        refused(server, vault_kv, "of type cubbyhole", mount="cubbyhole", secrets=secrets)
        assert root.keys("old") == []

    def test_all_mistakes_at_once(self, server: OpenBao) -> None:
        secrets: list[dict[str, Any]] = [
            {"path": "", "data": {"A": "x"}},
            {"path": "a/../b", "data": {"A": "x"}},
            {"path": "n", "data": {"NULL": None, "LIST": [{"k": None}], "BIG": 2**60 + 1}},
            {"path": "g", "generate": [{"key": "SHORT", "length": 0}]},
            {"path": "h", "generate": [{"key": "TWICE"}, {"key": "TWICE"}]},
            {"path": "m", "custom_metadata": {"k" * 129: "x", "empty": "", "long": "x" * 513}},
            {"path": "same", "data": {"A": "x"}},
            {"path": "/same/", "data": {"A": "x"}},
        ]
        words = (
            "(no path): no path of a secret",
            "a/../b: no path of a secret",
            "BIG, LIST, NULL",
            "g: generated without a single character: SHORT",
            "h: generated twice: TWICE",
            "a name has 1 to 128 bytes",
            "a value has 1 to 512 bytes: 'empty'",
            "a value has 1 to 512 bytes: 'long'",
            "declared twice: same",
        )
        refused(server, vault_kv, *words, mount="kv", secrets=secrets)

    def test_a_path_with_a_line_break(self, server: OpenBao) -> None:
        secrets = [{"path": "a\nb", "data": {"A": "x"}}]
        refused(server, vault_kv, "must not hold line breaks", mount="kv", secrets=secrets)


class TestAppRole:
    def test_a_secret_id_does_not_leave_in_clear_by_a_wrap_of_no_length(
        self, server: OpenBao
    ) -> None:
        for none in ("0", "0s", 0):
            words = "0 would not wrap the SecretID"
            refused(server, vault_approle, words, name="r", secret_id_issue={"wrap_ttl": none})

    def test_all_mistakes_at_once(self, server: OpenBao) -> None:
        refused(
            server,
            vault_approle,
            *("secret_id_keep", "wrap_ttl: not a duration: 'soon'", "ttl: not a duration: 'x'"),
            *("num_uses: less than nothing: -1", "not a network: '1.2.3.4/99', 'here'"),
            name="r",
            secret_id_keep=-1,
            secret_id_issue={
                "wrap_ttl": "soon",
                "ttl": "x",
                "num_uses": -1,
                "cidr_list": ["1.2.3.4/99", "here"],
            },
        )
        refused(
            server,
            vault_approle,
            *("token_ttl: not a duration: 'a'", "token_max_ttl: not a duration: 'b'"),
            *("token_num_uses: less than nothing: -1", "token_bound_cidrs: not a network: 'c'"),
            name="r",
            token_ttl="a",
            token_max_ttl="b",
            token_num_uses=-1,
            token_bound_cidrs=["c"],
        )

    @pytest.mark.parametrize("name", ["", "a/b"])
    def test_a_name_that_leads_elsewhere(self, server: OpenBao, name: str) -> None:
        refused(server, vault_approle, f"approle {name!r}: a name", name=name)

    def test_what_goes_with_no_removal(self, server: OpenBao) -> None:
        options = {"secret_id_keep": 0, "secret_id_list": True, "secret_id_tidy": True}
        words = [f"'{name}' is of no use with state 'absent'" for name in options]
        refused(server, vault_approle, *words, name="r", state="absent", **options)

    def test_a_role_id_of_another_is_refused_at_once(self, server: OpenBao) -> None:
        at = server.arguments(token=server.root_token, role_id="mine", retries=9)
        assert run_module(vault_approle, **at, name="first")["role_id"] == "mine"
        result = run_module(vault_approle, **at, name="second")
        assert result["vault_error"] == "refused"
        assert "role_id already in use" in result["msg"]

    def test_one_who_issues_a_secret_id_learns_the_role_id(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        issue = {"plain": True, "cidr_list": ["127.0.0.1"], "metadata": {"n": 1, "on": True}}
        at = server.arguments(token=server.root_token, name="whole", secret_id_issue=issue)
        result = run_module(vault_approle, **at, mount="approle/", secret_id_tidy=True)
        login = {"role_id": result["role_id"], "secret_id": result["issued"]["secret_id"]}
        auth = root.call("POST", "auth/approle/login", body=login, authenticated=False).body["auth"]
        assert auth["metadata"] == {"role_name": "whole", "n": "1", "on": "true"}

    def test_a_token_for_one_role_needs_no_list_of_all(
        self, server: OpenBao, root: VaultClient
    ) -> None:
        rights = 'path "auth/approle/role/narrow" { capabilities = ["create", "read", "update"] }'
        root.write("sys/policies/acl/narrow", {"policy": rights})
        made = root.write("auth/token/create", {"policies": ["narrow"], "ttl": "1m"})
        at = server.arguments(token=made["auth"]["client_token"], name="narrow", token_ttl="5m")
        results = [run_module(vault_approle, check=check, **at) for check in (True, False, False)]
        assert [result.get("verdict") for result in results] == ["created", "created", "unchanged"]
        assert "role_id" not in results[1]  # which this token may not read, and nobody asked for


class TestConfig:
    def test_all_mistakes_at_once(self, server: OpenBao) -> None:
        refused(
            server,
            vault_config,
            *("policy p is declared twice", "policy q: text: no server takes an empty policy"),
            *("token_ttl: not a duration: 'abc'", "approle 'x/y': a name", "max_versions: less"),
            *("approle/long: token_ttl: it is longer", "cert/c: certificate: there is none in it"),
            *("purge of every policy is refused", "purge of every approle is refused"),
            *("purge of every static role is refused", "purge of every rate limit is refused"),
            policies=[
                {"name": "p", "text": "# a"},
                {"name": "P", "text": "# b"},
                {"name": "q", "text": " \n"},
            ],
            approles=[
                {"name": "a", "token_ttl": "abc"},
                {"name": "x/y"},
                {"name": "long", "token_ttl": "2h", "token_max_ttl": "1h"},
            ],
            cert_roles=[{"name": "c", "certificate": "/etc/ssl/ca.pem"}],
            secret_engines=[{"path": "kv", "type": "kv", "kv": {"max_versions": -1}}],
            purge=[
                {"kind": "policy", "prefix": "/"},
                {"kind": "approle", "prefix": "approle/"},  # all of one mount
                {"kind": "static role", "prefix": "a/b/"},
                {"kind": "rate limit", "prefix": ""},
            ],
        )

    def test_what_cannot_be_put_right_is_listed_whole(self, server: OpenBao) -> None:
        result = refused(
            server,
            vault_config,
            *("secret engine kv has type='kv'", "auth method approle has type='approle'"),
            auth_methods=[{"path": "approle", "type": "cert"}],
            secret_engines=[{"path": "kv", "type": "transit"}],
            policies=[{"name": "not-written", "text": "# a"}],
        )
        verdicts = {entry["name"]: entry["verdict"] for entry in result["objects"]}
        assert verdicts == {"approle": "drifted", "kv": "drifted", "not-written": "created"}

    def test_a_role_of_a_mount_that_nobody_makes(
        self, server: OpenBao, root: VaultClient, capfd: pytest.CaptureFixture[str]
    ) -> None:
        at = server.arguments(token=server.root_token, approles=[{"name": "a", "mount": "nobody"}])
        policies = [{"name": "before-it", "text": "# a"}]
        predicted = run_module(vault_config, check=True, **at, policies=policies)
        told = json.dumps(predicted.get("warnings")) + capfd.readouterr().err
        assert "nothing is mounted at auth/nobody" in told
        result = run_module(vault_config, **at, policies=policies)
        assert "nothing is mounted at auth/nobody" in result["msg"]
        assert root.read("sys/policies/acl/before-it") is None
        made = {"auth_methods": [{"path": "nobody", "type": "approle"}]}
        assert run_module(vault_config, **at, **made)["counts"] == {"created": 2}

    def test_the_engine_s_other_names(self, server: OpenBao) -> None:
        engines = [{"path": "two", "type": "kv-v2"}, {"path": "one", "type": "kv-v1"}]
        at = server.arguments(token=server.root_token, secret_engines=engines)
        assert run_module(vault_config, **at)["counts"] == {"created": 2}
        assert run_module(vault_config, **at)["counts"] == {"unchanged": 2}

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql://rotator:in-the-url@db.test/x",
            "rotator:in-the-url@tcp(db.test:3306)/",
            "host=db.test user=rotator password='in-the-url'",
        ],
    )
    def test_a_password_in_an_address_is_refused_and_not_shown(
        self, server: OpenBao, url: str
    ) -> None:
        connection = {"name": "a", "plugin_name": "postgresql-database-plugin"}
        connections = [{**connection, "connection_url": url, "username": "rotator"}]
        words = "connection_url: it holds a password"
        result = refused(server, vault_config, words, database_connections=connections)
        assert "in-the-url" not in json.dumps(result)

    def test_purge_by_name(self, server: OpenBao, root: VaultClient) -> None:
        for name in ("gone", "gone-not", "kept"):
            root.write(f"auth/approle/role/{name}")
            root.write(f"sys/policies/acl/{name}", {"policy": "# a"})
        purge = [
            {"kind": "approle", "names": ["gone", "approle/kept", "never"]},
            {"kind": "policy", "names": ["GONE", "kept", "default", "root"]},
        ]
        at = server.arguments(token=server.root_token, purge=purge)
        at["policies"] = [{"name": "kept", "text": "# a"}]
        predicted = run_module(vault_config, check=True, **at)
        result = run_module(vault_config, **at)
        assert predicted["objects"] == result["objects"]
        deleted = {e["name"] for e in result["objects"] if e["verdict"] == "deleted"}
        assert deleted == {"approle/gone", "approle/kept", "gone"}
        assert "gone-not" in root.keys("auth/approle/role")
        assert run_module(vault_config, **at)["changed"] is False


class TestStaticRole:
    def test_all_mistakes_at_once(self, server: OpenBao) -> None:
        words = (
            *("name 'a/b': a name is not empty", "rotate 'drifted' needs 'probe'"),
            *("'rotate' is of no use with state 'absent'", "rotation_period: not a duration: 'x'"),
        )
        mistaken = {"name": "a/b", "rotate": "drifted", "state": "absent", "rotation_period": "x"}
        refused(server, vault_db_static_role, *words, **mistaken)

    def test_what_a_new_role_needs(self, server: OpenBao, root: VaultClient) -> None:
        if "database/" not in (root.read("sys/mounts") or {}):
            root.write("sys/mounts/database", {"type": "database"})
        role = {"name": "a", "db_name": "d", "username": "u"}
        refused(server, vault_db_static_role, "give rotation_period", **role)
        refused(server, vault_db_static_role, "at least 5 seconds", **role, rotation_period="4s")
        at = server.arguments(token=server.root_token, **role, rotation_period="1h", retries=9)
        result = run_module(vault_db_static_role, **at)
        assert result["vault_error"] == "refused"
        assert "connection with name" in result["msg"]


class TestConnection:
    SECRETS = (("path", "c"), ("data", {"A": "value"}))

    def asked(self, server: OpenBao, **options: Any) -> dict[str, Any]:
        at = {**server.arguments(), **options}
        secrets = [dict(self.SECRETS)]
        return run_module(vault_kv, **at, mount="kv", secrets=secrets)

    @pytest.mark.parametrize("variable", ["VAULT_TOKEN", "BAO_TOKEN"])
    def test_a_named_file_goes_before_the_environment(
        self,
        server: OpenBao,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        variable: str,
    ) -> None:
        (tmp_path / "token").write_text(server.root_token)
        monkeypatch.setenv(variable, "s.of-somebody-else")
        assert "changed" in self.asked(server, token_file=str(tmp_path / "token"))
        assert self.asked(server)["vault_error"] == "token_expired"

    @pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", b"one\ntwo"])
    def test_a_file_that_holds_no_token(
        self, server: OpenBao, tmp_path: Path, content: bytes
    ) -> None:
        (tmp_path / "token").write_bytes(content)
        result = self.asked(server, token_file=str(tmp_path / "token"))
        assert result["msg"] == f"the file {tmp_path / 'token'} does not hold a token"

    def test_what_would_not_be_heard_is_refused_all_at_once(self, server: OpenBao) -> None:
        options = {"auth_role_id": "a", "auth_secret_id": "bbbb", "timeout": 0, "retries": -1}
        words = [
            *("'auth_role_id' is of no use with auth_method 'token'", "'timeout' is 0"),
            *("'retries' is -1", "'namespace' holds a line break", "'wait' is -5"),
        ]
        secrets = [dict(self.SECRETS)]
        more = {"namespace": "a\r\nX-Vault-Token: b", "wait": -5, "secrets": secrets}
        refused(server, vault_kv, *words, **options, **more)
        both = {"token_file": "/nowhere", "secrets": secrets}
        refused(server, vault_kv, "either 'token' or 'token_file'", **both)

    def test_a_token_besides_a_login_is_warned_of(
        self, server: OpenBao, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # Such as where the defaults of a play give it, and one task logs in by itself.
        result = self.asked(server, token=server.root_token, auth_method="cert")
        told = json.dumps(result.get("warnings")) + capfd.readouterr().err
        assert "'token' is given, and not heard: auth_method 'cert' logs in" in told
        assert server.root_token not in told

    def test_a_time_limit_of_the_environment_may_have_a_unit(
        self, server: OpenBao, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", "1m")
        assert "changed" in self.asked(server, token=server.root_token)
        monkeypatch.setenv("VAULT_CLIENT_TIMEOUT", "soon")
        assert "timeout" in self.asked(server, token=server.root_token)["msg"]

    def test_a_key_beside_its_certificate_is_not_shown(self, server: OpenBao) -> None:
        place = server.folder / "operator" / "current"
        key = (place / "tls.key").read_text()
        bundle = (place / "tls.crt").read_text() + key
        at = {"client_cert": None, "client_key": None, "client_cert_content": bundle}
        result = self.asked(server, token=server.root_token, **at)
        assert "changed" in result, result
        assert key.splitlines()[1] not in json.dumps(result)

    @pytest.mark.parametrize("kind", ["service", "batch"])
    def test_a_token_without_any_right_is_not_an_expired_one(
        self, server: OpenBao, root: VaultClient, kind: str
    ) -> None:
        """Not even the right to look itself up, which the policy 'default' gives."""
        root.write("sys/policies/acl/nothing", {"policy": 'path "x" { capabilities = ["read"] }'})
        made = {"policies": ["nothing"], "no_default_policy": True, "type": kind, "ttl": "1m"}
        token = root.write("auth/token/create", made)["auth"]["client_token"]
        result = self.asked(server, token=token)
        assert result["vault_error"] == "forbidden"
        assert result["missing_capabilities"] == ["read"]
        assert "kv/metadata/c" in result["msg"]

    def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(
        self, server: OpenBao, tmp_path: Path
    ) -> None:
        place = server.folder / "operator" / "current"
        key = serialization.load_pem_private_key((place / "tls.key").read_bytes(), None)
        encrypted = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
        (tmp_path / "tls.key").write_bytes(encrypted)
        # OpenSSL asks at the terminal; the parent of this one would wait for the answer for ever.
        pid, terminal = pty.fork()
        if pid == 0:  # pragma: no cover - in the child
            with contextlib.suppress(PhoenixError):
                tls_context(cert_file=str(place / "tls.crt"), key_file=str(tmp_path / "tls.key"))
            os._exit(0)
        try:
            assert select.select([terminal], [], [], 10)[0], "still waiting"
            with contextlib.suppress(OSError):  # the other end is closed: nothing was asked
                assert b"pass phrase" not in os.read(terminal, 100)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)
        texts = {
            "client_cert_content": (place / "tls.crt").read_text(),
            "client_key_content": encrypted.decode(),
        }
        result = self.asked(server, token=server.root_token, **texts)
        assert "the key must have no passphrase" in result["msg"]

    @pytest.mark.parametrize("method", ["token", "cert", "approle", "none"])
    def test_the_defaults_of_a_group_suit_who_needs_no_login(
        self, server: OpenBao, method: str
    ) -> None:
        at = server.arguments(auth_method=method)
        assert run_module(vault_seal_info, **at)["sealed"] is False
        assert run_module(vault_unseal, **at, shares=server.shares)["changed"] is False
        assert run_module(vault_init, **at)["initialised_now"] is False

    def test_a_login_that_nobody_knows(self, server: OpenBao) -> None:
        result = self.asked(server, auth_method="cert", auth_mount="nowhere")
        assert "Is the method mounted at auth/nowhere" in result["msg"]

    def test_a_namespace_that_is_none(self, server: OpenBao) -> None:
        secrets = [dict(self.SECRETS)]
        words = "namespace not found"
        refused(server, vault_kv, words, namespace="nope", mount="kv", secrets=secrets)


class TestKeeping:
    """Snapshots, shares and the root token."""

    def test_what_would_be_removed_or_written_elsewhere_by_mistake(
        self, server: OpenBao, tmp_path: Path
    ) -> None:
        (tmp_path / "kept").mkdir()
        at = {"directory": str(tmp_path / "kept")}
        run_module(vault_snapshot, **server.arguments(token=server.root_token, **at))
        kept = list((tmp_path / "kept").iterdir())
        words = ("'keep' is less than 0", "'prefix' holds more than")
        for prefix in ("../out", "", "a/b", ".hidden"):
            refused(server, vault_snapshot, *words, **at, keep=-1, prefix=prefix)
        assert list((tmp_path / "kept").iterdir()) == kept
        assert list(tmp_path.iterdir()) == [tmp_path / "kept"]

    def test_check_mode_sees_what_the_server_would_refuse(
        self, server: OpenBao, root: VaultClient, tmp_path: Path
    ) -> None:
        at = {"directory": str(tmp_path)}
        made = root.write("auth/token/create", {"policies": ["default"], "ttl": "1m"})
        token = made["auth"]["client_token"]
        words = "GET sys/storage/raft/snapshot is forbidden"
        result = run_module(vault_snapshot, check=True, **server.arguments(token=token, **at))
        assert words in result["msg"]
        assert result["missing_capabilities"] == ["read"]
        server.restart()
        try:
            result = run_module(
                vault_snapshot, check=True, **server.arguments(token=server.root_token, **at)
            )
            assert result["vault_error"] == "sealed"
        finally:
            server.unseal()
        good = server.arguments(token=server.root_token, **at)
        assert run_module(vault_snapshot, check=True, **good)["changed"] is True
        assert list(tmp_path.iterdir()) == []

    def test_a_change_of_shares_is_refused_in_check_mode_as_well(self, server: OpenBao) -> None:
        at = {"state": "begun", "plain": True, "new_shares": 1, "new_threshold": 1}
        refused(server, vault_rekey, "needs 1 of the present ones; there are 0", **at)

    def test_a_private_key_given_by_mistake_is_not_shown(self, server: OpenBao) -> None:
        armour = "-----{} PGP PRIVATE KEY BLOCK-----"
        private = f"{armour.format('BEGIN')}\n\nlQPGBGkm\n{armour.format('END')}\n"
        words = (
            *("pgp_keys[0]: that is a private PGP key", "pgp_keys[1]: not a public PGP key"),
            "'pgp_keys' must have one key for each",
            "'new_threshold' must be between 1 and",
        )
        more = {"state": "begun", "new_shares": 3, "new_threshold": 4}
        result = refused(server, vault_rekey, *words, pgp_keys=[private, "AAAA"], **more)
        assert "lQPGBGkm" not in json.dumps(result)

    def test_the_end_of_a_bootstrap_is_predicted(self, server: OpenBao, root: VaultClient) -> None:
        token = root.write("auth/token/create", {"ttl": "1m"})["auth"]["client_token"]
        at = server.arguments(token=token, state="finished")
        changes = [
            run_module(vault_init, check=check, **at)["changed"]
            for check in (True, False, True, False)
        ]
        assert changes == [True, True, False, False]
        missing = run_module(vault_init, **server.arguments(state="finished"))
        assert missing["vault_error"] == "token_missing"
