# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as a person states them and as a server answers them, in one form to be compared."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = [
    "CONNECTION_FIELDS",
    "STATIC_ROLE_FIELDS",
    "TOKEN_FIELDS",
    "Field",
    "argument_spec",
    "networks",
    "normalise",
    "observed",
    "restated",
    "texts",
]


@dataclass(frozen=True)
class Field:
    """One setting of an object.

    :arg form: How its values are read and compared, a key of ``FORMS``.
    :arg fixed: Whether it is decided once, when the object is created.
    :arg choices: Its values, where there is a fixed set of them.
    :arg once: Whether it is sent when the object is created and only then; the server does not
        give it back.
    :arg always: Whether it is sent with every write; the server does not give it back.
    :arg secret: Whether its value must not be shown.
    """

    form: str
    fixed: bool = False
    choices: tuple[str, ...] = ()
    once: bool = False
    always: bool = False
    secret: bool = False

    @property
    def compared(self) -> bool:
        return not (self.once or self.always)


def _duration(value: Any) -> int:
    return 0 if value in (None, "") else seconds(value)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _names(value: Any) -> list[str]:
    """A set: order and repetition mean nothing."""
    items = value.split(",") if isinstance(value, str) else value or []
    return sorted({str(item).strip() for item in items} - {""})


def networks(value: Any) -> list[str]:
    """Networks, each with its prefix length.

    Servers answer 127.0.0.1 for a token's 127.0.0.1/32, and refuse that very form for a SecretID.

    :raises PhoenixError: naming each that is none.
    """
    found, wrong = set(), []
    for item in _names(value):
        try:
            found.add(str(ipaddress.ip_network(item, strict=False)))
        except ValueError:
            wrong.append(repr(item))
    if wrong:
        raise PhoenixError(f"not a network: {', '.join(wrong)}")
    return sorted(found)


def _count(value: Any) -> int:
    count = int(value or 0)
    if count < 0:
        raise PhoenixError(f"less than nothing: {count}")
    return count


def texts(value: Mapping[Any, Any] | None) -> dict[str, str]:
    """Entries as text, where a server takes nothing else: YAML's ``true`` as it was written."""
    found = {}
    for key, item in (value or {}).items():
        found[str(key)] = str(item).lower() if isinstance(item, bool) else str(item)
    return found


FORMS: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "bool": (bool, {"type": "bool"}),
    "count": (_count, {"type": "int"}),
    "cidrs": (networks, {"type": "list", "elements": "str"}),
    "duration": (_duration, {"type": "str"}),
    "int": (lambda value: int(value or 0), {"type": "int"}),
    "list": (lambda value: [str(v) for v in value or []], {"type": "list", "elements": "str"}),
    "map": (texts, {"type": "dict"}),
    "names": (_names, {"type": "list", "elements": "str"}),
    "text": (_text, {"type": "str"}),
}

# Shared by every auth method that makes tokens (tokenutil in the servers' sources).
TOKEN_FIELDS: dict[str, Field] = {
    "token_bound_cidrs": Field("cidrs"),
    "token_explicit_max_ttl": Field("duration"),
    "token_max_ttl": Field("duration"),
    "token_no_default_policy": Field("bool"),
    "token_num_uses": Field("count"),
    "token_period": Field("duration"),
    "token_policies": Field("names"),
    "token_strictly_bind_ip": Field("bool"),
    "token_ttl": Field("duration"),
    "token_type": Field("text", choices=("default", "service", "batch")),
}

# The database engine.
STATIC_ROLE_FIELDS: dict[str, Field] = {
    "db_name": Field("text"),
    "username": Field("text", fixed=True),
    "rotation_period": Field("duration"),
    "rotation_schedule": Field("text"),
    "rotation_window": Field("duration"),
    "rotation_statements": Field("list"),
    "skip_import_rotation": Field("bool", fixed=True),
    "credential_type": Field("text", choices=("password", "rsa_private_key", "client_certificate")),
    "credential_config": Field("map"),
}
CONNECTION_FIELDS: dict[str, Field] = {
    "plugin_name": Field("text"),
    "connection_url": Field("text"),
    "username": Field("text"),
    "password_authentication": Field("text"),
    "allowed_roles": Field("names"),
    "root_rotation_statements": Field("list"),
    "max_open_connections": Field("int"),
    "max_connection_lifetime": Field("text"),
    "username_template": Field("text"),
    "password_policy": Field("text"),
}


def normalise(fields: Mapping[str, Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """What is stated in ``values`` (``None`` is not stated), in the form for comparing.

    :raises PhoenixError: naming each setting whose value cannot be read.
    """
    result, mistakes = {}, []
    for name, value in values.items():
        if value is None or name not in fields:
            continue
        try:
            result[name] = FORMS[fields[name].form][0](value)
        except (PhoenixError, ValueError, TypeError, AttributeError) as error:
            mistakes.append(f"{name}: {error}")
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    return result


def observed(fields: Mapping[str, Field], values: Mapping[str, Any]) -> dict[str, Any]:
    """The same for what a server answers, in which ``None`` means empty."""
    return {
        name: FORMS[field.form][0](values[name]) for name, field in fields.items() if name in values
    }


# A static role is rotated by the one or by the other.
_BY_PERIOD, _BY_SCHEDULE = ("rotation_period",), ("rotation_schedule", "rotation_window")


def restated(now: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a static role, with what the server wants again in each of them.

    :arg now: The role as it is.
    """
    names = ["db_name", "username"]
    for own, other in ((_BY_PERIOD, _BY_SCHEDULE), (_BY_SCHEDULE, _BY_PERIOD)):
        if not any(changed.get(name) for name in other):
            names += own
    return {name: now[name] for name in names if now.get(name)} | dict(changed)


def argument_spec(fields: Mapping[str, Field]) -> dict[str, dict[str, Any]]:
    """The settings as options of a module."""
    spec = {}
    for name, field in fields.items():
        option = dict(FORMS[field.form][1])
        if field.choices:
            option["choices"] = list(field.choices)
        if any(word in name for word in ("token", "secret", "key", "pass")):
            option["no_log"] = field.secret  # Most are only named like a secret.
        spec[name] = option
    return spec
