# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Conditions of the role that decide about a failure, and about going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

TASKS = Path(__file__).parents[3] / "roles" / "vault" / "tasks"


def conditions(file: str, keyword: str) -> dict[str, str]:
    tasks = yaml.safe_load((TASKS / file).read_text(encoding="utf-8"))
    return {task["name"]: task[keyword] for task in tasks if keyword in task}


def true(condition: str, **variables: Any) -> bool:
    jinja = Environment(autoescape=False)  # noqa: S701 - nothing is rendered for a browser
    jinja.tests["failed"] = lambda result: bool(result.get("failed"))
    return bool(jinja.compile_expression(condition)(**variables))


@pytest.mark.parametrize(
    ("root", "error", "fails"),
    [
        ({"token": "s.x"}, "token_expired", False),
        ({"token": "s.x"}, "forbidden", True),
        ({"shares": ["a"]}, "token_expired", True),
        ({"shares": ["a"]}, "", False),
    ],
)
def test_only_a_bootstrap_may_find_its_root_token_gone(
    root: dict[str, Any], error: str, fails: bool
) -> None:
    (condition,) = conditions("identity.yml", "failed_when").values()
    result = {"failed": bool(error), "vault_error": error}
    assert true(condition, __vault_root=root, __vault_configured=result) is fails


@pytest.mark.parametrize(("root", "used"), [("s.x", True), ("", False)])
def test_a_root_token_that_is_revoked_and_gone_is_not_looked_for(root: str, used: bool) -> None:
    """A run was killed between that and its note: an empty token is one of the environment."""
    tasks = yaml.safe_load((TASKS / "bootstrap.yml").read_text(encoding="utf-8"))
    (block,) = [task["block"] for task in tasks if "block" in task]
    needs = [task for task in block if "__vault_held.root_token" in str({**task, "when": ""})]
    assert [task["name"] for task in needs] == [
        "Give the operator an identity",
        "Revoke the root token",
    ]
    for task in needs:
        assert true(task["when"], __vault_held={"root_token": root}) is used
    # What tells that the operator gets in is never left out; nor the note, which is predicted.
    names = [task["name"] for task in block if "when" not in task]
    assert "Log in as the operator, before the root token goes" in names
    assert tasks[-1]["tamshai.phoenix.vault_custody"]["state"] == "finished"
    assert "when" not in tasks[-1]


@pytest.mark.parametrize(
    ("state", "token", "opens"), [("held", "s.x", True), ("finished", "s.x", False)]
)
def test_a_bootstrap_is_finished_by_the_next_run_and_left_alone_after_that(
    state: str, token: str, opens: bool
) -> None:
    known = {
        "__vault_custody": {"state": state},
        "__vault_login": {"token": token, "state": "ready"},
    }
    (block,) = [
        task["block"]
        for task in yaml.safe_load((TASKS / "main.yml").read_text(encoding="utf-8"))
        if "block" in task
    ]
    (task,) = [t for t in block if t.get("ansible.builtin.include_tasks") == "open.yml"]
    assert true(task["when"], **known) is opens
    assert true(conditions("open.yml", "when")["Bootstrap"], **known) is opens


@pytest.mark.parametrize(("seal", "fails"), [("shamir", True), ("static", False), ("", False)])
def test_the_glass_is_not_broken_while_the_seal_is_to_change(seal: str, fails: bool) -> None:
    condition = conditions("break_glass.yml", "when")["Refuse to change its seal on the way"]
    assert true(condition, __vault_collected={"seal": seal}, vault_seal="static") is fails


@pytest.mark.parametrize(("has_data", "changes"), [(True, True), (False, False)])
def test_a_host_that_was_built_anew_has_no_seal_to_change(has_data: bool, changes: bool) -> None:
    """The control node knows the seal of the server that was there before."""
    found = conditions("seal.yml", "when")
    seen = {"reachable": False, "initialised": False, "migration": False, "type": ""}
    known = {"vault_seal": "static", "__vault_custody": {"seal": "shamir"}}
    for name in ("Change over to another seal", "Note what the shares are good for"):
        assert true(found[name], __vault_seal=seen, __vault_has_data=has_data, **known) is changes


@pytest.mark.parametrize(
    ("state", "confirm", "refused"),
    [
        ("released", "", True),
        ("released", "h2", True),
        ("released", "h1", False),
        ("finished", "", False),
        ("absent", "", False),
    ],
)
def test_no_server_is_made_unasked_where_custodians_had_one(
    state: str, confirm: str, refused: bool
) -> None:
    """Neither before anything is touched, nor where the server turns out to be empty."""
    known = {"vault_recreate_confirm": confirm, "inventory_hostname": "h1"}
    known["__vault_custody"] = {"state": state}
    main, bootstrap = conditions("main.yml", "when"), conditions("bootstrap.yml", "when")
    name = "See that the server is there whose shares custodians hold"
    assert true(main[name], **known) is refused
    name = "Refuse a new server in the place of one whose shares custodians hold"
    assert next(iter(bootstrap)) == name
    assert true(bootstrap[name], **known) is refused


@pytest.mark.parametrize(
    ("planned", "confirm", "refused"),
    [
        ({"idle": 30}, "", True),
        ({"idle": 30}, "h2", True),
        ({"idle": 30}, "h1", False),
        ({"idle": 601}, "", False),
        ({}, "", False),
    ],
)
def test_an_upgrade_that_somebody_may_be_at_is_not_undone(
    planned: dict[str, Any], confirm: str, refused: bool
) -> None:
    found = yaml.safe_load((TASKS / "upgrade.yml").read_text(encoding="utf-8"))
    (task,) = [t for t in found if t["name"] == "Refuse to undo what somebody else may be doing"]
    known = {"__vault_upgrade": planned, "__vault_upgrade_patience": 600}
    known |= {"vault_downgrade_confirm": confirm, "inventory_hostname": "h1"}
    assert all(true(condition, **known) for condition in task["when"]) is refused
    # Before anything is changed, and before shares are asked for.
    assert found.index(task) == 1


@pytest.mark.parametrize(
    ("looked", "restores"),
    [
        ({"reachable": True, "sealed": False, "migration": False}, False),
        ({"reachable": True, "sealed": False, "migration": True}, True),
        ({"reachable": True, "sealed": True, "migration": True}, True),
        ({"reachable": True, "sealed": True, "migration": False}, True),
        ({"reachable": False, "sealed": False, "migration": False}, True),
        ({"failed": False, "msg": "the server failed at sys/seal-status"}, True),
    ],
)
def test_the_copy_is_put_back_unless_the_server_has_changed_over(
    looked: dict[str, Any], restores: bool
) -> None:
    tasks = yaml.safe_load((TASKS / "migrate.yml").read_text(encoding="utf-8"))
    (rescue,) = [t["rescue"] for t in tasks if t["name"] == "Change over"]
    looks, condition = rescue[0], rescue[1]["when"]
    assert looks["register"] == "__vault_stuck"
    assert looks["failed_when"] is False
    assert true(condition, __vault_stuck=looked) is restores
