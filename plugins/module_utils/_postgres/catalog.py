# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the catalogs of a server say about rights, as data. Nothing is judged here.

Objects that the server itself made count with what differs from the rights that it gave them
(``pg_init_privs``); of everything else, every grant counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.schema import (
    policy_is_declared,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import identifier

__all__ = [
    "Cluster",
    "Database",
    "Grant",
    "Relation",
    "Routine",
    "read_cluster",
    "read_database",
]

Row = dict[str, Any]

FIRST_USER_OID = 16384  # FirstNormalObjectId: below are the server's own objects


@dataclass(frozen=True)
class Grant:
    """A right on an object that somebody has; ``grantee`` is empty for PUBLIC."""

    kind: str
    name: str
    right: str
    grantee: str
    grantable: bool
    revoke: str


@dataclass(frozen=True)
class Relation:
    """A table or view with rows.

    :arg runs: The rules by which it gets at others in its owner's name; ``_RETURN`` is the query of
        a view, unless that is run in the name of whoever asks.
    :arg reads: What these rules name and its owner has rights on, but for system catalogs that
        everybody may read.
    """

    schema: str
    name: str
    kind: str
    owner: str
    enabled: bool
    forced: bool
    runs: tuple[str, ...]
    reads: tuple[tuple[str, str], ...]
    rights: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, str]:
        return self.schema, self.name


@dataclass(frozen=True)
class Routine:
    """A function that runs with its owner's rights, or whose language knows no limits.

    :arg triggers: If it runs with its owner's rights: the schema and name of each relation whose
        rows fire it, or those of a descendant, with the trigger and the right that it takes.
    """

    schema: str
    name: str
    arguments: str
    owner: str
    definer: bool
    language: str
    extension: str | None
    search_path: str | None
    executors: tuple[str, ...]
    triggers: tuple[tuple[str, str, str, str], ...]


@dataclass
class Cluster:
    """What all databases share."""

    bootstrap: str = ""
    roles: dict[str, Row] = field(default_factory=dict)
    memberships: list[Row] = field(default_factory=list)
    grants: list[Grant] = field(default_factory=list)
    owned: list[Row] = field(default_factory=list)
    settings: list[Row] = field(default_factory=list)
    connectable: list[str] = field(default_factory=list)

    @property
    def logins(self) -> list[str]:
        return [name for name, role in self.roles.items() if role["login"]]


@dataclass
class Database:
    """What one database holds."""

    name: str
    grants: list[Grant] = field(default_factory=list)
    owned: list[Row] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    routines: list[Routine] = field(default_factory=list)
    policies: list[Row] = field(default_factory=list)


_WHO = "CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END"
# Grants of an object's owner to itself are its ownership, which is looked at on its own.
_ACL = f"{_WHO} AS grantee, a.privilege_type AS right, a.is_grantable AS grantable"

_ROLES = """
SELECT rolname AS name, rolcanlogin AS login, rolsuper AS super, rolcreaterole AS createrole,
  rolcreatedb AS createdb, rolreplication AS replication, rolbypassrls AS bypassrls,
  rolpassword IS NOT NULL AS password, oid = 10 AS bootstrap
FROM pg_authid ORDER BY rolname
"""
_MEMBERSHIPS = """
SELECT pg_get_userbyid(roleid) AS role, pg_get_userbyid(member) AS member,
  pg_get_userbyid(grantor) AS grantor, admin_option AS admin, inherit_option AS inherit,
  set_option AS set
FROM pg_auth_members ORDER BY 1, 2, 3
"""
_DATABASES = f"""
SELECT 'database' AS kind, '' AS schema, datname AS name, '' AS more, {_ACL}
FROM pg_database d, aclexplode(coalesce(datacl, acldefault('d', datdba))) a
WHERE a.grantee <> datdba AND datallowconn
UNION ALL
SELECT 'tablespace', '', spcname, '', {_ACL}
FROM pg_tablespace, aclexplode(spcacl) a WHERE a.grantee <> spcowner
UNION ALL
SELECT 'parameter', '', parname, '', {_ACL}
FROM pg_parameter_acl, aclexplode(paracl) a WHERE a.grantee <> 10
ORDER BY 1, 3, 5, 6
"""  # noqa: S608 - nothing in it comes from outside
# One branch for each kind of object that has an access list. "usual" is the access list that does
# not count where the server noted none at its initialisation, which is before information_schema.
_OBJECTS = f"""
WITH granted AS (
  SELECT 'schema' AS kind, '' AS schema, nspname::text AS name, '' AS more, o.oid,
    nspowner AS owner, nspacl AS acl, 'pg_namespace'::regclass AS class,
    CASE nspname WHEN 'information_schema' THEN ARRAY[makeaclitem(0, nspowner, 'USAGE', false)]
      ELSE acldefault('n', nspowner) END AS usual, 0 AS sub
  FROM pg_namespace o WHERE nspacl IS NOT NULL AND nspname !~ '^pg_(toast|temp)'
  UNION ALL
  SELECT CASE relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, n.nspname, relname, '', o.oid,
    relowner, relacl, 'pg_class'::regclass,
    CASE n.nspname WHEN 'information_schema' THEN ARRAY[makeaclitem(0, relowner, 'SELECT', false)]
      ELSE acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner) END, 0
  FROM pg_class o JOIN pg_namespace n ON n.oid = relnamespace
  WHERE relacl IS NOT NULL AND relkind NOT IN ('i', 'I', 't', 'c')
    AND n.nspname !~ '^pg_(toast|temp)'
  UNION ALL
  SELECT 'column', n.nspname, relname, attname, attrelid, relowner, attacl, 'pg_class'::regclass,
    NULL, attnum
  FROM pg_attribute JOIN pg_class o ON o.oid = attrelid
  JOIN pg_namespace n ON n.oid = relnamespace WHERE attacl IS NOT NULL
  UNION ALL
  SELECT 'system function', n.nspname, proname, pg_get_function_identity_arguments(o.oid), o.oid,
    proowner, proacl, 'pg_proc'::regclass, acldefault('f', proowner), 0
  FROM pg_proc o JOIN pg_namespace n ON n.oid = pronamespace
  WHERE proacl IS NOT NULL AND o.oid < {FIRST_USER_OID}
  UNION ALL
  SELECT 'language', '', lanname, '', o.oid, lanowner, lanacl,
    'pg_language'::regclass, acldefault('l', lanowner), 0 FROM pg_language o
  WHERE lanacl IS NOT NULL AND lanpltrusted
  UNION ALL
  SELECT 'foreign data wrapper', '', fdwname, '', o.oid, fdwowner, fdwacl,
    'pg_foreign_data_wrapper'::regclass, NULL, 0 FROM pg_foreign_data_wrapper o
  UNION ALL
  SELECT 'foreign server', '', srvname, '', o.oid, srvowner, srvacl,
    'pg_foreign_server'::regclass, NULL, 0 FROM pg_foreign_server o
  UNION ALL
  SELECT 'large object', '', o.oid::text, '', o.oid, lomowner, lomacl,
    'pg_largeobject_metadata'::regclass, NULL, 0 FROM pg_largeobject_metadata o
), counted AS (
  SELECT g.*, CASE WHEN g.oid < {FIRST_USER_OID}
    THEN coalesce(i.initprivs, g.usual) ELSE NULL END AS initial
  FROM granted g
  LEFT JOIN pg_init_privs i
    ON (i.objoid, i.classoid, i.objsubid) = (g.oid, g.class, g.sub) AND i.privtype = 'i'
)
SELECT kind, schema, name, more, {_ACL}
FROM counted c, aclexplode(c.acl) a
WHERE a.grantee <> c.owner AND NOT EXISTS (
  SELECT FROM aclexplode(c.initial) b
  WHERE (b.grantee, b.privilege_type) = (a.grantee, a.privilege_type)
    AND b.is_grantable >= a.is_grantable)
ORDER BY kind, schema, name, more, 5, 6
"""  # noqa: S608 - nothing in it comes from outside
_FUTURE = f"""
SELECT d.defaclobjtype::text AS type, coalesce(n.nspname, '*') AS schema,
  pg_get_userbyid(d.defaclrole) AS maker, {_ACL}
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace,
  aclexplode(defaclacl) a
WHERE a.grantee <> d.defaclrole ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608 - nothing in it comes from outside
_OWNED = """
SELECT pg_get_userbyid(refobjid) AS owner, pg_describe_object(classid, objid, objsubid) AS object,
  dbid = 0 AS shared
FROM pg_shdepend
WHERE deptype = 'o'
  AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY 1, 2
"""
# Rules run in the name of their relation's owner, but for the query of a view that says otherwise.
# That of a materialized view runs for its owner alone, who refreshes it.
# Nothing depends on a system catalog in pg_depend, so the rules themselves are asked as well.
_RELATIONS = f"""
WITH rules AS (
  SELECT r.* FROM pg_rewrite r JOIN pg_class v ON v.oid = r.ev_class
  WHERE v.oid >= {FIRST_USER_OID} AND v.relkind <> 'm' AND CASE r.ev_type
    WHEN '1' THEN NOT coalesce((SELECT option_value::bool FROM pg_options_to_table(v.reloptions)
                                WHERE option_name = 'security_invoker'), false)
    ELSE pg_get_ruledef(r.oid) !~ 'INSTEAD NOTHING;$' END
)
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind,
  pg_get_userbyid(c.relowner) AS owner,
  c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
  ARRAY (SELECT r.rulename::text FROM rules r WHERE r.ev_class = c.oid ORDER BY 1) AS runs,
  ARRAY (SELECT DISTINCT ARRAY[s.nspname::text, b.relname::text]
         FROM rules r CROSS JOIN LATERAL (
           SELECT refobjid FROM pg_depend
           WHERE (classid, objid) = ('pg_rewrite'::regclass, r.oid)
             AND refclassid = 'pg_class'::regclass
           UNION
           SELECT found[1]::oid FROM regexp_matches(r.ev_action::text, ':relid ([0-9]+)', 'g') found
         ) d (oid) JOIN pg_class b ON b.oid = d.oid JOIN pg_namespace s ON s.oid = b.relnamespace
         WHERE r.ev_class = c.oid AND b.oid <> c.oid AND b.relkind IN ('r', 'p', 'v', 'm', 'f')
           AND (b.oid >= {FIRST_USER_OID}
             OR NOT has_any_column_privilege('public'::name, b.oid, 'SELECT'))
           AND (has_any_column_privilege(c.relowner, b.oid, 'SELECT, INSERT, UPDATE')
             OR has_table_privilege(c.relowner, b.oid, 'DELETE'))
         ORDER BY 1) AS reads,
  ARRAY (SELECT {_WHO} || ' ' || a.privilege_type FROM aclexplode(c.relacl) a
         UNION ALL
         SELECT {_WHO} || ' ' || a.privilege_type FROM pg_attribute t, aclexplode(t.attacl) a
         WHERE t.attrelid = c.oid) AS rights
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind NOT IN ('i', 'I', 't', 'c', 'S') AND c.oid >= {FIRST_USER_OID}
  AND n.nspname !~ '^pg_(toast|temp)' AND n.nspname <> 'information_schema'
ORDER BY 1, 2
"""  # noqa: S608 - nothing in it comes from outside
# Whoever changes rows needs no right to execute what triggers of the table, or of a partition of
# it, do about that.
_ROUTINES = f"""
SELECT n.nspname AS schema, p.proname AS name,
  pg_get_function_identity_arguments(p.oid) AS arguments, pg_get_userbyid(p.proowner) AS owner,
  p.prosecdef AS definer, l.lanname AS language,
  (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
   WHERE (d.classid, d.objid) = ('pg_proc'::regclass, p.oid)
     AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e') AS extension,
  (SELECT substring(setting FROM '^search_path=(.*)$') FROM unnest(p.proconfig) setting
   WHERE setting LIKE 'search\\_path=%%') AS search_path,
  ARRAY (SELECT {_WHO} FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         WHERE a.grantee <> p.proowner ORDER BY 1) AS executors,
  ARRAY (WITH RECURSIVE fired AS (
           SELECT tgrelid AS relid, tgname, tgtype FROM pg_trigger
           WHERE tgfoid = p.oid AND p.prosecdef AND tgenabled IN ('O', 'A')
           UNION
           SELECT inhparent, tgname, tgtype FROM fired JOIN pg_inherits ON inhrelid = relid
         )
         SELECT ARRAY[s.nspname::text, c.relname::text, tgname::text, event.word]
         FROM fired JOIN pg_class c ON c.oid = relid JOIN pg_namespace s ON s.oid = c.relnamespace
         JOIN (VALUES (4, 'INSERT'), (8, 'DELETE'), (16, 'UPDATE'), (32, 'TRUNCATE'))
           event (bit, word) ON tgtype & event.bit <> 0
         ORDER BY 1) AS triggers
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid >= {FIRST_USER_OID} AND (p.prosecdef OR NOT l.lanpltrusted AND l.lanname <> 'sql')
ORDER BY 1, 2, 3
"""  # noqa: S608 - nothing in it comes from outside
# Settings that only a superuser may change (session_replication_role switches triggers off), and
# that a superuser has changed for somebody.
_SETTINGS = """
SELECT CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END AS role,
  coalesce(d.datname, '*') AS database, g.name, split_part(text, '=', 1) AS stated
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) text
LEFT JOIN pg_settings g ON g.name = split_part(text, '=', 1)
WHERE g.name IS NULL AND split_part(text, '=', 1) !~ '[.]'
  OR g.context IN ('superuser', 'superuser-backend')
ORDER BY 1, 2, 4
"""
_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
}
_FUTURE_KINDS = {
    "r": ("future table", "TABLES"),
    "S": ("future sequence", "SEQUENCES"),
    "f": ("future function", "FUNCTIONS"),
    "T": ("future type", "TYPES"),
    "n": ("future schema", "SCHEMAS"),
    "L": ("future large object", "LARGE OBJECTS"),
}


def read_cluster(session: Session) -> Cluster:
    """Roles, memberships, and grants on what belongs to no database.

    :raises PostgresError: the session may not see it all.
    """
    if session.version < 160000:
        raise PostgresError("memberships are judged by their options, which PostgreSQL 16 brought")
    cluster = Cluster()
    for row in session.query(_ROLES):
        cluster.roles[row["name"]] = row
        if row["bootstrap"]:
            cluster.bootstrap = row["name"]
    cluster.memberships = session.query(_MEMBERSHIPS)
    cluster.grants = [_grant(row) for row in session.query(_DATABASES)]
    cluster.owned = [row for row in session.query(_OWNED) if row["shared"]]
    cluster.settings = session.query(_SETTINGS)
    cluster.connectable = [
        row["name"]
        for row in session.query(
            "SELECT datname AS name FROM pg_database WHERE datallowconn ORDER BY 1"
        )
    ]
    return cluster


def read_database(session: Session, name: str) -> Database:
    """Everything in one database."""
    database = Database(name)
    database.grants = [_grant(row) for row in session.query(_OBJECTS)]
    database.grants += [_future(row) for row in session.query(_FUTURE)]
    database.owned = [row for row in session.query(_OWNED) if not row["shared"]]
    database.relations = [
        Relation(
            row["schema"],
            row["name"],
            _KINDS.get(row["kind"], row["kind"]),
            row["owner"],
            row["enabled"],
            row["forced"],
            tuple(row["runs"]),
            tuple((schema, name) for schema, name in row["reads"]),
            tuple((who, what) for who, what in (text.rsplit(" ", 1) for text in row["rights"])),
        )
        for row in session.query(_RELATIONS)
    ]
    database.routines = [
        Routine(
            **{
                **row,
                "executors": tuple(row["executors"]),
                "triggers": tuple(tuple(fired) for fired in row["triggers"]),
            }
        )
        for row in session.query(_ROUTINES)
    ]
    database.policies = policy_is_declared(session)
    return database


def _grant(row: Row) -> Grant:
    kind, right = row["kind"], row["right"]
    name = f"{row['schema']}.{row['name']}" if row["schema"] else row["name"]
    quoted = identifier(row["name"])
    if row["schema"]:
        quoted = f"{identifier(row['schema'])}.{quoted}"
    words = kind.upper()
    if kind == "column":
        right_ = f"{right} ({identifier(row['more'])})"
        return Grant(
            "table",
            name,
            right,
            row["grantee"],
            row["grantable"],
            f"REVOKE {right_} ON TABLE {quoted} FROM {{whom}}",
        )
    if kind == "system function":
        name, quoted, words = f"{name}({row['more']})", f"{quoted}({row['more']})", "FUNCTION"
    elif kind in ("parameter", "large object"):
        quoted = row["name"]
    return Grant(
        kind,
        name,
        right,
        row["grantee"],
        row["grantable"],
        f"REVOKE {right} ON {words} {quoted} FROM {{whom}}",
    )


def _future(row: Row) -> Grant:
    kind, words = _FUTURE_KINDS.get(row["type"], (f"future {row['type']}", row["type"]))
    where = "" if row["schema"] == "*" else f"IN SCHEMA {identifier(row['schema'])} "
    return Grant(
        kind,
        f"{row['schema']} by {row['maker']}",
        row["right"],
        row["grantee"],
        row["grantable"],
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {identifier(row['maker'])} {where}"
        f"REVOKE {row['right']} ON {words} FROM {{whom}}",
    )
