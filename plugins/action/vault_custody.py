# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin vault_custody: runs on the control node, in the playbook's own process."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.custody import (
    CRYPTOGRAPHY_IMPORT_ERROR,
    Custody,
    CustodyError,
    brought_shares,
)
from ansible_collections.tamshai.phoenix.plugins.plugin_utils import _in_process

SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "state": {
        "type": "str",
        "choices": ["read", "begun", "held", "finished", "released", "resealed"],
        "default": "read",
    },
    "passphrase": {"type": "str", "no_log": True},
    "shares": {"type": "list", "elements": "str", "no_log": True},
    "threshold": {"type": "int"},
    "root_token": {"type": "str", "no_log": True},
    "seal": {"type": "str", "default": "shamir"},
    "secrets": {"type": "bool", "default": False},
    "share_files": {"type": "list", "elements": "path", "default": []},
    "share_environment": {"type": "str", "default": ""},
    "offers": {"type": "dict"},
    "offered": {"type": "str", "default": ""},
    "share_count": {"type": "int"},
}
REQUIRED_IF = [
    ("state", "held", ["passphrase", "shares", "threshold", "root_token"]),
    ("state", "released", ["share_count", "threshold"]),
    ("state", "resealed", ["seal"]),
]


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(
            argument_spec=SPEC, required_if=REQUIRED_IF
        )
        if CRYPTOGRAPHY_IMPORT_ERROR:
            raise AnsibleActionFail("the control node lacks the Python library 'cryptography'")
        with _in_process.failures():
            result.update(work(options, check_mode=bool(self._task.check_mode)))
        return result


def work(options: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """Do what the options say; ``changed`` is whether the directory is, or would be, another."""
    custody = Custody(options["path"])
    before = custody.manifest
    wanted = options["state"]
    changed = changes(custody, options)
    replaced = changed and wanted == "begun" and before.state != "absent"
    archived = str(custody.archive()) if replaced else ""
    if changed and not check_mode:
        if wanted == "read":
            custody.forget()
        elif wanted == "begun":
            custody.begin()
        elif wanted == "held":
            custody.hold(
                shares=options["shares"],
                threshold=options["threshold"],
                root_token=options["root_token"],
                seal=options["seal"],
                passphrase=options["passphrase"],
            )
        elif wanted == "finished":
            custody.finish()
        elif wanted == "resealed":
            custody.reseal(options["seal"])
        else:
            custody.release(shares=options["share_count"], threshold=options["threshold"])
    if options["offers"] and not check_mode:
        changed = custody.offer(options["offers"], options["offered"]) or changed
    manifest = custody.manifest
    found: dict[str, Any] = {
        "changed": changed,
        "state": manifest.state,
        "id": manifest.id,
        "archived": archived,
        "offered": custody.offered(),
        "seal": manifest.seal,
        "threshold": manifest.threshold,
        "shares_held": len(custody.share_paths()),
        "root_token_held": custody.directory.joinpath("root-token.json").exists(),
    }
    if options["secrets"]:
        passphrase = options["passphrase"] or ""
        # What somebody has brought comes first. A directory that was restored from a backup, or
        # whose shares were handed over by a run that was killed, holds some that open nothing.
        found["shares"] = [
            *brought_shares(options["share_files"], options["share_environment"], passphrase),
            *held_shares(custody, passphrase, manifest.threshold),
        ]
        found["root_token"] = custody.read_root_token(passphrase)
    return found


def changes(custody: Custody, options: dict[str, Any]) -> bool:
    """Whether the directory is not as the state wants it."""
    wanted, known = options["state"], custody.manifest
    if wanted == "read":
        return custody.forgettable()
    if wanted == "resealed":
        return bool(known.seal != options["seal"])
    changed = bool(wanted != known.state)
    if wanted == "released":
        # Once more with other people, or after a run that was killed before the files were gone.
        numbers = (options["share_count"], options["threshold"])
        changed |= numbers != (known.shares, known.threshold) or bool(custody.share_paths())
    return changed


def held_shares(custody: Custody, passphrase: str, threshold: int) -> list[str]:
    """All of them: the proofs search a host's disks for each one that is here.

    One that is damaged must not keep the others from opening the server.
    """
    try:
        return custody.read_shares(passphrase)
    except CustodyError:
        return custody.read_shares(passphrase, threshold or None)
