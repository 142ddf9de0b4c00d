# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The encrypted copy of the bundles, which a reboot brings back; a command keeps it."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)

__all__ = ["behind", "follow", "save"]

# The exit status by which the command says that its copy is not up to date.
_STALE = 3


def behind(module: AnsibleModule, command: Sequence[str]) -> bool:
    """Whether the bundles are others than in the copy.

    :raises PhoenixError: when the command does not say.
    """
    status, error = _run(module, [*command, "check"])
    if status not in (0, _STALE):
        raise PhoenixError(f"the encrypted copy of the bundles cannot be checked: {error}")
    return status == _STALE


def save(module: AnsibleModule, command: Sequence[str]) -> None:
    """:raises PhoenixError: when the copy is still the old one."""
    status, error = _run(module, [*command, "save"])
    if status != 0:
        raise PhoenixError(f"the encrypted copy of the bundles is not saved: {error}")


def follow(module: AnsibleModule, command: Sequence[str]) -> str:
    """Have the copy be as the bundles are; answer why it is not, where it is not.

    For those who report another error, which this one must not hide. No command, no copy.
    """
    try:
        if command and behind(module, command):
            save(module, command)
    except PhoenixError as error:
        return error.message
    return ""


def _run(module: AnsibleModule, command: list[str]) -> tuple[int, str]:
    try:
        status, _out, error = module.run_command(command, handle_exceptions=False)
    except OSError as trouble:
        return -1, f"{command[0]}: {trouble.strerror}"
    return int(status), str(error).strip()
