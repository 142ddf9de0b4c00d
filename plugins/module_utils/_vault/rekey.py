# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New shares for old, in force only when enough of the new ones have been shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import QuorumError

__all__ = ["Rekey"]


class Rekey:
    """The change of shares of one server; the server remembers how far it has come."""

    def __init__(self, client: VaultClient) -> None:
        self._client = client
        recovery = bool(client.seal_status().get("recovery_seal"))
        # OpenBao's names, then Vault's.
        self._ways = (
            ["sys/rotate/recovery", "sys/rekey-recovery-key"]
            if recovery
            else ["sys/rotate/root", "sys/rekey"]
        )
        self._way = ""

    def state(self) -> dict[str, Any]:
        """``started``, ``required``, ``progress``, ``verification_nonce``, ..."""
        for way in [self._way] if self._way else self._ways:
            try:
                found = _data(self._client.call("GET", f"{way}/init").body)
            except (errors.NoRouteError, errors.RefusedError):
                continue
            self._way = way
            return found
        raise QuorumError("the server's shares cannot be changed by API")

    def enough(self, current: Sequence[str]) -> list[str]:
        """As many of the current shares as a change needs.

        :raises QuorumError: if they are too few, or a change is under way.
        """
        state = self.state()
        if state.get("started"):
            raise QuorumError(
                "a change of shares is under way already",
                hint="End it by showing the new shares, or cancel it.",
            )
        unique = list(dict.fromkeys(share.strip() for share in current if share.strip()))
        needed = int(state.get("required") or 0)
        if len(unique) < needed:
            raise QuorumError(
                f"a change of shares needs {needed} of the present ones; there are {len(unique)}",
                unseal_missing=needed - len(unique),
            )
        return unique[:needed]

    def begin(
        self,
        current: Sequence[str],
        *,
        shares: int,
        threshold: int,
        pgp_keys: Sequence[str],
        verify: bool,
    ) -> dict[str, Any]:
        """Give the current shares, get new ones; returns ``shares`` and ``in_force``.

        :raises QuorumError: if a change is under way, or the current shares are too few or wrong.
        """
        unique = self.enough(current)
        body: dict[str, Any] = {
            "secret_shares": shares,
            "secret_threshold": threshold,
            "require_verification": verify,
        }
        if pgp_keys:
            body["pgp_keys"] = list(pgp_keys)
        nonce = _data(self._write("init", body))["nonce"]
        try:
            for share in unique:
                answer = _data(self._write("update", {"key": share, "nonce": nonce}))
        except BaseException as error:
            self.cancel()
            if isinstance(error, (errors.RefusedError, errors.ServerFailureError)):
                raise QuorumError(
                    f"the present shares were refused: {'; '.join(error.messages)}",
                    hint="One of them is wrong or belongs to another server.",
                ) from error
            raise
        kept = answer.get("keys_base64" if pgp_keys else "keys") or []
        return {"shares": [str(share) for share in kept], "in_force": not verify}

    def show(self, shares: Sequence[str]) -> dict[str, Any]:
        """Show new shares; returns ``complete`` and ``missing``."""
        state = self.state()
        nonce, threshold = state.get("verification_nonce"), int(state.get("t") or 0)
        if not nonce:
            raise QuorumError("no change of shares waits for its new shares")
        progress = int(_data(self._client.call("GET", f"{self._way}/verify").body)["progress"])
        for share in dict.fromkeys(share.strip() for share in shares if share.strip()):
            try:
                answer = _data(self._write("verify", {"key": share, "nonce": nonce}))
            except (errors.RefusedError, errors.ServerFailureError) as error:
                raise QuorumError(
                    f"the new shares were refused: {'; '.join(error.messages)}",
                    hint="Show them again; the present shares are still in force.",
                ) from error
            if answer.get("complete"):
                return {"complete": True, "missing": 0}
            progress = int(answer.get("progress") or 0)
        return {"complete": False, "missing": max(threshold - progress, 0)}

    def cancel(self) -> bool:
        """Forget a change that is under way; ``False`` where there is none."""
        if not self.state().get("started"):
            return False
        self._client.call("DELETE", f"{self._way}/init")
        return True

    def _write(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._client.write(f"{self._way}/{what}", body, repeatable=False)


def _data(body: Mapping[str, Any]) -> dict[str, Any]:
    data = body.get("data")
    return dict(data if isinstance(data, Mapping) else body)
