# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_agents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.layout import (
    Options,
    layout,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

DOCUMENTATION = r"""
name: estate_agents
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: What the agents of an estate need on the host
description:
  - Takes the model of an estate and gives the directories, files and facts of its agents, which
    fetch each service's secrets from Vault.
  - The result holds no secret.
options:
  _input:
    description: The model, from P(tamshai.phoenix.estate_model#filter).
    type: dict
    required: true
  options:
    description:
      - Durations, in seconds or in words.
      - C(render_interval) is how often a KV secret is read again, C(wrap_ttl) how long a wrapped
        SecretID may wait for its agent, C(wait) how long one try waits for a Vault that is sealed
        or away, C(credential_limit) how old a credential may be before the host raises the alarm.
    type: dict
    default: {}
seealso:
  - plugin: tamshai.phoenix.estate_model
    plugin_type: filter
  - module: tamshai.phoenix.secret_zero
"""

EXAMPLES = r"""
- name: Show which files the agents have
  ansible.builtin.debug:
    msg: "{{ (estate_model | tamshai.phoenix.estate_agents).files | map(attribute='path') }}"
"""

RETURN = r"""
_value:
  description:
    - C(directories) and C(files), entries of module P(tamshai.phoenix.files_bulk#module).
    - C(units), entries of module P(tamshai.phoenix.units_bulk#module).
    - C(agents), entries of module P(tamshai.phoenix.secret_zero#module).
  type: dict
"""


def estate_agents(model: Any, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The filter."""
    try:
        return layout(model, Options.of(options or {}))
    except PhoenixError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_agents": estate_agents}
