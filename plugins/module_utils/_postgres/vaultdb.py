# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The database engine of a Vault or OpenBao server: connections and static roles."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import (
    CONNECTION_FIELDS,
    STATIC_ROLE_FIELDS,
    normalise,
    observed,
    restated,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.schema import accepted_fields

__all__ = ["CONNECTION_FIELDS", "STATIC_ROLE_FIELDS", "Connection", "StaticRole", "moment"]

Values = dict[str, Any]

# What a read of a connection gives other names, or puts below connection_details.
_RENAMED = {"root_credentials_rotate_statements": "root_rotation_statements"}


def moment(text: Any) -> dt.datetime | None:
    """A server's RFC 3339 time; its nanoseconds are cut."""
    if not text:
        return None
    shortened = re.sub(r"(\.\d{6})\d+", r"\1", str(text)).replace("Z", "+00:00")
    try:
        return dt.datetime.fromisoformat(shortened)
    except ValueError:
        return None


class StaticRole:
    """One static role, compared with what is stated about it.

    :arg stated: Options that are not ``None``, by the server's names.
    """

    def __init__(self, client: VaultClient, mount: str, name: str, stated: Values) -> None:
        self.client = client
        self.name = name
        self.path = f"{mount.strip('/')}/static-roles/{name}"
        self._rotate = f"{mount.strip('/')}/rotate-role/{name}"
        self._creds = f"{mount.strip('/')}/static-creds/{name}"
        self.wanted = normalise(STATIC_ROLE_FIELDS, stated)
        self.current: Values | None = None
        self.rotated_at: dt.datetime | None = None

    def read(self) -> Values | None:
        data = self.client.read(self.path)
        self.current = None if data is None else observed(STATIC_ROLE_FIELDS, data)
        self.rotated_at = moment((data or {}).get("last_vault_rotation"))
        return self.current

    def refuse_ignored(self) -> None:
        """Refuse what the server would take without a word and forget.

        :raises errors.IgnoredFieldError: naming the fields and the server's version.
        """
        accepted = accepted_fields(self.client, self.path)
        if accepted is None:
            return
        ignored = sorted(set(self.wanted) - accepted)
        if ignored:
            raise self._ignored(ignored, "does not know")

    def plan(self, plan: Plan) -> Values:
        """What has to be written; adds it to the plan.

        :raises errors.RefusedError: for a setting that is fixed once the role exists.
        """
        if self.current is None:
            plan.add("static role", self.name, "create", None, self.wanted)
            return dict(self.wanted)
        changed = {
            key: value for key, value in self.wanted.items() if self.current.get(key) != value
        }
        # How a role is imported matters once; the server does not keep it.
        changed.pop("skip_import_rotation", None)
        if not changed:
            return {}
        if "username" in changed:
            raise errors.RefusedError(
                f"static role {self.name} is for login {self.current.get('username')}, "
                f"which cannot be changed to {changed['username']}",
                hint="Remove the role first; the old login then has a password that nobody knows.",
                path=self.path,
            )
        before = {key: self.current.get(key) for key in changed}
        plan.add("static role", self.name, "update", before, changed)
        return restated(self.current, changed)

    def write(self, values: Values) -> None:
        """Write, read back, and compare with what was granted."""
        self.client.write(self.path, values, repeatable=False)
        granted = self.read() or {}
        ignored = sorted(
            key
            for key, value in values.items()
            if key != "skip_import_rotation" and granted.get(key) != value
        )
        if ignored:
            raise self._ignored(ignored, "did not take")

    def rotate(self) -> None:
        self.client.write(self._rotate, repeatable=False)

    def served(self) -> Values:
        """What consumers get now: ``username``, ``password``, ``ttl``, ``last_vault_rotation``."""
        return self.client.read(self._creds) or {}

    def delete(self) -> None:
        self.client.delete(self.path)

    def _ignored(self, fields: list[str], verb: str) -> errors.IgnoredFieldError:
        version = self.client.version
        return errors.IgnoredFieldError(
            f"{self.client.url} (version {version}) {verb} {', '.join(fields)} "
            f"of static role {self.name}",
            fields=fields,
            version=version,
            path=self.path,
        )


class Connection:
    """A connection of the engine to a database server. Its password is never read back."""

    def __init__(self, client: VaultClient, mount: str, name: str, stated: Values) -> None:
        self.client = client
        self.name = name
        self.path = f"{mount.strip('/')}/config/{name}"
        self._rotate = f"{mount.strip('/')}/rotate-root/{name}"
        self.wanted = normalise(CONNECTION_FIELDS, stated)
        self.current: Values | None = None

    def read(self) -> Values | None:
        data = self.client.read(self.path)
        if data is None:
            self.current = None
            return None
        flat = {**data, **(data.get("connection_details") or {})}
        for served, name in _RENAMED.items():
            if served in flat:
                flat[name] = flat[served]
        self.current = observed(CONNECTION_FIELDS, flat)
        return self.current

    def plan(self, plan: Plan) -> Values:
        if self.current is None:
            plan.add("database connection", self.name, "create", None, self.wanted)
            return dict(self.wanted)
        changed = {
            key: value for key, value in self.wanted.items() if self.current.get(key) != value
        }
        if changed:
            before = {key: self.current.get(key) for key in changed}
            plan.add("database connection", self.name, "update", before, changed)
        return changed

    def write(self, values: Values, password: str | None = None) -> None:
        """Write what differs, and the password if there is a new one.

        The server logs in to the database before it keeps any of it (``verify_connection``).

        :raises errors.IgnoredFieldError: naming what was not taken.
        """
        plugin = values.get("plugin_name") or (self.current or {}).get("plugin_name")
        body: Values = {**values, "plugin_name": plugin, "verify_connection": True}
        if password is not None:
            body["password"] = password
        self.client.write(self.path, body)
        granted = self.read() or {}
        ignored = sorted(key for key, value in values.items() if granted.get(key) != value)
        if ignored:
            version = self.client.version
            raise errors.IgnoredFieldError(
                f"{self.client.url} (version {version}) did not take {', '.join(ignored)} "
                f"of database connection {self.name}",
                fields=ignored,
                version=version,
                path=self.path,
            )

    def rotate_root(self) -> None:
        """Have the server replace its own password by one that it alone knows."""
        self.client.write(self._rotate, repeatable=False)
