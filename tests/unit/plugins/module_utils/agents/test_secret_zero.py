# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decisions of the bootstrap, with a server and a systemd that only pretend."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents import (
    secret_zero as implementation,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.secret_zero import (
    Agent,
    SecretZero,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors

CANARY = "canary-a'b\"c$d`e"


class Reply:
    def __init__(self, status: int) -> None:
        self.status = status


class FakeServer:
    """Knows accessors that live and wraps that are unspent."""

    def __init__(self) -> None:
        self.accessors: dict[str, list[str]] = {}
        self.wraps: dict[str, str] = {}
        self.issued = 0
        self.unwrapped = False
        self.destroyed: list[str] = []
        self.destroy_error: Exception | None = None

    def keys(self, path: str) -> list[str]:
        return list(self.accessors.get(path, []))

    def write(
        self,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        wrap_ttl: str | int | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        if path.endswith("-accessor/destroy"):
            if self.destroy_error:
                raise self.destroy_error
            accessor = (data or {})["secret_id_accessor"]
            self.destroyed.append(accessor)
            for alive in self.accessors.values():
                if accessor in alive:
                    alive.remove(accessor)
            return {}
        assert not repeatable, "a SecretID must not be asked for twice"
        self.issued += 1
        accessor, token = f"accessor-{self.issued}", f"s.wrapping-token-{self.issued}"
        self.accessors.setdefault(path, []).append(accessor)
        self.wraps[token] = path
        if self.unwrapped:
            return {"data": {"secret_id": CANARY}}
        info = {"token": token, "creation_path": path, "wrapped_accessor": accessor}
        return {"wrap_info": {**info, "ttl": wrap_ttl}}

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        authenticated: bool = True,
    ) -> Reply:
        if path == "sys/wrapping/lookup":
            return Reply(200 if (body or {})["token"] in self.wraps else 400)
        place = path.removesuffix("-accessor/lookup")
        found = (body or {})["secret_id_accessor"] in self.accessors.get(place, [])
        return Reply(200 if found else 404)

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]:
        return [function(item) for item in items]


class Host:
    """Units and files of one agent."""

    def __init__(self, folder: Path, server: FakeServer) -> None:
        for name in ("config", "unit.service"):
            (folder / name).write_text("x")
            os.utime(folder / name, (time.time() - 3600, time.time() - 3600))
        self.folder = folder
        self.server = server
        self.agent = Agent(
            service="hr",
            uid=os.geteuid(),
            gid=os.getegid(),
            approle="hr",
            unit="tamshai-agent@hr.service",
            config=str(folder / "config"),
            secrets_file=str(folder / "secrets.json"),
            wrap_file=str(folder / "wrap"),
            state_file=str(folder / "hr.json"),
            keys=("API_KEY", "CANARY"),
        )
        self.load, self.active, self.sub = "loaded", "inactive", "dead"
        self.entered = 0.0
        self.commands: list[list[str]] = []
        self.works = True
        self.spends = True
        self.later: list[Callable[[], Any]] = []
        """What happens after one look at the unit each."""
        self.at_stop: Callable[[], Any] = lambda: None

    def render(self, values: dict[str, str] | None = None, mode: int = 0o400) -> None:
        path = self.folder / "secrets.json"
        path.unlink(missing_ok=True)
        path.write_text(json.dumps(values or {"API_KEY": CANARY, "CANARY": CANARY}))
        path.chmod(mode)

    def well(self) -> None:
        self.active, self.sub, self.entered = "active", "running", time.monotonic() - 60
        self.render()

    @property
    def looks(self) -> int:
        return [command[0] for command in self.commands].count("show")

    def just_started(self, accessor: str = "") -> None:
        """An agent that has right secrets from before, and a SecretID of the host's."""
        self.well()
        path = self.folder / "secrets.json"
        os.utime(path, (time.time() - 60, time.time() - 60))
        self.entered = time.monotonic()
        if accessor:
            self.server.accessors[self.agent.secret_id_path] = [accessor]
            Path(self.agent.state_file).write_text(json.dumps({"accessor": accessor}))

    def run(self, command: Sequence[str], _timeout: float) -> tuple[int, str]:
        self.commands.append(list(command[1:]))
        if command[1] == "stop":
            self.at_stop()
        if command[1] == "show":
            if self.looks > 1 and self.later:
                self.later.pop(0)()
            return 0, (
                f"LoadState={self.load}\nActiveState={self.active}\nSubState={self.sub}\n"
                f"ActiveEnterTimestampMonotonic={int(self.entered * 1e6)}\n"
                f"FragmentPath={self.folder}/unit.service\nDropInPaths=\n"
            )
        if command[1] == "start" and self.works:
            self.well()
            self.entered = time.monotonic() - 0.1
            if self.spends:
                self.server.wraps.clear()
                self.server.accessors.clear()
            (self.folder / "wrap").unlink()
        return 0, ""

    def zero(self, timeout: float = 1) -> SecretZero:
        self.notes: list[tuple[int, str]] = []
        return SecretZero(
            [self.agent],
            self.server,
            wrap_ttl=300,
            timeout=timeout,
            run=self.run,
            journal=lambda level, text: self.notes.append((level, text)),
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path, FakeServer())


def reason(host: Host) -> str:
    plan = host.zero().read()
    return plan.changes[0].note if plan.changed else ""


def test_agent_that_is_well_is_left_alone(host: Host) -> None:
    host.well()
    zero = host.zero()
    assert not zero.read().changed
    zero.act()
    assert [command[0] for command in host.commands] == ["show"]
    assert host.server.issued == 0


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda h: setattr(h, "load", "not-found"), "unit tamshai-agent@hr.service is not-found"),
        (lambda h: setattr(h, "active", "failed"), "is failed"),
        (lambda h: setattr(h, "sub", "start-pre"), "is active (start-pre)"),
        (lambda h: Path(h.agent.config).unlink(), "has no configuration"),
        (lambda h: Path(h.agent.config).write_text("new"), "is older than"),
        (lambda h: (h.folder / "unit.service").write_text("new"), "unit.service"),
        (lambda h: Path(h.agent.secrets_file).unlink(), "has rendered no secrets"),
        (lambda h: h.render({"API_KEY": "x"}), "lack CANARY"),
        (lambda h: h.render({"API_KEY": "", "CANARY": "x"}), "lack API_KEY"),
        (lambda h: h.render({"API_KEY": "x", "CANARY": "x", "OLD": "x"}), "more than declared"),
        (lambda h: h.render(mode=0o440), "mode 0440"),
    ],
)
def test_what_makes_an_agent_need_a_credential(
    host: Host, spoil: Callable[[Host], Any], why: str
) -> None:
    host.well()
    spoil(host)
    assert why in reason(host)


def test_broken_file_is_no_crash(host: Host) -> None:
    host.well()
    path = Path(host.agent.secrets_file)
    path.unlink()
    path.write_text('{"API_KEY": "' + CANARY)
    assert reason(host) == f"{path} cannot be read: JSONDecodeError"
    path.write_text("[]")
    assert reason(host) == f"{path} is no object"


def test_bootstrap_stops_delivers_starts_and_proves(host: Host) -> None:
    zero = host.zero()
    zero.read()
    zero.act()
    verbs = [c[0] for c in host.commands if c[0] != "show"]
    assert verbs == ["stop", "reset-failed", "start"]
    assert zero.proofs == [
        {"service": "hr", "accessor": "accessor-1", "accessor_gone": True, "refused": True}
    ]
    state = json.loads(Path(host.agent.state_file).read_text())
    assert (state["accessor"], state["issuer"]) == ("accessor-1", "operator")
    assert Path(host.agent.state_file).stat().st_mode & 0o777 == 0o600
    assert "wrapped_accessor=accessor-1 issuer=operator" in host.notes[0][1]


def test_secret_id_that_is_still_alive_is_an_error(host: Host) -> None:
    host.spends = False
    zero = host.zero(timeout=0.3)
    zero.read()
    with pytest.raises(PhoenixError, match="it has not logged in yet"):
        zero.act()


def test_wrap_that_is_still_good_is_an_error(host: Host) -> None:
    """The agent had its SecretID from somewhere else, and what we issued can still be used."""
    zero = host.zero()
    zero.read()
    started = host.run

    def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
        result = started(command, timeout)
        if command[1] == "start":
            host.server.wraps["s.wrapping-token-1"] = host.agent.secret_id_path
        return result

    zero.run = run
    with pytest.raises(PhoenixError, match="can still be used after bootstrap") as caught:
        zero.act()
    assert caught.value.facts["proofs"][0]["refused"] is False


def test_answer_that_is_not_wrapped_is_refused_and_not_written_down(host: Host) -> None:
    host.server.unwrapped = True
    zero = host.zero()
    zero.read()
    with pytest.raises(PhoenixError, match="did not wrap") as caught:
        zero.act()
    assert CANARY not in str(caught.value)
    assert not Path(host.agent.wrap_file).exists()


@pytest.mark.parametrize("error", [errors.SealedError("sealed"), KeyboardInterrupt()])
def test_agents_are_started_again_where_nothing_can_be_issued(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """Nobody else would start them: a unit that was told to stop does not restart by itself."""
    host.works = False
    zero = host.zero()
    zero.read()

    def fail(*_words: Any, **_options: Any) -> None:
        raise error

    monkeypatch.setattr(host.server, "write", fail)
    with pytest.raises(type(error)):
        zero.act()
    assert [c for c in host.commands if c[0] != "show"] == [
        ["stop", host.agent.unit],
        ["start", "--no-block", host.agent.unit],
    ]


def test_a_start_that_fails_as_well_hides_nothing(host: Host) -> None:
    zero = host.zero()
    zero.read()
    works = host.run

    def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
        works(command, timeout) if command[1] not in ("stop", "start") else None
        return 1, f"no bus to {command[1]}"

    zero.run = run
    with pytest.raises(PhoenixError, match="systemctl stop ended with 1: no bus to stop"):
        zero.act()
    (level, line) = host.notes[0]
    assert level == implementation.syslog.LOG_ERR
    assert line == (
        f"event=not-started units={host.agent.unit}"
        ' reason="systemctl start ended with 1: no bus to start"'
    )


def test_agent_that_does_not_come_up_is_named_with_what_is_missing(host: Host) -> None:
    host.works = False
    zero = host.zero(timeout=0.3)
    zero.read()
    with pytest.raises(PhoenixError, match=r"agents of hr: hr: unit .* is inactive"):
        zero.act()


def test_wrap_that_somebody_spent_is_an_alarm(host: Host) -> None:
    Path(host.agent.wrap_file).write_text("s.stolen")
    state = {"accessor": "accessor-0", "expires": time.time() + 100}
    Path(host.agent.state_file).write_text(json.dumps(state))
    zero = host.zero()
    seen: list[str] = []
    zero.secret = seen.append
    zero.read()
    zero.act()
    assert zero.alarms == [
        {"service": "hr", "event": "wrap-spent-by-another", "accessor": "accessor-0"}
    ]
    assert seen == ["s.stolen", "s.wrapping-token-1"]


def test_wrap_that_merely_expired_is_no_alarm(host: Host) -> None:
    Path(host.agent.wrap_file).write_text("s.expired")
    state = {"accessor": "accessor-0", "expires": time.time() - 1}
    Path(host.agent.state_file).write_text(json.dumps(state))
    zero = host.zero()
    zero.read()
    zero.act()
    assert zero.alarms == []


def test_strays_are_destroyed_and_one_that_is_gone_meanwhile_is_fine(host: Host) -> None:
    host.well()
    host.server.accessors[host.agent.secret_id_path] = ["stray"]
    zero = host.zero()
    zero.read()
    zero.act()
    assert host.server.destroyed == ["stray"]
    host.server.accessors[host.agent.secret_id_path] = ["stray"]
    host.server.destroy_error = errors.ServerFailureError("500")
    zero = host.zero()
    zero.read()
    with pytest.raises(errors.ServerFailureError):
        zero.act()
    host.server.accessors.clear()
    zero.act()


@pytest.fixture
def moment(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(implementation, "_MOMENT", 0.5)
    return 0.5


@pytest.mark.usefixtures("moment")
def test_agent_that_is_logging_in_is_given_the_moment_for_it(host: Host) -> None:
    host.just_started("on-its-way")
    host.later.append(host.server.accessors.clear)
    zero = host.zero()
    assert not zero.read().changed
    zero.act()
    assert (host.server.issued, host.server.destroyed) == (0, [])


@pytest.mark.usefixtures("moment")
def test_agent_whose_login_is_refused_is_not_taken_for_one_that_is_well(host: Host) -> None:
    """Its unit is active for a moment, its SecretID is spent, and its old secrets are right."""
    host.just_started()
    host.later.append(lambda: (setattr(host, "active", "activating"), host.server.wraps.clear()))
    zero = host.zero()
    assert [(c.action, c.note) for c in zero.read()] == [
        ("bootstrap", "unit tamshai-agent@hr.service is activating (running)")
    ]


def test_agent_that_has_only_just_rendered_is_not_waited_for(host: Host) -> None:
    host.well()
    host.entered = time.monotonic() - 0.1
    assert not host.zero().read().changed
    assert host.looks == 1


@pytest.mark.usefixtures("moment")
def test_agent_that_does_not_log_in_gets_another_credential(host: Host) -> None:
    host.just_started("hangs")
    zero = host.zero()
    assert [(c.action, c.note) for c in zero.read()] == [
        ("bootstrap", "it has not logged in yet"),
        ("destroy", "never delivered to an agent"),
    ]
    zero.act()
    assert host.server.destroyed == ["hangs"]
    assert zero.proofs[0]["accessor_gone"]


def test_what_was_issued_just_before_the_stop_is_destroyed(host: Host) -> None:
    host.spends = False
    path = host.agent.secret_id_path
    host.at_stop = lambda: host.server.accessors.setdefault(path, []).append("of-the-pre-step")

    def log_in() -> None:
        host.server.accessors[path].remove("accessor-1")
        host.server.wraps.clear()

    host.later.append(log_in)
    zero = host.zero()
    zero.read()
    zero.act()
    assert host.server.destroyed == ["of-the-pre-step"]
    assert ("destroy", "hr of-the-pre-step") in [(c.action, c.name) for c in zero.plan]
    assert host.server.keys(path) == []


def test_credential_of_an_agent_that_was_restarted_meanwhile_is_left_to_it(host: Host) -> None:
    path = host.agent.secret_id_path
    zero = host.zero()
    zero.read()
    proven = zero._settled

    def settled(pending: Any) -> bool:
        done = proven(pending)
        host.server.accessors[path] = ["its-own"]
        Path(host.agent.state_file).write_text(json.dumps({"accessor": "its-own"}))
        return done

    zero._settled = settled  # type: ignore[method-assign]
    zero.act()
    assert host.server.destroyed == []
    assert zero.proofs[0]["replaced_by"] == "its-own"


@pytest.mark.usefixtures("moment")
def test_refused_login_is_not_taken_for_a_bootstrap(host: Host) -> None:
    """Its SecretID is spent as well, and the secrets of before are right."""
    host.just_started()
    host.active = "failed"
    zero = host.zero(timeout=1)
    zero.read()
    started = host.run

    def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
        result = started(command, timeout)
        if command[1] == "start":
            host.just_started()
            host.later = [lambda: None, lambda: setattr(host, "active", "activating")]
        return result

    zero.run = run
    with pytest.raises(PhoenixError, match=r"agents of hr: hr: unit .* is activating"):
        zero.act()


def test_nothing_to_do_without_agents(tmp_path: Path) -> None:
    host = Host(tmp_path, FakeServer())
    zero = SecretZero([], host.server, wrap_ttl=1, timeout=1, run=host.run)
    assert not zero.read().changed
    zero.act()
    assert host.commands == []
