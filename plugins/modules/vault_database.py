#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module vault_database; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_database
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Hand the passwords of PostgreSQL logins over to a Vault or OpenBao server
description:
  - Sets up both sides in one call, the rotator in PostgreSQL and the connection and static roles
    in the server, since the rotator's first password must not travel between two tasks.
  - In PostgreSQL the rotator may execute one C(SECURITY DEFINER) function and nothing else. It
    sets a SCRAM verifier and C(NOBYPASSRLS) on a login that is handed over to it, refuses a
    superuser, and notes when it did so.
  - The rotator's first password exists for the time between two requests; then the server replaces
    it by one that it alone knows (C(rotate-root)), once. That this has happened is read from the
    function's notes, and nothing is recorded anywhere else; so there is no C(rotate-root) in
    M(tamshai.phoenix.vault_db_static_role) and M(tamshai.phoenix.vault_config), which work without
    the function.
  - PostgreSQL has to be of version 16 or newer, whose memberships say who may set whose password.
  - A password that was changed by hand in the database shows by the notes as well, so that no
    secret is read to find it, and is rotated.
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
  - tamshai.phoenix.postgresql
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  mount:
    description: Path of the database secrets engine, which has to exist.
    type: str
    default: database
  connection:
    description: The engine's connection to the database server.
    type: dict
    required: true
    suboptions:
      name:
        description: Name of the connection.
        type: str
        required: true
      connection_url:
        description: >-
          Where the server finds the database, with C({{username}}) and C({{password}}) for it to
          fill in; certificates are files that the server sees.
        type: str
        required: true
      database:
        description: Database of O(connection.connection_url), in which the function is created.
        type: str
        required: true
      username:
        description: Login of the rotator.
        type: str
        default: vault_rotator
      max_open_connections:
        description: How many sessions the server keeps at most.
        type: int
        default: 2
      max_connection_lifetime:
        description: After which time a session is opened anew, and with it the client certificate.
        type: str
        default: 5m
  rotation_schema:
    description: Schema of the function.
    type: str
    default: vault_rotation
  rotation_owner:
    description: Role that owns the function and cannot log in.
    type: str
    default: vault_rotation_owner
  static_roles:
    description: Logins that are handed over.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the static role.
        type: str
        required: true
      username:
        description: Login in the database, which has to exist.
        type: str
        required: true
      rotation_period:
        description: How long a password is good.
        type: str
        default: 648h
      turns_with:
        description:
          - Name of the static role of a login that has the same rights, whose consumers use
            whichever of the two passwords was rotated last.
          - The two are rotated half a O(static_roles[].rotation_period) apart, so that nobody uses
            a password in the moment in which it is replaced. The one that was rotated less recently
            has a shorter period until they are.
          - Until another run sets that right they alternate all the same, for three periods.
        type: str
      units:
        description: >-
          Systemd units on this host that hold the password; those that were started before it was
          last rotated are in RV(outdated).
        type: list
        elements: str
        default: []
  tolerance:
    description: >-
      Seconds that the times of a rotation may differ between the two servers before the password
      counts as changed by somebody else.
    type: int
    default: 10
seealso:
  - module: tamshai.phoenix.vault_db_static_role
    description: For single static roles of any database, without the function.
  - module: tamshai.phoenix.pg_databases
"""

EXAMPLES = r"""
- name: The server rotates the passwords of the applications
  tamshai.phoenix.vault_database:
    url: https://127.0.0.1:8200
    ca_cert: /opt/tamshai/certs/host/current/ca.crt
    client_cert: /opt/tamshai/certs/host/current/tls.crt
    client_key: /opt/tamshai/certs/host/current/tls.key
    token: "{{ vault_token }}"
    login_host: /run/tamshai/postgres-socket
    connection:
      name: postgresql-tamshai_hr
      database: tamshai_hr
      connection_url: >-
        postgresql://{{ '{{username}}:{{password}}' }}@{{ host }}/tamshai_hr?{{ tls | urlencode }}
    static_roles:
      - {name: tamshai-app, username: tamshai_app}
      - {name: tamshai-app-b, username: tamshai_app_b, turns_with: tamshai-app}
  vars:
    host: postgres.tamshai.internal:5432
    tls:
      sslmode: verify-full
      sslrootcert: /tls/current/ca.crt
      sslcert: /tls/clients/vault_rotator/current/tls.crt
      sslkey: /tls/clients/vault_rotator/current/tls.key
"""

RETURN = r"""
rotated:
  description: Logins whose password was replaced, the first time included.
  returned: success
  type: list
  elements: str
  sample: [tamshai_app]
root_rotated:
  description: Whether the rotator got a new password that the server alone knows.
  returned: success
  type: bool
  sample: false
logins:
  description: Each login with the time of its last rotation and what is known of its password.
  returned: success
  type: list
  elements: dict
  sample:
    - login: tamshai_app
      static_role: tamshai-app
      rotated_at: "2026-11-26T14:00:00+00:00"
      intact: true
outdated:
  description: >-
    Running units of O(static_roles[].units) that hold a password from before its rotation, by this
    run or an earlier one, so that they are due to be restarted.
  returned: success
  type: list
  elements: str
  sample: [tamshai-agent@mcp-hr.service]
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    protect,
    require,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.handover import Handover
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.holders import outdated
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.rotation import Names
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    alone,
    connect,
    login_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)

ARGUMENT_SPEC: dict[str, Any] = {
    **login_spec(),
    **connection_spec(),
    "mount": {"type": "str", "default": "database"},
    "connection": {
        "type": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "connection_url": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "username": {"type": "str", "default": "vault_rotator"},
            "max_open_connections": {"type": "int", "default": 2},
            "max_connection_lifetime": {"type": "str", "default": "5m"},
        },
    },
    "rotation_schema": {"type": "str", "default": "vault_rotation"},
    "rotation_owner": {"type": "str", "default": "vault_rotation_owner"},
    "static_roles": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "username": {"type": "str", "required": True},
            "rotation_period": {"type": "str", "default": "648h"},
            "turns_with": {"type": "str"},
            "units": {"type": "list", "elements": "str", "default": []},
        },
    },
    "tolerance": {"type": "int", "default": 10},
}


def work(module: AnsibleModule) -> Result:
    require(module, "psycopg2", PSYCOPG2_ERROR)
    params = module.params
    names = Names(
        database=params["connection"]["database"],
        schema=params["rotation_schema"],
        owner=params["rotation_owner"],
        login=params["connection"]["username"],
    )
    plan = Plan()
    with client_from(module) as client:
        handover = Handover(
            client,
            lambda database: connect(params, database),
            names,
            mount=params["mount"],
            connection=params["connection"],
            static_roles=params["static_roles"],
            tolerance=params["tolerance"],
            predict=module.check_mode,
        )
        if module.check_mode:
            handover.read(plan)
            if handover.missing:
                absent = ", ".join(handover.missing)
                module.warn(f"predicted for a PostgreSQL that has these logins as well: {absent}")
        else:
            with connect(params) as session, alone(session):
                handover.read(plan)
                if plan.changed:
                    handover.act(lambda secret: protect(module, secret))
        logins = handover.logins()
        units = {row["username"]: row["units"] for row in params["static_roles"]}
        return Result(
            plan,
            rotated=handover.rotated,
            root_rotated=handover.root_rotated,
            logins=logins,
            outdated=outdated(logins, handover.rotated, units),
            changes=plan.summary(),
        )


def main() -> None:
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
