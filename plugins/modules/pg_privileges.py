#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module pg_privileges; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_privileges
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Fail if a PostgreSQL login can do more than it may
description:
  - Works out what each login of a server can effectively do, in every database that admits
    sessions, and compares it with an allow-list.
  - A right counts whether the login has it by its own name, by C(PUBLIC), by a role whose rights
    it inherits, by a role that it may become or by one that it administers.
  - Looks at attributes, memberships, ownership, grants on objects, columns, databases,
    tablespaces, parameters, languages, foreign servers and large objects, at rights on objects to
    come, at rights on system objects beyond those of the initial database, at rows that are
    reached without row level security, at policies that are not declared, at functions that run
    with their owner's rights, at extensions whose code knows no limits, and at settings that only
    a superuser could have made for the login.
  - Views and rules are followed to what they lead to in their owner's name, however many there are
    in between. The finding has the name of what the login has rights on, and says the way. What it
    has rights on itself is judged under its own name alone.
  - A function that runs with its owner's rights counts as executed by whoever makes a trigger fire
    it, which takes no right to execute it.
  - Whatever no rule allows is a finding; so is a login that is not named.
  - Takes nothing away. Each finding names the statement that would.
  - Rights on types, and rights to execute functions that run with the caller's rights in a trusted
    language, give nothing by themselves and are not looked at.
extends_documentation_fragment:
  - tamshai.phoenix.postgresql
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
    details: The module never changes anything.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  allow:
    description: What logins may do.
    type: list
    elements: dict
    required: true
    suboptions:
      login:
        description: The login that the rule is for.
        type: str
        required: true
      kind:
        description: >-
          Kind of the object, as findings name it, for example V(login), V(database), V(schema),
          V(table), V(sequence), V(function), V(attribute), V(role) or V(future table).
        type: str
        required: true
      name:
        description: >-
          Name of the object with its schema, in which V(*) and V(?) match as in a shell.
        type: str
        default: "*"
      rights:
        description: The rights that are allowed.
        type: list
        elements: str
        default: ["*"]
      database:
        description: Name of the database, in which V(*) and V(?) match as in a shell.
        type: str
        default: "*"
  findings:
    description: Whether findings fail the task or are just returned.
    type: str
    choices: [fail, report]
    default: fail
seealso:
  - module: tamshai.phoenix.pg_databases
"""

EXAMPLES = r"""
- name: Stop if a login can do more than it may
  tamshai.phoenix.pg_privileges:
    login_host: /run/tamshai/postgres-socket
    allow:
      - {login: postgres, kind: login}
      - {login: postgres, kind: attribute, rights: [SUPERUSER]}
      - {login: tamshai_app, kind: login}
      - {login: tamshai_app, kind: database, name: tamshai_hr, rights: [CONNECT]}
      - {login: tamshai_app, kind: schema, database: tamshai_hr, name: hr, rights: [USAGE]}
      # Those that are there, and by default privileges those of the future.
      - {login: tamshai_app, kind: table, database: tamshai_hr, name: hr.*, rights: "{{ rows }}"}
      - {login: tamshai_app, kind: future table, database: tamshai_hr, rights: "{{ rows }}"}
      - {login: tamshai_app, kind: sequence, database: tamshai_hr, name: hr.*, rights: [USAGE]}
      - {login: tamshai_app, kind: future sequence, database: tamshai_hr, rights: [USAGE]}
  vars:
    rows: [SELECT, INSERT, UPDATE, DELETE]
"""

RETURN = r"""
findings:
  description: The rights that no rule allows.
  returned: always
  type: list
  elements: dict
  sample:
    - login: tamshai_app
      right: BYPASSRLS
      kind: attribute
      name: BYPASSRLS
      database: "*"
      via: attribute of the login
      revoke: ALTER ROLE "tamshai_app" NOBYPASSRLS
table:
  description: The findings as text in columns.
  returned: always
  type: str
logins:
  description: The logins that were looked at.
  returned: success
  type: list
  elements: str
  sample: [healthcheck, postgres, tamshai_app, vault_rotator]
rights:
  description: How many rights were looked at, the allowed ones included.
  returned: success
  type: int
  sample: 25
"""

from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, require, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import privileges
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    connect,
    login_spec,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **login_spec(),
    "allow": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "login": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "name": {"type": "str", "default": "*"},
            "rights": {"type": "list", "elements": "str", "default": ["*"]},
            "database": {"type": "str", "default": "*"},
        },
    },
    "findings": {"type": "str", "choices": ["fail", "report"], "default": "fail"},
}


def work(module: AnsibleModule) -> Result:
    require(module, "psycopg2", PSYCOPG2_ERROR)
    params = module.params
    rights = privileges.inspect(lambda database: connect(params, database))
    rules = [privileges.rule(row) for row in params["allow"]]
    found = privileges.findings(rights, rules)
    shown: dict[str, Any] = {
        "findings": [finding.public() for finding in found],
        "table": privileges.table(found) if found else "",
    }
    if found and params["findings"] == "fail":
        who = ", ".join(dict.fromkeys(finding.login for finding in found))
        raise PhoenixError(
            f"{len(found)} right(s) outside of the allow-list, of {who}:\n{shown['table']}",
            hint=_cure(found),
            **shown,
        )
    logins = list(dict.fromkeys(right.login for right in rights))
    return Result(Plan(), **shown, logins=logins, rights=len(rights))


def _cure(found: Sequence[privileges.Finding]) -> str:
    """How to run what the table says, and what becomes of logins that nobody declares."""
    how = (
        "Statements are run by a superuser; on a host of role postgresql by root: docker exec "
        '--user 0 --privileged <container> psql -U postgres -d <database> -c "<statement>"'
    )
    strangers = [f.login for f in found if (f.kind, f.right) == ("login", "LOGIN")]
    if not strangers:
        return how
    return (
        f"Nobody declares the login {', '.join(strangers)}. If it is of a service that is gone, "
        "remove its static role from the Vault, then have role postgresql drop it with all its "
        f"rights: postgresql_drop_logins: [{', '.join(strangers)}]. {how}"
    )


def main() -> None:
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
