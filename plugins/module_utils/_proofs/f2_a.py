# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.a: the Vault is a production server, stays sealed until it is unsealed, and loses nothing."""

from __future__ import annotations

from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    disruption,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["production_server"]

_DEV_ENVIRONMENT = ("DEV_ROOT_TOKEN_ID", "DEV_LISTEN_ADDRESS", "LOCAL_CONFIG")


@proof("F2.a")
def production_server(site: Site) -> Record:
    """Ask the server what it is, and look at how it was started; then at what a restart did."""
    service = site.the("vault")
    container = site.container(service["name"])
    status = site.vault().seal_status()
    record = Record()
    seen = {key: status.get(key) for key in ("type", "storage_type", "initialized", "sealed")}
    seen |= {
        "threshold": status.get("t"),
        "shares": status.get("n"),
        "version": status.get("version"),
    }
    record.expect(seen["initialized"] is True, "the server is not initialised")
    record.expect(seen["sealed"] is False, "the server is sealed")
    record.expect(
        seen["storage_type"] == "raft", f"its storage is {seen['storage_type']}, not raft"
    )
    record.expect(
        not any(part.startswith("-dev") for part in container.command),
        f"it was started in dev mode: {' '.join(container.command)}",
    )
    dev = sorted(name for name in container.environment if name.endswith(_DEV_ENVIRONMENT))
    record.expect(not dev, f"its environment sets {', '.join(dev)}")
    for guess in ("root", "dev-only-token"):
        answer = site.vault().request("GET", "auth/token/lookup-self", token=guess)
        record.expect(not answer.ok, f"the token {guess!r} of dev servers is good")
    record.note(server=seen, command=container.command, dev_tokens="refused")
    _restart(site, record)
    return record


def _restart(site: Site, record: Record) -> None:
    """Judge what the role saw when it restarted the server.

    :raises NotRunError: where it was not allowed to, and nothing speaks against the claim so far.
    """
    if "restart" not in site.inputs.disturbed:
        if not record.faults:
            raise NotRunError(disruption.why_not(site, "restart"), record.evidence)
        return
    seen: dict[str, Any] = disruption.observed(site, record, "restart")
    if not seen:
        return
    shamir = record.evidence["server"]["type"] == "shamir"
    if shamir:
        record.expect(
            seen.get("sealed") is True and not disruption.opened_early(site),
            "it was not sealed after its restart until the shares at hand were given",
        )
    before, after = seen.get("fingerprints") or {}, disruption.fingerprints(site)
    record.expect(before, "nothing was fingerprinted before the restart")
    lost = sorted(name for name in before if name not in after)
    other = sorted(name for name in before if name in after and before[name] != after[name])
    record.expect(not lost, f"gone after the restart: {', '.join(lost)}")
    record.expect(not other, f"not the same after the restart: {', '.join(other)}")
    record.note(
        restart={
            "sealed_after": seen.get("sealed"),
            "started_before": seen.get("started_before"),
            "started_after": seen.get("started_after"),
            "compared": sorted(before),
        }
    )
    record.expect(
        seen.get("started_before") != seen.get("started_after"), "the server was not restarted"
    )
