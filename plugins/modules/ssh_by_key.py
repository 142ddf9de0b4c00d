#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_by_key
short_description: See whether a login by key alone works
version_added: 0.1.0
description:
  - Logs in to the host once more, with the same settings of the connection, but with no way of
    authenticating other than a key.
  - What Ansible's own connection has used cannot be told by its variables, since a password may
    come from a prompt, and a key from an agent or from the configuration of SSH.
  - It is an action plugin and runs inside the playbook's own process. A shared connection that is
    open already is not used.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  keys:
    description:
      - Public keys as in C(authorized_keys), one of which the login has to be by; without, any will
        do.
      - For who is about to leave these alone in C(authorized_keys), before that is done.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Try a key, before nothing else is admitted
  tamshai.phoenix.ssh_by_key:
  register: tried

- name: Refuse to go on without
  ansible.builtin.assert:
    that: tried.refused == ''

- name: Try one of those that are about to be the only ones
  tamshai.phoenix.ssh_by_key:
    keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKXd7hVmBvlh7bLl3OWJ+rgDdOHKmWKV2z8lsEsSZEwv me"]
  register: tried
  failed_when: tried.refused != '' or tried.stranger != ''
"""

RETURN = r"""
refused:
  description:
    - Why no login by key alone was seen to work, empty where one was.
    - Empty for a connection that does not go by SSH as well.
  type: str
  returned: always
  sample: "root@203.0.113.10: Permission denied (publickey,password)."
stranger:
  description:
    - The fingerprint of the key that the login was by, where it is none of O(keys), or that it
      could not be told. Empty otherwise, and where there was no such login.
  type: str
  returned: always
  sample: SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU
"""
