#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_custody
short_description: Keep unseal shares encrypted on the control node
version_added: 0.1.0
description:
  - Keeps the unseal shares of a server, and its root token until the bootstrap has ended, in a
    directory of the control node, one encrypted file for each.
  - Each file is encrypted by AES-256-GCM under a key that scrypt derives from O(passphrase).
  - It is an action plugin and runs inside the playbook's own process, so that no secret is written
    to a temporary file or handed to another process.
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
  path:
    description: Directory on the control node; it is made for its owner only.
    type: path
    required: true
  state:
    description:
      - How far the bootstrap of the server is to be recorded.
      - V(read) records nothing and returns what is held. Shares that were released are not, and are
        deleted where a run was killed before it had done that.
      - V(begun) makes an identifier for a server that is about to be initialised. Shares of an
        earlier server are moved into the directory C(archive), never deleted.
      - V(held) writes O(shares) and O(root_token); it never overwrites shares that are there.
      - V(finished) deletes the file of the root token, which has to be revoked by then.
      - V(released) deletes shares that are not in force any more, since custodians hold new ones.
      - V(resealed) notes that the same shares belong to a seal of the kind O(seal) now, whoever
        holds them.
    type: str
    choices: [read, begun, held, finished, released, resealed]
    default: read
  passphrase:
    description: What the files are encrypted with; needed for V(held) and for reading secrets.
    type: str
  shares:
    description: The unseal shares (recovery shares of a server that unseals itself).
    type: list
    elements: str
  threshold:
    description: How many shares the server needs.
    type: int
  share_count:
    description: How many shares the custodians hold, for V(released).
    type: int
  offers:
    description:
      - Names of custodians with the PGP messages that hold their shares.
      - They are written into the directory C(custodians), to be handed over.
    type: dict
  offered:
    description: Name of the change of shares that O(offers) are of; it is recorded after them.
    type: str
    default: ""
  root_token:
    description: The token that the server was initialised with.
    type: str
  seal:
    description: Kind of seal that the shares belong to, as the server names it.
    type: str
    default: shamir
  secrets:
    description:
      - Whether O(state=read) decrypts and returns the shares and the root token; set C(no_log)
        then.
    type: bool
    default: false
  share_files:
    description:
      - Further files to read shares from when O(secrets=true), such as those that custodians bring.
      - A file of this module's own format is decrypted with O(passphrase); any other is taken as
        the share itself.
    type: list
    elements: path
    default: []
  share_environment:
    description:
      - Beginning of the names of environment variables of the control node that hold further
        shares, such as V(VAULT_UNSEAL_KEY_) for C(VAULT_UNSEAL_KEY_1) and so on.
      - A variable of the form C(file:///path) names a file to read the share from, as in
        O(share_files). A file without content counts as none.
    type: str
    default: ""
notes:
  - The directory is the only place that the shares are in. Keep a copy, better still move each file
    to another person.
"""

EXAMPLES = r"""
- name: Make ready for a server that is about to be initialised
  tamshai.phoenix.vault_custody:
    path: "{{ phoenix_state_dir }}/vault"
    state: begun
  register: custody

- name: Unseal from what is held
  tamshai.phoenix.vault_custody:
    path: "{{ phoenix_state_dir }}/vault"
    passphrase: "{{ phoenix_state_passphrase }}"
    secrets: true
  no_log: true
  register: custody
"""

RETURN = r"""
state:
  description: V(absent), V(begun), V(held), V(finished) or V(released).
  returned: success
  type: str
  sample: finished
id:
  description: Identifier of the server whose secrets are held.
  returned: success
  type: str
  sample: 6ccd780c2dd77a9a0eaf1cf9c2b5a6d4
archived:
  description:
    - Directory that all that was kept of an earlier server has been moved to, or would be in check
      mode.
    - It is empty where there was none.
  returned: success
  type: str
  sample: ""
offered:
  description: The change of shares that the last offers were of, empty where there are none.
  returned: success
  type: str
  sample: da5b074b-4d60-024e-dc9f-9212aed2750b
seal:
  description: Kind of seal that the shares belong to, empty where none are known.
  returned: success
  type: str
  sample: shamir
threshold:
  description: How many shares the server needs.
  returned: success
  type: int
  sample: 3
shares_held:
  description: How many shares are in the directory.
  returned: success
  type: int
  sample: 5
root_token_held:
  description: Whether a root token is in the directory.
  returned: success
  type: bool
  sample: false
shares:
  description: All brought shares, then all held ones (as many as are needed if one is damaged).
  returned: if O(secrets=true)
  type: list
  elements: str
  sample: []
root_token:
  description: The root token, empty where none is held.
  returned: if O(secrets=true)
  type: str
  sample: ""
"""
