# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give the agents that need it their first credential, and prove that it was spent once.

The SecretID is never seen here: Vault hands it out wrapped, the agent alone unwraps it. What is
kept is its accessor, with which it can be looked up and destroyed, not used.
"""

from __future__ import annotations

import hashlib
import json
import stat
import syslog
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["Agent", "Journal", "Run", "SecretZero", "Server"]

Run = Callable[[Sequence[str], float], tuple[int, str]]
Journal = Callable[[int, str], None]

# An agent ends with a refused login, and that long after its start it has ended.
_MOMENT = 3.0
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "ActiveEnterTimestampMonotonic",
    "FragmentPath",
    "DropInPaths",
)


class Server(Protocol):
    """What is used of :class:`VaultClient`."""

    def keys(self, path: str) -> list[str]: ...

    def write(
        self,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        wrap_ttl: str | int | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]: ...

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Sequence[int] = (),
        authenticated: bool = True,
    ) -> Any: ...

    def map(self, function: Callable[[Any], Any], items: Any) -> list[Any]: ...


@dataclass(frozen=True)
class Agent:
    """One service's agent, as :mod:`layout` describes it."""

    service: str
    uid: int
    gid: int
    approle: str
    unit: str
    config: str
    secrets_file: str
    wrap_file: str
    state_file: str
    keys: tuple[str, ...]

    @property
    def secret_id_path(self) -> str:
        return f"auth/approle/role/{self.approle}/secret-id"


@dataclass
class Finding:
    """What is wrong with one agent; all empty if it is well."""

    reasons: list[str] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Accessors of SecretIDs that nobody will use any more."""
    fresh: bool = False
    """Whether it has just started, and a moment later may turn out to be well."""


class SecretZero:
    """All agents of a host in one go.

    :arg server: Vault, as an identity that may issue wrapped SecretIDs of these roles and look up
        and destroy accessors.
    :arg wrap_ttl: Seconds in which the agent has to fetch its SecretID.
    :arg timeout: Seconds for the agents to render their secrets.
    :arg run: Runs systemctl.
    :arg journal: Writes a line to the system's journal.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        server: Server,
        *,
        wrap_ttl: int,
        timeout: float,
        run: Run,
        journal: Journal | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.agents = list(agents)
        self.server = server
        self.wrap_ttl = wrap_ttl
        self.timeout = timeout
        self.run = run
        self.journal = journal or _journal
        self.monotonic = monotonic
        self.plan = Plan()
        self.alarms: list[dict[str, Any]] = []
        self.proofs: list[dict[str, Any]] = []
        self.secret: Callable[[str], None] = lambda _value: None
        """Is told every wrapping token, to keep it out of results."""
        self._lacking: list[Agent] = []
        self._strays: list[tuple[Agent, str]] = []

    # -- read and plan ------------------------------------------------------------------------

    def read(self) -> Plan:
        """Find out which agents need a credential. Changes nothing.

        Waits a moment where an agent has just started, and only there.
        """
        end = self.monotonic() + _MOMENT
        found = self._look()
        if any(finding.fresh for finding in found):
            found = wait_until(
                lambda: self._look(patient=self.monotonic() < end),
                timeout=2 * _MOMENT,
                what="the agents that have just started",
                max_interval=0.5,
            )
        for agent, finding in zip(self.agents, found, strict=True):
            if finding.reasons:
                self._lacking.append(agent)
                self.plan.add("agent", agent.service, "bootstrap", note="; ".join(finding.reasons))
            for accessor in finding.strays:
                self._strays.append((agent, accessor))
                self._plan_destroy(agent, accessor)
        return self.plan

    def _plan_destroy(self, agent: Agent, accessor: str) -> None:
        name = f"{agent.approle} {accessor}"
        self.plan.add("secret_id", name, "destroy", note="never delivered to an agent")

    def _look(self, *, patient: bool = False) -> list[Finding]:
        """What is wrong with each agent.

        :arg patient: Answer nothing as long as an agent has only just started.
        """
        # In this order: which of these SecretIDs is for the process of now, its state file says.
        alive = self._alive(self.agents)
        units = self._units()
        found = [
            self._examine(agent, units[agent.unit], accessors)
            for agent, accessors in zip(self.agents, alive, strict=True)
        ]
        return [] if patient and any(finding.fresh for finding in found) else found

    def _alive(self, agents: Sequence[Agent]) -> list[list[str]]:
        """For each agent, the accessors of SecretIDs that can be used."""
        return self.server.map(lambda agent: self.server.keys(agent.secret_id_path), agents)

    def _examine(self, agent: Agent, unit: Mapping[str, str], alive: list[str]) -> Finding:
        reasons = [*self._unit_problems(agent, unit), *_secrets_problems(agent)]
        if reasons:
            return Finding(reasons, alive)
        if _state(agent).get("accessor") in alive or self._unproven(agent, unit):
            reasons.append("it has not logged in yet")
        return Finding(reasons, alive, fresh=bool(reasons) and self._age(unit) < _MOMENT)

    def _age(self, unit: Mapping[str, str]) -> float:
        """Since how many seconds the unit is active."""
        return self.monotonic() - int(unit["ActiveEnterTimestampMonotonic"] or 0) / 1e6

    def _unproven(self, agent: Agent, unit: Mapping[str, str]) -> bool:
        """Whether nothing tells yet that Vault has let the process of now in.

        What it has rendered tells. But a file whose content is still right is not written anew, and
        a login that is refused spends the SecretID as well: then it is that the process stays.
        """
        age = self._age(unit)
        return age < _MOMENT and time.time() - Path(agent.secrets_file).stat().st_mtime > age

    def _unit_problems(self, agent: Agent, unit: Mapping[str, str]) -> list[str]:
        if unit["LoadState"] != "loaded":
            return [f"unit {agent.unit} is {unit['LoadState'] or 'not known'}"]
        if (unit["ActiveState"], unit["SubState"]) != ("active", "running"):
            return [f"unit {agent.unit} is {unit['ActiveState']} ({unit['SubState']})"]
        age = self._age(unit)
        if not Path(agent.config).exists():
            return ["it has no configuration"]
        for path in (agent.config, unit["FragmentPath"], *unit["DropInPaths"].split()):
            if path and time.time() - Path(path).stat().st_mtime < age:
                return [f"its process is older than {path}"]
        return []

    def _units(self) -> dict[str, dict[str, str]]:
        if not self.agents:
            return {}
        names = [agent.unit for agent in self.agents]
        code, output = self.run(
            ("systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names), 30
        )
        blocks = [block for block in output.split("\n\n") if block.strip()]
        if code != 0 or len(blocks) != len(names):
            raise PhoenixError(f"systemctl show ended with {code}: {output[-500:]}")
        result = {}
        for name, block in zip(names, blocks, strict=True):
            state = dict.fromkeys(_PROPERTIES, "")
            state.update(line.partition("=")[::2] for line in block.splitlines())
            result[name] = state
        return result

    # -- act ----------------------------------------------------------------------------------

    def act(self) -> None:
        """Carry the plan out and prove it.

        :raises PhoenixError: if an agent does not come up, or what it was given can still be used.
        """
        for agent, accessor in self._strays:
            self._destroy(agent, accessor)
        if not self._lacking:
            return
        units = [agent.unit for agent in self._lacking]
        try:
            # Stopped first, so that no pre-step of an automatic restart brings a wrap of its own
            # later.
            self._systemctl("stop", *units)
            issued: list[dict[str, Any]] = self.server.map(self._issue, self._lacking)
            self._systemctl("reset-failed", *units, tolerate=True)
            self._systemctl("start", "--no-block", *units)
        except BaseException:
            self._leave_running(units)
            raise
        pending = dict(zip(self._lacking, issued, strict=True))
        wait_until(
            lambda: self._settled(pending),
            timeout=self.timeout,
            what=f"the agents of {', '.join(agent.service for agent in self._lacking)}",
            max_interval=0.5,
        )
        self._sweep()
        self.proofs = self.server.map(lambda pair: self._prove(*pair), list(pending.items()))
        alive = [p["service"] for p in self.proofs if not (p["accessor_gone"] and p["refused"])]
        if alive:
            raise PhoenixError(
                f"the SecretID of {', '.join(alive)} can still be used after bootstrap",
                hint="Destroy it by its accessor, and look into Vault's audit log.",
                proofs=self.proofs,
            )

    def _leave_running(self, units: Sequence[str]) -> None:
        """Nobody else starts before the next boot what was told to stop, and it can help itself.

        Its pre-step keeps the wrap that was delivered, or asks for one as the host.
        """
        try:
            self._systemctl("start", "--no-block", *units)
        except (PhoenixError, OSError) as error:  # what led here is what the run ends with
            reason = json.dumps(str(error))
            self.journal(
                syslog.LOG_ERR, f"event=not-started units={','.join(units)} reason={reason}"
            )

    def _sweep(self) -> None:
        """Destroy what the pre-step of an automatic restart had issued before it was stopped."""
        for agent, accessors in zip(self._lacking, self._alive(self._lacking), strict=True):
            for accessor in accessors:
                # The agent may have been restarted meanwhile, with a credential of its own.
                if accessor != _state(agent).get("accessor"):
                    self._plan_destroy(agent, accessor)
                    self._destroy(agent, accessor)

    def _issue(self, agent: Agent) -> dict[str, Any]:
        """A wrapped SecretID, delivered."""
        self._look_at_last(agent)
        answer = self.server.write(
            agent.secret_id_path, {}, wrap_ttl=self.wrap_ttl, repeatable=False
        )
        info = answer.get("wrap_info") or {}
        token = str(info.get("token") or "")
        self.secret(token)
        if not token or info.get("creation_path") != agent.secret_id_path:
            raise PhoenixError(f"Vault did not wrap the SecretID of {agent.approle}")
        now = time.time()
        state = {
            "service": agent.service,
            "role": agent.approle,
            "accessor": str(info.get("wrapped_accessor") or ""),
            "issuer": "operator",
            "wrap": _digest(token),
            "issued": now,
            "expires": now + float(info.get("ttl") or self.wrap_ttl),
        }
        # The accessor first: a SecretID that nobody knows of could not be accounted for.
        write_atomic(agent.state_file, (json.dumps(state) + "\n").encode(), mode=0o600)
        self.journal(
            syslog.LOG_INFO,
            f"service={agent.service} event=issued wrapped_accessor={state['accessor']}"
            f" issuer=operator seconds={self.wrap_ttl}",
        )
        write_atomic(
            agent.wrap_file, token.encode("ascii"), mode=0o400, uid=agent.uid, gid=agent.gid
        )
        return {**state, "token": token}

    def _look_at_last(self, agent: Agent) -> None:
        """A wrap that lies there, spent before its time, was used by somebody else: say so."""
        waiting = (read_bytes_or_none(agent.wrap_file) or b"").decode("ascii", "replace").strip()
        if not waiting:
            return
        self.secret(waiting)
        state = _state(agent)
        if _digest(waiting) != state.get("wrap", _digest(waiting)):
            self._alarm(agent, "wrap-replaced", str(state.get("accessor") or ""))
        elif self._wrap_spent(waiting) and float(state.get("expires") or 0) > time.time():
            self._alarm(agent, "wrap-spent-by-another", str(state.get("accessor") or ""))
        Path(agent.wrap_file).unlink(missing_ok=True)

    def _alarm(self, agent: Agent, event: str, accessor: str) -> None:
        self.alarms.append({"service": agent.service, "event": event, "accessor": accessor})
        line = f"service={agent.service} event={event} wrapped_accessor={accessor}"
        self.journal(syslog.LOG_ALERT, line)

    def _wrap_spent(self, token: str) -> bool:
        reply = self.server.call(
            "POST", "sys/wrapping/lookup", body={"token": token}, accept=(400, 403, 404)
        )
        return bool(reply.status != 200)

    def _settled(self, pending: Mapping[Agent, Mapping[str, Any]]) -> bool:
        """Whether every agent runs, has used its credential and rendered its secrets.

        :raises PhoenixError: naming what is missing; the wait goes on.
        """
        units = self._units()
        missing = []
        for agent, issue in pending.items():
            problems = self._unit_problems(agent, units[agent.unit])
            if Path(agent.wrap_file).exists():
                problems.append("it has not fetched its SecretID yet")
            elif not self._accessor_gone(agent, str(issue["accessor"])):
                problems.append("it has not logged in yet")
            problems += _secrets_problems(agent)
            if not problems and self._unproven(agent, units[agent.unit]):
                problems.append("Vault may yet have refused its login")
            if problems:
                missing.append(f"{agent.service}: {'; '.join(problems)}")
        if missing:
            raise PhoenixError(
                ", ".join(missing), hint="journalctl -u 'tamshai-agent@*' says what the agent met."
            )
        return True

    def _prove(self, agent: Agent, issue: Mapping[str, Any]) -> dict[str, Any]:
        """Evidence that the SecretID is gone and that what led to it leads nowhere now."""
        state = _state(agent)
        accessor = str(issue["accessor"])
        proof = {
            "service": agent.service,
            "accessor": accessor,
            "accessor_gone": self._accessor_gone(agent, accessor),
            "refused": self._wrap_spent(str(issue["token"])),
        }
        # The agent may have been restarted meanwhile, with a credential of its own.
        later = str(state.get("accessor") or "")
        if later and later != accessor:
            proof["replaced_by"] = later
        return proof

    def _accessor_gone(self, agent: Agent, accessor: str) -> bool:
        reply = self.server.call(
            "POST",
            f"{agent.secret_id_path}-accessor/lookup",
            body={"secret_id_accessor": accessor},
            accept=(400, 404),
        )
        return bool(reply.status != 200)

    def _destroy(self, agent: Agent, accessor: str) -> None:
        try:
            self.server.write(
                f"{agent.secret_id_path}-accessor/destroy", {"secret_id_accessor": accessor}
            )
        except (errors.NoRouteError, errors.ServerFailureError):
            # 500 is the server's word for an accessor that does not exist: used or expired
            # meanwhile. If it does exist after all, this is a failure.
            if not self._accessor_gone(agent, accessor):
                raise

    def _systemctl(self, *arguments: str, tolerate: bool = False) -> None:
        code, output = self.run(("systemctl", *arguments), 60)
        if code != 0 and not tolerate:
            raise PhoenixError(f"systemctl {arguments[0]} ended with {code}: {output[-500:]}")


def _secrets_problems(agent: Agent) -> list[str]:
    """What is wrong with the rendered file. Its values are looked at, never kept."""
    path = Path(agent.secrets_file)
    try:
        status = path.stat()
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return ["it has rendered no secrets"]
    except (OSError, ValueError) as error:
        return [f"{path} cannot be read: {type(error).__name__}"]
    problems = []
    if not isinstance(document, dict):
        return [f"{path} is no object"]
    missing = sorted(key for key in agent.keys if not document.get(key))
    extra = sorted(key for key in document if key not in agent.keys)
    if missing:
        problems.append(f"secrets lack {', '.join(missing)}")
    if extra:
        problems.append(f"secrets hold more than declared: {', '.join(extra)}")
    if (status.st_uid, stat.S_IMODE(status.st_mode)) != (agent.uid, 0o400):
        problems.append(f"{path} has owner {status.st_uid} and mode {status.st_mode & 0o7777:04o}")
    return problems


def _digest(token: str) -> str:
    """Knows a wrapping token again, and is no use to anybody who has it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _state(agent: Agent) -> dict[str, Any]:
    try:
        state = json.loads(read_bytes_or_none(agent.state_file) or b"{}")
    except ValueError:
        return {}
    return state if isinstance(state, dict) else {}


def _journal(priority: int, text: str) -> None:
    syslog.openlog("tamshai-wrap", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(priority, text)
