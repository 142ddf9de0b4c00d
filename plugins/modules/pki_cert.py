#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module pki_cert."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pki_cert
author: tamshai.phoenix contributors (@tamshai)
short_description: Certificates of the estate's own authority
version_added: 0.1.0
description:
  - Keeps a root authority and an issuing authority on the control node, and issues certificates for
    services and hosts.
  - Private keys of services are made on the machine that uses them and never leave it. That machine
    makes requests
    (O(state=requested)), the control node signs them (O(state=signed)), the machine checks and
    swaps them in (O(state=installed)).
    Each step handles all certificates of the estate in one call.
  - A certificate request proves possession of its key and nothing else. Names and usages of a
    certificate come from O(certificates).
  - Nothing is made while nothing is due, and nothing in check mode.
options:
  state:
    description:
      - V(authority) makes everything that the control node needs, root, issuing authority,
        revocation lists,
        and O(certificates) of the control node itself.
      - V(ca) makes the root alone.
      - V(intermediate) makes the issuing authority under an existing root, or a new one when it is
        due for renewal.
      - V(crl) revokes what O(revoke) names and keeps both revocation lists fresh. That of the
        issuing authority also names what the issuing authorities before it have issued.
      - V(leaf) makes O(certificates) in O(certs_dir) on the machine of the authority, with their
        keys.
      - V(requested) finds out which of O(certificates) are due in O(certs_dir), stages keys and
        returns requests.
      - V(signed) issues a certificate for each of O(requests).
      - V(installed) joins O(bundles) with the staged keys, checks all of them and swaps them in.
    type: str
    required: true
    choices: [authority, ca, intermediate, crl, leaf, requested, signed, installed]
  state_dir:
    description:
      - Directory on the control node that holds the authority, in C(ca/).
      - Required by every O(state) but V(requested) and V(installed).
    type: path
  passphrase:
    description:
      - Encrypts the private keys of both authorities (PKCS 8, scrypt, AES-256), at least 12
        characters.
      - Required by every O(state) but V(requested) and V(installed).
    type: str
  organization:
    description:
      - Name of the estate, which the authorities carry in their subject.
      - Required by O(state=authority), O(state=ca) and O(state=intermediate).
    type: str
  permitted:
    description:
      - Names that the authorities may certify, as critical name constraints; a kind that is left
        out is not permitted at all.
      - Required by O(state=authority), O(state=ca) and O(state=intermediate).
    type: dict
    suboptions:
      dns:
        description: DNS names, each of which permits itself and every name below it.
        type: list
        elements: str
        default: []
      ips:
        description: Networks in CIDR notation.
        type: list
        elements: str
        default: []
      uri_hosts:
        description: Hosts of URIs, such as the trust domain of SPIFFE IDs.
        type: list
        elements: str
        default: []
  root_lifetime:
    description: How long a new root is valid.
    type: str
    default: 3650d
  issuing_lifetime:
    description: How long a new issuing authority is valid; the next one is made when a third of
      that is left.
    type: str
    default: 1095d
  crl_lifetime:
    description: How long a revocation list is valid; it is remade when a third of that is left.
    type: str
    default: 30d
  certificates:
    description:
      - Certificates as the estate declares them.
      - Entries of C(estate_model.certificates) fit as they are.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the bundle, C(<service>) or C(<service>.<login>).
        type: str
        required: true
      common_name:
        description: Common name of the subject.
        type: str
        required: true
      dns:
        description: DNS names.
        type: list
        elements: str
        default: []
      ips:
        description: IP addresses.
        type: list
        elements: str
        default: []
      uris:
        description: URIs, such as a SPIFFE ID.
        type: list
        elements: str
        default: []
      usages:
        description: What the holder may be in a TLS handshake.
        type: list
        elements: str
        choices: [server, client]
        required: true
      key_type:
        description: Kind of the private key, the module's O(key_type) where it is not given.
        type: str
        choices: [ecdsa-p256, ecdsa-p384, rsa-3072, rsa-4096]
      uid:
        description: Number of the account that owns the files; the user who runs the module where
          it is not given.
        type: int
      gid:
        description: Number of the group of the files.
        type: int
      path:
        description: Directory of the bundle, accepted so that entries of the estate's model fit;
          O(certificates[].name) decides.
        type: str
      service:
        description: Service that uses the certificate, empty for none.
        type: str
      reload:
        description: How that service takes up a new certificate.
        type: str
        choices: [signal, restart, none]
        default: none
      reload_signal:
        description: Signal that makes it do so.
        type: str
        default: HUP
  key_type:
    description: Kind of the private keys of certificates that do not say one themselves.
    type: str
    choices: [ecdsa-p256, ecdsa-p384, rsa-3072, rsa-4096]
    default: ecdsa-p256
  lifetime:
    description: How long a new certificate is valid.
    type: str
    default: 90d
  renew_before:
    description: How long before its end a certificate is due for renewal, a third of O(lifetime)
      where it is not given.
    type: str
  renew:
    description: Whether to make new certificates and keys even though none is due.
    type: bool
    default: false
  undeclared:
    description:
      - What becomes of bundles in O(certs_dir) under names that O(certificates) does not have, for
        O(state=requested).
      - V(remove) removes those that come from O(root_certificate), and leaves all else alone.
    type: str
    choices: [keep, remove]
    default: keep
  in_memory:
    description:
      - Whether to insist on O(certs_dir) being a memory file system, for O(state=requested) and
        O(state=installed).
      - Where it is not, no key is made.
    type: bool
    default: false
  host:
    description: Name of the machine that certificates are for, which the list of issued
      certificates notes.
    type: str
    default: ''
  root_certificate:
    description:
      - Certificate of the root in PEM, which every certificate in O(certs_dir) must come from.
      - Empty means that the root is yet to be made, so that everything is due.
    type: str
    default: ''
  requests:
    description: What O(state=requested) returned as RV(requests), for O(state=signed).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the certificate.
        type: str
        required: true
      csr:
        description: Certificate request in PEM.
        type: str
        required: true
      time:
        description: Time by the clock of the machine that made the request; more than five minutes
          off is refused.
        type: str
        required: true
  bundles:
    description: What O(state=signed) returned as RV(bundles), for O(state=installed).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the certificate.
        type: str
        required: true
      serial:
        description: Serial number, 40 hexadecimal digits.
        type: str
      certificate:
        description: Certificate and issuing authority in PEM.
        type: str
        required: true
      root:
        description: Root in PEM.
        type: str
        required: true
  revoke:
    description:
      - Names or serial numbers of certificates to revoke, for O(state=crl); a name means all of
        that name.
      - A serial number, in hexadecimal, may be one that the list of issued certificates does not
        know, as where that was restored from an older copy.
    type: list
    elements: str
    default: []
  save_command:
    description:
      - Command that keeps an encrypted copy of O(certs_dir), for O(state=requested) and
        O(state=installed).
      - It is called with the argument C(save) after a change, with C(check) to find out whether the
        copy is up to date
        (exit status 0 yes, 3 no).
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.files
attributes:
  check_mode:
    support: full
    details: Predicts every change; makes no key, request or certificate.
  diff_mode:
    support: full
    details: Shows public data of certificates only.
  idempotent:
    support: partial
    details: O(renew) and O(state=signed) issue new certificates each time.
seealso:
  - module: tamshai.phoenix.tls_reload
"""

EXAMPLES = r"""
- name: Authorities on the control node, and the operator's own certificate
  tamshai.phoenix.pki_cert:
    state: authority
    state_dir: /home/me/.local/state/tamshai/example
    passphrase: "{{ phoenix_state_passphrase }}"
    organization: tamshai
    permitted:
      dns: [tamshai.internal]
      ips: [127.0.0.1/32, 198.18.0.0/16]
      uri_hosts: [tamshai.internal]
    certificates:
      - name: operator
        common_name: admin
        uris: [spiffe://tamshai.internal/operator/admin]
        usages: [client]
  delegate_to: localhost
  register: authority

- name: Find out which certificates are due
  tamshai.phoenix.pki_cert:
    state: requested
    certificates: "{{ estate_model.certificates }}"
    root_certificate: "{{ authority.root_certificate }}"
  register: requested

- name: Sign them
  tamshai.phoenix.pki_cert:
    state: signed
    state_dir: /home/me/.local/state/tamshai/example
    passphrase: "{{ phoenix_state_passphrase }}"
    certificates: "{{ estate_model.certificates }}"
    requests: "{{ requested.requests }}"
  delegate_to: localhost
  when: requested.requests | length > 0
  register: signed

- name: Install them
  tamshai.phoenix.pki_cert:
    state: installed
    certificates: "{{ estate_model.certificates }}"
    bundles: "{{ signed.bundles }}"
    root_certificate: "{{ authority.root_certificate }}"
  when: requested.requests | length > 0

- name: Revoke a certificate
  tamshai.phoenix.pki_cert:
    state: crl
    state_dir: /home/me/.local/state/tamshai/example
    passphrase: "{{ phoenix_state_passphrase }}"
    revoke: [mcp-hr.tamshai_app]
  delegate_to: localhost
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode, each with kind, name, action and a note
    why.
  type: list
  elements: dict
  returned: success
certificates:
  description: The certificates as they are after O(state=requested), O(state=leaf) and
    O(state=authority).
  type: list
  elements: dict
  returned: O(state=requested), O(state=leaf), O(state=authority)
  contains:
    name:
      description: Name of the bundle.
      type: str
    path:
      description: The bundle's C(current).
      type: str
    serial:
      description: Serial number, 40 hexadecimal digits in lower case, empty where there is no
        certificate yet.
      type: str
    not_after:
      description: End of validity, RFC 3339 in UTC, empty where there is no certificate yet.
      type: str
    due:
      description: Why a new one is to be made, empty where none is.
      type: str
requests:
  description: A certificate request for each certificate that is due, empty in check mode.
  type: list
  elements: dict
  returned: O(state=requested)
bundles:
  description: The certificates issued, each with its issuing authority and the root, in PEM; empty
    in check mode.
  type: list
  elements: dict
  returned: O(state=signed)
swapped:
  description: Bundles that were swapped in, each with name, serial, before (the serial until then),
    service, reload, reload_signal.
  type: list
  elements: dict
  returned: O(state=installed)
pending:
  description: Names of certificates whose consumer has not been proven to serve them since they
    were swapped in.
  type: list
  elements: str
  returned: O(state=requested), O(state=installed)
root_certificate:
  description: The root in PEM, empty where it is yet to be made.
  type: str
  returned: O(state=authority), O(state=ca), O(state=intermediate), O(state=leaf), O(state=crl)
issuing_certificate:
  description: The issuing authority in PEM, empty where it is yet to be made.
  type: str
  returned: O(state=authority), O(state=ca), O(state=intermediate), O(state=leaf), O(state=crl)
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, require, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, keys, sealed
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import CRYPTOGRAPHY_ERROR
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    KEY_TYPES,
    USAGES,
    Declaration,
    Lifetime,
    parse_all,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

_STRING = {"type": "str"}
_NEEDED = {"type": "str", "required": True}
_STRINGS = {"type": "list", "elements": "str", "default": []}
_KEY_TYPE = {"type": "str", "choices": list(KEY_TYPES), "no_log": False}


def _entries(**options: Any) -> dict[str, Any]:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


# What each state that works on the control node does, in order.
_STEPS = {
    "authority": ("root", "issuing", "leaves", "crl"),
    "ca": ("root",),
    "intermediate": ("issuing",),
    "leaf": ("leaves",),
    "crl": ("crl",),
}

# Those and what needs the authority's keys. They use no more of the module than its parameters.
ON_CONTROL_NODE = (*_STEPS, "signed")
_OF_AUTHORITY = ["state_dir", "passphrase"]
REQUIRED_IF = [
    *(("state", state, _OF_AUTHORITY) for state in ("crl", "leaf", "signed")),
    *(
        ("state", state, [*_OF_AUTHORITY, "organization", "permitted"])
        for state in ("authority", "ca", "intermediate")
    ),
]

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {**_NEEDED, "choices": [*_STEPS, "requested", "signed", "installed"]},
    "certs_dir": {"type": "path", "default": "/opt/tamshai/certs"},
    "state_dir": {"type": "path"},
    "passphrase": {"type": "str", "no_log": True},
    "organization": _STRING,
    "permitted": {
        "type": "dict",
        "options": {"dns": _STRINGS, "ips": _STRINGS, "uri_hosts": _STRINGS},
    },
    "root_lifetime": {"type": "str", "default": "3650d"},
    "issuing_lifetime": {"type": "str", "default": "1095d"},
    "crl_lifetime": {"type": "str", "default": "30d"},
    "certificates": _entries(
        name=_NEEDED,
        common_name=_NEEDED,
        dns=_STRINGS,
        ips=_STRINGS,
        uris=_STRINGS,
        usages={"type": "list", "elements": "str", "choices": list(USAGES), "required": True},
        key_type=_KEY_TYPE,
        uid={"type": "int"},
        gid={"type": "int"},
        path=_STRING,
        service=_STRING,
        reload={"type": "str", "choices": ["signal", "restart", "none"], "default": "none"},
        reload_signal={"type": "str", "default": "HUP"},
    ),
    "key_type": {**_KEY_TYPE, "default": KEY_TYPES[0]},
    "lifetime": {"type": "str", "default": "90d"},
    "renew_before": _STRING,
    "renew": {"type": "bool", "default": False},
    "undeclared": {"type": "str", "choices": ["keep", "remove"], "default": "keep"},
    "in_memory": {"type": "bool", "default": False},
    "host": {"type": "str", "default": ""},
    "root_certificate": {"type": "str", "default": ""},
    "requests": _entries(name=_NEEDED, csr=_NEEDED, time=_NEEDED),
    "bundles": _entries(name=_NEEDED, serial=_STRING, certificate=_NEEDED, root=_NEEDED),
    "revoke": _STRINGS,
    "save_command": _STRINGS,
}


@dataclass
class Job:
    """A module run: parameters parsed once, and what the states share."""

    module: AnsibleModule
    plan: Plan
    now: datetime
    lifetime: Lifetime
    declared: dict[str, Declaration]
    tree: Tree

    @property
    def given(self) -> dict[str, Any]:
        return dict(self.module.params)

    @property
    def check(self) -> bool:
        return bool(self.module.check_mode)

    def trusted(self) -> Any:
        """The root that was given, ``None`` where there is none yet."""
        pem = self.given["root_certificate"].encode()
        return keys.load_certificate(pem, "root_certificate") if pem else None

    def authority(self) -> Authority:
        given = self.given
        if not given["state_dir"] or given["passphrase"] is None:
            raise PhoenixError(f"state {given['state']} needs state_dir and passphrase")
        return Authority(Path(given["state_dir"]) / "ca", given["passphrase"].encode("utf-8"))

    def result(self, **values: Any) -> Result:
        return Result(self.plan, changes=self.plan.summary(), **values)


def work(module: AnsibleModule) -> Result:
    """Parse what was given, and hand over to the state."""
    given = module.params
    job = Job(
        module=module,
        plan=Plan(),
        now=datetime.now(UTC),
        lifetime=Lifetime.parse(given["lifetime"], given["renew_before"]),
        declared=parse_all(given["certificates"], given["key_type"]),
        tree=Tree(Path(given["certs_dir"])),
    )
    if CRYPTOGRAPHY_ERROR and job.check and given["state"] == "requested":
        return _unpredictable(job)
    require(module, "cryptography", CRYPTOGRAPHY_ERROR)
    if given["in_memory"] and not job.check:
        job.tree.check_in_memory()
    states = {"requested": _requested, "signed": _signed, "installed": _installed}
    return states.get(given["state"], _on_control_node)(job)


def _requested(job: Job) -> Result:
    found, requests = flow.request(
        job.tree,
        job.declared,
        job.trusted(),
        job.now,
        job.lifetime,
        job.plan,
        renew=job.given["renew"],
        remove_undeclared=job.given["undeclared"] == "remove",
        check=job.check,
    )
    _save(job)
    return job.result(
        certificates=flow.states(job.tree, found),
        requests=requests,
        pending=sorted(job.tree.pending()),
    )


def _unpredictable(job: Job) -> Result:
    """A host that is still to get the library has no certificates that could be looked at."""
    job.module.warn(
        "the Python library cryptography is not there yet: certificates count as missing"
    )
    found = [flow.Assessment(wanted, None, "there is none yet") for wanted in job.declared.values()]
    for item in found:
        flow.plan_leaf(job.plan, item)
    return job.result(certificates=flow.states(job.tree, found), requests=[], pending=[])


def _signed(job: Job) -> Result:
    bundles = flow.sign(
        job.authority(),
        job.given["requests"],
        job.declared,
        job.now,
        job.lifetime,
        job.plan,
        host=job.given["host"],
        check=job.check,
    )
    return job.result(bundles=bundles)


def _installed(job: Job) -> Result:
    swapped = flow.install(
        job.tree,
        job.given["bundles"],
        job.declared,
        job.now,
        job.plan,
        trusted=job.trusted(),
        check=job.check,
    )
    _save(job)
    return job.result(swapped=swapped, pending=sorted(job.tree.pending()))


def _on_control_node(job: Job) -> Result:
    given, authority = job.given, job.authority()
    steps = _STEPS[given["state"]]
    values: dict[str, Any] = {}
    makes = tuple(step for step in steps if step in ("root", "issuing"))
    if makes:
        flow.ensure_authority(
            authority, _settings(given), job.now, job.plan, steps=makes, check=job.check
        )
    if "leaves" in steps:
        # An authority keeps those of its own machine beside it.
        tree = Tree(Path(given["state_dir"]) / "certs") if makes else job.tree
        found = flow.ensure_leaves(
            authority,
            tree,
            job.declared,
            job.now,
            job.lifetime,
            job.plan,
            renew=given["renew"],
            host=given["host"],
            check=job.check,
        )
        values["certificates"] = flow.states(tree, found)
        if makes:
            place = Path(given["state_dir"])
            flow.link_leaves(tree, place, job.declared, job.plan, check=job.check)
    if "crl" in steps:
        flow.ensure_revocation_lists(
            authority,
            seconds(given["crl_lifetime"]),
            job.now,
            job.plan,
            revoke=given["revoke"],
            check=job.check,
        )
    for which in ("root", "issuing"):
        certificate = authority.certificate(which)
        pem = keys.certificate_pem(certificate).decode() if certificate else ""
        values[f"{which}_certificate"] = pem
    return job.result(**values)


def _settings(given: dict[str, Any]) -> flow.AuthoritySettings:
    return flow.AuthoritySettings(
        organization=given["organization"],
        constraints=Constraints.parse(**given["permitted"]),
        root_lifetime=seconds(given["root_lifetime"]),
        issuing=Lifetime.parse(given["issuing_lifetime"], None),
        crl_lifetime=seconds(given["crl_lifetime"]),
    )


def _save(job: Job) -> None:
    """Have the encrypted copy follow the bundles, whichever run has changed them."""
    command = job.given["save_command"]
    if not command or (job.check and not os.access(command[0], os.X_OK)):
        return
    if not sealed.behind(job.module, command):
        return
    job.plan.add("copy", "bundles", "update", note="the encrypted copy is behind")
    if not job.check:
        sealed.save(job.module, command)


def main() -> None:
    """Entry point."""
    run(ARGUMENT_SPEC, work, required_if=REQUIRED_IF)


if __name__ == "__main__":
    main()
