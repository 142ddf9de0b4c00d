# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of ansible-playbook in each phase of a rebuild; the next run ends green.

In between the host is wiped, and rebuilt by a control node that still has the state of the estate.
"""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import PHASES, Estate, drill

pytestmark = [pytest.mark.drill, pytest.mark.slow]

# The task in which each phase is killed, and after how many seconds: a slow machine is not further.
MOMENTS = {
    "preflight": ("Look at the host", 0.1),
    "host": ("Install packages", 4.0),
    "images": ("Pull the images", 2.0),
    "trust": ("Check and swap in certificates", 0.2),
    "vault": ("Give the operator an identity, and check that the audit devices are on", 0.1),
    "data": ("Bring the services up, healthy", 1.0),
    "services": ("Give the agents their first credential", 0.5),
    "verify": ("Make the proofs", 0.5),
}


@pytest.fixture(scope="module")
def bare(estate: Estate) -> Estate:
    """The host made anew."""
    drill("absent", "images")
    drill("present", "images")
    return estate


@pytest.mark.parametrize("phase", PHASES)
def test_a_rebuild_killed_in_a_phase(bare: Any, phase: str) -> None:
    anew = phase == "services"
    if anew:
        bare.reinstall()
    output = bare.kill_in(phase, *MOMENTS[phase])
    assert ("has no data, though this control node knew one there" in output) == anew


def test_the_next_run_ends_green(bare: Any) -> None:
    bare.phoenix()
    proofs = bare.report()["proofs"]
    assert [p["reason"] for p in proofs if p["status"] == "fail"] == []
    assert sum(p["status"] == "pass" for p in proofs) >= 11


def test_and_the_one_after_changes_nothing(bare: Any) -> None:
    made = bare.phoenix()
    assert made.changed == 0, made.output[-4000:]
