# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two logins that take turns: simulated, with runs of the role at any time, and with none."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.turns import older_period

DAY = 86400
FULL = 27 * DAY
NOTICED = 4 * 3600
"""An agent is started anew every three hours; by then at the latest it knows of a rotation."""


@dataclass
class Pair:
    """What a server does with two static roles: rotate each when its own period is over."""

    now: float = 0.0
    last: list[float] = field(default_factory=lambda: [0.0, 0.001])
    period: list[int] = field(default_factory=lambda: [FULL, FULL])
    turns: list[tuple[int, float]] = field(default_factory=list)

    @property
    def older(self) -> int:
        return 0 if self.last[0] <= self.last[1] else 1

    def run(self) -> bool:
        """What module vault_database does; whether it changed anything."""
        before, older = list(self.period), self.older
        gap = self.last[1 - older] - self.last[older]
        self.period[1 - older] = FULL
        self.period[older] = older_period(FULL, gap, before[older])
        return self.period != before

    def until(self, end: float) -> None:
        while True:
            due = [last + period for last, period in zip(self.last, self.period, strict=True)]
            which = 0 if due[0] <= due[1] else 1
            if due[which] > end:
                self.now = end
                return
            self.now = due[which]
            # Consumers use the other one, and have known it for long enough.
            assert which == self.older, "a password in use was replaced"
            assert self.now - self.last[1 - which] > NOTICED
            assert self.now - self.last[which] <= FULL + 1
            self.last[which] = self.now
            self.turns.append((which, self.now))


@given(st.lists(st.floats(0.01, 36), max_size=40), st.floats(0, FULL * 0.95))
def test_whenever_runs_come_a_password_in_use_is_never_replaced(
    waits: list[float], gap: float
) -> None:
    pair = Pair(last=[0.0, gap + 0.001], now=gap + 0.001)
    if pair.last[0] + FULL - NOTICED < pair.last[1]:
        return
    pair.run()
    for days in waits:
        # Five weeks at most, whatever came before.
        pair.until(pair.now + days * DAY)
        pair.run()
        assert not pair.run(), "a second run changes something"


def test_nobody_comes_for_a_month_and_both_are_rotated_all_the_same() -> None:
    pair = Pair()
    pair.run()
    pair.until(3 * FULL - DAY)
    assert [which for which, _at in pair.turns] == [0, 1, 0, 1, 0]
    assert pair.turns[1][1] == pytest.approx(FULL, abs=1)
    apart = [b[1] - a[1] for a, b in pairwise(pair.turns)]
    assert min(apart) >= FULL / 4 - 1


@pytest.mark.parametrize("gap", [0.001, 1, 3 * DAY, 10 * DAY, 12 * DAY, 16 * DAY, 20 * DAY])
def test_with_a_run_a_day_they_come_to_be_half_a_period_apart(gap: float) -> None:
    pair = Pair(last=[0.0, gap], now=gap)
    while pair.now < 4 * FULL:
        pair.run()
        pair.until(pair.now + DAY)
    del pair.turns[:]
    while pair.now < 8 * FULL:
        assert not pair.run()
        pair.until(pair.now + DAY)
    times = [at for _which, at in pair.turns]
    for a, b in pairwise(times):
        assert b - a == pytest.approx(FULL / 2, rel=0.11)
    assert pair.period == [FULL, FULL]


def test_a_new_second_login_makes_the_first_one_wait_half_a_period_for_its_turn() -> None:
    at = 10 * DAY
    period = older_period(FULL, at, FULL)
    assert period - at == pytest.approx(FULL / 2, abs=FULL / 72)
    # A plan that was made a little earlier or later is the same.
    assert older_period(FULL, at + 90, period) == period
