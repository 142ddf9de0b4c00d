# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can only be seen by restarting something, and is seen by the role's tasks."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.h1_d import paths_of
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Record
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = [
    "KINDS",
    "canonical",
    "fingerprints",
    "observed",
    "open_seal",
    "opened_early",
    "settle",
    "stays_sealed",
    "wait_for_seal",
    "wait_for_vault",
    "why_not",
]

_WANTED = {
    "restart": "needs attest_disruptive=true (restarts Vault)",
    "reboot": "needs attest_disruptive=true (reboots the host)",
    "copy": "needs attest_disruptive=true (opens a copy of the Vault, for which it needs shares)",
}
KINDS = frozenset(_WANTED)


def why_not(site: Site, what: str) -> str:
    """Why one of :data:`KINDS` was left out: the role's own reason, or that nobody gave leave."""
    return str(site.inputs.observed.get("refused") or _WANTED[what])


def observed(site: Site, record: Record, what: str) -> dict[str, Any]:
    """What the role saw under a name; a fault where it saw nothing or broke off."""
    seen = site.inputs.observed.get(what)
    problem = site.inputs.observed.get("error")
    if not seen:
        record.expect(False, f"nothing was observed: {problem or 'the role did not come so far'}")
        return {}
    return dict(seen)


def opened_early(site: Site) -> bool:
    """Whether a Vault that shares open was seen open in its restart before they were given."""
    restart = site.inputs.observed.get("restart") or {}
    wait = (site.inputs.observed.get("wait") or {}).get("went_on") or {}
    return restart.get("sealed") is False or wait.get("sealed_at_start") is False


def fingerprints(site: Site) -> dict[str, str]:
    """Keyed fingerprints of what the Vault holds: each service's secrets, policies, AppRoles.

    :raises PhoenixError: without a key.
    """
    if not site.inputs.fingerprint_key:
        raise PhoenixError("no key to make fingerprints with")
    key = site.inputs.fingerprint_key.encode()
    vault = site.vault()
    found: dict[str, str] = {}
    granted = paths_of(site)
    for name, admission in site.admissions().items():
        for path in sorted(granted[name]):
            data = vault.read(path, admission.token)
            # A database credential says how long it is good for, which is never the same twice.
            kept = {k: v for k, v in data.items() if k != "ttl"}
            found[path] = fingerprint(key, canonical(kept))
    token = site.operator_token()
    for name in vault.listing("sys/policies/acl", token):
        if name != "root":  # has no text
            text = vault.read(f"sys/policies/acl/{name}", token).get("policy", "")
            found[f"policy {name}"] = fingerprint(key, text)
    for name in vault.listing("auth/approle/role", token):
        role = vault.read(f"auth/approle/role/{name}", token)
        found[f"AppRole {name}"] = fingerprint(key, canonical(role))
    return found


def wait_for_vault(site: Site, timeout: float) -> None:
    """Wait until the Vault's container runs and tells of its seal.

    :raises PhoenixError: with the reason why it does not.
    """

    def answers() -> bool:
        site.forget_containers()
        site.container(site.the("vault")["name"])
        return bool(site.vault().seal_status())

    wait_until(answers, timeout=timeout, what="the Vault to answer")


def wait_for_seal(site: Site, timeout: float) -> dict[str, Any]:
    """The seal of a Vault that answers; one that opens itself is given the time to do it.

    An open one is settled once it is active: until then it refuses every login.
    """

    def settled() -> bool:
        status = site.vault().seal_status()
        return status.get("type") == "shamir" if status.get("sealed") else site.vault().active()

    with contextlib.suppress(PhoenixError):  # that it stays sealed is for the proofs
        wait_until(settled, timeout=timeout, what="the Vault to open itself")
    return site.vault().seal_status()


def stays_sealed(site: Site, seconds: float) -> bool:
    """Whether a sealed Vault is left alone for some time; nobody has given it a share by then."""

    def opened() -> bool:
        return not site.vault().seal_status().get("sealed")

    try:
        return not wait_until(opened, timeout=seconds, what="somebody to open the Vault")
    except PhoenixError:
        return bool(site.vault().seal_status().get("sealed"))


def settle(site: Site, timeout: float) -> None:
    """Wait until every service is healthy and has its secrets; what is not is for the proofs."""

    def settled() -> bool:
        site.forget_containers()
        healthy = all(site.container(name).health == "healthy" for name in site.services)
        return healthy and all(site.secrets_file(a).exists() for a in site.estate["agents"])

    with contextlib.suppress(PhoenixError):
        wait_until(settled, timeout=timeout, what="the services", interval=0.5)


def open_seal(site: Site, shares: Sequence[str], *, delay: float) -> None:
    """Wait a while and unseal the Vault.

    :raises PhoenixError: where it is not open in the end.
    """
    time.sleep(delay)
    answer = {"sealed": True}
    for share in shares:
        reply = site.vault().request("PUT", "sys/unseal", {"key": share})
        if not reply.ok:
            raise PhoenixError(f"a share was refused: {reply.text}")
        answer = reply.body
        if not answer.get("sealed"):
            return
    raise PhoenixError(f"{len(shares)} shares did not unseal the Vault")


def canonical(value: Any) -> str:
    """JSON that is the same for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
