# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""SecretIDs of an AppRole, known by their accessors.

A SecretID that was used up is gone from the list, so what is listed was never (fully) used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import texts

__all__ = ["Issue", "SecretIds"]

# What the servers answer about a SecretID that is worth telling; none of it is secret.
_PUBLIC = (
    "cidr_list",
    "creation_time",
    "expiration_time",
    "last_updated_time",
    "metadata",
    "secret_id_num_uses",
    "secret_id_ttl",
    "token_bound_cidrs",
)


@dataclass(frozen=True)
class Issue:
    """What a new SecretID is to be like; empty settings are the role's own.

    :arg wrap_ttl: Lifetime of the wrapping token, in seconds; 0 hands the SecretID out in clear.
    """

    wrap_ttl: int = 0
    ttl: int | None = None
    num_uses: int | None = None
    cidr_list: Sequence[str] = ()
    token_bound_cidrs: Sequence[str] = ()
    metadata: Mapping[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        body: dict[str, Any] = {}
        for name in ("ttl", "num_uses"):
            if getattr(self, name) is not None:
                body[name] = getattr(self, name)
        for name in ("cidr_list", "token_bound_cidrs"):
            if getattr(self, name):
                body[name] = list(getattr(self, name))
        if self.metadata:
            # A string of JSON in a field of JSON: so the API has it. Its values are text.
            body["metadata"] = json.dumps(texts(self.metadata), sort_keys=True)
        return body


class SecretIds:
    """The SecretIDs of one role.

    :arg path: API path of the role, ``auth/approle/role/<name>``.
    """

    def __init__(self, client: VaultClient, path: str) -> None:
        self._client = client
        self._path = path

    def accessors(self) -> list[str]:
        """Accessors of all that are left; none where the role does not exist."""
        try:
            return self._client.keys(f"{self._path}/secret-id")
        except errors.RefusedError as error:
            if error.status == 400:  # no such role
                return []
            raise

    def describe(self) -> list[dict[str, Any]]:
        """All that are left, the newest first."""
        found = self._client.map(self._lookup, self.accessors())
        return sorted(
            (entry for entry in found if entry),
            key=lambda entry: str(entry.get("creation_time", "")),
            reverse=True,
        )

    def _lookup(self, accessor: str) -> dict[str, Any] | None:
        reply = self._client.call(
            "POST",
            f"{self._path}/secret-id-accessor/lookup",
            body={"secret_id_accessor": accessor},
            accept=(404,),
        )
        if reply.status == 404:
            return None  # Used or expired since it was listed.
        known = {name: reply.data[name] for name in _PUBLIC if reply.data.get(name) is not None}
        return {"accessor": accessor, **known}

    def destroy(self, accessors: Sequence[str]) -> None:
        """Destroy them; what was used or expired meanwhile is fine."""
        self._client.map(self._destroy, accessors)

    def _destroy(self, accessor: str) -> None:
        reply = self._client.call(
            "POST",
            f"{self._path}/secret-id-accessor/destroy",
            body={"secret_id_accessor": accessor},
            accept=(404, 500),
            repeatable=False,
        )
        if reply.status >= 400 and accessor in self.accessors():
            raise PhoenixError(
                f"{self._path}: SecretID {accessor} could not be destroyed: "
                f"{'; '.join(reply.messages)}"
            )

    def issue(self, wanted: Issue) -> dict[str, Any]:
        """Make one, and once only; the answer holds it, or the token that it is wrapped in."""
        answer = self._client.write(
            f"{self._path}/secret-id",
            wanted.body(),
            wrap_ttl=wanted.wrap_ttl or None,
            repeatable=False,
        )
        wrap = answer.get("wrap_info")
        if wrap:
            return {
                "wrapping_token": wrap["token"],
                "wrapping_accessor": wrap.get("accessor", ""),
                "wrap_ttl": wrap.get("ttl", 0),
                "creation_path": wrap.get("creation_path", ""),
                "accessor": wrap.get("wrapped_accessor", ""),
            }
        data = answer.get("data") or {}
        return {
            "secret_id": data.get("secret_id", ""),
            "accessor": data.get("secret_id_accessor", ""),
        }

    def tidy(self, mount: str) -> None:
        """Have the server remove what is left of expired SecretIDs, in its own time."""
        self._client.write(f"auth/{mount.strip('/')}/tidy/secret-id")
