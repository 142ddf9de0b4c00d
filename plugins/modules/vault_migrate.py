#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_migrate
short_description: Move secrets, policies and AppRoles from one Vault or OpenBao server to another
version_added: 0.1.0
description:
  - Moves what a server holds, such as one in dev mode, to another one by its API. Moved are
    key-value engines of both versions with every version of every secret, its number, its deleted
    or destroyed state and its metadata; ACL policies to the byte; and AppRoles with their RoleID
    and all options.
  - The source is only read; the module sends it nothing but C(GET) and C(LIST).
  - Everything is read at both servers and decided before anything is written. There is no journal.
    What a killed run has left is recognised, completed by the next run, and never written twice.
  - After the writing everything written is read back and compared with the source by keyed
    fingerprints. Values are in memory only while one version is copied.
  - What cannot be moved is listed in RV(not_kept), by path and version. Such are times, the data of
    deleted, destroyed and pruned versions, and SecretIDs.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.vault
attributes:
  check_mode:
    support: full
    details:
      - Reads and compares everything. With O(root_shares) it does so as root, because a plan that
        did not read the target would not be true; that token is made and revoked, and nothing else
        is written.
  diff_mode:
    support: full
    details:
      - Shows numbers and states of versions, names of custom metadata, policies and options, never
        a value.
  idempotent:
    support: full
options:
  root_shares:
    description:
      - Shares of the target's master key (recovery shares of a server that unseals itself), as many
        as it needs.
      - With them the module works as root, by a token that is made for it, known to it alone, and
        revoked before it ends, in check mode as well. Root tokens that were left by a killed run
        are revoked too.
      - OpenBao wants the caller to have a token that may use C(sys/generate-root-token/).
      - Otherwise the token needs to read and write everything that is moved.
    type: list
    elements: str
  source:
    description: The server to move from.
    type: dict
    required: true
    suboptions:
      url:
        description: Address of the server, with scheme and port, as the managed host reaches it.
        type: str
        required: true
      token:
        description: Token that may read and list all that is moved.
        type: str
      token_file:
        description: File on the managed host that holds the token.
        type: path
      ca_cert:
        description: File with the CA certificates that its certificate is verified with.
        type: path
      ca_cert_content:
        description: The same as text in PEM format.
        type: str
      client_cert:
        description: File with a client certificate to show.
        type: path
      client_key:
        description: File with the private key of O(source.client_cert).
        type: path
      tls_server_name:
        description: The name that its certificate must hold, where that is not the one in
          O(source.url).
        type: str
      namespace:
        description: Namespace to move from.
        type: str
      timeout:
        description: Seconds that one request may take.
        type: int
        default: 30
      retries:
        description: How often a request is sent again after an error that may pass.
        type: int
        default: 5
      allow_plain_http:
        description:
          - Whether O(source.url) may be C(http) though it is not on the loopback interface.
          - The token and every secret then cross the network in clear.
        type: bool
        default: false
  mounts:
    description: Key-value engines to move; all of the source, if empty.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Where it is mounted at the source.
        type: str
        required: true
      target:
        description: Where it is to be mounted at the target; the same, if not set.
        type: str
      prefixes:
        description: Folders and secrets to move; all, if empty.
        type: list
        elements: str
        default: []
      exclude:
        description: Folders and secrets to leave.
        type: list
        elements: str
        default: []
  exclude_secrets:
    description:
      - Secrets and folders of the target that are left alone, by mount and path; they are not read
        either.
    type: list
    elements: str
    default: []
  policies:
    description: Whether policies are moved; built-in ones never are.
    type: bool
    default: true
  exclude_policies:
    description: Names of policies to leave; V(*) and V(?) are wildcards.
    type: list
    elements: str
    default: []
  approles:
    description: Whether AppRoles are moved.
    type: bool
    default: true
  exclude_approles:
    description: Names of AppRoles to leave; V(*) and V(?) are wildcards.
    type: list
    elements: str
    default: []
  approle_mounts:
    description:
      - Mounts of the AppRole method to move, each with its name at the target; all under their own
        names, if empty.
    type: dict
    default: {}
  clash:
    description:
      - What becomes of an object that the target has with other content than the source.
      - V(refuse) fails before anything is written, and names all of them.
      - V(keep) leaves the target's, and says so.
      - V(replace) puts the source's in its place. Of a secret, all versions that the target has are
        gone then. A policy that the caller's own token stands on is not replaced, with
        O(root_shares) as well.
    type: str
    choices: [refuse, keep, replace]
    default: refuse
  fingerprint_key:
    description: Secret that fingerprints are made with; keep it to compare with RV(record) later.
    type: str
    required: true
  concurrency:
    description: How many objects are worked on at a time.
    type: int
    default: 8
seealso:
  - module: tamshai.phoenix.vault_config
  - module: tamshai.phoenix.vault_kv
notes:
  - Mounts that the target does not have are made like those of the source. Those that it has keep
    their own tuning. The settings of a key-value engine of version 2 are taken over if it holds
    nothing but what the source has; else they stay, and what differs is listed.
  - A version that the source has pruned, deleted or destroyed takes its number at the target by a
    placeholder, which is deleted or destroyed as well. To undelete it shows that it is one.
  - A secret that the target has written to since is left alone (V(ahead)).
"""

EXAMPLES = r"""
- name: Move everything from a dev-mode server on the same host
  tamshai.phoenix.vault_migrate:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    source:
      url: http://127.0.0.1:8201
      token: "{{ old_root_token }}"
    fingerprint_key: "{{ migration_key }}"
  register: moved

- name: Move one folder into an engine of another name, and no roles
  tamshai.phoenix.vault_migrate:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    source:
      url: http://127.0.0.1:8201
      token: "{{ old_root_token }}"
    mounts:
      - source: secret
        target: tamshai-old
        prefixes: [apps]
        exclude: [apps/scratch]
    exclude_policies: ["test-*"]
    approles: false
    clash: keep
    fingerprint_key: "{{ migration_key }}"
"""

RETURN = r"""
objects:
  description: Every object with what became of it, or in check mode would.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description:
        - V(secret engine), V(kv config), V(secret), V(policy), V(auth method) or V(approle).
      type: str
      sample: secret
    name:
      description: Its name at the target; for secrets and roles the mount comes first.
      type: str
      sample: tamshai/mcp-hr
    verdict:
      description:
        - V(unchanged), V(created), V(completed) where the target had the beginning of it,
          V(replaced), V(kept) where the target's own stays, or V(ahead) where the target has all of
          it and has written more since.
      type: str
      sample: created
counts:
  description: How many objects got each verdict.
  returned: success
  type: dict
  sample: {created: 12}
not_kept:
  description: What was not moved as it is at the source.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of object.
      type: str
      sample: secret
    name:
      description: Its name at the target, V(*) for all of the kind.
      type: str
      sample: tamshai/mcp-hr
    version:
      description: Which version of a secret.
      type: int
      sample: 2
    versions:
      description: Which versions of a secret, for those that the source has pruned.
      type: str
      sample: 1-4
    secret_ids:
      description: How many SecretIDs of an AppRole stay at the source.
      type: int
      sample: 3
    why:
      description: What is missing, and why.
      type: str
      sample: "deleted: to read its data takes an undelete at the source"
clashes:
  description: Objects that the target has with other content.
  returned: success, and failure because of them
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of object.
      type: str
      sample: secret
    name:
      description: Its name at the target.
      type: str
      sample: tamshai/mcp-hr
    why:
      description: In what it is another.
      type: str
      sample: version 2 has other data there
record:
  description:
    - Keyed fingerprints of all that was moved, as it was read at the source, by kind and name. It
      holds no secret and is what a later comparison goes by.
    - HMAC-SHA256 by O(fingerprint_key) of kind, name, version and JSON with sorted keys, separated
      by zero bytes; 32 hexadecimal digits.
  returned: success
  type: dict
  sample:
    policy mcp-hr: {name: mcp-hr, mark: 1f4d0c5b2a7e9d3860b1c2d3e4f50617}
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.kv import Scope
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.ledger import Ledger, Marks
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.move import (
    Migration,
    Wishes,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.source import (
    ReadOnlyClient,
    refuse_plain_http,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, protect, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import MASK
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errand
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import connection_from

# Of the shortest token that a server makes by itself.
TOKEN_LENGTH = 20
# What of a connection makes sense for a server that is only read.
SOURCE_OPTIONS = (
    *("url", "token", "token_file", "ca_cert", "ca_cert_content", "client_cert", "client_key"),
    *("tls_server_name", "namespace", "timeout", "retries"),
)


def source_spec() -> dict[str, Any]:
    """The connection's options without the environment, which describes the target."""
    whole = connection_spec()
    spec = {
        name: {key: value for key, value in whole[name].items() if key != "fallback"}
        for name in SOURCE_OPTIONS
    }
    spec["allow_plain_http"] = {"type": "bool", "default": False}
    return spec


def source_from(module: AnsibleModule) -> ReadOnlyClient:
    options = module.params["source"]
    refuse_plain_http(options["url"], options["allow_plain_http"])
    if not options["token"] and not options["token_file"]:
        raise PhoenixError("the source needs 'token' or 'token_file'")
    connection = connection_from({**options, "wait": 0, "auth_method": "token"})
    if len(connection.token) >= TOKEN_LENGTH:
        protect(module, connection.token)
    else:
        # A server in dev mode may have the token 'root'. To mask that everywhere would garble names
        # in the record, so it is kept out of the result instead.
        module.no_log_values.discard(connection.token)
        options["token"] = MASK
    return ReadOnlyClient(connection, workers=module.params["concurrency"])


def wishes_from(options: dict[str, Any]) -> Wishes:
    """What to move.

    :raises PhoenixError: if two mounts would become one.
    """
    scopes = [
        Scope(
            entry["source"].strip("/"),
            (entry["target"] or entry["source"]).strip("/"),
            tuple(entry["prefixes"]),
            tuple(entry["exclude"]),
        )
        for entry in options["mounts"]
    ]
    methods = {
        str(old).strip("/"): str(new).strip("/") for old, new in options["approle_mounts"].items()
    }
    targets = [scope.target for scope in scopes], list(methods.values())
    twice = sorted({name for names in targets for name in names if names.count(name) > 1})
    if twice:
        raise PhoenixError(f"named twice as a target: {', '.join(twice)}")
    return Wishes(
        mounts=scopes,
        exclude_secrets=options["exclude_secrets"],
        policies=options["policies"],
        exclude_policies=options["exclude_policies"],
        approles=options["approles"],
        exclude_approles=options["exclude_approles"],
        approle_mounts=methods,
    )


def plan_of(ledger: Ledger) -> Plan:
    plan = Plan()
    for item in ledger.items:
        if item.changes:
            plan.add(item.kind, item.name, item.verdict, item.before, item.after)
    return plan


def described(ledger: Ledger) -> dict[str, Any]:
    """A migration as the module returns it."""
    return {
        "objects": [
            {"kind": item.kind, "name": item.name, "verdict": item.verdict} for item in ledger.items
        ],
        "counts": dict(Counter(item.verdict for item in ledger.items)),
        "not_kept": ledger.losses,
        "clashes": ledger.clashes,
        "record": {item.title: dict(item.record) for item in ledger.items if item.record},
    }


def work(module: AnsibleModule) -> Result:
    options = module.params
    marks = Marks(options["fingerprint_key"].encode())
    wishes = wishes_from(options)
    with (
        source_from(module) as source,
        client_from(module, workers=options["concurrency"]) as target,
    ):
        elevate(module, target)
        with errand_of(module, target, marks.key):
            migration = Migration(source, target, wishes, marks, options["clash"])
            migration.survey()
            if not module.check_mode:
                migration.carry_out()
        return Result(plan_of(migration.ledger), **described(migration.ledger))


def elevate(module: AnsibleModule, target: VaultClient) -> None:
    """Read as root in check mode as well; otherwise the client has seen to it."""
    if module.check_mode and target.connection.root_shares:
        target.elevate(target.connection.root_shares)


@contextmanager
def errand_of(module: AnsibleModule, target: VaultClient, key: bytes) -> Iterator[None]:
    """Work as root by a token that says in the audit log what for; it ends with its parent."""
    if not target.connection.root_shares:
        yield
        return
    root = target.token
    wanted = {
        "policies": ["root"],
        "display_name": "migration",
        "meta": errand.words(key, "migration", time.time()),
        "ttl": f"{errand.LIFETIME}s",
        "renewable": False,
    }
    made = target.call("POST", "auth/token/create", body=wanted, repeatable=False)
    token = str(made.body["auth"]["client_token"])
    protect(module, token)
    target.token = token
    try:
        yield
    finally:
        target.token = root


def main() -> None:
    spec = connection_spec()
    mount = {
        "source": {"type": "str", "required": True},
        "target": {"type": "str"},
        "prefixes": {"type": "list", "elements": "str", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
    }
    names = {"type": "list", "elements": "str", "default": []}
    spec.update(
        source={"type": "dict", "required": True, "options": source_spec()},
        mounts={"type": "list", "elements": "dict", "default": [], "options": mount},
        # By name no secret.
        exclude_secrets={**names, "no_log": False},
        policies={"type": "bool", "default": True},
        exclude_policies=names,
        approles={"type": "bool", "default": True},
        exclude_approles=names,
        approle_mounts={"type": "dict", "default": {}},
        clash={"type": "str", "choices": ["refuse", "keep", "replace"], "default": "refuse"},
        fingerprint_key={"type": "str", "required": True, "no_log": True},
        concurrency={"type": "int", "default": 8},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
