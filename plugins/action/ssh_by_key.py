# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin ssh_by_key: a login of its own, by key alone."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

__all__ = ["ActionModule", "fingerprints", "try_key"]

# Before all that is configured, since ssh takes the first that it is given of each.
_KEY_ALONE = (
    "-o ControlMaster=no -o ControlPath=none -o PreferredAuthentications=publickey"
    " -o PubkeyAuthentication=yes -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no"
)
# So that ssh says by which key it got in. Unlike -v, it is not passed on to a jump host's ssh.
_TELLING = " -o LogLevel=DEBUG1 -o FingerprintHash=sha256"
_ASIDE = ("debug1:", "Authenticated to ", "Transferred: ", "Bytes per second: ")
_ACCEPTED = re.compile(r"^debug1: Server accepts key: .*(SHA256:[A-Za-z0-9+/]{43})", re.MULTILINE)


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _result, options = self.validate_argument_spec(
            argument_spec={"keys": {"type": "list", "elements": "str", "no_log": False}}
        )
        refused, stranger = try_key(self._connection, options["keys"])
        return {**result, "changed": False, "refused": refused, "stranger": stranger}


def try_key(connection: Any, keys: Iterable[str] | None = None) -> tuple[str, str]:
    """Why no login by key alone was seen to work, and the key where it is none of the named.

    Both are empty where all is well, or without SSH.

    :arg connection: The task's connection; its settings are as before afterwards.
    :arg keys: Public keys as in authorized_keys; without, any key will do.
    """
    kind = connection.transport
    if kind != "ssh":
        return (f"connection {kind} cannot be told to; use ssh" if "paramiko" in kind else ""), ""
    settings = connection.get_option("ssh_args")
    telling = "" if keys is None else _TELLING
    connection.set_option("ssh_args", f"{_KEY_ALONE}{telling} {settings or ''}")
    try:
        code, _output, said = connection.exec_command("true", sudoable=False)
    except AnsibleConnectionFailure as error:
        return _last_line(str(error)), ""
    finally:
        connection.set_option("ssh_args", settings)
    text = said.decode("utf-8", "replace")
    if code != 0:
        return _last_line(text) or f"exit code {code}", ""
    if keys is None:
        return "", ""
    # The last one: what it accepts before that may be a key that cannot sign, or a jump host's.
    accepted = _ACCEPTED.findall(text)
    if not accepted:
        return "", "ssh did not say which"
    return "", "" if accepted[-1] in fingerprints(keys) else accepted[-1]


def fingerprints(keys: Iterable[str]) -> set[str]:
    """Of public keys, one a line, with options before or without, as ssh-keygen says them."""
    found = set()
    for line in "\n".join(keys).splitlines():
        words = line.split() if not line.lstrip().startswith("#") else []
        for kind, text in pairwise(words):
            try:
                blob = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue
            if blob[4 : 4 + len(kind)] == kind.encode():
                digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
                found.add(f"SHA256:{digest}")
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_ASIDE)]
    return lines[-1] if lines else ""
