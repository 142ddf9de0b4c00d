# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin pki_cert: what is about the control node is done in the playbook's own process."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import CRYPTOGRAPHY_ERROR
from ansible_collections.tamshai.phoenix.plugins.modules import pki_cert
from ansible_collections.tamshai.phoenix.plugins.plugin_utils import _in_process


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        if not self._is_here():
            asynchronous = self._task.async_val
            result.update(self._execute_module(task_vars=task_vars, wrap_async=asynchronous))
            return result
        _validation, options = self.validate_argument_spec(
            argument_spec=pki_cert.ARGUMENT_SPEC, required_if=pki_cert.REQUIRED_IF
        )
        made = _in_process.outcome(
            pki_cert.work,
            options,
            check_mode=bool(self._task.check_mode),
            diff=bool(self._task.diff),
        )
        result.update(made)
        return result

    def _is_here(self) -> bool:
        """Whether it is about this machine, and for whoever runs the playbook."""
        return (
            self._task.args.get("state") in pki_cert.ON_CONTROL_NODE
            and self._connection.transport == "local"
            and self._connection.become is None
            and not self._task.async_val
            and CRYPTOGRAPHY_ERROR is None
        )
