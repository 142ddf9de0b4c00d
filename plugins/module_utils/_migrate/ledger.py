# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration is going to do with each object, and what it cannot take along."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.exact import canonical

__all__ = ["KEEP", "REFUSE", "REPLACE", "Item", "Ledger", "Marks"]

REFUSE, KEEP, REPLACE = "refuse", "keep", "replace"
_SHOWN = 20


@dataclass(frozen=True)
class Marks:
    """Keyed fingerprints. What a value belongs to is part of its mark: equal values do not show."""

    key: bytes = field(repr=False)

    def of(self, kind: str, name: str, value: Any, version: int = 0) -> str:
        text = f"{kind}\0{name}\0{version}\0{canonical(value)}"
        return fingerprint(self.key, text)


@dataclass
class Item:
    """One object at the target.

    :arg act: Makes it what it is to be; ``None`` where nothing is to be done.
    :arg check: Looks at it afterwards and says what is wrong, in words, if anything is.
    :arg record: The marks of what was read at the source; empty where it is not the source's.
    :arg before: Public data, as for a plan.
    """

    kind: str
    name: str
    verdict: str
    act: Callable[[], object] | None = None
    check: Callable[[], str] | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    before: Any = None
    after: Any = None

    @property
    def title(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def changes(self) -> bool:
        return self.verdict in ("created", "completed", "replaced")


@dataclass
class Ledger:
    """All of them, in the order in which they are carried out.

    :arg policy: What becomes of an object that the target has with other content.
    """

    policy: str
    items: list[Item] = field(default_factory=list)
    losses: list[dict[str, Any]] = field(default_factory=list)
    clashes: list[dict[str, str]] = field(default_factory=list)
    hopeless: bool = False

    def lose(self, kind: str, name: str, why: str, **more: Any) -> None:
        self.losses.append({"kind": kind, "name": name, **more, "why": why})

    def clash(self, kind: str, name: str, why: str, *, replaceable: bool = True) -> str:
        """Note a clash; returns what becomes of it.

        :arg replaceable: ``False`` where nothing but a change of the options helps.
        """
        self.clashes.append({"kind": kind, "name": name, "why": why})
        if self.policy == KEEP:
            self.items.append(Item(kind, name, "kept"))
            return KEEP
        if self.policy == REPLACE and replaceable:
            return REPLACE
        self.hopeless |= self.policy == REPLACE
        return REFUSE

    def settle(self) -> None:
        """Go on only if every clash has an answer.

        :raises PhoenixError: naming all that have none.
        """
        if not self.clashes or self.policy == KEEP:
            return
        if self.policy == REPLACE and not self.hopeless:
            return
        told = [f"{c['kind']} {c['name']} ({c['why']})" for c in self.clashes[:_SHOWN]]
        more = len(self.clashes) - len(told)
        raise PhoenixError(
            f"the target has other content than the source in {len(self.clashes)} "
            f"object{'s' if len(self.clashes) > 1 else ''}: {'; '.join(told)}"
            + (f"; and {more} more" if more else ""),
            hint="Nothing was written. Leave these out, map the mount to another name, or say by "
            "'clash' which of the two stays.",
            clashes=self.clashes,
        )
