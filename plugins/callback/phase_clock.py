# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: phase_clock
type: stdout
short_description: Show phases with elapsed time and budget instead of tasks
version_added: 0.1.0
author:
  - tamshai.phoenix contributors (@tamshai)
description:
  - Shows which phase of a playbook runs, for how long, and against what budget.
  - >-
    A play becomes a phase by the variable C(phoenix_phase), a dictionary with C(name) and,
    optionally, C(budget) in seconds. Plays that name the same phase are counted together. A play
    without the variable is shown by its own name.
  - >-
    On a terminal the list of phases is drawn again in place. Elsewhere each phase gets a line when
    it begins and one when it ends, and a heartbeat with the running task in between.
  - >-
    Failures, warnings, diffs and the messages of C(ansible.builtin.debug) are shown in full in each
    case.
  - >-
    With C(-v) or more the output is that of P(ansible.builtin.default#callback), with a line for
    each phase.
  - >-
    A playbook with at least one C(phoenix_phase) leaves a report in JSON and one in JUnit XML. It
    is written whenever a phase begins or ends, so it is true even after a run that was interrupted
    or killed.
extends_documentation_fragment:
  - ansible.builtin.default_callback
  - ansible.builtin.result_format_callback
options:
  live:
    description: Whether the list of phases is drawn in place. V(auto) means on a terminal that can.
    type: str
    choices: [auto, always, never]
    default: auto
    env:
      - name: PHASE_CLOCK_LIVE
    ini:
      - section: callback_phase_clock
        key: live
  heartbeat:
    description: >-
      Seconds without any other output after which a line says what is running, where nothing is
      drawn in place.
    type: int
    default: 10
    env:
      - name: PHASE_CLOCK_HEARTBEAT
    ini:
      - section: callback_phase_clock
        key: heartbeat
  report:
    description:
      - >-
        Where the report in JSON goes. The one in JUnit XML goes next to it, with the suffix
        C(.xml).
      - >-
        The reports of playbooks other than C(phoenix.yml) have the playbook's name added
        (C(phases-rotate.json)), so that they leave the one of the rebuild alone.
      - An empty value writes none.
    type: str
    default: build/report/phases.json
    env:
      - name: PHASE_CLOCK_REPORT
    ini:
      - section: callback_phase_clock
        key: report
requirements:
  - Set as the stdout callback in the configuration.
"""

EXAMPLES = r"""
ansible_cfg: |
  # Switch it on for a project.
  [defaults]
  stdout_callback = tamshai.phoenix.phase_clock
playbook: |
  # One phase with a budget of 40 seconds.
  - name: Phase vault
    hosts: phoenix
    vars:
      phoenix_phase: {name: vault, budget: 40}
    roles:
      - role: tamshai.phoenix.vault
"""

import atexit
import json
import os
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible import context
from ansible.playbook.block import Block
from ansible.plugins.callback.default import CallbackModule as DefaultCallback
from ansible.utils.color import stringc

from ansible_collections.tamshai.phoenix.plugins.module_utils._files import write_atomic
from ansible_collections.tamshai.phoenix.plugins.plugin_utils import _forks
from ansible_collections.tamshai.phoenix.plugins.plugin_utils._live import Region, frame
from ansible_collections.tamshai.phoenix.plugins.plugin_utils._phases import (
    Phase,
    Run,
    Tally,
    clock,
    summary_rows,
)

# The playbook whose report keeps the plain name.
REBUILD = "phoenix"
# How often the live lines and the heartbeat are looked at, in seconds.
TICK = 0.5
# The engine's remark on a kernel without memory controller, which its module takes for a fault of
# its own. What it means is in the report: limits are declared, and not enforced.
_KNOWN_WARNING = re.compile(r"Cannot parse event from line: .*Limitation discarded")
_DEBUG = ("debug", "ansible.builtin.debug", "ansible.legacy.debug")
_PAUSE = ("pause", "ansible.builtin.pause", "ansible.legacy.pause")
# What a failed task says beside its message, in this order.
_DETAILS = ("hint", "assertion", "rc", "stdout", "stderr", "module_stdout", "module_stderr")


class CallbackModule(DefaultCallback):
    """Phases instead of tasks; see DOCUMENTATION."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "tamshai.phoenix.phase_clock"

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._report: Path | None = None
        self._phased = False
        self._task = ""
        self._busy: dict[str, None] = {}
        self._prompting = False
        self._last_output = 0.0
        self._region: Region | None = None
        self._owner = os.getpid()
        self._stop = threading.Event()
        self._watching = False
        self._former_sigterm: Any = None
        self._print: Callable[..., None] = self._display.display
        # Ansible forks while it holds this lock, so no fork ever sees a half-written frame.
        self._lock = getattr(self._display, "_lock", None) or threading.RLock()

    # --- Events: the run -------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        name = Path(playbook._file_name).name
        self._run = Run(name, _timestamp(), time.monotonic)
        self._phased = False
        for play in playbook.get_plays():
            self._run.declare(*self._phase_of(play))
        self._report = self._report_path(Path(name).stem)
        self._watch_for_the_end()
        if self._verbose:
            super().v2_playbook_on_start(playbook)
        else:
            self._start_output()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        _forks.prepare()
        self._prompting = False
        if self._verbose:
            super().v2_playbook_on_play_start(play)
        else:
            self._play = play
        if self._run is None:
            return
        with self._lock:
            name, budget = self._phase_of(play)
            before = self._run.current
            if not self._run.begin(name, budget):
                return
            self._task = ""
        self._write_report()
        with self._lock:
            self._announce_end(before)
            self._announce_begin(self._run.phases[name])
            self._draw()

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_stats(stats)
        self._finish(interrupted=False)

    def v2_playbook_on_vars_prompt(self, *args: Any, **kwargs: Any) -> None:
        super().v2_playbook_on_vars_prompt(*args, **kwargs)
        self._give_way()

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._print_line("skipping: no hosts matched", "cyan")

    def v2_playbook_on_no_hosts_remaining(self) -> None:
        if self._verbose:
            super().v2_playbook_on_no_hosts_remaining()

    # --- Events: tasks ---------------------------------------------------------------------------

    def _task_start(self, task: Any, prefix: str | None = None) -> None:
        with self._lock:
            self._task = _task_name(task)
            self._busy.clear()
        if self._verbose:
            super()._task_start(task, prefix)
        elif task.action in _PAUSE:
            self._give_way()
        else:
            self._prompting = False

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        with self._lock:
            self._busy[host.get_name()] = None
        super().v2_runner_on_start(host, task)

    def v2_runner_on_ok(self, result: Any) -> None:
        changed = bool(result._result.get("changed", False))
        tally = self._count(result)
        tally.ok += 1
        tally.changed += changed
        if self._verbose:
            super().v2_runner_on_ok(result)
            return
        if result._task.action in _DEBUG:
            if not result._task.loop:
                self._show_debug(result)
        elif changed and _option("check") and not _option("diff"):
            self._print_line(f"would change: {self._where(result)}", "yellow")
        self._show_warnings(result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._count(result).skipped += 1
        if self._verbose:
            super().v2_runner_on_skipped(result)
        else:
            self._show_warnings(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        rescued = _will_be_rescued(result._task)
        tally = self._count(result)
        if ignore_errors:
            tally.ok += 1
            tally.ignored += 1
        elif rescued:
            tally.rescued += 1
        else:
            tally.failed += 1
        if self._verbose:
            super().v2_runner_on_failed(result, ignore_errors)
        elif not (ignore_errors or rescued):
            self._show_warnings(result)
        if not (ignore_errors or rescued):
            self._record_failure(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        ignored = bool(getattr(result._task, "ignore_unreachable", False))
        tally = self._count(result)
        if ignored:
            tally.ignored += 1
        else:
            tally.unreachable += 1
        if self._verbose:
            super().v2_runner_on_unreachable(result)
        if not ignored:
            self._record_failure(result, "unreachable")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_ok(result)
            return
        if result._task.action in _DEBUG:
            self._show_debug(result)
        self._show_warnings(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_item_on_failed(result)
        elif not (result._task.ignore_errors or _will_be_rescued(result._task)):
            item = self._get_item_label(result._result)
            self._print_failure(result, f"failed for item {item}")

    def v2_runner_retry(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_retry(result)

    def v2_runner_on_async_poll(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_poll(result)

    def v2_runner_on_async_ok(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_ok(result)

    def v2_runner_on_async_failed(self, result: Any) -> None:
        if self._verbose:
            super().v2_runner_on_async_failed(result)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if self._verbose:
            super().v2_playbook_on_include(included_file)

    def v2_on_file_diff(self, result: Any) -> None:
        if self._verbose:
            super().v2_on_file_diff(result)
            return
        outcomes = result._result.get("results") if result._task.loop else None
        for outcome in [result._result] if outcomes is None else outcomes:
            if outcome.get("diff") and outcome.get("changed", False):
                text = self._get_diff(outcome["diff"])
                if text:
                    self._print_line(f"{self._where(result)}", "yellow")
                    self._print_line(text.rstrip("\n"))

    # --- What the run says -----------------------------------------------------------------------

    @property
    def _verbose(self) -> bool:
        return bool(self._display.verbosity)

    def _print_line(self, text: str, colour: str | None = None) -> None:
        self._last_output = time.monotonic()
        self._display.display(text, color=colour)

    def _announce_begin(self, phase: Phase) -> None:
        if self._region is None and self._run is not None:
            budget = f", budget {phase.budget} s" if phase.budget else ""
            stamp = clock(self._run.seconds)
            self._print_line(f"[{stamp}] {phase.name}: begins{budget}", "bright blue")

    def _announce_end(self, phase: Phase | None) -> None:
        if phase is None or self._run is None or self._region is not None:
            return
        now = self._run.now
        budget = f" of {phase.budget} s" if phase.budget else ""
        over = f", over budget by {phase.over(now):.1f} s" if phase.over(now) else ""
        colour = {"ok": "green", "skipped": "cyan"}.get(phase.state, "red")
        self._print_line(
            f"[{clock(self._run.seconds)}] {phase.name}: {phase.state}"
            f" in {phase.seconds(now):.1f} s{budget}, {phase.changed} changed{over}",
            "yellow" if over and phase.state == "ok" else colour,
        )

    def _where(self, result: Any) -> str:
        return f"{self.host_label(result)} | {_task_name(result._task)}"

    def _show_debug(self, result: Any) -> None:
        outcome = result._result
        if "msg" in outcome:
            message = outcome["msg"]
            lines = message if isinstance(message, list) else [message]
            texts = [m if isinstance(m, str) else self._dump_results({"msg": m}) for m in lines]
        else:
            shown = dict(outcome)
            self._clean_results(shown, result._task.action)
            texts = [self._dump_results(shown)]
        for text in texts:
            self._print_line(f"{self.host_label(result)}: {text}", "cyan")

    def _show_warnings(self, result: Any) -> None:
        # All or nothing: ansible-core 2.19 prints its own list, unless this one is empty.
        if all(_is_known(warning) for warning in result._result.get("warnings") or []):
            result._result.pop("warnings", None)
        if hasattr(self, "_handle_warnings_and_exception"):
            # The exception of a failure is in its message; the trace is for -v.
            result._result.pop("exception", None)
            self._handle_warnings_and_exception(result)
        else:
            self._handle_warnings(result._result)

    def _record_failure(self, result: Any, what: str) -> None:
        """Show a failure, and keep it for the report."""
        outcome = result._result
        per_item = bool(result._task.loop) and "results" in outcome
        text = self._failure_text(result, what)
        if self._run is not None and self._run.current is not None:
            self._run.current.failures.append(text)
        if not self._verbose and not per_item:
            self._print_failure(result, what)

    def _print_failure(self, result: Any, what: str) -> None:
        self._print_line(self._failure_text(result, what), "red")

    def _failure_text(self, result: Any, what: str) -> str:
        outcome = result._result
        lines = [f"{self.host_label(result)}: {what}: {_task_name(result._task)}"]
        if outcome.get("_ansible_no_log") or "censored" in outcome:
            lines += _indented("msg", str(outcome.get("censored", "hidden by no_log")))
        else:
            lines += _indented("msg", str(outcome.get("msg", "")))
            for key in _DETAILS:
                if outcome.get(key) not in (None, "", 0):
                    lines += _indented(key, str(outcome[key]))
        if result._task.get_path():
            lines += _indented("task", result._task.get_path())
        return "\n".join(lines)

    # --- Counting --------------------------------------------------------------------------------

    def _phase_of(self, play: Any) -> tuple[str, int | None]:
        """Name and budget of a play; a declaration that makes no sense is a play without one."""
        declared = (play.vars or {}).get("phoenix_phase")
        if isinstance(declared, dict) and isinstance(declared.get("name"), str):
            self._phased = True
            budget = declared.get("budget")
            return str(declared["name"]), budget if isinstance(budget, int) else None
        return play.get_name().strip() or "unnamed play", None

    def _count(self, result: Any) -> Tally:
        host = result._host.get_name()
        with self._lock:
            self._busy.pop(host, None)
            if self._run is None or self._run.current is None:
                return Tally()
            return self._run.current.tally(host)

    # --- Report ----------------------------------------------------------------------------------

    def _report_path(self, playbook: str) -> Path | None:
        option = str(self.get_option("report") or "")
        if not option or not self._phased:
            return None
        path = Path(option).absolute()
        return path if playbook == REBUILD else path.with_stem(f"{path.stem}-{playbook}")

    def _write_report(self) -> None:
        if self._report is None or self._run is None:
            return
        with self._lock:
            report = json.dumps(self._run.as_dict(), indent=2) + "\n"
            junit = self._run.as_junit()
        try:
            self._report.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._report, report.encode(), mode=0o644)
            write_atomic(self._report.with_suffix(".xml"), junit, mode=0o644)
        except OSError as error:
            self._display.warning(f"cannot write the phase report: {error}")

    # --- Terminal --------------------------------------------------------------------------------

    def _watch_for_the_end(self) -> None:
        """Have the report finished where Ansible never says that the run is over."""
        if self._watching:
            return
        self._watching = True
        atexit.register(self._finish, interrupted=True)
        if threading.current_thread() is threading.main_thread():
            self._former_sigterm = signal.signal(signal.SIGTERM, self._on_sigterm)

    def _start_output(self) -> None:
        if self._wants_live():
            self._region = Region(sys.stdout, stringc)
            # Everything that Ansible prints, warnings included, has to go above the live lines.
            self._display.display = self._print_above
        self._stop.clear()
        threading.Thread(target=self._tick, name="phase_clock", daemon=True).start()

    def _wants_live(self) -> bool:
        wish = self.get_option("live")
        if wish == "auto":
            return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        return bool(wish == "always")

    def _tick(self) -> None:
        while not self._stop.wait(TICK):
            with self._lock:
                if self._region is not None:
                    self._draw()
                else:
                    self._heartbeat()

    def _draw(self) -> None:
        if self._region is None or self._run is None or self._prompting:
            return
        unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        note = " (check mode)" if _option("check") else ""
        lines = frame(self._run, self._task, list(self._busy), unicode=unicode, note=note)
        try:
            self._region.draw(lines, shutil.get_terminal_size().columns)
        except OSError:
            self._region = None  # the terminal is gone; the run goes on

    def _erase(self) -> None:
        if self._region is not None:
            try:
                self._region.erase()
            except OSError:
                self._region = None

    def _give_way(self) -> None:
        """Leave the terminal to a prompt until the next task or play."""
        with self._lock:
            self._erase()
            self._prompting = True

    def _heartbeat(self) -> None:
        run = self._run
        if run is None or run.current is None or not self._task:
            return
        if time.monotonic() - self._last_output >= self.get_option("heartbeat"):
            spent = run.current.seconds(run.now)
            hosts = f" [{', '.join(self._busy)}]" if self._busy else ""
            self._print_line(
                f"[{clock(run.seconds)}] {run.current.name}: {spent:.0f} s, at: {self._task}{hosts}"
            )
            sys.stdout.flush()

    def _print_above(self, *args: Any, **kwargs: Any) -> None:
        """Stand in for Display.display while there are live lines."""
        if os.getpid() != self._owner:
            self._print(*args, **kwargs)  # a worker, which hands it to the main process
            return
        with self._lock:
            self._erase()
            self._print(*args, **kwargs)
            sys.stdout.flush()
            sys.stderr.flush()
            self._draw()

    def _on_sigterm(self, number: int, stack: Any) -> None:
        self._finish(interrupted=True)
        signal.signal(number, self._former_sigterm or signal.SIG_DFL)
        if callable(self._former_sigterm):
            self._former_sigterm(number, stack)
        else:
            os.kill(os.getpid(), number)

    def _finish(self, *, interrupted: bool) -> None:
        """Stop the clock, write the report, say how it went. Only the first call does anything."""
        if self._run is None or os.getpid() != self._owner:
            return
        self._stop.set()
        with self._lock:
            run = self._run
            last = run.current
            run.finish(interrupted=interrupted)
            self._announce_end(last)
            self._erase()
            self._region = None
            self._display.display = self._print
        self._write_report()
        self._print_summary(run)
        sys.stdout.flush()
        self._run = None

    def _print_summary(self, run: Run) -> None:
        head = ["phase", "seconds", "budget", "host", "ok", "changed", "failed", "skipped", ""]
        rows = list(summary_rows(run))
        budget = "-" if run.budget is None else str(run.budget)
        total = ["total", f"{run.seconds:.1f}", budget, "", "", "", "", "", run.status]
        table = [head, *(row for row, _phase in rows), total]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]

        def aligned(row: list[str]) -> str:
            cells = (
                cell.ljust(width) if index in (0, 3, 8) else cell.rjust(width)
                for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            return "  ".join(cells).rstrip()

        self._print_line("")
        self._print_line(aligned(head), "bright gray")
        for row, phase in rows:
            self._print_line(aligned(row), _row_colour(phase, phase.over(run.now) > 0))
        self._print_line(aligned(total), "green" if run.status == "ok" else "red")
        if self._report is not None:
            self._print_line(f"report: {_short(self._report)}")


def _row_colour(phase: Phase, late: bool) -> str | None:
    if phase.state == "failed":
        return "red"
    if late:
        return "yellow"
    return "dark gray" if phase.state in ("pending", "skipped") else None


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _option(name: str) -> bool:
    return bool(context.CLIARGS.get(name, False))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _task_name(task: Any) -> str:
    """``vault : Initialise the server``, without the collection that the role is from."""
    name = str(task.name or task.action).strip()
    role = getattr(task, "_role", None)
    return f"{role._role_name.rpartition('.')[2]} : {name}" if role else name


def _indented(label: str, text: str) -> list[str]:
    first, *rest = text.splitlines() or [""]
    return [f"  {label}: {first}", *(f"  {' ' * len(label)}  {line}" for line in rest)]


def _is_known(warning: object) -> bool:
    return _KNOWN_WARNING.search(str(warning)) is not None


def _will_be_rescued(task: Any) -> bool:
    """Whether a block around the task catches its failure.

    Ansible tells a callback of the failure before it looks for a rescue, and never says that it
    found one.
    """
    child, parent = task, getattr(task, "_parent", None)
    while parent is not None:
        guards = isinstance(parent, Block) and parent.rescue
        if guards and any(inner._uuid == child._uuid for inner in parent.block):
            return True
        child, parent = parent, getattr(parent, "_parent", None)
    return False
