#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_ask_shares
short_description: Ask for unseal shares at the terminal
version_added: 0.1.0
description:
  - Asks for unseal shares at the terminal of the control node, one after the other and without
    showing what is typed.
  - Where there is no terminal, as in a job of AWX or of CI, it asks nothing and does not wait.
  - It is an action plugin and runs inside the playbook's own process, so that no share is written
    to a temporary file or handed to another process.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
    details:
      - Asks nothing in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  count:
    description:
      - How many shares to ask for.
      - An empty line ends the questions before that.
    type: int
    required: true
  server:
    description: Which server they are for, as the question names it.
    type: str
    required: true
notes:
  - Set C(no_log) on the task, since the shares are its result.
seealso:
  - module: tamshai.phoenix.vault_unseal
"""

EXAMPLES = r"""
- name: Ask for the shares that are missing
  tamshai.phoenix.vault_ask_shares:
    count: 2
    server: "{{ inventory_hostname }}"
  no_log: true
  register: asked
"""

RETURN = r"""
shares:
  description: What was typed, without what cannot be a share and without repetitions.
  returned: success
  type: list
  elements: str
  sample: []
terminal:
  description: Whether there is a terminal to ask at.
  returned: success
  type: bool
  sample: true
"""
