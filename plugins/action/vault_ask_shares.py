# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Action plugin vault_ask_shares: asks whoever sits at the terminal of the control node."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

SPEC: dict[str, Any] = {
    "count": {"type": "int", "required": True},
    "server": {"type": "str", "required": True},
}

# 33 bytes for a master key of 32, or a little more: as hexadecimal digits, or as base64.
_SHARE = re.compile(r"[0-9A-Fa-f]{32,130}|[A-Za-z0-9+/]{22,88}={0,2}")


class ActionModule(ActionBase):  # type: ignore[misc, unused-ignore]
    """See the documentation of the module of the same name."""

    _requires_connection = False
    TRANSFERS_FILES = False

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        _validation, options = self.validate_argument_spec(argument_spec=SPEC)
        count = 0 if self._task.check_mode else options["count"]
        result.update(ask(options["server"], count, Display()))
        return result


def ask(server: str, count: int, display: Any) -> dict[str, Any]:
    """Ask for shares until there are enough, or an empty line says that there are no more.

    :returns: ``shares``, and whether there was a ``terminal`` to ask at.
    """
    shares: list[str] = []
    try:
        while len(shares) < count:
            share = _one(display, f"{server}: share {len(shares) + 1} of {count} that are missing")
            if not share:
                break
            if share in shares:
                display.display("That share was given already.")
            elif not _SHARE.fullmatch(share):
                display.display("That is no share: 66 hexadecimal digits as a rule, or base64.")
            else:
                shares.append(share)
    except AnsiblePromptNoninteractive:
        return {"changed": False, "shares": [], "terminal": False}
    except AnsiblePromptInterrupt:
        raise AnsibleActionFail("interrupted; no share of this run was given") from None
    return {"changed": False, "shares": shares, "terminal": True}


def _one(display: Any, question: str) -> str:
    prompt: Callable[..., Any] = display.prompt_until
    answer = prompt(f"{question} (hidden; empty line: no more):", private=True)
    return bytes(answer).decode("utf-8", "replace").strip()
