#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kv
short_description: Write secrets into a key-value engine of version 2
version_added: 1.0.0
description:
  - Writes exact values, whatever characters they hold, and writes nothing that is equal already.
  - Merges into what is there under check-and-set, so that keys of others stay and a concurrent
    writer is noticed.
  - Makes random values where there are none; they exist in the server only.
  - Can do without reading a secret, by keyed fingerprints in the secret's custom metadata.
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
    details:
      - Shows which keys change, never a value.
  idempotent:
    support: full
options:
  mount:
    description: Where the key-value engine is mounted.
    type: str
    default: secret
  secrets:
    description: Secrets of this mount.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path below the mount.
        type: str
        required: true
      data:
        description:
          - Keys with their values, which may be lists and mappings.
          - Null is refused, and so is a number beyond 53 bits, which the engine would round; write
            that as text.
          - Keys that are not named stay as they are, unless O(secrets[].only=true).
        type: dict
        default: {}
      generate:
        description: Keys that get a random value if they do not exist, and then keep it.
        type: list
        elements: dict
        default: []
        suboptions:
          key:
            description: Name of the key.
            type: str
            required: true
          length:
            description: Number of characters, at least one.
            type: int
            default: 32
          alphabet:
            description: What the characters are taken from.
            type: str
            choices: [alphanumeric, hex, printable]
            default: alphanumeric
      only:
        description: Whether keys that are neither in O(secrets[].data) nor in O(secrets[].generate)
          are removed.
        type: bool
        default: false
      custom_metadata:
        description: Entries of custom metadata, as text, that have to be there.
        type: dict
        default: {}
  fingerprint_key:
    description:
      - If set, values are compared by fingerprints under this key, and are not read.
      - The token then needs no C(read) on C(data/), only on C(metadata/) and C(subkeys/).
      - A version that was not written by this module is unknown and is written again.
    type: str
  concurrency:
    description: How many secrets are worked on at a time.
    type: int
    default: 8
"""

EXAMPLES = r"""
- name: Write an API key, and make a cookie key that nobody needs to know
  tamshai.phoenix.vault_kv:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    mount: tamshai
    secrets:
      - path: mcp-gateway
        data:
          CLAUDE_API_KEY: "{{ claude_api_key }}"
        generate:
          - {key: COOKIE_KEY, length: 48}

- name: The same with a token that cannot read secrets
  tamshai.phoenix.vault_kv:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    mount: tamshai
    fingerprint_key: "{{ kv_fingerprint_key }}"
    secrets:
      - path: mcp-gateway
        data:
          CLAUDE_API_KEY: "{{ claude_api_key }}"
"""

RETURN = r"""
secrets:
  description: What became of each secret, or in check mode would.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: Path below the mount.
      type: str
      sample: mcp-gateway
    verdict:
      description: V(unchanged), V(created) or V(updated).
      type: str
      sample: updated
    keys:
      description: The keys that were written, made or removed.
      type: list
      elements: str
      sample: [CLAUDE_API_KEY]
    version:
      description: The newest version; in check mode the one that is there.
      type: int
      sample: 2
"""

from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import MASK, MIN_LENGTH
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.errors import ForbiddenError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kv import (
    Generate,
    Secret,
    Verdict,
)


def declared(module: AnsibleModule) -> list[Secret]:
    options = module.params
    key = (options["fingerprint_key"] or "").encode()
    given = options["secrets"]
    # Ansible masks every value of `data` wherever it occurs in the result, so a value such as 1
    # would hide version numbers. Short values are kept out of the result altogether instead.
    options["secrets"] = [{**entry, "data": dict.fromkeys(entry["data"], MASK)} for entry in given]
    module.no_log_values = {v for v in module.no_log_values if len(str(v)) >= MIN_LENGTH}
    secrets, mistakes = [], []
    for entry in given:
        try:
            secrets.append(secret_of(entry, options["mount"].strip("/"), key))
        except PhoenixError as error:
            mistakes.append(error.message)
    paths = Counter(entry["path"].strip("/") for entry in given)
    mistakes += [f"declared twice: {path}" for path, times in sorted(paths.items()) if times > 1]
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    return secrets


def secret_of(entry: dict[str, Any], mount: str, key: bytes) -> Secret:
    made = Counter(item["key"] for item in entry["generate"])
    twice = sorted(name for name, times in made.items() if times > 1)
    if twice:
        raise PhoenixError(f"{entry['path']}: generated twice: {', '.join(twice)}")
    return Secret(
        mount=mount,
        path=entry["path"].strip("/"),
        data=entry["data"],
        generate={
            item["key"]: Generate(item["length"], item["alphabet"]) for item in entry["generate"]
        },
        only=entry["only"],
        metadata={k: str(v) for k, v in entry["custom_metadata"].items()},
        key=key,
    )


def refuse_other_engine(client: VaultClient, mount: str) -> None:
    """Refuse a mount that would take a write to ``data/`` for a secret of that name.

    :raises PhoenixError: if it is not an engine of version 2.
    """
    try:
        about = client.call("GET", f"sys/internal/ui/mounts/{mount}").data
    except ForbiddenError:
        return  # Nothing in it is allowed either, which the next request says.
    version = str((about.get("options") or {}).get("version") or "1")
    if about.get("type") != "kv" or version != "2":
        what = f"version {version}" if about.get("type") == "kv" else f"type {about.get('type')}"
        raise PhoenixError(
            f"{mount} is an engine of {what}, not a key-value engine of version 2",
            hint="Nothing was written.",
        )


def describe(plan: Plan, secret: Secret, verdict: Verdict) -> str:
    """Add a secret's change to the plan, without any value; returns the verdict in a word."""
    if not verdict.changed:
        return "unchanged"
    after: dict[str, Any] = {
        name: list(keys)
        for name, keys in (
            ("written", verdict.changed_keys),
            ("made", verdict.made_keys),
            ("removed", verdict.removed_keys),
        )
        if keys
    }
    if verdict.metadata:
        after["custom_metadata"] = dict(verdict.metadata)
    name = f"{secret.mount}/{secret.path}"
    action = "update" if verdict.exists else "create"
    before = {"version": verdict.version} if verdict.exists else None
    plan.add("secret", name, action, before, after)
    return f"{action}d"


def work(module: AnsibleModule) -> Result:
    secrets = declared(module)
    plan = Plan()
    with client_from(module, workers=module.params["concurrency"]) as client:
        verdicts = client.map(lambda secret: secret.inspect(client), secrets)
        if any(verdict.changed and not verdict.version for verdict in verdicts):
            refuse_other_engine(client, module.params["mount"].strip("/"))
        words = [describe(plan, s, v) for s, v in zip(secrets, verdicts, strict=True)]
        versions = [verdict.version for verdict in verdicts]
        if not module.check_mode:
            versions = client.map(
                lambda pair: _write(client, *pair), list(zip(secrets, verdicts, strict=True))
            )
        results = [
            {
                "path": secret.path,
                "verdict": word,
                "keys": sorted(verdict.changed_keys + verdict.made_keys + verdict.removed_keys),
                "version": version,
            }
            for secret, verdict, word, version in zip(
                secrets, verdicts, words, versions, strict=True
            )
        ]
    return Result(plan, secrets=results)


def _write(client: VaultClient, secret: Secret, verdict: Verdict) -> int:
    return secret.write(client, verdict) if verdict.changed else verdict.version


def main() -> None:
    spec = connection_spec()
    generate = {
        "key": {"type": "str", "required": True, "no_log": False},
        "length": {"type": "int", "default": 32},
        "alphabet": {
            "type": "str",
            "choices": ["alphanumeric", "hex", "printable"],
            "default": "alphanumeric",
        },
    }
    spec.update(
        mount={"type": "str", "default": "secret"},
        secrets={
            "type": "list",
            "elements": "dict",
            "required": True,
            "no_log": False,
            "options": {
                "path": {"type": "str", "required": True},
                "data": {"type": "dict", "default": {}, "no_log": True},
                "generate": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": generate,
                },
                "only": {"type": "bool", "default": False},
                "custom_metadata": {"type": "dict", "default": {}},
            },
        },
        fingerprint_key={"type": "str", "no_log": True},
        concurrency={"type": "int", "default": 8},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
