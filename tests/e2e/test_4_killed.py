# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of ansible-playbook in each phase of a rebuild; the next run ends green."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import PHASES, Estate, drill

pytestmark = [pytest.mark.drill, pytest.mark.slow]

# Seconds into each phase: in the middle of its work on a bare host.
MOMENTS = {
    "preflight": 0.3,
    "host": 8.0,
    "images": 3.0,
    "trust": 2.0,
    "vault": 6.0,
    "data": 4.0,
    "services": 4.0,
    "verify": 1.5,
}


@pytest.fixture(scope="module")
def bare(estate: Estate) -> Estate:
    """The host made anew."""
    drill("absent", "images")
    drill("present", "images")
    return estate


@pytest.mark.parametrize("phase", PHASES)
def test_a_rebuild_killed_in_a_phase(bare: Any, phase: str) -> None:
    assert bare.kill_in(phase, MOMENTS[phase]) == "killed"


def test_the_next_run_ends_green(bare: Any) -> None:
    bare.phoenix()
    proofs = bare.report()["proofs"]
    assert [p["reason"] for p in proofs if p["status"] == "fail"] == []
    assert sum(p["status"] == "pass" for p in proofs) >= 11


def test_and_the_one_after_changes_nothing(bare: Any) -> None:
    made = bare.phoenix()
    assert made.changed == 0, made.output[-4000:]
