# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin attest_report: does the module's work in the playbook's own process.

The report is the control node's affair, and a process of its own costs it half a second.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import AnsibleModule
from ansible.plugins.action import ActionBase

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.modules import attest_report


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
    module = cast(AnsibleModule, SimpleNamespace(params=options, check_mode=check_mode))
    try:
        made = attest_report.main(module)
    except PhoenixError as error:
        raise AnsibleActionFail(f"{error.message}. {error.hint}".rstrip(". ") + ".") from None
    except OSError as error:
        raise AnsibleActionFail(f"{error.filename}: {error.strerror}") from None
    return {"changed": made.plan.changed, **made.values}
