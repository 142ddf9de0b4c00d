# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shares that are typed: a real playbook at a real terminal, and without any."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARES = [f"{n:02x}" * 33 for n in (1, 2)]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - tamshai.phoenix.vault_ask_shares: {count: 2, server: h1}
      no_log: true
      register: asked
    - ansible.builtin.debug:
        msg:
          - "{{ asked.shares | length }} shares, terminal {{ asked.terminal }}"
          - "{{ asked.shares | join(',') | hash('sha256') }}"
"""


def playbook(tmp_path: Path, **how: Any) -> subprocess.Popen[bytes]:
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "ansible.cfg").write_text("")
    program = Path(sys.executable).parent / "ansible-playbook"
    environment = {
        **os.environ,
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
        "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
    }
    command = [str(program), "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")]
    return subprocess.Popen(command, env=environment, **how)


def test_a_playbook_without_a_terminal_goes_on(tmp_path: Path) -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "start_new_session": True}
    with playbook(tmp_path, stdin=subprocess.DEVNULL, **pipes) as running:
        output, _none = running.communicate(timeout=60)
    assert running.returncode == 0, output
    assert b"0 shares" in output
    assert b"terminal False" in output


def test_a_playbook_at_a_terminal_hides_what_is_typed(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            os._exit(playbook(tmp_path).wait(60))
        finally:
            os._exit(99)
    seen, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        # What is typed before the question hides it would be thrown away: typed again then.
        if not select.select([terminal], [], [], 0.5)[0]:
            echo = termios.tcgetattr(terminal)[3] & termios.ECHO
            asked = seen.count(b"(hidden")
            if asked and not echo:
                os.write(terminal, f"{SHARES[min(asked, 2) - 1]}\n".encode())
            continue
        try:
            seen += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    _pid, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, seen
    # Both were read, whole.
    assert b"2 shares, terminal True" in seen
    assert hashlib.sha256(",".join(SHARES).encode()).hexdigest().encode() in seen
    assert not any(share.encode() in seen for share in SHARES)
