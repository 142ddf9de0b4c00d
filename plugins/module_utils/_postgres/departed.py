# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins that are to go: with every right that they have, and with nothing that is theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import identifier
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["drop", "refuse_declared", "there"]

Connect = Callable[[str], Session]

_LEAVING = 20
"""Seconds in which sessions that were told to end have to be over."""

_LOGINS = """
SELECT rolname AS name, rolsuper AS super FROM pg_roles WHERE rolname = ANY (%(names)s)
ORDER BY rolname
"""
# Where a role owns objects or has rights on them; what is of no one database has no name.
_HOLDS = """
SELECT coalesce(d.datname, '') AS database, count(*) FILTER (WHERE deptype = 'o') AS owned
FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
WHERE s.refclassid = 'pg_authid'::regclass
  AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = %(name)s)
GROUP BY 1 ORDER BY 1
"""
_SESSIONS = "SELECT pid FROM pg_stat_activity WHERE usename = %(name)s"


def refuse_declared(names: Sequence[str], roles: Sequence[Mapping[str, Any]]) -> None:
    """:raises PostgresError: for a login that is declared, or whose rights a declared one has."""
    kept = {name for role in roles for name in (role["name"], *(role.get("inherits") or ()))}
    both = [name for name in names if name in kept]
    if both:
        raise PostgresError(
            f"declared, and to be dropped as well: {', '.join(both)}",
            hint="Nothing was changed. Leave it out of one of the two.",
        )


def there(session: Session, names: Sequence[str]) -> list[str]:
    """Those of the logins that exist.

    :raises PostgresError: for superusers and for those that own something, all at once.
    """
    wrong = []
    found = session.query(_LOGINS, {"names": list(names)})
    for row in found:
        if row["super"]:
            wrong.append(f"{row['name']} is a superuser")
        wrong += _owned(session, row["name"])
    if wrong:
        raise PostgresError(
            f"not dropped: {'; '.join(wrong)}",
            hint="Nothing was changed. What it owns would go with it, so give that to another "
            "role before, in each database: REASSIGN OWNED BY <login> TO <owner>.",
        )
    return [row["name"] for row in found]


def _owned(session: Session, name: str) -> list[str]:
    return [
        f"{name} owns {row['owned']} object(s) in "
        + (f"database {row['database']}" if row["database"] else "the server, such as a database")
        for row in session.query(_HOLDS, {"name": name})
        if row["owned"]
    ]


def drop(connect: Connect, name: str) -> None:
    """Let nobody in any more, end its sessions, take its rights away, then the login itself.

    :raises PostgresError: if it has come to own something meanwhile.
    """
    quoted = identifier(name)
    with connect("postgres") as session:
        session.execute(f"ALTER ROLE {quoted} NOLOGIN")
        wait_until(
            lambda: _is_out(session, name), timeout=_LEAVING, what=f"the sessions of {name} to end"
        )
        if _owned(session, name):
            session.execute(f"ALTER ROLE {quoted} LOGIN")
            there(session, [name])
        databases = [row["database"] for row in session.query(_HOLDS, {"name": name})]
    # It owns nothing, so these take rights only; those on databases are gone with the first.
    for database in databases:
        with connect(database or "postgres") as session:
            session.execute(f"DROP OWNED BY {quoted}")
    with connect("postgres") as session:
        session.execute(f"DROP ROLE {quoted}")


def _is_out(session: Session, name: str) -> bool:
    pids = [row["pid"] for row in session.query(_SESSIONS, {"name": name})]
    for pid in pids:
        session.execute("SELECT pg_terminate_backend(%(pid)s)", {"pid": pid})
    return not pids
