# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin estate_compose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.compose import document
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain

DOCUMENTATION = r"""
name: estate_compose
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Make the compose document of an estate
description:
  - Every container runs as the service's own user, without capabilities, on a read-only root, in a
    network of its own that only its callers join; none has a secret in its environment.
positional: images
options:
  _input:
    description: The model of an estate, as P(tamshai.phoenix.estate_model#filter) makes it.
    type: dict
    required: true
  images:
    description: References of images by the name that C(image) of a service uses.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the compose file
  ansible.builtin.copy:
    content: "{{ estate_model | tamshai.phoenix.estate_compose(images_references) | to_nice_yaml }}"
    dest: /opt/tamshai/compose.yaml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The document, with the keys C(name), C(services), C(networks) and C(volumes).
  type: dict
"""


def estate_compose(model: Any, images: Any) -> dict[str, Any]:
    """The compose document for all services of an estate."""
    try:
        return document(plain(model), plain(images))
    except PhoenixError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"estate_compose": estate_compose}
