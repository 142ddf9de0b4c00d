# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""New shares for old, in force only when enough of the new ones have been shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.bootstrap import (
    MAX_COMBINATIONS,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import QuorumError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.undertaking import Undertaking

__all__ = ["Rekey"]


class _RefusedSharesError(QuorumError):
    """The server takes them for none of its own."""


class _TakenSharesError(QuorumError):
    """The server takes them, and that is all that was to be known."""


class Rekey:
    """The change of shares of one server; the server remembers how far it has come."""

    def __init__(self, client: VaultClient) -> None:
        self._client = client
        self._status = client.seal_status()
        recovery = bool(self._status.get("recovery_seal"))
        # OpenBao's names, then Vault's.
        self._ways = (
            ["sys/rotate/recovery", "sys/rekey-recovery-key"]
            if recovery
            else ["sys/rotate/root", "sys/rekey"]
        )
        self._way = ""
        cluster = str(self._status.get("cluster_id", ""))
        self._undertaking = Undertaking("change of shares", cluster)

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

    def enough(self, current: Sequence[str], handed_out: str | None = None) -> list[str]:
        """As many of the current shares as a change needs.

        :raises QuorumError: if they are too few, or a change is under way that is not one that a
            killed run on this machine has left.
        """
        state = self.state()
        if state.get("started") and not self._undertaking.is_ours(state, handed_out):
            raise QuorumError(
                "a change of shares is under way already",
                hint="End it by showing the new shares, or cancel it (state=cancelled).",
            )
        unique = _unique(current)
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
        keep: Callable[[list[str]], object] = list,
        handed_out: str | None = None,
    ) -> tuple[list[str], str]:
        """Give the current shares; returns new ones, and the server's name for the change.

        :arg keep: Puts them where they are to be. Where it fails, the change is cancelled;
            without ``verify`` it is in force by then, so nothing that can fail goes with that.
        :arg handed_out: That name of the last change whose new shares are where they were to go.
        :raises QuorumError: if a change is under way, or the current shares are too few or wrong.
        """
        body: dict[str, Any] = {
            "secret_shares": shares,
            "secret_threshold": threshold,
            "require_verification": verify,
        }
        if pgp_keys:
            body["pgp_keys"] = list(pgp_keys)
        with self._undertaking as undertaking:
            unique = self.enough(current, handed_out)
            self.cancel()  # what a killed run has left
            undertaking.ask()
            try:
                nonce = _data(self._write("init", body))["nonce"]
            except errors.RefusedError:
                undertaking.over()
                raise
            undertaking.begun(nonce)
            try:
                answer = self._update(nonce, unique)
                kept = answer.get("keys_base64" if pgp_keys else "keys") or []
                made = [str(share) for share in kept]
                keep(made)
            except BaseException:
                self.cancel()
                undertaking.over()
                raise
            undertaking.given(nonce)
        return made, str(nonce)

    def _update(self, nonce: str, current: Sequence[str]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        try:
            for share in current:
                answer = _data(self._write("update", {"key": share, "nonce": nonce}))
        except (errors.RefusedError, errors.ServerFailureError) as error:
            # Only what the server says of the request is about the shares.
            refused = isinstance(error, errors.RefusedError)
            raise (_RefusedSharesError if refused else QuorumError)(
                f"the present shares were refused: {'; '.join(error.messages)}",
                hint="One of them is wrong or belongs to another server.",
            ) from error
        return answer

    def waiting(self) -> tuple[int, int] | None:
        """How many new shares the server has been shown, and of how many.

        :returns: ``None`` where no change waits for its new shares, or only one whose new shares
            went with a run that was killed.
        """
        state = self.state()
        if not state.get("verification_nonce") or self._undertaking.is_ours(state):
            return None
        found = _data(self._client.call("GET", f"{self._way}/verify").body)
        return int(found.get("progress") or 0), int(found.get("t") or 0)

    def replaced(self, former: Sequence[str]) -> bool:
        """Whether shares were the server's and are no more, because others are in force.

        The server is asked for a change by them that would have to be verified, and which is
        forgotten at once. It is one set after the other, since one wrong share among them spoils
        those that it is in. With too few of them nothing is known, and this is ``False``.
        """
        unique, needed = _unique(former), int(self.state().get("required") or 0)
        if not needed or not 0 < math.comb(len(unique), needed) <= MAX_COMBINATIONS:
            return False
        number, threshold = int(self._status["n"]), int(self._status["t"])
        for some in itertools.combinations(unique, needed):
            try:
                self.begin(
                    some,
                    shares=number,
                    threshold=threshold,
                    pgp_keys=[],
                    verify=True,
                    keep=_enough_is_known,
                )
            except _RefusedSharesError:
                continue
            except _TakenSharesError:
                return False
        return True

    def show(self, shares: Sequence[str]) -> int:
        """Show new shares; returns how many the server has then been shown."""
        state = self.state()
        progress, _threshold = self.waiting() or (0, 0)
        for share in _unique(shares):
            body = {"key": share, "nonce": state.get("verification_nonce")}
            try:
                answer = _data(self._write("verify", body))
            except (errors.RefusedError, errors.ServerFailureError) as error:
                raise QuorumError(
                    f"the new shares were refused: {'; '.join(error.messages)}",
                    hint="Show them again; the present shares are still in force.",
                ) from error
            if answer.get("complete"):
                return int(state["t"])
            progress = int(answer.get("progress") or 0)
        return progress

    def cancel(self) -> bool:
        """Forget a change that is under way; ``False`` where there is none."""
        if not self.state().get("started"):
            return False
        self._client.call("DELETE", f"{self._way}/init")
        return True

    def _write(self, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._client.write(f"{self._way}/{what}", body, repeatable=False)


def _enough_is_known(_shares: list[str]) -> None:
    raise _TakenSharesError("the shares are the server's")


def _unique(shares: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(share.strip() for share in shares if share.strip()))


def _data(body: Mapping[str, Any]) -> dict[str, Any]:
    data = body.get("data")
    return dict(data if isinstance(data, Mapping) else body)
