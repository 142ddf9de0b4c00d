# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Durations as people write them, and as servers answer them."""

from __future__ import annotations

import re

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)

__all__ = ["human", "seconds"]

_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"(\d+)([wdhms])")


def seconds(value: int | str) -> int:
    """Turn ``90``, ``"90"``, ``"90s"``, ``"1h30m"`` or ``"30d"`` into seconds.

    :raises PhoenixError: for anything else, negative numbers included.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    text = str(value).strip().lower()
    if text.isascii() and text.isdigit():
        return int(text)
    parts = _PART.findall(text) if text.isascii() else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise PhoenixError(
            f"not a duration: {value!r}",
            hint="Write seconds (600) or a number with a unit (10m).",
        )
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def human(value: int) -> str:
    """Seconds in the shortest exact form that :func:`seconds` reads back: 5400 is ``1h30m``."""
    if value == 0:
        return "0s"
    text = ""
    for unit, size in _UNITS.items():
        if unit == "w":
            continue  # days up to any number read better than weeks
        count, value = divmod(value, size)
        if count:
            text += f"{count}{unit}"
    return text
