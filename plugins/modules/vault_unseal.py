#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_unseal
short_description: Unseal a Vault or OpenBao server with shares
version_added: 0.1.0
description:
  - Gives shares to a sealed server until it opens, and waits until it serves requests.
  - Says how many shares are still missing where there are too few.
  - Where more shares are given than the server needs and some are wrong, it finds a set that opens
    the server.
  - Has a server whose configuration names another seal than its data have change over to it.
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
  auth_method:
    description:
      - Unsealing needs no token, so nobody logs in, whatever this says for the modules of a group.
    default: none
  shares:
    description: Shares as hexadecimal digits or base64, in any order.
    type: list
    elements: str
    default: []
  allow_partial:
    description:
      - Whether it is fine that shares are still missing afterwards, because somebody else will give
        theirs.
    type: bool
    default: false
  migrate:
    description:
      - Whether a server that waits to change its seal may do so once it has enough shares.
      - Without it such a server takes no share, and the module fails with C(vault_error) set to
        V(migration).
      - The shares stay the same. They are the recovery shares of a server that unseals itself.
    type: bool
    default: false
  active_wait:
    description: Seconds to wait for the unsealed server to become active.
    type: int
    default: 60
seealso:
  - module: tamshai.phoenix.vault_seal_info
  - module: tamshai.phoenix.vault_custody
"""

EXAMPLES = r"""
- name: Unseal
  tamshai.phoenix.vault_unseal:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: "{{ unseal_shares }}"

- name: Give one custodian's share
  tamshai.phoenix.vault_unseal:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: ["{{ my_share }}"]
    allow_partial: true

- name: Change over to the seal that was added to the server's configuration
  tamshai.phoenix.vault_unseal:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: "{{ unseal_shares }}"
    migrate: true
"""

RETURN = r"""
sealed:
  description: Whether the server is sealed now.
  returned: success
  type: bool
  sample: false
missing:
  description: How many shares are still missing.
  returned: success
  type: int
  sample: 0
threshold:
  description: How many shares the server needs.
  returned: success
  type: int
  sample: 3
seal_type:
  description: The kind of seal that the server has, or is changing to.
  returned: success
  type: str
  sample: shamir
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.bootstrap import (
    unseal,
    wait_active,
    wait_migrated,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)


def work(module: AnsibleModule) -> Result:
    options = module.params
    options["auth_method"] = "none"
    with client_from(module) as client:
        before = client.seal_status()
        if not before.get("initialized"):
            raise errors.UninitialisedError(
                f"the server {client.url} is not initialised", hint="Module vault_init does that."
            )
        pending = bool(before.get("migration"))
        if pending and before.get("sealed") and not options["migrate"]:
            raise errors.MigrationError(
                f"the server {client.url} waits to change its seal to {before.get('type')!r}, and "
                "takes shares for nothing else",
                hint="Set 'migrate', or take the new seal out of its configuration and restart it.",
            )
        plan = Plan()
        after = before
        threshold = int(before.get("t") or 0)
        missing = max(threshold - int(before.get("progress") or 0), 0)
        if before.get("sealed"):
            given = len(set(options["shares"]))
            if module.check_mode:
                after = {**before, "sealed": given < missing}
                missing = max(missing - given, 0)
            else:
                after = unseal(client, options["shares"], migrate=options["migrate"])
                missing = threshold - int(after.get("progress") or 0)
            # A share that the server has already got moves nothing.
            moved = [(s.get("sealed"), s.get("progress")) for s in (before, after)]
            if given and (module.check_mode or moved[0] != moved[1]):
                verb = "migrate" if pending else "unseal"
                plan.add("server", client.url, verb, {"sealed": True}, _public(after))
        if after.get("sealed") and not options["allow_partial"]:
            raise errors.SealedError(
                f"the server {client.url} is still sealed: {missing} of {threshold} shares are "
                "missing",
                hint="Give more shares.",
                unseal_missing=missing,
                unseal_threshold=threshold,
            )
        if not after.get("sealed"):
            missing = 0
            if not module.check_mode:
                wait_active(client, options["active_wait"])
                wait_migrated(client, options["active_wait"])
        return Result(
            plan,
            sealed=bool(after.get("sealed")),
            missing=missing,
            threshold=threshold,
            seal_type=before.get("type", ""),
        )


def _public(status: dict[str, object]) -> dict[str, object]:
    return {"sealed": bool(status.get("sealed"))}


def main() -> None:
    spec = connection_spec(auth_method={"default": "none"})
    spec.update(
        shares={"type": "list", "elements": "str", "default": [], "no_log": True},
        allow_partial={"type": "bool", "default": False},
        migrate={"type": "bool", "default": False},
        active_wait={"type": "int", "default": 60},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
