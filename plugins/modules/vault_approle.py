#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_approle
short_description: Manage one AppRole and its SecretIDs
version_added: 0.1.0
description:
  - Brings a role of the AppRole method to what is stated, with the same planner as
    M(tamshai.phoenix.vault_config).
  - Lists, issues and destroys its SecretIDs. None is made before it is asked for, none in check
    mode, and none leaves the server in clear unless that is allowed.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
    details:
      - Check mode says that a SecretID would be issued, and issues none.
  diff_mode:
    support: full
  idempotent:
    support: partial
    details:
      - Issuing a SecretID is a change each time.
options:
  name:
    description: Name of the role, which the server keeps in lower case.
    type: str
    required: true
  mount:
    description: Where the auth method is mounted, below C(auth/).
    type: str
    default: approle
  state:
    description:
      - Whether the role has to exist.
      - Removing it ends all its SecretIDs, so no other option of theirs goes with that.
    type: str
    choices: [present, absent]
    default: present
  role_id:
    description: RoleID; if not stated, the server makes one.
    type: str
  bind_secret_id:
    description: Whether a login needs a SecretID.
    type: bool
  local_secret_ids:
    description: Whether SecretIDs stay in this cluster; decided when the role is created.
    type: bool
  secret_id_bound_cidrs:
    description: Networks that a login may come from.
    type: list
    elements: str
  secret_id_num_uses:
    description: How many logins a SecretID is good for; V(0) is without limit.
    type: int
  secret_id_ttl:
    description: Lifetime of a SecretID, in seconds or with a unit such as V(10m).
    type: str
  token_ttl:
    description: Lifetime of a token at first, in seconds or with a unit such as V(1h).
    type: str
  token_max_ttl:
    description: Age beyond which a token cannot be renewed, in seconds or with a unit.
    type: str
  token_policies:
    description: Policies that a token gets; an empty list clears them.
    type: list
    elements: str
  token_bound_cidrs:
    description: Networks that a token may be used from.
    type: list
    elements: str
  token_explicit_max_ttl:
    description: Age beyond which a token ends whatever else is said.
    type: str
  token_no_default_policy:
    description: Whether a token goes without the policy C(default).
    type: bool
  token_num_uses:
    description: How many requests a token is good for; V(0) is without limit.
    type: int
  token_period:
    description: Renewal period of a periodic token; the mount's maximum caps it.
    type: str
  token_strictly_bind_ip:
    description: Whether a token is bound to the address that logged in, where the server knows
      that.
    type: bool
  token_type:
    description: Kind of token.
    type: str
    choices: [default, service, batch]
  secret_id_list:
    description: Whether the SecretIDs that are left are described in the result, by accessor.
    type: bool
    default: false
  secret_id_destroy:
    description: Accessors of SecretIDs that must not exist any more.
    type: list
    elements: str
    default: []
  secret_id_keep:
    description:
      - How many SecretIDs may be left, the newest ones; the others are destroyed. V(0) destroys
        all.
      - It comes before O(secret_id_issue). With V(0), a SecretID that was issued and lost in a
        crash does not outlive the next run; with more, or where this is not set, it may.
    type: int
  secret_id_issue:
    description:
      - Issue a SecretID.
      - A run that is killed after the server has made one and before the answer is here leaves a
        SecretID that nobody knows, and no later run can tell it from one that waits to be used. It
        ends with its lifetime, so give it one, here or by O(secret_id_ttl).
      - To end it sooner, set O(secret_id_keep=0) where at most one is to wait at a time. Where
        others may wait, say by O(secret_id_issue.metadata) whom each is for; O(secret_id_list)
        shows that, and O(secret_id_destroy) takes the older ones of the same.
    type: dict
    suboptions:
      wrap_ttl:
        description: Lifetime of the token that it is wrapped in, in seconds or with a unit, and
          more than none.
        type: str
      plain:
        description: Whether it may be returned in clear instead; set C(no_log) on the task then.
        type: bool
        default: false
      ttl:
        description: Its lifetime, where that is not the role's.
        type: str
      num_uses:
        description: How many logins it is good for, where that is not the role's number.
        type: int
      cidr_list:
        description: Networks that it may be used from.
        type: list
        elements: str
        default: []
      token_bound_cidrs:
        description: Networks that its tokens may be used from.
        type: list
        elements: str
        default: []
      metadata:
        description: Names and values, as text, that are logged with its use.
        type: dict
  secret_id_tidy:
    description: Whether the server is told to remove what is left of expired SecretIDs.
    type: bool
    default: false
seealso:
  - module: tamshai.phoenix.vault_config
"""

EXAMPLES = r"""
- name: A role
  tamshai.phoenix.vault_approle:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    name: mcp-hr
    role_id: mcp-hr-role-id-tamshai-v1
    token_policies: [mcp-hr]
    token_ttl: 1h
    token_max_ttl: 4h
    secret_id_ttl: 10m
    secret_id_num_uses: 1

- name: A SecretID for it, wrapped, and no other beside it
  tamshai.phoenix.vault_approle:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    name: mcp-hr
    secret_id_keep: 0
    secret_id_issue:
      wrap_ttl: 5m
      metadata: {asked_by: "{{ inventory_hostname }}"}
  no_log: true
  register: issued

- name: Which SecretIDs were never used
  tamshai.phoenix.vault_approle:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    name: mcp-hr
    secret_id_list: true
"""

RETURN = r"""
verdict:
  description: V(unchanged), V(created), V(updated), V(deleted) or V(absent).
  returned: success
  type: str
  sample: updated
fields:
  description: The settings that differed.
  returned: success
  type: list
  elements: str
  sample: [token_ttl]
role_id:
  description: RoleID of the role.
  returned: if it is stated, or the role exists and the token may read it
  type: str
  sample: mcp-hr-role-id-tamshai-v1
secret_ids:
  description: The SecretIDs that are left, the newest first, by accessor and without the SecretID.
  returned: if O(secret_id_list=true)
  type: list
  elements: dict
  sample:
    - accessor: 56536055-6704-e228-db35-35ecc33f1a81
      creation_time: "2026-11-26T14:21:52.4Z"
      expiration_time: "2026-11-26T14:31:52.4Z"
      secret_id_num_uses: 1
destroyed:
  description: Accessors of the SecretIDs that were, or in check mode would be, destroyed.
  returned: success
  type: list
  elements: str
  sample: []
issued:
  description:
    - The new SecretID - its C(accessor), and either C(wrapping_token) with C(wrapping_accessor),
      C(wrap_ttl) and C(creation_path), or C(secret_id).
  returned: if O(secret_id_issue) is given and not in check mode
  type: dict
  sample:
    accessor: 2efd846d-aec8-9895-aa9b-8629752d00e3
    creation_path: auth/approle/role/mcp-hr/secret-id
    wrap_ttl: 300
    wrapping_accessor: 9TQvfJggJHEOzcsfwxfP1FiW
    wrapping_token: s.EXAMPLE
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.errors import (
    ForbiddenError,
    NoRouteError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import (
    Field,
    argument_spec,
    normalise,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kinds import AppRoles
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.reconcile import reconcile
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.secret_ids import (
    Issue,
    SecretIds,
)

OF_SECRET_IDS = (
    *("secret_id_issue", "secret_id_list", "secret_id_destroy", "secret_id_keep"),
    "secret_id_tidy",
)
OF_AN_ISSUE = {
    "wrap_ttl": Field("duration"),
    "ttl": Field("duration"),
    "num_uses": Field("count"),
    "cidr_list": Field("cidrs"),
    "token_bound_cidrs": Field("cidrs"),
}


def work(module: AnsibleModule) -> Result:
    issue = wanted_issue(module.params)
    entry = {name: module.params[name] for name in ("name", "mount", *AppRoles.fields)}
    path = AppRoles().path(AppRoles().key(entry))
    with client_from(module) as client:
        if module.params["state"] == "absent":
            return absent(module, client)
        done = reconcile(client, {AppRoles: [entry]}, check_mode=module.check_mode)
        for place in done.unmounted:
            module.warn(f"nothing is mounted at {place} now: what goes there needs that first")
        outcome = done.outcomes[0]
        values: dict[str, Any] = {"verdict": outcome.verdict, "fields": outcome.fields}
        values.update(secret_ids(module, SecretIds(client, path), done.plan, issue))
        values.update(role_id(client, path, module.params["role_id"]))
        return Result(done.plan, **values)


def wanted_issue(options: dict[str, Any]) -> Issue | None:
    """What SecretID to issue.

    :raises PhoenixError: naming all that is wrong with the options about SecretIDs.
    """
    given, mistakes = options["secret_id_issue"], []
    if options["state"] == "absent":
        mistakes += [
            f"'{name}' is of no use with state 'absent'"
            for name in OF_SECRET_IDS
            if options[name] or (options[name] == 0 and name == "secret_id_keep")
        ]
    if (options["secret_id_keep"] or 0) < 0:
        mistakes.append("'secret_id_keep' is less than 0")
    values: dict[str, Any] = {}
    if given is not None:
        try:
            values = normalise(OF_AN_ISSUE, given)
        except PhoenixError as error:
            mistakes.append(f"secret_id_issue: {error.message}")
        if given["wrap_ttl"] and values.get("wrap_ttl") == 0:
            mistakes.append("secret_id_issue: wrap_ttl: 0 would not wrap the SecretID")
        elif not given["wrap_ttl"] and not given["plain"]:
            mistakes.append(
                "the SecretID would leave the server in clear; give 'wrap_ttl', or allow it by "
                "'plain'"
            )
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    return None if given is None else Issue(**values, metadata=given["metadata"])


def role_id(client: VaultClient, path: str, stated: str | None) -> dict[str, str]:
    if stated:
        return {"role_id": stated}
    try:
        found = client.read(f"{path}/role-id")
    except (ForbiddenError, NoRouteError):
        return {}  # Nobody asked for it, so it is no fault that it cannot be told.
    return {"role_id": str(found["role_id"])} if found else {}


def absent(module: AnsibleModule, client: VaultClient) -> Result:
    kind, plan = AppRoles(), Plan()
    key = kind.key(module.params)
    exists = kind.read(client, key, {}) is not None
    if exists:
        plan.add("approle", key, "delete", {"exists": True}, {"exists": False})
        if not module.check_mode:
            kind.remove(client, key)
    verdict = "deleted" if exists else "absent"
    return Result(plan, verdict=verdict, fields=[], destroyed=[])


def secret_ids(
    module: AnsibleModule, owned: SecretIds, plan: Plan, issue: Issue | None
) -> dict[str, Any]:
    options, act = module.params, not module.check_mode
    doomed = to_destroy(owned, options["secret_id_destroy"], options["secret_id_keep"])
    values: dict[str, Any] = {"destroyed": doomed}
    for accessor in doomed:
        plan.add("secret id", accessor, "delete")
    if act:
        owned.destroy(doomed)
    if issue is not None:
        plan.add("secret id", options["name"], "issue")
        if act:
            values["issued"] = owned.issue(issue)
    if options["secret_id_tidy"]:
        plan.add("secret ids", options["mount"].strip("/"), "tidy")
        if act:
            owned.tidy(options["mount"])
    if options["secret_id_list"]:
        values["secret_ids"] = [e for e in owned.describe() if e["accessor"] not in doomed]
    return values


def to_destroy(owned: SecretIds, named: list[str], keep: int | None) -> list[str]:
    if keep is None:
        return [accessor for accessor in (owned.accessors() if named else []) if accessor in named]
    known = [entry["accessor"] for entry in owned.describe()]
    return [
        accessor for position, accessor in enumerate(known) if accessor in named or position >= keep
    ]


def main() -> None:
    spec = connection_spec()
    networks = {"type": "list", "elements": "str", "default": []}
    spec.update(argument_spec(AppRoles.fields))
    spec.update(
        name={"type": "str", "required": True},
        mount={"type": "str", "default": "approle"},
        state={"type": "str", "choices": ["present", "absent"], "default": "present"},
        secret_id_list={"type": "bool", "default": False, "no_log": False},
        secret_id_destroy={"type": "list", "elements": "str", "default": [], "no_log": False},
        secret_id_keep={"type": "int", "no_log": False},
        secret_id_issue={
            "type": "dict",
            "no_log": False,
            "options": {
                "wrap_ttl": {"type": "str"},
                "plain": {"type": "bool", "default": False},
                "ttl": {"type": "str"},
                "num_uses": {"type": "int"},
                "cidr_list": networks,
                "token_bound_cidrs": {**networks, "no_log": False},
                "metadata": {"type": "dict"},
            },
        },
        secret_id_tidy={"type": "bool", "default": False, "no_log": False},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
