#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module pg_ssl; see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pg_ssl
short_description: Enforce TLS on a PostgreSQL server, proven from outside
version_added: "0.1.0"
description:
  - Writes the server's settings, access rules and user name maps, has the server read them, and
    shows by handshakes and login attempts that TLS is served and plaintext is refused.
  - The order is staged, reloaded, proven by a C(verify-full) handshake that serves the expected
    certificate, plaintext sessions named, access rules tightened, a plaintext login of each
    declared pair proven refused.
  - On any failure the last state that was proven is put back, certificate bundle included, and the
    message says whether it serves again. With O(save_command), a reboot brings that bundle back.
  - PostgreSQL reports success for a reload that kept the old TLS context, so nothing here relies
    on what it reports.
author: tamshai.phoenix contributors (@tamshai)
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
  config_dir:
    description: Directory of the server's configuration files on the managed host.
    type: path
    required: true
  server_config_dir:
    description: >-
      The same directory as the server sees it, O(config_dir) where the server is not in a
      container.
    type: str
    default: ""
  conf_file:
    description: Name of the file in O(config_dir) that O(settings) are written to.
    type: str
    default: postgresql.conf
  settings:
    description:
      - Settings of the server besides those that this module sets itself.
      - It sets C(ssl), C(ssl_cert_file), C(ssl_key_file), C(ssl_ca_file),
        C(ssl_min_protocol_version), C(hba_file), C(ident_file) and C(password_encryption).
    type: dict
    default: {}
  hba:
    description: Access rules in order, of which the first that matches a connection decides.
    type: list
    elements: dict
    required: true
    suboptions:
      type:
        description: Kind of connection that the rule is for.
        type: str
        required: true
        choices: [local, host, hostssl, hostnossl, hostgssenc, hostnogssenc]
      database:
        description: Database, list of databases, or V(all).
        type: raw
        required: true
      user:
        description: Login, list of logins, or V(all).
        type: raw
        required: true
      address:
        description: >-
          Addresses that the rule is for, in any form that PostgreSQL knows; none for type
          V(local).
        type: str
        default: ""
      method:
        description: Authentication method.
        type: str
        required: true
      options:
        description: Options of the method, as a mapping, a list or a string.
        type: raw
  ident:
    description: User name maps.
    type: list
    elements: dict
    default: []
    suboptions:
      map:
        description: Name of the map.
        type: str
        required: true
      system_user:
        description: Name that the client proved, a system user or a certificate's common name.
        type: str
        required: true
      database_user:
        description: Login that it may become.
        type: str
        required: true
  bundle:
    description:
      - Directory with C(tls.crt), C(tls.key) and C(ca.crt) on the managed host.
      - Where it is a symbolic link, the version that it points to is part of the proven state.
    type: path
    required: true
  server_bundle:
    description: >-
      The same directory as the server sees it, O(bundle) where the server is not in a container.
    type: str
    default: ""
  server_name:
    description: Name that the served certificate must verify as.
    type: str
    required: true
  addresses:
    description:
      - IP addresses at which the server is proven.
      - Empty for those of the network namespace of the process behind the socket O(login_host), in
        a container or not.
    type: list
    elements: str
    default: []
  min_protocol:
    description: Lowest TLS version that the server accepts.
    type: str
    choices: [TLSv1.2, TLSv1.3]
    default: TLSv1.2
  plaintext_sessions:
    description:
      - What becomes of sessions in plaintext that are open when the access rules are about to be
        tightened.
      - V(refuse) fails and names them, V(keep) lets them live on, V(terminate) ends them after
        plaintext is refused.
    type: str
    choices: [refuse, keep, terminate]
    default: refuse
  unreachable:
    description:
      - What to do where no server answers.
      - V(stage) writes the files for its start, and the result says that nothing is proven.
    type: str
    choices: [fail, stage]
    default: fail
  owner:
    description: Numeric id of the user that owns the files, the user Ansible works as by default.
    type: int
  group:
    description: Numeric id of the group that may read the files, which the server must be in.
    type: int
  timeout:
    description: Seconds to wait for the server to serve what it was told to.
    type: int
    default: 15
  save_command:
    description:
      - Command that keeps an encrypted copy of all bundles, as M(tamshai.phoenix.pki_cert) has it.
      - It is called after a bundle was put back. The copy would hold the one that failed otherwise,
        for the next boot to restore.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: PostgreSQL serves TLS and refuses everything else
  tamshai.phoenix.pg_ssl:
    login_host: /run/tamshai/postgres-socket
    config_dir: /opt/tamshai/postgres/config
    server_config_dir: /config
    bundle: /opt/tamshai/certs/postgres/current
    server_bundle: /tls/current
    server_name: postgres.tamshai.internal
    group: "{{ group_of_the_server }}"
    save_command: [/opt/tamshai/bin/tamshai-certs]
    settings:
      listen_addresses: "*"
    hba:
      - {type: local, database: all, user: postgres, method: peer, options: {map: root}}
      - type: hostssl
        database: tamshai_hr
        user: tamshai_app
        address: all
        method: scram-sha-256
        options: {clientcert: verify-full}
      - type: hostssl
        database: tamshai_hr
        user: vault_rotator
        address: all
        method: scram-sha-256
        options: {clientcert: verify-full}
      - {type: host, database: all, user: all, address: all, method: reject}
    ident:
      - {map: root, system_user: root, database_user: postgres}
"""

RETURN = r"""
state:
  description: >-
    V(proven), V(planned) in check mode with changes to make, or V(staged) where no server
    answered.
  returned: success
  type: str
  sample: proven
served:
  description: What each address served in the proof.
  returned: when RV(state=proven)
  type: list
  elements: dict
  sample: [{address: 198.18.0.2, serial: 5F00A1, protocol: TLSv1.3, cipher: TLS_AES_256_GCM_SHA384}]
refused:
  description: The plaintext logins that were tried and refused by the access rules.
  returned: when RV(state=proven)
  type: list
  elements: dict
  sample: [{address: 198.18.0.2, database: tamshai_hr, login: tamshai_app}]
plaintext_sessions:
  description: Sessions in plaintext that were found.
  returned: when the server answered
  type: list
  elements: dict
  sample: []
restart_required:
  description: Settings that take effect at the server's next start only.
  returned: when the server answered
  type: list
  elements: str
  sample: []
server_version:
  description: The server's version as it numbers it.
  returned: when the server answered
  type: int
  sample: 170011
changes:
  description: What was changed, or would be in check mode.
  returned: success
  type: list
  elements: dict
restored:
  description: >-
    What became of the last proven state, and why its certificate bundle was not put back, where
    that is not there any more or no longer good, or why the encrypted copy does not follow.
  returned: failure after the server was touched
  type: str
  sample: The last proven state is put back and serves.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    require,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresUnreachableError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    alone,
    connect,
    login_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import (
    conf_text,
    hba_text,
    ident_text,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.tls import (
    Bundle,
    Enforcer,
    Proof,
    Wanted,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import sealed

ARGUMENT_SPEC: dict[str, Any] = {
    **login_spec(),
    "config_dir": {"type": "path", "required": True},
    "server_config_dir": {"type": "str", "default": ""},
    "conf_file": {"type": "str", "default": "postgresql.conf"},
    "settings": {"type": "dict", "default": {}},
    "hba": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "type": {
                "type": "str",
                "required": True,
                "choices": ["local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc"],
            },
            "database": {"type": "raw", "required": True},
            "user": {"type": "raw", "required": True},
            "address": {"type": "str", "default": ""},
            "method": {"type": "str", "required": True},
            "options": {"type": "raw"},
        },
    },
    "ident": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "map": {"type": "str", "required": True},
            "system_user": {"type": "str", "required": True},
            "database_user": {"type": "str", "required": True},
        },
    },
    "bundle": {"type": "path", "required": True},
    "server_bundle": {"type": "str", "default": ""},
    "server_name": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "min_protocol": {"type": "str", "choices": ["TLSv1.2", "TLSv1.3"], "default": "TLSv1.2"},
    "plaintext_sessions": {
        "type": "str",
        "choices": ["refuse", "keep", "terminate"],
        "default": "refuse",
    },
    "unreachable": {"type": "str", "choices": ["fail", "stage"], "default": "fail"},
    "owner": {"type": "int"},
    "group": {"type": "int"},
    "timeout": {"type": "int", "default": 15},
    "save_command": {"type": "list", "elements": "str", "default": []},
}


def wanted(params: dict[str, Any]) -> Wanted:
    """The state that the options describe."""
    seen = (params["server_config_dir"] or params["config_dir"]).rstrip("/")
    tls = (params["server_bundle"] or params["bundle"]).rstrip("/")
    settings = {
        "hba_file": f"{seen}/pg_hba.conf",
        "ident_file": f"{seen}/pg_ident.conf",
        "password_encryption": "scram-sha-256",
        **params["settings"],
        "ssl": True,
        "ssl_cert_file": f"{tls}/tls.crt",
        "ssl_key_file": f"{tls}/tls.key",
        "ssl_ca_file": f"{tls}/ca.crt",
        "ssl_min_protocol_version": params["min_protocol"],
    }
    return Wanted(
        config_dir=Path(params["config_dir"]),
        server_config_dir=seen,
        files={
            params["conf_file"]: conf_text(settings).encode(),
            "pg_ident.conf": ident_text(params["ident"]).encode(),
            "pg_hba.conf": hba_text(params["hba"]).encode(),
        },
        access="pg_hba.conf",
        settings=tuple(settings),
        bundle=Bundle(Path(params["bundle"])),
        server_name=params["server_name"],
        port=params["login_port"],
        pairs=declared_pairs(params["hba"]),
        addresses=tuple(params["addresses"]),
        plaintext=params["plaintext_sessions"],
        uid=params["owner"],
        gid=params["group"],
        timeout=params["timeout"],
    )


def declared_pairs(rules: list[dict[str, Any]]) -> tuple[tuple[str, str], ...]:
    """Each (database, login) that a network rule names, so that its plaintext can be tried."""

    def names(value: Any) -> list[str]:
        return [value] if isinstance(value, str) else list(value)

    return tuple(
        (database, user)
        for rule in rules
        if rule["type"] != "local"
        for database in names(rule["database"])
        for user in names(rule["user"])
        if "all" not in (database, user)
    )


def work(module: AnsibleModule) -> Result:
    params = module.params
    enforcer = Enforcer(
        wanted(params),
        lambda: connect(params),
        lambda: sealed.follow(module, params["save_command"]),
    )
    if PSYCOPG2_ERROR and module.check_mode and params["unreachable"] == "stage":
        # A host that is still bare has neither a server nor the library to ask one.
        enforcer.stage_only()
        return Result(enforcer.plan, state="staged", changes=enforcer.plan.summary())
    require(module, "psycopg2", PSYCOPG2_ERROR)
    try:
        proof = _check(enforcer) if module.check_mode else _enforce(enforcer)
    except PostgresUnreachableError:
        if params["unreachable"] == "fail" or enforcer.server_version:
            raise
        enforcer.stage_only()
        if not module.check_mode:
            enforcer.write_staged()
        return Result(enforcer.plan, state="staged", changes=enforcer.plan.summary())
    values: dict[str, Any] = {"state": "planned"}
    if proof is not None:
        values = {
            "state": "proven",
            "served": [asdict(served) for served in proof.served],
            "refused": proof.refused,
        }
    return Result(
        enforcer.plan,
        **values,
        plaintext_sessions=enforcer.plaintext_sessions,
        restart_required=enforcer.restart_required,
        server_version=enforcer.server_version,
        changes=enforcer.plan.summary(),
    )


def _check(enforcer: Enforcer) -> Proof | None:
    with enforcer.connect() as session:
        proof = enforcer.observe(session)
    enforcer.rehearse()
    return proof


def _enforce(enforcer: Enforcer) -> Proof:
    with enforcer.connect() as session, alone(session):
        proof = enforcer.observe(session) or enforcer.enforce()
        if not enforcer.restart_required:
            enforcer.remember()
    return proof


def main() -> None:
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
