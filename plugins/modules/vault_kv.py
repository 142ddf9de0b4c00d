#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_kv
short_description: Write secrets into a key-value engine of version 2
version_added: 0.1.0
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
      state:
        description:
          - V(absent) deletes the newest version, which the server can bring back; older versions
            and the metadata stay.
          - Nothing else about the secret is stated with that.
        type: str
        choices: [present, absent]
        default: present
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
      description: V(unchanged), V(created), V(updated) or V(deleted).
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

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import kv_secrets
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    client_from,
    connection_spec,
)


def work(module: AnsibleModule) -> Result:
    secrets = kv_secrets.declared(module, module.params["mount"])
    plan = Plan()
    with client_from(module, workers=module.params["concurrency"]) as client:
        verdicts = kv_secrets.survey(client, secrets)
        words = [kv_secrets.describe(plan, s, v) for s, v in zip(secrets, verdicts, strict=True)]
        versions = [verdict.version for verdict in verdicts]
        if not module.check_mode:
            versions = kv_secrets.write(client, secrets, verdicts)
    results = [
        {"path": secret.path, "verdict": word, "keys": verdict.keys, "version": version}
        for secret, verdict, word, version in zip(secrets, verdicts, words, versions, strict=True)
    ]
    return Result(plan, secrets=results)


def main() -> None:
    spec = connection_spec()
    spec.update(
        mount={"type": "str", "default": "secret"},
        secrets={
            "type": "list",
            "elements": "dict",
            "required": True,
            "no_log": False,
            "options": kv_secrets.SUBOPTIONS,
        },
        fingerprint_key={"type": "str", "no_log": True},
        concurrency={"type": "int", "default": 8},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
