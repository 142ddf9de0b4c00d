#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_seal_info
short_description: Look at the seal of a Vault or OpenBao server
version_added: 0.1.0
description:
  - Tells what opens a server, whether it is open, how many shares it still needs, and whether it
    waits to change over to another seal.
  - A server that does not answer is no failure, but said in RV(reachable). One whose certificate is
    not trusted is.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
options:
  auth_method:
    description:
      - Everybody may look at the seal, so nobody logs in, whatever this says for the modules of a
        group.
    default: none
seealso:
  - module: tamshai.phoenix.vault_unseal
"""

EXAMPLES = r"""
- name: Look at the seal
  tamshai.phoenix.vault_seal_info:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
  register: seal

- name: Say how many shares are missing
  ansible.builtin.debug:
    msg: "{{ seal.missing }} of {{ seal.threshold }} shares are missing"
  when: seal.sealed
"""

RETURN = r"""
reachable:
  description: Whether the server answers.
  returned: success
  type: bool
  sample: true
reason:
  description: Why it does not answer; empty where it does.
  returned: success
  type: str
  sample: ""
initialised:
  description: Whether it has a master key.
  returned: success
  type: bool
  sample: true
sealed:
  description: Whether it is sealed.
  returned: success
  type: bool
  sample: false
type:
  description:
    - The kind of seal that it has. With RV(migration=true) the one that it is to change to.
    - Empty where it does not answer.
  returned: success
  type: str
  sample: shamir
migration:
  description:
    - Whether its configuration names another seal than its data have, so that it waits for shares
      to change over.
  returned: success
  type: bool
  sample: false
opens_itself:
  description: Whether the shares are recovery shares, of a server that unseals itself.
  returned: success
  type: bool
  sample: false
threshold:
  description: How many shares it takes.
  returned: success
  type: int
  sample: 3
missing:
  description: How many of them have not been given since its start; 0 where it is open.
  returned: success
  type: int
  sample: 0
shares:
  description: How many shares there are.
  returned: success
  type: int
  sample: 5
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)


def work(module: AnsibleModule) -> Result:
    reason = ""
    module.params["auth_method"] = "none"
    with client_from(module) as client:
        try:
            status = client.seal_status()
        except errors.UnreachableError as error:
            status, reason = {}, error.message
    threshold, sealed = int(status.get("t") or 0), bool(status.get("sealed"))
    return Result(
        Plan(),
        reachable=not reason,
        reason=reason,
        initialised=bool(status.get("initialized")),
        sealed=sealed,
        type=str(status.get("type") or ""),
        migration=bool(status.get("migration")),
        opens_itself=bool(status.get("recovery_seal")),
        threshold=threshold,
        missing=max(threshold - int(status.get("progress") or 0), 0) if sealed else 0,
        shares=int(status.get("n") or 0),
    )


def main() -> None:
    run(connection_spec(auth_method={"default": "none"}), work)


if __name__ == "__main__":
    main()
