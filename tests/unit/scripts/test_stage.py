# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stage runner and the summary: a stage that failed is never reported as passed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with the two scripts, as they would stand in a clone."""
    (tmp_path / "scripts").mkdir()
    for name in ("stage", "summary"):
        shutil.copy(SCRIPTS / name, tmp_path / "scripts" / name)
    return tmp_path


def stage(clone: Path, name: str, command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "scripts" / "stage", name, "bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
    )


def summary(clone: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, clone / "scripts" / "summary", "12.345"],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_stage_that_passes_is_one_line(clone: Path) -> None:
    result = stage(clone, "good", "echo noise")
    assert result.returncode == 0
    assert re.fullmatch(r"== good: \d+\.\d s\n", result.stdout)
    assert (clone / "build" / "logs" / "good.log").read_text() == "noise\n"


def test_a_stage_that_fails_keeps_its_status_and_shows_its_end(clone: Path) -> None:
    result = stage(clone, "bad", "for i in $(seq 200); do echo line $i; done; exit 7")
    assert result.returncode == 7
    lines = result.stdout.splitlines()
    assert "line 200" in lines
    assert "line 100" not in lines
    assert re.fullmatch(r"== bad: FAILED after \d+\.\d s \(exit status 7\)", lines[-1])


def test_the_summary_counts_stages_and_tests(clone: Path) -> None:
    stage(clone, "lint", "true")
    stage(clone, "unit", "true")
    (clone / "build" / "logs" / "unit.xml").write_text(
        '<testsuites><testsuite tests="10" failures="0" errors="0" skipped="2"/></testsuites>'
    )
    result = summary(clone)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == "===== 9 passed, 2 skipped in 12.35s ====="


@pytest.mark.parametrize(
    "suite",
    [
        '<testsuite tests="3" failures="1" errors="0" skipped="0"/>',
        '<testsuite tests="3" failures="0" errors="1" skipped="0"/>',
    ],
)
def test_a_failed_test_fails_the_summary(clone: Path, suite: str) -> None:
    stage(clone, "unit", "exit 1")
    (clone / "build" / "logs" / "unit.xml").write_text(f"<testsuites>{suite}</testsuites>")
    result = summary(clone)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == "===== 1 failed, 2 passed in 12.35s ====="


def test_a_stage_without_counted_tests_that_fails_is_a_failure(clone: Path) -> None:
    stage(clone, "lint", "exit 3")
    result = summary(clone)
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == "===== 1 failed, 0 passed in 12.35s ====="


def test_a_run_without_any_stage_is_no_success(clone: Path) -> None:
    (clone / "build" / "logs").mkdir(parents=True)
    (clone / "build" / "logs" / "stages.tsv").touch()
    assert summary(clone).returncode == 1
