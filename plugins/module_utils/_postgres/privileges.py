# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each login of a server can effectively do, against what it may do.

Read from the catalogs: every grant, to whomever; then for each login, which of them reach it, by
its own name, by PUBLIC, by roles whose rights it inherits and by roles that it may become. What no
rule allows is a finding, whatever it is: a kind of right that this code has never heard of comes
out as a finding as well. Nothing is changed.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.catalog import (
    Cluster,
    Database,
    Grant,
    Relation,
    Routine,
    read_cluster,
    read_database,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import identifier

__all__ = ["Finding", "Rule", "findings", "inspect", "rule", "table"]

DML = ("SELECT", "INSERT", "UPDATE", "DELETE")
CHANGES = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
NO_RLS = "WITHOUT ROW LEVEL SECURITY"
NOT_FORCED = "ROW LEVEL SECURITY NOT FORCED"
DEFINER = "EXECUTE"
UNSAFE = "EXECUTE UNSAFE SECURITY DEFINER"
_ATTRIBUTES = ("SUPERUSER", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS")


@dataclass(frozen=True)
class Rule:
    """Something that a login may do.

    :arg kind: Of the object: ``login``, ``database``, ``schema``, ``table``, ``sequence``,
        ``function``, ``attribute``, ``role``, ``future table``, ... as findings name them.
    :arg name: Of the object, with its schema; ``*`` and ``?`` match as in a shell.
    :arg rights: Which rights; ``*`` for any.
    :arg database: Where, ``*`` for anywhere.
    """

    login: str
    kind: str
    name: str
    rights: tuple[str, ...]
    database: str = "*"

    def allows(self, finding: Finding) -> bool:
        return (
            self.login == finding.login
            and self.kind == finding.kind
            and (finding.right in self.rights or "*" in self.rights)
            and fnmatchcase(finding.name, self.name)
            and fnmatchcase(finding.database, self.database)
        )


@dataclass(frozen=True)
class Finding:
    """One right of one login.

    :arg via: How it got there, in words.
    :arg revoke: The statement that would take it away, to be run in ``database``.
    """

    login: str
    right: str
    kind: str
    name: str
    database: str
    via: str
    revoke: str

    def public(self) -> dict[str, str]:
        return asdict(self)


@dataclass
class _Reach:
    """The roles that a login has the rights of, and how."""

    login: str
    how: dict[str, str] = field(default_factory=dict)

    def via(self, grantee: str) -> str | None:
        if grantee == "":
            return "granted to PUBLIC"
        return self.how.get(grantee)


@dataclass(frozen=True)
class _Way:
    """How a login gets at a relation: by rights on it, or by those on another that leads there.

    :arg top: What the rights are on.
    :arg held: Each right on it, how the login got it, and to whom it was granted.
    :arg steps: What ``top`` leads through, to the relation; empty where that is ``top``.
    :arg relation: ``None`` for a system catalog that not everybody may read.
    :arg role: In whose name it is got at.
    """

    top: Relation
    held: tuple[tuple[str, str, str], ...]
    steps: tuple[tuple[str, str], ...]
    relation: Relation | None
    role: str

    @property
    def key(self) -> tuple[str, str]:
        return self.steps[-1] if self.steps else self.top.key

    def by(self, rights: Sequence[str]) -> tuple[str, str] | None:
        """How the login got one of these rights, the way to the relation with it, and of whom."""
        through = "; through " + " -> ".join(".".join(step) for step in self.steps)
        for right, via, grantee in self.held:
            if right in rights:
                return via + (through if self.steps else ""), grantee
        return None


def rule(row: Mapping[str, Any]) -> Rule:
    """From an option of the module."""
    return Rule(
        login=row["login"],
        kind=row["kind"],
        name=row.get("name") or "*",
        rights=tuple(row.get("rights") or ("*",)),
        database=row.get("database") or "*",
    )


def inspect(connect: Callable[[str], Session], start: str = "postgres") -> list[Finding]:
    """Every right of every login, allowed or not.

    :arg connect: Opens a superuser session in a database.
    """
    with connect(start) as session:
        cluster = read_cluster(session)
    databases = []
    for name in cluster.connectable:
        with connect(name) as session:
            databases.append(read_database(session, name))
    return list(_rights(cluster, databases))


def findings(rights: Iterable[Finding], rules: Sequence[Rule]) -> list[Finding]:
    """The rights that no rule allows."""
    return [right for right in rights if not any(rule.allows(right) for rule in rules)]


def table(rows: Sequence[Finding]) -> str:
    """Login, right, how it got it, and what would revoke it, in columns for a person."""
    head = ("login", "right", "how it got it", "what would revoke it")
    lines = [head, *((f.login, _right(f), f.via, _revoke(f)) for f in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        "  ".join([*(line[i].ljust(widths[i]) for i in range(3)), line[3]]).rstrip()
        for line in lines
    )


def _right(finding: Finding) -> str:
    where = "" if finding.kind in ("database", "login", "attribute", "role") else finding.database
    on = f" on {finding.kind} {finding.name}" if finding.kind not in ("login", "attribute") else ""
    return f"{finding.right}{on}" + (f" in {where}" if where not in ("", "*") else "")


def _revoke(finding: Finding) -> str:
    inside = finding.database not in ("", "*") and finding.kind != "database"
    return (f"in {finding.database}: " if inside else "") + finding.revoke


# -- the rights of each login


def _rights(cluster: Cluster, databases: Sequence[Database]) -> Iterator[Finding]:
    for login in cluster.logins:
        role = cluster.roles[login]
        quoted = identifier(login)
        yield Finding(login, "LOGIN", "login", login, "*", "it exists", f"DROP ROLE {quoted}")
        if role["super"]:
            # It has every right there is; that it exists is the finding.
            yield Finding(
                login,
                "SUPERUSER",
                "attribute",
                "SUPERUSER",
                "*",
                "attribute of the login",
                f"ALTER ROLE {quoted} NOSUPERUSER",
            )
            if role["password"]:
                yield Finding(
                    login,
                    "PASSWORD",
                    "attribute",
                    "PASSWORD",
                    "*",
                    "a superuser with a password",
                    f"ALTER ROLE {quoted} PASSWORD NULL",
                )
            continue
        reach = _reach(cluster, login)
        yield from _attributes(cluster, reach)
        yield from _memberships(cluster, reach)
        yield from _settings(cluster, login)
        yield from _granted(cluster.grants, reach, "*")
        yield from _owned(cluster, cluster.owned, reach, "*")
        for database in databases:
            yield from _in_database(cluster, database, reach)


def _reach(cluster: Cluster, login: str) -> _Reach:
    """Follow the memberships: INHERIT gives rights, SET lets it become, ADMIN lets it take both."""
    reach = _Reach(login, {login: "granted to the login"})
    queue: list[tuple[str, tuple[str, ...]]] = [(login, (login,))]
    while queue:
        member, path = queue.pop(0)
        for edge in cluster.memberships:
            if edge["member"] != member or edge["role"] in reach.how:
                continue
            ways = [word for word in ("inherit", "set", "admin") if edge[word]]
            if not ways:
                continue
            chain = (*path, edge["role"])
            words = {"inherit": "inherited", "set": "by SET ROLE", "admin": "by ADMIN"}[ways[0]]
            reach.how[edge["role"]] = f"{words}: {' -> '.join(chain)}"
            queue.append((edge["role"], chain))
    return reach


def _attributes(cluster: Cluster, reach: _Reach) -> Iterator[Finding]:
    for name, how in reach.how.items():
        # A predefined role that exists in name only cannot be asked for more than it is.
        role = cluster.roles[name]
        for word in _ATTRIBUTES:
            if not role[word.lower().replace("user", "")]:
                continue
            own = name == reach.login
            revoke = (
                f"ALTER ROLE {identifier(name)} NO{word}"
                if own
                else f"REVOKE {identifier(name)} FROM {identifier(reach.login)}"
            )
            via = "attribute of the login" if own else f"attribute of {name}, {how}"
            yield Finding(reach.login, word, "attribute", word, "*", via, revoke)


def _memberships(cluster: Cluster, reach: _Reach) -> Iterator[Finding]:
    for edge in cluster.memberships:
        if edge["member"] not in reach.how:
            continue
        words = [word.upper() for word in ("admin", "inherit", "set") if edge[word]]
        right = "MEMBER" + (f" WITH {', '.join(words)}" if words else "")
        how = "direct" if edge["member"] == reach.login else reach.how[edge["member"]]
        revoke = (
            f"REVOKE {identifier(edge['role'])} FROM {identifier(edge['member'])} "
            f"GRANTED BY {identifier(edge['grantor'])}"
        )
        yield Finding(reach.login, right, "role", edge["role"], "*", how, revoke)


def _settings(cluster: Cluster, login: str) -> Iterator[Finding]:
    """Settings that the login could not change, and that its sessions start with all the same."""
    for row in cluster.settings:
        if row["role"] not in ("", login):
            continue
        whom = f"ROLE {identifier(login)}" if row["role"] else "ROLE ALL"
        place = "" if row["database"] == "*" else f" IN DATABASE {identifier(row['database'])}"
        yield Finding(
            login,
            "SET",
            "setting",
            row["stated"],
            row["database"],
            "set for the login" if row["role"] else "set for everybody",
            f"ALTER {whom}{place} RESET {identifier(row['stated'])}",
        )


def _granted(grants: Iterable[Grant], reach: _Reach, database: str) -> Iterator[Finding]:
    for grant in grants:
        via = reach.via(grant.grantee)
        if via is None:
            continue
        whom = identifier(grant.grantee) if grant.grantee else "PUBLIC"
        where = grant.name if grant.kind == "database" else database
        yield Finding(
            reach.login,
            grant.right,
            grant.kind,
            grant.name,
            where,
            via + (", with the right to grant it on" if grant.grantable else ""),
            grant.revoke.replace("{whom}", whom),
        )


def _in_database(cluster: Cluster, database: Database, reach: _Reach) -> Iterator[Finding]:
    yield from _granted(database.grants, reach, database.name)
    yield from _owned(cluster, database.owned, reach, database.name)
    ways = list(_ways(database, reach))
    yield from _unprotected(cluster, database, ways, reach)
    yield from _extensions(database, reach)
    for routine in database.routines:
        if routine.definer or routine.extension is None:
            yield from _routine(database, routine, ways, reach)
    for policy in database.policies:
        if not policy["declared"] and _concerns(cluster, policy, ways, reach):
            table_ = f"{identifier(policy['schema'])}.{identifier(policy['table'])}"
            yield Finding(
                reach.login,
                policy["command"],
                "policy",
                f"{policy['schema']}.{policy['table']} {policy['name']}",
                database.name,
                "a policy that is not declared, or was changed since",
                f"DROP POLICY {identifier(policy['name'])} ON {table_}",
            )


def _owned(
    cluster: Cluster, rows: Iterable[dict[str, Any]], reach: _Reach, database: str
) -> Iterator[Finding]:
    for row in rows:
        how = reach.how.get(row["owner"])
        if how is not None:
            yield Finding(
                reach.login,
                "OWNER",
                "object",
                row["object"],
                database,
                "owns it" if row["owner"] == reach.login else f"its owner is {how}",
                f"REASSIGN OWNED BY {identifier(row['owner'])} TO {identifier(cluster.bootstrap)}",
            )


def _extensions(database: Database, reach: _Reach) -> Iterator[Finding]:
    """Code in a language without limits that came with an extension: files, programs, networks."""
    seen = set()
    for routine in database.routines:
        name = routine.extension
        if name is None or routine.definer or name in seen:
            continue
        vias = [via for grantee in routine.executors if (via := reach.via(grantee)) is not None]
        if vias:
            seen.add(name)
            yield Finding(
                reach.login,
                "USE",
                "extension",
                name,
                database.name,
                f"{vias[0]} on its functions",
                f"DROP EXTENSION {identifier(name)}",
            )


def _ways(database: Database, reach: _Reach) -> Iterator[_Way]:
    """Every relation that a login gets at, and what those that run as their owner lead it to.

    What they lead to in the login's own name, it has rights on itself.
    """
    relations = {relation.key: relation for relation in database.relations}
    own = {}
    for key, relation in relations.items():
        held = [
            (right, via, grantee)
            for grantee, right in relation.rights
            if right in (*DML, *CHANGES) and (via := reach.via(grantee)) is not None
        ]
        if relation.owner in reach.how:
            how = reach.how[relation.owner]
            held += [(right, how, relation.owner) for right in (*DML, "TRUNCATE")]
        if held:
            own[key] = _Way(relation, tuple(held), (), relation, reach.login)
    for way in own.values():
        queue, seen = collections.deque([way]), {(way.key, way.role)}
        while queue:
            here = queue.popleft()
            yield here
            if here.relation is None or (here.steps and here.key in own):
                continue
            for key in here.relation.reads:
                role = here.relation.owner
                if (key, role) not in seen:
                    seen.add((key, role))
                    there = relations.get(key)
                    queue.append(_Way(way.top, way.held, (*here.steps, key), there, role))


def _unprotected(
    cluster: Cluster, database: Database, ways: Sequence[_Way], reach: _Reach
) -> Iterator[Finding]:
    """Rows that a login gets at without row level security having a say."""
    own = {way.key for way in ways if not way.steps and way.by(DML) is not None}
    for way in ways:
        reached = way.by(DML)
        if reached is None or (way.steps and way.key in own):
            continue
        via, grantee = reached
        problem = _protection(cluster, way, identifier(grantee) if grantee else "PUBLIC")
        if problem is not None:
            right, cure = problem
            yield Finding(
                reach.login,
                right,
                "table",
                ".".join(way.top.key),
                database.name,
                f"its rows are reached: {via}" if not way.steps else f"rows are reached: {via}",
                cure,
            )


def _protection(cluster: Cluster, way: _Way, whom: str) -> tuple[str, str] | None:
    relation = way.relation
    revoke = f"REVOKE ALL ON {_quoted(way.top)} FROM {whom}"
    if relation is None:
        return NO_RLS, revoke
    name = _quoted(relation)
    if relation.kind in ("table", "partitioned table"):
        if not relation.enabled:
            return NO_RLS, f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
        if not relation.forced:
            return NOT_FORCED, f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY"
    elif relation.kind != "view":
        # Materialized views and foreign tables know no row level security.
        return NO_RLS, revoke
    owner = cluster.roles[relation.owner]
    if not relation.runs or not (owner["super"] or owner["bypassrls"]):
        return None
    if "_RETURN" in relation.runs:
        return NO_RLS, f"ALTER VIEW {name} SET (security_invoker = true)"
    return NO_RLS, f"DROP RULE {identifier(relation.runs[0])} ON {name}"


def _quoted(relation: Relation) -> str:
    return f"{identifier(relation.schema)}.{identifier(relation.name)}"


def _concerns(
    cluster: Cluster, policy: Mapping[str, Any], ways: Sequence[_Way], reach: _Reach
) -> bool:
    """Whether a policy says what rows a login gets, in its own name or that of a view's owner."""
    names = {"", *reach.how}
    for way in ways:
        if way.steps and way.key == (policy["schema"], policy["table"]):
            names.update(_reach(cluster, way.role).how)
    return not names.isdisjoint(policy["roles"])


def _routine(
    database: Database, routine: Routine, relations: Sequence[_Way], reach: _Reach
) -> Iterator[Finding]:
    """Functions that do more than their caller may."""
    signature = f"{identifier(routine.schema)}.{identifier(routine.name)}({routine.arguments})"
    name = f"{routine.schema}.{routine.name}({routine.arguments})"
    ways = [
        (
            via,
            f"REVOKE EXECUTE ON ROUTINE {signature} FROM "
            + (identifier(grantee) if grantee else "PUBLIC"),
        )
        for grantee in routine.executors
        if (via := reach.via(grantee)) is not None
    ]
    # A trigger asks for no right to execute, and stays after that has been revoked.
    ways += [
        (via, f"ALTER ROUTINE {signature} SECURITY INVOKER") for via in _fired(routine, relations)
    ]
    if not ways or routine.owner in reach.how:
        return
    via, revoke = ways[0]
    reasons = _unsafe(database, routine, reach) if routine.definer else ""
    what = f"SECURITY DEFINER of {routine.owner}" if routine.definer else routine.language
    yield Finding(
        reach.login,
        DEFINER,
        "function",
        name,
        database.name,
        f"{via}; {what}",
        revoke,
    )
    if reasons:
        yield Finding(
            reach.login,
            UNSAFE,
            "function",
            name,
            database.name,
            f"{via}; {what}; {reasons}",
            f"ALTER ROUTINE {signature} SET search_path = pg_catalog, pg_temp",
        )


def _fired(routine: Routine, ways: Sequence[_Way]) -> Iterator[str]:
    """How a login fires a function by changing rows; on the way through a rule, by any change."""
    for schema, name, trigger, event in routine.triggers:
        for way in ways:
            if way.key == (schema, name):
                changes = way.by(CHANGES if way.steps else (event,))
                if changes is not None:
                    yield f"by trigger {trigger} on {schema}.{name}, {event} {changes[0]}"


def _unsafe(database: Database, routine: Routine, reach: _Reach) -> str:
    """Why a caller can put its own objects in the way of a function's."""
    if routine.search_path is None:
        return "its search_path is the caller's"
    parts = [part.strip().strip('"') for part in re.split(",", routine.search_path)]
    if "$user" in parts:
        return "its search_path holds the caller's own schema"
    if parts[-1] != "pg_temp":
        return "temporary objects of the caller come first: pg_temp is not last in its search_path"
    for part in parts:
        for grant in database.grants:
            if (grant.kind, grant.name, grant.right) == ("schema", part, "CREATE") and (
                reach.via(grant.grantee) is not None
            ):
                return f"the caller may create objects in {part} of its search_path"
    return ""
