# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a rebuild takes, against a bare ``docker compose up --wait`` of the same containers.

The baseline starts the very containers of the estate, with their certificates, secrets and data at
hand: nothing but the engine, the processes and their healthchecks. What is above it is what the
collection adds: a host made ready, a CA, an initialised Vault, databases, agents, and the proofs.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
NAME = "drill-bench"
ADDRESS = "198.19.255.15"
HERE = ROOT / "build" / "drill" / NAME
# Seconds for a rebuild, and the part of that for a second run; two cores with nothing else to do.
LIMIT, SHARE = 180, 0.2
COMPOSE = ["docker", "compose", "-f", "/opt/tamshai/compose.yaml"]


def playbook(name: str, *arguments: str) -> tuple[float, str]:
    """Run a playbook; seconds and output."""
    begin = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", f"playbooks/{name}", *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return time.monotonic() - begin, done.stdout


def on_host(*command: str) -> float:
    """Run a command on the drill host; seconds."""
    begin = time.monotonic()
    done = subprocess.run(
        ["docker", "exec", NAME, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return time.monotonic() - begin


@pytest.fixture(scope="module")
def host() -> Iterator[Path]:
    chosen = ["-e", f"drill_name={NAME}", "-e", f"drill_ip={ADDRESS}"]
    playbook("drill.yml", *chosen, "-e", "drill_state=absent", "--skip-tags", "images")
    playbook("drill.yml", *chosen)
    yield HERE / "inventory"
    playbook("drill.yml", *chosen, "-e", "drill_state=absent", "--skip-tags", "images")


def phases() -> list[dict[str, Any]]:
    report = json.loads((ROOT / "build" / "report" / "phases.json").read_text())
    return [
        {key: phase[key] for key in ("name", "seconds", "budget", "changed")}
        for phase in report["phases"]
    ]


def test_rebuild_against_bare_compose(host: Path) -> None:
    first, _output = playbook("phoenix.yml", "-i", str(host))
    first_phases = phases()
    second, _output = playbook("phoenix.yml", "-i", str(host))
    second_phases = phases()
    baseline = []
    for _run in range(3):
        on_host(*COMPOSE, "down")
        baseline.append(on_host(*COMPOSE, "up", "--wait", "--wait-timeout", "120"))
    bare = sorted(baseline)[1]
    result = {
        "name": "rebuild",
        "unit": "s",
        "what": "phoenix.yml on a bare host, images at hand; baseline: docker compose up --wait",
        "ours": round(first, 1),
        "baseline": round(bare, 1),
        "ratio": round(first / bare, 2),
        "second_run": round(second, 1),
        "second_run_share": round(second / first, 3),
        "phases": first_phases,
        "second_run_phases": second_phases,
        "runs": {"ours": 1, "baseline": len(baseline)},
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
    }
    folder = ROOT / "build" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rebuild.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps({k: v for k, v in result.items() if "phases" not in k}, indent=2))
    assert first <= LIMIT
    assert second <= SHARE * first
