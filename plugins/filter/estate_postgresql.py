# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_postgresql."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import server

DOCUMENTATION = r"""
name: estate_postgresql
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Derive what the PostgreSQL server of an estate is to hold
description:
  - Takes the model of an estate and gives the roles and databases for module
    M(tamshai.phoenix.pg_databases), and the access rules and user name maps for module
    M(tamshai.phoenix.pg_ssl).
positional: samples, tables
options:
  _input:
    description: The model, as filter P(tamshai.phoenix.estate_model#filter) makes it.
    type: dict
    required: true
  samples:
    description: >-
      By name of a schema, the seed and the tables of a database that is declared with sample data.
    type: dict
    default: {}
  tables:
    description: By name of a schema, more tables with row level security and their policies.
    type: dict
    default: {}
seealso:
  - plugin: tamshai.phoenix.estate_model
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show who may log in to which database
  ansible.builtin.debug:
    msg: "{{ (estate_model | tamshai.phoenix.estate_postgresql).hba }}"
"""

RETURN = r"""
_value:
  description: The keys C(service), C(roles), C(databases), C(hba) and C(ident).
  type: dict
"""


def estate_postgresql(model: Any, samples: Any = None, tables: Any = None) -> dict[str, Any]:
    """What the server is to hold, or an error in words."""
    try:
        return server(plain(model), plain(samples or {}), plain(tables or {}))
    except PhoenixError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_postgresql": estate_postgresql}
