# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter plugin vault_seal_config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.plain import plain
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.seals import (
    SealConfig,
    problems,
    secret_files,
    stanzas,
)

DOCUMENTATION = r"""
name: vault_seal_config
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Turn what is declared about the seal of a server into its configuration
description:
  - Checks the declared seal, and makes the C(seal) stanzas of the configuration of an OpenBao or
    Vault server of it, and the files with secrets that the stanzas name.
  - The server itself accepts any option in such a stanza without a word, so that a misspelt one
    would be lost.
options:
  _input:
    description:
      - The keys C(seal) (a kind, or V(shamir)), C(former) (the kind that the server has still where
        it is to change, else empty), C(options), C(secrets) and C(plugins) (each by kind),
        C(product) (V(openbao) or V(vault)), C(egress) (whether the server reaches other networks),
        C(folder) (where the server finds the files with secrets) and C(place) (the same as the host
        names it).
    type: dict
    required: true
seealso:
  - plugin: tamshai.phoenix.vault
    plugin_type: role
"""

EXAMPLES = r"""
- name: Show the stanza of a seal by a transit server
  ansible.builtin.debug:
    msg: "{{ (declared | tamshai.phoenix.vault_seal_config).hcl }}"
  vars:
    declared:
      seal: transit
      former: ""
      options:
        transit:
          address: https://vault.example.com:8200
          key_name: unseal
          mount_path: transit/
      secrets: {transit: {token: "{{ transit_token }}"}}
      plugins: {}
      product: openbao
      egress: true
      folder: /run/tamshai
      place: /run/tamshai/vault
"""

RETURN = r"""
_value:
  description:
    - C(problems), one sentence for each mistake, none with a secret in it.
    - C(hcl), the stanzas, without a secret in them.
    - C(secrets), for each file that the stanzas name its C(path) on the host and its
      C(secret_content), as M(tamshai.phoenix.files_bulk) takes them.
  type: dict
"""


def vault_seal_config(declared: Any) -> dict[str, Any]:
    """Problems, stanzas and files of secrets."""
    given: dict[str, Any] = plain(declared)
    config = SealConfig(**given)
    found = list(problems(config))
    if found:
        return {"problems": found, "hcl": "", "secrets": []}
    return {"problems": [], "hcl": stanzas(config), "secrets": secret_files(config)}


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vault_seal_config": vault_seal_config}
