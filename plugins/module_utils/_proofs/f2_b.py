# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.b: nobody finds the key and the crown in one place.

With the shares on one control node, that store does hold a quorum; what it must not hold beside it
is a root token. That no root token is alive is the server's own word: it lists every token that
there is. So a text that looks like one is asked about only where one is alive.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    limit,
    shapes,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import Store

__all__ = ["no_quorum_beside_the_root_token"]

_BY_ROOT = b'"policies":["root"]'
# Of a server whose root token was used very often the first and the latest are shown.
_SHOWN = 10


@proof("F2.b", searches=1)
def no_quorum_beside_the_root_token(site: Site) -> Record:
    """Ask the server for its root tokens, and every store for shares and for what may be one."""
    record = Record()
    status = site.vault().seal_status()
    threshold = int(status.get("t") or 0)
    found = site.alive()
    roots = [token for token in found if token.root]
    for token in roots:
        record.expect(
            False, f"a root token is alive since {token.since}: accessor {token.accessor}"
        )
    # To read what was migrated, this run has revoked what it found before it came to this proof.
    for accessor in (site.inputs.observed.get("migrated") or {}).get("forgotten") or ():
        record.expect(
            False, f"a root token was alive, forgotten, until this run revoked it: {accessor}"
        )
    with limit.within(site.inputs.search_timeout):
        places = [*site.inputs.stores, shapes.on_host(site)]
    for store in places:
        site.vocabulary.add(*store.tokens.values())
        _judge(site, record, store, threshold, alive=bool(roots))
    record.note(
        tokens_alive=len(found),
        root_tokens_alive=len(roots),
        seal={key: status.get(key) for key in ("type", "recovery_seal", "t", "n")},
        stores={store.name: _shown(store, threshold) for store in places},
        bootstrap=_bootstrap(site),
        root_in_the_audit_log=_audited(site),
    )
    record.expect(threshold, "the server does not say how many shares open it")
    if not site.inputs.stores and not record.faults:
        raise NotRunError("what the control node holds was not told", record.evidence)
    return record


def _judge(site: Site, record: Record, store: Store, threshold: int, *, alive: bool) -> None:
    held = [f"the file {path}" for path in store.root_files]
    if alive:
        held += [where for where, token in store.tokens.items() if _is_root(site, token)]
    quorum = 0 < threshold <= store.most
    beside = f" together with a quorum of shares ({store.most}, of which {threshold} open it)"
    for where in held:
        record.expect(
            False, f"{store.name} holds a root token, {where},{beside if quorum else ' alone'}"
        )


def _is_root(site: Site, token: str) -> bool:
    answer = site.vault().request("GET", "auth/token/lookup-self", token=token)
    return answer.ok and "root" in (answer.data.get("policies") or [])


def _shown(store: Store, threshold: int) -> dict[str, Any]:
    return {
        "shares_encrypted": store.encrypted,
        "shares_in_clear_by_their_shape": store.shares,
        "shares_waiting_for_custodians": store.offers,
        "quorum": 0 < threshold <= store.most,
        "files_of_a_root_token": store.root_files,
        "texts_of_the_shape_of_a_token": len(store.tokens),
    }


def _bootstrap(site: Site) -> str:
    """How far the bootstrap came, by the marker that it leaves on the host."""
    marker = Path(site.estate["root"]) / "vault" / "bootstrap.json"
    try:
        return str(json.loads(marker.read_bytes())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return "not on record"


def _audited(site: Site) -> list[dict[str, Any]]:
    """What the audit log, as far back as it reaches, says about root tokens and their ends."""
    seen: dict[str, dict[str, Any]] = {}
    for entry in _by_root(auditlog.entries(site, [_BY_ROOT])):
        name = str(entry["auth"].get("accessor", ""))
        request = entry.get("request") or {}
        about = seen.setdefault(
            name, {"accessor": name[:24], "first": entry.get("time"), "revoked": None}
        )
        about["last"] = entry.get("time")
        if request.get("path") == "auth/token/revoke-self" and not entry.get("error"):
            about["revoked"] = entry.get("time")
    return list(seen.values())[-_SHOWN:]


def _by_root(entries: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for entry in entries:
        auth = entry.get("auth") or {}
        if entry.get("type") == "response" and "root" in (auth.get("policies") or []):
            yield entry
