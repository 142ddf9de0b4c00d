# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the model of an estate to what its PostgreSQL server is to hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["HEALTHCHECK", "access_rules", "allowed", "credentials", "server"]

HEALTHCHECK = "healthcheck"
"""The login of the container's healthcheck: by the server's own certificate, from loopback."""
TABLE_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
SEQUENCE_RIGHTS = ("USAGE", "SELECT")

Rows = list[dict[str, Any]]


def server(
    model: Mapping[str, Any], samples: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Roles, databases, access rules and user name maps of the estate's server.

    :arg samples: By schema, what a database declared with ``sample_data`` starts with: ``seed`` and
        ``tables`` as module pg_databases takes them.
    :arg extra: By schema, tables whose row level security is declared by the operator.
    :raises PhoenixError: the estate has no PostgreSQL server, or sample data that do not exist.
    """
    service = next((s for s in model["services"].values() if s["kind"] == "postgresql"), None)
    if service is None:
        raise PhoenixError("the estate has no service of kind postgresql")
    heirs = {row["name"] for row in model["logins"] if row["second_of"]}
    databases = [_database(row, samples, extra, heirs) for row in model["databases"]]
    owners = sorted({row["owner"] for row in model["databases"]})
    return {
        "service": service,
        "roles": [
            *({"name": name, "login": False} for name in owners),
            *(
                {"name": row["name"], "login": True, "inherits": _first(row)}
                for row in model["logins"]
            ),
            {"name": HEALTHCHECK, "login": True, "connection_limit": 4},
        ],
        "databases": [
            *databases,
            {"name": "postgres", "connect": [HEALTHCHECK], "schemas": []},
            {"name": "template1", "connect": [], "schemas": []},
        ],
        "hba": access_rules(model),
        "ident": [
            {"map": "root", "system_user": "root", "database_user": "postgres"},
            {"map": HEALTHCHECK, "system_user": service["fqdn"], "database_user": HEALTHCHECK},
        ],
    }


def access_rules(model: Mapping[str, Any]) -> Rows:
    """The lines of the server's pg_hba.conf, in order."""
    return [*model["hba"], *_closing_rules()]


def allowed(
    model: Mapping[str, Any], rotator: Mapping[str, str], extra: Sequence[Mapping[str, Any]]
) -> Rows:
    """What the logins of the estate may do, as module pg_privileges takes it.

    :arg rotator: ``login``, ``schema`` and ``database`` of the rotator, empty where there is none.
    :arg extra: Rules of the operator, each with a ``reason``. What one allows a login, it allows
        the one that takes turns with it and has its rights.
    :raises PhoenixError: for a rule without one.
    """
    rules: Rows = [
        {"login": "postgres", "kind": "login"},
        {"login": "postgres", "kind": "attribute", "rights": ["SUPERUSER"]},
        {"login": HEALTHCHECK, "kind": "login"},
        _rule(HEALTHCHECK, "database", "postgres", "postgres", ("CONNECT",)),
    ]
    rules += [{"login": row["name"], "kind": "login"} for row in model["logins"]]
    rules += [
        _rule(row["name"], "role", "*", first, ("MEMBER WITH INHERIT",))
        for row in model["logins"]
        for first in _first(row)
    ]
    for row in model["databases"]:
        name, schema = row["name"], row["schema"]
        for login in row["logins"]:
            rules += [
                _rule(login, "database", name, name, ("CONNECT",)),
                _rule(login, "schema", name, schema, ("USAGE",)),
                _rule(login, "table", name, f"{schema}.*", TABLE_RIGHTS),
                _rule(login, "sequence", name, f"{schema}.*", SEQUENCE_RIGHTS),
                _rule(login, "future table", name, f"{schema} by {row['owner']}", TABLE_RIGHTS),
                _rule(
                    login, "future sequence", name, f"{schema} by {row['owner']}", SEQUENCE_RIGHTS
                ),
            ]
    if rotator:
        login, database, schema = rotator["login"], rotator["database"], rotator["schema"]
        function = f"{schema}.set_password(p_role text, p_verifier text)"
        rules += [
            {"login": login, "kind": "login"},
            # So that a failing statement leaves no verifier in the server's log.
            _rule(login, "setting", "*", "log_min_error_statement", ("SET",)),
            _rule(login, "database", database, database, ("CONNECT",)),
            _rule(login, "schema", database, schema, ("USAGE",)),
            _rule(login, "function", database, function, ("EXECUTE",)),
        ]
    for number, row in enumerate(extra):
        if not row.get("reason"):
            raise PhoenixError(f"rule {number} of the allow-list says no reason: {dict(row)}")
    stated = [{k: v for k, v in row.items() if k != "reason"} for row in extra]
    heirs = {first: row["name"] for row in model["logins"] for first in _first(row)}
    inherited = [{**row, "login": heirs[row["login"]]} for row in stated if row["login"] in heirs]
    return [*rules, *stated, *inherited]


def credentials(model: Mapping[str, Any], rotator: str, schema: str) -> dict[str, Any]:
    """What Vault needs to rotate the estate's logins: one connection, a static role for each login.

    One connection, however many databases there are: a login's password is the same in all of them,
    and of two connections with one user, each would make the other's password wrong.

    :arg rotator: The login that Vault uses; it has a client certificate of that name.
    :arg schema: Where the rotation function is.
    :raises PhoenixError: the estate has no PostgreSQL server.
    """
    service = next((s for s in model["services"].values() if s["kind"] == "postgresql"), None)
    vault = next((s for s in model["services"].values() if s["kind"] == "vault"), None)
    if service is None:
        raise PhoenixError("the estate has no service of kind postgresql")
    derived: dict[str, Any] = {"service": service, "vault": vault}
    logins = model["logins"]
    if vault is None or not logins or vault["name"] not in service["callers"]:
        return {**derived, "connection": {}, "rotator": {}, "static_roles": []}
    roles = {row["name"]: row["static_role"] for row in logins}
    database = logins[0]["databases"][0]
    client = f"/tls/clients/{rotator}/current"
    options = "&".join(
        (
            "sslmode=verify-full",
            "sslrootcert=/tls/current/ca.crt",
            f"sslcert={client}/tls.crt",
            f"sslkey={client}/tls.key",
        )
    )
    place = f"{service['fqdn']}:{service['port']}/{database}"
    return {
        **derived,
        "connection": {
            "name": logins[0]["connection"],
            "database": database,
            "username": rotator,
            "connection_url": f"postgresql://{{{{username}}}}:{{{{password}}}}@{place}?{options}",
        },
        "rotator": {"login": rotator, "database": database, "schema": schema},
        "static_roles": [
            {
                "name": row["static_role"],
                "username": row["name"],
                "services": row["services"],
                "turns_with": roles.get(row["second_of"]),
            }
            for row in logins
        ],
    }


def _first(row: Mapping[str, Any]) -> list[str]:
    """The login that this one takes turns with and has its rights from, if there is one."""
    return [row["second_of"]] if row["second_of"] else []


def _rule(login: str, kind: str, database: str, name: str, rights: Sequence[str]) -> dict[str, Any]:
    return {
        "login": login,
        "kind": kind,
        "database": database,
        "name": name,
        "rights": list(rights),
    }


def _database(
    row: Mapping[str, Any],
    samples: Mapping[str, Any],
    extra: Mapping[str, Any],
    heirs: Collection[str],
) -> dict[str, Any]:
    """A database; ``heirs`` are the logins that have their rights from another one."""
    schema = row["schema"]
    logins = [login for login in row["logins"] if login not in heirs]
    sample: Mapping[str, Any] = {}
    if row["sample_data"]:
        if schema not in samples:
            raise PhoenixError(
                f"estate_databases ({row['name']}): there is no sample data for schema {schema}",
                hint=f"There is for: {', '.join(sorted(samples)) or 'none'}.",
            )
        sample = samples[schema]
    tables: Sequence[Any] = [*sample.get("tables", ()), *extra.get(schema, ())]
    return {
        "name": row["name"],
        "owner": row["owner"],
        "connect": logins,
        "schemas": [
            {
                "name": schema,
                "grants": [
                    {"to": login, "tables": [*TABLE_RIGHTS], "sequences": [*SEQUENCE_RIGHTS]}
                    for login in logins
                ],
                "tables": [*tables],
                **({"seed": sample["seed"]} if "seed" in sample else {}),
            }
        ],
    }


def _closing_rules() -> Rows:
    """The healthcheck, and then nobody: said in words, so that the log names the refusal."""
    return [
        {
            "type": "hostssl",
            "database": "postgres",
            "user": HEALTHCHECK,
            "address": "127.0.0.1/32",
            "method": "cert",
            "options": [f"map={HEALTHCHECK}"],
        },
        {
            "type": "host",
            "database": "all",
            "user": "all",
            "address": "all",
            "method": "reject",
            "options": [],
        },
        {
            "type": "local",
            "database": "all",
            "user": "all",
            "address": "",
            "method": "reject",
            "options": [],
        },
    ]
