# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON that leaves a server and enters another one unchanged: numbers to the last digit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["Literal", "canonical", "dumps"]


class Literal(float):
    """A number with the digits that it was written with, such as 1.10."""

    text: str

    def __new__(cls, text: str) -> Literal:
        made = super().__new__(cls, text)
        made.text = text
        return made


def dumps(value: Any) -> str:
    """JSON of what a server has answered, each number as it came."""
    if isinstance(value, Literal):
        return value.text
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(k)}:{dumps(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dumps, value)) + "]"
    return json.dumps(value)


def canonical(value: Any) -> str:
    """JSON that is the same for equal values, in whatever order a server names the keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
