# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who is at the other end: the service by its certificate, the person by the service's word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ROLES_HEADER", "USER_HEADER", "IdentityError", "User", "peer_identity", "user_of"]

USER_HEADER = "x-tamshai-user-id"
ROLES_HEADER = "x-tamshai-user-roles"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,127}")


class IdentityError(Exception):
    """A request does not say, or does not say properly, for whom it is."""


@dataclass(frozen=True)
class User:
    """The person for whom a request is made."""

    id: str
    roles: tuple[str, ...]

    @property
    def headers(self) -> dict[str, str]:
        """What a service sends on, so that the next one sees the same person."""
        return {USER_HEADER: self.id, ROLES_HEADER: ",".join(self.roles)}


def peer_identity(certificate: Mapping[str, Any] | None) -> str | None:
    """The SPIFFE identity of a verified peer certificate, as ``SSLSocket.getpeercert`` gives it.

    Exactly one URI name counts (SPIFFE X.509-SVID section 2); with several it would be open which
    of them the peer claims, so that is no identity.
    """
    names = certificate.get("subjectAltName", ()) if certificate else ()
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1 or not str(uris[0]).startswith("spiffe://"):
        return None
    return str(uris[0])


def user_of(headers: Mapping[str, str]) -> User:
    """The person for whom an admitted caller asks.

    The only place that decides this. Now the caller, whose certificate is on the list, vouches
    with two headers; a token of the identity provider, once there is one, is verified here and
    the rest of the services does not change. Never an argument of a tool: those are written by a
    language model.

    :raises IdentityError: if there is no user or a name is malformed.
    """
    user = headers.get(USER_HEADER, "").strip()
    roles = tuple(r.strip() for r in headers.get(ROLES_HEADER, "").split(",") if r.strip())
    if not user:
        raise IdentityError(f"the request has no {USER_HEADER}")
    for name in (user, *roles):
        if not _NAME.fullmatch(name):
            raise IdentityError("a user id or role has characters that are not allowed")
    return User(user, roles)
