# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module's work done in the playbook's own process, for modules about the control node.

A process of its own costs half a second: Ansible packs the module, and Python compiles what was
packed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

from ansible.errors import AnsibleActionFail
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result

__all__ = ["failures", "outcome"]


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Errors become the sentences that a module fails with.

    :raises AnsibleActionFail: instead of :class:`PhoenixError` and :class:`OSError`.
    """
    try:
        yield
    except PhoenixError as error:
        raise AnsibleActionFail(error.sentences) from None
    except OSError as error:
        raise AnsibleActionFail(f"{error.filename}: {error.strerror}") from None


def outcome(
    main: Callable[[AnsibleModule], Result],
    options: Mapping[str, Any],
    *,
    check_mode: bool,
    diff: bool = False,
) -> dict[str, Any]:
    """The result of a module's main function.

    :arg main: Uses nothing of the module but ``params`` and ``check_mode``.
    :arg options: Validated.
    """
    with failures():
        module = SimpleNamespace(params=dict(options), check_mode=check_mode)
        made = main(cast(AnsibleModule, module))
    result = {"changed": made.plan.changed, **made.values}
    if diff and made.plan.changed:
        result["diff"] = made.plan.diff()
    return result
