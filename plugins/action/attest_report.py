# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin attest_report: does the module's work in the playbook's own process.

The report is the control node's affair, and a process of its own costs it half a second.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.tamshai.phoenix.plugins.modules import attest_report
from ansible_collections.tamshai.phoenix.plugins.plugin_utils import _in_process


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=attest_report.SPEC)
        result.update(work(options, check_mode=bool(self._task.check_mode)))
        return result


def work(options: dict[str, Any], *, check_mode: bool) -> dict[str, Any]:
    """The module's result."""
    return _in_process.outcome(attest_report.main, options, check_mode=check_mode)
