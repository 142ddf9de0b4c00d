# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The overdue detector, with a time that the test chooses; and H4.d on a small estate."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    ages,
    alarm,
    bundles,
    h4_d,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.ages import (
    FOREVER,
    Credential,
    longest,
    moment,
    overdue,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.schedules import longest_gap

DAY = 86400.0
NOW = 1_800_000_000.0


def at(moment: float) -> str:
    """A time as the server writes it."""
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()


def credential(born: float | None, limit: float = 30 * DAY) -> Credential:
    return Credential("database password", "app", born, limit, "Vault")


@pytest.mark.parametrize(
    ("born", "late"),
    [
        (NOW, False),
        (NOW - 30 * DAY, False),
        (NOW - 30 * DAY - 1, True),
        (NOW + 60, False),
        (NOW + 2 * 3600, True),
        (None, True),
    ],
)
def test_what_is_older_than_its_limit_is_overdue_and_so_is_what_nobody_knows(
    born: float | None, late: bool
) -> None:
    assert bool(overdue([credential(born)], NOW)) is late


def test_it_says_what_it_knows() -> None:
    assert credential(NOW - 31 * DAY).describe(NOW) == (
        "database password app is 31d old (Vault), and may be 30d"
    )
    assert credential(None).describe(NOW) == (
        "nobody knows how old database password app is (Vault)"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-26T17:30:51.322424997Z", 1795714251.322424),
        ("2026-11-26T18:30:51+01:00", 1795714251.0),
        ("0001-01-01T00:00:00Z", None),
        ("2026-11-26T17:30:51", None),
        ("yesterday", None),
        (None, None),
        (1795714251, None),
    ],
)
def test_times_as_the_server_writes_them(text: object, expected: float | None) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ({"token_max_ttl": 14400}, 14400),
        ({"token_max_ttl": 0}, 768 * 3600),
        ({"token_max_ttl": 14400, "token_explicit_max_ttl": 60}, 60),
        ({"token_max_ttl": 14400, "token_period": 3600}, FOREVER),
        ({"token_period": 3600, "token_explicit_max_ttl": 7200}, 7200),
        ({"token_max_ttl": 9e9}, 768 * 3600),
    ],
)
def test_how_old_a_token_can_get(role: dict[str, Any], expected: float) -> None:
    assert longest(role, 768 * 3600) == expected


# H4.d


RAN = {"ExecMainExitTimestamp": "Thu 2027-01-14 00:12:00 UTC"}


class Leaf(SimpleNamespace):
    """A certificate by its two dates."""


@pytest.fixture
def timely(stage: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An estate in which nothing is overdue; its parts can be spoilt."""
    stage.dates = dict.fromkeys((c["name"] for c in stage.estate["certificates"]), (-DAY, 89 * DAY))
    stage.rotated = {"tamshai-app": "2027-01-10T00:00:00.123456789Z"}
    stage.period = {"rotation_period": 27 * DAY}
    stage.postgres = [Credential("database password", "app", NOW - DAY, DAY * 30, "PostgreSQL")]
    stage.host = {
        "overdue": [
            {"kind": "database password", "name": row["static_role"]}
            for row in stage.estate["logins"]
        ],
        "watched": 3,
    }
    monkeypatch.setattr(h4_d.time, "time", lambda: NOW)
    by_path = {f"{c['path']}/current": c["name"] for c in stage.estate["certificates"]}
    monkeypatch.setattr(bundles, "leaf", lambda path: stage.dates[by_path[str(path)]])
    for name, index in (("not_before", 0), ("not_after", 1)):
        monkeypatch.setattr(
            bundles, name, lambda leaf, i=index: SimpleNamespace(timestamp=lambda: NOW + leaf[i])
        )
    monkeypatch.setattr(h4_d, "postgres", lambda _login, _limit: stage.postgres)
    program = f"{stage.estate['root']}/bin/tamshai-overdue"
    stage.start = f"{{ path={program} ; argv[]={program} ; ignore_errors=no ; pid=1 }}"
    stage.next = "Fri 2027-01-15 09:00:00 UTC"
    stage.units = {**RAN, "ActiveState": "active", "Result": "success"}
    always = {"NextElapseUSecRealtime": "next", "ExecStart": "start"}
    monkeypatch.setattr(
        alarm,
        "_unit",
        lambda *_words: stage.units | {key: getattr(stage, name) for key, name in always.items()},
    )
    monkeypatch.setattr(
        alarm.subprocess,
        "run",
        lambda *_words, **_options: SimpleNamespace(stdout=json.dumps(stage.host), stderr=""),
    )
    vault = stage.vault
    for about in vault.tokens.values():
        about |= {"creation_time": NOW - 3600, "expire_time": at(NOW + about["ttl"])}
    listing, request = vault.listing, vault.request

    def list_more(path: str, token: str = "") -> list[str]:
        found = {
            "database/static-roles": list(stage.rotated),
            "auth/cert/certs": ["host"],
        }.get(path)
        return listing(path, token) if found is None else found

    def answer_more(method: str, path: str, *words: Any, **options: Any) -> Any:
        known = {
            "sys/mounts": {"database/": {"type": "database"}, "tamshai/": {"type": "kv"}},
            "sys/auth": {"approle/": {"config": {}}, "cert/": {"config": {}}},
            "auth/cert/certs/host": {"token_max_ttl": 120},
        }
        if path.startswith("database/static-roles/"):
            when = stage.rotated[path.rpartition("/")[2]]
            known[path] = {
                "username": "tamshai_app",
                "last_vault_rotation": when,
                **stage.period,
            }
        if path in known:
            return h4_answer(200, {"data": known[path]})
        return request(method, path, *words, **options)

    vault.listing, vault.request = list_more, answer_more
    return stage


def h4_answer(status: int, body: dict[str, Any]) -> Any:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import Answer

    return Answer(status, body)


def told(stage: Any) -> tuple[str, str]:
    result = stage.prove("H4.d")
    return result["status"], result["reason"]


def test_a_young_estate_passes_and_says_what_it_looked_at(timely: Any) -> None:
    result = timely.prove("H4.d")
    assert (result["status"], result["reason"]) == ("pass", "")
    evidence = result["evidence"]
    assert evidence["looked_at"] == {
        "database password (Vault)": 1,
        "database password (PostgreSQL)": 1,
        "token (Vault)": 2,
    }
    assert evidence["could_give"]["auth/approle/role/mcp-hr"] == {"token": "4h", "SecretID": "10m"}
    assert evidence["alarm"]["would_see"] == ["database password"]


def test_a_password_by_the_vault(timely: Any) -> None:
    timely.rotated["tamshai-app"] = "2026-12-01T00:00:00Z"
    status, reason = told(timely)
    assert status == "fail"
    assert reason.startswith("database password tamshai_app (static role tamshai-app) is 45d")


def test_a_password_that_was_never_rotated(timely: Any) -> None:
    timely.rotated["tamshai-app"] = None
    assert told(timely) == (
        "fail",
        "nobody knows how old database password tamshai_app (static role tamshai-app) is (Vault)",
    )


def test_a_password_by_the_database(timely: Any) -> None:
    timely.postgres = [credential(None), credential(NOW - 31 * DAY)]
    status, reason = told(timely)
    assert (status, reason.count("database password app")) == ("fail", 2)


def test_a_token(timely: Any) -> None:
    timely.vault.tokens["acc-1"]["creation_time"] = NOW - 40 * DAY
    status, reason = told(timely)
    assert (status, "acc-1 is 40d old" in reason) == ("fail", True)


@pytest.mark.parametrize(
    ("about", "age"),
    [
        ({"period": 3600}, "for ever"),
        ({"ttl": 0, "expire_time": None}, "for ever"),
        ({"expire_time": at(NOW + 30 * DAY)}, "30d1h"),
        ({"period": 3600, "explicit_max_ttl": 7200}, ""),
        ({"expire_time": at(NOW + 29 * DAY)}, ""),
        # In its last second: the server counts whole ones.
        ({"ttl": 0, "expire_time": at(NOW + 0.7)}, ""),
        ({"ttl": 0, "expire_time": None, "policies": ["root"]}, ""),
    ],
)
def test_a_token_that_could_get_old(timely: Any, about: dict[str, Any], age: str) -> None:
    timely.vault.tokens["acc-1"] |= {"display_name": "x", **about}
    reason = f"token x acc-1 could get as old as {age}" if age else ""
    assert told(timely) == ("fail" if age else "pass", reason)


@pytest.mark.parametrize(
    ("period", "age"),
    [
        ({"rotation_period": 87600 * 3600}, "3650d"),
        ({}, "for ever"),
        ({"rotation_schedule": "0 0 * * 0"}, ""),
        ({"rotation_schedule": "0 0 * * 0", "rotation_window": 86400}, ""),
        ({"rotation_schedule": "0 0 * * 0", "rotation_window": 30 * 86400}, "37d"),
        ({"rotation_schedule": "0 0 1 1 *"}, "366d"),
        ({"rotation_schedule": "0 0 1 * *"}, "31d"),
        ({"rotation_schedule": "whenever"}, "for ever"),
    ],
)
def test_a_password_that_could_get_old(timely: Any, period: dict[str, Any], age: str) -> None:
    timely.period = period
    reason = f"the password of database/static-roles/tamshai-app could get as old as {age}"
    assert told(timely) == ("fail" if age else "pass", reason if age else "")


@pytest.mark.parametrize(
    ("schedule", "gap"),
    [
        ("* * * * *", 60),
        ("*/15 * * * *", 900),
        ("0,10 * * * *", 3000),
        ("0 */7 * * *", 7 * 3600),
        ("30 9-17 * * *", 16 * 3600),
        ("0 0 * * 0", 7 * DAY),
        ("0 0 * * MON-fri", 3 * DAY),
        ("0 0 ? * sun,wed", 4 * DAY),
        ("0 0 1,15 * *", 17 * DAY),
        ("0 0 1/10 * *", 10 * DAY),
        ("0 0 31 * *", 61 * DAY),
        ("0 0 1 jan,jul *", 184 * DAY),
        ("0 0 29 2 *", 1461 * DAY),
        # Either the first of the month or a Sunday; a date in steps is a date that is given.
        ("0 0 1 * 0", 7 * DAY),
        ("0 0 */20 * 0", 7 * DAY),
        # Both: the star says nothing about the day.
        ("0 0 1 * */1", 31 * DAY),
        ("0 0 *,1 * 0", 7 * DAY),
        ("0 0 * * */6", 6 * DAY),
        ("0 0 30 2 *", ages.FOREVER),
        ("", ages.FOREVER),
        ("@yearly", ages.FOREVER),
        ("0 0 * *", ages.FOREVER),
        ("0 0 * * * *", ages.FOREVER),
        ("60 0 * * *", ages.FOREVER),
        ("0 0 * * 7", ages.FOREVER),
        ("0 5-3 * * *", ages.FOREVER),
        ("*/0 * * * *", ages.FOREVER),
        ("0 0 L * *", ages.FOREVER),
        ("0 0 1, * *", ages.FOREVER),
        ("-1 0 * * *", ages.FOREVER),
    ],
)
def test_how_seldom_a_schedule_comes_round(schedule: str, gap: float) -> None:
    assert longest_gap(schedule) == gap


def test_a_secret_id_that_nobody_fetched(timely: Any) -> None:
    timely.vault.alive["mcp-hr"] = ["fresh"]
    status, reason = told(timely)
    assert (status, "SecretID mcp-hr fresh" in reason) == ("fail", True)


@pytest.mark.parametrize(
    ("key", "value", "saying"),
    [
        ("secret_id_ttl", 0, "could give a SecretID that lives for ever"),
        ("token_max_ttl", 0, "could give a token that lives 32d"),
        ("token_period", 60, "could give a token that lives for ever"),
        ("bind_secret_id", False, "could give a RoleID that opens it alone that lives for ever"),
    ],
)
def test_an_approle_that_could_let_one_get_old(
    timely: Any, key: str, value: int, saying: str
) -> None:
    timely.vault.roles["mcp-hr"][key] = value
    status, reason = told(timely)
    assert (status, reason) == ("fail", f"auth/approle/role/mcp-hr {saying}")


def test_certificates_may_be_older_and_may_not_have_run_out(timely: Any) -> None:
    timely.dates["mcp-hr"] = (-60 * DAY, 30 * DAY)
    result = timely.prove("H4.d")
    assert result["status"] == "pass"
    assert result["evidence"]["certificates"]["older_than_the_limit"] == ["mcp-hr"]
    timely.dates["mcp-hr"] = (-91 * DAY, -1)
    assert told(timely) == ("fail", "certificate mcp-hr has run out")


def test_a_host_that_would_say_nothing(timely: Any) -> None:
    both = list(timely.host["overdue"])
    timely.host["overdue"] = []
    assert "it would not see: tamshai-app, tamshai-app-b" in told(timely)[1]
    timely.host["overdue"] = both[:1]
    assert told(timely)[1].endswith("it would not see: tamshai-app-b")
    timely.host["overdue"] = both
    timely.units = {**RAN, "ActiveState": "inactive", "Result": "success"}
    assert told(timely) == ("fail", "the host's overdue timer does not run")
    timely.units = {**RAN, "ActiveState": "active", "Result": "exit-code", "ExecMainStatus": "78"}
    assert told(timely) == ("fail", "its last run ended with 78")
    # A traceback.
    timely.units = {**RAN, "ActiveState": "active", "Result": "exit-code", "ExecMainStatus": "1"}
    assert told(timely) == ("fail", "its last run ended with 1")


@pytest.mark.parametrize("when", ["Mon 2027-01-18 09:00:00 UTC", "", "n/a"])
def test_a_detector_that_does_not_run_often_enough(timely: Any, when: str) -> None:
    timely.next = when
    assert told(timely) == ("fail", "the host's overdue timer does not run every day")


@pytest.mark.parametrize("command", ["/bin/true", "{} --settings /tmp/other.json", ""])
def test_a_unit_that_runs_something_else(timely: Any, command: str) -> None:
    program = f"{timely.estate['root']}/bin/tamshai-overdue"
    whole = command.format(program)
    timely.start = f"{{ path={whole.split()[0]} ; argv[]={whole} ; }}" if whole else ""
    status, reason = told(timely)
    assert (status, f"not {program}" in reason) == ("fail", True)


def test_a_host_that_has_raised_the_alarm_in_time(timely: Any) -> None:
    timely.units = {**RAN, "ActiveState": "active", "Result": "exit-code", "ExecMainStatus": "3"}
    assert told(timely) == ("pass", "")
    # What was late is not late any more; what is, is said by the proof itself.
    timely.rotated["tamshai-app"] = "2026-12-01T00:00:00Z"
    assert told(timely)[0] == "fail"


@pytest.mark.parametrize(
    ("ends", "expected"),
    [("success", ("pass", "")), ("signal", ("fail", "its last run ended with 11"))],
)
def test_a_detector_that_has_not_run_yet_runs_as_it_will_each_night(
    timely: Any, monkeypatch: pytest.MonkeyPatch, ends: str, expected: tuple[str, str]
) -> None:
    timely.units = {"ActiveState": "active", "Result": "success", "ExecMainExitTimestamp": ""}
    started: list[str] = []

    def start(unit: str) -> None:
        started.append(unit)
        timely.units |= {**RAN, "Result": ends, "ExecMainStatus": "11"}

    monkeypatch.setattr(alarm, "_start", start)
    assert told(timely) == expected
    assert started == ["tamshai-overdue.service"]


def test_a_detector_that_sees_nothing_fails_its_own_control(
    timely: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ages, "overdue", lambda _items, _now: [])
    assert "the detector saw [] of its own controls" in told(timely)[1]


def test_a_limit_of_the_callers(timely: Any) -> None:
    object.__setattr__(timely.site.inputs, "credential_limit", 60.0)
    status, reason = told(timely)
    assert status == "fail"
    assert "token" in reason
    assert Path(timely.estate["root"]).name == "opt"
