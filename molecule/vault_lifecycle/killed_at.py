# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run a command, and kill -9 it and all that came of it once a line of its output has a text.

killed_at.py TEXT COMMAND ...: exit status 0 if it was killed, 1 if it ended before that.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


def family(process: int) -> list[int]:
    """A process and all that came of it; a worker of ansible-playbook has its own session."""
    found = [process]
    for names in Path(f"/proc/{process}/task").glob("*/children"):
        for child in names.read_text().split():
            found += family(int(child))
    return found


def kill(process: int) -> None:
    os.kill(process, signal.SIGSTOP)  # so that nothing more comes of it
    for member in family(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)


def main() -> int:
    text, *command = sys.argv[1:]
    killed = False
    ear, mouth = os.pipe()
    with subprocess.Popen(command, stdout=mouth, stderr=mouth) as running, os.fdopen(ear) as lines:
        os.close(mouth)
        for line in lines:
            print(line, end="")
            if not killed and text in line:
                killed = True
                kill(running.pid)
    return 0 if killed else 1


if __name__ == "__main__":
    sys.exit(main())
