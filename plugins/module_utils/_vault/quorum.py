# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A root token by the will of enough share holders, for the length of one module."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.accessors import (
    listed,
    lookup,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.undertaking import Undertaking

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["QuorumError", "generate_root", "revoke_forgotten"]

# Sends one request and returns the answer's body.
Ask = Callable[[str, str, "Mapping[str, Any] | None"], dict[str, Any]]

# OpenBao wants a token with a right to the first; Vault, and OpenBao by a setting of its listener,
# serves the second to anybody.
_WAYS = ("sys/generate-root-token", "sys/generate-root")


class QuorumError(PhoenixError):
    """The shares do not make a root token."""


def generate_root(ask: Ask, shares: Sequence[str]) -> str:
    """Make a root token from shares.

    An attempt that a killed run on this machine has left is begun anew; one that somebody else has
    under way is not disturbed.

    :raises QuorumError: if there are too few shares, or a wrong one among them.
    """
    cluster = str(ask("GET", "sys/seal-status", None).get("cluster_id", ""))
    with Undertaking("root token", cluster) as undertaking:
        way, begun = _begin(ask, undertaking)
        undertaking.begun(begun["nonce"])
        needed = int(begun.get("required") or 0)
        unique = list(dict.fromkeys(share.strip() for share in shares if share.strip()))
        try:
            answer = _give(ask, f"{way}/update", begun["nonce"], unique, needed)
        except BaseException:
            ask("DELETE", f"{way}/attempt", None)
            undertaking.over()
            raise
        undertaking.over()
    encoded = str(answer.get("encoded_token") or answer.get("encoded_root_token") or "")
    return _decode(encoded, str(begun["otp"]))


def _give(ask: Ask, path: str, nonce: str, shares: Sequence[str], needed: int) -> dict[str, Any]:
    if not 0 < needed <= len(shares):
        raise QuorumError(
            f"a root token needs {needed} shares; there are {len(shares)}",
            unseal_missing=needed - len(shares),
        )
    answer: dict[str, Any] = {}
    try:
        for share in shares[:needed]:
            answer = _data(ask("POST", path, {"key": share, "nonce": nonce}))
    except (errors.RefusedError, errors.ServerFailureError) as error:
        if error.status not in (400, 500):
            raise  # A gateway that fails knows nothing of shares.
        raise QuorumError(
            f"the shares do not make a root token: {'; '.join(error.messages)}",
            hint="One of them is wrong or belongs to another server.",
        ) from error
    return answer


def revoke_forgotten(client: VaultClient) -> list[str]:
    """Revoke every root token but the client's own; returns their accessors.

    Such a token is left where the process that made it was killed: nobody knows it, and it would
    never end.
    """
    own = (client.read("auth/token/lookup-self") or {}).get("accessor")
    revoked = []
    for accessor in listed(client):
        if accessor == own:
            continue
        # Of what root made, the end of its maker was the end as well.
        if lookup(client, accessor).get("policies") == ["root"]:
            client.write("auth/token/revoke-accessor", {"accessor": accessor})
            revoked.append(accessor)
    return revoked


def _begin(ask: Ask, undertaking: Undertaking) -> tuple[str, dict[str, Any]]:
    for way in _WAYS:
        try:
            found = _data(ask("GET", f"{way}/attempt", None))
        except (errors.NoRouteError, errors.RefusedError):
            continue
        if found.get("started"):
            if not undertaking.is_ours(found):
                raise QuorumError(
                    "somebody else is making a root token right now, and has given "
                    f"{found.get('progress', 0)} of {found.get('required')} shares",
                    hint=f"Wait for them. If nobody is at it: bao delete {way}/attempt",
                )
            ask("DELETE", f"{way}/attempt", None)
        undertaking.ask()
        try:
            return way, _data(ask("POST", f"{way}/attempt", {}))
        except (errors.NoRouteError, errors.RefusedError):
            undertaking.over()
    raise QuorumError("the server makes no root token from shares: both ways are switched off")


def _data(body: Mapping[str, Any]) -> dict[str, Any]:
    data = body.get("data")
    return dict(data if isinstance(data, Mapping) else body)


def _decode(encoded: str, otp: str) -> str:
    """Base64 without padding, then XOR with the one-time password."""
    masked = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    if not masked or len(masked) != len(otp):
        raise QuorumError("the server's answer is no root token")
    return bytes(a ^ b for a, b in zip(masked, otp.encode(), strict=True)).decode()
