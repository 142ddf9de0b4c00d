# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images are built for one architecture, and on another one nothing is begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_another_machine_is_refused_before_anything_is_built(tmp_path: Path) -> None:
    build = {"name": "tamshai.phoenix.images", "tasks_from": "build"}
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [{"ansible.builtin.include_role": build}],
    }
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    folders = {"images_build_cache": f"{tmp_path}/cache", "images_build_dir": f"{tmp_path}/images"}
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,"),
            *("-e", json.dumps({"__images_machine": "aarch64", **folders})),
            str(tmp_path / "play.yml"),
        ],
        cwd=ROOT,
        # Nobody answers there: the refusal comes before the engine is asked.
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "DOCKER_HOST": f"unix://{tmp_path}/none",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "its architecture is aarch64, and images can be built on x86_64 alone" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["play.yml"]
