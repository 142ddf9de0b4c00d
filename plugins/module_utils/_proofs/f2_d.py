# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.d: the settings role waits for a sealed server, says so, and goes on once it is open."""

from __future__ import annotations

import re

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    disruption,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["waits_while_sealed"]


@proof("F2.d")
def waits_while_sealed(site: Site) -> Record:
    """Judge the two runs of the settings role that the attest role made while it was sealed."""
    site.the("vault")
    if "restart" not in site.inputs.disturbed:
        raise NotRunError(disruption.why_not(site, "restart"))
    if site.vault().seal_status().get("type") != "shamir":
        raise NotRunError("the server opens its seal by itself, so there is no wait to see")
    if disruption.opened_early(site):
        raise NotRunError("the Vault was opened before the wait had ended; F2.a judges that")
    record = Record()
    seen = disruption.observed(site, record, "wait")
    if not seen:
        return record
    refused, opened = seen.get("timed_out") or {}, seen.get("went_on") or {}
    record.expect(
        refused.get("failed") is True, "the settings role did not fail while it was sealed"
    )
    text = str(refused.get("message", ""))
    record.expect(
        re.search(r"\bsealed\b", text, re.IGNORECASE), f"its message does not say sealed: {text!r}"
    )
    waited = float(refused.get("seconds") or 0)
    record.expect(
        waited >= float(refused.get("limit") or 0),
        f"it gave up after {waited:g} s, before its limit of {refused.get('limit')} s",
    )
    record.expect(
        opened.get("sealed_at_start") is True, "whether the second run began sealed was not seen"
    )
    record.expect(
        opened.get("failed") is False,
        f"it did not go on after the unseal: {opened.get('message', '')}",
    )
    record.note(timed_out=refused, went_on=opened)
    return record
