# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Both sides of a database engine at once: the rotator in PostgreSQL and the server behind it."""

from __future__ import annotations

import datetime as dt
import email.utils
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.rotation import (
    Names,
    Rotation,
    statement,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.turns import older_period
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.vaultdb import (
    Connection,
    StaticRole,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["Handover"]

Row = dict[str, Any]

# Periods of seconds, as tests and drills have them, are not for the server's own password.
_ROOT_AGE = dt.timedelta(days=1)

# The server rotates by itself too: on its schedule, and each ten seconds what was refused to it.
# Where that happens while both servers are read, one of them seems to be ahead of the other.
_UNDER_WAY = 2.0
"""Seconds for such a rotation to show on both sides, before another one is planned."""
_AGREED = 15.0
"""Seconds in which both sides have to agree after a run, on a host whose disk is busy."""


class Handover:
    """Hands logins over to a Vault server, and sees whether they are still in its hands.

    What is known comes from the two servers alone: the function in PostgreSQL notes each password
    that it sets, and Vault tells when it rotated. A note that does not match the password in place,
    or Vault's time, means that somebody else set it; then a new one is due.

    Two logins that take turns are kept half a period apart; see :mod:`turns`.

    :arg predict: Whether nothing is going to be done, and logins may not exist yet.
    """

    def __init__(
        self,
        client: VaultClient,
        connect: Callable[[str], Session],
        names: Names,
        *,
        mount: str,
        connection: Row,
        static_roles: Sequence[Row],
        tolerance: int,
        predict: bool = False,
    ) -> None:
        self.client = client
        self.names = names
        self.tolerance = dt.timedelta(seconds=tolerance)
        managed = [row["username"] for row in static_roles]
        self._rotation = Rotation(names, managed, connect, predict=predict)
        rotate = statement(names)
        self._connection = Connection(
            client,
            mount,
            connection["name"],
            {
                "plugin_name": "postgresql-database-plugin",
                "connection_url": connection["connection_url"],
                "username": names.login,
                "password_authentication": "scram-sha-256",
                "allowed_roles": [row["name"] for row in static_roles],
                "root_rotation_statements": [rotate],
                "max_open_connections": connection["max_open_connections"],
                "max_connection_lifetime": connection["max_connection_lifetime"],
            },
        )
        self._roles = [
            StaticRole(
                client,
                mount,
                row["name"],
                {
                    "db_name": connection["name"],
                    "username": row["username"],
                    "rotation_period": row["rotation_period"],
                    "rotation_statements": [rotate],
                },
            )
            for row in static_roles
        ]
        # Nothing but a run rotates the server's own password, so it is due well before theirs are.
        periods = [seconds(row["rotation_period"]) for row in static_roles]
        self._root_age = dt.timedelta(seconds=max([*periods, 0]) * 2 / 3)
        self._pairs = list(_pairs(static_roles, self._roles))
        self.root_rotated = False
        self.rotated: list[str] = []
        self._write_connection: Row = {}
        self._write_roles: list[tuple[StaticRole, Row]] = []
        self._rotate_roles: list[StaticRole] = []

    def read(self, plan: Plan) -> None:
        """Compare both servers with what is declared."""
        now = self._vault_clock()
        found = self._look()
        self._compare_clocks(now)
        if not self._settled():
            found = self._look_again()
        plan.changes.extend(found)
        self._connection.read()
        for role in self._roles:
            role.refuse_ignored()
            break  # one server, one kind of object: what holds for one holds for all
        for first, second in self._pairs:
            self._plan_turns(first, second)
        self._write_connection = self._connection.plan(plan)
        why = self._why_rotate_root()
        if why:
            self.root_rotated = True
            plan.add("password", self.names.login, "rotate", note=why)
        for role in self._roles:
            self._plan_role(plan, role)

    def _look(self) -> Plan:
        """Read both servers; what differs in PostgreSQL."""
        found = Plan()
        self._rotation.read(found)
        self.client.map(StaticRole.read, self._roles)
        return found

    def _settled(self) -> bool:
        """Whether all that the server rotates is in hand."""
        return all(self._in_hand(role) for role in self._roles if role.current is not None)

    def _look_again(self) -> Plan:
        """Look until it is settled, or for so long that nothing is being rotated."""
        found = Plan()
        end = time.monotonic() + _UNDER_WAY

        def over() -> bool:
            nonlocal found
            found = self._look()
            return self._settled() or time.monotonic() >= end

        wait_until(over, timeout=_UNDER_WAY, what="rotations to be over")
        return found

    def _vault_clock(self) -> dt.datetime | None:
        answer = self.client.call("GET", "sys/health", authenticated=False, accept=range(400, 600))
        seconds = answer.body.get("server_time_utc")
        if seconds:
            return dt.datetime.fromtimestamp(seconds, dt.UTC)
        # Nothing is told of its health in a namespace, but each answer is dated (RFC 9110, 6.6.1).
        dated = answer.headers.get("date")
        return email.utils.parsedate_to_datetime(dated) if dated else None

    def _compare_clocks(self, vault: dt.datetime | None) -> None:
        """Refuse to judge by time what two clocks that differ have written down.

        :raises PostgresError: before anything is rotated.
        """
        here = self._rotation.clock
        if vault is None or here is None or abs(here - vault) <= self.tolerance:
            return
        apart = (here - vault).total_seconds()
        raise PostgresError(
            f"the database server's clock is {abs(apart):.0f} s "
            f"{'ahead of' if apart > 0 else 'behind'} that of {self.client.url}, so the time of a "
            "rotation does not tell whose password is in force",
            hint="Set the clock that is wrong. 'tolerance' is how far apart they may be.",
        )

    def _why_rotate_root(self) -> str:
        """Why the server's own password is due, empty where it is not."""
        setting = self._rotation.setting(self.names.login)
        if self._connection.current is None or not setting.intact or setting.rotated_at is None:
            return "known to the server alone"
        now = self._rotation.clock or dt.datetime.now(dt.UTC)
        old = now - setting.rotated_at > max(self._root_age, _ROOT_AGE)
        return "two thirds of its period have passed" if old else ""

    def _plan_turns(self, first: StaticRole, second: StaticRole) -> None:
        """The periods that bring two roles half a period apart, without a rotation of their own."""
        now = self._rotation.clock or dt.datetime.now(dt.UTC)
        at = {
            role.name: role.rotated_at if role.rotated_at and self._in_hand(role) else now
            for role in (first, second)
        }
        # Of two that are rotated in this run the first is the first; see act().
        older, younger = sorted((first, second), key=lambda role: at[role.name])
        gap = (at[younger.name] - at[older.name]).total_seconds()
        current = (older.current or {}).get("rotation_period")
        older.wanted["rotation_period"] = older_period(
            younger.wanted["rotation_period"], gap, current
        )

    def _plan_role(self, plan: Plan, role: StaticRole) -> None:
        login = str(role.wanted["username"])
        exists = role.current is not None
        values = role.plan(plan)
        if values:
            self._write_roles.append((role, values))
        if not exists:
            self.rotated.append(login)  # the server rotates when it creates
        elif not self._in_hand(role):
            self.rotated.append(login)
            self._rotate_roles.append(role)
            plan.add("password", login, "rotate", note="it is not the one that the server set")

    def _in_hand(self, role: StaticRole) -> bool:
        """Whether the password in PostgreSQL is the one that the server serves."""
        setting = self._rotation.setting(str(role.wanted["username"]))
        if not setting.intact or setting.rotated_at is None or role.rotated_at is None:
            return False
        return abs(setting.rotated_at - role.rotated_at) <= self.tolerance

    def act(self, protect: Callable[[str], None]) -> None:
        """Carry the plan out.

        :arg protect: Is told the rotator's first password, so that nothing shows it.
        """
        self._rotation.act()
        if self.root_rotated:
            password = self._rotation.new_password()
            protect(password)
            values = self._connection.wanted
            self._connection.write(values, password)
            self._connection.rotate_root()
        elif self._write_connection:
            self._connection.write(self._write_connection)
        later = [second for _first, second in self._pairs]
        # Of two that take turns, the second one is rotated after the first.
        for turn in (False, True):
            self.client.map(
                lambda item: item[0].write(item[1]),
                [item for item in self._write_roles if (item[0] in later) is turn],
            )
            self.client.map(
                StaticRole.rotate, [r for r in self._rotate_roles if (r in later) is turn]
            )
        wait_until(self._read_back, timeout=_AGREED, what="both servers to agree")

    def _read_back(self) -> bool:
        left = self._look()
        strays = [str(role.wanted["username"]) for role in self._roles if not self._in_hand(role)]
        if not self._rotation.setting(self.names.login).intact:
            strays.insert(0, self.names.login)
        if left.changed or strays:
            names = ", ".join([change.title for change in left] + strays)
            raise PostgresError(
                f"after the hand-over, this is not as it should be: {names}", strays=strays
            )
        return True

    @property
    def missing(self) -> list[str]:
        """Logins that a prediction counts on."""
        return self._rotation.missing

    def logins(self) -> list[Row]:
        """Each login, when it was rotated, and whether its password is the server's."""
        rows = []
        for role in self._roles:
            login = str(role.wanted["username"])
            setting = self._rotation.setting(login)
            rows.append(
                {
                    "login": login,
                    "static_role": role.name,
                    "rotated_at": setting.rotated_at.isoformat() if setting.rotated_at else None,
                    "intact": self._in_hand(role),
                }
            )
        return rows


def _pairs(
    rows: Sequence[Row], roles: Sequence[StaticRole]
) -> Iterator[tuple[StaticRole, StaticRole]]:
    """The roles that take turns, the one that was named by the other first.

    :raises PhoenixError: with all that is wrong with the pairs.
    """
    by_name = dict(zip([row["name"] for row in rows], roles, strict=True))
    wrong = []
    taken: set[str] = set()
    pairs = [(row["turns_with"], row) for row in rows if row.get("turns_with")]
    for other, row in pairs:
        name = row["name"]
        if other not in by_name or other == name:
            wrong.append(f"{name} takes turns with {other}, which is no other static role here")
        elif {name, other} & taken:
            wrong.append(f"{name} and {other}: a static role takes turns with one other")
        elif by_name[other].wanted["rotation_period"] != by_name[name].wanted["rotation_period"]:
            wrong.append(f"{name} and {other} take turns and need the same rotation_period")
        taken |= {name, other}
    if wrong:
        raise PhoenixError("; ".join(wrong))
    return ((by_name[other], by_name[row["name"]]) for other, row in pairs)
