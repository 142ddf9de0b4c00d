# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module is about to do, decided before it does anything.

``changed`` and ``diff`` of every module come from a :class:`Plan`, in check mode and outside of it
alike; so what ``--check`` predicts is what a run does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Change", "Plan"]


@dataclass(frozen=True)
class Change:
    """One object that is not as it was declared, and what is done about it.

    :arg kind: What sort of object it is, in the server's words (``policy``, ``approle``).
    :arg name: Which one.
    :arg action: A verb: ``create``, ``update``, ``delete``, ``rotate``, ``reload``, ...
    :arg before: Public data as it is; ``None`` where the object does not exist.
    :arg after: Public data as it is going to be; ``None`` where the object goes.
    :arg note: Why, where the data do not say it.
    """

    kind: str
    name: str
    action: str
    before: Any = None
    after: Any = None
    note: str = ""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    def summary(self) -> dict[str, Any]:
        """The change as a module returns it; ``fields`` names what differs between two mappings."""
        result: dict[str, Any] = {
            "kind": self.kind,
            "name": self.name,
            "action": self.action,
        }
        if isinstance(self.before, Mapping) and isinstance(self.after, Mapping):
            keys = {*self.before, *self.after}
            result["fields"] = sorted(
                str(key) for key in keys if self.before.get(key) != self.after.get(key)
            )
        if self.note:
            result["note"] = self.note
        return result


@dataclass
class Plan:
    """The changes of one module run, in the order in which they are carried out."""

    changes: list[Change] = field(default_factory=list)

    def add(
        self,
        kind: str,
        name: str,
        action: str,
        before: Any = None,
        after: Any = None,
        note: str = "",
    ) -> Change:
        change = Change(kind, name, action, before, after, note)
        self.changes.append(change)
        return change

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)

    @property
    def changed(self) -> bool:
        return bool(self.changes)

    def summary(self) -> list[dict[str, Any]]:
        return [change.summary() for change in self.changes]

    def diff(self) -> dict[str, str]:
        """Ansible's diff: one JSON document a side, with the changed objects and nothing else."""
        return {
            "before": _document(self.changes, "before"),
            "after": _document(self.changes, "after"),
        }


def _document(changes: list[Change], side: str) -> str:
    shown: dict[str, Any] = {}
    for change in changes:
        value = getattr(change, side)
        if value is None and change.before is None and change.after is None:
            # An act without public data (a rotation, a reload): shown on the after side only.
            value = change.action if side == "after" else None
        if value is not None:
            shown[change.title] = value
    if not shown:
        return ""
    # JSON, since a bare host has no YAML library for Python.
    return json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"
