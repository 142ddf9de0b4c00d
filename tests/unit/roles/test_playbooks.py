# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every playbook and every role."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.filter import mathstuff
from jinja2 import Environment

ROOT = Path(__file__).parents[3]
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
MAIN = sorted((ROOT / "roles").glob("*/tasks/main.yml"))
FILES = sorted(path for path in (ROOT / "roles").rglob("*") if path.suffix in (".j2", ".yml"))


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_no_module_is_a_file_on_a_managed_host(playbook: Path) -> None:
    """An installed collection comes without ansible.cfg, and pipelining is off by default."""
    plays = yaml.safe_load(playbook.read_text(encoding="utf-8"))
    managed = [play for play in plays if play["hosts"] != "localhost"]
    assert managed
    for play in managed:
        assert play["vars"]["ansible_pipelining"] is True, play["name"]


def test_one_command_makes_a_host_rebuilds_and_proves_it() -> None:
    shown = subprocess.run(
        ["make", "--dry-run", "phoenix", "ARGS=-v"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert shown.splitlines() == [
        "scripts/bootstrap",
        "ansible-playbook playbooks/drill.yml -v",
        "ansible-playbook playbooks/phoenix.yml -v",
        "ansible-playbook playbooks/verify.yml -e attest_disruptive=true -v",
    ]


@pytest.mark.parametrize("playbook", ["drill", "phoenix", "verify"])
def test_whoever_watches_it_sees_each_phase_against_its_budget(playbook: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text(encoding="utf-8"))
    for play in plays:
        phase = play["vars"]["phoenix_phase"]
        assert phase["name"], play["name"]
        assert phase["budget"] > 0, play["name"]


@pytest.mark.parametrize("tasks", MAIN, ids=lambda path: path.parts[-3])
def test_the_tasks_of_a_role_fit_on_a_page(tasks: Path) -> None:
    """What is longer is a file of its own."""
    assert len(tasks.read_text(encoding="utf-8").splitlines()) <= 70


def test_no_file_on_a_host_depends_on_whose_control_node_wrote_it() -> None:
    """A host's name in one operator's ``ansible_managed`` is a restart at each run of another."""
    assert len(FILES) > 100
    using = [path for path in FILES if "ansible_managed" in path.read_text(encoding="utf-8")]
    assert using == []


def conditions(name: str) -> list[str]:
    """When a playbook sees to the operator's certificate before anything logs in by it."""
    play = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))[0]
    task = next(
        task
        for task in play.get("pre_tasks", []) + play.get("post_tasks", [])
        if task.get("ansible.builtin.include_role", {}).get("tasks_from") == "operator"
    )
    assert play.get("tags", ["always"]) == ["always"]
    found = task["when"]
    return found if isinstance(found, list) else [found]


def holds(name: str, **variables: Any) -> bool:
    jinja = Environment(autoescape=False)  # noqa: S701 - nothing is rendered for a browser
    jinja.tests["file"] = lambda path: Path(path).is_file()
    jinja.filters |= mathstuff.FilterModule().filters()
    return all(jinja.compile_expression(text)(**variables) for text in conditions(name))


@pytest.mark.parametrize(
    ("run", "skipped", "renews"),
    [
        (["vault"], [], True),
        (["data"], [], True),
        (["services"], [], True),
        (["verify"], [], True),
        (["all"], ["trust"], True),
        (["all"], [], False),  # phase trust does it
        (["trust", "data"], [], False),
    ],
)
def test_whatever_phase_is_asked_for_the_operators_certificate_is_renewed(
    tmp_path: Path, run: list[str], skipped: list[str], *, renews: bool
) -> None:
    given = {"ansible_run_tags": run, "ansible_skip_tags": skipped}
    assert not holds("phoenix", phoenix_state_dir=str(tmp_path), **given), "there is none to renew"
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "tls.crt").touch()
    assert holds("phoenix", phoenix_state_dir=str(tmp_path), **given) is renews


def test_verify_renews_the_operators_certificate_where_it_can(tmp_path: Path) -> None:
    given = {"phoenix_state_dir": str(tmp_path), "phoenix_state_passphrase": "a passphrase"}
    assert not holds("verify", **given)
    (tmp_path / "operator").mkdir()
    (tmp_path / "operator" / "tls.crt").touch()
    assert holds("verify", **given)
    assert not holds("verify", **given | {"phoenix_state_passphrase": ""})
