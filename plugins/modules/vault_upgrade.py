#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vault_upgrade
short_description: Take a Vault or OpenBao server in a container to another image, and back
version_added: 0.1.0
description:
  - The steps of an upgrade that starting and unsealing the server do not cover. The caller does
    those in between, since only it knows how the container is declared and where shares are.
  - >-
    O(state=planned) says which step is next, O(state=begun) leaves the old server with everything
    kept, O(state=proven) compares the new one with it and clears up, O(state=undone) puts the old
    one back.
  - The way back takes the data along, as the old server left them, because a newer one may rewrite
    its storage so that the older one does not become active on it.
  - What is kept is in C(upgrade) below O(root), for root only, until one of the two servers is
    proven. It is encrypted by the server's barrier, like the data themselves.
  - Each step may be the last one of a run that was killed; RV(step) says where to go on.
  - One run at a time takes a step; another one fails meanwhile, and has changed nothing.
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
    details:
      - A step that was taken already does nothing.
options:
  state:
    description:
      - V(planned) reads and changes nothing.
      - >-
        V(begun) notes what the server holds, tries O(shares), stops the container, and copies data
        and O(files). The server has to be open, and the snapshot to be taken.
      - >-
        V(proven) compares the server that runs with what was noted. Where it is not all there, the
        module fails and names each fault. Otherwise what was kept is removed.
      - V(undone) stops the container and puts data and O(files) back. The data of the newer server
        are then in C(data.undone) below O(root), until the next time.
    type: str
    choices: [planned, begun, proven, undone]
    default: planned
  root:
    description:
      - Directory of the server on the host, with its storage in C(data).
      - It may be a disk of its own. C(data) alone may not, since the way back puts another
        directory in its place; O(state=planned) and O(state=begun) refuse that.
    type: path
    required: true
  files:
    description:
      - Files that the server is started with, which O(state=undone) brings back.
      - They are kept as hard links, or as copies where O(root) is a disk of its own. Whoever
        changes one replaces it by a rename, as Ansible's modules do.
    type: list
    elements: path
    default: []
  project:
    description: Compose project that the container belongs to.
    type: str
    required: true
  service:
    description: Compose service of the container.
    type: str
    required: true
  image:
    description: Reference of the image that the container is to have.
    type: str
    required: true
  image_record:
    description:
      - File with the reference of the image that was last put in place. It is asked where there is
        no container.
    type: path
  binary:
    description: The server's program in the image.
    type: str
    choices: [bao, vault]
    default: bao
  shares:
    description:
      - Shares that open the server again, for O(state=begun).
      - They are tried by having the server make a root token of them, which is revoked at once. A
        server that would stay sealed is not stopped.
    type: list
    elements: str
    default: []
  allow_downgrade:
    description:
      - Whether the new version may be older than the one that runs. Servers do not promise that
        an older version reads what a newer one wrote.
    type: bool
    default: false
  snapshot:
    description: The snapshot that was taken, to be named where both servers fail.
    type: path
  audit_log:
    description: Audit log on the host. It has to grow while O(state=proven) asks the server.
    type: path
  active_wait:
    description: Seconds within which the server has to be active, for O(state=proven).
    type: int
    default: 60
  docker:
    description: The Docker client, as a command.
    type: list
    elements: str
    default: [docker]
"""

EXAMPLES = r"""
- name: See what an upgrade would take
  tamshai.phoenix.vault_upgrade:
    url: https://127.0.0.1:8200
    ca_cert: /etc/ssl/vault-ca.crt
    auth_method: none
    root: /opt/vault
    project: vault
    service: vault
    image: "{{ vault_image }}"
  register: upgrade

- name: Upgrade, or go back
  when: upgrade.step in ['begin', 'forward']
  module_defaults:
    group/tamshai.phoenix.vault:
      url: https://127.0.0.1:8200
      ca_cert: /etc/ssl/vault-ca.crt
    tamshai.phoenix.vault_upgrade:
      root: /opt/vault
      files: [/opt/vault/compose.yaml, /opt/vault/config/server.hcl]
      project: vault
      service: vault
      image: "{{ vault_image }}"
  block:
    - name: Leave the old server, with everything kept
      tamshai.phoenix.vault_upgrade:
        state: begun
        token: "{{ login.token }}"
        shares: "{{ unseal_shares }}"

    - name: Declare the new one
      ansible.builtin.template:
        src: compose.yaml.j2
        dest: /opt/vault/compose.yaml
        mode: "0644"

    - name: Run what is declared
      community.docker.docker_compose_v2:
        project_src: /opt/vault

    - name: Open it
      tamshai.phoenix.vault_unseal:
        wait: 60
        shares: "{{ unseal_shares }}"

    - name: Prove that it holds what the old one held
      tamshai.phoenix.vault_upgrade:
        state: proven
        token: "{{ login.token }}"
  rescue:
    # Then the old one is run, opened and proven by the same three tasks.
    - name: Put the old one back, with its data and its declaration
      tamshai.phoenix.vault_upgrade:
        state: undone
        auth_method: none
"""

RETURN = r"""
step:
  description:
    - What is to be done next - V(none), V(begin), V(forward) (start the new server and prove it),
      V(back) (undo, start the old server and prove it), or V(end) (O(state=proven) alone).
  returned: success
  type: str
  sample: begin
before:
  description: C(image) and C(version) that the server comes from.
  returned: if RV(step) is not V(none)
  type: dict
  sample: {"image": "docker.io/openbao/openbao:2.6.2", "version": "2.6.2"}
after:
  description: C(image) and C(version) that it goes to.
  returned: if RV(step) is not V(none)
  type: dict
  sample: {"image": "docker.io/openbao/openbao:2.7.2", "version": "2.7.2"}
downgrade:
  description: Whether the new version is older.
  returned: if RV(step) is not V(none)
  type: bool
  sample: false
sealed:
  description: Whether the server is sealed now.
  returned: if O(state=planned), RV(step) is not V(none), and it runs
  type: bool
  sample: false
shares_needed:
  description: How many shares open the server; 0 where it unseals itself.
  returned: as RV(sealed)
  type: int
  sample: 3
idle:
  description:
    - How many seconds ago the upgrade that is under way took its last step, where it goes to
      another image than O(image). A run that is at it is told by this from one that was killed.
  returned: if O(state=planned) and RV(step) is V(back) for that reason
  type: int
  sample: 42
snapshot:
  description: The snapshot that was taken before.
  returned: if RV(step) is not V(none)
  type: str
  sample: /var/backups/tamshai-vault/vault-20261126T142152.403967Z.snap
compared:
  description: How many objects the server held before, each of which was found as it was.
  returned: if O(state=proven)
  type: int
  sample: 61
unseen:
  description: What could not be compared, since the identity may not read it.
  returned: if O(state=begun) or O(state=proven)
  type: list
  elements: str
  sample: []
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import read_bytes_or_none
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import (
    VaultClient,
    client_from,
    connection_spec,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.container import (
    Container,
    older,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.holdings import (
    holdings,
    missing,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.proof import (
    growing,
    wait_serving,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.upgrade import Journal, Kept

NONE: dict[str, Any] = {"step": "none"}
UNKNOWN = "unknown"


class Upgrade:
    """One module run: what is on the host, and what is wanted."""

    def __init__(self, module: AnsibleModule, client: VaultClient) -> None:
        self.options = module.params
        self.check = module.check_mode
        self.client = client
        self.kept = Kept(self.options["root"], self.options["files"])
        self.journal = self.kept.read()
        self.container = Container(
            lambda arguments: module.run_command([*self.options["docker"], *arguments]),
            self.options["project"],
            self.options["service"],
        )

    def planned(self) -> Result:
        """Which step is next."""
        if self.journal is not None:
            step = self._step(self.journal)
            about = self._about(step, self.journal)
            if step == "back" and self.journal.state in ("begun", "kept"):
                about["idle"] = int(self.kept.idle())
            return Result(Plan(), **about, **self._lock())
        image = self.container.image() or self._recorded()
        if image in ("", self.options["image"]) or not self.kept.holds_data():
            return Result(Plan(), **NONE)
        if not self.container.running():
            raise PhoenixError(
                f"the server does not run, so there can be no snapshot before its image {image} "
                f"is replaced by {self.options['image']}",
                hint="Start it with the image that it had, and run again.",
            )
        status = self.client.seal_status()
        if not status.get("initialized"):
            return Result(Plan(), **NONE)
        self.kept.need_one_disk()
        journal = self._new_journal(image, str(status.get("version", "")))
        return Result(
            Plan(),
            **self._about("begin", journal),
            **_lock(status),
        )

    def begun(self) -> Result:
        """Note, try, stop, copy."""
        journal, plan = self.journal, Plan()
        unseen: list[str] = []
        if journal is not None and self._step(journal) != "begin":
            return Result(plan, unseen=unseen, **self._about(self._step(journal), journal))
        if journal is None:
            status = self.client.seal_status()
            image = self.container.image()
            if image in ("", self.options["image"]):
                return Result(plan, unseen=unseen, **NONE)
            journal = self._new_journal(image, str(status.get("version", "")))
            if _downgrade(journal) and not self.options["allow_downgrade"]:
                raise PhoenixError(
                    f"{journal.after['version']} is older than {journal.before['version']}, which "
                    "runs now; an older server need not read what a newer one wrote",
                    hint="Keep the version, or allow it by 'allow_downgrade'.",
                )
            self.kept.need_room()
            error = self.client.not_ready()
            if error is not None and not self.check:
                raise error
            if error is None:
                held, unseen = holdings(self.client)
                journal = Journal("begun", journal.before, journal.after, journal.snapshot, held)
                self._try_shares(status)
        self.kept.need_one_disk()
        name = f"{self.options['project']}/{self.options['service']}"
        plan.add("server", name, "upgrade", journal.before, journal.after)
        if not self.check:
            if self.journal is None:
                self.kept.begin(journal)
            self.container.stop()
            journal = self.kept.keep(journal)
        return Result(plan, unseen=unseen, **self._about("forward", journal))

    def proven(self) -> Result:
        """Compare, and clear up."""
        journal, plan = self.journal, Plan()
        if journal is None:
            return Result(plan, compared=0, unseen=[], **NONE)
        if journal.state not in ("kept", "undone", "proven"):
            raise PhoenixError(f"the upgrade is no further than {journal.state!r}")
        about = self._about("none", journal)
        unseen: list[str] = []
        if journal.state != "proven":
            wanted = journal.before if journal.state == "undone" else journal.after
            unseen = self._prove(journal, wanted)
        plan.add("upgrade", str(self.kept.folder), "end")
        if not self.check:
            self.kept.end(journal)
        return Result(plan, compared=len(journal.held), unseen=unseen, **about)

    def undone(self) -> Result:
        """Stop, put back."""
        journal, plan = self.journal, Plan()
        if journal is None:
            return Result(plan, **NONE)
        if journal.state == "undone" and self._old_in_place(journal):
            return Result(plan, **self._about("back", journal))
        name = f"{self.options['project']}/{self.options['service']}"
        plan.add("server", name, "undo the upgrade", journal.after, journal.before)
        if not self.check:
            self.container.stop()
            journal = self.kept.undo(journal)
        return Result(plan, **self._about("back", journal))

    def _old_in_place(self, journal: Journal) -> bool:
        """Whether nobody has started the new server, or declared it, since it was undone."""
        started = self.container.running() and self.container.image() != journal.before["image"]
        return not started and self.kept.files_in_place()

    def _step(self, journal: Journal) -> str:
        if journal.state == "proven":
            return "end"
        wanted = journal.after["image"] == self.options["image"]
        return (
            {"begun": "begin", "kept": "forward"}.get(journal.state, "back") if wanted else "back"
        )

    def _lock(self) -> dict[str, Any]:
        """Of the server that a killed run has left, if it runs."""
        if not self.container.running():
            return {}
        try:
            status = self.client.seal_status()
        except errors.UnreachableError:
            return {}
        return _lock(status) if status.get("initialized") else {}

    def _new_journal(self, image: str, version: str) -> Journal:
        try:
            new = self.container.version(self.options["image"], self.options["binary"])
        except PhoenixError:
            if not self.check:
                raise
            new = UNKNOWN  # A dry run has not pulled the image.
        before = {"image": image, "version": version}
        after = {"image": self.options["image"], "version": new}
        return Journal("begun", before, after, self.options["snapshot"] or "")

    def _try_shares(self, status: dict[str, Any]) -> None:
        if status.get("recovery_seal") or self.check:
            return
        self.client.elevate(self.options["shares"])
        self.client.lower()

    def _prove(self, journal: Journal, wanted: dict[str, str]) -> list[str]:
        with growing(self.options["audit_log"]) as unheard:
            status = wait_serving(self.client, self.options["active_wait"])
            held, unseen = holdings(self.client)
            faults = missing(journal.held, held) + unheard()
        if status["version"] != wanted["version"]:
            faults.insert(0, f"it is version {status['version']}, not {wanted['version']}")
        if self.container.image() != wanted["image"]:
            faults.insert(0, f"its image is {self.container.image()}")
        if faults:
            raise PhoenixError(f"the server is not what it was: {'; '.join(faults)}", faults=faults)
        return unseen

    def _about(self, step: str, journal: Journal) -> dict[str, Any]:
        return {
            "step": step,
            "before": journal.before,
            "after": journal.after,
            "snapshot": journal.snapshot,
            "downgrade": _downgrade(journal),
        }

    def _recorded(self) -> str:
        record = self.options["image_record"]
        return (read_bytes_or_none(record) or b"").decode().strip() if record else ""


def _lock(status: dict[str, Any]) -> dict[str, Any]:
    return {
        "sealed": bool(status.get("sealed")),
        "shares_needed": 0 if status.get("recovery_seal") else int(status.get("t") or 0),
    }


def _downgrade(journal: Journal) -> bool:
    new = journal.after["version"]
    return new != UNKNOWN and older(new, journal.before["version"])


def work(module: AnsibleModule) -> Result:
    state, root = module.params["state"], module.params["root"]
    reads = module.check_mode or state == "planned" or not Path(root).is_dir()
    turn = nullcontext() if reads else Kept(root).alone()
    with turn, client_from(module) as client:
        result: Result = getattr(Upgrade(module, client), state)()
        return result


def main() -> None:
    spec = connection_spec()
    spec.update(
        state={
            "type": "str",
            "choices": ["planned", "begun", "proven", "undone"],
            "default": "planned",
        },
        root={"type": "path", "required": True},
        files={"type": "list", "elements": "path", "default": []},
        project={"type": "str", "required": True},
        service={"type": "str", "required": True},
        image={"type": "str", "required": True},
        image_record={"type": "path"},
        binary={"type": "str", "choices": ["bao", "vault"], "default": "bao"},
        shares={"type": "list", "elements": "str", "default": [], "no_log": True},
        allow_downgrade={"type": "bool", "default": False},
        snapshot={"type": "path"},
        audit_log={"type": "path"},
        active_wait={"type": "int", "default": 60},
        docker={"type": "list", "elements": "str", "default": ["docker"]},
    )
    run(spec, work)


if __name__ == "__main__":
    main()
