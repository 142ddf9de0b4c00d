#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module vault_db_static_role; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_db_static_role
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: A database login whose password a Vault or OpenBao server rotates
description:
  - Creates, changes, rotates and removes a static role of the database secrets engine.
  - Refuses, before it writes anything, a setting that the server would take without a word and
    forget, and names the setting and the server's version.
  - Compares what the server granted with what was asked for after each write.
  - Can log in to PostgreSQL with the password that the server serves, which is the only way to see
    that somebody has changed it in the database.
  - Does not rotate the password that the server itself logs in to the database with
    (C(rotate-root)). M(tamshai.phoenix.vault_database) does, once, and needs a PostgreSQL of
    version 16 or newer for it, in which a function of its own notes when that was.
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: partial
    details: With O(rotate=always), each run rotates.
options:
  mount:
    description: Path of the database secrets engine.
    type: str
    default: database
  name:
    description: Name of the static role.
    type: str
    required: true
  state:
    description:
      - Whether the role has to exist.
      - The login of a role that is removed keeps a password that nobody knows.
    type: str
    choices: [present, absent]
    default: present
  db_name:
    description: Name of the engine's connection, required to create a role.
    type: str
  username:
    description: Login in the database, required to create a role and fixed from then on.
    type: str
  rotation_period:
    description: How long a password is good, for example V(648h); a change of it does not rotate.
    type: str
  rotation_schedule:
    description: Cron expression for rotations, for servers that have it (not OpenBao 2.7).
    type: str
  rotation_window:
    description: How long after a scheduled time a rotation may still take place.
    type: str
  rotation_statements:
    description:
      - Statements that set the password, with C({{name}}) and C({{password}}) for the server to
        fill in.
      - See role P(tamshai.phoenix.db_credentials#role) for the only kind that keeps the server
        from needing C(CREATEROLE).
    type: list
    elements: str
  skip_import_rotation:
    description: Whether the login keeps its password until the first period is over.
    type: bool
  credential_type:
    description: What the server makes for the login.
    type: str
    choices: [password, rsa_private_key, client_certificate]
  credential_config:
    description: Settings of O(credential_type).
    type: dict
  rotate:
    description:
      - When to rotate now, besides the server's own times.
      - V(drifted) rotates if the password that the server serves does not log in, which needs
        O(probe).
    type: str
    choices: [never, drifted, always]
    default: never
  probe:
    description: How to log in to PostgreSQL with the served password.
    type: dict
    suboptions:
      host:
        description: Name of the database server, which its certificate is verified against.
        type: str
        required: true
      hostaddr:
        description: IP address to connect to instead of resolving O(probe.host).
        type: str
        default: ""
      port:
        description: Port of the database server.
        type: int
        default: 5432
      database:
        description: Database to open.
        type: str
        required: true
      ca_cert:
        description: File with the CA certificates that the server is verified with.
        type: path
        required: true
      client_cert:
        description: File with the login's client certificate.
        type: path
      client_key:
        description: File with the key of O(probe.client_cert).
        type: path
seealso:
  - module: tamshai.phoenix.vault_database
    description: For the password of the server itself, and a whole hand-over to it.
"""

EXAMPLES = r"""
- name: The server rotates the application's password every 27 days
  tamshai.phoenix.vault_db_static_role:
    name: tamshai-app
    db_name: postgresql-tamshai_hr
    username: tamshai_app
    rotation_period: 648h
    rotation_statements:
      - SELECT "vault_rotation".set_password('{{ '{{name}}' }}', '{{ '{{password}}' }}')

- name: Rotate it if somebody has changed the password in the database
  tamshai.phoenix.vault_db_static_role:
    name: tamshai-app
    rotate: drifted
    probe:
      host: postgres.tamshai.internal
      hostaddr: 127.0.0.1
      port: "{{ published_port }}"
      database: tamshai_hr
      ca_cert: /opt/tamshai/certs/host/current/ca.crt
      client_cert: /opt/tamshai/certs/mcp-hr/clients/tamshai_app/current/tls.crt
      client_key: /opt/tamshai/certs/mcp-hr/clients/tamshai_app/current/tls.key
"""

RETURN = r"""
login_works:
  description: Whether the served password logs in; after a rotation, the new one.
  returned: when O(probe) is given and the role exists
  type: bool
  sample: true
rotated:
  description: Whether this run had the password rotated, the creation of a role included.
  returned: success
  type: bool
  sample: false
last_vault_rotation:
  description: When the server rotated the password last.
  returned: when the role exists
  type: str
  sample: "2026-11-26T14:00:00+00:00"
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    protect,
    require,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresRefusedError,
    PostgresUnprovenError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    connect,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.vaultdb import (
    STATIC_ROLE_FIELDS,
    StaticRole,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import (
    argument_spec,
    normalise,
)

SHORTEST = 5  # seconds between two rotations, of any server

ARGUMENT_SPEC: dict[str, Any] = {
    **connection_spec(),
    **argument_spec(STATIC_ROLE_FIELDS),
    "mount": {"type": "str", "default": "database"},
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "rotate": {"type": "str", "choices": ["never", "drifted", "always"], "default": "never"},
    "probe": {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "hostaddr": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
            "database": {"type": "str", "required": True},
            "ca_cert": {"type": "path", "required": True},
            "client_cert": {"type": "path"},
            "client_key": {"type": "path"},
        },
    },
}


def log_in(module: AnsibleModule, role: StaticRole) -> bool:
    """Whether the served password logs in.

    :raises PhoenixError: the database does not answer, or refuses for another reason than the
        password: then nothing can be said about it.
    """
    served = role.served()
    protect(module, str(served.get("password") or ""))
    probe = module.params["probe"]
    login = {
        "login_host": probe["host"],
        "login_hostaddr": probe["hostaddr"],
        "login_port": probe["port"],
        "login_user": served.get("username"),
        "login_password": served.get("password"),
        **{f"login_{key}": probe[key] for key in ("ca_cert", "client_cert", "client_key")},
    }
    try:
        connect(login, probe["database"]).connection.close()
    except PostgresRefusedError as error:
        if "password authentication failed" not in error.message:
            raise
        return False
    return True


def refuse_mistakes(params: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other, or that no server takes, all at once."""
    mistakes = []
    if not params["name"] or "/" in params["name"]:
        mistakes.append(f"name {params['name']!r}: a name is not empty and holds no slash")
    if params["rotate"] == "drifted" and not params["probe"]:
        mistakes.append("rotate 'drifted' needs 'probe': only a login shows the drift")
    if params["state"] == "absent" and params["rotate"] != "never":
        mistakes.append("'rotate' is of no use with state 'absent'")
    try:
        values = normalise(STATIC_ROLE_FIELDS, params)
    except PhoenixError as error:
        mistakes.append(error.message)
    else:
        if 0 <= values.get("rotation_period", SHORTEST) < SHORTEST:
            mistakes.append(f"rotation_period: it is at least {SHORTEST} seconds")
    if mistakes:
        raise PhoenixError("; ".join(mistakes))


def work(module: AnsibleModule) -> Result:
    params = module.params
    refuse_mistakes(params)
    if params["probe"]:
        require(module, "psycopg2", PSYCOPG2_ERROR)
    stated = {name: params[name] for name in STATIC_ROLE_FIELDS}
    with client_from(module) as client:
        role = StaticRole(client, params["mount"], params["name"], stated)
        if params["state"] == "absent":
            return _absent(module, role)
        return _present(module, role)


def _absent(module: AnsibleModule, role: StaticRole) -> Result:
    plan = Plan()
    if role.read() is not None:
        plan.add("static role", role.name, "delete", role.current, None)
        if not module.check_mode:
            role.delete()
    return Result(plan, rotated=False, changes=plan.summary())


def _present(module: AnsibleModule, role: StaticRole) -> Result:
    params, plan = module.params, Plan()
    role.refuse_ignored()
    exists = role.read() is not None
    missing = [name for name in ("db_name", "username") if not params[name]]
    if not params["rotation_period"] and not params["rotation_schedule"]:
        missing.append("rotation_period")
    if not exists and missing:
        raise PhoenixError(f"there is no static role {role.name}: give {', '.join(missing)}")
    values = role.plan(plan)
    works = log_in(module, role) if exists and params["probe"] else None
    rotate = exists and (
        params["rotate"] == "always" or (params["rotate"] == "drifted" and not works)
    )
    if rotate:
        note = "the served password does not log in" if works is False else ""
        plan.add("password", role.name, "rotate", note=note)
    if not module.check_mode:
        if values:
            role.write(values)
        if rotate:
            role.rotate()
            role.read()
        if params["probe"] and (rotate or not exists):
            works = _prove(module, role)
    facts: dict[str, Any] = {"login_works": works} if works is not None else {}
    if role.rotated_at is not None:
        facts["last_vault_rotation"] = role.rotated_at.isoformat()
    return Result(plan, rotated=rotate or not exists, **facts, changes=plan.summary())


def _prove(module: AnsibleModule, role: StaticRole) -> bool:
    if not log_in(module, role):
        raise PostgresUnprovenError(
            f"the new password of static role {role.name} does not log in",
            hint="Do the rotation statements set the password that they are given?",
        )
    return True


def main() -> None:
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
