# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_db_credentials."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import (
    allowed,
    credentials,
)

DOCUMENTATION = r"""
name: estate_db_credentials
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Derive who rotates the database logins of an estate, and what they may do
description:
  - Takes the model of an estate and gives the connection and the static roles for module
    M(tamshai.phoenix.vault_database), and the allow-list for module
    M(tamshai.phoenix.pg_privileges).
positional: allow, rotator, schema
options:
  _input:
    description: The model, as filter P(tamshai.phoenix.estate_model#filter) makes it.
    type: dict
    required: true
  allow:
    description: More rules for the allow-list, each with a C(reason).
    type: list
    elements: dict
    default: []
  rotator:
    description: Login that Vault rotates the others with.
    type: str
    default: vault_rotator
  schema:
    description: Schema of the rotation function.
    type: str
    default: vault_rotation
seealso:
  - plugin: tamshai.phoenix.estate_postgresql
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what each database login may do
  ansible.builtin.debug:
    msg: "{{ (estate_model | tamshai.phoenix.estate_db_credentials).allow }}"
"""

RETURN = r"""
_value:
  description: The keys C(service), C(vault), C(connection), C(static_roles) and C(allow).
  type: dict
"""


def estate_db_credentials(
    model: Any, allow: Any = None, rotator: str = "vault_rotator", schema: str = "vault_rotation"
) -> dict[str, Any]:
    """Connection, static roles and allow-list of an estate, or an error in words."""
    try:
        data = plain(model)
        derived = credentials(data, str(rotator), str(schema))
        return {**derived, "allow": allowed(data, derived["rotator"], plain(allow or []))}
    except PhoenixError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_db_credentials": estate_db_credentials}
