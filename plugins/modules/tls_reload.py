#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module tls_reload."""

from __future__ import annotations

DOCUMENTATION = r"""
module: tls_reload
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Have services serve their new certificates, proven by a handshake
description:
  - Takes each certificate that M(tamshai.phoenix.pki_cert) has swapped in and whose consumer has
    not been proven to use it, tells the consumer, and waits until a verified handshake shows the
    new serial number on every address of it.
  - Where that does not come about in time, the bundle from before is put back and served again, and
    the module fails. With O(save_command), a reboot brings that bundle back, too.
  - What is still to be done is marked on the host, so a run that was killed in between is finished
    by the next one.
  - A service that does not run reads its new certificate when it starts, so there is nothing to do
    for it.
options:
  certificates:
    description:
      - Certificates as the estate declares them.
      - Entries of C(estate_model.certificates) fit as they are.
    type: list
    elements: dict
    required: true
  services:
    description:
      - Services that hold them, each with name, fqdn, port, kind, reload and reload_signal.
      - Entries of C(estate_model.services) fit as they are.
    type: list
    elements: dict
    required: true
  project:
    description: Name of the compose project that the services run in.
    type: str
    required: true
  identity:
    description: Name of the certificate that this host shows when it connects to services.
    type: str
    default: host
  timeout:
    description: Seconds that a service has to serve its new certificate.
    type: int
    default: 30
  docker:
    description: Command that runs Docker's client.
    type: list
    elements: str
    default: [docker]
  save_command:
    description:
      - Command that keeps an encrypted copy of O(certs_dir), as M(tamshai.phoenix.pki_cert) has it.
      - It is called after a service did not take up its new certificate. The copy would hold that
        one otherwise, for the next boot to restore.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - tamshai.phoenix.attributes
  - tamshai.phoenix.files
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
seealso:
  - module: tamshai.phoenix.pki_cert
"""

EXAMPLES = r"""
- name: Have services serve their new certificates
  tamshai.phoenix.tls_reload:
    certificates: "{{ estate_model.certificates }}"
    services: "{{ estate_model.services.values() | list }}"
    project: tamshai
    save_command: [/opt/tamshai/bin/tamshai-certs]
"""

RETURN = r"""
changes:
  description: What was done, or would be in check mode.
  type: list
  elements: dict
  returned: success
proven:
  description: Services whose new serial number a handshake has shown.
  type: list
  elements: str
  returned: success, and failure of other services
told:
  description: Services that were told of a new client certificate, which nobody can see from
    outside.
  type: list
  elements: str
  returned: success, and failure of other services
failed_services:
  description: Services that did not take up their new certificates. The message says for each what
    it serves now, and whether the encrypted copy follows.
  type: list
  elements: str
  returned: failure of a service
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    require,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import sealed
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    CRYPTOGRAPHY_ERROR,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.consumer import (
    Consumer,
    Containers,
    Renewal,
    Swap,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
    parse_all,
)

ARGUMENT_SPEC: dict[str, Any] = {
    "certs_dir": {"type": "path", "default": "/opt/tamshai/certs"},
    "certificates": {"type": "list", "elements": "dict", "required": True},
    "services": {"type": "list", "elements": "dict", "required": True},
    "project": {"type": "str", "required": True},
    "identity": {"type": "str", "default": "host"},
    "timeout": {"type": "int", "default": 30},
    "docker": {"type": "list", "elements": "str", "default": ["docker"]},
    "save_command": {"type": "list", "elements": "str", "default": []},
}


def work(module: AnsibleModule) -> Result:
    """Read marks and containers, plan, tell each consumer, prove."""
    require(module, "cryptography", CRYPTOGRAPHY_ERROR)
    given = module.params
    tree = Tree(Path(given["certs_dir"]))
    declared = parse_all(given["certificates"])
    consumers = {entry["name"]: _consumer(entry) for entry in given["services"]}
    by_service, idle = _open_swaps(tree, declared, consumers)

    def docker(arguments: list[str]) -> str:
        try:
            status, out, error = module.run_command(
                [*given["docker"], *arguments], handle_exceptions=False
            )
        except FileNotFoundError:
            return ""  # No Docker, so no containers.
        if status != 0:
            raise PhoenixError(f"docker {arguments[0]} failed: {error.strip()}")
        return str(out)

    containers = Containers(docker, given["project"])
    running = containers.running() if by_service else {}
    for service in [name for name in by_service if name not in running]:
        idle += [swap.certificate for swap in by_service.pop(service)]
    plan = _plan(by_service, consumers)
    if module.check_mode:
        return Result(plan, changes=plan.summary(), proven=[], told=[])

    tree.clear_pending(idle)
    proven: list[str] = []
    told: list[str] = []
    failed: dict[str, str] = {}
    for service, swaps in by_service.items():
        identity = _identity(tree, declared, given["identity"])
        renewal = Renewal(tree, containers, consumers[service], swaps, identity, given["timeout"])
        try:
            (proven if renewal.take_up(declared) else told).append(service)
        except PhoenixError as error:
            failed[service] = error.message
    if failed:
        # Whatever was put back. It is what the next boot has to find.
        unsaved = sealed.follow(module, given["save_command"])
        words = "; ".join([*failed.values(), *([unsaved] if unsaved else [])])
        raise PhoenixError(words, failed_services=sorted(failed), proven=proven, told=told)
    return Result(plan, changes=plan.summary(), proven=proven, told=told)


def _plan(by_service: dict[str, list[Swap]], consumers: dict[str, Consumer]) -> Plan:
    plan = Plan()
    for service, swaps in by_service.items():
        for swap in swaps:
            plan.add(
                "consumer",
                f"{service} of {swap.certificate}",
                consumers[service].reload,
                before={"serial": swap.before},
                after={"serial": swap.serial},
            )
    return plan


def _open_swaps(
    tree: Tree, declared: dict[str, Declaration], consumers: dict[str, Consumer]
) -> tuple[dict[str, list[Swap]], list[str]]:
    """The marked swaps by service, and marks that nothing has to follow any more."""
    by_service: dict[str, list[Swap]] = {}
    idle: list[str] = []
    for name, mark in tree.pending().items():
        wanted = declared.get(name)
        service = wanted.service if wanted else None
        serial = tree.current_serial(wanted) if wanted else None
        if not service or service not in consumers or serial is None:
            idle.append(name)
        else:
            by_service.setdefault(service, []).append(Swap(name, serial, mark["before"]))
    return by_service, idle


def _consumer(entry: dict[str, Any]) -> Consumer:
    try:
        return Consumer(
            name=str(entry["name"]),
            fqdn=str(entry["fqdn"]),
            port=int(entry["port"]),
            postgresql=entry.get("kind") == "postgresql",
            reload=str(entry.get("reload") or "signal"),
            signal=str(entry.get("reload_signal") or "HUP"),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PhoenixError(f"a service lacks a usable {error}") from None


def _identity(tree: Tree, declared: dict[str, Declaration], name: str) -> Path:
    wanted = declared.get(name)
    if wanted is None or tree.current_serial(wanted) is None:
        raise PhoenixError(f"there is no certificate {name} to connect with")
    return tree.current(wanted)


def main() -> None:
    """Entry point."""
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
