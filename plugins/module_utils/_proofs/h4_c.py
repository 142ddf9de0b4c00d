# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H4.c: database passwords rotate and nobody notices; no login gets round row level security."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["rotates_unnoticed"]

_SEEN = ("before", "turns", "load", "after", "old_passwords")


@proof("H4.c")
def rotates_unnoticed(site: Site) -> Record:
    """Judge what was seen while each login was rotated under load; see :mod:`rotation`."""
    site.the("postgresql")
    seen = site.inputs.observed.get("rotation")
    if not seen:
        raise NotRunError("needs attest_rotation=true (rotates database passwords)")
    if seen.get("not_run"):
        raise NotRunError(str(seen["not_run"]))
    record = Record(dict(seen.get("evidence") or {}), [str(text) for text in seen["faults"]])
    if not record.faults:
        missing = [name for name in _SEEN if not record.evidence.get(name)]
        record.expect(not missing, f"nothing was seen of {', '.join(missing)}")
    return record
