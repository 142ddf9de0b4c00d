# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the model of an estate to what its PostgreSQL server is to hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["HEALTHCHECK", "server"]

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
    databases = [_database(row, samples, extra) for row in model["databases"]]
    owners = sorted({row["owner"] for row in model["databases"]})
    logins = [row["name"] for row in model["logins"]]
    return {
        "service": service,
        "roles": [
            *({"name": name, "login": False} for name in owners),
            *({"name": name, "login": True} for name in logins),
            {"name": HEALTHCHECK, "login": True, "connection_limit": 4},
        ],
        "databases": [
            *databases,
            {"name": "postgres", "connect": [HEALTHCHECK], "schemas": []},
            {"name": "template1", "connect": [], "schemas": []},
        ],
        "hba": [*model["hba"], *_closing_rules()],
        "ident": [
            {"map": "root", "system_user": "root", "database_user": "postgres"},
            {"map": HEALTHCHECK, "system_user": service["fqdn"], "database_user": HEALTHCHECK},
        ],
    }


def _database(
    row: Mapping[str, Any], samples: Mapping[str, Any], extra: Mapping[str, Any]
) -> dict[str, Any]:
    schema = row["schema"]
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
        "connect": row["logins"],
        "schemas": [
            {
                "name": schema,
                "grants": [
                    {"to": login, "tables": [*TABLE_RIGHTS], "sequences": [*SEQUENCE_RIGHTS]}
                    for login in row["logins"]
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
