#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_snapshot
short_description: Save and restore the integrated storage of a Vault or OpenBao server
version_added: 0.1.0
description:
  - Saves a snapshot - checked against its own sums, written to a temporary file with the final
    mode, flushed to disk and renamed - and keeps as many as wanted.
  - Restores one, after it has been checked and after the server to overwrite has been named.
  - A snapshot is encrypted by the server's master key; whoever restores it needs the shares, or the
    seal, that the server had when the snapshot was taken.
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
    support: none
    details:
      - Each run saves a snapshot, or restores one.
options:
  state:
    description:
      - V(saved) saves a snapshot.
      - >-
        V(restored) overwrites all that the server holds, and waits until the server has taken it. A
        server with other shares than the snapshot's is sealed then, see RV(sealed). If its database
        engine reaches live databases, it changes their passwords within seconds of being unsealed;
        see to it that it does not where the restore is a drill.
      - >-
        The audit devices in the server's configuration have to be those of the snapshot's time, to
        the letter. OpenBao does not become active on others.
    type: str
    choices: [saved, restored]
    default: saved
  directory:
    description: Directory on the host that snapshots are kept in.
    type: path
  prefix:
    description: Beginning of the snapshots' names, of letters, digits, C(_), C(.) and C(-); only
      such files are ever removed.
    type: str
    default: vault
  keep:
    description: How many snapshots are kept, the new one included; V(0) keeps all.
    type: int
    default: 0
  path:
    description: The snapshot to restore.
    type: path
  confirm:
    description:
      - Name of the cluster that is overwritten, as RV(ignore:cluster_name) of its seal status has
        it.
      - A restore without it, or with another name, changes nothing and says the name.
    type: str
"""

EXAMPLES = r"""
- name: Save, and keep two weeks of nights
  tamshai.phoenix.vault_snapshot:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    directory: /var/backups/vault
    keep: 14
  register: snapshot

- name: Put it back
  tamshai.phoenix.vault_snapshot:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    token: "{{ login.token }}"
    state: restored
    path: "{{ snapshot.path }}"
    confirm: "{{ name_of_the_cluster }}"
"""

RETURN = r"""
path:
  description: The snapshot that was saved or restored.
  returned: success, not in check mode for O(state=saved)
  type: str
  sample: /var/backups/vault/vault-20261126T142152.403967Z.snap
sha256:
  description: SHA-256 of the file.
  returned: as RV(path)
  type: str
  sample: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
size:
  description: Its size in bytes.
  returned: as RV(path)
  type: int
  sample: 18234
index:
  description: The last change that is in it, by its number in the server's log.
  returned: as RV(path)
  type: int
  sample: 96
term:
  description: The term of that change.
  returned: as RV(path)
  type: int
  sample: 3
sealed:
  description:
    - Whether the server is sealed now. Restart it then, for it may still ask for as many shares as
      it had, and open it with the shares of the snapshot's time.
  returned: if O(state=restored), not in check mode
  type: bool
  sample: false
removed:
  description: Older snapshots that were, or in check mode would be, removed.
  returned: if O(state=saved)
  type: list
  elements: str
  sample: []
"""

import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import read_bytes_or_none
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.snapshot import (
    PUT_BACK,
    TAKE,
    Store,
    describe,
    inspect,
    restore,
    take,
)


def saved(module: AnsibleModule, client: VaultClient) -> Result:
    options = module.params
    store = Store(options["directory"], options["prefix"])
    path, plan = store.fresh_path(), Plan()
    surplus = store.surplus(options["keep"], more=1)
    plan.add("snapshot", str(store.directory / store.prefix), "save")
    for old in surplus:
        plan.add("snapshot", str(old), "delete", {"exists": True}, {"exists": False})
    values = {"removed": [str(old) for old in surplus]}
    if module.check_mode:
        client.expect("GET", TAKE)
        return Result(plan, **values)
    data = take(client)
    store.save(path, data)
    # Only now, with the new one safe.
    for old in surplus:
        old.unlink(missing_ok=True)
    return Result(plan, **values, **describe(path, inspect(data)))


def restored(module: AnsibleModule, client: VaultClient) -> Result:
    options = module.params
    path = Path(options["path"])
    data = read_bytes_or_none(path)
    if data is None:
        raise PhoenixError(f"there is no snapshot {path}")
    snapshot = inspect(data)
    error = client.not_ready()
    if error is not None:
        raise error
    name = str(client.seal_status().get("cluster_name", ""))
    if not name or options["confirm"] != name:
        raise PhoenixError(
            f"all that {client.url} holds would be overwritten; its cluster is named {name}",
            hint=f"If that is what you want, give confirm={name}.",
        )
    plan = Plan()
    plan.add("server", client.url, "restore", {"cluster": name}, describe(path, snapshot))
    values: dict[str, Any] = {}
    if module.check_mode:
        client.expect("POST", PUT_BACK)
    else:
        values["sealed"] = restore(client, data)
    return Result(plan, **values, **describe(path, snapshot))


def work(module: AnsibleModule) -> Result:
    mistakes = []
    if module.params["keep"] < 0:
        mistakes.append("'keep' is less than 0")
    if not re.fullmatch(r"\w[\w.-]*", module.params["prefix"]):
        mistakes.append("'prefix' holds more than letters, digits, '_', '.' and '-', or begins so")
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    with client_from(module) as client:
        return (saved if module.params["state"] == "saved" else restored)(module, client)


def main() -> None:
    spec = connection_spec()
    spec.update(
        state={"type": "str", "choices": ["saved", "restored"], "default": "saved"},
        directory={"type": "path"},
        prefix={"type": "str", "default": "vault"},
        keep={"type": "int", "default": 0},
        path={"type": "path"},
        confirm={"type": "str"},
    )
    needed = [("state", "saved", ["directory"]), ("state", "restored", ["path"])]
    run(spec, work, required_if=needed)


if __name__ == "__main__":
    main()
