# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.c: two audit devices, and both hear what happens."""

from __future__ import annotations

import uuid
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["audited"]

_DEVICES = 2


@proof("F2.c")
def audited(site: Site) -> Record:
    """Count the devices, then look for one request in the file and in the server's output."""
    record = Record()
    devices = _devices(site)
    record.expect(
        len(devices) >= _DEVICES, f"{len(devices)} audit device(s): {', '.join(devices) or 'none'}"
    )
    # The path of a request is logged as it is, so a path that nobody else asks for marks ours.
    marker = f"{site.estate['kv_mount']}/data/attest-{uuid.uuid4().hex}"
    answer = site.vault().request("GET", marker, token=site.host_token())
    found: dict[str, bool] = {}
    for name, path in (
        ("file", auditlog.log_file(site)),
        ("standard output", auditlog.device_file(site)),
    ):
        found[name] = auditlog.wait_for_path(path, marker.encode())
        record.expect(found[name], f"the request is not in the log of the {name} device")
    record.note(
        devices=devices,
        request={"path": marker, "answer": answer.status},
        found=found,
    )
    return record


def _devices(site: Site) -> dict[str, Any]:
    listed = site.vault().read("sys/audit", site.operator_token())
    return {
        name.rstrip("/"): {
            "type": entry.get("type"),
            "path": (entry.get("options") or {}).get("file_path"),
        }
        for name, entry in listed.items()
        if isinstance(entry, dict) and "type" in entry
    }
