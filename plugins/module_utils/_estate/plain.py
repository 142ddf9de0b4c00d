# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plain data out of what a templating engine hands to a filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["plain", "plain_inputs", "plain_secrets"]


def plain(value: Any, *, without: frozenset[str] = frozenset()) -> Any:
    """A deep copy in built-in types.

    Ansible gives filters lazy containers and tagged strings; comparing, sorting and dumping is
    safe on plain ones only.

    :arg without: Keys of mappings that are left out, at any depth, without being evaluated.
    """
    if isinstance(value, Mapping):
        return {
            plain(key): plain(value[key], without=without) for key in value if key not in without
        }
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(item, without=without) for item in value]
    return value


def plain_inputs(inputs: Any) -> Any:
    """The inputs of an estate without the values of its secrets, which are not even evaluated."""
    if not isinstance(inputs, Mapping):
        return plain(inputs)
    values = frozenset({"value"})
    return {
        plain(key): plain(inputs[key], without=values if key == "secrets" else frozenset())
        for key in inputs
    }


def plain_secrets(secrets: Any) -> Any:
    """Secrets, each with its value or why there is none: one bad template hides no other secret."""
    if isinstance(secrets, str) or not hasattr(secrets, "__iter__") or isinstance(secrets, Mapping):
        return plain(secrets)
    result = []
    for secret in secrets:
        if not isinstance(secret, Mapping):
            result.append(plain(secret))
            continue
        row = plain(secret, without=frozenset({"value"}))
        try:
            row["value"] = plain(secret.get("value"))
        except Exception as error:  # noqa: BLE001 - whatever templating raises
            # The words of the error may quote a value: its kind has to do.
            row["error"] = f"look at its template ({type(error).__name__})"
        result.append(row)
    return result
