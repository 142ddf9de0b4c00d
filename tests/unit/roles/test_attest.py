# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role attest seals nothing that the shares at hand cannot open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.filter import core, mathstuff
from jinja2.nativetypes import NativeEnvironment

ROLE = Path(__file__).parents[3] / "roles" / "attest"


def load(path: str) -> Any:
    return yaml.safe_load((ROLE / path).read_text(encoding="utf-8"))


def missing(seal: dict[str, Any], custody: dict[str, Any], **more: Any) -> int:
    variables, environment = load("vars/main.yml"), NativeEnvironment()
    given = {"__attest_seal": seal, "__attest_custody": custody, **more}
    shares = environment.from_string(variables["__attest_shares"]).render(given)
    found = environment.from_string(variables["__attest_missing"]).render(
        given, __attest_shares=list(shares)
    )
    return int(found)


SHAMIR = {"snapshot": {"seal": "shamir", "threshold": 3}}
STATIC = {"snapshot": {"seal": "static", "threshold": 3}}


@pytest.mark.parametrize(
    ("seal", "shares", "brought", "expected"),
    [
        (SHAMIR, ["a", "b", "c", "d", "e"], [], 0),
        (SHAMIR, ["a"], [], 2),
        (SHAMIR, [], [], 3),
        (SHAMIR, ["a", "b"], ["b"], 1),
        (SHAMIR, ["a", "b"], ["c"], 0),
        (STATIC, [], [], 0),
    ],
)
def test_shares_that_are_missing(
    seal: dict[str, Any], shares: list[str], brought: list[str], expected: int
) -> None:
    assert missing(seal, {"shares": shares}, vault_unseal_shares=brought) == expected


def test_an_estate_without_a_vault_misses_none() -> None:
    assert missing({"skipped": True}, {"skipped": True}) == 0


def test_nothing_is_restarted_while_a_share_is_missing() -> None:
    block = next(task["block"] for task in load("tasks/disruptive.yml") if "block" in task)
    included = {
        task["ansible.builtin.include_tasks"]: index
        for index, task in enumerate(block)
        if "ansible.builtin.include_tasks" in task
    }
    assert included.keys() == {"restart.yml", "reboot.yml"}
    for index in included.values():
        assert "__attest_missing | int == 0" in block[index]["when"]
        assert index > 1


@pytest.mark.parametrize(
    ("given", "done"),
    [
        ({}, []),
        ({"attest_disruptive": True}, ["rotation", "restart", "reboot", "copy"]),
        ({"attest_rotation": True}, ["rotation"]),
        ({"attest_disturb": ["copy"]}, ["copy"]),
        ({"attest_disturb": ["copy"], "attest_rotation": True}, ["rotation", "copy"]),
        ({"attest_disruptive": True, "attest_only": ["W.b", "H1.a"]}, ["reboot"]),
        ({"attest_disruptive": True, "attest_only": ["F2.d"]}, ["restart"]),
        ({"attest_disturb": ["copy"], "attest_only": ["W.b"]}, []),
        ({"attest_disruptive": True, "attest_only": ["H1.a"]}, []),
    ],
)
def test_nothing_is_disturbed_that_no_proof_asks_for(
    given: dict[str, Any], done: list[str]
) -> None:
    variables, environment = load("vars/main.yml"), NativeEnvironment()
    environment.filters |= core.FilterModule().filters() | mathstuff.FilterModule().filters()
    values = {**load("defaults/main.yml"), "__attest_needs": variables["__attest_needs"], **given}
    for name in ("__attest_leave", "__attest_disturbed"):
        values[name] = list(environment.from_string(variables[name]).render(values))
    assert sorted(values["__attest_disturbed"]) == sorted(done)


def test_shares_are_looked_for_where_unseal_finds_them() -> None:
    custody = next(
        task["tamshai.phoenix.vault_custody"]
        for task in load("tasks/disruptive.yml")
        if "tamshai.phoenix.vault_custody" in task
    )
    shares = yaml.safe_load((ROLE.parent / "vault/tasks/shares.yml").read_text(encoding="utf-8"))[0]
    for name in ("share_files", "share_environment"):
        variable = shares["tamshai.phoenix.vault_custody"][name].strip("{} ")
        assert variable in custody[name]


@pytest.mark.parametrize(
    "result",
    [
        {"state": "refused", "reason": "it has run out", "token": ""},
        {"failed": True, "msg": "it has run out"},
    ],
)
def test_why_the_operator_cannot_log_in_is_said(result: dict[str, Any]) -> None:
    """A server that refuses him is a result; a certificate that is missing is a failure."""
    tasks, environment = load("tasks/login.yml"), NativeEnvironment()
    said = tasks[0]["rescue"][0] if result.get("failed") else tasks[1]
    given = {"__attest_login": result}
    if "when" in said:
        assert environment.compile_expression(said["when"])(**given)
        assert not environment.compile_expression(said["when"])(__attest_login={"reason": ""})
    message = environment.from_string(said["ansible.builtin.debug"]["msg"]).render(given)
    assert message.endswith("it has run out")


def rendered(value: Any, given: dict[str, Any]) -> Any:
    """As Ansible would, with files of the role's own and of a directory that is not there."""
    if isinstance(value, list):
        return [rendered(item, given) for item in value]
    if isinstance(value, dict):
        return {key: rendered(item, given) for key, item in value.items()}
    if not isinstance(value, str):
        return value
    environment = NativeEnvironment()
    environment.filters["from_yaml"] = yaml.safe_load
    environment.tests["file"] = lambda _path: True

    def lookup(_name: str, path: str, **_options: Any) -> str:
        return Path(path).read_text() if path.startswith(str(ROLE)) else f"content of {path}"

    return environment.from_string(value).render(given, role_path=str(ROLE), lookup=lookup)


@pytest.mark.parametrize(
    "given", [{}, {"vault_operator_token_ttl": "20m", "vault_settings_host_token_ttl": "3m"}]
)
def test_roles_for_certificates_are_compared_as_they_are_written(given: dict[str, Any]) -> None:
    def read(path: str) -> Any:
        return yaml.safe_load((ROLE.parent / path).read_text(encoding="utf-8"))

    principals = {name: {"spiffe": f"spiffe://x/{name}"} for name in ("operator", "host")}
    defaults = {**read("vault/defaults/main.yml"), **read("vault_settings/defaults/main.yml")}
    folders = dict.fromkeys(("vault_operator_dir", "vault_settings_operator_dir"), "/operator")
    written = [
        *read("vault/tasks/identity.yml")[0]["tamshai.phoenix.vault_config"]["cert_roles"],
        read("vault_settings/vars/main.yml")["__vault_settings_host_role"],
    ]
    values = {"estate_model": {"principals": principals}, "attest_operator_dir": "/operator"}
    values |= given
    variables = load("vars/main.yml")
    for name in ("__attest_settings", "__attest_bootstrap", "__attest_authority"):
        values[name] = rendered(variables[name], values)
    assert rendered(variables["__attest_staff_roles"], values) == rendered(
        written, {**defaults, **values, **folders}
    )


def test_what_is_declared_besides_is_compared_and_what_was_moved_is_known() -> None:
    moved = {
        "policy p": {"name": "p", "mark": "m"},
        "approle approle/r": {"name": "r", "mount": "approle", "fields": {}},
        "secret s/x": {"mount": "s", "path": "x"},
    }
    policy, role = {"name": "auditors", "text": "# may look"}, {"name": "c", "token_ttl": "5m"}
    given = {
        "__attest_migrated": moved,
        "vault_settings_policies": [policy],
        "vault_settings_approles": [role],
    }
    others = load("vars/main.yml")["__attest_others"]
    assert rendered(others["policies"], given) == [policy, "p"]
    assert rendered(others["approles"], given) == [role, "r"]
    assert rendered(others["policies"], {"__attest_migrated": {}}) == []
