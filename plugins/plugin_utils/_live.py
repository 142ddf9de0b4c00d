# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A few lines at the bottom of a terminal that are drawn again in place."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable, Sequence
from typing import TextIO

from ansible_collections.tamshai.phoenix.plugins.plugin_utils._phases import Phase, Run, clock

__all__ = ["Line", "Region", "clip", "frame"]

# A line without colour, and the colour that it gets.
Line = tuple[str, str]

_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# What a terminal draws between these two appears at once; terminals that do not know it ignore it.
_BEGIN_FRAME, _END_FRAME = "\x1b[?2026h", "\x1b[?2026l"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"

_MARKS = {"ok": "✔", "failed": "✘", "skipped": "-", "running": "▸", "pending": " "}
_PLAIN_MARKS = {"ok": "+", "failed": "x", "skipped": "-", "running": ">", "pending": " "}
_COLOURS = {
    "ok": "green",
    "failed": "red",
    "skipped": "cyan",
    "running": "bright blue",
    "pending": "dark gray",
}
_BAR = 12


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _cells(text: str) -> int:
    return sum(map(_width, text))


def clip(text: str, width: int) -> str:
    """At most ``width`` terminal cells of one line, control characters left out."""
    text = "".join(char if char.isprintable() else " " for char in text)
    if _cells(text) <= width:
        return text
    kept, used = "", 0
    for char in text:
        used += _width(char)
        if used > width - 3:
            break
        kept += char
    return f"{kept}..."


class Region:
    """The live lines: erased before anything else is printed, drawn again below it.

    Not synchronised: the caller holds the lock that guards the stream.

    :arg stream: The terminal.
    :arg paint: Gives a text its colour.
    """

    def __init__(self, stream: TextIO, paint: Callable[[str, str], str]) -> None:
        self._stream = stream
        self._paint = paint
        self._shown: list[Line] = []
        self._hidden_cursor = False

    def draw(self, lines: Sequence[Line], columns: int) -> None:
        """Show these lines in place of the former ones; nothing is sent where they are equal."""
        fresh = [(clip(text, columns - 1), colour) for text, colour in lines]
        if fresh == self._shown:
            return
        rows = "".join(f"{self._paint(text, colour)}{_CLEAR_LINE}\n" for text, colour in fresh)
        hide = "" if self._hidden_cursor else _HIDE_CURSOR
        self._send(f"{_BEGIN_FRAME}{hide}{self._to_top()}{rows}{_CLEAR_BELOW}{_END_FRAME}")
        self._shown, self._hidden_cursor = fresh, True

    def erase(self) -> None:
        """Leave the terminal as if there had never been live lines."""
        show = _SHOW_CURSOR if self._hidden_cursor else ""
        if self._shown or show:
            self._send(f"{self._to_top()}{_CLEAR_BELOW}{show}")
        self._shown, self._hidden_cursor = [], False

    def _to_top(self) -> str:
        # Some terminals wrap lines anew when they are made narrower, some do not. Going up one row
        # for each line may leave a rest of an old frame; going further could erase a message.
        return f"\r\x1b[{len(self._shown)}A" if self._shown else "\r"

    def _send(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def frame(
    run: Run, task: str, hosts: Sequence[str], *, unicode: bool, note: str = ""
) -> list[Line]:
    """The live lines of a run, as many as fit the terminal."""
    columns, height = shutil.get_terminal_size()
    budget = f" of {clock(run.budget)}" if run.budget else ""
    lines: list[Line] = [(f"{run.playbook}{note}  {clock(run.seconds)}{budget}", "white")]
    phases = _window(list(run.phases.values()), max(1, height - 4))
    label = max((_cells(phase.name) for phase in phases), default=0)
    return lines + [
        _phase_line(run, phase, label, task, hosts, unicode, columns) for phase in phases
    ]


def _window(phases: list[Phase], size: int) -> list[Phase]:
    """The part of the list around what is running, where a terminal is too low for all."""
    if len(phases) <= size:
        return phases
    running = next((i for i, phase in enumerate(phases) if phase.state == "running"), 0)
    first = min(max(0, running - size // 2), len(phases) - size)
    return phases[first : first + size]


def _phase_line(
    run: Run,
    phase: Phase,
    label: int,
    task: str,
    hosts: Sequence[str],
    unicode: bool,
    columns: int,
) -> Line:
    now = run.now
    mark = (_MARKS if unicode else _PLAIN_MARKS)[phase.state]
    name = phase.name + " " * (label - _cells(phase.name))
    elapsed = "" if phase.state == "pending" else f"{phase.seconds(now):.0f} s"
    budget = f"/ {phase.budget:>4} s" if phase.budget else " " * 8
    text = f" {mark} {name}  {elapsed:>6} {budget}"
    colour = _COLOURS[phase.state]
    over = phase.over(now)
    if over and phase.state != "failed":
        colour = "yellow"
    if phase.state == "running" and phase.budget and columns >= 80:
        text += "  " + _bar(phase.seconds(now) / phase.budget, unicode)
    return f"{text}  {_remark(phase, over, task, hosts)}".rstrip(), colour


def _remark(phase: Phase, over: float, task: str, hosts: Sequence[str]) -> str:
    late = f"over by {over:.0f} s" if over >= 0.5 else ""
    if phase.state == "pending":
        return ""
    if phase.state == "running":
        where = f"[{', '.join(hosts)}]" if len(hosts) < 3 else f"[{len(hosts)} hosts]"
        return "  ".join(part for part in (late, task, where if hosts else "") if part)
    what = phase.state
    if phase.state == "ok":
        what = f"{phase.changed} changed" if phase.changed else "unchanged"
    return ", ".join(part for part in (what, late) if part)


def _bar(share: float, unicode: bool) -> str:
    full = min(_BAR, int(share * _BAR))
    done, rest = ("━", "─") if unicode else ("#", ".")
    return done * full + rest * (_BAR - full)
