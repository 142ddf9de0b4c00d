# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every token that is alive, by the server's own list of accessors.

An accessor says whose a token is and since when, and is not the token. The list takes ``sudo`` on
one path, which the operator's policy has, and no root token.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import ages
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import (
    Answer,
    VaultApi,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["Token", "alive", "listed"]

_ENDED = "invalid accessor"
# Of a token that is just ending the server says 'permission denied', as of a right that is missing.
# It ends by several writes, each of which waits for a disk that may be busy.
_MOMENT = 10.0


@dataclass(frozen=True)
class Token:
    """What the server tells about one token.

    :arg path: Where it was made, for example ``auth/approle/login``.
    :arg name: Its display name.
    :arg created: Seconds since the epoch.
    :arg expires: When it ends, seconds since the epoch; ``None`` where the server sets no end.
    :arg period: Seconds that each renewal gives it anew, without an end; 0 if it gives none.
    """

    accessor: str
    path: str
    name: str
    policies: tuple[str, ...]
    created: float
    expires: float | None
    period: int = 0

    @property
    def root(self) -> bool:
        return "root" in self.policies

    @property
    def longest(self) -> float:
        """How old it can get, in seconds, by what it has been given so far."""
        if self.period or self.expires is None:
            return ages.FOREVER
        return self.expires - self.created

    @property
    def since(self) -> str:
        """When it was made, RFC 3339."""
        return datetime.datetime.fromtimestamp(self.created, datetime.UTC).isoformat()


def alive(site: Site) -> list[Token]:
    """All of them, those of this very run included.

    :raises PhoenixError: where the operator may not see them: then nothing is known.
    """
    try:
        accessors = listed(site.vault(), site.operator_token())
    except PhoenixError as error:
        raise PhoenixError(
            f"who is logged in cannot be seen: {error.message}; vault_operator.yml gives the "
            "operator the rights of this release"
        ) from error
    found = (_lookup(site, accessor) for accessor in accessors)
    return [token for token in found if token is not None]


def listed(vault: VaultApi, token: str) -> list[str]:
    """The accessors of all tokens, each of which may be looked up.

    :arg token: Of one who may see them.
    """
    found = vault.listing("auth/token/accessors", token)
    # The server lists a token before it has written its lease, and one without a lease it revokes
    # as soon as somebody looks at it: a login or a wrap of somebody else would be worth nothing. So
    # let it make one more, a wrap of whatever: by then those that it was making are whole. What it
    # begins later is not on the list.
    wrapped = vault.request("GET", "auth/token/lookup-self", token=token, wrap_ttl="1s")
    if not wrapped.ok:
        raise PhoenixError(f"a token cannot look at itself: {wrapped.text}")
    return found


def _lookup(site: Site, accessor: str) -> Token | None:
    """One token; ``None`` where it has ended since it was listed."""

    def answered() -> Answer:
        path, wanted = "auth/token/lookup-accessor", {"accessor": accessor}
        answer = site.vault().request("PUT", path, wanted, token=site.operator_token())
        if answer.ok or _ENDED in answer.text:
            return answer
        raise PhoenixError(f"a token cannot be looked up by its accessor: {answer.text}")

    answer = wait_until(answered, timeout=_MOMENT, what="the Vault to tell of a token")
    if not answer.ok:
        return None
    data = answer.data
    return Token(
        accessor=accessor,
        path=str(data.get("path", "")),
        name=str(data.get("display_name", "")),
        policies=tuple(data.get("policies") or ()),
        created=float(data.get("creation_time") or 0),
        # Not its 'ttl', in whole seconds: in the last one it is 0, as where there is no end.
        expires=ages.moment(data.get("expire_time")),
        # One that has an end all the same is as good as another.
        period=0 if data.get("explicit_max_ttl") else int(data.get("period") or 0),
    )
