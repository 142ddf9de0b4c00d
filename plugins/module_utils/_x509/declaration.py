# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a certificate is declared to be: one entry of the estate's list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import names

__all__ = ["KEY_TYPES", "USAGES", "Declaration", "Lifetime", "parse_all"]

KEY_TYPES = ("ecdsa-p256", "ecdsa-p384", "rsa-3072", "rsa-4096")
USAGES = ("server", "client")

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)?")
_SIGNAL = re.compile(r"[A-Z0-9+]{1,16}")
# X.520 allows a common name 64 characters; verifiers refuse longer ones.
_COMMON_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True)
class Lifetime:
    """How long a leaf lives and how long before its end it is due for renewal; seconds."""

    seconds: int
    renew_before: int

    @classmethod
    def parse(cls, lifetime: int | str, renew_before: int | str | None) -> Lifetime:
        """:arg renew_before: A third of the lifetime where it is ``None``."""
        total = seconds(lifetime)
        window = total // 3 if renew_before is None else seconds(renew_before)
        if total < 300:
            raise PhoenixError(f"a lifetime of {total} s is too short for a certificate")
        if not 0 <= window < total:
            raise PhoenixError(
                f"renew_before ({window} s) is not less than the lifetime ({total} s)",
                hint="Otherwise each new certificate would at once be due again.",
            )
        return cls(total, window)


@dataclass(frozen=True)
class Declaration:
    """One certificate as the estate wants it.

    :arg name: ``<service>``, or ``<service>.<login>`` for a client certificate that lives inside
        the directory of its service.
    :arg uid: Owner of the private key; ``None`` leaves it with the user who runs.
    :arg reload: ``signal``, ``restart`` or ``none``: how the consumer takes up a new certificate.
    """

    name: str
    common_name: str
    dns: tuple[str, ...]
    ips: tuple[str, ...]
    uris: tuple[str, ...]
    usages: tuple[str, ...]
    key_type: str
    uid: int | None
    gid: int | None
    service: str | None
    reload: str
    reload_signal: str

    @property
    def directory(self) -> PurePosixPath:
        """Where the bundle lives below the directory of all bundles."""
        service, _dot, login = self.name.partition(".")
        return PurePosixPath(service, "clients", login) if login else PurePosixPath(service)

    def public(self) -> dict[str, Any]:
        """What a certificate of this declaration states; comparable with a real one."""
        return {
            "common_name": self.common_name,
            "dns": list(self.dns),
            "ips": list(self.ips),
            "uris": list(self.uris),
            "usages": list(self.usages),
            "key_type": self.key_type,
        }

    @classmethod
    def parse(cls, entry: Mapping[str, Any], key_type: str = KEY_TYPES[0]) -> Declaration:
        """:raises PhoenixError: names the entry and the value that is wrong."""
        name = entry.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise PhoenixError(
                f"not a name for a certificate: {name!r}",
                hint="It is <service> or <service>.<login>: letters, digits, hyphens, "
                "in the login underscores too.",
            )
        try:
            return cls(
                name=name,
                common_name=_matching(entry, "common_name", _COMMON_NAME),
                dns=_names(entry, "dns", names.dns_name),
                ips=_names(entry, "ips", names.ip_address),
                uris=_names(entry, "uris", names.uri),
                usages=_usages(_list(entry, "usages")),
                key_type=_choice(entry.get("key_type") or key_type, "key_type", KEY_TYPES),
                uid=_owner(entry, "uid"),
                gid=_owner(entry, "gid"),
                service=str(entry.get("service") or "") or None,
                reload=_choice(
                    entry.get("reload") or "none", "reload", ("signal", "restart", "none")
                ),
                reload_signal=_matching(
                    {"reload_signal": entry.get("reload_signal") or "HUP"}, "reload_signal", _SIGNAL
                ),
            )
        except PhoenixError as error:
            raise PhoenixError(f"certificate {name}: {error.message}", hint=error.hint) from None


def parse_all(
    entries: Sequence[Mapping[str, Any]], key_type: str = KEY_TYPES[0]
) -> dict[str, Declaration]:
    """All declarations by name, in order; two of one name are an error."""
    result: dict[str, Declaration] = {}
    for entry in entries:
        declared = Declaration.parse(entry, key_type)
        if declared.name in result:
            raise PhoenixError(f"certificate {declared.name} is declared twice")
        result[declared.name] = declared
    return result


def _matching(entry: Mapping[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise PhoenixError(f"{key} cannot be {value!r}")
    return value


def _names(entry: Mapping[str, Any], key: str, check: Any) -> tuple[str, ...]:
    return tuple(sorted({check(value) for value in _list(entry, key)}))


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    values = entry.get(key)
    if values is None:
        return []
    if not isinstance(values, list):
        raise PhoenixError(f"{key} must be a list, not {values!r}")
    return values


def _usages(values: list[Any]) -> tuple[str, ...]:
    chosen = {str(value) for value in values}
    if not chosen or not chosen <= set(USAGES):
        raise PhoenixError(f"usages must be server, client or both, not {sorted(chosen)}")
    return tuple(usage for usage in USAGES if usage in chosen)


def _choice(value: Any, key: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise PhoenixError(f"{key} must be one of {', '.join(choices)}, not {value!r}")
    return str(value)


def _owner(entry: Mapping[str, Any], key: str) -> int | None:
    value = entry.get(key)
    if value is None or value == "":
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < 2**32 - 1:
        raise PhoenixError(f"{key} must be a number of an account, not {value!r}")
    return number
