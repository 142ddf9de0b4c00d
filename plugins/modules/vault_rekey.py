#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_rekey
short_description: Change the unseal shares of a Vault or OpenBao server
version_added: 0.1.0
description:
  - Has a server make new shares for its present ones, in clear or each encrypted to its custodian.
  - The new shares come into force only when enough of them have been shown to the server, so that a
    crash, or a custodian who cannot decrypt, costs nothing; until then the present ones open it.
  - A change that a killed run has left before it got the new shares is begun anew by the next run
    on the same machine, which knows it by a note below C(~/.cache) or C(XDG_CACHE_HOME). Another
    one that is under way is left alone.
  - Recovery shares of a server that unseals itself are changed in the same way.
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
    support: partial
    details:
      - V(begun) makes new shares each time.
options:
  state:
    description:
      - V(begun) gives the present shares and returns new ones.
      - V(verified) shows new shares; with enough of them they come into force.
      - V(cancelled) forgets a change that is under way.
    type: str
    choices: [begun, verified, cancelled]
    required: true
  shares:
    description: The present shares for V(begun), new ones for V(verified).
    type: list
    elements: str
    default: []
  former_shares:
    description:
      - With V(verified) the shares that the change replaces, as far as they are at hand.
      - Where no change waits for its new shares, a quorum of these tells whether the new ones are
        in force already, because an earlier run was killed right after it had shown the last of
        them. The server is asked for a change by them, which is cancelled at once.
    type: list
    elements: str
    default: []
  new_shares:
    description: How many new shares are made.
    type: int
    default: 5
  new_threshold:
    description: How many of them open the server.
    type: int
    default: 3
  pgp_keys:
    description:
      - Public PGP keys that the new shares are encrypted to, one for each share and in its order,
        as ASCII armour or as base64 of the binary key.
    type: list
    elements: str
    default: []
  new_shares_to:
    description:
      - Files on the machine that the module runs on, one for each new share and in its order, which
        get the shares instead of the result. With O(pgp_keys) they get the messages.
      - Each is written by one rename and readable by its owner alone. One that is there already is
        refused unless it is empty, before anything is changed.
      - Where they cannot be written, the change is cancelled. That takes a change whose new shares
        are not in force yet, so O(verify=false) is refused, before anything is changed as well.
    type: list
    elements: path
    default: []
  plain:
    description:
      - Whether new shares may be returned in clear. The task has to have C(no_log), and is refused
        otherwise before anything is changed.
      - Where C(no_target_syslog) is set, every task looks to a module as if it had C(no_log); see
        to it yourself there.
    type: bool
    default: false
  handed_out:
    description:
      - RV(nonce) of the last change whose new shares are known to be where they were to go, empty
        if there was none.
      - Where it is given, O(state=begun) begins a change anew that it began on this machine itself
        under another RV(nonce), since a play that was killed has lost the new shares of that.
    type: str
  verify:
    description:
      - Whether the new shares have to be shown before they come into force.
      - With V(false) a module that is killed while the server answers has lost the new shares, and
        the present ones are worth nothing. O(new_shares_to) is refused with it.
    type: bool
    default: true
  allow_partial:
    description: Whether it is fine for V(verified) that shares are still missing afterwards.
    type: bool
    default: false
seealso:
  - module: tamshai.phoenix.vault_unseal
"""

EXAMPLES = r"""
- name: Hand the server over to its custodians
  tamshai.phoenix.vault_rekey:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    state: begun
    shares: "{{ present_shares }}"
    new_shares: 3
    new_threshold: 2
    pgp_keys: "{{ custodian_keys }}"
  register: rekey

- name: One custodian shows a share
  tamshai.phoenix.vault_rekey:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    state: verified
    shares: ["{{ my_share }}"]
    allow_partial: true
"""

RETURN = r"""
unseal_shares:
  description: The new shares, in clear as hexadecimal digits or as base64 of PGP messages.
  returned: if O(state=begun), not in check mode, without O(new_shares_to)
  type: list
  elements: str
  sample: []
nonce:
  description: What the server calls the change; not secret.
  returned: if O(state=begun), not in check mode
  type: str
  sample: da5b074b-4d60-024e-dc9f-9212aed2750b
in_force:
  description: Whether the new shares are the ones that open the server now.
  returned: success
  type: bool
  sample: false
missing:
  description: How many new shares are still to be shown.
  returned: if O(state=verified)
  type: int
  sample: 1
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.pgp import public_keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import QuorumError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.rekey import Rekey
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.sinks import (
    fill,
    in_clear,
    unfit,
)


def begun(module: AnsibleModule, client: VaultClient) -> Result:
    options = module.params
    keys, mistakes = public_keys(options["pgp_keys"])
    if not 1 <= options["new_threshold"] <= options["new_shares"]:
        mistakes.append("'new_threshold' must be between 1 and 'new_shares'")
    if options["pgp_keys"] and len(options["pgp_keys"]) != options["new_shares"]:
        mistakes.append("'pgp_keys' must have one key for each of the 'new_shares'")
    files = options["new_shares_to"]
    if files and len(files) != options["new_shares"]:
        mistakes.append("'new_shares_to' must have one file for each of the 'new_shares'")
    if files and not options["verify"]:
        mistakes.append(
            "'new_shares_to' wants 'verify', since a file that cannot be written would lose shares "
            "that are in force at once; leave it true, and show the new ones by state=verified"
        )
    mistakes += unfit(files)
    mistakes += in_clear(module, [] if keys or files else ["the new shares"])
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    plan = Plan()
    before = client.seal_status()
    plan.add(
        "shares",
        client.url,
        "change",
        {"shares": before.get("n"), "threshold": before.get("t")},
        {"shares": options["new_shares"], "threshold": options["new_threshold"]},
    )
    rekey = Rekey(client)
    if module.check_mode:
        rekey.enough(options["shares"], options["handed_out"])
        return Result(plan, in_force=not options["verify"])
    made, nonce = rekey.begin(
        options["shares"],
        shares=options["new_shares"],
        threshold=options["new_threshold"],
        pgp_keys=keys,
        verify=options["verify"],
        handed_out=options["handed_out"],
        keep=lambda shares: fill(dict(zip(files, shares, strict=bool(files)))),
    )
    values = {} if files else {"unseal_shares": made}
    return Result(plan, in_force=not options["verify"], nonce=nonce, **values)


def verified(module: AnsibleModule, client: VaultClient) -> Result:
    options, plan, rekey = module.params, Plan(), Rekey(client)
    waiting = rekey.waiting()
    if waiting is None:
        # A run that was killed right after it had shown the last share has not been told so.
        if not module.check_mode and rekey.replaced(options["former_shares"]):
            return Result(plan, in_force=True, missing=0)
        raise QuorumError(
            "no change of shares waits for its new shares",
            hint="It was cancelled, or the server was restarted: begin it anew. If a run was cut "
            "off that showed the last share, the new ones are in force.",
        )
    before, threshold = waiting
    given = {share.strip() for share in options["shares"] if share.strip()}
    # A dry run cannot know which of them the server has been shown already.
    shown = min(before + len(given), threshold)
    if not module.check_mode:
        shown = rekey.show(options["shares"])
    missing = threshold - shown
    if missing and not options["allow_partial"]:
        raise QuorumError(
            f"the new shares are not in force: {missing} more have to be shown",
            unseal_missing=missing,
        )
    if shown != before:
        plan.add("new shares", client.url, "verify", {"shown": before}, {"shown": shown})
    return Result(plan, in_force=not missing, missing=missing)


def cancelled(module: AnsibleModule, client: VaultClient) -> Result:
    plan, rekey = Plan(), Rekey(client)
    if rekey.state().get("started"):
        plan.add("shares", client.url, "cancel")
        if not module.check_mode:
            rekey.cancel()
    return Result(plan, in_force=False)


STATES = {"begun": begun, "verified": verified, "cancelled": cancelled}


def work(module: AnsibleModule) -> Result:
    with client_from(module) as client:
        error = client.not_ready()
        if error is not None:
            raise error
        return STATES[module.params["state"]](module, client)


def main() -> None:
    spec = connection_spec()
    spec.update(
        state={"type": "str", "choices": list(STATES), "required": True},
        shares={"type": "list", "elements": "str", "default": [], "no_log": True},
        former_shares={"type": "list", "elements": "str", "default": [], "no_log": True},
        new_shares={"type": "int", "default": 5},
        new_threshold={"type": "int", "default": 3},
        # Not secret, unless somebody gives private ones by mistake.
        pgp_keys={"type": "list", "elements": "str", "default": [], "no_log": True},
        new_shares_to={"type": "list", "elements": "path", "default": []},
        plain={"type": "bool", "default": False},
        handed_out={"type": "str"},
        verify={"type": "bool", "default": True},
        allow_partial={"type": "bool", "default": False},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
