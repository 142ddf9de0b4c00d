# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Roles, databases, schemas, rights and row level security of one server, reconciled in one go.

Adds what is declared and protects what is declared as protected. It takes no right away that
somebody else has granted: that is for :mod:`privileges` to find and for a person to decide.

A few queries read everything; community modules would need a round trip for each role, each grant
and each table, and know nothing of policies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import departed
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    Session,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import (
    identifier,
    literal,
)

__all__ = ["Reconciler", "policy_is_declared"]

Row = dict[str, Any]
Connect = Callable[[str], Session]

# What a role is unless it is said otherwise: nothing that reaches beyond its grants.
_ROLE = "NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS INHERIT"
_COMMENT = "tamshai.phoenix"
_PUBLIC = ""  # the empty name, which no role can have
# A table that somebody holds must not hold everybody up behind us.
LOCK_TIMEOUT = "10s"


@dataclass
class _Step:
    """One change and the statements that make it, run in the database ``database``."""

    database: str
    statements: list[str]
    policy: Mapping[str, Any] | None = None


@dataclass
class _State:
    """What one database holds, as far as it was declared."""

    schemas: dict[str, str] = field(default_factory=dict)
    schema_rights: set[tuple[str, str, str]] = field(default_factory=set)
    tables: dict[str, Row] = field(default_factory=dict)
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    defaults: set[tuple[str, str, str, str, str]] = field(default_factory=set)
    policies: dict[tuple[str, str], Row] = field(default_factory=dict)
    private_functions: set[str] = field(default_factory=set)


class Reconciler:
    """Reads, plans and makes the declared objects.

    :arg roles: ``name``, ``login``, ``connection_limit``, ``inherits``.
    :arg databases: ``name``, ``owner``, ``connect`` (logins), ``schemas``; see module pg_databases.
    :arg connect: Opens a superuser session in a database.
    :arg drop: Logins that are to go.
    :raises PostgresError: for a login that is declared and to go.
    """

    def __init__(
        self,
        roles: Sequence[Row],
        databases: Sequence[Row],
        connect: Connect,
        drop: Sequence[str] = (),
    ) -> None:
        departed.refuse_declared(drop, roles)
        self.roles = roles
        self.drop = drop
        self.databases = databases
        self.connect = connect
        self.plan = Plan()
        self._steps: list[_Step] = []
        self._leaving: list[str] = []

    # -- reading and planning

    def read(self) -> Plan:
        """Compare the server with the declaration."""
        self.plan, self._steps = Plan(), []
        with self.connect("postgres") as session:
            self._leaving = departed.there(session, self.drop)
            for name in self._leaving:
                self.plan.add("role", name, "delete", {"login": True}, None, "with all its rights")
            self._plan_roles(session)
            existing = self._plan_databases(session)
        for database in self.databases:
            state = _State()
            if database["name"] in existing:
                with self.connect(database["name"]) as session:
                    state = _read(session, [s["name"] for s in database["schemas"]])
            self._plan_public_schema(database, state)
            self._plan_functions(database, state)
            for schema in database["schemas"]:
                self._plan_schema(database, schema, state)
        return self.plan

    def act(self) -> None:
        """Make the changes of the plan: each database in one transaction."""
        for name in self._leaving:
            departed.drop(self.connect, name)
        with self.connect("postgres") as session:
            for step in self._steps:
                if step.database == "":
                    for statement in step.statements:
                        session.execute(statement)
        for name in dict.fromkeys(step.database for step in self._steps if step.database):
            with self.connect(name) as session, session.transaction():
                session.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                for step in self._steps:
                    if step.database == name:
                        _run(session, step)

    def _add(
        self,
        database: str,
        statements: Iterable[str],
        change: tuple[str, str, str],
        before: Any = None,
        after: Any = None,
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        self.plan.add(*change, before, after)
        self._steps.append(_Step(database, list(statements), policy))

    def _plan_roles(self, session: Session) -> None:
        rows = session.query(
            "SELECT rolname, rolcanlogin, rolconnlimit FROM pg_roles "
            "WHERE rolname = ANY (%(names)s)",
            {"names": [role["name"] for role in self.roles]},
        )
        existing = {row["rolname"]: row for row in rows}
        for role in self.roles:
            name = role["name"]
            after = {"login": role["login"], "connection_limit": role["connection_limit"]}
            words = (
                f"{'LOGIN' if role['login'] else 'NOLOGIN'} "
                f"CONNECTION LIMIT {int(role['connection_limit'])}"
            )
            found = existing.get(name)
            if found is None:
                statement = f"CREATE ROLE {identifier(name)} {_ROLE} {words}"
                self._add("", [statement], ("role", name, "create"), None, after)
                continue
            before = {"login": found["rolcanlogin"], "connection_limit": found["rolconnlimit"]}
            if before != after:
                statement = f"ALTER ROLE {identifier(name)} {words}"
                self._add("", [statement], ("role", name, "update"), before, after)
        self._plan_memberships(session)

    def _plan_memberships(self, session: Session) -> None:
        """Rights by inheritance alone: a member cannot become the other role, nor pass it on.

        :raises PostgresError: for a server that cannot grant so little.
        """
        if not any(role.get("inherits") for role in self.roles):
            return
        if session.version < 160000:
            raise PostgresError(
                f"PostgreSQL {session.version // 10000} cannot let a role inherit from another one "
                "without letting it become that one",
                hint="Version 16 or newer is needed for 'inherits'.",
            )
        rows = session.query(
            "SELECT pg_get_userbyid(member) AS member, pg_get_userbyid(roleid) AS role "
            "FROM pg_auth_members WHERE inherit_option"
        )
        existing = {(row["member"], row["role"]) for row in rows}
        for role in self.roles:
            for other in role.get("inherits") or ():
                if (role["name"], other) in existing:
                    continue
                statement = (
                    f"GRANT {identifier(other)} TO {identifier(role['name'])} "
                    "WITH INHERIT TRUE, SET FALSE, ADMIN FALSE"
                )
                change = ("membership", f"{role['name']} in {other}", "grant")
                self._add("", [statement], change, [], ["INHERIT"])

    def _plan_databases(self, session: Session) -> set[str]:
        rows = session.query(
            "SELECT datname, pg_get_userbyid(datdba) AS owner, "
            "  ARRAY (SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END || ' ' "
            "         || privilege_type "
            "         FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))) AS rights "
            "FROM pg_database WHERE datname = ANY (%(names)s)",
            {"names": [database["name"] for database in self.databases]},
        )
        existing = {row["datname"]: row for row in rows}
        for database in self.databases:
            name, owner = database["name"], database["owner"]
            quoted = identifier(name)
            found = existing.get(name)
            if found is None:
                statement = f"CREATE DATABASE {quoted} OWNER {identifier(owner)} TEMPLATE template0"
                self._add("", [statement], ("database", name, "create"), None, {"owner": owner})
                rights = {f"{_PUBLIC} CONNECT", f"{_PUBLIC} TEMPORARY"}
            else:
                rights = set(found["rights"])
                if owner and found["owner"] != owner:
                    statement = f"ALTER DATABASE {quoted} OWNER TO {identifier(owner)}"
                    self._add(
                        "",
                        [statement],
                        ("database", name, "update"),
                        {"owner": found["owner"]},
                        {"owner": owner},
                    )
            self._plan_connect(database, rights)
        return set(existing)

    def _plan_connect(self, database: Row, rights: set[str]) -> None:
        name, quoted = database["name"], identifier(database["name"])
        public = sorted(right.strip() for right in rights if right.startswith(f"{_PUBLIC} "))
        if public:
            self._add(
                "",
                [f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC"],
                ("database rights", f"{name} PUBLIC", "revoke"),
                public,
                [],
            )
        for login in database["connect"]:
            if f"{login} CONNECT" not in rights:
                self._add(
                    "",
                    [f"GRANT CONNECT ON DATABASE {quoted} TO {identifier(login)}"],
                    ("database rights", f"{name} {login}", "grant"),
                    [],
                    ["CONNECT"],
                )

    def _plan_public_schema(self, database: Row, state: _State) -> None:
        """What everybody may do in schema ``public`` (the default of every new database)."""
        name = database["name"]
        rights = sorted(
            right
            for schema, who, right in state.schema_rights
            if (schema, who) == ("public", _PUBLIC)
        )
        if name != "template1" and (rights or "public" not in state.schemas):
            # A new database has it as well; in template0 the right is USAGE.
            self._add(
                name,
                ["REVOKE ALL ON SCHEMA public FROM PUBLIC"],
                ("schema rights", f"{name}.public PUBLIC", "revoke"),
                rights or ["USAGE"],
                [],
            )

    def _plan_functions(self, database: Row, state: _State) -> None:
        """Functions that the owner makes later are not everybody's to execute."""
        owner = database["owner"]
        if not owner or owner in state.private_functions:
            return
        self._add(
            database["name"],
            [
                (
                    f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(owner)} "
                    "REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC"
                )
            ],
            ("rights on future functions", f"{database['name']} PUBLIC", "revoke"),
            ["EXECUTE"],
            [],
        )

    def _plan_schema(self, database: Row, schema: Row, state: _State) -> None:
        name, owner = schema["name"], schema["owner"] or database["owner"]
        title = f"{database['name']}.{name}"
        found = state.schemas.get(name)
        if found is None:
            statement = f"CREATE SCHEMA {identifier(name)} AUTHORIZATION {identifier(owner)}"
            self._add(
                database["name"], [statement], ("schema", title, "create"), None, {"owner": owner}
            )
        elif found != owner:
            statement = f"ALTER SCHEMA {identifier(name)} OWNER TO {identifier(owner)}"
            self._add(
                database["name"],
                [statement],
                ("schema", title, "update"),
                {"owner": found},
                {"owner": owner},
            )
        seeded = self._plan_seed(database["name"], schema, owner, state)
        for table in schema["tables"]:
            self._plan_table(database["name"], name, table, state)
        for grant in schema["grants"]:
            self._plan_grant(database["name"], name, owner, grant, state, seeded=seeded)

    def _plan_seed(self, database: str, schema: Row, owner: str, state: _State) -> bool:
        seed = schema.get("seed") or {}
        if not seed.get("sql") or seed["table"] in state.tables:
            return False
        # As the owner, so that what it makes is the owner's and it cannot do more than that.
        self._add(
            database,
            [
                f"SET LOCAL ROLE {identifier(owner)}",
                f"SET LOCAL search_path = {identifier(schema['name'])}, pg_catalog",
                seed["sql"],
                "RESET ROLE",
                "SET LOCAL search_path = pg_catalog",
            ],
            ("seed", f"{database}.{schema['name']}.{seed['table']}", "create"),
        )
        return True

    def _plan_table(self, database: str, schema: str, table: Row, state: _State) -> None:
        name = table["name"]
        title = f"{database}.{schema}.{name}"
        quoted = f"{identifier(schema)}.{identifier(name)}"
        found = state.tables.get(name, {"enabled": False, "forced": False})
        before = {"enabled": found["enabled"], "forced": found["forced"]}
        after = {"enabled": True, "forced": True}
        if before != after:
            statements = [
                f"ALTER TABLE {quoted} ENABLE ROW LEVEL SECURITY",
                f"ALTER TABLE {quoted} FORCE ROW LEVEL SECURITY",
            ]
            self._add(database, statements, ("row level security", title, "update"), before, after)
        for policy in table["policies"]:
            stated = _stated(policy)
            existing = state.policies.get((name, policy["name"]))
            if existing is not None and existing["comment"] == _evidence(stated, existing):
                continue
            drop = [f"DROP POLICY {identifier(policy['name'])} ON {quoted}"] if existing else []
            self._add(
                database,
                [*drop, _create_policy(quoted, stated)],
                ("policy", f"{title} {policy['name']}", "update" if existing else "create"),
                _public(existing) if existing else None,
                stated,
                policy={"schema": schema, "table": name, "quoted": quoted, "stated": stated},
            )

    def _plan_grant(
        self, database: str, schema: str, owner: str, grant: Row, state: _State, *, seeded: bool
    ) -> None:
        login = grant["to"]
        quoted, to = identifier(schema), identifier(login)
        title = f"{database}.{schema} {login}"
        if (schema, login, "USAGE") not in state.schema_rights:
            self._add(
                database,
                [f"GRANT USAGE ON SCHEMA {quoted} TO {to}"],
                ("schema rights", title, "grant"),
                [],
                ["USAGE"],
            )
        for kind, letter, wanted in (
            ("TABLES", "r", grant["tables"]),
            ("SEQUENCES", "S", grant["sequences"]),
        ):
            objects = {
                name
                for name, row in state.tables.items()
                if (row["kind"] == "S") == (letter == "S")
            }
            missing = sorted(
                right
                for right in wanted
                if seeded or any((name, login, right) not in state.rights for name in objects)
            )
            if missing:
                self._add(
                    database,
                    [f"GRANT {', '.join(missing)} ON ALL {kind} IN SCHEMA {quoted} TO {to}"],
                    (f"rights on {kind.lower()}", title, "grant"),
                    [],
                    missing,
                )
            later = sorted(
                right
                for right in wanted
                if (owner, schema, letter, login, right) not in state.defaults
            )
            if later:
                self._add(
                    database,
                    [
                        (
                            f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(owner)} "
                            f"IN SCHEMA {quoted} GRANT {', '.join(later)} ON {kind} TO {to}"
                        )
                    ],
                    (f"rights on future {kind.lower()}", title, "grant"),
                    [],
                    later,
                )


def _read(session: Session, schemas: list[str]) -> _State:
    """All that is compared in one database, in five queries."""
    state = _State()
    names = {"schemas": schemas}
    for row in session.query(
        "SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner, "
        "  ARRAY (SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END || ' ' "
        "         || privilege_type FROM aclexplode(nspacl)) AS rights "
        "FROM pg_namespace WHERE nspname = ANY (%(schemas)s) OR nspname = 'public'",
        names,
    ):
        state.schemas[row["name"]] = row["owner"]
        for right in row["rights"]:
            who, what = right.rsplit(" ", 1)
            state.schema_rights.add((row["name"], who, what))
    for row in session.query(
        "SELECT c.relname AS name, c.relkind::text AS kind, c.relrowsecurity AS enabled, "
        "  c.relforcerowsecurity AS forced, "
        "  ARRAY (SELECT CASE grantee WHEN 0 THEN '' ELSE pg_get_userbyid(grantee) END || ' ' "
        "         || privilege_type FROM aclexplode(c.relacl)) AS rights "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = ANY (%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')",
        names,
    ):
        state.tables[row["name"]] = row
        for right in row["rights"]:
            who, what = right.rsplit(" ", 1)
            state.rights.add((row["name"], who, what))
    for row in session.query(
        "SELECT pg_get_userbyid(d.defaclrole) AS owner, n.nspname AS schema, "
        "  d.defaclobjtype::text AS kind, "
        "  CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END AS who, "
        "  a.privilege_type AS what "
        "FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, "
        "  aclexplode(d.defaclacl) a WHERE n.nspname = ANY (%(schemas)s)",
        names,
    ):
        state.defaults.add((row["owner"], row["schema"], row["kind"], row["who"], row["what"]))
    for row in session.query(
        "SELECT pg_get_userbyid(defaclrole) AS owner FROM pg_default_acl "
        "WHERE defaclnamespace = 0 AND defaclobjtype = 'f' "
        "  AND NOT EXISTS (SELECT FROM aclexplode(defaclacl) WHERE grantee = 0)"
    ):
        state.private_functions.add(row["owner"])
    for row in session.query(_POLICIES, {**names, "table": None, "policy": None}):
        state.policies[(row["table"], row["name"])] = row
    return state


_POLICIES = (
    "SELECT n.nspname AS schema, c.relname AS table, p.polname AS name, "
    "  p.polpermissive AS permissive, p.polcmd::text AS command, "
    "  ARRAY (SELECT CASE role WHEN 0 THEN '' ELSE pg_get_userbyid(role) END "
    "         FROM unnest(p.polroles) role ORDER BY 1) AS roles, "
    "  coalesce(pg_get_expr(p.polqual, p.polrelid), '') AS using, "
    "  coalesce(pg_get_expr(p.polwithcheck, p.polrelid), '') AS check, "
    "  coalesce(obj_description(p.oid, 'pg_policy'), '') AS comment "
    "FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid "
    "JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE n.nspname = ANY (%(schemas)s) "
    "  AND (%(table)s::text IS NULL OR (c.relname, p.polname) = (%(table)s, %(policy)s))"
)


def policy_is_declared(session: Session) -> list[Row]:
    """Every policy of a database, and whether it is as this module made it."""
    schemas = [
        row["name"]
        for row in session.query("SELECT DISTINCT schemaname::text AS name FROM pg_policies")
    ]
    rows = session.query(_POLICIES, {"schemas": schemas, "table": None, "policy": None})
    return [
        {
            **_public(row),
            "schema": row["schema"],
            "table": row["table"],
            "declared": row["comment"].startswith(_COMMENT)
            and row["comment"].rsplit(" ", 1)[-1] == _digest(_public(row)),
        }
        for row in rows
    ]


def _stated(policy: Row) -> Row:
    """A policy as it was declared, with nothing left to a default of the server."""
    return {
        "name": policy["name"],
        "command": policy["command"],
        "permissive": policy["permissive"],
        "roles": sorted(policy["roles"]),
        "using": policy["using"] or "",
        "check": policy["check"] or "",
    }


def _public(existing: Row) -> Row:
    words = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "ALL"}
    kept = {key: existing[key] for key in ("name", "permissive", "roles", "using", "check")}
    return {**kept, "command": words.get(existing["command"], existing["command"])}


def _evidence(stated: Row, existing: Row) -> str:
    """What a policy's comment says about it.

    The server gives an expression back in its own words, so the two texts cannot be compared. The
    comment holds a digest of what was declared and one of what the server made of it; the policy is
    unchanged as long as both still hold.
    """
    made = _public(existing)
    return f"{_COMMENT} {_digest(stated)} {_digest(made)}"


def _digest(value: Row) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:20]


def _create_policy(table: str, stated: Row) -> str:
    parts = [
        f"CREATE POLICY {identifier(stated['name'])} ON {table}",
        f"AS {'PERMISSIVE' if stated['permissive'] else 'RESTRICTIVE'}",
        f"FOR {stated['command']}",
        "TO " + (", ".join(identifier(role) for role in stated["roles"]) or "PUBLIC"),
    ]
    if stated["using"]:
        parts.append(f"USING ({stated['using']})")
    if stated["check"]:
        parts.append(f"WITH CHECK ({stated['check']})")
    return " ".join(parts)


def _run(session: Session, step: _Step) -> None:
    for statement in step.statements:
        session.execute(statement)
    if step.policy is None:
        return
    wanted = step.policy
    rows = session.query(
        _POLICIES,
        {
            "schemas": [wanted["schema"]],
            "table": wanted["table"],
            "policy": wanted["stated"]["name"],
        },
    )
    if not rows:
        raise PostgresError(f"policy {wanted['stated']['name']} is not there after its creation")
    comment = _evidence(wanted["stated"], rows[0])
    session.execute(
        f"COMMENT ON POLICY {identifier(wanted['stated']['name'])} ON {wanted['quoted']} "
        f"IS {literal(comment)}"
    )
