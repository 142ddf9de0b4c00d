# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain_inputs
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import problems

DOCUMENTATION = r"""
name: estate_problems
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: List every mistake in the declaration of an estate
description:
  - Takes the same input as P(tamshai.phoenix.estate_model#filter) and answers with all that is
    wrong with it at once, each mistake with the path of the value.
  - Whatever has no problems here has a model, and nothing else has.
options:
  _input:
    description:
      - The C(estate_*) variables without their prefix, and C(host), the name in the inventory.
    type: raw
    required: true
seealso:
  - plugin: tamshai.phoenix.estate_model
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Refuse a wrong estate before anything is changed
  ansible.builtin.assert:
    that: problems | length == 0
    fail_msg: "{{ problems | join('\n') }}"
  vars:
    problems: "{{ estate | tamshai.phoenix.estate_problems }}"
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
  description: One sentence for each mistake, in the order of declaration; empty where all is well.
  type: list
  elements: str
  sample:
    - 'estate_services[3].callers[0]: unknown caller "mcp-hrr" (did you mean "mcp-hr"?)'
"""


def estate_problems(inputs: Any) -> list[str]:
    """Every mistake in the declaration of an estate."""
    return problems(plain_inputs(inputs))


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_problems": estate_problems}
