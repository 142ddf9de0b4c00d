# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain_inputs

DOCUMENTATION = r"""
name: estate_model
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Derive everything about an estate from its declaration
description:
  - Takes the C(estate_*) variables and derives certificates, AppRoles, policies, networks, database
    logins, lines of C(pg_hba.conf), what each agent fetches, and the probes that verify all of it.
  - The result holds no secret; the values of C(estate_secrets) are not even looked at.
  - Role P(tamshai.phoenix.estate#role) applies it; other roles read the variable C(estate_model).
options:
  _input:
    description:
      - The C(estate_*) variables without their prefix, and C(host), the name in the inventory.
    type: dict
    required: true
seealso:
  - plugin: tamshai.phoenix.estate_problems
    plugin_type: filter
  - plugin: tamshai.phoenix.estate_compose
    plugin_type: filter
"""

EXAMPLES = r"""
- name: List the certificates that the estate needs
  ansible.builtin.debug:
    msg: "{{ (estate | tamshai.phoenix.estate_model).certificates | map(attribute='name') }}"
  vars:
    estate:
      name: example
      domain: example.internal
      project: example
      host: vps1
      services:
        - {name: api, image: api, port: 3100, uid: 1001, callers: [operator]}
"""

RETURN = r"""
_value:
  description:
    - The model with the keys C(name), C(domain), C(root), C(run), C(project), C(owner), C(host),
      C(network_pool), C(principals), C(services), C(start_order), C(certificates), C(networks),
      C(kv_mount), C(kv_paths), C(secrets), C(policies), C(approles), C(databases), C(logins),
      C(hba), C(calls), C(agents) and C(probes).
  type: dict
"""


def estate_model(inputs: Any) -> dict[str, Any]:
    """The model of an estate, or an error that names every mistake in its declaration."""
    try:
        return build(plain_inputs(inputs))
    except PhoenixError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_model": estate_model}
