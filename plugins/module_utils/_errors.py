# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one kind of error that the collection's own code raises on purpose."""

from __future__ import annotations

from typing import Any

__all__ = ["PhoenixError"]


class PhoenixError(Exception):
    """Something that the operator can understand and act on.

    :arg message: What is wrong: which object, what was expected, what was found. Never a secret.
    :arg hint: What to do about it, one sentence; empty where there is nothing to advise.
    :arg facts: JSON values that a playbook may want to branch on; they become keys of the
        failed result, so they must not be named like one of Ansible's own (``msg``, ``changed``).
    """

    def __init__(self, message: str, *, hint: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.facts = facts

    @property
    def sentences(self) -> str:
        """Message and hint, as a person reads them."""
        if not self.hint:
            return self.message
        return f"{self.message.rstrip('.')}. {self.hint}"
