#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_login
short_description: Log in to a Vault or OpenBao server for a short-lived token
version_added: 0.1.0
description:
  - Logs in by client certificate or AppRole and returns the token, for the tasks that follow.
  - A server that is sealed, not initialised or away is told apart; with O(not_ready=report) that is
    a result and no failure, so that a role can unseal the server in the next task.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
    details:
      - The login is made in check mode as well, since nothing could be compared without it; the
        server keeps nothing of it but the token until it ends.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  auth_method:
    choices: [cert, approle]
    default: cert
  not_ready:
    description:
      - What to do if the server cannot serve logins now.
      - V(fail) fails.
      - V(report) succeeds without a token and says why in RV(state).
      - V(report) also covers a server that is up and refuses this identity, as one does before its
        auth method is configured.
    type: str
    choices: [fail, report]
    default: fail
seealso:
  - module: tamshai.phoenix.vault_unseal
"""

EXAMPLES = r"""
- name: Log in as the operator with a certificate that stays on the control node
  tamshai.phoenix.vault_login:
    url: https://127.0.0.1:8200
    ca_cert: /opt/tamshai/certs/host/current/ca.crt
    client_cert_content: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.crt') }}"
    client_key_content: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.key') }}"
    auth_role: operator
  no_log: true
  register: operator_login

- name: Use the token
  tamshai.phoenix.vault_kv:
    url: https://127.0.0.1:8200
    ca_cert: /opt/tamshai/certs/host/current/ca.crt
    client_cert: /opt/tamshai/certs/host/current/tls.crt
    client_key: /opt/tamshai/certs/host/current/tls.key
    token: "{{ operator_login.token }}"
    mount: tamshai
    secrets:
      - path: mcp-hr
        data:
          API_KEY: "{{ api_key }}"
"""

RETURN = r"""
token:
  description: The token; set C(no_log) on the task. Empty where RV(state) is not V(ready).
  returned: success
  type: str
  sample: s.EXAMPLE
accessor:
  description: Its accessor, by which it can be looked up or revoked without knowing it.
  returned: success
  type: str
  sample: 7sTq8YRqOtG8VDRYVUOYSv0a
lease_duration:
  description: Seconds for which the token is good.
  returned: success
  type: int
  sample: 900
policies:
  description: Policies that the token has.
  returned: success
  type: list
  elements: str
  sample: [default, operator]
reason:
  description: Why RV(state) is not V(ready), in words.
  returned: success
  type: str
  sample: ""
state:
  description: V(ready), or with O(not_ready=report) V(sealed), V(uninitialised), V(standby),
    V(unreachable), or V(refused), where the server does not let the certificate in.
  returned: success
  type: str
  sample: ready
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)

NOT_READY = (
    errors.SealedError,
    errors.UninitialisedError,
    errors.StandbyError,
    errors.UnreachableError,
    errors.RefusedError,
    errors.NoRouteError,
    errors.TlsClientCertificateError,
)
_REFUSED = (errors.RefusedError, errors.NoRouteError, errors.TlsClientCertificateError)


def work(module: AnsibleModule) -> Result:
    with client_from(module, mask_login=False) as client:
        auth: dict[str, Any] = {}
        state, reason = "ready", ""
        try:
            auth = client.login()
        except NOT_READY as error:
            if module.params["not_ready"] == "fail":
                raise
            refused = isinstance(error, _REFUSED)
            state, reason = ("refused" if refused else error.kind), error.message
        return Result(
            Plan(),
            token=client.keep_token() if auth else "",
            accessor=auth.get("accessor", ""),
            lease_duration=auth.get("lease_duration", 0),
            policies=auth.get("policies") or [],
            state=state,
            reason=reason,
        )


def main() -> None:
    spec = connection_spec(auth_method={"choices": ["cert", "approle"], "default": "cert"})
    spec["not_ready"] = {"type": "str", "choices": ["fail", "report"], "default": "fail"}
    run(spec, work)


if __name__ == "__main__":
    main()
