#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module pg_databases; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_databases
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Roles, databases, rights and row level security in one call
description:
  - Creates roles, databases and schemas, grants what is declared on present and future objects,
    and enables and forces row level security with its policies.
  - Reads each database with a handful of queries, plans, and makes the changes of a database in
    one transaction, so no table of a seed is ever visible without its policies.
  - Takes from C(PUBLIC) what every new database gives it, C(CONNECT) and C(TEMPORARY) on the
    database, everything on schema C(public), C(EXECUTE) on functions that the owner makes later.
  - Never takes a right away from a role, and never an attribute; M(tamshai.phoenix.pg_privileges)
    finds those that are too many.
  - Roles are created without any attribute beyond login, and without a password.
  - Drops logins that are named for that, with all their rights, and none that owns anything.
extends_documentation_fragment:
  - tamshai.phoenix.postgresql
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  roles:
    description: Roles that have to exist.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role.
        type: str
        required: true
      login:
        description: Whether the role may log in.
        type: bool
        default: true
      connection_limit:
        description: How many sessions the role may have at a time, V(-1) for any number.
        type: int
        default: -1
      inherits:
        description:
          - Roles whose rights the role has as well, by a membership with C(INHERIT) alone, so that
            it cannot become one of them.
          - This is for PostgreSQL 16 and newer.
        type: list
        elements: str
        default: []
  drop_logins:
    description:
      - Logins that must not exist; their sessions are ended, and they are dropped with all their
        rights.
      - One that owns something, a superuser, and one that is declared are refused before anything
        is changed.
    type: list
    elements: str
    default: []
  databases:
    description: Databases that have to exist.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      owner:
        description: Role that owns the database and, unless they say otherwise, its schemas.
        type: str
        default: ""
      connect:
        description: Logins that may connect to the database.
        type: list
        elements: str
        default: []
      schemas:
        description: Schemas that have to exist in the database.
        type: list
        elements: dict
        default: []
        suboptions:
          name:
            description: Name of the schema.
            type: str
            required: true
          owner:
            description: Role that owns the schema, the owner of the database by default.
            type: str
            default: ""
          grants:
            description: Rights on all objects of the schema, present and future.
            type: list
            elements: dict
            default: []
            suboptions:
              to:
                description: Role that gets the rights, and C(USAGE) on the schema.
                type: str
                required: true
              tables:
                description: Rights on tables and views.
                type: list
                elements: str
                choices: [SELECT, INSERT, UPDATE, DELETE]
                default: []
              sequences:
                description: Rights on sequences.
                type: list
                elements: str
                choices: [USAGE, SELECT, UPDATE]
                default: []
          tables:
            description: Tables on which row level security is enabled and forced.
            type: list
            elements: dict
            default: []
            suboptions:
              name:
                description: Name of the table.
                type: str
                required: true
              policies:
                description: Policies of the table; others that it has are left alone.
                type: list
                elements: dict
                default: []
                suboptions:
                  name:
                    description: Name of the policy.
                    type: str
                    required: true
                  command:
                    description: Command that the policy is for.
                    type: str
                    choices: [ALL, SELECT, INSERT, UPDATE, DELETE]
                    default: ALL
                  permissive:
                    description: >-
                      Whether one such policy is enough to admit a row; if not, each of them has
                      to.
                    type: bool
                    default: true
                  roles:
                    description: Roles that the policy is for, everybody by default.
                    type: list
                    elements: str
                    default: []
                  using:
                    description: SQL expression that existing rows have to fulfil.
                    type: str
                  check:
                    description: SQL expression that new rows have to fulfil.
                    type: str
          seed:
            description: First content of the schema.
            type: dict
            suboptions:
              table:
                description: Table whose absence means that the seed is to be planted.
                type: str
                required: true
              sql:
                description: >-
                  Statements, run as the owner of the schema in the database's transaction.
                type: str
                required: true
"""

EXAMPLES = r"""
- name: A database whose rows each user sees only as far as policies say
  tamshai.phoenix.pg_databases:
    login_host: /run/tamshai/postgres-socket
    roles:
      - {name: tamshai, login: false}
      - {name: tamshai_app}
    databases:
      # Nobody but the superuser needs these two.
      - {name: postgres}
      - {name: template1}
      - name: tamshai_hr
        owner: tamshai
        connect: [tamshai_app]
        schemas:
          - name: hr
            grants:
              - {to: tamshai_app, tables: [SELECT, INSERT, UPDATE, DELETE], sequences: [USAGE]}
            seed:
              table: notes
              sql: CREATE TABLE notes (id bigserial PRIMARY KEY, user_id text NOT NULL, note text);
            tables:
              - name: notes
                policies:
                  - name: own
                    roles: [tamshai_app]
                    using: user_id = current_setting('app.current_user_id', true)
                    check: user_id = current_setting('app.current_user_id', true)
"""

RETURN = r"""
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
  sample: [{kind: role, name: tamshai_app, action: create}]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, require, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.schema import Reconciler
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    alone,
    connect,
    login_spec,
)


def _list(options: dict[str, Any]) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


def _words(*choices: str) -> dict[str, Any]:
    return {"type": "list", "elements": "str", "default": [], "choices": list(choices)}


NAME = {"type": "str", "required": True}
POLICY = {
    "name": NAME,
    "command": {
        "type": "str",
        "choices": ["ALL", "SELECT", "INSERT", "UPDATE", "DELETE"],
        "default": "ALL",
    },
    "permissive": {"type": "bool", "default": True},
    "roles": {"type": "list", "elements": "str", "default": []},
    "using": {"type": "str"},
    "check": {"type": "str"},
}
SCHEMA = {
    "name": NAME,
    "owner": {"type": "str", "default": ""},
    "grants": _list(
        {
            "to": NAME,
            "tables": _words("SELECT", "INSERT", "UPDATE", "DELETE"),
            "sequences": _words("USAGE", "SELECT", "UPDATE"),
        }
    ),
    "tables": _list({"name": NAME, "policies": _list(POLICY)}),
    "seed": {"type": "dict", "options": {"table": NAME, "sql": NAME}},
}
ARGUMENT_SPEC: dict[str, Any] = {
    **login_spec(),
    "roles": _list(
        {
            "name": NAME,
            "login": {"type": "bool", "default": True},
            "connection_limit": {"type": "int", "default": -1},
            "inherits": {"type": "list", "elements": "str", "default": []},
        }
    ),
    "drop_logins": {"type": "list", "elements": "str", "default": []},
    "databases": _list(
        {
            "name": NAME,
            "owner": {"type": "str", "default": ""},
            "connect": {"type": "list", "elements": "str", "default": []},
            "schemas": _list(SCHEMA),
        }
    ),
}


def work(module: AnsibleModule) -> Result:
    require(module, "psycopg2", PSYCOPG2_ERROR)
    params = module.params
    reconciler = Reconciler(
        params["roles"],
        params["databases"],
        lambda database: connect(params, database),
        params["drop_logins"],
    )
    if module.check_mode:
        plan = reconciler.read()
        return Result(plan, changes=plan.summary())
    with connect(params) as session, alone(session):
        plan = reconciler.read()
        if plan.changed:
            reconciler.act()
            left = reconciler.read()
            if left.changed:
                names = ", ".join(change.title for change in left)
                raise PostgresError(f"the server did not take: {names}", left=left.summary())
    return Result(plan, changes=plan.summary())


def main() -> None:
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
