# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How seldom a cron schedule comes round.

Five fields, as Vault takes them: ``*``, numbers, names, ``a-b``, lists, and ``/step`` after any of
these. A day counts by its date and by its day of the week; where both are given, by either.
"""

from __future__ import annotations

import datetime
import itertools
import re

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.ages import FOREVER

__all__ = ["longest_gap"]

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
# Says nothing about the day, so that the other field does alone.
_STAR = re.compile(r"[*?](?:/0*1)?")
_ITEM = re.compile(r"(?:[*?]|(\w+)(?:-(\w+))?)(?:/(\d+))?", re.ASCII)
# After so many years dates fall on the same days of the week.
_FIRST, _YEARS = datetime.date(2001, 1, 1), 28


def longest_gap(schedule: str) -> float:
    """The longest time between two moments of a schedule, in seconds of UTC.

    ``FOREVER`` for what never comes, or cannot be read.
    """
    words = schedule.lower().split()
    if len(words) != len(_FIELDS):
        return FOREVER
    try:
        found = [_values(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    except ValueError:
        return FOREVER
    minutes, hours, dates, months, weekdays = found
    either = not any(map(_STAR.fullmatch, f"{words[2]},{words[4]}".split(",")))
    moments = [hour * 3600 + minute * 60 for hour in sorted(hours) for minute in sorted(minutes)]
    days = []
    for number in range(_YEARS * 365):
        day = _FIRST + datetime.timedelta(number)
        by = (day.day in dates, day.isoweekday() % 7 in weekdays)
        if day.month in months and (any(by) if either else all(by)):
            days.append(number * 86400)
    within = [after - before for before, after in itertools.pairwise(moments)]
    between = [b - a - moments[-1] + moments[0] for a, b in itertools.pairwise(days)]
    return float(max(within + between)) if between else FOREVER


def _values(word: str, first: int, last: int, names: dict[str, int]) -> set[int]:
    """What one field stands for.

    :raises ValueError: where it stands for nothing.
    """
    values: set[int] = set()
    for item in word.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise ValueError(item)
        begin, end, step = match.groups()
        low = first if begin is None else _number(begin, names)
        high = last if begin is None or (step and not end) else _number(end or begin, names)
        if not first <= low <= high <= last or (step and not int(step)):
            raise ValueError(item)
        values |= set(range(low, high + 1, int(step or 1)))
    return values


def _number(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)
