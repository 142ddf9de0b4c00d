# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make down` says and leaves, with an engine that only pretends."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Machine:
    """A clone with the traces of a drill, and a Docker client that lists what it is told."""

    def __init__(self, path: Path) -> None:
        self.clone = path / "clone"
        (self.clone / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "down", self.clone / "scripts" / "down")
        self.secret = self.clone / "build" / "drill" / "drill" / "passphrase"
        self.secret.parent.mkdir(parents=True)
        self.secret.write_text("secret")
        self.bin = self.clone / ".venv" / "bin"
        self.bin.mkdir(parents=True)
        self.program("ansible-playbook", f'echo "$@" >{path}/played')
        self.played = path / "played"
        self.lists("")

    def program(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)

    def lists(self, of_ours: str, of_anybody: str = "") -> None:
        """Have `docker` list this of what has the drill's label, and of all that runs."""
        self.program(
            "docker",
            f'case "$*" in {of_ours or "nothing"}*label=tamshai.phoenix*) echo leftover ;;'
            f" *--quiet*) echo -n {of_anybody} ;; esac",
        )

    def down(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.clone / "scripts" / "down"],
            env={"PATH": os.environ["PATH"], "HOME": str(self.clone)},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def engine(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    """A process called dockerd that bootstrap has started."""
    program = machine.bin / "dockerd"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as running:
        note = machine.clone / "build" / "engine" / "dockerd.pid"
        note.parent.mkdir()
        note.write_text(f"{running.pid}\n")
        yield running
        running.kill()


def test_no_secret_is_left(machine: Machine) -> None:
    result = machine.down()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.played.read_text() == "playbooks/drill.yml -e drill_state=absent\n"
    assert not machine.secret.exists()


@pytest.mark.parametrize("kind", ["ps", "network ls", "images"])
def test_what_is_left_is_named_and_is_no_success(machine: Machine, kind: str) -> None:
    machine.lists(f'"{kind}"')
    result = machine.down()
    assert result.returncode == 1
    assert result.stderr == "Still there:\nleftover\n"


def test_an_engine_that_was_started_for_this_is_stopped(
    machine: Machine, engine: subprocess.Popen[bytes]
) -> None:
    result = machine.down()
    assert result.returncode == 0, result.stderr
    assert "is stopped" in result.stdout
    assert engine.wait(5) == -15
    assert not (machine.clone / "build" / "engine").exists()


def test_an_engine_that_others_use_by_now_stays(
    machine: Machine, engine: subprocess.Popen[bytes]
) -> None:
    machine.lists("", of_anybody="somebodys")
    result = machine.down()
    assert result.returncode == 0, result.stderr
    assert "stays" in result.stdout
    assert engine.poll() is None
