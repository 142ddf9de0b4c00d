# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each vault module run by its main(), and exactly what it asks a server for."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping
from types import ModuleType
from typing import Any, ClassVar

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.doc_fragments import vault as fragment
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import accessors, errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.answers import Reply
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import connection_spec
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_identity,
    vault_init,
    vault_kv,
    vault_login,
    vault_rekey,
    vault_unseal,
)

URL = "http://vault.test:8200"
Call = tuple[str, str, Any]


class Wire:
    """What a server would answer, by method and path, and what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {
            ("GET", "sys/seal-status"): {"initialized": True, "sealed": False, "version": "9.9"},
        }
        self.calls: list[Call] = []

    def on(self, method: str, path: str, *answers: Any) -> Wire:
        self.answers[method, path] = list(answers)
        return self

    def writes(self) -> list[Call]:
        return [call for call in self.calls if call[0] not in ("GET", "LIST")]

    def __call__(self, method: str, path: str, body: Mapping[str, Any] | None) -> Reply:
        path = path.strip("/")
        self.calls.append((method, path, None if body is None else dict(body)))
        answer = self.answers.get((method, path))
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            return Reply(404 if method in ("GET", "LIST") else 204, {})
        return Reply(200, answer)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    made = Wire()

    def call(
        self: VaultClient,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        **_options: Any,
    ) -> Reply:
        return made(method, path, body)

    monkeypatch.setattr(VaultClient, "call", call)
    return made


def run(
    module: ModuleType,
    *,
    check: bool = False,
    diff: bool = True,
    hidden: bool = True,
    **arguments: Any,
) -> dict[str, Any]:
    options = {"url": URL, **arguments, "_ansible_check_mode": check, "_ansible_diff": diff}
    options["_ansible_no_log"] = hidden
    output = io.StringIO()
    with (
        patch_module_args(options),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        module.main()
    result: dict[str, Any] = json.loads(output.getvalue())
    return result


class TestConnectionOptions:
    def test_documentation_and_spec_agree(self) -> None:
        documented = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"]
        spec = connection_spec()
        assert set(documented) == set(spec)
        for name, option in spec.items():
            for key in ("type", "default", "choices", "required"):
                assert documented[name].get(key) == option.get(key), (name, key)

    @pytest.mark.parametrize(
        "variable", ["BAO_ADDR", "VAULT_ADDR"], ids=["openbao's name", "vault's name"]
    )
    def test_the_environment_of_the_command_line_client(
        self, wire: Wire, monkeypatch: pytest.MonkeyPatch, variable: str
    ) -> None:
        monkeypatch.setenv(variable, "http://elsewhere.test")
        wire.on("POST", "auth/cert/login", errors.RefusedError("no"))
        with patch_module_args({}), pytest.raises(SystemExit):
            vault_login.main()
        assert wire.calls[0][1] == "auth/cert/login"

    def test_a_key_without_its_certificate(self, wire: Wire) -> None:
        result = run(vault_config, client_key="/x", token="t0ken")
        assert "of no use without" in result["msg"]

    def test_a_token_file(self, wire: Wire, tmp_path: Any) -> None:
        missing = run(vault_config, token_file=str(tmp_path / "none"))
        assert "cannot read the token file" in missing["msg"]


class TestLogin:
    def test_by_certificate(self, wire: Wire) -> None:
        auth = {"client_token": "s.new", "accessor": "a", "lease_duration": 900, "policies": ["p"]}
        wire.on("POST", "auth/machines/login", {"auth": auth})
        result = run(vault_login, auth_mount="machines", auth_role="operator")
        assert wire.calls == [("POST", "auth/machines/login", {"name": "operator"})]
        assert (result["token"], result["state"], result["changed"]) == ("s.new", "ready", False)

    def test_by_approle(self, wire: Wire) -> None:
        wire.on("POST", "auth/approle/login", {"auth": {"client_token": "s.new"}})
        run(vault_login, auth_method="approle", auth_role_id="r", auth_secret_id="secret-id")
        expected = {"role_id": "r", "secret_id": "secret-id"}
        assert wire.calls == [("POST", "auth/approle/login", expected)]

    def test_approle_without_role_id(self, wire: Wire) -> None:
        assert "auth_role_id" in run(vault_login, auth_method="approle")["msg"]

    @pytest.mark.parametrize(
        ("error", "state"),
        [
            (errors.SealedError("is sealed"), "sealed"),
            (errors.UninitialisedError("is new"), "uninitialised"),
            (errors.StandbyError("waits"), "standby"),
            (errors.UnreachableError("is gone"), "unreachable"),
            (errors.RefusedError("says no"), "refused"),
            (errors.NoRouteError("no mount"), "refused"),
        ],
    )
    def test_not_ready(self, wire: Wire, error: errors.VaultError, state: str) -> None:
        wire.on("POST", "auth/cert/login", error)
        reported = run(vault_login, not_ready="report")
        assert (reported["state"], reported["token"]) == (state, "")
        assert reported["reason"] == error.message
        failed = run(vault_login)
        assert (failed["failed"], failed["vault_error"]) == (True, error.kind)

    def test_a_wrong_ca_is_never_just_reported(self, wire: Wire) -> None:
        wire.on("POST", "auth/cert/login", errors.TlsTrustError("not trusted"))
        assert run(vault_login, not_ready="report")["failed"] is True


class TestInit:
    NEW = {"initialized": False, "sealed": True, "type": "shamir", "version": "9.9"}  # noqa: RUF012
    MADE = {"keys": ["aa"], "keys_base64": ["qg=="], "root_token": "s.root"}  # noqa: RUF012

    def test_initialise(self, wire: Wire) -> None:
        wire.on("GET", "sys/seal-status", self.NEW).on("PUT", "sys/init", self.MADE)
        result = run(vault_init, auth_method="none", shares=1, threshold=1, plain=True)
        assert wire.writes() == [("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})]
        assert (result["unseal_shares"], result["root_token"]) == (["aa"], "s.root")

    def test_recovery_shares(self, wire: Wire) -> None:
        made = {"keys": [], "recovery_keys": ["bb"], "root_token": "s.root"}
        wire.on("GET", "sys/seal-status", {**self.NEW, "recovery_seal": True, "type": "static"})
        wire.on("PUT", "sys/init", made)
        result = run(vault_init, auth_method="none", shares=5, threshold=3, plain=True)
        assert wire.writes()[0][2] == {"recovery_shares": 5, "recovery_threshold": 3}
        assert result["unseal_shares"] == ["bb"]

    def test_pgp(self, wire: Wire) -> None:
        wire.on("GET", "sys/seal-status", self.NEW).on("PUT", "sys/init", self.MADE)
        keys = {"pgp_keys": ["mAEA"], "root_token_pgp_key": "mAEB"}
        result = run(vault_init, auth_method="none", shares=1, threshold=1, **keys)
        body = wire.writes()[0][2]
        assert (body["pgp_keys"], body["root_token_pgp_key"]) == (["mAEA"], "mAEB")
        assert result["unseal_shares"] == ["qg=="]

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"plain": True, "shares": 2, "threshold": 3}, "between 1 and"),
            ({"shares": 2, "threshold": 1, "pgp_keys": ["mAEA"]}, "one key for each"),
            ({}, "in clear"),
            ({"plain": True, "hidden": False}, "wants no_log on the task"),
            ({"shares_to": ["/no/a"], "root_token_to": "/no/a"}, "one is named twice"),
            ({"shares": 1, "threshold": 1, "shares_to": ["/proc/x"]}, "the root token would leave"),
            ({"shares": 1, "threshold": 1, "pgp_keys": ["mAEA"]}, "in clear"),
            ({"shares": 1, "threshold": 1, "pgp_keys": ["AAAA"]}, "not a public PGP key"),
        ],
    )
    def test_refused_before_anything_happens(
        self, wire: Wire, arguments: dict[str, Any], words: str
    ) -> None:
        wire.on("GET", "sys/seal-status", self.NEW)
        assert words in run(vault_init, auth_method="none", **arguments)["msg"]
        assert wire.writes() == []

    def test_check_mode_mints_nothing(self, wire: Wire) -> None:
        wire.on("GET", "sys/seal-status", self.NEW)
        result = run(vault_init, check=True, auth_method="none", plain=True)
        assert result["changed"] is True
        assert wire.writes() == []

    def test_a_root_token_that_survives_its_revocation_is_an_error(self, wire: Wire) -> None:
        wire.on("GET", "auth/token/lookup-self", {"data": {}})
        result = run(vault_init, state="finished", token="s.root-token")
        assert "still accepts the root token" in result["msg"]
        assert "s.root-token" not in json.dumps(result)

    def test_revocation_is_proven(self, wire: Wire) -> None:
        gone = errors.TokenExpiredError("gone")
        wire.on("GET", "auth/token/lookup-self", {"data": {}}, gone)
        assert run(vault_init, state="finished", token="s.root-token")["changed"] is True
        assert wire.writes() == [("POST", "auth/token/revoke-self", None)]


class TestRekey:
    """New shares are shown, as far as the server tells of it."""

    WAITING: ClassVar = {"started": True, "t": 3, "n": 5, "verification_nonce": "v"}

    def waiting(self, wire: Wire, progress: int) -> None:
        status = {"initialized": True, "sealed": False, "t": 2, "n": 3, "cluster_id": "c"}
        wire.on("GET", "sys/seal-status", status)
        wire.on("GET", "sys/rotate/root/init", {"data": self.WAITING})
        shown = {"data": {"progress": progress, "t": 3, "started": True}}
        wire.on("GET", "sys/rotate/root/verify", shown)

    @pytest.mark.parametrize(
        ("progress", "shares", "changed", "in_force", "missing"),
        [
            (0, [], False, False, 3),
            (1, [" "], False, False, 2),
            (1, ["a1", "a1 "], True, False, 1),
            (1, ["a1", "b2"], True, True, 0),
            (2, ["a1", "b2", "c3"], True, True, 0),
        ],
    )
    def test_what_a_dry_run_predicts(
        self,
        wire: Wire,
        progress: int,
        shares: list[str],
        changed: bool,
        in_force: bool,
        missing: int,
    ) -> None:
        self.waiting(wire, progress)
        given = {"token": "t0ken", "state": "verified", "shares": shares, "check": True}
        found = run(vault_rekey, allow_partial=True, **given)
        assert (found["changed"], found["in_force"], found["missing"]) == (
            *(changed, in_force, missing),
        )
        alone = run(vault_rekey, **given)
        assert alone.get("unseal_missing", 0) == missing
        assert alone.get("failed", False) is bool(missing)
        assert wire.writes() == []

    def test_a_share_that_was_shown_before_changes_nothing(self, wire: Wire) -> None:
        self.waiting(wire, 1)
        wire.on("POST", "sys/rotate/root/verify", {"data": {"progress": 1, "complete": False}})
        given = {"token": "t0ken", "state": "verified", "shares": ["a1"]}
        found = run(vault_rekey, allow_partial=True, **given)
        assert (found["changed"], found["in_force"], found["missing"]) == (False, False, 2)
        assert wire.writes() == [
            ("POST", "sys/rotate/root/verify", {"key": "a1", "nonce": "v"}),
        ]


class TestUnseal:
    def test_stops_at_the_share_that_opens_it(self, wire: Wire) -> None:
        sealed = {"initialized": True, "sealed": True, "t": 2, "n": 3, "progress": 0}
        wire.on("GET", "sys/seal-status", sealed)
        wire.on("GET", "sys/health", {})
        wire.on("PUT", "sys/unseal", {**sealed, "progress": 1}, {"sealed": False, "t": 2})
        result = run(vault_unseal, shares=["share-a", "share-b", "share-a", "share-c"])
        assert [call[2] for call in wire.writes()] == [{"key": "share-a"}, {"key": "share-b"}]
        assert (result["sealed"], result["missing"]) == (False, 0)

    def test_check_mode(self, wire: Wire) -> None:
        sealed = {"initialized": True, "sealed": True, "t": 3, "n": 5, "progress": 1}
        wire.on("GET", "sys/seal-status", sealed)
        enough = run(vault_unseal, check=True, shares=["share-a", "share-b"])
        assert (enough["changed"], enough["sealed"], enough["missing"]) == (True, False, 0)
        too_few = run(vault_unseal, check=True, shares=["share-a"], allow_partial=True)
        assert (too_few["sealed"], too_few["missing"]) == (True, 1)
        assert wire.writes() == []

    def test_a_server_that_was_never_initialised(self, wire: Wire) -> None:
        wire.on("GET", "sys/seal-status", {"initialized": False, "sealed": True})
        assert run(vault_unseal, shares=["share-a"])["vault_error"] == "uninitialised"


class TestConfig:
    def test_one_role_costs_two_reads_when_nothing_differs(self, wire: Wire) -> None:
        wire.on("GET", "auth/approle/role/a", {"data": {"token_ttl": 3600, "token_period": 0}})
        wire.on("GET", "auth/approle/role/a/role-id", {"data": {"role_id": "rid"}})
        role = {"name": "A", "role_id": "rid", "token_ttl": "1h"}
        assert run(vault_config, token="t0ken", approles=[role])["changed"] is False
        assert [call[:2] for call in wire.calls] == [
            ("GET", "auth/approle/role/a"),
            ("GET", "auth/approle/role/a/role-id"),
            ("GET", "sys/seal-status"),
        ]

    def test_the_role_id_is_not_asked_for_unless_it_is_stated(self, wire: Wire) -> None:
        wire.on("GET", "auth/approle/role/a", {"data": {"token_ttl": 60}})
        run(vault_config, token="t0ken", approles=[{"name": "a", "token_ttl": 60}])
        assert ("GET", "auth/approle/role/a/role-id", None) not in wire.calls

    def test_a_new_role_is_one_write_with_its_role_id(self, wire: Wire) -> None:
        wire.on("GET", "auth/approle/role/a", None, {"data": {"token_ttl": 60}})
        wire.on("GET", "auth/approle/role/a/role-id", {"data": {"role_id": "rid"}})
        role = {"name": "a", "role_id": "rid", "token_ttl": "1m"}
        run(vault_config, token="t0ken", approles=[role])
        expected = ("POST", "auth/approle/role/a", {"role_id": "rid", "token_ttl": 60})
        assert wire.writes() == [expected]

    def test_only_what_differs_is_written(self, wire: Wire) -> None:
        before = {"token_ttl": 60, "token_num_uses": 1}
        after = {"token_ttl": 90, "token_num_uses": 1}
        wire.on("GET", "auth/approle/role/a", {"data": before}, {"data": after})
        role = {"name": "a", "token_ttl": 90, "token_num_uses": 1}
        result = run(vault_config, token="t0ken", approles=[role])
        assert wire.writes() == [("POST", "auth/approle/role/a", {"token_ttl": 90})]
        assert result["objects"][0]["fields"] == ["token_ttl"]

    def test_mounts_come_before_what_is_in_them(self, wire: Wire) -> None:
        mounted = {"kv/": {"type": "kv", "options": {"version": "2"}, "config": {}}}
        wire.on("GET", "sys/mounts", {"data": {}}, {"data": mounted})
        wire.on("GET", "kv/config", errors.NoRouteError("not yet"), {"data": {"max_versions": 3}})
        wire.on("GET", "sys/policies/acl/p", None, {"data": {"policy": "text"}})
        run(
            vault_config,
            token="t0ken",
            policies=[{"name": "p", "text": "text"}],
            secret_engines=[
                {
                    "path": "/kv/",
                    "type": "kv",
                    "options": {"version": 2},
                    "kv": {"max_versions": 3},
                }
            ],
        )
        engine = {"type": "kv", "options": {"version": "2"}, "config": {}}
        assert wire.writes() == [
            ("POST", "sys/mounts/kv", engine),
            ("POST", "kv/config", {"max_versions": 3}),
            ("POST", "sys/policies/acl/p", {"policy": "text"}),
        ]

    def test_declared_twice(self, wire: Wire) -> None:
        twice = [{"name": "P", "text": "a"}, {"name": "p", "text": "b"}]
        result = run(vault_config, token="t0ken", policies=twice)
        assert result["msg"] == "policy p is declared twice"
        assert wire.calls == []

    def test_one_role_id_for_two_roles(self, wire: Wire) -> None:
        roles = [{"name": name, "role_id": "same"} for name in ("a", "b")]
        roles += [{"name": "c", "mount": "other", "role_id": "same"}]
        result = run(vault_config, token="t0ken", approles=roles)
        assert result["msg"] == (
            "role_id same: of one role only, and declared for approle/a, approle/b"
        )
        assert wire.calls == []

    @pytest.mark.parametrize(
        ("setting", "words"),
        [
            ({"token_ttl": "soon"}, "token_ttl: not a duration"),
            ({"token_bound_cidrs": ["10.0.0.1/40"]}, "token_bound_cidrs: not a network"),
        ],
    )
    def test_a_value_that_cannot_be_read(
        self, wire: Wire, setting: dict[str, Any], words: str
    ) -> None:
        role = {"name": "a", **setting}
        result = run(vault_config, token="t0ken", approles=[role])
        assert result["msg"].startswith("approle approle/a")
        assert words in result["msg"]

    def test_check_mode_shows_what_a_run_does_and_does_nothing(self, wire: Wire) -> None:
        wire.on("GET", "sys/policies/acl/p", {"data": {"policy": "old"}})
        result = run(
            vault_config, check=True, token="t0ken", policies=[{"name": "p", "text": "new"}]
        )
        assert wire.writes() == []
        assert json.loads(result["diff"]["before"]) == {"policy p": {"text": "old"}}
        assert json.loads(result["diff"]["after"]) == {"policy p": {"text": "new"}}

    def test_an_unknown_setting_is_refused(self, wire: Wire) -> None:
        result = run(vault_config, token="t0ken", approles=[{"name": "a", "token_tll": 1}])
        assert "token_tll" in result["msg"]
        assert wire.calls == []


class TestAppRole:
    ROLE = "auth/approle/role/a"

    @pytest.fixture(autouse=True)
    def _role(self, wire: Wire) -> None:
        wire.on("GET", self.ROLE, {"data": {"token_ttl": 60}})

    def test_a_wrapped_secret_id(self, wire: Wire) -> None:
        wrap = {"token": "s.wrap-token", "accessor": "w", "wrapped_accessor": "x", "ttl": 300}
        wire.on("POST", f"{self.ROLE}/secret-id", {"wrap_info": wrap})
        issue = {"wrap_ttl": "5m", "ttl": "10m", "num_uses": 1, "metadata": {"b": "2", "a": "1"}}
        result = run(vault_approle, token="t0ken", name="a", secret_id_issue=issue)
        body = {"ttl": 600, "num_uses": 1, "metadata": '{"a": "1", "b": "2"}'}
        assert wire.writes() == [("POST", f"{self.ROLE}/secret-id", body)]
        assert result["issued"]["wrapping_token"] == "s.wrap-token"
        assert result["issued"]["accessor"] == "x"

    def test_check_mode_mints_nothing(self, wire: Wire) -> None:
        issue = {"wrap_ttl": "5m"}
        result = run(vault_approle, check=True, token="t0ken", name="a", secret_id_issue=issue)
        assert (result["changed"], "issued" in result) == (True, False)
        assert wire.writes() == []

    def test_in_clear_only_where_allowed(self, wire: Wire) -> None:
        result = run(vault_approle, token="t0ken", name="a", secret_id_issue={})
        assert "in clear" in result["msg"]
        assert wire.calls == []

    def test_the_newest_stay(self, wire: Wire) -> None:
        wire.on("LIST", f"{self.ROLE}/secret-id", {"data": {"keys": ["old", "new", "mid"]}})
        described = [{"data": {"creation_time": f"2026-01-0{day}"}} for day in (1, 3, 2)]
        wire.on("POST", f"{self.ROLE}/secret-id-accessor/lookup", *described)
        result = run(vault_approle, token="t0ken", name="a", secret_id_keep=1)
        assert result["destroyed"] == ["mid", "old"]
        destroyed = [c[2] for c in wire.writes() if c[1].endswith("/destroy")]
        assert destroyed == [{"secret_id_accessor": "mid"}, {"secret_id_accessor": "old"}]

    def test_destroying_what_is_not_there_is_no_change(self, wire: Wire) -> None:
        wire.on("LIST", f"{self.ROLE}/secret-id", {"data": {"keys": ["other"]}})
        result = run(vault_approle, token="t0ken", name="a", secret_id_destroy=["gone"])
        assert result["changed"] is False

    @pytest.mark.parametrize("check", [False, True])
    def test_absent(self, wire: Wire, check: bool) -> None:
        result = run(vault_approle, check=check, token="t0ken", name="A", state="absent")
        assert (result["changed"], result["verdict"]) == (True, "deleted")
        assert wire.writes() == ([] if check else [("DELETE", self.ROLE, None)])


class TestIdentity:
    CERT: ClassVar = [{"auth_method": "cert", "common_name": "vps1"}]

    @pytest.fixture
    def known(self, wire: Wire) -> Wire:
        """One host, with one token of his and one of the caller."""
        entity = {"id": "e1", "disabled": False}
        owners = [{"data": {"entity_id": "e1"}}, {"data": {"entity_id": "e2"}}]
        wire.on("GET", "sys/auth", {"data": {"cert/": {"accessor": "auth_cert_1"}}})
        wire.on("GET", "auth/token/lookup-self", {"data": {"entity_id": "e2"}})
        wire.on("POST", "identity/lookup/entity", {"data": entity})
        wire.on("LIST", "auth/token/accessors", {"data": {"keys": ["a1", "a2"]}}, {"data": {}})
        wire.on("POST", "auth/token/lookup-accessor", *owners)
        wire.on("POST", "auth/token/revoke-accessor", {})
        return wire

    def test_disabled_first_and_then_emptied(self, known: Wire) -> None:
        gone = {"data": {"id": "e1", "disabled": True}}
        known.on("POST", "identity/lookup/entity", {"data": {"id": "e1"}}, gone)
        known.on("POST", "identity/entity/id/e1", {})
        result = run(vault_identity, token="t0ken", identities=self.CERT, state="cut_off")
        assert result["identities"] == [{"name": "cert/vps1", "entity": "e1", "disabled": True}]
        # A token is looked at only once the server has made whole what it was making.
        looked = [c[1].rpartition("/")[2] for c in known.calls if "auth/token/" in c[1]]
        assert looked[:4] == ["lookup-self", "accessors", "lookup-self", "lookup-accessor"]
        assert len(result["tokens_revoked"]) == 1
        acted = [c for c in known.writes() if "lookup" not in c[1]]
        assert acted == [
            ("POST", "identity/entity/id/e1", {"disabled": True}),
            ("POST", "auth/token/revoke-accessor", {"accessor": result["tokens_revoked"][0]}),
        ]

    def test_a_dry_run_writes_nothing(self, known: Wire) -> None:
        result = run(
            vault_identity, check=True, token="t0ken", identities=self.CERT, state="cut_off"
        )
        assert result["changed"]
        assert [c for c in known.writes() if "lookup" not in c[1]] == []

    def test_a_server_that_leaves_it_as_it_was(self, known: Wire) -> None:
        known.on("POST", "identity/entity/id/e1", {})
        result = run(vault_identity, token="t0ken", identities=self.CERT, state="cut_off")
        assert "the server left cert/vps1 as it was" in result["msg"]

    @pytest.mark.parametrize("answer", [errors.ForbiddenError("permission denied"), {}])
    def test_a_token_that_may_not_be_looked_up_is_no_token_of_nobody(
        self, known: Wire, monkeypatch: pytest.MonkeyPatch, answer: Any
    ) -> None:
        monkeypatch.setattr(accessors, "_MOMENT", 0.3)
        known.on("POST", "auth/token/lookup-accessor", answer)
        result = run(vault_identity, token="t0ken", identities=self.CERT, state="cut_off")
        assert result["msg"].startswith("waited 0.3 s for the server to tell of a token")
        assert ("permission denied" in result["msg"]) is bool(answer)
        assert [c for c in known.writes() if "lookup" not in c[1]] == []

    def test_a_token_that_is_ending_is_waited_for(self, known: Wire) -> None:
        """A server says 'permission denied' of it until it is gone."""
        ending = [errors.ForbiddenError("permission denied")] * 3
        ended = errors.RefusedError("refused", messages=["1 error occurred:\n\t* invalid accessor"])
        known.on("LIST", "auth/token/accessors", {"data": {"keys": ["a1"]}})
        known.on("POST", "auth/token/lookup-accessor", *ending, ended)
        result = run(
            vault_identity, check=True, token="t0ken", identities=self.CERT, state="cut_off"
        )
        assert result["tokens_revoked"] == []
        assert sum(c[1] == "auth/token/lookup-accessor" for c in known.calls) == 4

    @pytest.mark.parametrize(
        ("identity", "words"),
        [
            ({"auth_method": "cert"}, "one of the following is required"),
            ({"auth_method": "cert", "common_name": "a", "approle": "b"}, "mutually exclusive"),
        ],
    )
    def test_an_identity_without_a_name_or_with_two(
        self, wire: Wire, identity: dict[str, str], words: str
    ) -> None:
        result = run(vault_identity, token="t0ken", identities=[identity], state="cut_off")
        assert words in result["msg"]
        assert wire.calls == []


class TestKv:
    MOUNT = "sys/internal/ui/mounts/m"

    @pytest.fixture(autouse=True)
    def _engine(self, wire: Wire) -> None:
        wire.on("GET", self.MOUNT, {"data": {"type": "kv", "options": {"version": "2"}}})

    def test_create(self, wire: Wire) -> None:
        wire.on("POST", "m/data/p", {"data": {"version": 1}})
        secrets = [{"path": "p", "data": {"A": "value-a"}}]
        result = run(vault_kv, token="t0ken", mount="m", secrets=secrets)
        body = {"options": {"cas": 0}, "data": {"A": "value-a"}}
        asked = [("GET", "m/metadata/p", None), ("GET", self.MOUNT, None)]
        assert wire.calls == [*asked, ("POST", "m/data/p", body)]
        assert result["secrets"] == [
            {"path": "p", "verdict": "created", "keys": ["A"], "version": 1}
        ]

    def test_change_merges_under_check_and_set(self, wire: Wire) -> None:
        wire.on("GET", "m/metadata/p", {"data": {"current_version": 4, "versions": {"4": {}}}})
        wire.on("GET", "m/data/p", {"data": {"data": {"A": "old-value", "B": "theirs"}}})
        wire.on("PATCH", "m/data/p", {"data": {"version": 5}})
        secrets = [{"path": "p", "data": {"A": "new-value"}}]
        result = run(vault_kv, token="t0ken", mount="m", secrets=secrets)
        body = {"options": {"cas": 4}, "data": {"A": "new-value"}}
        assert wire.writes() == [("PATCH", "m/data/p", body)]
        assert result["secrets"][0]["version"] == 5

    def test_by_fingerprint_no_value_is_read(self, wire: Wire) -> None:
        wire.on("POST", "m/data/p", {"data": {"version": 1}})
        secrets = [{"path": "p", "data": {"A": "value-a"}}]
        options = {"token": "t0ken", "mount": "m", "secrets": secrets, "fingerprint_key": "key!"}
        run(vault_kv, **options)
        written = wire.writes()[1]
        assert written[:2] == ("PATCH", "m/metadata/p")
        custom = written[2]["custom_metadata"]
        assert custom["phoenix.version"] == "1"
        assert "value-a" not in json.dumps(custom)

        wire.calls.clear()
        about = {"current_version": 1, "versions": {"1": {}}, "custom_metadata": custom}
        wire.on("GET", "m/metadata/p", {"data": about})
        wire.on("GET", "m/subkeys/p", {"data": {"subkeys": {"A": None}}})
        assert run(vault_kv, **options)["changed"] is False
        assert [call[1] for call in wire.calls] == ["m/metadata/p", "m/subkeys/p"]

    def test_another_key_or_value_or_version_does_not_match(self, wire: Wire) -> None:
        wire.on("POST", "m/data/p", {"data": {"version": 1}})
        secrets = [{"path": "p", "data": {"A": "value-a"}}]
        options = {"token": "t0ken", "mount": "m", "secrets": secrets, "fingerprint_key": "key!"}
        run(vault_kv, **options)
        custom = wire.writes()[1][2]["custom_metadata"]
        wire.on("GET", "m/subkeys/p", {"data": {"subkeys": {"A": None}}})

        def changed(version: int = 1, **changes: Any) -> bool:
            about = {
                "current_version": version,
                "versions": {str(version): {}},
                "custom_metadata": custom,
            }
            wire.on("GET", "m/metadata/p", {"data": about})
            return bool(run(vault_kv, check=True, **{**options, **changes})["changed"])

        assert changed() is False
        assert changed(fingerprint_key="other key") is True
        assert changed(secrets=[{"path": "p", "data": {"A": "value-b"}}]) is True
        assert changed(version=2) is True

    def test_a_generated_value_is_never_returned(self, wire: Wire) -> None:
        wire.on("POST", "m/data/p", {"data": {"version": 1}})
        secrets = [{"path": "p", "generate": [{"key": "K", "length": 40}]}]
        result = run(vault_kv, token="t0ken", mount="m", secrets=secrets)
        value = wire.writes()[0][2]["data"]["K"]
        assert len(value) == 40
        assert value not in json.dumps(result)

    def test_a_short_value_neither_shows_nor_garbles_the_result(self, wire: Wire) -> None:
        wire.on("POST", "m/data/p", {"data": {"version": 1}})
        secrets = [{"path": "p", "data": {"A": "1", "B": "xyz"}}]
        result = run(vault_kv, token="t0ken", mount="m", secrets=secrets)
        assert result["secrets"][0]["version"] == 1
        assert "xyz" not in json.dumps(result)

    def test_given_and_generated(self, wire: Wire) -> None:
        secrets = [{"path": "p", "data": {"A": "value"}, "generate": [{"key": "A"}]}]
        result = run(vault_kv, token="t0ken", mount="m", secrets=secrets)
        assert "both given and generated: A" in result["msg"]
