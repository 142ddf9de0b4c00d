# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F1.a: every certificate was requested by this host, for a key made here, for this estate.

And whoever has one of them trusts the estate's root, and nobody else.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    bundles,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["made_not_copied"]

# The control node's clock is not the host's.
_SKEW = 120


@proof("F1.a")
def made_not_copied(site: Site) -> Record:
    """Find each bundle of the store in the authority's own list of what it has issued."""
    if not site.inputs.index:
        raise NotRunError("the control node gave no list of issued certificates")
    if not site.inputs.root:
        raise NotRunError("the control node gave no certificate of the estate's root")
    record = Record()
    issued = {int(entry["serial"], 16): entry for entry in site.inputs.index}
    seen: dict[str, Any] = {}
    for name, bundle in bundles.all_leaves(site.certs):
        seen[name] = _check(site, record, name, bundle, issued)
    present = {Path(name).parent.parent for name in seen}
    for certificate in site.estate["certificates"]:
        place = Path(certificate["path"])
        if record.expect(
            place.relative_to(site.certs) in present, f"{certificate['name']} has no bundle"
        ):
            # The bundle before may be from an earlier root of the estate.
            record.expect(
                _trusted(place / "current") == site.inputs.root.split(),
                f"ca.crt of {certificate['name']} is not the estate's root alone",
            )
    record.note(bundles=seen, issued_in_all=len(issued))
    site.need_birth(record)
    return record


def _check(
    site: Site, record: Record, name: str, bundle: Path, issued: dict[int, dict[str, Any]]
) -> dict[str, Any]:
    certificate = bundles.leaf(bundle)
    serial = format(certificate.serial_number, "x")
    entry = issued.get(certificate.serial_number)
    record.expect(
        bundles.matches_key(certificate, bundle), f"the key in {name} is not its certificate's"
    )
    if entry is None:
        record.expect(False, f"{name} was not issued by the estate's authority ({serial})")
        return {"serial": serial, "issued": None}
    when = datetime.datetime.fromisoformat(str(entry["issued"]))
    record.expect(
        bundles.spki(certificate.public_key()) == entry["spki"],
        f"{name} has another key than the authority signed",
    )
    record.expect(entry.get("csr"), f"the key of {name} was not made on the host")
    record.expect(
        entry.get("host") == site.estate["host"],
        f"{name} was issued for host {entry.get('host')!r}",
    )
    record.expect(
        when.timestamp() >= site.born() - _SKEW,
        f"{name} was issued {when.isoformat()}, before this estate was made",
    )
    return {"serial": serial, "issued": entry["issued"], "key_made_on_host": bool(entry.get("csr"))}


def _trusted(bundle: Path) -> list[str]:
    """The words of a bundle's ca.crt, nothing where there is none.

    Not what one reader makes of it: a block that this one passes over, another one may trust.
    """
    try:
        return (bundle / "ca.crt").read_text("utf-8", "surrogateescape").split()
    except FileNotFoundError:
        return []
