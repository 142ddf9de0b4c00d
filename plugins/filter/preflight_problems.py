# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin preflight_problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import (
    plain,
    plain_inputs,
    plain_secrets,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.preflight import find

DOCUMENTATION = r"""
name: preflight_problems
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: List all that stands against a rebuild of a host
description:
  - Looks at the declared estate, image references, brought secrets, the control node and the host
    at once, and names the host, the option, what was expected and what to do for each problem.
  - No sentence holds the value of a secret.
positional: host
options:
  _input:
    description:
      - What was seen, with the keys C(estate), C(variables), C(secrets), C(images), C(passphrase),
        C(state_dir), C(control), C(tried), C(found), C(unreachable), C(ssh), C(seal), C(tags) and
        C(limits),
        as role P(tamshai.phoenix.preflight#role) puts them together.
    type: dict
    required: true
  host:
    description: The name of the host in the inventory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Fail with everything that is wrong
  ansible.builtin.fail:
    msg: "{{ problems | join('\n') }}"
  when: problems | length > 0
  vars:
    problems: "{{ seen | tamshai.phoenix.preflight_problems(inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: One sentence for each problem; empty where nothing stands against a rebuild.
  type: list
  elements: str
"""


def preflight_problems(seen: Any, host: str) -> list[str]:
    """Every problem of one host."""
    apart = ("estate", "secrets", "tried")
    known = {key: plain(seen[key]) for key in seen if key not in apart}
    known["tried"] = _outcomes(plain(seen["tried"]))
    known["estate"] = plain_inputs(seen["estate"])
    known["secrets"] = plain_secrets(seen["secrets"])
    # Before ansible-core 2.19, a template that says none is an empty string.
    known["found"] = known["found"] or None
    return find(str(host), known)


def _outcomes(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each attempt with a secret, as the uri module returned it, what holds no secret."""
    return [
        {
            "index": result["attempt"]["index"],
            "url": result["attempt"]["url"],
            "wanted": result["attempt"]["status"],
            "status": result.get("status", -1),
        }
        for result in results
    ]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"preflight_problems": preflight_problems}
