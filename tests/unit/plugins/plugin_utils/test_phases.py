# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from ansible_collections.tamshai.phoenix.plugins.plugin_utils._phases import (
    Run,
    clock,
    summary_rows,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def run(time: Clock) -> Run:
    return Run("phoenix.yml", "2026-01-01T00:00:00Z", time)


def test_a_phase_is_timed_from_its_begin_to_the_next_one(run: Run, time: Clock) -> None:
    run.begin("host", 60)
    run.phases["host"].tally("drill").ok += 1
    time.now += 12.3
    run.begin("vault", 25)
    time.now += 1
    report = run.as_dict()
    assert [(p["name"], p["seconds"], p["status"]) for p in report["phases"]] == [
        ("host", 12.3, "ok")
    ]
    assert report["running"] == {"name": "vault", "budget": 25}
    assert report["seconds"] == 13.3


def test_plays_of_one_phase_are_one_phase(run: Run, time: Clock) -> None:
    assert run.begin("data", 20)
    time.now += 2
    assert not run.begin("data")
    time.now += 3
    run.begin("other")
    time.now += 10
    run.begin("data")
    time.now += 1
    run.finish()
    assert run.phases["data"].seconds(run.now) == pytest.approx(6)
    assert run.phases["data"].budget == 20


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ({"ok": 1}, "ok"),
        ({"skipped": 3}, "skipped"),
        ({}, "skipped"),
        ({"ok": 5, "failed": 1}, "failed"),
        ({"unreachable": 1}, "failed"),
        ({"rescued": 1, "ok": 1}, "ok"),
        ({"ignored": 1, "ok": 1}, "ok"),
    ],
)
def test_what_a_phase_is_judged_by(run: Run, counts: dict[str, int], state: str) -> None:
    run.begin("x")
    vars(run.phases["x"].tally("h")).update(counts)
    run.finish()
    assert run.phases["x"].state == state
    assert run.status == ("failed" if state == "failed" else "ok")


def test_an_interrupted_run_says_so_and_blames_the_phase_that_ran(run: Run) -> None:
    run.begin("x")
    run.phases["x"].tally("h").ok += 1
    run.finish(interrupted=True)
    report = run.as_dict()
    assert report["status"] == "interrupted"
    assert report["phases"][0]["status"] == "failed"
    assert "running" not in report


def test_what_was_not_reached_is_in_the_table_but_not_in_the_report(run: Run) -> None:
    run.declare("later", 5)
    run.begin("x")
    run.finish()
    assert [phase["name"] for phase in run.as_dict()["phases"]] == ["x"]
    assert [row[-1] for row, _phase in summary_rows(run)] == ["not reached", "skipped"]


def test_over_budget_is_marked_everywhere(run: Run, time: Clock) -> None:
    run.begin("x", 10)
    run.phases["x"].tally("h").ok += 1
    time.now += 12.5
    run.finish()
    assert run.as_dict()["phases"][0]["over_budget"] is True
    assert next(iter(summary_rows(run)))[0][-1] == "over budget by 2.5 s"
    note = ET.fromstring(run.as_junit()).find("testcase/system-out")
    assert note is not None
    assert note.text == "over its budget of 10 s by 2.5 s"


def test_a_phase_within_its_budget_is_not_marked(run: Run, time: Clock) -> None:
    run.begin("x", 10)
    time.now += 10
    run.finish()
    assert run.as_dict()["phases"][0]["over_budget"] is False
    assert ET.fromstring(run.as_junit()).find("testcase/system-out") is None


def test_junit_counts_and_tells_failures(run: Run) -> None:
    run.begin("good")
    run.phases["good"].tally("h").ok += 1
    run.begin("bad")
    run.phases["bad"].tally("h").failed += 1
    run.phases["bad"].failures.append("h: failed: Task <1>\n  msg: \x1b[31mred\x00")
    run.begin("none")
    run.finish()
    suite = ET.fromstring(run.as_junit())
    assert suite.attrib | {"tests": "3", "failures": "1", "skipped": "1"} == suite.attrib
    failure = suite.find("testcase[@name='bad']/failure")
    assert failure is not None
    assert failure.get("message") == "h: failed: Task <1>"
    assert failure.text == "h: failed: Task <1>\n  msg: [31mred"


def test_counts_per_host(run: Run) -> None:
    run.begin("x")
    run.phases["x"].tally("b").changed += 2
    run.phases["x"].tally("a").ok += 1
    run.finish()
    phase = run.as_dict()["phases"][0]
    assert list(phase["hosts"]) == ["a", "b"]
    assert phase["changed"] == 2
    assert phase["hosts"]["a"] == {
        "ok": 1,
        "changed": 0,
        "failed": 0,
        "skipped": 0,
        "unreachable": 0,
        "rescued": 0,
        "ignored": 0,
    }


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.9, "0:07"), (60, "1:00"), (750, "12:30"), (3723, "1:02:03")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
