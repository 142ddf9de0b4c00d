# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The overdue detector: which credentials are older than they may be.

Pure functions of what a source says and the time. A credential whose age nobody knows is overdue:
unknown is not young.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import human

__all__ = ["FOREVER", "Credential", "longest", "moment", "overdue"]

FOREVER = float("inf")
# Clocks of two machines differ; what was made this much ahead of our time was made now.
_SKEW = 3600.0
_FRACTION = re.compile(r"\.(\d{1,6})\d*")


@dataclass(frozen=True)
class Credential:
    """Something that lets its holder in.

    :arg born: When it was made or last changed, seconds since the epoch; ``None`` if nobody knows.
    :arg limit: Seconds that it may live.
    :arg source: Who says when it was born.
    """

    kind: str
    name: str
    born: float | None
    limit: float
    source: str

    def age(self, now: float) -> float | None:
        """Seconds, ``None`` where they are not known or cannot be."""
        if self.born is None or self.born > now + _SKEW:
            return None
        return max(0.0, now - self.born)

    def describe(self, now: float) -> str:
        """One sentence about its age."""
        age = self.age(now)
        if age is None:
            return f"nobody knows how old {self.kind} {self.name} is ({self.source})"
        return (
            f"{self.kind} {self.name} is {human(int(age))} old ({self.source}), and may be "
            f"{human(int(self.limit))}"
        )


def overdue(credentials: Iterable[Credential], now: float) -> list[Credential]:
    """Those that are older than their limit, or of unknown age."""
    found = []
    for item in credentials:
        age = item.age(now)
        if age is None or age > item.limit:
            found.append(item)
    return found


def moment(text: object) -> float | None:
    """RFC 3339 as the server writes it, with nanoseconds; ``None`` for anything else."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    except ValueError:
        return None
    # The server's zero time means 'never'.
    return found.timestamp() if found.tzinfo and found.year > 1 else None


def longest(role: Mapping[str, Any], ceiling: float) -> float:
    """How old a token of an authentication role can get, in seconds.

    :arg ceiling: The longest that the mount, or the server, lets any token live.
    """
    explicit = float(role.get("token_explicit_max_ttl") or 0)
    if float(role.get("token_period") or 0):
        # Renewed within each period it lives on, past the ceiling too.
        return explicit or FOREVER
    stated = [float(role.get("token_max_ttl") or 0), explicit, ceiling]
    return min(value for value in stated if value)
