# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a server without a master key to one that serves, and back to one without a root token."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = [
    "Marker",
    "WrongShareError",
    "initialise",
    "revoke_root",
    "unseal",
    "wait_active",
    "wait_migrated",
    "why_not_orphaned",
]

MAX_COMBINATIONS = 252  # ten shares, five of which open the server; seconds
STEADY = 2.0  # seconds that a standby has to serve without a break before it is believed


class WrongShareError(PhoenixError):
    """Enough shares were given, and they do not open this server."""


@dataclass(frozen=True)
class Marker:
    """A file on the server's host that says which bootstrap the server belongs to."""

    id: str
    state: str

    @classmethod
    def read(cls, path: str) -> Marker | None:
        content = read_bytes_or_none(path)
        if content is None:
            return None
        try:
            document = json.loads(content)
            return cls(str(document["id"]), str(document["state"]))
        except (ValueError, KeyError, TypeError):
            return cls("", "damaged")

    def write(self, path: str) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"id": self.id, "state": self.state}) + "\n"
        write_atomic(path, content.encode(), mode=0o600)


def initialise(
    client: VaultClient,
    status: Mapping[str, Any],
    *,
    shares: int,
    threshold: int,
    pgp_keys: Sequence[str] = (),
    root_token_pgp_key: str = "",
) -> dict[str, Any]:
    """Initialise the server once; returns ``shares`` (hexadecimal, or base64 of PGP messages) and
    ``root_token``.

    A server that unseals itself makes recovery shares instead of unseal shares.
    """
    kind = "recovery" if status.get("recovery_seal") else "secret"
    request: dict[str, Any] = {f"{kind}_shares": shares, f"{kind}_threshold": threshold}
    if pgp_keys:
        request["recovery_pgp_keys" if kind == "recovery" else "pgp_keys"] = list(pgp_keys)
    if root_token_pgp_key:
        request["root_token_pgp_key"] = root_token_pgp_key
    answer = client.call(
        "PUT", "sys/init", body=request, authenticated=False, repeatable=False
    ).body
    keys = answer.get("recovery_keys") or answer.get("keys") or []
    encoded = answer.get("recovery_keys_base64") or answer.get("keys_base64") or []
    return {
        "shares": [str(key) for key in (encoded if pgp_keys else keys)],
        "root_token": str(answer.get("root_token", "")),
    }


def why_not_orphaned(
    status: Mapping[str, Any], marker: Marker | None, identifier: str, audit_log: str
) -> str:
    """Why a server whose shares nobody holds may not be thrown away; empty where it may.

    It may if all of this holds: this very bootstrap began it, never came to its end, nobody has
    opened it, and its audit log has no request for anything but the system's own paths.
    """
    if marker is None:
        return "its host has no record of a bootstrap that this control node began"
    if not identifier or marker.id != identifier:
        return "it belongs to another bootstrap than the one that this control node began"
    if marker.state != "begun":
        return f"its bootstrap is in state {marker.state!r}"
    if not status.get("sealed") and not status.get("recovery_seal"):
        return "it is unsealed, so somebody holds its shares"
    foreign = _first_foreign_request(audit_log)
    if foreign:
        return f"its audit log has a request for {foreign}"
    return ""


def _first_foreign_request(audit_log: str) -> str:
    try:
        with Path(audit_log).open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    path = str(json.loads(line).get("request", {}).get("path", ""))
                except ValueError:
                    return "something that is no audit entry"
                if path and not path.startswith(("sys/", "auth/")):
                    return path
    except FileNotFoundError:
        return ""
    return ""


def unseal(client: VaultClient, shares: Sequence[str], *, migrate: bool = False) -> dict[str, Any]:
    """Give shares until the server opens or none is left; returns the seal status.

    A wrong share shows only when enough are given, and then as 'one of these is wrong'. Where
    there are more shares than needed, other combinations are tried.

    :arg migrate: Have a server whose configuration names another seal change over to it.
    :raises WrongShareError: if no combination opens it.
    """
    status = client.seal_status()
    if not status.get("sealed"):
        return status
    migrate = migrate and bool(status.get("migration"))
    earlier = int(status.get("progress") or 0)
    unique = list(dict.fromkeys(share.strip() for share in shares if share.strip()))
    try:
        for share in unique:
            status = _give(client, share, migrate)
            if not status.get("sealed"):
                return status
        return status
    except errors.RefusedError as error:
        refused = error
    threshold = int(status.get("t") or 0)
    for combination in _combinations(unique, threshold):
        client.call("PUT", "sys/unseal", body={"reset": True}, authenticated=False)
        try:
            for share in combination:
                status = _give(client, share, migrate)
            if not status.get("sealed"):
                return status
        except errors.RefusedError as error:
            refused = error
    raise WrongShareError(
        f"the shares do not open {client.url}: {'; '.join(refused.messages) or refused.message}",
        hint="One of them is wrong or belongs to another server; the server cannot tell which."
        + (f" It has forgotten the {earlier} of earlier runs: give all again." if earlier else ""),
        unseal_threshold=threshold,
        unseal_shares_given=len(unique),
    )


def _combinations(shares: Sequence[str], threshold: int) -> Iterator[tuple[str, ...]]:
    if threshold <= 0 or len(shares) < threshold:
        return iter(())
    return itertools.islice(itertools.combinations(shares, threshold), MAX_COMBINATIONS)


def _give(client: VaultClient, share: str, migrate: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"key": share}
    if migrate:
        body["migrate"] = True
    return client.call("PUT", "sys/unseal", body=body, authenticated=False).body


def wait_active(client: VaultClient, timeout: float) -> None:
    """Wait until the unsealed node serves requests, as active node or as a standby of one."""

    serving_since: float | None = None

    def ask(path: str, *accept: int) -> int:
        reply = client.call("GET", path, authenticated=False, accept=accept, patient=False)
        return reply.status

    def probe() -> bool:
        nonlocal serving_since
        status = ask("sys/health", 429, 472, 473, 501, 503)
        if status == 429:
            # Is there an active node that it passes requests to? What it says of one may be out of
            # a snapshot.
            try:
                ask("auth/token/lookup-self", 400, 403)
            except errors.StandbyError as error:
                serving_since = None
                raise _stays_standby("; ".join(error.messages)) from error
            # One that tries to become active, again and again, serves for a moment each time.
            serving_since = serving_since or time.monotonic()
            if time.monotonic() - serving_since < STEADY:
                raise _stays_standby("it has served requests only for a moment")
            return True
        return status in (200, 473)

    wait_until(probe, timeout=timeout, what=f"{client.url} to become active", interval=0.05)


def _stays_standby(why: str) -> errors.StandbyError:
    return errors.StandbyError(
        f"it is open and does not become active: {why}",
        hint="Its log says why. After a restore its audit devices have to be those of "
        "the snapshot's time, to the letter: correct its configuration, restart it.",
    )


def wait_migrated(client: VaultClient, timeout: float) -> None:
    """Wait until an open server has put its keys under the new seal, which it does once active."""
    wait_until(
        lambda: not client.seal_status().get("migration"),
        timeout=timeout,
        what=f"{client.url} to change over to its new seal",
        interval=0.05,
    )


def revoke_root(client: VaultClient) -> bool:
    """Revoke the client's own token and prove that it is gone; ``False`` if it was gone before.

    :raises PhoenixError: if the token lives on.
    """
    try:
        client.call("GET", "auth/token/lookup-self")
    except errors.TokenExpiredError:
        return False
    client.call("POST", "auth/token/revoke-self")
    try:
        client.call("GET", "auth/token/lookup-self")
    except errors.TokenExpiredError:
        return True
    raise PhoenixError(f"{client.url} still accepts the root token after it was revoked")
