# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H3.c: what is served is the bundle that is in place, made since this estate was.

Where a deployment has asked for new certificates, every one has been issued since then. The time of
the question and that of each issue are both the control node's, so they compare to the second.
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    bundles,
    hop,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["fresh_certificates"]

# Certificates begin a little earlier than they are made, for clocks that are behind.
_BACKDATED = 900


@proof("H3.c")
def fresh_certificates(site: Site) -> Record:
    """Compare the serial of every handshake with the bundle, and its age with the estate's."""
    record = Record()
    born = site.born()
    context = tls.client_context(site.ca, site.identity("host"))
    served: dict[str, Any] = {}
    for name in site.services:
        result = hop.attempt(hop.target_of(site, name, logins=False), context, talk=_silent)
        if not record.expect(result.serial, f"{name} serves no certificate: {result.answer}"):
            continue
        leaf = bundles.leaf(site.certs / name / "current")
        current = format(leaf.serial_number, "x")
        begin = bundles.not_before(leaf)
        record.expect(
            result.serial == current,
            f"{name} serves {result.serial}, while its bundle holds {current}",
        )
        record.expect(
            begin.timestamp() >= born - _BACKDATED,
            f"the certificate of {name} began {begin.isoformat()}, before this estate was made",
        )
        served[name] = {
            "serial": result.serial,
            "not_before": begin.isoformat(),
            "not_after": bundles.not_after(leaf).isoformat(),
        }
    record.note(served=served, estate_made=site.born_text(), asked=_asked(site, record))
    site.need_birth(record)
    return record


def _asked(site: Site, record: Record) -> dict[str, Any]:
    """What the last deployment that asked for new certificates got."""
    if not site.inputs.renewed_since:
        return {"since": None}
    since = _moment(site.inputs.renewed_since)
    issued = {int(entry["serial"], 16): str(entry["issued"]) for entry in site.inputs.index}
    seen: dict[str, Any] = {}
    for certificate in site.estate["certificates"]:
        name = certificate["name"]
        serial = bundles.leaf(Path(certificate["path"]) / "current").serial_number
        when = issued.get(serial)
        seen[name] = when
        record.expect(
            when and _moment(when) >= since,
            f"{name} was asked to be new at {site.inputs.renewed_since}, and was issued "
            f"{when or 'by nobody knows whom'}",
        )
    return {"since": site.inputs.renewed_since, "issued": seen}


def _moment(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text)


def _silent(secured: Any, target: hop.Target) -> hop.Hop:
    """The handshake was all that was wanted."""
    return hop.Hop(hop.ADMITTED, "handshake")
