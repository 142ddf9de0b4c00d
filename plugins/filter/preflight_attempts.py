# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin preflight_attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain_secrets
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.preflight import attempts

DOCUMENTATION = r"""
name: preflight_attempts
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Tell how brought secrets are tried where they were issued
description:
  - Makes a request of each secret that has C(authenticate), for M(ansible.builtin.uri).
  - A secret that cannot be right by the look of it is left out.
options:
  _input:
    description: The variable C(estate_secrets).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Have each secret tried where it was issued
  ansible.builtin.uri:
    url: "{{ item.url }}"
    headers: "{{ item.headers }}"
    status_code: "{{ item.status }}"
  loop: "{{ estate_secrets | tamshai.phoenix.preflight_attempts }}"
  no_log: true
"""

RETURN = r"""
_value:
  description:
    - For each secret its C(index) in the input, C(url), C(headers) with the secret in them, the
      C(status) that means that it is good, and C(ca_path).
  type: list
  elements: dict
"""


def preflight_attempts(secrets: Any) -> list[dict[str, Any]]:
    """How each secret is tried."""
    return attempts(plain_secrets(secrets))


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"preflight_attempts": preflight_attempts}
