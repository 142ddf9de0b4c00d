#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_identity
short_description: Cut identities off from a Vault or OpenBao server at once, or let them in again
version_added: 0.1.0
description:
  - Disables the entities of certificates and AppRoles. The server looks at that with each request,
    so their tokens are dead at once, wherever they are, and so is every new login.
  - A role or a policy that is written later does not undo it.
  - Ends all their tokens and unused SecretIDs as well, since these would work again with the
    entity, and makes sure that none is left.
  - It does not change a secret that they have read. Rotate those.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  identities:
    description: Who is meant; each is named by one of O(identities[].common_name) and
      O(identities[].approle).
    type: list
    elements: dict
    required: true
    suboptions:
      auth_method:
        description: Where the auth method is mounted, below C(auth/).
        type: str
        required: true
      common_name:
        description:
          - Common name of the certificates, for the certificate method.
          - It means all certificates of that name, later ones too.
        type: str
      approle:
        description: Name of an AppRole.
        type: str
  state:
    description:
      - With V(cut_off) they get no answer but refusal from now on.
      - With V(admitted) they may log in again; what they had before stays dead.
    type: str
    choices: [cut_off, admitted]
    required: true
seealso:
  - module: tamshai.phoenix.vault_config
"""

EXAMPLES = r"""
- name: Cut off a host and the service that runs on it
  tamshai.phoenix.vault_identity:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    identities:
      - {auth_method: cert, common_name: vps.example.com}
      - {auth_method: approle, approle: mcp-hr}
    state: cut_off
"""

RETURN = r"""
identities:
  description: Each of O(identities) with what is known of it now, or in check mode was.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: Auth method and name.
      type: str
      sample: approle/mcp-hr
    entity:
      description: Id of its entity, empty where it has never logged in.
      type: str
      sample: 1439e9a8-f49a-27e3-95f1-c35d6d56336f
    disabled:
      description: Whether it is cut off.
      type: bool
      sample: true
tokens_revoked:
  description: Accessors of the tokens that were ended, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [C4iTzmfNZegwuddPuZrI7l5z]
secret_ids_destroyed:
  description: Accessors of the unused SecretIDs that were destroyed, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.identity import Identities


def work(module: AnsibleModule) -> Result:
    cut_off = module.params["state"] == "cut_off"
    plan = Plan()
    with client_from(module) as client:
        identities = Identities(client, module.params["identities"])
        identities.read()
        identities.plan(plan, cut_off=cut_off)
        ended = {
            "tokens_revoked": [token for item in identities.all for token in item.tokens],
            "secret_ids_destroyed": [one for item in identities.all for one in item.secret_ids],
        }
        if plan.changed and not module.check_mode:
            identities.cut_off() if cut_off else identities.admit()
    return Result(
        plan,
        identities=[
            {"name": item.title, "entity": item.entity, "disabled": item.disabled}
            for item in identities.all
        ],
        **ended,
    )


def main() -> None:
    spec = connection_spec()
    text = {"type": "str"}
    spec["identities"] = {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "auth_method": {**text, "required": True},
            "common_name": text,
            "approle": text,
        },
        "mutually_exclusive": [("common_name", "approle")],
        "required_one_of": [("common_name", "approle")],
    }
    spec["state"] = {"type": "str", "choices": ["cut_off", "admitted"], "required": True}
    run(spec, work)


if __name__ == "__main__":
    main()
