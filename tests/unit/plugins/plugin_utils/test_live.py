# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import io

import pytest

from ansible_collections.tamshai.phoenix.plugins.plugin_utils._live import Region, clip, frame
from ansible_collections.tamshai.phoenix.plugins.plugin_utils._phases import Run


def plain(text: str, _colour: str) -> str:
    return text


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def region(stream: io.StringIO) -> Region:
    return Region(stream, plain)


def test_equal_lines_are_not_drawn_twice(region: Region, stream: io.StringIO) -> None:
    region.draw([("one", "red")], 80)
    first = stream.getvalue()
    region.draw([("one", "red")], 80)
    assert stream.getvalue() == first
    region.draw([("two", "red")], 80)
    assert "\x1b[1A" in stream.getvalue()[len(first) :]


def test_the_cursor_is_hidden_once_and_comes_back(region: Region, stream: io.StringIO) -> None:
    region.draw([("one", "red")], 80)
    region.draw([("two", "red")], 80)
    region.erase()
    text = stream.getvalue()
    assert text.count("\x1b[?25l") == 1
    assert text.endswith("\x1b[1A\x1b[J\x1b[?25h")


def test_erasing_nothing_sends_nothing(region: Region, stream: io.StringIO) -> None:
    region.erase()
    assert stream.getvalue() == ""


def test_a_terminal_made_narrower_loses_no_message(region: Region, stream: io.StringIO) -> None:
    region.draw([("x" * 60, "red"), ("short", "red")], 80)
    before = len(stream.getvalue())
    region.draw([("y" * 60, "red"), ("short", "red")], 20)
    after = stream.getvalue()[before:]
    assert "\x1b[2A" in after
    assert "yyyyyyyyyyyyyyyy...\x1b[K" in after


@pytest.mark.parametrize(
    ("text", "width", "kept"),
    [
        ("short", 10, "short"),
        ("exactly ten", 11, "exactly ten"),
        ("much too long", 10, "much to..."),
        ("日本語日本語", 9, "日本語..."),
        ("a\x1b[31mb\nc", 80, "a [31mb c"),
        ("é" * 5, 5, "é" * 5),
    ],
)
def test_clip(text: str, width: int, kept: str) -> None:
    assert clip(text, width) == kept


@pytest.fixture
def run() -> Run:
    now = [0.0]
    run = Run("phoenix.yml", "", lambda: now[0])
    for name, budget in (("host", 60), ("vault", 10), ("data", 20)):
        run.declare(name, budget)
    run.begin("host")
    run.phases["host"].tally("drill").changed += 3
    now[0] = 41.0
    run.begin("vault")
    now[0] = 46.0
    return run


def test_frame_shows_every_phase(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    lines = frame(run, "vault : Unseal", ["drill"], unicode=True)
    assert lines == [
        ("phoenix.yml  0:46 of 1:30", "white"),
        (" ✔ host     41 s /   60 s  3 changed", "green"),
        (" ▸ vault     5 s /   10 s  ━━━━━━──────  vault : Unseal  [drill]", "bright blue"),
        ("   data          /   20 s", "dark gray"),
    ]


def test_frame_in_ascii(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "30")
    text = "\n".join(line for line, _colour in frame(run, "t", [], unicode=False))
    assert text.isascii()
    assert "######......" in text


def test_a_low_terminal_keeps_what_runs(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("LINES", "5")
    lines = frame(run, "vault : Unseal", ["drill"], unicode=True)
    assert len(lines) == 2
    assert "vault : Unseal" in lines[1][0]


def test_what_is_over_budget_turns_yellow(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    run.phases["vault"].budget = 2
    text, colour = frame(run, "t", ["a", "b", "c"], unicode=True)[2]
    assert colour == "yellow"
    assert "over by 3 s" in text
    assert "[3 hosts]" in text
