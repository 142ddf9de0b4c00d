# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server holds, as far as one identity may read it: by name, each setting as a short digest.

For comparing one server at two times. No secret is read: of key-value data it is the versions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kinds import (
    AppRoles,
    AuditDevices,
    CertRoles,
    DatabaseConnections,
    Kind,
    Policies,
    StaticRoles,
)

__all__ = ["Holdings", "holdings", "missing"]

Holdings = dict[str, dict[str, str]]

# Roles in a mount, by its type.
_ROLES: dict[str, tuple[type[Kind], ...]] = {
    "approle": (AppRoles,),
    "cert": (CertRoles,),
    "database": (DatabaseConnections, StaticRoles),
}
_IDENTITY = ("type", "uuid", "accessor", "local", "seal_wrap")


def holdings(client: VaultClient) -> tuple[Holdings, list[str]]:
    """Mounts, roles, policies, audit devices, versions of secrets.

    :return: What was read, and the names of what the identity may not read.
    """
    found: dict[str, Mapping[str, Any]] = {}
    unseen: list[str] = []
    work: list[tuple[Kind, str]] = []
    for base, sort in (("sys/mounts", "secret engine"), ("sys/auth", "auth method")):
        for path, mount in (client.read(base) or {}).items():
            key, kind = path.strip("/"), str(mount.get("type"))
            options = dict(mount.get("options") or {})
            found[f"{sort} {key}"] = {n: mount.get(n) for n in _IDENTITY} | {"options": options}
            for role in _ROLES.get(kind, ()):
                work += _listed(client, role(), f"{key}/", unseen)
            if kind == "kv" and options.get("version") == "2":
                secrets = list(_secrets(client, f"{key}/metadata", unseen))
                versions = client.map(lambda path: _versions(client, path), secrets)
                found |= dict(zip(secrets, versions, strict=True))
    work += _listed(client, Policies(), "", unseen)
    devices = AuditDevices()
    work += [(devices, path.strip("/")) for path in client.read("sys/audit") or {}]
    values = client.map(lambda item: item[0].read(client, item[1], {"role_id": ""}), work)
    for (reader, key), value in zip(work, values, strict=True):
        if value is not None:
            found[f"{reader.name} {key}"] = value
    return {name: _digests(fields) for name, fields in found.items()}, sorted(unseen)


def _listed(
    client: VaultClient, kind: Kind, prefix: str, unseen: list[str]
) -> list[tuple[Kind, str]]:
    try:
        return [(kind, key) for key in kind.names(client, prefix)]
    except errors.ForbiddenError:
        unseen.append(f"{kind.name}s of {prefix or 'the server'}")
        return []


def _secrets(client: VaultClient, path: str, unseen: list[str]) -> Iterator[str]:
    try:
        keys = client.keys(path)
    except errors.ForbiddenError:
        unseen.append(path)
        return
    for key in keys:
        if key.endswith("/"):
            yield from _secrets(client, f"{path}/{key.strip('/')}", unseen)
        else:
            yield f"{path}/{key}"


def _versions(client: VaultClient, path: str) -> Mapping[str, Any]:
    data = client.read(path) or {}
    return {name: data.get(name) for name in ("current_version", "oldest_version", "versions")}


def _digests(fields: Mapping[str, Any]) -> dict[str, str]:
    # Each option by itself: a newer server has more of them.
    flat = {f"options.{key}": value for key, value in (fields.get("options") or {}).items()}
    flat |= {key: value for key, value in fields.items() if key != "options"}
    return {key: _digest(value) for key, value in flat.items()}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def missing(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Any]) -> list[str]:
    """What a server held and holds no more, or not as it was; what came anew is no fault."""
    faults = []
    for name, fields in sorted(before.items()):
        found = after.get(name)
        if found is None:
            faults.append(f"{name} is gone")
            continue
        other = sorted(key for key, value in fields.items() if found.get(key) != value)
        if other:
            faults.append(f"{name} has another {', '.join(other)}")
    return faults
