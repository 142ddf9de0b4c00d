# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd units as they are and as they should be, many at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.files import Run, run_command
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan

__all__ = ["UNIT_SPEC", "Unit", "Units"]

UNIT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "started": {"type": "bool"},
    "enabled": {"type": "bool"},
    "optional": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 90},
}
"""One unit in the argument spec of a module."""

_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "ConditionResult",
    "ConditionTimestampMonotonic",
)


@dataclass(frozen=True)
class Unit:
    """How a unit should be; ``None`` leaves that side alone."""

    name: str
    started: bool | None = True
    enabled: bool | None = True
    optional: bool = False
    """A unit that this host does not have is passed over."""
    timeout: float = 90.0
    """Of a start or a stop; not less than the unit allows itself."""


class Units:
    """Compares all units by one call of systemctl and changes only what differs."""

    def __init__(self, units: Iterable[Unit], *, run: Run = run_command) -> None:
        self.units = list(units)
        self.run = run
        self.plan = Plan()
        self.conditions: list[str] = []
        """Units that do not run because a condition of theirs does not hold on this host."""
        self.missing: list[str] = []
        self._reload = False
        self._steps: list[tuple[str, ...]] = []

    @classmethod
    def declared(cls, units: Iterable[Mapping[str, Any]]) -> Units:
        """From a module's parameters, see :data:`UNIT_SPEC`."""
        return cls(
            Unit(u["name"], u["started"], u["enabled"], u["optional"], u["timeout"]) for u in units
        )

    def read(self) -> Plan:
        """Compare, and plan what differs. A missing unit that has to be there is in ``missing``."""
        if not self.units:
            return self.plan
        found = self._show([unit.name for unit in self.units])
        self._reload = any(f["NeedDaemonReload"] == "yes" for f in found.values())
        if self._reload:
            self.plan.add("systemd", "manager", "reload", note="unit files have changed")
        for unit in self.units:
            state = found[unit.name]
            if state["LoadState"] in ("not-found", "bad-setting", "error"):
                if unit.started is not False and not unit.optional:
                    self.missing.append(unit.name)
                    self.plan.add("unit", unit.name, "start", note="not there yet")
                continue
            self._compare(unit, state)
        return self.plan

    def act(self) -> None:
        """Carry the plan out.

        :raises PhoenixError: for a unit that is missing, or that does not start.
        """
        if self.missing:
            raise PhoenixError(f"no such systemd unit: {', '.join(self.missing)}")
        if self._reload:
            self._systemctl("daemon-reload")
        for step in self._steps:
            self._systemctl(*step)
        self._read_back()

    def _read_back(self) -> None:
        found = self._show([unit.name for unit in self.units if unit.started])
        failed = []
        for name, state in found.items():
            runs = state["ActiveState"] in ("active", "activating", "reloading")
            if runs or state["LoadState"] == "not-found":
                continue
            if _held(state):
                if name not in self.conditions:
                    self.conditions.append(name)
                continue
            failed.append(f"{name} is {state['ActiveState']}")
        if failed:
            raise PhoenixError("; ".join(failed), hint="See journalctl -u for the reason.")

    def _compare(self, unit: Unit, state: dict[str, str]) -> None:
        enabled = state["UnitFileState"] in ("enabled", "static", "indirect", "generated", "alias")
        before = {"enabled": state["UnitFileState"], "active": state["ActiveState"]}
        after = dict(before)
        if unit.enabled is True and not enabled:
            after["enabled"] = "enabled"
            self._steps.append(("enable", unit.name))
        elif unit.enabled is False and state["UnitFileState"] == "enabled":
            after["enabled"] = "disabled"
            self._steps.append(("disable", unit.name))
        runs = state["ActiveState"] in ("active", "activating", "reloading")
        if unit.started is True and not runs:
            if _held(state) and enabled:
                self.conditions.append(unit.name)
            else:
                after["active"] = "active"
                self._steps.append(("start", unit.name))
        elif unit.started is False and runs:
            after["active"] = "inactive"
            self._steps.append(("stop", unit.name))
        if before != after:
            self.plan.add("unit", unit.name, "update", before, after)

    def _show(self, names: list[str]) -> dict[str, dict[str, str]]:
        if not names:
            return {}
        code, output = self.run(
            ("systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names), 30.0
        )
        blocks = [block for block in output.split("\n\n") if block.strip()]
        if code != 0 or len(blocks) != len(names):
            raise PhoenixError(f"systemctl show failed with exit code {code}: {output[-500:]}")
        result = {}
        for name, block in zip(names, blocks, strict=True):
            pairs = (line.partition("=") for line in block.splitlines())
            state = dict.fromkeys(_PROPERTIES, "")
            state.update({key: value for key, _sep, value in pairs})
            result[name] = state
        return result

    def _systemctl(self, *arguments: str) -> None:
        timeout = next((unit.timeout for unit in self.units if unit.name == arguments[-1]), 90.0)
        code, output = self.run(("systemctl", *arguments), timeout)
        if code != 0:
            said = output[-1000:]
            if arguments[0] == "start":
                # What the unit itself said is more to the point than what systemctl says of it.
                said = self._journal(arguments[-1]) or said
            raise PhoenixError(
                f"systemctl {' '.join(arguments)} failed with exit code {code}: {said}"
            )

    def _journal(self, unit: str) -> str:
        command = ("journalctl", "--no-pager", "--output=cat", "--lines=8", f"--unit={unit}")
        code, output = self.run(command, 30.0)
        return output[-2000:] if code == 0 else ""


def _held(state: dict[str, str]) -> bool:
    """Whether a start was tried and a condition of the unit stopped it, which is no failure.

    The result alone is "no" for a unit that nobody has tried to start yet.
    """
    tried = state["ConditionTimestampMonotonic"] not in ("", "0")
    return tried and state["ConditionResult"] == "no" and state["ActiveState"] == "inactive"
