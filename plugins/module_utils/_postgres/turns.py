# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When each of two logins that take turns is rotated.

Consumers use the login that was rotated last. As long as the other one is rotated next, nobody
uses a password at the moment in which it is replaced, and the one that consumers leave is good for
the rest of its period. The two are to be half a period apart, so that either side may be late.

A server rotates by one period and knows no offset. So the older login gets a shorter period until
it has caught up, which a change of the period does without a rotation. If nobody sets that right
again, it goes on with the shorter period: with three quarters of the other's, the two alternate for
three periods before they meet.
"""

from __future__ import annotations

import math

__all__ = ["older_period"]

_STEPS = 72
"""Shorter periods are multiples of a 72nd, 9 hours of 27 days: a plan made a moment ago holds."""
_HALF = _STEPS // 2
_SHORTEST = _STEPS * 3 // 4
_SLACK = 1 / 20
"""Part of a period by which the distance may miss the half."""


def older_period(period: int, gap: float, current: int | None) -> int:
    """The period of the login that was rotated less recently; the other one's is the full one.

    :arg period: The full period in seconds.
    :arg gap: Seconds between the last rotations of the two.
    :arg current: Its period now, ``None`` where it has none yet.
    """
    if gap >= period * (0.5 - _SLACK):
        return period
    steps = max(math.ceil(gap * _STEPS / period) + _HALF, _SHORTEST)
    wanted = round(period * steps / _STEPS)
    if current is not None and abs(current - wanted) <= period * _SLACK:
        return current
    return wanted
