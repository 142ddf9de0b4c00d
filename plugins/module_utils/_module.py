# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The frame of every module: one spec, one function, one place where errors become results."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import remove_values

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import (
    MIN_LENGTH,
    redact,
)

__all__ = ["Result", "protect", "require", "run"]


class Result:
    """What a module found and did.

    :arg plan: Decides ``changed`` and ``diff``.
    :arg values: The keys of the module's RETURN documentation.
    """

    def __init__(self, plan: Plan, **values: Any) -> None:
        self.plan = plan
        self.values = values


class _Module(AnsibleModule):
    """A module whose secrets stay out of the system's log wherever they stand in its options.

    Ansible masks what is below an option in that option's text, in which Python has quoted it: a
    secret that holds a quote or a line break is then not found.
    """

    params: dict[str, Any]

    def _log_invocation(self) -> None:
        options = self.params
        self.params = remove_values(options, self.no_log_values)
        try:
            super()._log_invocation()
        finally:
            self.params = options


def protect(module: AnsibleModule, *values: str | None) -> None:
    """Have secrets masked wherever this module's result or log would show them."""
    module.no_log_values.update(v for v in values if v and len(v) >= MIN_LENGTH)


def require(module: AnsibleModule, library: str, error: str | None) -> None:
    """Fail with Ansible's usual words where a Python library is missing.

    :arg error: The traceback of the failed import, ``None`` where it succeeded.
    """
    if error is not None:
        module.fail_json(msg=missing_required_lib(library), exception=error)


def run(
    argument_spec: dict[str, Any],
    main: Callable[[AnsibleModule], Result],
    **options: Any,
) -> None:
    """Run a module: the only ``try`` around all of its work.

    :arg main: Reads, plans, stops there in check mode, acts, reads back.
    :arg options: Go to :class:`AnsibleModule` (``required_if``, ``mutually_exclusive``, ...).
    """
    options.setdefault("supports_check_mode", True)
    module = _Module(argument_spec=argument_spec, **options)
    try:
        result = main(module)
    except PhoenixError as error:
        module.fail_json(msg=error.sentences, **error.facts)
    except Exception as error:  # noqa: BLE001  # pylint: disable=broad-except
        # A defect of ours. The traceback is needed, the secrets that it may quote are not.
        secrets = module.no_log_values
        module.fail_json(
            msg=redact(f"unexpected {type(error).__name__}: {error}", secrets),
            exception=redact(traceback.format_exc(), secrets),
        )
    output = {"changed": result.plan.changed, **result.values}
    if module._diff and result.plan.changed:
        output["diff"] = result.plan.diff()
    module.exit_json(**output)
