# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one thing that a rotator may do in PostgreSQL: set a verifier on a login that it manages.

A rotator with CREATEROLE could do far more, and the usual statement (``ALTER ROLE ... PASSWORD ...
NOBYPASSRLS``) is refused to it. So it gets EXECUTE on one function, which belongs to a role that
nobody can log in as, and which notes what it did: that note is the evidence for who set a password.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import planted
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.scram import (
    new_password,
    verifier,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import (
    identifier,
    literal,
)

__all__ = ["Names", "Rotation", "Setting", "statement"]

SEARCH_PATH = "search_path=pg_catalog, pg_temp"

# Every name is schema-qualified or in pg_catalog. The body is compared with what the server holds.
BODY = """
DECLARE
  target pg_catalog.pg_roles%ROWTYPE;
BEGIN
  IF p_verifier IS NULL OR p_verifier !~
     '^SCRAM-SHA-256[$][1-9][0-9]{{3,6}}:[A-Za-z0-9+/]{{16,}}={{0,2}}'
     '[$][A-Za-z0-9+/]{{43}}=:[A-Za-z0-9+/]{{43}}=$'
  THEN
    RAISE EXCEPTION 'refused: not a SCRAM-SHA-256 verifier'
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  SELECT * INTO target FROM pg_catalog.pg_roles WHERE rolname = p_role;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'refused: there is no role %', p_role USING ERRCODE = 'undefined_object';
  END IF;
  IF target.rolsuper THEN
    RAISE EXCEPTION 'refused: % has become a superuser', p_role
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_auth_members m
    WHERE m.roleid = target.oid AND m.admin_option
      AND m.member = (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)
  ) THEN
    RAISE EXCEPTION 'refused: % is not managed here', p_role
      USING ERRCODE = 'insufficient_privilege';
  END IF;
  EXECUTE pg_catalog.format('ALTER ROLE %I PASSWORD %L NOBYPASSRLS', p_role, p_verifier);
  INSERT INTO {schema}.rotations (role, rotated_at, verifier)
    VALUES (p_role, pg_catalog.clock_timestamp(),
            pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(p_verifier, 'UTF8')), 'hex'))
    ON CONFLICT (role) DO UPDATE SET rotated_at = excluded.rotated_at, verifier = excluded.verifier;
END
"""

FUNCTION = """
CREATE OR REPLACE FUNCTION {schema}.set_password(p_role text, p_verifier text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {body}
"""
TABLE = """
CREATE TABLE {schema}.rotations (
  role text PRIMARY KEY, rotated_at timestamptz NOT NULL, verifier text NOT NULL
)
"""
TABLE_COMMENT = """
COMMENT ON TABLE {schema}.rotations
IS 'Who was rotated when, with a digest of the verifier that was set.'
"""


@dataclass(frozen=True)
class Names:
    """What the pieces are called.

    :arg database: Where the function lives; the rotator logs in to it.
    :arg owner: Owns the function; cannot log in.
    :arg login: The rotator.
    """

    database: str
    schema: str
    owner: str
    login: str


@dataclass(frozen=True)
class Setting:
    """Who set a login's password, as the server shows it.

    :arg intact: The password is the one that the function set last.
    :arg rotated_at: When that was; ``None`` where the function never set one.
    """

    intact: bool
    rotated_at: dt.datetime | None


@dataclass
class _Seen:
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    managed: set[str] = field(default_factory=set)
    function: dict[str, Any] | None = None
    schema_owner: str | None = None
    table_owner: str | None = None
    usage: bool = False
    connect: bool = False


def statement(names: Names) -> str:
    """What a Vault server sends to rotate a password."""
    call = f"{identifier(names.schema)}.set_password('{{{{name}}}}', '{{{{password}}}}')"
    return f"SELECT {call}"


class Rotation:
    """Reads, plans and makes the rotator's part of a server.

    :arg predict: Whether logins that do not exist are taken for such as an earlier task will make;
        they are in ``missing`` then.
    """

    def __init__(
        self,
        names: Names,
        managed: Sequence[str],
        connect: Callable[[str], Session],
        *,
        predict: bool = False,
    ) -> None:
        self.names = names
        self.managed = list(managed)
        self.connect = connect
        self.predict = predict
        self.missing: list[str] = []
        self._steps: list[tuple[str, list[str]]] = []
        self._verifiers: dict[str, str] = {}
        self._notes: dict[str, tuple[dt.datetime, str]] = {}
        self.clock: dt.datetime | None = None
        """What time it was for the database server at the last :meth:`read`."""

    # -- reading and planning

    def read(self, plan: Plan) -> None:
        """Compare, and add what differs to a plan.

        :raises PostgresError: for a managed login that does not exist or is a superuser.
        """
        self._steps, self._verifiers, self._notes = [], {}, {}
        names = self.names
        seen = _Seen()
        with self.connect("postgres") as session:
            if session.version < 160000:
                raise PostgresError(
                    f"PostgreSQL {session.version // 10000} cannot grant ADMIN without the rest",
                    hint="Version 16 or newer is needed.",
                )
            self.clock = session.value("SELECT clock_timestamp()")
            self._read_cluster(session, seen)
            self._plan_planted(plan, session)
        with self.connect(names.database) as session:
            self._read_database(session, seen)
        self._plan_roles(plan, seen)
        self._plan_database(plan, seen)
        self._plan_function(plan, seen)
        missing = sorted({*self.managed, names.login} - seen.managed)
        if missing:
            self._add(
                plan,
                "",
                [
                    f"GRANT {identifier(name)} TO {identifier(names.owner)} "
                    "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE"
                    for name in missing
                ],
                ("managed logins", names.owner, "grant"),
                sorted(seen.managed),
                sorted({*seen.managed, *missing}),
            )

    def _plan_planted(self, plan: Plan, session: Session) -> None:
        """What a proof was killed over."""
        for row in session.query(planted.FIND):
            change = ("login", str(row["login"]), "update")
            now = {"bypassrls": row["held"] == "true", "comment": planted.MARK.strip()}
            self._add(plan, "", [planted.TAKE_BACK], change, now, {"bypassrls": False})

    def setting(self, login: str) -> Setting:
        """Who set the password of a login that has been read."""
        rotated_at, noted = self._notes.get(login, (None, ""))
        return Setting(bool(noted) and self._verifiers.get(login) == noted, rotated_at)

    def _read_cluster(self, session: Session, seen: _Seen) -> None:
        names = self.names
        for row in session.query(
            "SELECT a.rolname, a.rolsuper, a.rolcanlogin, a.rolcreaterole, a.rolbypassrls, "
            "  coalesce(r.rolconfig, '{}') AS config, "
            "  coalesce(encode(sha256(convert_to(a.rolpassword, 'UTF8')), 'hex'), '') AS verifier "
            "FROM pg_authid a JOIN pg_roles r USING (oid) WHERE a.rolname = ANY (%(roles)s)",
            {"roles": [names.owner, names.login, *self.managed]},
        ):
            seen.roles[row["rolname"]] = row
            self._verifiers[row["rolname"]] = row["verifier"]
        self.missing = [name for name in self.managed if name not in seen.roles]
        if self.missing and not self.predict:
            raise PostgresError(
                f"there is no login {', '.join(self.missing)} in PostgreSQL to rotate"
            )
        for name in {*self.managed} & seen.roles.keys():
            if seen.roles[name]["rolsuper"]:
                raise PostgresError(
                    f"{name} is a superuser, whose password nobody but a superuser may set",
                    hint=f"ALTER ROLE {identifier(name)} NOSUPERUSER",
                )
        rows = session.query(
            "SELECT pg_get_userbyid(roleid) AS role FROM pg_auth_members "
            "WHERE pg_get_userbyid(member) = %(owner)s AND admin_option",
            {"owner": names.owner},
        )
        seen.managed = {row["role"] for row in rows}
        if names.login in seen.roles:
            seen.connect = bool(
                session.value(
                    "SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl) a "
                    "WHERE datname = %(database)s AND pg_get_userbyid(a.grantee) = %(login)s "
                    "AND a.privilege_type = 'CONNECT')",
                    {"database": names.database, "login": names.login},
                )
            )

    def _read_database(self, session: Session, seen: _Seen) -> None:
        names = self.names
        where = {"schema": names.schema, "login": names.login}
        seen.schema_owner = session.value(
            "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %(schema)s", where
        )
        if seen.schema_owner is None:
            return
        seen.usage = bool(
            session.value(
                "SELECT EXISTS (SELECT FROM pg_namespace, aclexplode(nspacl) a "
                "WHERE nspname = %(schema)s AND pg_get_userbyid(a.grantee) = %(login)s "
                "AND a.privilege_type = 'USAGE')",
                where,
            )
        )
        seen.table_owner = session.value(
            "SELECT pg_get_userbyid(c.relowner) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %(schema)s AND c.relname = 'rotations' AND c.relkind = 'r'",
            where,
        )
        functions = session.query(
            "SELECT p.prosrc AS body, p.prosecdef AS definer, p.proconfig AS config, "
            "  pg_get_userbyid(p.proowner) AS owner, "
            "  ARRAY (SELECT CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END "
            "         FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a "
            "         WHERE a.grantee <> p.proowner ORDER BY 1) AS executors "
            "FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace "
            "WHERE n.nspname = %(schema)s AND p.proname = 'set_password' "
            "  AND pg_get_function_identity_arguments(p.oid) = 'p_role text, p_verifier text'",
            where,
        )
        seen.function = functions[0] if functions else None
        if seen.table_owner is not None:
            for row in session.query(f"TABLE {identifier(names.schema)}.rotations"):
                self._notes[row["role"]] = (row["rotated_at"], row["verifier"])

    def _plan_roles(self, plan: Plan, seen: _Seen) -> None:
        names = self.names
        for name, attributes, wanted in (
            (names.owner, "NOLOGIN NOINHERIT CREATEROLE BYPASSRLS", (False, True, True)),
            (names.login, "LOGIN NOINHERIT NOCREATEROLE NOBYPASSRLS", (True, False, False)),
        ):
            row = seen.roles.get(name)
            quoted = identifier(name)
            words = f"{attributes} NOSUPERUSER NOCREATEDB NOREPLICATION"
            if row is None:
                self._add(
                    plan,
                    "",
                    [f"CREATE ROLE {quoted} {words}"],
                    ("role", name, "create"),
                    None,
                    {"attributes": words},
                )
            elif (row["rolcanlogin"], row["rolcreaterole"], row["rolbypassrls"]) != wanted or row[
                "rolsuper"
            ]:
                raise PostgresError(
                    f"role {name} exists with other attributes than a rotator's",
                    hint=f"If it is nobody else's: ALTER ROLE {quoted} {words}",
                )
        # A statement that fails must not leave a verifier in the server's log.
        quiet = "log_min_error_statement=panic"
        row = seen.roles.get(names.login)
        if row is None or quiet not in row["config"]:
            self._add(
                plan,
                "",
                [f"ALTER ROLE {identifier(names.login)} SET log_min_error_statement = panic"],
                ("role", f"{names.login} logging", "update"),
                None,
                quiet,
            )

    def _plan_database(self, plan: Plan, seen: _Seen) -> None:
        names = self.names
        schema, owner, login = (
            identifier(text) for text in (names.schema, names.owner, names.login)
        )
        title = f"{names.database}.{names.schema}"
        if not seen.connect:
            statement_ = f"GRANT CONNECT ON DATABASE {identifier(names.database)} TO {login}"
            change = ("database rights", f"{names.database} {names.login}", "grant")
            self._add(plan, "", [statement_], change, [], ["CONNECT"])
        if seen.schema_owner is None:
            self._add(
                plan,
                names.database,
                [f"CREATE SCHEMA {schema} AUTHORIZATION {owner}"],
                ("schema", title, "create"),
                None,
                {"owner": names.owner},
            )
        elif seen.schema_owner != names.owner:
            raise PostgresError(
                f"schema {title} belongs to {seen.schema_owner}, not to {names.owner}"
            )
        if not seen.usage:
            self._add(
                plan,
                names.database,
                [f"GRANT USAGE ON SCHEMA {schema} TO {login}"],
                ("schema rights", f"{title} {names.login}", "grant"),
                [],
                ["USAGE"],
            )
        if seen.table_owner is None:
            self._add(
                plan,
                names.database,
                [
                    TABLE.format(schema=schema),
                    TABLE_COMMENT.format(schema=schema),
                    f"ALTER TABLE {schema}.rotations OWNER TO {owner}",
                ],
                ("table", f"{title}.rotations", "create"),
            )

    def _plan_function(self, plan: Plan, seen: _Seen) -> None:
        names = self.names
        schema, owner, login = (
            identifier(text) for text in (names.schema, names.owner, names.login)
        )
        body = BODY.format(schema=schema)
        wanted = {
            "body": body,
            "definer": True,
            "config": [SEARCH_PATH],
            "owner": names.owner,
            "executors": [names.login],
        }
        if seen.function == wanted:
            return
        signature = f"{schema}.set_password(text, text)"
        public = {key: value for key, value in wanted.items() if key != "body"}
        before = seen.function
        self._add(
            plan,
            names.database,
            [
                FUNCTION.format(schema=schema, body=literal(body)),
                f"ALTER FUNCTION {signature} OWNER TO {owner}",
                f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC",
                *(
                    f"REVOKE ALL ON FUNCTION {signature} FROM {identifier(name)}"
                    for name in (before["executors"] if before else [])
                    if name
                ),
                f"GRANT EXECUTE ON FUNCTION {signature} TO {login}",
            ],
            (
                "function",
                f"{names.database}.{names.schema}.set_password",
                "update" if before else "create",
            ),
            {**before, "body": _digest(before["body"])} if before else None,
            {**public, "body": _digest(body)},
        )

    def _add(
        self,
        plan: Plan,
        database: str,
        statements: list[str],
        change: tuple[str, str, str],
        before: Any = None,
        after: Any = None,
    ) -> None:
        plan.add(*change, before, after)
        self._steps.append((database, statements))

    # -- acting

    def act(self) -> None:
        """Make what was planned."""
        for name in ("", self.names.database):
            statements = [text for where, texts in self._steps if where == name for text in texts]
            if statements:
                with self.connect(name or "postgres") as session, session.transaction():
                    for text in statements:
                        session.execute(text)

    def new_password(self) -> str:
        """Give the rotator a password of this moment, and return it.

        PostgreSQL is told the verifier alone.
        """
        password = new_password()
        with self.connect("postgres") as session, session.transaction():
            session.execute("SET LOCAL log_min_error_statement = panic")
            session.execute("SET LOCAL log_min_duration_statement = -1")
            session.execute(
                f"ALTER ROLE {identifier(self.names.login)} PASSWORD {literal(verifier(password))}"
            )
        return password


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:20]
