# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text of PostgreSQL's configuration files, and quoting for them and for SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
)

__all__ = ["conf_text", "hba_text", "ident_text", "identifier", "literal"]

HEADER = "# Written by Ansible (tamshai.phoenix). Changes made by hand are lost.\n"

_TYPES = ("local", "host", "hostssl", "hostnossl", "hostgssenc", "hostnogssenc")
_DATABASE_WORDS = ("all", "sameuser", "samerole", "replication")
_USER_WORDS = ("all",)


def identifier(name: str) -> str:
    """An SQL identifier, always quoted."""
    if not name or "\0" in name:
        raise PostgresError(f"not a name that PostgreSQL can hold: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string literal; backslashes stay what they are (``standard_conforming_strings``)."""
    if "\0" in text:
        raise PostgresError("a string for PostgreSQL holds a NUL character")
    quoted = text.replace("'", "''")
    if "\\" in quoted:
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def conf_text(settings: Mapping[str, Any]) -> str:
    """``postgresql.conf``: one line for each setting, in the order given."""
    lines = [HEADER]
    for name, value in settings.items():
        if not name.replace("_", "").replace(".", "").isalnum():
            raise PostgresError(f"not the name of a setting: {name!r}")
        lines.append(f"{name} = {_conf_value(value)}\n")
    return "".join(lines)


def hba_text(rules: Iterable[Mapping[str, Any]]) -> str:
    """``pg_hba.conf`` from rules of ``type``, ``database``, ``user``, ``address``, ``method``,
    ``options``; the order is kept, since the first rule that matches decides.

    Names are quoted, so that a database called ``all`` is only that database.
    """
    lines = [HEADER]
    for number, rule in enumerate(rules, start=1):
        kind = rule.get("type")
        if kind not in _TYPES:
            raise PostgresError(f"rule {number} of pg_hba.conf: unknown type {kind!r}")
        address = rule.get("address") or ""
        if (kind == "local") == bool(address):
            wanted = "takes no address" if kind == "local" else "needs an address"
            raise PostgresError(f"rule {number} of pg_hba.conf: type {kind} {wanted}")
        fields = [
            kind,
            _names(rule.get("database"), _DATABASE_WORDS, number),
            _names(rule.get("user"), _USER_WORDS, number),
            *([_word(address)] if address else []),
            _word(str(rule.get("method") or "")),
            *_options(rule.get("options")),
        ]
        lines.append(" ".join(fields) + "\n")
    return "".join(lines)


def ident_text(maps: Iterable[Mapping[str, str]]) -> str:
    """``pg_ident.conf`` from ``map``, ``system_user``, ``database_user``."""
    lines = [HEADER]
    for entry in maps:
        fields = (entry["map"], entry["system_user"], entry["database_user"])
        lines.append(" ".join(_quoted(field) for field in fields) + "\n")
    return "".join(lines)


def _conf_value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int | float):
        return str(value)
    text = str(value)
    if any(c in text for c in "\n\r\0"):
        raise PostgresError("a setting holds a line break")
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _names(value: Any, words: Sequence[str], number: int) -> str:
    names = [value] if isinstance(value, str) else list(value or [])
    if not names:
        raise PostgresError(f"rule {number} of pg_hba.conf names no database or no user")
    return ",".join(name if name in words else _quoted(name) for name in names)


def _options(value: Any) -> list[str]:
    if not value:
        return []
    if isinstance(value, str):
        return [_word(part) for part in value.split()]
    pairs = value.items() if isinstance(value, Mapping) else [str(v).split("=", 1) for v in value]
    return [f"{_word(str(name))}={_quoted_if_needed(str(text))}" for name, text in pairs]


def _quoted_if_needed(text: str) -> str:
    return text if text.replace("-", "").replace("_", "").isalnum() else _quoted(text)


def _quoted(text: str) -> str:
    if not text or any(c in text for c in '\n\r\0"'):
        raise PostgresError(f"PostgreSQL's access files cannot hold this name: {text!r}")
    return f'"{text}"'


def _word(text: str) -> str:
    if not text or any(c in text for c in ' \t\n\r\0",#'):
        raise PostgresError(f"not a word for PostgreSQL's access files: {text!r}")
    return text
