# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup plugin secret_stores."""

from __future__ import annotations

DOCUMENTATION = r"""
name: secret_stores
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Tell what the control node holds of unseal shares and root tokens
description:
  - Looks at every file of some directories, at the file in which the command line of a Vault keeps
    its token, and at the environment of the playbook.
  - Nothing is decrypted. An encrypted share or root token is known by what its file says about
    itself, and one in clear by its shape.
  - M(tamshai.phoenix.attest) judges what is found, for proof F2.b.
options:
  _terms:
    description: Directories and files to look at; one that does not exist holds nothing.
    required: true
    type: list
    elements: str
  environment:
    description: Beginning of the names of environment variables that hold shares.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show how many shares are kept here
  ansible.builtin.debug:
    msg: "{{ lookup('tamshai.phoenix.secret_stores', phoenix_state_dir).store.encrypted }}"
"""

RETURN = r"""
_list:
  description:
    - One mapping. Its C(store) has the C(name) of the place, C(encrypted) shares by server,
      C(shares) in clear, C(offers) to custodians and C(root_files), which are files that say that
      they hold a root token.
    - Its C(tokens) are values of the shape of a token by where they are. These are secrets.
  type: list
  elements: dict
"""

import os
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import stores


class LookupModule(LookupBase):
    """What Ansible looks for in this file."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        store = stores.Store("the control node")
        places = [*(str(term) for term in self._flatten(terms)), stores.token_file(Path.home())]
        stores.from_files(store, places)
        stores.from_environment(store, os.environ, str(self.get_option("environment")))
        return [{"store": store.public(), "tokens": store.tokens}]
