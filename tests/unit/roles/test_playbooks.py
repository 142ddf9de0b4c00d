# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What holds for every playbook and every role."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

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
