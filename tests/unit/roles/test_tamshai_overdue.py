# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""tamshai-overdue where something is old, unknown, broken or away."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_services_programs import load

program = load("tamshai-overdue")
NOW = 1_800_000_000.0
DAY = 86400


def settings(folder: Path, **changes: Any) -> list[str]:
    values = {
        "url": "https://127.0.0.1:1",
        "ca": str(folder / "none"),
        "cert": str(folder / "none"),
        "key": str(folder / "none"),
        "auth_role": "host",
        "limit": 30 * DAY,
        "wait": 0,
        "database_mounts": ["database"],
        "certs": str(folder),
        "agents": [],
        **changes,
    }
    (folder / "overdue.json").write_text(json.dumps(values))
    return ["--settings", str(folder / "overdue.json")]


def test_old_and_unknown_are_overdue_and_young_is_not() -> None:
    born = {"young": NOW - DAY, "old": NOW - 31 * DAY, "unknown": None, "tomorrow": NOW + DAY}
    items = [program.Credential("x", name, when, 30 * DAY) for name, when in born.items()]
    assert [(i["name"], i["age"]) for i in program.overdue(items, NOW)] == [
        ("old", 31 * DAY),
        ("unknown", "unknown"),
        ("tomorrow", "unknown"),
    ]


def test_it_says_in_the_journal_what_is_overdue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[int, str]] = []
    monkeypatch.setattr(program.syslog, "syslog", lambda level, line: said.append((level, line)))
    late = program.Credential("database password", "app", time.time() - 31 * DAY, 30 * DAY)
    monkeypatch.setattr(program.Vault, "passwords", lambda _self, _limit: [late])
    assert program.main(settings(tmp_path)) == program.OVERDUE
    assert said[0][0] == program.syslog.LOG_ALERT
    assert said[0][1].startswith('event=credentialOverdue kind="database password" name=app age=')
    assert said[1] == (program.syslog.LOG_INFO, "event=credentialsChecked watched=1 overdue=1")


def test_a_vault_that_is_away_is_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(settings(tmp_path)) == program.TEMPFAIL
    assert "event=credentialsUnknown" in capsys.readouterr().err


def test_a_vault_that_is_away_hides_nothing_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[int, str]] = []
    monkeypatch.setattr(program.syslog, "syslog", lambda level, line: said.append((level, line)))
    # Such as the Vault's own, which is why nobody can ask it.
    ended = program.Credential("certificate", "vault", time.time() - 91 * DAY, 90 * DAY)
    monkeypatch.setattr(program, "certificates", lambda _settings: [ended])
    assert program.main(settings(tmp_path)) == program.TEMPFAIL
    assert [level for level, _line in said] == [program.syslog.LOG_ERR, program.syslog.LOG_ALERT]
    assert said[1][1].startswith("event=credentialOverdue kind=certificate name=vault ")


def test_a_password_that_vault_does_not_keep_is_of_unknown_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = program.Credential("database password", "app", time.time(), 30 * DAY)
    monkeypatch.setattr(program.Vault, "passwords", lambda _self, _limit: [there])
    arguments = [*settings(tmp_path, passwords=["app", "app-b"]), "--print"]
    assert program.main(arguments) == program.OVERDUE
    found = json.loads(capsys.readouterr().out)
    assert [(item["name"], item["age"]) for item in found["overdue"]] == [("app-b", "unknown")]
    assert found["watched"] == 2


def test_a_unit_that_cannot_be_looked_at_in_time_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def busy(*words: Any, **_options: Any) -> None:
        raise program.subprocess.TimeoutExpired(words, 10)

    monkeypatch.setattr(program.subprocess, "run", busy)
    agent = {"service": "hr", "unit": "u", "wrap_file": "/none", "state_file": "/none"}
    assert program.main(settings(tmp_path, agents=[agent])) == program.TEMPFAIL
    assert "systemctl show u" in capsys.readouterr().err


def test_broken_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken").write_text("{")
    assert program.main(["--settings", str(tmp_path / "broken")]) == program.CONFIG
    assert program.main(["--settings", str(tmp_path / "absent")]) == program.CONFIG
    assert capsys.readouterr().err.count("event=credentialsUnknown") == 2


def test_agents_and_wraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrap").write_text("x")
    (tmp_path / "state").write_text(json.dumps({"issued": NOW}))
    agent = {
        "service": "hr",
        "unit": "u",
        "wrap_file": str(tmp_path / "wrap"),
        "state_file": str(tmp_path / "state"),
    }
    shown = "MainPID=7\nExecMainStartTimestampMonotonic=1000000\n"
    monkeypatch.setattr(
        program.subprocess,
        "run",
        lambda *_words, **_options: SimpleNamespace(stdout=shown, stderr="", returncode=0),
    )
    token, wrap = program.agents({"agents": [agent]}, 30 * DAY)
    assert (token.kind, wrap.kind, wrap.born) == ("agent token", "wrapped SecretID", NOW)
    assert abs(time.time() - token.born - time.clock_gettime(time.CLOCK_MONOTONIC) + 1) < 1
    (tmp_path / "state").write_text("{}")
    assert program.agents({"agents": [agent]}, 30 * DAY)[1].born is None
    (tmp_path / "wrap").unlink()
    shown = ""
    with pytest.raises(program.UnknownError):
        program.agents({"agents": [agent]}, 30 * DAY)


@pytest.mark.parametrize(
    ("active", "enabled", "job", "seconds", "late"),
    [
        # Stopped by a run that was killed, with nobody to start it.
        ("inactive", "enabled", "", 1800, True),
        ("failed", "enabled", "", 1800, True),
        ("inactive", "", "", 1800, True),
        # A run is at it.
        ("inactive", "enabled", "", 60, False),
        # Its start waits for something else, as at a boot.
        ("inactive", "enabled", "111", 1800, False),
        # Between two starts: that Vault is sealed is said as such.
        ("activating", "enabled", "", 1800, False),
        ("deactivating", "enabled", "", 1800, False),
        # Retired, or stopped by somebody on purpose.
        ("inactive", "disabled", "", 1800, False),
        ("inactive", "masked", "", 1800, False),
        ("inactive", "masked-runtime", "", 1800, False),
    ],
)
def test_an_agent_that_nobody_starts_is_an_alarm(
    active: str,
    enabled: str,
    job: str,
    seconds: float,
    late: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = time.clock_gettime(time.CLOCK_MONOTONIC) - seconds
    shown = (
        f"ActiveState={active}\nUnitFileState={enabled}\nJob={job}\nMainPID=0\n"
        f"ExecMainStartTimestampMonotonic=1000000\n"
        f"InactiveEnterTimestampMonotonic={int(ended * 1e6)}\n"
    )
    monkeypatch.setattr(
        program.subprocess,
        "run",
        lambda *_words, **_options: SimpleNamespace(stdout=shown, stderr="", returncode=0),
    )
    agent = {"service": "hr", "unit": "u", "wrap_file": "/none", "state_file": "/none"}
    found = program.overdue(program.agents({"agents": [agent]}, 30 * DAY), time.time())
    assert [(item["kind"], item["name"]) for item in found] == (
        [("stopped agent", "hr")] if late else []
    )
    if late:
        assert abs(found[0]["age"] - seconds) < 10


@pytest.mark.parametrize(("up", "late"), [(60, False), (3600, True)])
def test_an_agent_that_was_not_started_since_the_boot(
    up: float, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = (
        "ActiveState=inactive\nUnitFileState=enabled\nMainPID=0\n"
        "ExecMainStartTimestampMonotonic=0\nInactiveEnterTimestampMonotonic=0\n"
    )
    monkeypatch.setattr(
        program.subprocess,
        "run",
        lambda *_words, **_options: SimpleNamespace(stdout=shown, stderr="", returncode=0),
    )
    monkeypatch.setattr(program.time, "clock_gettime", lambda _clock: up)
    agent = {"service": "hr", "unit": "u", "wrap_file": "/none", "state_file": "/none"}
    found = program.overdue(program.agents({"agents": [agent]}, 30 * DAY), time.time())
    assert bool(found) is late
