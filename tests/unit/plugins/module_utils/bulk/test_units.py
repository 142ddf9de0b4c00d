# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd units, with a systemctl that only pretends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.units import Unit, Units
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError


class Systemctl:
    """Keeps units in memory and does what it is told with them."""

    def __init__(self) -> None:
        self.units: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, ...]] = []
        self.breaks: set[str] = set()
        self.held: set[str] = set()
        self.patience: dict[str, float] = {}

    def unit(
        self, name: str, active: str = "inactive", file: str = "disabled", **more: str
    ) -> None:
        self.units[name] = {
            "Id": name,
            "LoadState": "loaded",
            "ActiveState": active,
            "UnitFileState": file,
            "NeedDaemonReload": "no",
            "ConditionResult": "no",
            "ConditionTimestampMonotonic": "0",
            **more,
        }

    def __call__(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        verb, *rest = command[1:]
        if command[0] == "journalctl":
            return 0, "the unit says why"
        if verb == "show":
            names = rest[rest.index("--") + 1 :]
            blocks = [
                "\n".join(
                    f"{k}={v}" for k, v in self.units.get(n, {"LoadState": "not-found"}).items()
                )
                for n in names
            ]
            return 0, "\n\n".join(blocks)
        self.asked.append((verb, *rest))
        self.patience[verb] = timeout
        if verb == "daemon-reload":
            for state in self.units.values():
                state["NeedDaemonReload"] = "no"
            return 0, ""
        state = self.units[rest[0]]
        if verb in ("enable", "disable"):
            state["UnitFileState"] = f"{verb}d"
        elif verb == "start":
            state["ConditionTimestampMonotonic"] = "5"
            if rest[0] in self.held:
                return 0, ""
            state["ConditionResult"] = "yes"
            state["ActiveState"] = "failed" if rest[0] in self.breaks else "active"
            return (1, "it broke") if rest[0] in self.breaks else (0, "")
        elif verb == "stop":
            state["ActiveState"] = "inactive"
        return 0, ""


@pytest.fixture
def systemctl() -> Systemctl:
    return Systemctl()


def run(systemctl: Systemctl, *units: Unit) -> Units:
    done = Units(units, run=systemctl)
    done.read()
    done.act()
    return done


def test_only_what_differs_is_changed(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", "active", "enabled")
    systemctl.unit("b.service")
    systemctl.unit("c.service", "active", "disabled")
    wanted = [Unit("a.service"), Unit("b.service"), Unit("c.service", started=False, enabled=False)]
    done = run(systemctl, *wanted)
    assert systemctl.asked == [
        ("enable", "b.service"),
        ("start", "b.service"),
        ("stop", "c.service"),
    ]
    assert [c.name for c in done.plan] == ["b.service", "c.service"]
    systemctl.asked.clear()
    assert not run(systemctl, *wanted).plan.changed
    assert systemctl.asked == []


def test_planning_changes_nothing(systemctl: Systemctl) -> None:
    systemctl.unit("b.service")
    assert Units([Unit("b.service")], run=systemctl).read().changed
    assert systemctl.asked == []


def test_what_is_not_said_is_left_alone(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", "active", "disabled")
    assert not run(systemctl, Unit("a.service", started=None, enabled=None)).plan.changed


def test_changed_unit_files_are_read_before_anything_starts(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", NeedDaemonReload="yes")
    run(systemctl, Unit("a.service"))
    assert systemctl.asked[0] == ("daemon-reload",)


def test_a_static_unit_needs_no_enabling(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", "active", "static")
    assert not run(systemctl, Unit("a.service")).plan.changed


def test_a_missing_unit_is_named(systemctl: Systemctl) -> None:
    planned = Units([Unit("a.service"), Unit("b.service", optional=True)], run=systemctl)
    assert planned.read().changed
    assert planned.missing == ["a.service"]
    with pytest.raises(PhoenixError, match=r"no such systemd unit: a\.service$"):
        planned.act()


def test_an_unwanted_unit_may_be_missing(systemctl: Systemctl) -> None:
    assert not run(systemctl, Unit("a.service", started=False, enabled=False)).plan.changed


def test_a_unit_that_does_not_start_fails(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", file="enabled")
    systemctl.breaks.add("a.service")
    with pytest.raises(
        PhoenixError, match=r"systemctl start a\.service failed .*: the unit says why"
    ):
        run(systemctl, Unit("a.service"))


def test_a_unit_that_dies_right_after_its_start_fails(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", "failed", "enabled", ConditionResult="yes")
    done = Units([Unit("a.service")], run=systemctl)
    done.read()
    done._steps.clear()
    with pytest.raises(PhoenixError, match=r"a\.service is failed"):
        done.act()


def test_a_condition_that_does_not_hold_is_told_and_no_change_later(systemctl: Systemctl) -> None:
    systemctl.unit("time.service", file="enabled")
    systemctl.held.add("time.service")
    first = run(systemctl, Unit("time.service"))
    assert first.plan.changed
    assert first.conditions == ["time.service"]
    second = run(systemctl, Unit("time.service"))
    assert not second.plan.changed
    assert second.conditions == ["time.service"]


def test_nothing_is_asked_about_no_units(systemctl: Systemctl) -> None:
    assert not run(systemctl).plan.changed


def test_a_unit_is_given_the_time_that_it_takes(systemctl: Systemctl) -> None:
    systemctl.unit("a.service", "active", "enabled", NeedDaemonReload="yes")
    run(systemctl, Unit("a.service", started=False, enabled=False, timeout=330.0))
    assert systemctl.patience == {"daemon-reload": 90.0, "disable": 330.0, "stop": 330.0}
