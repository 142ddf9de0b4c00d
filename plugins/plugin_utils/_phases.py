# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The phases of a run: how long each took, against what budget, and what it did on which host.

Knows neither Ansible nor a terminal; the callback phase_clock feeds it and shows it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Phase", "Run", "Tally", "clock", "summary_rows"]

SCHEMA = 1


@dataclass
class Tally:
    """What happened on one host, counted as Ansible's recap does."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    skipped: int = 0
    unreachable: int = 0
    rescued: int = 0
    ignored: int = 0

    @property
    def broken(self) -> bool:
        return bool(self.failed or self.unreachable)

    def as_dict(self) -> dict[str, int]:
        return dict(vars(self))


@dataclass
class Phase:
    """One phase: ``state`` is pending, running, ok, failed or skipped."""

    name: str
    budget: int | None = None
    state: str = "pending"
    hosts: dict[str, Tally] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    _spent: float = 0.0
    _since: float | None = None

    def begin(self, now: float) -> None:
        self.state = "running"
        self._since = now

    def end(self, now: float, *, broken: bool = False) -> None:
        """Stop the clock and judge: a phase in which no task ran was skipped."""
        if self._since is None:
            return
        self._spent += now - self._since
        self._since = None
        if broken or any(tally.broken for tally in self.hosts.values()):
            self.state = "failed"
        elif any(tally.ok or tally.changed for tally in self.hosts.values()):
            self.state = "ok"
        else:
            self.state = "skipped"

    def seconds(self, now: float) -> float:
        return self._spent + (now - self._since if self._since is not None else 0.0)

    def over(self, now: float) -> float:
        """By how many seconds the budget is exceeded; 0 where it holds or there is none."""
        return max(0.0, self.seconds(now) - self.budget) if self.budget else 0.0

    @property
    def changed(self) -> int:
        return sum(tally.changed for tally in self.hosts.values())

    def tally(self, host: str) -> Tally:
        return self.hosts.setdefault(host, Tally())

    def as_dict(self, now: float) -> dict[str, Any]:
        return {
            "name": self.name,
            "seconds": round(self.seconds(now), 1),
            "budget": self.budget,
            "over_budget": self.over(now) > 0,
            "changed": self.changed,
            "status": self.state,
            "hosts": {host: tally.as_dict() for host, tally in sorted(self.hosts.items())},
        }


class Run:
    """All phases of one playbook, in the order in which they are declared or first seen.

    :arg playbook: The playbook's file name.
    :arg started: When it began, RFC 3339.
    :arg monotonic: A clock that only ever goes forward, in seconds.
    """

    def __init__(self, playbook: str, started: str, monotonic: Callable[[], float]) -> None:
        self.playbook = playbook
        self.started = started
        self.phases: dict[str, Phase] = {}
        self.current: Phase | None = None
        self.status = "running"
        self._clock = monotonic
        self._begun = monotonic()
        self._ended: float | None = None

    @property
    def now(self) -> float:
        return self._clock() if self._ended is None else self._ended

    @property
    def seconds(self) -> float:
        return self.now - self._begun

    @property
    def budget(self) -> int | None:
        known = [phase.budget for phase in self.phases.values() if phase.budget]
        return sum(known) if known else None

    def declare(self, name: str, budget: int | None = None) -> Phase:
        """Make a phase known before it runs, so that it can be shown as pending."""
        phase = self.phases.setdefault(name, Phase(name))
        if budget is not None:
            phase.budget = budget
        return phase

    def begin(self, name: str, budget: int | None = None) -> bool:
        """Enter a phase and leave the one before; false where that is the same phase."""
        phase = self.declare(name, budget)
        if phase is self.current:
            return False
        self.leave()
        phase.begin(self.now)
        self.current = phase
        return True

    def leave(self, *, broken: bool = False) -> Phase | None:
        """Leave the current phase, if any, and return it."""
        phase, self.current = self.current, None
        if phase is not None:
            phase.end(self.now, broken=broken)
        return phase

    def finish(self, *, interrupted: bool = False) -> None:
        """The run is over. What was never reached is not part of the report."""
        self.leave(broken=interrupted)
        self._ended = self._clock()
        if interrupted:
            self.status = "interrupted"
        else:
            failed = any(phase.state == "failed" for phase in self.phases.values())
            self.status = "failed" if failed else "ok"

    @property
    def done(self) -> list[Phase]:
        return [p for p in self.phases.values() if p.state not in ("pending", "running")]

    def as_dict(self) -> dict[str, Any]:
        """The report: finished phases, and which one is running while there is one."""
        now = self.now
        report: dict[str, Any] = {
            "schema": SCHEMA,
            "playbook": self.playbook,
            "started": self.started,
            "seconds": round(self.seconds, 1),
            "status": self.status,
            "phases": [phase.as_dict(now) for phase in self.done],
        }
        if self.current is not None:
            report["running"] = {"name": self.current.name, "budget": self.current.budget}
        return report

    def as_junit(self) -> bytes:
        """The same as JUnit XML: a phase is a test case; one over budget carries a note."""
        now = self.now
        done = self.done
        suite = ET.Element(
            "testsuite",
            name=self.playbook,
            timestamp=self.started,
            time=f"{self.seconds:.1f}",
            tests=str(len(done)),
            failures=str(sum(phase.state == "failed" for phase in done)),
            skipped=str(sum(phase.state == "skipped" for phase in done)),
            errors="0",
        )
        for phase in done:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=self.playbook,
                name=phase.name,
                time=f"{phase.seconds(now):.1f}",
            )
            if phase.state == "failed":
                text = "\n\n".join(phase.failures) or "did not finish"
                failure = ET.SubElement(case, "failure", message=_xml(text.splitlines()[0]))
                failure.text = _xml(text)
            elif phase.state == "skipped":
                ET.SubElement(case, "skipped", message="no task ran")
            if phase.over(now):
                note = ET.SubElement(case, "system-out")
                note.text = f"over its budget of {phase.budget} s by {phase.over(now):.1f} s"
        ET.indent(suite)
        return ET.tostring(suite, encoding="utf-8", xml_declaration=True) + b"\n"


def _xml(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold (section 2.2)."""
    return "".join(char for char in text if char in "\t\n\r" or ord(char) >= 0x20)


def clock(seconds: float) -> str:
    """Whole seconds as a person reads a stopwatch: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary_rows(run: Run) -> Iterable[tuple[list[str], Phase]]:
    """Rows of the table at the end: one for each host of each phase."""
    for phase in run.phases.values():
        if phase.state == "pending":
            yield [phase.name, "-", _budget(phase), "-", "", "", "", "", "not reached"], phase
            continue
        over = phase.over(run.now)
        note = phase.state if phase.state != "ok" else ""
        if over:
            note = f"{note}, over budget by {over:.1f} s".lstrip(", ")
        head = [phase.name, f"{phase.seconds(run.now):.1f}", _budget(phase)]
        for host, tally in sorted(phase.hosts.items()) or [("-", Tally())]:
            failed = tally.failed + tally.unreachable
            counts = [str(n) for n in (tally.ok, tally.changed, failed, tally.skipped)]
            yield [*head, host, *counts, note], phase
            head, note = ["", "", ""], ""


def _budget(phase: Phase) -> str:
    return "-" if phase.budget is None else str(phase.budget)
