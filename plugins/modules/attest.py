#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attest
short_description: Prove that a running estate is what it claims to be
version_added: 0.1.0
description:
  - Makes the proofs of an estate on its host, all side by side in one process, each within a bound.
  - >-
    The proofs use nothing of the roles that built the estate. They shake hands with every service
    as every principal, log in to the Vault and the database, ask the Docker engine, and search
    disks, processes and logs for secrets that have no business there.
  - >-
    Every proof of the catalogue is in the result. One that cannot be made here is V(not run) with
    the reason; one that raises an error is V(fail). What is not known never passes.
  - A failed proof does not fail the module, so that a report can be written first.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
    details:
      - Makes no proof in check mode, since several of them log in somewhere, and says so in each.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - Changes nothing that lasts. It issues one SecretID for each service and uses it up, and it
        leaves entries in the Vault's audit log and one line in the journal.
options:
  estate:
    description: The estate's model, as P(tamshai.phoenix.estate_model#filter) makes it.
    type: dict
    required: true
  collect:
    description:
      - V(proofs) makes the proofs.
      - V(snapshot) takes what a later call compares with after a restart, and makes no proof.
      - >-
        V(opening) unseals the Vault with O(shares) after O(delay) seconds. It is run in the
        background, while another task is seen to wait for a sealed server.
      - >-
        V(rotation) has the Vault rotate each of two database logins that take turns, while their
        services are asked without a pause, and sees the services change over. It is a change.
      - >-
        V(migrated) compares what a migration has left on record in O(migrated) with what production
        holds, by a token that O(shares) make and that may read nothing else; it is gone afterwards.
    type: str
    choices: [proofs, snapshot, opening, rotation, migrated]
    default: proofs
  settle_timeout:
    description:
      - Seconds in which, before O(collect=snapshot), the Vault has to answer after a restart.
      - With O(collect=proofs) all services have to be healthy and their secrets rendered by then;
        if they are not, the proofs are made all the same and say what is missing.
    type: int
    default: 0
  shares:
    description:
      - Shares of the unseal key, for O(collect=opening) and O(collect=migrated), and for the copy
        of the Vault that a proof opens with O(disturbed=copy).
    type: list
    elements: str
    default: []
  hold:
    description:
      - Seconds in which, before O(collect=snapshot), a sealed Vault has to stay so to count as
        sealed. Whatever opens it by itself shows in that time.
    type: int
    default: 0
  delay:
    description: Seconds to wait before O(collect=opening).
    type: int
    default: 0
  only:
    description: Ids of the proofs to make; the others are listed as not run. All, if empty.
    type: list
    elements: str
    default: []
  token:
    description:
      - A token of the operator, with which the Vault's settings are read back.
      - >-
        Without it the module logs in by O(operator_certificate); where that fails, the proofs that
        need a token fail and say so, and the others are made.
    type: str
  issued:
    description:
      - The certificates that the estate's authority has issued, from its list on the control node.
    type: list
    elements: dict
    default: []
  root_certificate:
    description:
      - Certificate of the root of the estate's authority in PEM, as the control node has it.
      - >-
        Every bundle has to name it and no other as what is trusted; without it proof F1.a is not
        run.
    type: str
  renewed_since:
    description:
      - When a deployment last asked for new certificates, RFC 3339, as role C(pki) keeps it.
      - All certificates in place have to be issued since then, by O(issued). Empty, if none asked.
    type: str
    default: ""
  allow:
    description: What database logins may do, as M(tamshai.phoenix.pg_privileges) takes it.
    type: list
    elements: dict
    default: []
  others:
    description:
      - C(policies) and C(approles) that are declared besides the estate's own, as
        O(tamshai.phoenix.vault_config#module:policies) and
        O(tamshai.phoenix.vault_config#module:approles) take them. They have to be there, with what
        is stated about them. Of one that is here by its name alone nothing is compared.
      - Paths of C(ways_in) below V(auth/).
      - Any other that exists is a fault.
      - Names of AppRoles of services that are C(gone), whose reads of what is no service's any more
        may still be in the audit log.
    type: dict
    default: {}
  staff:
    description:
      - >-
        The declared texts of the policies C(operator) and C(host), by name. Those that are left out
        are not compared.
    type: dict
    default: {}
  staff_roles:
    description:
      - >-
        The declared roles for certificates C(operator) and C(host), as
        O(tamshai.phoenix.vault_config#module:cert_roles) takes them. Those that are left out are
        not compared.
    type: list
    elements: dict
    default: []
  operator_certificate:
    description:
      - The operator's client certificate in PEM, for a login and for the operator's own hops.
    type: str
  operator_key:
    description: The key of O(operator_certificate) in PEM; it stays in memory.
    type: str
  forbidden:
    description:
      - Secrets of the control node that must not lie on any host, by what they are called.
      - The disks are searched for them.
    type: dict
    default: {}
  credential_limit:
    description: How old a credential may be, a duration such as V(30d), for proof H4.d.
    type: str
    default: 30d
  search_timeout:
    description:
      - Seconds that a search of the host's files, or of its journal, may take.
      - When they are over its programs are killed, and the proofs that need it fail and say so.
    type: int
    default: 120
  stores:
    description:
      - What the control node holds of unseal shares and root tokens, as
        P(tamshai.phoenix.secret_stores#lookup) tells it.
      - Without it proof F2.b is not run.
    type: dict
    suboptions:
      store:
        description: Counts and paths.
        type: dict
        required: true
      tokens:
        description: Values of the shape of a token, by where they are.
        type: dict
        required: true
  disturbed:
    description:
      - What the caller has done to see what only that shows; it says in O(observed) what it saw.
      - >-
        V(restart) is a restart of the Vault, V(reboot) one of the host. V(copy) is leave to open a
        copy of the Vault. Proofs of what is left out are not run.
    type: list
    elements: str
    choices: [restart, reboot, copy]
    default: []
  observed:
    description:
      - What the caller saw while it restarted the Vault and rebooted the host, and under
        C(rotation) what RV(rotation), and under C(migrated) what RV(migrated) said.
      - Under C(refused) why it did neither.
    type: dict
    default: {}
  migrated:
    description:
      - What a migration has left on record, as RV(tamshai.phoenix.vault_migrate#module:record) has
        it.
    type: dict
    default: {}
  migration_key:
    description:
      - The C(fingerprint_key) that a migration was given. By it H1.b tells what the migration has
        read as root from what somebody else has.
    type: str
  fingerprint_key:
    description:
      - Secret with which data are compared before and after a restart without being kept.
      - For O(collect=migrated) the one that the record was made with.
    type: str
requirements:
  - cryptography and psycopg2 on the managed host
  - find, grep and xargs of GNU, journalctl
seealso:
  - module: tamshai.phoenix.attest_report
"""

EXAMPLES = r"""
- name: Make all proofs that disturb nobody
  tamshai.phoenix.attest:
    estate: "{{ estate_model }}"
    operator_certificate: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.crt') }}"
    operator_key: "{{ lookup('ansible.builtin.file', operator_dir ~ '/tls.key') }}"
    issued: "{{ index.certificates }}"
    root_certificate: "{{ lookup('ansible.builtin.file', phoenix_state_dir ~ '/ca/root.crt') }}"
    allow: "{{ (estate_model | tamshai.phoenix.estate_db_credentials).allow }}"
    stores: "{{ lookup('tamshai.phoenix.secret_stores', phoenix_state_dir) }}"
  vars:
    index: "{{ lookup('ansible.builtin.file', phoenix_state_dir ~ '/ca/index.json') | from_json }}"
  register: attested

- name: Look again at one of them
  tamshai.phoenix.attest:
    estate: "{{ estate_model }}"
    token: "{{ operator_login.token }}"
    only: [H1.c]
"""

RETURN = r"""
proofs:
  description: One entry for every proof of the catalogue, in its order.
  returned: when O(collect=proofs)
  type: list
  elements: dict
  contains:
    id:
      description: Which proof.
      type: str
      sample: H3.b
    title:
      description: What it claims.
      type: str
      sample: plain HTTP to every service port is refused
    status:
      description: V(pass), V(fail) or V(not run).
      type: str
      sample: pass
    reason:
      description: Why it did not pass, empty where it did.
      type: str
      sample: ""
    seconds:
      description: How long it took.
      type: float
      sample: 0.081
    evidence:
      description: What it saw, without a secret.
      type: dict
      sample: {"answers": {"mcp-hr port 3101 (198.18.0.34:3101)": "connection closed"}}
started:
  description: When the proofs began, RFC 3339.
  returned: when O(collect=proofs)
  type: str
  sample: "2026-11-26T14:30:11Z"
finished:
  description: When the last of them ended.
  returned: when O(collect=proofs)
  type: str
  sample: "2026-11-26T14:30:15Z"
born:
  description:
    - When the estate came to be on this host, RFC 3339; empty where the file system does not tell.
  returned: when O(collect=proofs)
  type: str
  sample: "2026-11-26T14:27:02Z"
rotation:
  description:
    - What was seen while database logins were rotated, as O(observed) takes it under C(rotation).
    - Either C(not_run), the reason why there was nothing to see, or C(evidence) and C(faults).
  returned: when O(collect=rotation)
  type: dict
  sample:
    faults: []
    evidence:
      turns: [{rotated: tamshai_app_b, while_used: tamshai_app, changed_over_seconds: 1.9}]
migrated:
  description:
    - What is not as it was moved, under C(faults), and how much was compared.
    - C(forgotten) are accessors of root tokens that were alive before, and were revoked.
  returned: when O(collect=migrated)
  type: dict
  sample:
    faults: []
    compared: {"secret": 12, "version": 40, "policy": 5, "approle": 5}
    forgotten: []
snapshot:
  description: What to compare with after a restart.
  returned: when O(collect=snapshot)
  type: dict
  contains:
    fingerprints:
      description:
        - Keyed fingerprints of the Vault's content, empty while it is sealed and without
          O(fingerprint_key).
      type: dict
      sample: {"policy mcp-hr": "5b0f..."}
    sealed:
      description: Whether the Vault is sealed.
      type: bool
      sample: false
    seal:
      description: What opens the Vault, V(shamir) where shares do.
      type: str
      sample: shamir
    threshold:
      description: How many shares that takes.
      type: int
      sample: 3
    started:
      description: When the Vault's container was started.
      type: str
      sample: "2026-11-26T14:27:31.123456789Z"
    boot:
      description: Identifies the boot of the host.
      type: str
      sample: 1c3b1b3c-6a3c-4e0a-8d0e-5f8f0c8f7a11
"""

import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, protect, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    disruption,
    framework,
    migrated,
    rotation,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import CATALOGUE
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.every import PROOFS
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import Store

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# A container that boots keeps its kernel; its first process starts anew.
INIT = Path("/proc/1/stat")

SPEC: dict[str, dict[str, Any]] = {
    "estate": {"type": "dict", "required": True},
    "collect": {
        "type": "str",
        "choices": ["proofs", "snapshot", "opening", "rotation", "migrated"],
        "default": "proofs",
    },
    "settle_timeout": {"type": "int", "default": 0},
    "hold": {"type": "int", "default": 0},
    "shares": {"type": "list", "elements": "str", "default": [], "no_log": True},
    "delay": {"type": "int", "default": 0},
    "only": {"type": "list", "elements": "str", "default": []},
    "token": {"type": "str", "no_log": True},
    "issued": {"type": "list", "elements": "dict", "default": []},
    "root_certificate": {"type": "str"},
    "renewed_since": {"type": "str", "default": ""},
    "allow": {"type": "list", "elements": "dict", "default": []},
    "others": {"type": "dict", "default": {}},
    "staff": {"type": "dict", "default": {}},
    "staff_roles": {"type": "list", "elements": "dict", "default": []},
    "operator_certificate": {"type": "str"},
    "operator_key": {"type": "str", "no_log": True},
    "forbidden": {"type": "dict", "default": {}, "no_log": True},
    "credential_limit": {"type": "str", "default": "30d"},
    "search_timeout": {"type": "int", "default": 120},
    "stores": {
        "type": "dict",
        "options": {
            "store": {"type": "dict", "required": True},
            "tokens": {"type": "dict", "required": True, "no_log": True},
        },
    },
    "disturbed": {
        "type": "list",
        "elements": "str",
        "choices": ["restart", "reboot", "copy"],
        "default": [],
    },
    "observed": {"type": "dict", "default": {}},
    "migrated": {"type": "dict", "default": {}},
    "migration_key": {"type": "str", "no_log": True},
    "fingerprint_key": {"type": "str", "no_log": True},
}


def inputs_of(params: dict[str, Any]) -> Inputs:
    """What the task gave, as the proofs take it."""
    told = params["stores"]
    pair = (params["operator_certificate"], params["operator_key"])
    return Inputs(
        estate=params["estate"],
        token=params["token"] or "",
        index=params["issued"],
        root=params["root_certificate"] or "",
        renewed_since=params["renewed_since"],
        allow=params["allow"],
        others=params["others"],
        staff={name: str(text) for name, text in params["staff"].items()},
        staff_roles=params["staff_roles"],
        operator=pair if all(pair) else None,
        foreign={name: str(value) for name, value in params["forbidden"].items()},
        credential_limit=seconds(params["credential_limit"]),
        search_timeout=params["search_timeout"],
        stores=[Store.told(told["store"], told["tokens"])] if told else [],
        disturbed=frozenset(params["disturbed"]),
        observed=params["observed"],
        migrated=params["migrated"],
        migration_key=params["migration_key"] or "",
        fingerprint_key=params["fingerprint_key"] or "",
        shares=tuple(params["shares"]),
    )


def now() -> str:
    """The time, RFC 3339 in UTC."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def main(module: AnsibleModule) -> Result:
    """Make the proofs, or take a snapshot."""
    params = module.params
    inputs = inputs_of(params)
    vocabulary = framework.Vocabulary(
        inputs.token,
        params["operator_key"] or "",
        inputs.fingerprint_key,
        inputs.migration_key,
        *inputs.shares,
        *inputs.foreign.values(),
    )
    site = Site(inputs, vocabulary)
    plan = Plan()
    if module.check_mode:
        values: dict[str, Any] = {
            "proofs": predicted(),
            "started": now(),
            "finished": now(),
            "born": "",
        }
    elif params["collect"] == "snapshot":
        values = {"snapshot": snapshot(site, params["settle_timeout"], params["hold"])}
    elif params["collect"] == "opening":
        disruption.open_seal(site, params["shares"], delay=params["delay"])
        values = {}
    elif params["collect"] == "rotation":
        values = {"rotation": rotated(site, plan)}
    elif params["collect"] == "migrated":
        vocabulary.add(*params["shares"])
        values = {"migrated": compared(site, params["shares"])}
    else:
        values = prove(site, params["only"], params["settle_timeout"])
    protect(module, *vocabulary)
    return Result(plan, **vocabulary.clean(values))


def predicted() -> list[dict[str, Any]]:
    """The result in check mode, in which nothing is asked and nothing is known."""
    reason = "check mode: the proofs are made on the running estate"
    return framework.not_run((entry.id, reason) for entry in CATALOGUE)


def prove(site: Site, only: list[str], settle_timeout: int) -> dict[str, Any]:
    """All results, with the times around them."""
    if settle_timeout:
        disruption.settle(site, settle_timeout)
    started = now()
    try:
        proofs = framework.run(site, PROOFS, site.vocabulary, only=only)
    finally:
        site.close()
    born = site.born()
    made = datetime.datetime.fromtimestamp(born, datetime.UTC).isoformat() if born else ""
    return {"proofs": proofs, "started": started, "finished": now(), "born": made}


def rotated(site: Site, plan: Plan) -> dict[str, Any]:
    """What was seen while database logins were rotated."""
    try:
        seen = rotation.observe(site)
    finally:
        site.close()
    for turn in seen.get("evidence", {}).get("turns", []):
        plan.add("password", turn["rotated"], "rotate")
    return seen


def compared(site: Site, shares: list[str]) -> dict[str, Any]:
    """What production holds of what was moved to it."""
    try:
        return migrated.compare(site, site.inputs.migrated, shares)
    finally:
        site.close()


def snapshot(site: Site, settle_timeout: int, hold: int = 0) -> dict[str, Any]:
    """What a restart must not change, and what it must."""
    disruption.wait_for_vault(site, settle_timeout)
    container = site.container(site.the("vault")["name"])
    status = disruption.wait_for_seal(site, settle_timeout)
    sealed = bool(status.get("sealed")) and (not hold or disruption.stays_sealed(site, hold))
    try:
        wanted = not sealed and site.inputs.fingerprint_key
        fingerprints = disruption.fingerprints(site) if wanted else {}
    finally:
        site.close()
    return {
        "fingerprints": fingerprints,
        "sealed": sealed,
        "seal": str(status.get("type", "")),
        "threshold": int(status.get("t") or 0),
        "started": container.state.get("StartedAt"),
        "boot": f"{BOOT_ID.read_text().strip()} {INIT.read_text().rpartition(')')[2].split()[19]}",
    }


if __name__ == "__main__":
    run(SPEC, main)
