# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""H1 and F2: each deviation of the Vault is seen by its proof."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    bootstrap,
    disruption,
    every,
    framework,
    site,
)
from ansible_collections.tamshai.phoenix.plugins.modules import attest

KINDS = disruption.KINDS


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "_MOMENT", 0.0)
    monkeypatch.setattr(
        bootstrap, "accessors", lambda _site: {"mcp-gateway": ["old-1"], "mcp-hr": ["old-2"]}
    )


def told(result: dict[str, Any]) -> tuple[str, str]:
    return result["status"], result["reason"]


# H1.a


def test_declared_settings_pass(stage: Any) -> None:
    result = stage.prove("H1.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["policies"]["mcp-hr"] == "declared"
    assert result["evidence"]["approles"]["mcp-hr"]["secret_id_num_uses"] == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("token_ttl", 7200),
        ("token_max_ttl", 0),
        ("token_explicit_max_ttl", 60),
        ("token_period", 86400),
        ("token_num_uses", 5),
        ("bind_secret_id", False),
        ("token_policies", ["mcp-hr", "mcp-gateway"]),
        ("secret_id_num_uses", 0),
        ("secret_id_ttl", 0),
        ("role_id", "another"),
    ],
)
def test_an_approle_that_differs(stage: Any, key: str, value: Any) -> None:
    stage.vault.roles["mcp-hr"][key] = value
    status, reason = told(stage.prove("H1.a"))
    assert status == "fail"
    assert reason.startswith(f"AppRole mcp-hr: {key} is {value!r}, declared is ")


def test_settings_that_are_missing_or_too_many(stage: Any) -> None:
    del stage.vault.policies["mcp-hr"]
    stage.vault.policies["everything"] = "x"
    stage.vault.policies["mcp-gateway"] += "\n"
    del stage.vault.roles["mcp-hr"]
    stage.vault.roles["stranger"] = {}
    status, reason = told(stage.prove("H1.a"))
    assert status == "fail"
    undeclared = " exists and nobody declared it (vault_settings_purge"
    assert reason.split("; ") == [
        "policy mcp-hr does not exist",
        "policy mcp-gateway is not the declared text",
        f"policy everything{undeclared}: [{{kind: policy, names: [everything]}}] removes it)",
        "AppRole mcp-hr does not exist",
        f"AppRole stranger{undeclared}: [{{kind: approle, names: [stranger]}}] removes it)",
    ]


def test_the_policies_of_operator_and_host(restaged: Callable[..., Any]) -> None:
    texts = {"operator": "# may reconcile", "host": "# may ask for wraps"}
    stage = restaged(staff=texts)
    stage.vault.policies.update(texts)
    result = stage.prove("H1.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["texts_compared"] == ["host", "operator"]
    stage.vault.policies["operator"] += " and more"
    del stage.vault.policies["host"]
    status, reason = told(stage.prove("H1.a"))
    assert status == "fail"
    assert reason.split("; ", 1) == [
        "policy host does not exist",
        "policy operator is not the text of this release; run vault_operator.yml",
    ]


def test_what_is_declared_besides_the_estate_is_no_stranger(restaged: Callable[..., Any]) -> None:
    stage = restaged(others={"policies": ["auditors"], "approles": ["collector"]})
    stage.vault.policies["auditors"] = "x"
    stage.vault.roles["collector"] = {}
    result = stage.prove("H1.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["policies"]["auditors"] == "declared besides the estate"


@pytest.fixture
def besides(restaged: Callable[..., Any]) -> Any:
    """A policy and an AppRole of another project, as people write them, and as servers answer."""
    row = {
        "name": "Collector",
        "role_id": "collector-1",
        "token_policies": "auditors,default",
        "token_ttl": "10m",
        "bind_secret_id": "yes",
        "token_bound_cidrs": ["127.0.0.1/32"],
        "secret_id_num_uses": "1",
    }
    others = {"policies": [{"name": "Auditors", "text": "# may look"}, "old"], "approles": [row]}
    stage = restaged(others=others)
    stage.vault.policies["auditors"] = "# may look"
    stage.vault.roles["collector"] = {
        "role_id": "collector-1",
        "token_policies": ["default", "auditors"],
        "token_ttl": 600,
        "token_max_ttl": 0,
        "bind_secret_id": True,
        "token_bound_cidrs": ["127.0.0.1"],
        "secret_id_num_uses": 1,
    }
    return stage


def test_what_is_declared_besides_the_estate_is_as_declared(besides: Any) -> None:
    result = besides.prove("H1.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["policies"]["auditors"] == "declared besides the estate"
    assert result["evidence"]["approles"]["collector"]["token_ttl"] == 600
    # Only what was stated about it counts.
    besides.vault.roles["collector"]["token_max_ttl"] = 3600
    assert told(besides.prove("H1.a")) == ("pass", "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("role_id", "another"),
        ("token_policies", ["operator"]),
        ("token_ttl", 7200),
        ("bind_secret_id", False),
        ("token_bound_cidrs", []),
        ("secret_id_num_uses", 0),
    ],
)
def test_an_approle_besides_the_estate_that_differs(besides: Any, key: str, value: Any) -> None:
    besides.vault.roles["collector"][key] = value
    status, reason = told(besides.prove("H1.a"))
    assert status == "fail"
    assert reason.startswith(f"AppRole collector: {key} is {value!r}, declared is ")


def test_a_policy_besides_the_estate_that_differs(besides: Any) -> None:
    besides.vault.policies["auditors"] = "# may write"
    assert told(besides.prove("H1.a")) == ("fail", "policy auditors is not the declared text")


def test_what_is_declared_besides_the_estate_and_gone(besides: Any) -> None:
    del besides.vault.policies["auditors"]
    del besides.vault.roles["collector"]
    assert told(besides.prove("H1.a")) == (
        "fail",
        "policy auditors does not exist; AppRole collector does not exist",
    )


def test_ways_in_that_nobody_declared(restaged: Callable[..., Any]) -> None:
    stage = restaged(others={"ways_in": ["oidc/", "cert/certs/monitoring"]})
    stage.vault.methods |= {"oidc/": {}, "old/": {"type": "userpass"}}
    stage.vault.certificates += ["monitoring", "stranger"]
    result = stage.prove("H1.a")
    status, reason = told(result)
    assert status == "fail"
    assert reason.split("; ") == [
        f"one can log in at auth/{way}, and nobody declared it"
        for way in ("cert/certs/stranger", "old/")
    ]
    assert "oidc/" in result["evidence"]["ways_in"]


def staff_roles(estate: dict[str, Any]) -> list[dict[str, Any]]:
    """As roles vault and vault_settings state them."""
    return [
        {
            "name": name,
            "certificate": "-----BEGIN CERTIFICATE-----\nroot\n",
            "allowed_uri_sans": [estate["principals"][name]["spiffe"]],
            "token_policies": [name],
            "token_no_default_policy": True,
            "token_ttl": "2m",
            "token_max_ttl": "120",
        }
        for name in ("operator", "host")
    ]


def test_who_may_be_operator_and_host(restaged: Callable[..., Any], estate: Any) -> None:
    stage = restaged(staff_roles=staff_roles(estate))
    result = stage.prove("H1.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["staff_roles"]["host"]["token_ttl"] == 120
    assert "certificate" not in result["evidence"]["staff_roles"]["host"]


@pytest.mark.parametrize(
    ("name", "key", "value", "reason"),
    [
        (
            "host",
            "allowed_uri_sans",
            [
                "spiffe://tamshai.internal/host/vps1",
                "spiffe://tamshai.internal/service/mcp-hr",
            ],
            (
                "cert role host: allowed_uri_sans is ['spiffe://tamshai.internal/host/vps1', "
                "'spiffe://tamshai.internal/service/mcp-hr'], "
                "declared is ['spiffe://tamshai.internal/host/vps1']"
            ),
        ),
        ("host", "allowed_uri_sans", [], "cert role host: allowed_uri_sans is []"),
        ("host", "token_policies", ["host", "operator"], "cert role host: token_policies is"),
        ("host", "token_no_default_policy", False, "token_no_default_policy is False"),
        ("host", "token_max_ttl", 7200, "token_max_ttl is 7200, declared is 120"),
        ("host", "certificate", "another", "cert role host: certificate is not the declared one"),
        ("operator", "token_ttl", 0, "token_ttl is 0, declared is 120; run vault_operator.yml"),
    ],
)
def test_somebody_else_who_may_be_operator_or_host(
    restaged: Callable[..., Any], estate: Any, name: str, key: str, value: Any, reason: str
) -> None:
    stage = restaged(staff_roles=staff_roles(estate))
    stage.vault.cert_roles[name][key] = value
    status, said = told(stage.prove("H1.a"))
    assert (status, reason in said, said.count("; cert role")) == ("fail", True, 0)


def test_a_host_that_has_no_way_in(restaged: Callable[..., Any], estate: Any) -> None:
    stage = restaged(staff_roles=staff_roles(estate))
    stage.vault.certificates.remove("host")
    assert told(stage.prove("H1.a")) == ("fail", "cert role host does not exist")


def test_without_an_operator_nothing_is_known(restaged: Callable[..., Any]) -> None:
    status, reason = told(restaged(token="").prove("H1.a"))
    assert status == "fail"
    assert "no operator's token" in reason


def test_the_operator_logs_in_by_his_certificate(restaged: Callable[..., Any]) -> None:
    stage = restaged(token="", operator=("certificate", "key"))
    asked = []

    def request(*words: Any) -> Any:
        asked.append(words)
        return site.Answer(200, {"auth": {"client_token": "operator-token"}})

    def vault(principal: str) -> Any:
        assert principal == "operator"
        return SimpleNamespace(request=request)

    stage.site._vault = vault
    assert told(stage.prove("H1.a")) == ("pass", "")
    assert stage.site.operator_token() == "operator-token"
    assert asked == [("PUT", "auth/cert/login", {"name": "operator"})]


def test_a_refused_operator_fails_the_proofs_that_need_him(restaged: Callable[..., Any]) -> None:
    stage = restaged(token="", operator=("certificate", "key"))
    answer = site.Answer(403, {"errors": ["permission denied"]})
    stage.site._vault = lambda _principal: SimpleNamespace(request=lambda *_words: answer)
    status, reason = told(stage.prove("H1.a"))
    assert (status, "refused the login of operator" in reason) == ("fail", True)


# H1.c


def test_spent_secret_ids_pass(stage: Any) -> None:
    result = stage.prove("H1.c")
    assert told(result) == ("pass", "")
    assert result["evidence"]["tried"]["mcp-hr"]["second_login"] == "400 invalid role or secret ID"
    assert result["evidence"]["bootstrap"] == {
        "mcp-gateway": {"old-1": 404},
        "mcp-hr": {"old-2": 404},
    }


def test_a_secret_id_left_alive(stage: Any) -> None:
    stage.vault.alive["mcp-hr"].append("acc-7")
    assert told(stage.prove("H1.c")) == ("fail", "a SecretID of mcp-hr is alive, accessor acc-7")


def test_a_secret_id_that_is_good_twice(stage: Any) -> None:
    stage.vault.uses = 2
    status, reason = told(stage.prove("H1.c"))
    assert status == "fail"
    assert "a SecretID of mcp-hr logged in a second time: 200" in reason


def test_an_accessor_that_stays(stage: Any) -> None:
    stage.vault.keep_accessor = True
    status, reason = told(stage.prove("H1.c"))
    assert status == "fail"
    assert "a SecretID that mcp-hr was given is not spent: old-2 200" in reason
    assert "the accessor of a spent SecretID of mcp-hr is still there" in reason


def test_a_bootstrap_that_left_no_record(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "accessors", lambda _s: {"mcp-gateway": ["old-1"], "mcp-hr": []})
    assert told(stage.prove("H1.c")) == ("fail", "no issue of a SecretID to mcp-hr is on record")


def test_the_journals_lines_are_understood() -> None:
    lines = (
        "service=mcp-hr event=issued wrapped_accessor=aa-1 issuer=operator seconds=300\n"
        "service=mcp-hr event=wrap-kept issuer=operator seconds=12\n"
        "service=mcp-hr event=issued wrapped_accessor=aa-2 issuer=host seconds=300\n"
    )
    assert bootstrap.parse(lines) == {"mcp-hr": ["aa-1", "aa-2"]}


def test_no_secret_of_the_trial_is_shown_and_tokens_are_given_back(stage: Any) -> None:
    text = repr(stage.prove("H1.c"))
    for secret in ("wrap-mcp-hr", "secret-mcp-hr", "service-token-mcp-hr", "host-token"):
        assert secret in set(stage.vocabulary)
        assert secret not in text
    stage.site.close()
    assert {"host-token", "service-token-mcp-hr"} <= set(stage.vault.revoked)


# H1.d


def test_own_paths_only_pass(stage: Any) -> None:
    result = stage.prove("H1.d")
    assert told(result) == ("pass", "")
    answers = result["evidence"]["answers"]["mcp-hr"]
    assert answers["tamshai/data/mcp-hr"] == 200
    assert answers["tamshai/data/mcp-gateway"] == 403
    assert answers["sys/audit"] == 403


def test_a_neighbours_path_that_opens(stage: Any) -> None:
    stage.vault.granted["mcp-gateway"].add("tamshai/data/mcp-hr")
    assert told(stage.prove("H1.d")) == (
        "fail",
        "mcp-gateway is not refused tamshai/data/mcp-hr: 200",
    )


def test_the_host_is_refused_every_secret(stage: Any) -> None:
    answers = stage.prove("H1.d")["evidence"]["answers"]["host"]
    assert {
        "tamshai/data/mcp-hr",
        "database/static-creds/tamshai-app",
        "auth/approle/role/mcp-hr/secret-id unwrapped",
    } <= set(answers)
    assert set(answers.values()) == {403}


@pytest.mark.parametrize("path", ["tamshai/data/mcp-hr", "database/static-creds/tamshai-app"])
def test_a_secret_that_the_host_may_read(stage: Any, path: str) -> None:
    stage.vault.host_granted.add(path)
    assert told(stage.prove("H1.d")) == ("fail", f"the host is not refused {path}: 200")


def test_a_secret_id_that_the_host_gets_in_clear(stage: Any) -> None:
    stage.vault.gives_clear = True
    result = stage.prove("H1.d")
    assert told(result) == (
        "fail",
        (
            "the host is not refused a SecretID of mcp-gateway in clear: 200; "
            "the host is not refused a SecretID of mcp-hr in clear: 200"
        ),
    )
    assert "clear-secret-mcp-hr" in set(stage.vocabulary)
    assert stage.vault.destroyed == ["clear-mcp-gateway", "clear-mcp-hr"]


def test_an_own_path_that_does_not_open(stage: Any) -> None:
    stage.vault.granted["mcp-hr"].remove("tamshai/data/mcp-hr")
    assert told(stage.prove("H1.d")) == (
        "fail",
        "mcp-hr cannot read its own tamshai/data/mcp-hr: 403 permission denied",
    )


def test_an_approle_that_lets_nobody_in(stage: Any) -> None:
    stage.vault.uses = 0
    status, reason = told(stage.prove("H1.d"))
    assert status == "fail"
    assert "mcp-hr got no token through its AppRole" in reason


@pytest.mark.parametrize(
    ("path", "rights"),
    [("sys/policies/acl/attest", ["update"]), ("tamshai/data/mcp-hr", ["read", "update"])],
)
def test_a_service_that_may_write(stage: Any, path: str, rights: list[str]) -> None:
    stage.vault.rights[path] = rights
    status, reason = told(stage.prove("H1.d"))
    assert status == "fail"
    assert f"mcp-hr may update {path}" in reason


@pytest.mark.parametrize(
    "path",
    [
        "auth/approle/role/mcp-gateway/secret-id",
        "auth/approle/role/mcp-gateway/custom-secret-id",
        "auth/approle/role/mcp-gateway/policies",
        "auth/approle/role/collector/secret-id",
        "sys/policies/acl/mcp-gateway",
        "sys/policies/acl/default",
        "auth/cert/certs/host",
        "auth/cert/certs/monitoring",
        "tamshai/data/nobodys",
        "tamshai/data/folder/attest",
        "tamshai/metadata/mcp-gateway",
        "tamshai/destroy/mcp-hr",
        "tamshai/undelete/nobodys",
        "database/static-roles/tamshai-app",
        "database/rotate-role/tamshai-app",
        "database/rotate-root/tamshai",
        "database/config/tamshai",
    ],
)
def test_a_service_that_may_do_something_to_what_is_there(stage: Any, path: str) -> None:
    """A right to one thing shows under its own name and under no other."""
    stage.vault.roles["collector"] = {}
    stage.vault.certificates.append("monitoring")
    stage.vault.rights[path] = ["update"]
    status, reason = told(stage.prove("H1.d"))
    assert status == "fail"
    assert reason.split("; ") == [f"{name} may update {path}" for name in ("mcp-gateway", "mcp-hr")]


def test_rights_that_nobody_knows_pass_nothing(stage: Any) -> None:
    stage.vault.knows_rights = False
    assert told(stage.prove("H1.d")) == (
        "fail",
        (
            "nobody knows what mcp-gateway may do: 403 permission denied; "
            "nobody knows what mcp-hr may do: 403 permission denied"
        ),
    )


# F2.a


def test_a_production_server_waits_for_its_restart(stage: Any) -> None:
    result = stage.prove("F2.a")
    assert told(result) == ("not run", "needs attest_disruptive=true (restarts Vault)")
    assert result["evidence"]["server"]["storage_type"] == "raft"


def test_a_dev_server_fails_without_a_restart(stage: Any) -> None:
    stage.vault.seal["storage_type"] = "inmem"
    stage.vault.good_tokens["root"] = ["root"]
    args = ["server", "-dev", "-dev-root-token-id=root"]
    config = {"Env": ["BAO_DEV_ROOT_TOKEN_ID=root"]}
    vault = next(i for i, box in enumerate(stage.boxes) if box.service == "vault")
    stage.boxes[vault].inspected["Args"] = args
    stage.boxes[vault].inspected["Config"] |= config
    status, reason = told(stage.prove("F2.a"))
    assert status == "fail"
    for text in ("inmem, not raft", "in dev mode", "BAO_DEV_ROOT_TOKEN_ID", "'root' of dev"):
        assert text in reason


def restart_of(stage: Any, **changes: Any) -> dict[str, Any]:
    seen = {
        "sealed": True,
        "started_before": "1",
        "started_after": "2",
        "fingerprints": disruption.fingerprints(stage.site),
    }
    return {"restart": {**seen, **changes}}


def test_a_restart_that_loses_nothing(stage: Any, restaged: Callable[..., Any]) -> None:
    seen = restart_of(stage)
    again = framework.Once(lambda: stage.vault)
    stage.site.inputs = site.Inputs(
        stage.estate,
        "operator-token",
        disturbed=KINDS,
        observed=seen,
        fingerprint_key="k" * 32,
    )
    stage.site.vault = again
    result = stage.prove("F2.a")
    assert told(result) == ("pass", "")
    assert "tamshai/data/mcp-hr" in result["evidence"]["restart"]["compared"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"sealed": False},
            "it was not sealed after its restart until the shares at hand were given",
        ),
        ({"started_after": "1"}, "the server was not restarted"),
        ({"fingerprints": {}}, "nothing was fingerprinted before the restart"),
        ({"fingerprints": {"policy gone": "x"}}, "gone after the restart: policy gone"),
        (
            {"fingerprints": {"policy mcp-hr": "x"}},
            "not the same after the restart: policy mcp-hr",
        ),
    ],
)
def test_a_restart_that_went_wrong(stage: Any, changes: dict[str, Any], reason: str) -> None:
    stage.site.inputs = site.Inputs(
        stage.estate,
        "operator-token",
        disturbed=KINDS,
        observed=restart_of(stage, **changes),
        fingerprint_key="k" * 32,
    )
    assert told(stage.prove("F2.a")) == ("fail", reason)


def test_a_secret_that_changed_over_the_restart(stage: Any) -> None:
    seen = restart_of(stage)
    stage.vault.secret = "v2"
    stage.site.inputs = site.Inputs(
        stage.estate,
        "operator-token",
        disturbed=KINDS,
        observed=seen,
        fingerprint_key="k" * 32,
    )
    status, reason = told(stage.prove("F2.a"))
    assert status == "fail"
    assert "tamshai/data/mcp-hr" in reason


def test_a_restart_that_broke_off(restaged: Callable[..., Any]) -> None:
    stage = restaged(disturbed=KINDS, observed={"error": "Restart the Vault: no such service"})
    assert told(stage.prove("F2.a")) == (
        "fail",
        "nothing was observed: Restart the Vault: no such service",
    )


# F2.c


@pytest.fixture
def logs(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Both devices write down every path that is asked for, unless a test replaces one."""
    paths = {"file": tmp_path / "audit.json", "stdout": tmp_path / "json.log"}
    for path in paths.values():
        path.write_text("")
    monkeypatch.setattr(auditlog, "log_file", lambda _site: paths["file"])
    monkeypatch.setattr(auditlog, "device_file", lambda _site: paths["stdout"])
    ask = stage.vault.request

    def request(method: str, path: str, *args: Any, **more: Any) -> Any:
        for log in paths.values():
            if log.exists() and log.stat().st_mode & 0o200:
                log.write_text(log.read_text() + path + "\n")
        return ask(method, path, *args, **more)

    stage.vault.request = request
    return paths


def test_two_devices_that_hear_pass(stage: Any, logs: dict[str, Path]) -> None:
    result = stage.prove("F2.c")
    assert told(result) == ("pass", "")
    assert result["evidence"]["found"] == {"file": True, "standard output": True}


def test_one_device_is_not_enough(stage: Any, logs: dict[str, Path]) -> None:
    del stage.vault.audit["stdout/"]
    assert told(stage.prove("F2.c")) == ("fail", "1 audit device(s): file")


def test_a_device_that_hears_nothing(
    stage: Any, logs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = auditlog.wait_for_path
    monkeypatch.setattr(auditlog, "wait_for_path", lambda p, t: wait(p, t, timeout=0.1))
    logs["file"].chmod(0o400)
    assert told(stage.prove("F2.c")) == ("fail", "the request is not in the log of the file device")


@pytest.mark.parametrize(
    ("which", "aside"), [("file", "audit-20261126T120000Z.json"), ("stdout", "json.log.1")]
)
def test_a_log_that_is_put_aside_in_that_moment(
    stage: Any, logs: dict[str, Path], which: str, aside: str
) -> None:
    ask = stage.vault.request

    def request(method: str, path: str, *args: Any, **more: Any) -> Any:
        answer = ask(method, path, *args, **more)
        if "attest-" in path:
            logs[which].rename(logs[which].with_name(aside))
            logs[which].write_text("")
        return answer

    stage.vault.request = request
    assert told(stage.prove("F2.c")) == ("pass", "")


# F2.d

SAID = "waited 4 s for the server to be unsealed: it is sealed"


def wait_of(**changes: Any) -> dict[str, Any]:
    timed_out = {"failed": True, "message": SAID, "seconds": 5.1, "limit": 4}
    went_on = {"failed": False, "message": "", "sealed_at_start": True}
    for key, value in changes.items():
        which, _unused, name = key.partition("__")
        (timed_out if which == "first" else went_on)[name] = value
    return {"wait": {"timed_out": timed_out, "went_on": went_on}}


def test_a_role_that_waits_and_goes_on(restaged: Callable[..., Any]) -> None:
    assert told(restaged(disturbed=KINDS, observed=wait_of()).prove("F2.d")) == (
        "pass",
        "",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"first__failed": False}, "the settings role did not fail while it was sealed"),
        ({"first__message": "connection timed out"}, "its message does not say sealed"),
        ({"first__message": "it is not unsealed"}, "its message does not say sealed"),
        ({"first__seconds": 1}, "it gave up after 1 s, before its limit of 4 s"),
        ({"then__sealed_at_start": None}, "whether the second run began sealed was not seen"),
        ({"then__failed": True}, "it did not go on after the unseal"),
    ],
)
def test_a_role_that_does_not(
    restaged: Callable[..., Any], changes: dict[str, Any], reason: str
) -> None:
    status, said = told(restaged(disturbed=KINDS, observed=wait_of(**changes)).prove("F2.d"))
    assert status == "fail"
    assert reason in said


@pytest.mark.parametrize(
    "seen",
    [{"restart": {"sealed": False}}, wait_of(then__sealed_at_start=False)],
    ids=["at once", "later"],
)
def test_a_vault_that_somebody_opened_is_judged_by_another_proof(
    stage: Any, seen: dict[str, Any]
) -> None:
    stage.site.inputs = dataclasses.replace(
        stage.site.inputs, disturbed=KINDS, observed={**restart_of(stage), **seen}
    )
    status, reason = told(stage.prove("F2.d"))
    assert (status, "F2.a judges that" in reason) == ("not run", True)
    assert told(stage.prove("F2.a"))[0] == "fail"


def test_the_wait_needs_leave(stage: Any) -> None:
    assert told(stage.prove("F2.d"))[0] == "not run"


@pytest.mark.parametrize("proof_id", ["F2.a", "F2.d"])
def test_a_refusal_to_restart_is_given_as_the_reason(
    restaged: Callable[..., Any], proof_id: str
) -> None:
    reason = "nothing was restarted: 2 of the 3 shares that open the Vault are not at hand"
    stage = restaged(observed={"refused": reason})
    assert told(stage.prove(proof_id)) == ("not run", reason)


def test_a_snapshot_says_what_opens_the_vault(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disruption, "wait_for_vault", lambda _site, _timeout: None)
    stage.vault.seal["t"] = 3
    seen = attest.snapshot(stage.site, 1)
    assert (seen["seal"], seen["threshold"], seen["sealed"]) == ("shamir", 3, False)


@pytest.mark.parametrize(("opens", "sealed"), [(4, False), (1000, True)])
def test_a_vault_that_is_opened_a_little_later_was_not_sealed(
    stage: Any, monkeypatch: pytest.MonkeyPatch, opens: int, sealed: bool
) -> None:
    asked: list[int] = []

    def seal_status() -> dict[str, Any]:
        asked.append(1)
        return {**stage.vault.seal, "sealed": len(asked) < opens}

    monkeypatch.setattr(disruption, "wait_for_vault", lambda _site, _timeout: None)
    monkeypatch.setattr(stage.vault, "seal_status", seal_status)
    assert attest.snapshot(stage.site, 1)["sealed"]
    assert attest.snapshot(stage.site, 1, hold=1)["sealed"] == sealed


@pytest.mark.parametrize(("opens", "sealed"), [(3, False), (1000, True)])
def test_a_vault_that_opens_itself_is_given_the_time(
    stage: Any, monkeypatch: pytest.MonkeyPatch, opens: int, sealed: bool
) -> None:
    asked: list[int] = []

    def seal_status() -> dict[str, Any]:
        asked.append(1)
        return {**stage.vault.seal, "type": "static", "sealed": len(asked) < opens}

    monkeypatch.setattr(disruption, "wait_for_vault", lambda _site, _timeout: None)
    monkeypatch.setattr(stage.vault, "seal_status", seal_status)
    monkeypatch.setattr(disruption, "fingerprints", lambda _site: {})
    seen = attest.snapshot(stage.site, 1)
    assert (seen["seal"], seen["sealed"]) == ("static", sealed)


def test_a_vault_that_was_just_opened_is_looked_at_once_it_is_active(
    stage: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it refuses every login, and the look would see nothing."""
    asked: list[int] = []

    def active() -> bool:
        asked.append(1)
        return len(asked) == 3

    def fingerprints(_site: Any) -> dict[str, str]:
        assert len(asked) == 3
        return {}

    monkeypatch.setattr(disruption, "wait_for_vault", lambda _site, _timeout: None)
    monkeypatch.setattr(disruption, "fingerprints", fingerprints)
    monkeypatch.setattr(stage.vault, "active", active)
    assert not attest.snapshot(stage.site, 5)["sealed"]


def test_a_seal_that_opens_itself_has_no_wait(restaged: Callable[..., Any]) -> None:
    stage = restaged(disturbed=KINDS)
    stage.vault.seal["type"] = "static"
    status, reason = told(stage.prove("F2.d"))
    assert status == "not run"
    assert "opens its seal by itself" in reason


def test_a_vault_that_is_down_passes_nothing(stage: Any) -> None:
    def down() -> Any:
        raise PhoenixError("Vault at 127.0.0.1:8200 does not answer: refused")

    stage.site.vault = framework.Once(down)
    for proof_id in ("H1.a", "H1.c", "H1.d", "F2.a", "F2.c"):
        status, reason = told(stage.prove(proof_id))
        assert status == "fail"
        assert "does not answer" in reason


def test_an_estate_without_a_vault_has_nothing_to_ask(stage: Any) -> None:
    stage.estate["services"].pop("vault")
    stage.site.vault = framework.Once(stage.site._vault)
    assert told(stage.prove("F2.a")) == ("not run", "the estate has no service of kind vault")
    assert set(every.PROOFS) >= {"F2.a"}
