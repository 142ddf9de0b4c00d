#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module secret_zero."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_zero
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Give services' agents their first credential, and prove that it was spent once
description:
  - Looks at all agents of the host at once. An agent is well if its unit runs, with the
    configuration of now, and has rendered every declared secret with the right owner and mode.
  - One that has just started, and has not shown yet that Vault let it in, is looked at again a
    moment later. No other is waited for.
  - For each that is not, has Vault issue a SecretID that is wrapped, for one use and for minutes,
    puts the wrapping token where the agent looks for it, starts the agent and waits for its
    secrets. If it cannot be issued, the agents are started as they are, and have themselves one by
    the host's identity once Vault serves.
  - Then proves that the SecretID's accessor is gone and that the wrapping token is refused. The
    SecretID itself is never seen outside of the agent and Vault.
  - Destroys SecretIDs of these roles that were issued and never delivered, as an interrupted run
    may leave them.
  - A wrapping token that was spent before its agent used it, or that somebody has put in its place,
    is an alarm, in RV(alarms), in a warning and in the journal; the agent gets a new one.
options:
  agents:
    description: The agents, as filter P(tamshai.phoenix.estate_agents#filter) gives them.
    type: list
    elements: dict
    required: true
    suboptions:
      service:
        description: Name of the service.
        type: str
        required: true
      uid:
        description: User number that the agent runs as and that owns its files.
        type: int
        required: true
      gid:
        description: Group number of these files.
        type: int
        required: true
      approle:
        description: AppRole that the agent logs in with.
        type: str
        required: true
      unit:
        description: The agent's systemd unit.
        type: str
        required: true
      config:
        description: The agent's configuration file; if it is newer than the process, the agent
          starts anew.
        type: path
        required: true
      secrets_file:
        description: The JSON object that the agent renders, in memory-backed storage.
        type: path
        required: true
      wrap_file:
        description: Where the agent looks for the wrapping token, in memory-backed storage.
        type: path
        required: true
      state_file:
        description: Where the accessor of the last SecretID is noted for later proofs.
        type: path
        required: true
      keys:
        description: Names of the secrets that the rendered file must hold.
        type: list
        elements: str
        required: true
  wrap_ttl:
    description: How long a wrapped SecretID may wait for its agent, in seconds or as C(5m).
    type: str
    default: 5m
  render_timeout:
    description: Seconds in which all agents have to render their secrets.
    type: int
    default: 60
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
    details:
      - Where the server cannot be asked in check mode, RV(unpredictable) says so and nothing fails.
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: See to it that every service has its secrets
  tamshai.phoenix.secret_zero:
    url: https://127.0.0.1:8200
    ca_cert: /opt/tamshai/certs/host/current/ca.crt
    auth_method: cert
    auth_role: operator
    client_cert_content: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.crt') }}"
    client_key_content: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.key') }}"
    agents: "{{ (estate_model | tamshai.phoenix.estate_agents).agents }}"
"""

RETURN = r"""
proofs:
  description: For each agent that was given a credential, what shows that it is spent.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Name of the service.
      type: str
    accessor:
      description: Accessor of the SecretID; it gives nothing away.
      type: str
    accessor_gone:
      description: Whether Vault no longer knows a SecretID of this accessor.
      type: bool
    refused:
      description: Whether the wrapping token is refused.
      type: bool
alarms:
  description: Wrapping tokens that somebody else spent or replaced.
  returned: success
  type: list
  elements: dict
  contains:
    service:
      description: Whose it was.
      type: str
    event:
      description: C(wrap-spent-by-another) or C(wrap-replaced).
      type: str
    accessor:
      description: Accessor of the SecretID that was in it.
      type: str
changes:
  description: What was done, or would be in check mode, each with the reason.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of C(agent) and C(secret_id).
      type: str
    name:
      description: The service, or the role and the accessor.
      type: str
    action:
      description: C(bootstrap) or C(destroy).
      type: str
    note:
      description: Why.
      type: str
unpredictable:
  description: Why check mode cannot tell what would be done; empty where it can.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.secret_zero import (
    Agent,
    SecretZero,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.files import run_command
from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, protect, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)


def work(module: AnsibleModule) -> Result:
    """Read, plan, stop there in check mode, act, prove."""
    agents = [Agent(**{**a, "keys": tuple(a["keys"])}) for a in module.params["agents"]]
    try:
        with client_from(module) as client:
            zero = SecretZero(
                agents,
                client,
                wrap_ttl=seconds(module.params["wrap_ttl"]),
                timeout=module.params["render_timeout"],
                run=run_command,
            )
            zero.secret = lambda value: protect(module, value)
            plan = zero.read()
            if not module.check_mode:
                zero.act()
    except PhoenixError as error:
        if not module.check_mode:
            raise
        return Result(Plan(), proofs=[], alarms=[], changes=[], unpredictable=error.message)
    for alarm in zero.alarms:
        module.warn(
            f"{alarm['event']}: somebody had the wrapped SecretID of {alarm['service']} in hand "
            f"(accessor {alarm['accessor']}): revoke the tokens of its role"
        )
    return Result(
        plan,
        proofs=zero.proofs,
        alarms=zero.alarms,
        changes=plan.summary(),
        unpredictable="",
    )


def main() -> None:
    """Entry point."""
    path: dict[str, Any] = {"type": "path", "required": True}
    text: dict[str, Any] = {"type": "str", "required": True}
    number: dict[str, Any] = {"type": "int", "required": True}
    agent = {
        "service": text,
        "uid": number,
        "gid": number,
        "approle": text,
        "unit": text,
        "config": path,
        "secrets_file": path,
        "wrap_file": path,
        "state_file": path,
        "keys": {"type": "list", "elements": "str", "required": True, "no_log": False},
    }
    spec = connection_spec()
    spec |= {
        "agents": {"type": "list", "elements": "dict", "required": True, "options": agent},
        "wrap_ttl": {"type": "str", "default": "5m"},
        "render_timeout": {"type": "int", "default": 60},
    }
    run(spec, work)


if __name__ == "__main__":
    main()
