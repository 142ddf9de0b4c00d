# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The audit log is put aside without losing an entry, also after a run that was killed."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "roles" / "vault" / "files" / "tamshai-vault"

# Opens its log by name when it is told to, as the server does, and writes into what it has open.
SERVER = """
import pathlib, signal, sys, time
path = pathlib.Path(sys.argv[1])
log = [path.open("a")] if "closed" not in sys.argv else []
def hup(*_):
    if "deaf" not in sys.argv:
        log[:] = [path.open("a")]
signal.signal(signal.SIGHUP, hup)
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""


class Audit:
    """A directory with an audit log, and an engine that knows one server or none."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "audit"
        self.directory.mkdir()
        self.log = self.directory / "audit.json"
        self.bin = place / "bin"
        self.bin.mkdir()
        self.server: subprocess.Popen[str] | None = None
        self.docker("")

    def docker(self, process: str) -> None:
        path = self.bin / "docker"
        found = "echo c1" if process else ":"
        path.write_text(
            f"#!/bin/sh\ncase $1 in ps) {found} ;; inspect) echo {process} ;; *) exit 9 ;; esac\n"
        )
        path.chmod(0o755)

    def start(self, *how: str) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(self.log), *how], stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout
        assert self.server.stdout.readline() == "ready\n"
        self.docker(str(self.server.pid))

    def rotate(self, limit: int = 10) -> subprocess.CompletedProcess[str]:
        path = f"{self.bin}:{os.environ['PATH']}"
        return subprocess.run(
            [
                *("sh", str(PROGRAM), "rotate", str(self.directory), "project", "vault"),
                *(str(limit), "2"),
            ],
            env={**os.environ, "PATH": path, "TAMSHAI_VAULT_WAIT": "2"},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())


@pytest.fixture
def audit(tmp_path: Path) -> Iterator[Audit]:
    made = Audit(tmp_path)
    yield made
    if made.server:
        made.server.kill()
        made.server.wait()
        assert made.server.stdout
        made.server.stdout.close()


def test_a_long_log_is_put_aside(audit: Audit) -> None:
    audit.log.write_text("an entry of the log\n")
    audit.start()
    done = audit.rotate()
    assert done.returncode == 0, done.stderr
    aside, log = audit.names()
    assert (log, audit.log.read_text()) == ("audit.json", "")
    assert gzip.decompress((audit.directory / aside).read_bytes()) == b"an entry of the log\n"


def test_a_short_log_stays(audit: Audit) -> None:
    audit.log.write_text("an entry of the log\n")
    assert audit.rotate(limit=1000).returncode == 0
    assert audit.names() == ["audit.json"]


def test_a_long_log_of_a_server_that_does_not_run_stays(audit: Audit) -> None:
    audit.log.write_text("an entry of the log\n")
    assert audit.rotate().returncode == 0
    assert audit.names() == ["audit.json"]


def test_a_run_that_was_killed_before_its_signal_is_finished(audit: Audit) -> None:
    audit.log.write_text("an entry of the log\n")
    audit.start()
    aside = audit.directory / "audit-20261126T140000Z.json"
    audit.log.rename(aside)
    long_ago = time.time() - 3600
    os.utime(aside, (long_ago, long_ago))
    done = audit.rotate()
    assert done.returncode == 0, done.stderr
    assert audit.names() == [aside.name, "audit.json"], "not compressed while it may be written to"
    assert audit.rotate().returncode == 0
    assert audit.names() == [f"{aside.name}.gz", "audit.json"]


def test_a_server_that_does_not_open_a_log_is_an_error_and_loses_nothing(audit: Audit) -> None:
    audit.log.write_text("an entry of the log\n")
    audit.start("deaf")
    done = audit.rotate()
    assert done.returncode == 1
    assert "did not open a new audit log" in done.stderr
    assert audit.names() == ["audit.json"]
    audit.log.rename(audit.directory / "audit-1.json")
    done = audit.rotate()
    assert done.returncode == 1
    assert "after a rotation that was cut off" in done.stderr
    assert audit.names() == ["audit-1.json"]


@pytest.mark.parametrize("status", [0, 1])
def test_what_a_slow_server_writes_after_the_last_look_stays(audit: Audit, status: int) -> None:
    """It opens its new log between that look and the way back.

    Debian 12 and 13 call it a success of mv to leave a file alone, and the versions between do not.
    """
    mv = audit.bin / "mv"
    leaves = f'[ "$1" = --no-clobber ] && [ -e "$3" ] && exit {status}'
    mv.write_text(f'#!/bin/sh\n{leaves}\nexec {shutil.which("mv")} "$@"\n')
    mv.chmod(0o755)
    audit.log.write_text("an entry of the log\n")
    audit.start("deaf")
    looks = audit.bin / "timeout"
    looks.write_text(f"#!/bin/sh\necho 'a new entry' >{audit.log}\nexit 124\n")
    looks.chmod(0o755)
    done = audit.rotate()
    assert done.returncode == 0, done.stderr
    aside, log = audit.names()
    assert (log, audit.log.read_text()) == ("audit.json", "a new entry\n")
    assert gzip.decompress((audit.directory / aside).read_bytes()) == b"an entry of the log\n"


@pytest.mark.parametrize("running", [True, False])
def test_without_a_log_there_is_nothing_to_do(audit: Audit, running: bool) -> None:
    if running:
        audit.start("closed", "deaf")
    done = audit.rotate()
    assert (done.returncode, done.stderr) == (0, "")
    assert audit.names() == []


def test_data_that_nobody_can_open_are_put_aside_and_kept(tmp_path: Path) -> None:
    (tmp_path / "data" / "raft").mkdir(parents=True)
    for _again in range(2):  # the second time there is nothing to put aside
        subprocess.run([PROGRAM, "aside", tmp_path], check=True)
        assert not (tmp_path / "data").exists()
        (kept,) = tmp_path.glob("data.lost-*Z")
        assert (kept / "raft").is_dir()


def test_data_that_nobody_opens_are_put_aside_with_their_log(tmp_path: Path) -> None:
    for name in ("data/vault.db", "audit/audit.json"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(name)
    subprocess.run([str(PROGRAM), "aside", str(tmp_path)], check=True)
    kept = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*") if path.is_file()}
    log, data = sorted(kept)
    assert re.fullmatch(r"audit/audit-\d{8}T\d{6}Z\.json", log)
    assert re.fullmatch(r"data\.lost-\d{8}T\d{6}Z/vault\.db", data)
    assert [kept[log].read_text(), kept[data].read_text()] == ["audit/audit.json", "data/vault.db"]
    # There may be neither, where a run was killed right after this.
    subprocess.run([str(PROGRAM), "aside", str(tmp_path)], check=True)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(kept.values())
