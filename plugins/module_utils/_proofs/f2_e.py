# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.e: what was moved to production is there, version by version."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["moved"]


@proof("F2.e")
def moved(site: Site) -> Record:
    """Judge what was read in production, before the proofs, by the shares that were at hand.

    It is read before, so that no token of a quorum lives while other proofs look for such tokens.

    :raises NotRunError: where nothing was moved, or nobody has let the shares be used.
    """
    objects = site.inputs.migrated
    if not objects:
        raise NotRunError("nothing was migrated")
    seen = site.inputs.observed.get("migrated")
    if seen is None:
        raise NotRunError(
            f"{len(objects)} objects were migrated; to read them takes a quorum of shares: run it "
            "with attest_by_shares=true"
        )
    record = Record()
    if record.expect("compared" in seen, f"nothing was read: {seen.get('problem')}"):
        for fault in seen["faults"]:
            record.expect(False, fault)
        record.note(compared=seen["compared"], objects=len(objects))
        total = sum(seen["compared"][kind] for kind in ("secret", "policy", "approle"))
        record.expect(total == len(objects), f"{total} of {len(objects)} objects were compared")
    return record
