# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server tells of a token by its accessor, which says whose it is and is not the token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["listed", "lookup"]

_ENDED = "invalid accessor"
_MOMENT = 10.0
"""Seconds in which a token that is ending has ended, on a server whose disk is busy."""


def listed(client: VaultClient) -> list[str]:
    """The accessors of all tokens, each of which may be looked up.

    A server lists a token before it has written its lease, and one without a lease it revokes as
    soon as somebody looks at it: a login of somebody else would be worth nothing. So this lets it
    make one more, a wrap of whatever: by then those that it was making are whole.
    """
    found = client.keys("auth/token/accessors")
    client.call("GET", "auth/token/lookup-self", wrap_ttl="1s")
    return found


def lookup(client: VaultClient, accessor: str) -> dict[str, Any]:
    """The token's data; empty where it has ended since it was listed.

    Of one that is just ending a server says 'permission denied', as of a right that is missing.

    :raises PhoenixError: if the server does not tell: then nothing is known of the token.
    """

    def told() -> tuple[dict[str, Any]] | None:
        try:
            answer = client.write("auth/token/lookup-accessor", {"accessor": accessor})
            data = answer.get("data")
        except errors.VaultError as error:
            if _ENDED not in f"{error} {error.messages}":
                raise
            return ({},)
        return (dict(data),) if data else None

    what = "the server to tell of a token by its accessor"
    return wait_until(told, timeout=_MOMENT, what=what)[0]
