# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The README's lines for a real VPS, word by word, in a clone in which `make` has run before."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# There is no VPS, and this Ansible is already installed: playbooks are only read, and they are
# read from where the lines have installed them.
STUBS = """
set -eu
trap '[ "$PHOENIX_STATE_PASSPHRASE/$CLAUDE_API_KEY" = "some words/a-token" ] || exit 9' EXIT
python3() { :; }
pip() { :; }
ansible-playbook() { command ansible-playbook "$@" --syntax-check; }
EDITOR=true
"""


def lines() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"^## A real VPS.*?^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block is not None
    return [line.removeprefix("$ ") for line in block[1].splitlines()]


def test_a_real_vps_takes_ten_lines() -> None:
    assert len(lines()) == 10


def test_the_lines_work_and_need_the_clone_no_more(tmp_path: Path) -> None:
    clone, home = tmp_path / "clone", tmp_path / "home"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
    for name in listed.split("\0"):
        if name and (ROOT / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    link = clone / "build" / "collections" / "ansible_collections" / "tamshai" / "phoenix"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../..")
    activate = home / "phoenix" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {"HOME": str(home), "PATH": f"{BIN}:{environment['PATH']}"}

    done = subprocess.run(
        ["bash", "-c", STUBS + "\n".join(lines())],
        cwd=clone,
        env=environment,
        # What is typed for `read`.
        input="some words\na-token\n",
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    played = re.findall(r"^playbook: (.*)$", done.stdout, re.MULTILINE)
    assert [Path(path).name for path in played] == ["phoenix.yml", "phoenix.yml", "verify.yml"]
    assert all(path.startswith(f"{home}/.ansible/collections/") for path in played), played
    assert link.is_symlink()
