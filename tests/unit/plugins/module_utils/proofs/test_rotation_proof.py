# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""H4.c: what is seen while database logins are rotated under load, and how it is judged."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import planted
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    hop,
    load,
    rotation,
    site,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Engine
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Once
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import Answer
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

A, B = "tamshai_app", "tamshai_app_b"
DAY = 86400


class World:
    """Vault, PostgreSQL, agent and service as one state; a test breaks one of its parts."""

    def __init__(self, stage: Any) -> None:
        self.stage = stage
        self.passwords = {A: "first-of-a", B: "first-of-b"}
        self.rotated = {A: dt.datetime(2026, 11, 1, tzinfo=dt.UTC)}
        self.rotated[B] = self.rotated[A] + dt.timedelta(days=13)
        self.periods = {A: 27 * DAY, B: 27 * DAY}
        self.bypass: set[str] = set()
        self.marked: set[str] = set()
        self.rotates = self.clears = self.delivers = self.reloads = True
        self.overlap = self.refuses = self.reaches = True
        self.commits = 0
        self.failures: list[str] = []
        self.log = "LOG:  connection authorized\n"
        self.session = B
        self.restarts: list[str] = []
        self.write(B)

    def write(self, login: str) -> None:
        agent = next(a for a in self.stage.estate["agents"] if a["service"] == "mcp-hr")
        values = {"POSTGRES_USER": login, "POSTGRES_PASSWORD": self.passwords[login]}
        path = Path(agent["run"]) / "secrets.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))

    def request(self, method: str, path: str, body: Any = None, *, token: str = "") -> Answer:
        assert token == "operator-token"
        kind, name = path.removeprefix("database/").split("/")
        login = name.replace("-", "_")
        if kind == "rotate-role":
            if not self.rotates:
                return Answer(500, {"errors": ["permission denied for function set_password"]})
            self.passwords[login] = f"{self.passwords[login]}+"
            self.rotated[login] = max(self.rotated.values()) + dt.timedelta(seconds=4)
            if self.clears:
                self.bypass.discard(login)
        elif method == "PUT":
            assert body.keys() == {"db_name", "username", "rotation_period"}
            self.periods[login] = body["rotation_period"]
        data = {
            "db_name": "c",
            "username": login,
            "rotation_period": self.periods[login],
            "last_vault_rotation": self.rotated[login].isoformat(),
        }
        return Answer(200, {"data": data})

    def sql(self, statement: str) -> list[tuple[str, str]]:
        for name in (A, B):
            if statement == planted.plant(name):
                self.bypass.add(name)
                self.marked.add(name)
                return []
        if statement == rotation._COMMITS:
            self.commits += 10_000 if self.reaches else 1
            return [("tamshai_hr", str(self.commits)), ("postgres", "9")]
        if statement == planted.FIND:
            return [(name, str(name in self.bypass).lower()) for name in sorted(self.marked)]
        if statement == planted.TAKE_BACK:
            self.bypass -= self.marked
            self.marked.clear()
            return []
        if statement == rotation._SESSIONS:
            return [(self.session, "2"), ("vault_rotator", "1")]
        if statement == rotation._VERIFIERS:
            return list(self.passwords.items())
        return [
            (name, f"NOSUPERUSER {'' if name in self.bypass else 'NO'}BYPASSRLS") for name in (A, B)
        ]

    def restart(self, unit: str) -> None:
        self.restarts.append(unit)
        if self.delivers:
            newest = max(self.rotated, key=lambda login: self.rotated[login])
            self.write(newest)
            if self.reloads:
                self.session = newest

    def log_in(self, _pair: Any, login: str, password: str) -> hop.Hop:
        old = password != self.passwords[login]
        if (old and self.refuses) or (not old and not self.overlap):
            return hop.Hop(hop.REFUSED, "28P01 password authentication failed")
        return hop.Hop(hop.ADMITTED, "logged in")


class Requests:
    """A load that has made more requests each time it is looked at."""

    def __init__(self, world: World, tool: str) -> None:
        self.world, self.tool, self._done = world, tool, 0

    def __enter__(self) -> Requests:
        return self

    def __exit__(self, *_unused: object) -> None:
        pass

    @property
    def done(self) -> int:
        self._done += rotation._REQUESTS
        return self._done

    @property
    def failures(self) -> Counter[str]:
        return Counter(self.world.failures)

    def evidence(self) -> dict[str, Any]:
        return {"requests": self._done}


@pytest.fixture
def world(stage: Any, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(stage)
    stage.site.vault = Once(lambda: made)
    stage.site.operator_token = Once(lambda: "operator-token")
    monkeypatch.setattr(stage.site.engine, "log", lambda *_a, **_k: made.log, raising=False)
    monkeypatch.setattr(rotation._Rotation, "_doors", lambda _self: iter([(made, "hr_whoami")]))
    monkeypatch.setattr(rotation._Rotation, "_sql", lambda _self, text: made.sql(text))
    monkeypatch.setattr(rotation._Rotation, "_log_in", lambda _s, *a: made.log_in(*a))
    monkeypatch.setattr(rotation, "_restart", made.restart)
    monkeypatch.setattr(rotation, "_SWITCH", 0.05)
    monkeypatch.setattr(load, "Load", Requests)
    return made


def judge(world: World) -> tuple[str, str]:
    """What the proof says of what is seen."""
    seen = rotation.observe(world.stage.site)
    world.stage.site.inputs = site.Inputs(world.stage.estate, observed={"rotation": seen})
    result = world.stage.prove("H4.c")
    return result["status"], result["reason"]


def test_each_login_is_rotated_while_the_other_one_is_used(world: World) -> None:
    seen = rotation.observe(world.stage.site)
    assert seen["faults"] == []
    turns = [(row["rotated"], row["while_used"]) for row in seen["evidence"]["turns"]]
    assert turns == [(A, B), (B, A)]
    assert world.restarts == ["tamshai-agent@mcp-hr.service"] * 2
    assert judge(world) == ("pass", "")
    assert world.bypass == world.marked == set()
    # The first one is now the older by moments: it catches up.
    assert world.periods == {A: 27 * DAY * 3 // 4, B: 27 * DAY}


@pytest.mark.parametrize(
    ("spoil", "saying", "used"),
    [
        ({"rotates": False}, "database/rotate-role/tamshai-app: 500", B),
        ({"clears": False}, "tamshai_app is NOSUPERUSER BYPASSRLS after a rotation", B),
        ({"delivers": False}, "['mcp-hr'] to be given tamshai_app", B),
        ({"reloads": False}, "there are sessions of {'tamshai_app_b'", A),
        ({"overlap": False}, "the password of tamshai_app_b was gone when its users left it", A),
        ({"refuses": False}, "the old password of tamshai_app_b is not refused", B),
        ({"failures": ["HTTP 500"]}, "requests failed: HTTP 500", B),
        ({"reaches": False}, "requests 1 at most reached the database", B),
        ({"log": 'FATAL:  role "tamshai_app" ...'}, "the server refused 1 logins", B),
        ({"log": ""}, "log says nothing of this time", B),
        ({"bypass": {A}}, "tamshai_app is NOSUPERUSER BYPASSRLS before", B),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_broken_is_seen_and_the_login_in_use_stays_good(
    world: World, spoil: dict[str, Any], saying: str, used: str
) -> None:
    for name, value in spoil.items():
        setattr(world, name, value)
    status, reason = judge(world)
    assert status == "fail"
    assert saying in reason
    assert world.bypass <= spoil.get("bypass", set())
    agent = next(a for a in world.stage.estate["agents"] if a["service"] == "mcp-hr")
    held = json.loads((Path(agent["run"]) / "secrets.json").read_text())
    # Nobody is left with a password that is not good any more.
    assert held == {"POSTGRES_USER": used, "POSTGRES_PASSWORD": world.passwords[used]}


def test_what_a_killed_proof_has_left_is_taken_back_first(world: World) -> None:
    world.bypass, world.marked = {A}, {A}
    seen = rotation.observe(world.stage.site)
    assert seen["faults"] == []
    assert seen["evidence"]["left_by_a_killed_run"] == [A]
    assert world.bypass == world.marked == set()


def test_a_pair_that_was_rotated_once_keeps_its_turns(world: World) -> None:
    # The one that was older had the shorter period: in use now, it would be replaced first.
    world.reloads = False
    world.periods = {A: 27 * DAY * 3 // 4, B: 27 * DAY}
    seen = rotation.observe(world.stage.site)
    assert [row["rotated"] for row in seen["evidence"]["turns"]] == [A]
    due = {name: world.rotated[name] + dt.timedelta(seconds=world.periods[name]) for name in (A, B)}
    assert due[B] < due[A]


def test_an_estate_of_single_logins_has_nothing_to_see(world: World) -> None:
    world.stage.estate["logins"] = [world.stage.estate["logins"][0]]
    assert judge(world) == ("not run", "no two database logins take turns in this estate")


def test_nobody_allowed_it(stage: Any) -> None:
    result = stage.prove("H4.c")
    assert result["status"] == "not run"
    assert "attest_rotation=true" in result["reason"]


def test_what_was_seen_in_part_passes_nothing(stage: Any) -> None:
    seen = {"faults": [], "evidence": {"before": {A: "x"}, "turns": [{}]}}
    stage.site.inputs = site.Inputs(stage.estate, observed={"rotation": seen})
    result = stage.prove("H4.c")
    assert result["status"] == "fail"
    assert result["reason"] == "nothing was seen of load, after, old_passwords"


def test_a_log_is_read_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def answer(_method: str, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        asked.append({"path": path, **query})
        frames = [(1, b"LOG:  one\n"), (2, b"FATAL:  tw\xc3\xb6\n")]
        body = b"".join(bytes([n, 0, 0, 0]) + len(t).to_bytes(4, "big") + t for n, t in frames)
        return (200, body) if "mine" in path else (404, b"{}")

    engine = Engine()
    monkeypatch.setattr(engine, "_request", answer)
    assert engine.log("mine", since=12.5).splitlines() == ["LOG:  one", "FATAL:  twö"]
    assert asked[0]["since"] == "12.500000000"
    with pytest.raises(PhoenixError, match="answered 404"):
        engine.log("none", since=0)


# The load itself.


class Link:
    """A connection that answers from a list; an exception in it is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.status = 200

    def request(self, _method: str, _path: str, body: str, _headers: Any) -> None:
        self.asked = json.loads(body)

    def getresponse(self) -> Link:
        return self

    def read(self) -> bytes:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        self.status, document = answer
        return json.dumps(document).encode() if document is not None else b"not JSON"

    def close(self) -> None:
        pass


GOOD = (200, {"result": {"structuredContent": {}}})


@pytest.mark.parametrize(
    "answer",
    [
        (500, {"result": {}}),
        (200, {"error": {"code": -32603}}),
        (200, {"result": {"isError": True, "content": [{"text": "the database is away"}]}}),
        (200, None),
        (200, ["no object"]),
    ],
)
def test_only_a_result_is_a_good_answer(answer: Any) -> None:
    with pytest.raises(PhoenixError, match=r"^HTTP \d+ to tools/call"):
        load.ask(Link(answer), "tools/call")  # type: ignore[arg-type]


def test_each_bad_answer_is_counted_and_a_broken_connection_is_made_anew() -> None:
    class Door:
        fqdn = "mcp-gateway.tamshai.internal"
        made = 0

        def link(self) -> Link:
            self.made += 1
            return Link(GOOD, ConnectionResetError("gone"), GOOD) if self.made == 1 else Link(GOOD)

    door = Door()
    with load.Load(door, "hr_whoami", callers=1) as made:  # type: ignore[arg-type]
        wait_until(lambda: made.done >= 5, timeout=10, what="five requests")
    seen = made.evidence()
    assert (seen["failed"], seen["failures"]) == (1, {"ConnectionResetError: gone": 1})
    assert door.made == 2


def test_a_tool_that_writes_or_wants_to_know_more_is_not_called() -> None:
    reads = {"annotations": {"readOnlyHint": True}}
    tools = [
        {"name": "hr_fire", "annotations": {"readOnlyHint": False}},
        {"name": "hr_get", **reads, "inputSchema": {"required": ["id"]}},
        {"name": "pay_list", **reads},
        {"name": "hr_list", **reads, "inputSchema": {"required": []}},
    ]

    class Door:
        fqdn = "g"

        def link(self) -> Link:
            return Link((200, {"result": {"tools": tools}}))

    assert load.harmless_tool(Door(), "hr_") == "hr_list"  # type: ignore[arg-type]
    with pytest.raises(PhoenixError, match="no tool tax_"):
        load.harmless_tool(Door(), "tax_")  # type: ignore[arg-type]
