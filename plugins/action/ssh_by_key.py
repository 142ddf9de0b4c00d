# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin ssh_by_key: a login of its own, by key alone."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

__all__ = ["ActionModule", "try_key"]

# Before all that is configured, since ssh takes the first that it is given of each.
_KEY_ALONE = (
    "-o ControlMaster=no -o ControlPath=none -o PreferredAuthentications=publickey"
    " -o PubkeyAuthentication=yes -o PasswordAuthentication=no -o KbdInteractiveAuthentication=no"
)


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.validate_argument_spec(argument_spec={})
        return {**result, "changed": False, "refused": try_key(self._connection)}


def try_key(connection: Any) -> str:
    """Why no login by key alone was seen to work; empty where one was, or without SSH.

    :arg connection: The task's connection; its settings are as before afterwards.
    """
    kind = connection.transport
    if kind != "ssh":
        return f"connection {kind} cannot be told to; use ssh" if "paramiko" in kind else ""
    settings = connection.get_option("ssh_args")
    connection.set_option("ssh_args", f"{_KEY_ALONE} {settings or ''}")
    try:
        code, _output, said = connection.exec_command("true", sudoable=False)
    except AnsibleConnectionFailure as error:
        return _last_line(str(error))
    finally:
        connection.set_option("ssh_args", settings)
    return "" if code == 0 else _last_line(said.decode("utf-8", "replace")) or f"exit code {code}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
