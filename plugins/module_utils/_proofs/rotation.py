# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rotates the database logins that take turns, while their services are asked without a pause.

What is seen here is judged by H4.c, in the run that makes the other proofs: those would see
passwords change under their hands. Each step is looked at before the next one is made, so that an
estate whose rotation is broken is left as it was, and does not lose the password that is in use.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.variables import url_variable
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import planted
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.turns import older_period
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import hop, load, pgwire, tls
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import Answer
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["observe"]

_SWITCH = 30.0
"""Seconds for an agent to render, and for a service to let go of its old connections."""
_REQUESTS = 30
"""How many requests have to get through before the first rotation, and after each."""

_ATTRIBUTES = """
SELECT rolname, CASE WHEN rolsuper THEN 'SUPERUSER' ELSE 'NOSUPERUSER' END || ' ' ||
  CASE WHEN rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END FROM pg_roles
"""
_SESSIONS = """
SELECT usename, count(*) FROM pg_stat_activity
WHERE usename IS NOT NULL AND application_name <> 'attest' GROUP BY 1
"""
_COMMITS = "SELECT datname, xact_commit::text FROM pg_stat_database WHERE datname IS NOT NULL"
_VERIFIERS = """
SELECT rolname, encode(sha256(convert_to(coalesce(rolpassword, ''), 'UTF8')), 'hex') FROM pg_authid
"""


@dataclass
class _Pair:
    """Two logins that take turns.

    :arg users: Service, database and prefix of its variables, for each use.
    :arg used: The login that consumers use now, with ``password``; ``idle`` is the other one.
    :arg first: The password that consumers had at first.
    """

    names: tuple[str, str]
    users: list[tuple[str, str, str]]
    used: str = ""
    idle: str = ""
    password: str = ""
    first: str = ""


def observe(site: Site) -> dict[str, Any]:
    """Rotate each login once; what was seen, as a record's evidence and faults.

    Raises nothing: whatever goes wrong is a fault. ``not_run`` says why there was nothing to see.
    """
    record = Record()
    try:
        _Rotation(site, record).run()
    except NotRunError as error:
        return {"not_run": error.reason}
    except Exception as error:  # noqa: BLE001  # pylint: disable=broad-except
        record.expect(False, f"it broke off: {error}")
    return {"evidence": record.evidence, "faults": record.faults}


class _Rotation:
    """One go through both logins of each pair."""

    def __init__(self, site: Site, record: Record) -> None:
        self.site = site
        self.record = record
        self.server = site.the("postgresql")
        self.pairs = _pairs(site)
        self.services = sorted({name for pair in self.pairs for name, _db, _prefix in pair.users})
        self.agents = {agent["service"]: agent for agent in site.estate["agents"]}
        self.roles = {row["name"]: row["static_role"] for row in site.estate["logins"]}

    def run(self) -> None:
        if not self.pairs:
            raise NotRunError("no two database logins take turns in this estate")
        loads = [load.Load(*door) for door in self._doors()]
        for pair in self.pairs:
            self._look(pair)
        begun, commits = time.time(), self._commits()
        left = self._take_back()
        self.record.note(left_by_a_killed_run=left, before=self._harmless("before"))
        try:
            with contextlib.ExitStack() as stack:
                for item in loads:
                    stack.enter_context(item)
                self._more(loads)
                turns: list[dict[str, Any]] = []
                self.record.note(turns=turns)
                for last in (False, True):
                    if not self.record.faults:
                        self._turn(turns, last=last)
                        self._more(loads)
        finally:
            self._take_back()
            self.record.note(load=[item.evidence() for item in loads])
        self.record.note(after=self._harmless("after"))
        for item in loads:
            failed = item.failures.total()
            self.record.expect(
                not failed,
                f"{failed} of {item.done} requests failed: {', '.join(item.failures)}",
            )
        self._reached(loads, self._commits() - commits)
        self._server_log(begun)
        if not self.record.faults:
            self._old_passwords()

    # What is there.

    def _doors(self) -> Iterator[tuple[load.Door, str]]:
        """A way by which the operator's requests get to each service, through a gateway if any."""
        identity = self.site.identity("operator")
        if identity is None:
            raise NotRunError("the operator's certificate, to ask the services with, is not here")
        context = tls.client_context(self.site.ca, identity)
        services = self.site.services
        for name in self.services:
            ways = [*(c for c in services[name]["callers"] if c in services), name]
            way = next((w for w in ways if "operator" in services[w]["callers"]), None)
            if way is None:
                raise NotRunError(f"no way leads from the operator to {name}")
            # A gateway offers the tools of MCP_HR_URL as hr_...
            label = url_variable(name).removeprefix("MCP_").removesuffix("_URL").lower()
            service = services[way]
            door = load.Door(self.site.address(way), service["port"], service["fqdn"], context)
            yield door, load.harmless_tool(door, "" if way == name else f"{label}_")

    def _held(self, pair: _Pair) -> set[tuple[str, str]]:
        """Login and password that the services of a pair hold."""
        found = set()
        for service, _database, prefix in pair.users:
            path = self.site.secrets_file(self.agents[service])
            try:
                values = json.loads(path.read_bytes())
                held = (str(values[f"{prefix}_USER"]), str(values[f"{prefix}_PASSWORD"]))
            except (OSError, ValueError, KeyError, TypeError):
                # The error's own words could quote what is in it.
                raise PhoenixError(f"{path} holds no login of {pair.names[0]}") from None
            self.site.vocabulary.add(held[1])
            found.add(held)
        return found

    def _look(self, pair: _Pair) -> None:
        held = self._held(pair)
        logins = sorted({login for login, _password in held})
        if len(held) != 1 or logins[0] not in pair.names:
            raise PhoenixError(f"services use {', '.join(logins)}, not one of {pair.names}")
        ((pair.used, pair.password),) = held
        pair.idle = next(name for name in pair.names if name != pair.used)
        pair.first = pair.first or pair.password

    def _more(self, loads: list[load.Load]) -> None:
        """Go on when some more requests have been made."""
        goals = [item.done + _REQUESTS for item in loads]

        def reached() -> bool:
            return all(item.done >= goal for item, goal in zip(loads, goals, strict=True))

        wait_until(reached, timeout=_SWITCH, what=f"{_REQUESTS} more requests")

    # A turn.

    def _turn(self, turns: list[dict[str, Any]], *, last: bool) -> None:
        """Rotate the logins that nobody uses, and see their services change over to them."""
        for pair in self.pairs:
            if not last:
                self._sql(planted.plant(pair.idle))
            before = self._verifiers(pair)
            path = f"database/rotate-role/{self.roles[pair.idle]}"
            self._vault("PUT", path, {})
            after = self._verifiers(pair)
            turns.append({"rotated": pair.idle, "while_used": pair.used})
            self.record.expect(
                after[pair.idle] != before[pair.idle], f"{pair.idle} still has its old password"
            )
            self.record.expect(
                after[pair.used] == before[pair.used], f"{pair.used}, in use, was rotated too"
            )
        self._harmless("after a rotation")
        if self.record.faults:
            return  # what is in use still is good, and stays in use
        for pair in self.pairs:  # after each, since what follows may break off
            self._set_apart(pair)
        begun = time.monotonic()
        for name in self.services:
            _restart(f"tamshai-agent@{name}.service")
        for pair, row in zip(self.pairs, turns[-len(self.pairs) :], strict=True):
            self._change_over(pair)
            row["changed_over_seconds"] = round(time.monotonic() - begun, 1)

    def _change_over(self, pair: _Pair) -> None:
        """Wait until services hold the new password, and no connection by the old one is left."""

        def rendered() -> bool:
            return {login for login, _password in self._held(pair)} == {pair.idle}

        def moved() -> bool:
            rows = dict(self._sql(_SESSIONS))
            sessions = {name: rows[name] for name in pair.names if name in rows}
            if list(sessions) != [pair.idle]:
                raise PhoenixError(f"there are sessions of {sessions or 'nobody'}")
            return True

        wait_until(rendered, timeout=_SWITCH, what=f"{self.services} to be given {pair.idle}")
        wait_until(moved, timeout=_SWITCH, what=f"{self.services} to log in as {pair.idle} only")
        answer = self._log_in(pair, pair.used, pair.password)
        self.record.expect(
            answer.outcome == hop.ADMITTED,
            f"the password of {pair.used} was gone when its users left it: {answer.answer}",
        )
        self._look(pair)

    def _set_apart(self, pair: _Pair) -> None:
        """Leave both as role db_credentials does: on their way to be half a period apart."""
        rows = []
        for login in (pair.idle, pair.used):  # the later one first
            path = f"database/static-roles/{self.roles[login]}"
            data = self._vault("GET", path).data
            at = dt.datetime.fromisoformat(str(data["last_vault_rotation"]))
            rows.append((path, data, at, int(data["rotation_period"])))
        (*_later, late, period), (*_older, early, short) = rows
        full = max(period, short)
        gap = (late - early).total_seconds()
        for (path, data, _at, now), wanted in zip(
            rows, (full, older_period(full, gap, short)), strict=True
        ):
            if now != wanted:
                kept = {key: data[key] for key in ("db_name", "username")}
                self._vault("PUT", path, {**kept, "rotation_period": wanted})

    # What has to hold.

    def _harmless(self, when: str) -> dict[str, str]:
        """The attributes of all logins: none of them may get round row level security."""
        rows = {str(name): str(words) for name, words in self._sql(_ATTRIBUTES)}
        names = [name for pair in self.pairs for name in pair.names]
        found = {name: rows.get(name, "not there") for name in names}
        for name, words in found.items():
            self.record.expect(words == "NOSUPERUSER NOBYPASSRLS", f"{name} is {words} {when}")
        return found

    def _take_back(self) -> list[str]:
        """What was planted is cleared by the rotation; where it was not, by us.

        :returns: The logins that still had it.
        """
        found = [str(login) for login, held in self._sql(planted.FIND) if held == "true"]
        self._sql(planted.TAKE_BACK)
        return found

    def _commits(self) -> int:
        """Transactions that the databases of all pairs have ended well, ever."""
        names = {database for pair in self.pairs for _service, database, _prefix in pair.users}
        return sum(int(count or 0) for name, count in self._sql(_COMMITS) if name in names)

    def _reached(self, loads: list[load.Load], commits: int) -> None:
        """A load that is answered without the database says nothing; so each request is a commit.

        The server counts them up to a second late, hence the half.
        """
        asked = sum(item.done for item in loads)
        self.record.note(commits=commits)
        self.record.expect(
            2 * commits >= asked, f"of {asked} requests {commits} at most reached the database"
        )

    def _server_log(self, begun: float) -> None:
        """Nobody was refused: neither a request, nor a connection of a service."""
        container = self.site.container(self.server["name"])
        lines = self.site.engine.log(container.id, since=begun).splitlines()
        names = [name for pair in self.pairs for name in pair.names]
        refused = [
            line for line in lines if "FATAL" in line and any(f'"{n}"' in line for n in names)
        ]
        self.record.expect(lines, "the database server's log says nothing of this time")
        self.record.expect(
            not refused, f"the server refused {len(refused)} logins: {'; '.join(refused[:3])}"
        )
        self.record.note(log_lines=len(lines), refused_logins=len(refused))

    def _old_passwords(self) -> None:
        """What services held at first is the password of a login that has been rotated since."""
        answers = {}
        for pair in self.pairs:
            self.record.expect(pair.first != pair.password, f"{pair.used} has its old password")
            answer = self._log_in(pair, pair.used, pair.first)
            self.record.expect(
                answer.outcome == hop.REFUSED and answer.answer.startswith("28P01"),
                f"the old password of {pair.used} is not refused: {answer.answer}",
            )
            answers[pair.used] = answer.answer
        self.record.note(old_passwords=answers)

    # Whom to ask.

    def _vault(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        answer = self.site.vault().request(method, path, body, token=self.site.operator_token())
        if not answer.ok:
            raise PhoenixError(f"Vault answered {method} {path}: {answer.text}")
        return answer

    def _sql(self, statement: str) -> list[tuple[str | None, str | None]]:
        with pgwire.superuser(self.server) as session:
            # Of two columns each; what returns none is a statement without rows.
            return [(row[0], row[1]) for row in session.rows(statement)]

    def _verifiers(self, pair: _Pair) -> dict[str, str]:
        """A digest of what the server knows of each password."""
        rows = dict(self._sql(_VERIFIERS))
        return {name: str(rows[name]) for name in pair.names}

    def _log_in(self, pair: _Pair, login: str, password: str) -> hop.Hop:
        """Log in as a service does, with its certificate for this login."""
        service, database, _prefix = pair.users[0]
        folder = self.site.certs / service / "clients" / login / "current"
        context = tls.client_context(self.site.ca, self.site.identity_at(login, folder))
        who = hop.Credential(service, login, database, password)
        target = hop.target_of(self.site, self.server["name"], logins=False)
        return hop.attempt(
            target, context, talk=lambda secured, door: hop.postgresql_login(secured, door, who)
        )


def _pairs(site: Site) -> list[_Pair]:
    """The logins of the estate that take turns."""
    pairs = []
    for row in site.estate["logins"]:
        if not row["second_of"]:
            continue
        users = [
            (service["name"], use["name"], use["prefix"])
            for service in site.services.values()
            for use in service["databases"]
            if use["login"] == row["second_of"]
        ]
        pairs.append(_Pair((row["second_of"], row["name"]), users))
    return pairs


def _restart(unit: str) -> None:
    """An agent learns of a rotation that was asked for when it is started anew."""
    done = subprocess.run(
        ["systemctl", "restart", unit], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode != 0:
        raise PhoenixError(f"{unit} does not start: {' '.join(done.stderr.split())[:200]}")
