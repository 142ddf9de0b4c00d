#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_init
short_description: Initialise a Vault or OpenBao server, and end its bootstrap
version_added: 0.1.0
description:
  - Initialises a server that never was, and hands over its unseal shares and root token once.
  - Ends the bootstrap by revoking the root token and proving that it is gone.
  - Tells a server whose shares were lost in a crash, and that therefore can hold nothing, from one
    that may hold data.
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
      - Nobody logs in, whatever this says for the modules of a group.
      - V(initialised) needs no token; for V(finished) give the root token as O(token).
  state:
    description:
      - V(initialised) initialises a server that is not.
      - V(finished) revokes the token in O(token) and notes in O(marker) that the bootstrap is over.
    type: str
    choices: [initialised, finished]
    default: initialised
  shares:
    description: How many shares the master key is split into.
    type: int
    default: 5
  threshold:
    description: How many shares open the server.
    type: int
    default: 3
  pgp_keys:
    description:
      - Public PGP keys that the shares are encrypted to, one for each share and in its order, as
        ASCII armour or as base64 of the binary key.
    type: list
    elements: str
    default: []
  root_token_pgp_key:
    description: Public PGP key, in the same forms, that the root token is encrypted to.
    type: str
  shares_to:
    description:
      - Files on the machine that the module runs on, one for each share and in its order, which get
        the shares instead of the result. With O(pgp_keys) they get the messages.
      - Each is written by one rename and readable by its owner alone. One that is there already is
        refused unless it is empty, before the server is initialised.
      - A server whose shares were not written, because the disk is full or the module was killed,
        has lost them; it holds nothing, and RV(orphaned) says so.
    type: list
    elements: path
    default: []
  root_token_to:
    description: File, as in O(shares_to), that gets the root token instead of the result.
    type: path
  plain:
    description:
      - Whether what has neither a PGP key nor a file may be returned in clear.
      - The task has to have C(no_log), since it would all be in the logs, and is refused otherwise
        before anything is changed. Store it in the next task, which needs C(no_log) as well.
      - Where C(no_target_syslog) is set, every task looks to a module as if it had C(no_log); see
        to it yourself there.
    type: bool
    default: false
  marker:
    description:
      - File on the server's host in which the module notes which bootstrap the server belongs to
        and whether it is over.
    type: path
  id:
    description: Identifier of the bootstrap, which goes into O(marker).
    type: str
  audit_log:
    description:
      - File that the server's audit device writes, read to decide about a server whose shares
        nobody holds.
    type: path
seealso:
  - module: tamshai.phoenix.vault_unseal
  - module: tamshai.phoenix.vault_custody
"""

EXAMPLES = r"""
- name: Initialise, with the shares in clear for the next task only
  tamshai.phoenix.vault_init:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: 5
    threshold: 3
    plain: true
  no_log: true
  register: vault_initialised

- name: Initialise, with each share encrypted to its custodian
  tamshai.phoenix.vault_init:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: 3
    threshold: 2
    pgp_keys: "{{ custodian_keys }}"
    root_token_pgp_key: "{{ custodian_keys[0] }}"
  register: vault_initialised

- name: Initialise on this machine, with each secret in a file of its own
  tamshai.phoenix.vault_init:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    shares: 3
    threshold: 2
    shares_to: [/media/ann/share, /media/bo/share, /media/cy/share]
    root_token_to: /dev/shm/root-token
  delegate_to: localhost

- name: End the bootstrap
  tamshai.phoenix.vault_init:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    state: finished
    token: "{{ root_token }}"
"""

RETURN = r"""
initialised_now:
  description: Whether this call initialised the server.
  returned: if O(state=initialised)
  type: bool
  sample: true
unseal_shares:
  description:
    - The shares, in clear as hexadecimal digits or, with O(pgp_keys), as base64 of PGP messages.
    - For a server that unseals itself they are recovery shares.
  returned: if RV(initialised_now=true), without O(shares_to)
  type: list
  elements: str
  sample: []
root_token:
  description: The root token, or with O(root_token_pgp_key) base64 of a PGP message that holds it.
  returned: if RV(initialised_now=true), without O(root_token_to)
  type: str
  sample: s.EXAMPLE
seal_type:
  description: The kind of seal, in the server's words.
  returned: success
  type: str
  sample: shamir
orphaned:
  description:
    - Whether the server was initialised by the bootstrap O(id), never got to its end and holds
      nothing; if its shares are lost, it may be made anew.
  returned: if O(state=initialised) and the server was initialised before
  type: bool
  sample: false
not_orphaned_reason:
  description: Why it may hold something.
  returned: if RV(orphaned=false)
  type: str
  sample: its bootstrap is in state 'finished'
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.bootstrap import (
    Marker,
    initialise,
    revoke_root,
    why_not_orphaned,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.errors import (
    TokenMissingError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.pgp import (
    public_key,
    public_keys,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.sinks import (
    fill,
    in_clear,
    unfit,
)


def initialised(module: AnsibleModule, client: VaultClient) -> Result:
    options = module.params
    status = client.seal_status()
    values: dict[str, Any] = {"seal_type": status.get("type", ""), "initialised_now": False}
    plan = Plan()
    if status.get("initialized"):
        marker = Marker.read(options["marker"]) if options["marker"] else None
        reason = why_not_orphaned(status, marker, options["id"] or "", options["audit_log"] or "")
        return Result(plan, orphaned=not reason, not_orphaned_reason=reason, **values)
    keys, mistakes = public_keys(options["pgp_keys"])
    root_key = ""
    if options["root_token_pgp_key"]:
        try:
            root_key = public_key(options["root_token_pgp_key"])
        except PhoenixError as error:
            mistakes.append(f"root_token_pgp_key: {error.message}")
    if not 1 <= options["threshold"] <= options["shares"]:
        mistakes.append("'threshold' must be between 1 and 'shares'")
    if options["pgp_keys"] and len(options["pgp_keys"]) != options["shares"]:
        mistakes.append("'pgp_keys' must have one key for each of the 'shares'")
    share_files, root_file = options["shares_to"], options["root_token_to"]
    if share_files and len(share_files) != options["shares"]:
        mistakes.append("'shares_to' must have one file for each of the 'shares'")
    mistakes += unfit([*share_files, *([root_file] if root_file else [])])
    clear = ["the shares"] if not (keys or share_files) else []
    clear += ["the root token"] if not (root_key or root_file) else []
    mistakes += in_clear(module, clear)
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    after = {"shares": options["shares"], "threshold": options["threshold"]}
    plan.add("server", client.url, "initialise", None, after)
    values["initialised_now"] = True
    if not module.check_mode:
        if options["marker"]:
            Marker(options["id"] or "", "begun").write(options["marker"])
        made = initialise(
            client,
            status,
            shares=options["shares"],
            threshold=options["threshold"],
            pgp_keys=keys,
            root_token_pgp_key=root_key,
        )
        fill(dict(zip(share_files, made["shares"], strict=bool(share_files))))
        fill({root_file: made["root_token"]} if root_file else {})
        values.update({} if share_files else {"unseal_shares": made["shares"]})
        values.update({} if root_file else {"root_token": made["root_token"]})
    return Result(plan, **values)


def finished(module: AnsibleModule, client: VaultClient) -> Result:
    options = module.params
    plan = Plan()
    marker = Marker.read(options["marker"]) if options["marker"] else None
    if not client.token:
        raise TokenMissingError(f"no root token of {client.url} to revoke")
    not_ready = client.not_ready()
    if not_ready is not None:
        raise not_ready
    if client.token_lives() if module.check_mode else revoke_root(client):
        plan.add("root token", client.url, "revoke")
    if options["marker"] and (marker is None or marker.state != "finished"):
        identifier = options["id"] or (marker.id if marker else "")
        plan.add("bootstrap", options["marker"], "finish")
        if not module.check_mode:
            Marker(identifier, "finished").write(options["marker"])
    return Result(plan, seal_type=client.seal_status().get("type", ""))


def work(module: AnsibleModule) -> Result:
    finishing = module.params["state"] == "finished"
    module.params["auth_method"] = "token" if finishing else "none"
    with client_from(module) as client:
        if finishing:
            return finished(module, client)
        return initialised(module, client)


def main() -> None:
    spec = connection_spec()
    spec.update(
        state={
            "type": "str",
            "choices": ["initialised", "finished"],
            "default": "initialised",
        },
        shares={"type": "int", "default": 5},
        threshold={"type": "int", "default": 3},
        # Not secret, unless somebody gives private ones by mistake.
        pgp_keys={"type": "list", "elements": "str", "default": [], "no_log": True},
        root_token_pgp_key={"type": "str", "no_log": True},
        shares_to={"type": "list", "elements": "path", "default": []},
        root_token_to={"type": "path", "no_log": False},
        plain={"type": "bool", "default": False},
        marker={"type": "path"},
        id={"type": "str"},
        audit_log={"type": "path"},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
