# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Cut identities off from a server at once, and let them in again.

Whoever logs in has an *entity*, which the server finds by an *alias*: the common name of his
certificate, or the RoleID of his AppRole. The server asks with each request whether the entity is
disabled. So disabling it ends everything at once, new logins included, wherever the credentials are
and however long they would have lived, and no later reconciliation of roles and policies undoes it.

The tokens of a disabled entity are not gone: they would work again once it is enabled. Therefore
they are revoked too, and so are SecretIDs that nobody has used yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.accessors import listed, lookup
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.secret_ids import SecretIds
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["Identities", "Identity"]

_IN_FLIGHT = 20
"""Seconds in which a login that was under way has to be over."""


@dataclass
class Identity:
    """One identity, and what the server has of it.

    :arg method: Mount of the auth method, below ``auth/``.
    :arg name: Common name, or name of the AppRole.
    :arg alias: What the method calls it: the common name, or the RoleID.
    :arg entity: Id of its entity; empty where it has never logged in.
    """

    method: str
    name: str
    alias: str = ""
    mount_accessor: str = ""
    approle: bool = False
    entity: str = ""
    disabled: bool = False
    tokens: list[str] = field(default_factory=list)
    secret_ids: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.method}/{self.name}"


class Identities:
    """Identities that share a fate.

    :arg wanted: Entries with ``auth_method`` and one of ``common_name`` and ``approle``.
    """

    def __init__(self, client: VaultClient, wanted: Sequence[Mapping[str, Any]]) -> None:
        self.client = client
        self.all = [
            Identity(
                str(entry["auth_method"]).strip("/"),
                str(entry.get("approle") or entry.get("common_name")),
                approle=bool(entry.get("approle")),
            )
            for entry in wanted
        ]

    def read(self) -> None:
        """Find out who they are, whether they are cut off, and what they still have.

        :raises PhoenixError: for identities that the server cannot have, all of them together, and
            for the caller himself.
        """
        methods = self.client.read("sys/auth") or {}
        wrong = []
        for item in self.all:
            mount = methods.get(f"{item.method}/")
            if mount is None:
                wrong.append(f"{item.title}: there is no auth method {item.method}")
                continue
            item.mount_accessor = str(mount["accessor"])
            item.alias = item.name
            if item.approle:
                role = self.client.read(f"auth/{item.method}/role/{item.name}/role-id")
                if role is None:
                    wrong.append(f"{item.title}: there is no such AppRole")
                    continue
                item.alias = str(role["role_id"])
        if wrong:
            raise PhoenixError("; ".join(wrong), hint="Nothing was changed.")
        self.client.map(self._find, self.all)
        own = (self.client.read("auth/token/lookup-self") or {}).get("entity_id")
        for item in self.all:
            if own and item.entity == own:
                raise PhoenixError(f"{item.title} is the one who asks for this")
        self._read_holdings()

    def _find(self, item: Identity) -> None:
        body = {"alias_name": item.alias, "alias_mount_accessor": item.mount_accessor}
        found = self.client.write("identity/lookup/entity", body).get("data") or {}
        item.entity = str(found.get("id", ""))
        item.disabled = bool(found.get("disabled"))

    def _read_holdings(self) -> None:
        """Tokens and SecretIDs that are alive."""
        by_entity = {item.entity: item for item in self.all if item.entity}
        for item in self.all:
            item.tokens.clear()
            if item.approle:
                item.secret_ids = self._secret_ids(item).accessors()
        found = self.client.map(self._owner, listed(self.client))
        for accessor, entity in found:
            if entity in by_entity:
                by_entity[entity].tokens.append(accessor)

    def _owner(self, accessor: str) -> tuple[str, str]:
        """Whose a token is; nobody's, where it has ended since it was listed."""
        return accessor, str(lookup(self.client, accessor).get("entity_id", ""))

    def _secret_ids(self, item: Identity) -> SecretIds:
        return SecretIds(self.client, f"auth/{item.method}/role/{item.name}")

    # -- cut off ------------------------------------------------------------------------------

    def plan(self, plan: Plan, *, cut_off: bool) -> None:
        """What is due. Nothing is taken from an identity that is let in already."""
        for item in self.all:
            if item.disabled != cut_off:
                action = "disable" if cut_off else "enable"
                before, after = {"disabled": item.disabled}, {"disabled": cut_off}
                plan.add("identity", item.title, action, before, after)
            elif not cut_off:
                item.tokens.clear()
                item.secret_ids.clear()
            for accessor in item.tokens:
                plan.add("token", accessor, "revoke", note=f"of {item.title}")
            for accessor in item.secret_ids:
                plan.add("secret id", accessor, "destroy", note=f"of {item.title}")

    def cut_off(self) -> None:
        """Disable first, which ends everything; then end what would come back with it.

        :raises PhoenixError: if something of theirs lives on.
        """
        for item in self.all:
            if not item.disabled:
                self._set(item, disabled=True)
        self._empty()

    def admit(self) -> None:
        """Enable, after everything is gone that they had before."""
        due = [item for item in self.all if item.disabled]
        if due:
            self._empty()
        for item in due:
            self._set(item, disabled=False)

    def _set(self, item: Identity, *, disabled: bool) -> None:
        if not item.entity:
            # An alias of its own brings an entity with it, as the first login would.
            body = {"name": item.alias, "mount_accessor": item.mount_accessor}
            made = self.client.write("identity/entity-alias", body, repeatable=False)
            item.entity = str((made.get("data") or {}).get("canonical_id", ""))
        self.client.write(f"identity/entity/id/{item.entity}", {"disabled": disabled})
        self._find(item)
        if item.disabled != disabled:
            raise PhoenixError(f"the server left {item.title} as it was")

    def _empty(self) -> None:
        """End tokens and SecretIDs of those who are disabled, those of logins in flight too."""

        def ended() -> bool:
            disabled = [item for item in self.all if item.disabled]
            for item in disabled:
                if item.approle and item.secret_ids:
                    self._secret_ids(item).destroy(item.secret_ids)
                self.client.map(self._revoke, item.tokens)
            self._read_holdings()
            return not any(item.tokens or item.secret_ids for item in disabled)

        what = f"an end to all tokens of {', '.join(item.title for item in self.all)}"
        wait_until(ended, timeout=_IN_FLIGHT, what=what)

    def _revoke(self, accessor: str) -> None:
        # 400 or 403 is the server's word for one that has ended; what is left shows in the next
        # look at all tokens.
        path = "auth/token/revoke-accessor"
        self.client.call("POST", path, body={"accessor": accessor}, accept=(400, 403))
