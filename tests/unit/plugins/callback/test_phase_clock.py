# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback in real runs of ansible-playbook: through a pipe, and on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[4]
CANARY = "canary-7f3a9c-secret"

PLAYBOOK = f"""
- name: Phase one
  hosts: all
  gather_facts: false
  vars: {{phoenix_phase: {{name: one, budget: 50}}}}
  tasks:
    - name: Make a change
      ansible.builtin.command: "true"
      changed_when: true
    - name: Tell the user
      ansible.builtin.debug: {{msg: "hello from {{{{ inventory_hostname }}}}"}}
    - name: A secret result
      ansible.builtin.set_fact: {{x: {CANARY}}}
      no_log: true

- name: Not a phase
  hosts: all
  gather_facts: false
  tasks:
    - name: Caught
      block:
        - name: Inner
          ansible.builtin.fail: {{msg: "inner message"}}
      rescue:
        - name: Catch
          ansible.builtin.command: "true"
          changed_when: false
    - name: Never
      ansible.builtin.command: "false"
      changed_when: false
      when: false

- name: Nobody
  hosts: nobody
  gather_facts: false
  vars: {{phoenix_phase: {{name: empty, budget: 5}}}}

- name: Phase slow
  hosts: all
  gather_facts: false
  vars: {{phoenix_phase: {{name: slow, budget: 1}}}}
  tasks:
    - name: Take a nap
      ansible.builtin.command:
        argv:
          - sh
          - -c
          - touch nap-$0; exec sleep $1
          - "{{{{ inventory_hostname }}}}"
          - "{{{{ nap | default(0) }}}}"
      changed_when: false

- name: Phase last
  hosts: all
  gather_facts: false
  vars: {{phoenix_phase: {{name: last}}}}
  tasks:
    - name: Fail openly
      ansible.builtin.fail:
        msg: |-
          first line
          second line
      when: mode | default('') == 'open'
    - name: Fail hidden
      ansible.builtin.fail: {{msg: "{CANARY}"}}
      no_log: true
      when: mode | default('') == 'hidden'
    - name: Fail in a loop
      ansible.builtin.assert:
        that: item != 'b'
        fail_msg: "bad {{{{ item }}}}"
        quiet: true
      loop: [a, b]
      when: mode | default('') == 'loop'
"""


class Project:
    """A directory with a playbook, two local hosts and the callback switched on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("phoenix.yml", PLAYBOOK)
        self.write("ansible.cfg", "[defaults]\nretry_files_enabled = False\n")
        self.write(
            "hosts",
            "[all]\na ansible_connection=local\nb ansible_connection=local\n"
            f"[all:vars]\nansible_python_interpreter={sys.executable}\n",
        )

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text, encoding="utf-8")

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
        return kept | {
            "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "ANSIBLE_STDOUT_CALLBACK": "tamshai.phoenix.phase_clock",
            "ANSIBLE_LOCAL_TEMP": str(self.path / "tmp"),
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "PYTHONUTF8": "1",
            "TERM": "xterm",
            "NO_COLOR": "1",
        }

    def command(self, *arguments: str, playbook: str = "phoenix.yml") -> list[str]:
        program = Path(sys.executable).with_name("ansible-playbook")
        return [str(program), "-i", "hosts", playbook, *arguments]

    def run(self, *arguments: str, playbook: str = "phoenix.yml", **extra: str) -> Any:
        return subprocess.run(
            self.command(*arguments, playbook=playbook),
            cwd=self.path,
            env=self.environment | extra,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            env=self.environment | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start_and_wait_for_the_nap(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a run; it comes back when both hosts nap, so no worker is being forked."""
        process = self.start("-e", "nap=90", *arguments)
        deadline = time.monotonic() + 60
        while not all((self.path / f"nap-{host}").exists() for host in "ab"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return process

    def report(self, name: str = "phases.json") -> dict[str, Any]:
        path = self.path / "build" / "report" / name
        loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return loaded


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def states(report: dict[str, Any]) -> dict[str, str]:
    return {phase["name"]: phase["status"] for phase in report["phases"]}


def test_a_good_run_through_a_pipe(project: Project) -> None:
    result = project.run()
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert "[0:00] one: begins, budget 50 s" in lines
    assert any(re.match(r"\[\d:\d\d\] one: ok in \d+\.\d s of 50 s, 2 changed$", x) for x in lines)
    assert "a: hello from a" in lines
    assert "TASK [" not in result.stdout
    assert "inner message" not in result.stdout
    assert CANARY not in result.stdout + result.stderr
    assert any(re.match(r"one +\d+\.\d +50  a +3 +1 +0 +0$", line) for line in lines)
    assert lines[-1] == "report: build/report/phases.json"

    report = project.report()
    assert report["schema"] == 1
    assert report["playbook"] == "phoenix.yml"
    assert report["status"] == "ok"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report["started"])
    assert states(report) == {
        "one": "ok",
        "Not a phase": "ok",
        "empty": "skipped",
        "slow": "ok",
        "last": "skipped",
    }
    counts = {k: v for k, v in report["phases"][1]["hosts"]["a"].items() if v}
    assert counts == {"ok": 1, "skipped": 1, "rescued": 1}
    suite = ET.parse(project.path / "build" / "report" / "phases.xml").getroot()
    assert [case.get("name") for case in suite] == list(states(report))
    assert suite.get("failures") == "0"


def test_a_failure_is_told_in_full(project: Project) -> None:
    result = project.run("-e", "mode=open", "--limit", "a")
    assert result.returncode == 2
    assert (
        "a: failed: Fail openly\n  msg: first line\n       second line\n  task: " in result.stdout
    )
    assert states(project.report())["last"] == "failed"
    suite = ET.parse(project.path / "build" / "report" / "phases.xml").getroot()
    failure = suite.find("testcase[@name='last']/failure")
    assert failure is not None
    assert "second line" in str(failure.text)


def test_a_hint_is_told(project: Project) -> None:
    module = '#!/bin/sh\necho \'{"failed": true, "msg": "sealed", "hint": "unseal it"}\'\n'
    (project.path / "library").mkdir()
    project.write("library/hinting", module)
    project.write("phoenix.yml", "- hosts: a\n  gather_facts: false\n  tasks: [{hinting: {}}]\n")
    result = project.run()
    assert "a: failed: hinting\n  msg: sealed\n  hint: unseal it\n" in result.stdout


def test_lines_of_a_message_are_lines_and_known_noise_is_not_shown(project: Project) -> None:
    (project.path / "library").mkdir()
    project.write(
        "library/warns.py",
        "from ansible.module_utils.basic import AnsibleModule\n"
        "module = AnsibleModule({'text': {}})\n"
        "module.warn(module.params['text'])\n"
        "module.exit_json()\n",
    )
    project.write(
        "phoenix.yml",
        "- hosts: a\n  gather_facts: false\n  tasks:\n"
        "    - warns: {text: the disk is nearly full}\n"
        "    - warns: {text: \"Cannot parse event from line: 'db ... Limitation discarded.'\"}\n"
        "    - debug: {msg: [first remark, second remark]}\n",
    )
    done = project.run()
    text = done.stdout + done.stderr
    assert "a: first remark\na: second remark\n" in text
    assert "the disk is nearly full" in text
    assert "Limitation discarded" not in text


def test_no_log_is_respected_in_a_failure(project: Project) -> None:
    result = project.run("-e", "mode=hidden", "--limit", "a")
    assert result.returncode == 2
    assert "a: failed: Fail hidden\n  msg: the output has been hidden" in result.stdout
    everything = result.stdout + result.stderr
    for path in (project.path / "build").rglob("phases*"):
        everything += path.read_text(encoding="utf-8")
    assert CANARY not in everything


def test_a_failed_item_is_named_once(project: Project) -> None:
    result = project.run("-e", "mode=loop", "--limit", "a")
    assert result.stdout.count("bad b") == 1
    assert "failed for item b: Fail in a loop" in result.stdout


def test_an_unreachable_host_fails_its_phase(project: Project) -> None:
    project.write("hosts", "a ansible_host=127.0.0.1 ansible_port=1 ansible_connection=ssh\n")
    result = project.run()
    assert result.returncode == 4
    assert "a: unreachable: Make a change\n  msg: " in result.stdout
    assert states(project.report()) == {"one": "failed"}
    assert project.report()["phases"][0]["hosts"]["a"]["unreachable"] == 1


def test_verbose_shows_tasks_and_phases(project: Project) -> None:
    result = project.run("-v")
    assert "TASK [Make a change]" in result.stdout
    assert "PLAY RECAP" in result.stdout
    assert "[0:00] one: begins, budget 50 s" in result.stdout
    assert CANARY not in result.stdout
    assert states(project.report())["one"] == "ok"


def test_check_mode_names_what_would_change(project: Project) -> None:
    project.write(
        "phoenix.yml",
        "- hosts: a\n  gather_facts: false\n  tasks:\n"
        "    - name: Write it\n"
        "      ansible.builtin.copy: {content: \"new\\n\", dest: ./target, mode: '0600'}\n",
    )
    assert "would change: a | Write it" in project.run("--check").stdout
    diff = project.run("--check", "--diff").stdout
    assert "a | Write it" in diff
    assert "+new" in diff
    assert not (project.path / "target").exists()


def test_over_budget_is_marked_and_a_heartbeat_tells_the_task(project: Project) -> None:
    result = project.run("-e", "nap=2.2", PHASE_CLOCK_HEARTBEAT="1")
    assert re.search(
        r"^\[\d:\d\d\] slow: \d+ s, at: Take a nap \[a, b\]$", result.stdout, re.MULTILINE
    )
    assert re.search(
        r"slow: ok in .* 0 changed, over budget by \d+\.\d s$", result.stdout, re.MULTILINE
    )
    phase = next(p for p in project.report()["phases"] if p["name"] == "slow")
    assert phase["over_budget"] is True


def test_the_report_is_true_while_a_later_phase_runs(project: Project) -> None:
    project.write(
        "phoenix.yml",
        PLAYBOOK + "    - name: Read\n      ansible.builtin.command: cat build/report/phases.json\n"
        "      changed_when: false\n      register: seen\n"
        "    - ansible.builtin.copy: {content: '{{ seen.stdout }}', dest: seen, mode: '0600'}\n",
    )
    assert project.run("--limit", "a").returncode == 0
    seen = json.loads((project.path / "seen").read_text(encoding="utf-8"))
    assert states(seen) == {"one": "ok", "Not a phase": "ok", "empty": "skipped", "slow": "ok"}
    assert seen["running"] == {"name": "last", "budget": None}


def test_another_playbook_leaves_the_rebuild_s_report_alone(project: Project) -> None:
    project.run("--limit", "a")
    before = project.report()
    project.write("verify.yml", PLAYBOOK)
    project.run("--limit", "a", playbook="verify.yml")
    assert project.report() == before
    assert project.report("phases-verify.json")["playbook"] == "verify.yml"


def test_a_playbook_without_phases_leaves_no_report(project: Project) -> None:
    project.write("phoenix.yml", "- name: Plain\n  hosts: a\n  gather_facts: false\n")
    result = project.run()
    assert "Plain: skipped" in result.stdout
    assert not (project.path / "build").exists()


def test_a_report_that_cannot_be_written_is_a_warning(project: Project) -> None:
    project.write("build", "a file where a directory should be")
    result = project.run("--limit", "a")
    assert result.returncode == 0
    assert "cannot write the phase report" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("verbosity", [[], ["-v"]])
def test_an_interrupted_run_leaves_its_report(
    project: Project, number: int, verbosity: list[str]
) -> None:
    process = project.start_and_wait_for_the_nap(*verbosity)
    process.send_signal(number)
    rest, _none = process.communicate(timeout=60)
    assert process.returncode != 0
    report = project.report()
    assert report["status"] == "interrupted"
    assert states(report) == {
        "one": "ok",
        "Not a phase": "ok",
        "empty": "skipped",
        "slow": "failed",
    }
    assert re.search(r"^total .* interrupted$", rest, re.MULTILINE)


def test_a_killed_run_leaves_what_it_had(project: Project) -> None:
    process = project.start_and_wait_for_the_nap()
    process.kill()
    process.wait(timeout=60)
    report = project.report()
    assert report["running"]["name"] == "slow"
    assert states(report) == {"one": "ok", "Not a phase": "ok", "empty": "skipped"}


# --- On a terminal -------------------------------------------------------------------------------


class Screen:
    """Enough of a terminal to see what a person sees: lines, cursor up, and clearing."""

    TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")

    def __init__(self) -> None:
        self.lines: list[str] = [""]
        self.row = self.column = 0
        self.cursor_visible = True

    def feed(self, text: str) -> None:
        for argument, code, control, printed in self.TOKEN.findall(text):
            if printed:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = (
                    line[: self.column] + printed + line[self.column + len(printed) :]
                )
                self.column += len(printed)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row += 1
                if self.row == len(self.lines):
                    self.lines.append("")
            else:
                self.escape(argument, code)

    def escape(self, argument: str, code: str) -> None:
        if code == "A":
            self.row -= int(argument or 1)
            assert self.row >= 0, "drew above the top"
        elif code == "K":
            self.lines[self.row] = self.lines[self.row][: self.column]
        elif code == "J":
            self.lines[self.row] = self.lines[self.row][: self.column]
            del self.lines[self.row + 1 :]
        elif argument == "?25":
            self.cursor_visible = code == "h"


@pytest.fixture
def on_terminal(project: Project) -> Callable[..., tuple[Screen, list[list[str]]]]:
    def run(*arguments: str) -> tuple[Screen, list[list[str]]]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = project.environment
        environment.pop("COLUMNS", None)
        environment.pop("LINES", None)
        process = subprocess.Popen(
            project.command(*arguments),
            cwd=project.path,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        screen, views = Screen(), []
        data = b""
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # Linux says so when the other side is gone
                break
            if not chunk:
                break
            data += chunk
            # A frame is complete at this sequence; what a person sees is what stands then.
            *frames, data = data.split(b"\x1b[?2026l")
            for part in frames:
                screen.feed(part.decode())
                views.append(list(screen.lines))
        screen.feed(data.decode())
        process.wait(timeout=60)
        os.close(ours)
        return screen, views

    return run


def test_a_terminal_shows_a_live_list_and_ends_clean(
    on_terminal: Callable[..., tuple[Screen, list[list[str]]]],
) -> None:
    screen, views = on_terminal("-e", "nap=2.2")
    running = re.compile(
        r"^ ✔ one +\d+ s / +50 s +2 changed$.*"
        r"^ ▸ slow +\d+ s / +1 s .*over by \d+ s +Take a nap +\[a, b\]$.*"
        r"^   last$",
        re.MULTILINE | re.DOTALL,
    )
    shown = ["\n".join(view) for view in views]
    assert any(running.search(view) for view in shown), shown[-1]
    assert "a: hello from a" in shown[-1]

    end = "\n".join(screen.lines)
    assert "▸" not in end
    assert "✔" not in end
    assert "begins" not in end
    assert re.search(r"^slow .* over budget by \d\.\d s$", end, re.MULTILINE)
    assert re.search(r"^total .* ok$", end, re.MULTILINE)
    assert screen.cursor_visible


def test_a_terminal_shows_failures_above_the_list(
    on_terminal: Callable[..., tuple[Screen, list[list[str]]]],
) -> None:
    screen, _views = on_terminal("-e", "mode=open", "--limit", "a")
    end = "\n".join(screen.lines)
    assert "a: failed: Fail openly\n  msg: first line\n       second line\n" in end
    assert end.index("a: hello from a") < end.index("Fail openly") < end.index("total")
    assert screen.cursor_visible
