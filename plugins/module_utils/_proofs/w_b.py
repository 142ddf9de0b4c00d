# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""W.b: the estate comes back after a reboot, and while it is down the disk gives nothing away."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    disruption,
    sweep,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["comes_back"]

_CREDENTIAL_KEY = Path("/var/lib/systemd/credential.secret")
_TPM = Path("/dev/tpmrm0")


@proof("W.b", searches=1)
def comes_back(site: Site) -> Record:
    """Search the disks for secrets at rest; then judge the reboot, if there was one."""
    record = Record()
    found = site.sweep()
    # Services' secrets on a disk are H1.b's to tell, until a reboot has emptied the memory.
    everything = "reboot" in site.inputs.disturbed
    record.faults += sorted(
        str(find)
        for find in found.stored
        if everything or find.label.startswith((sweep.KEY, sweep.FOREIGN, sweep.SEAL))
    )
    record.faults += found.plain_swap
    record.note(
        at_rest={
            "looked_for": found.needles,
            "files_read": found.read,
            "file_systems": found.filesystems,
            "swap_not_read": found.swaps,
            "programs_not_read": found.programs,
            "packed_not_read": found.packed,
            "host_key": _host_key(record),
        }
    )
    if "reboot" not in site.inputs.disturbed:
        if record.faults:
            return record
        raise NotRunError(disruption.why_not(site, "reboot"), record.evidence)
    seen = disruption.observed(site, record, "reboot")
    if seen:
        _returned(site, record, seen)
    return record


def _host_key(record: Record) -> dict[str, Any]:
    present = _TPM.exists()
    usable, answer = _tpm_usable() if present else (False, "no TPM")
    record.expect(
        usable or not present,
        f"there is a TPM, and systemd cannot use it, so that nothing is bound to it: {answer}",
    )
    return {
        "sealed_by": "TPM" if usable else f"a key of this host in a file ({answer})",
        "file": str(_CREDENTIAL_KEY) if _CREDENTIAL_KEY.exists() else None,
    }


def _tpm_usable() -> tuple[bool, str]:
    """A device alone is not enough: systemd needs firmware, driver and libraries as well."""
    try:
        done = subprocess.run(
            ["systemd-creds", "has-tpm2"], capture_output=True, text=True, check=False, timeout=10
        )
    except OSError as error:
        return False, f"systemd-creds: {error.strerror}"
    return done.returncode == 0, " ".join(done.stdout.split()) or f"status {done.returncode}"


def _returned(site: Site, record: Record, seen: dict[str, Any]) -> None:
    before, after = seen.get("boot_before"), seen.get("boot_after")
    record.expect(before and after and before != after, "the host was not rebooted")
    healthy: dict[str, str] = {}
    for name in site.services:
        state = _state(site, name)
        healthy[name] = state
        record.expect(state == "healthy", f"{name} is {state} after the reboot")
    missing = [
        secret["service"]
        for secret in site.estate["agents"]
        if not site.secrets_file(secret).exists()
    ]
    record.expect(not missing, f"no secrets after the reboot for {', '.join(missing)}")
    seal = str(site.vault().seal_status().get("type")) if site.of_kind("vault") else None
    sealed = seen.get("sealed")
    record.expect(sealed is not None, "whether it was sealed after the reboot was not seen")
    if seal == "shamir":
        record.expect(
            sealed is not False, "the Vault was open after the reboot, before anybody gave a share"
        )
    elif seal is not None:
        record.expect(not sealed, f"the Vault did not open by its seal {seal!r} after the reboot")
    record.note(
        reboot={
            "seal": seal,
            "boot_before": before,
            "boot_after": after,
            "sealed_after": seen.get("sealed"),
            "seconds": seen.get("seconds"),
            "services": healthy,
        }
    )


def _state(site: Site, name: str) -> str:
    for container in site.containers():
        ours = container.project == site.estate["project"] and container.service == name
        if ours and not container.one_off:
            return container.health if container.running else "stopped"
    return "gone"
