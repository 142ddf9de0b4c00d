# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H1.b: secrets came through the service's own AppRole, and are nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    ages,
    auditlog,
    limit,
    scan,
    sweep,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import PURPOSE, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errand

__all__ = ["secrets_where_they_belong"]

# What the proof of paths reads, to see whether it can; what it should not be able to is its own.
_OURSELVES = "the proofs"
_MIGRATION = "the migration"
_ERRANDS = {"attest": _OURSELVES, "migration": _MIGRATION}
# The name that the server gives to who logs in there, and to no token that is made by another one.
_APPROLE = "approle"


@proof("H1.b", searches=2)
def secrets_where_they_belong(site: Site) -> Record:
    """Look at each service's secrets, at who read them from Vault, and everywhere else for them."""
    record = Record()
    record.note(delivered=_delivered(site, record), readers=_readers(site, record))
    wanted = [
        needle
        for needle in sweep.needles(site)
        if not needle.label.startswith((sweep.KEY, sweep.FOREIGN))
    ]
    labels = {needle.label for needle in wanted}
    record.expect(
        any(label.endswith("/CANARY") for label in labels), "there is no canary to look for"
    )
    leaks = sweep.inspected(site, wanted)
    owners = sweep.owners_of(site)
    in_processes, processes = scan.processes(wanted, lambda item: owners.get(item, ""))
    with limit.within(site.inputs.search_timeout):
        in_journal = scan.journal(wanted, since=site.born())
    # Last, since another proof makes this search meanwhile.
    found = site.sweep()
    leaks += [str(find) for find in [*in_processes, *in_journal]] + found.of(labels.__contains__)
    record.faults += sorted(leaks) + found.plain_swap
    record.note(
        looked_for=sorted(labels),
        since=site.born_text(),
        files_read=found.read,
        file_systems=found.filesystems,
        swap_not_read=found.swaps,
        programs_not_read=found.programs,
        packed_not_read=found.packed,
        containers=len(site.containers()),
        processes=processes,
        journal="all fields since the estate was made",
        controls="each search found the control that was planted for it",
        memory_limits=limits(site),
    )
    return record


def _delivered(site: Site, record: Record) -> dict[str, Any]:
    """The secrets file of each service: whose it is, who may read it, what it holds."""
    held: dict[str, set[str]] = {}
    for secret in site.secrets():
        if record.expect(secret.value.strip(), f"{secret.label} is empty"):
            held.setdefault(secret.service, set()).add(secret.name)
    table = scan.mounts()
    delivered: dict[str, Any] = {}
    for agent in site.estate["agents"]:
        service, path = agent["service"], site.secrets_file(agent)
        status = path.stat()
        mode = stat.S_IMODE(status.st_mode)
        kind = _filesystem(table, path)
        missing = sorted(set(agent["secrets"]) - held.get(service, set()))
        record.expect(not missing, f"{service} lacks {', '.join(missing)}")
        record.expect(kind == "tmpfs", f"{path} is on {kind}, not in memory")
        record.expect(
            status.st_uid == agent["uid"] and mode == 0o400,
            f"{path} has owner {status.st_uid} and mode {mode:04o}, not {agent['uid']} and 0400",
        )
        delivered[service] = {
            "file": str(path),
            "owner": status.st_uid,
            "mode": f"{mode:04o}",
            "file_system": kind,
            "names": sorted(held.get(service, set())),
        }
    return delivered


def _filesystem(table: list[scan.Mount], path: Path) -> str:
    real = os.path.realpath(path)
    holders = [m for m in table if real.startswith(m.point.rstrip("/") + "/")]
    return max(holders, key=lambda m: len(m.point)).kind if holders else "nothing known"


def _readers(site: Site, record: Record) -> dict[str, Any]:
    """Who read the secret paths, by the Vault's own audit log: each service's AppRole, alone."""
    readers: dict[str, dict[str, int]] = {}
    for path, reader in _reads(site):
        readers.setdefault(path, {}).setdefault(reader, 0)
        readers[path][reader] += 1
    for agent in site.estate["agents"]:
        for path in sorted({p for s in agent["secrets"].values() for p in _paths(site, s)}):
            record.expect(
                f"AppRole {agent['approle']}" in readers.get(path, {}),
                f"no read of {path} by AppRole {agent['approle']} is in the audit log",
            )
    allowed, gone = _allowed(site), _gone(site)
    for path, who in readers.items():
        for reader in sorted(who.keys() - allowed.get(path, gone) - {_OURSELVES}):
            record.expect(
                False, f"{path} was read by {reader}{_hint(site, path in allowed, reader)}"
            )
    return readers


def _allowed(site: Site) -> dict[str, set[str]]:
    """Who may have read each path."""
    allowed: dict[str, set[str]] = {}
    for agent in site.estate["agents"]:
        for source in agent["secrets"].values():
            for path in _paths(site, source):
                allowed.setdefault(path, set()).add(f"AppRole {agent['approle']}")
    # What was moved here was read back as root, by the module that did it, while it did it.
    for entry in site.inputs.migrated.values():
        if "path" in entry:
            allowed.setdefault(f"{entry['mount']}/data/{entry['path']}", set()).add(_MIGRATION)
    return allowed


def _hint(site: Site, used: bool, reader: str) -> str:
    """What to declare, if the reader is of a service that is gone."""
    _kind, is_role, name = reader.partition("AppRole ")
    if used or not is_role or name in {agent["approle"] for agent in site.estate["agents"]}:
        return ""
    return (
        f" (of a service that is gone? vault_settings_purge: [{{kind: approle, names: [{name}]}}])"
    )


def _gone(site: Site) -> set[str]:
    """Who may have read what is no service's any more: services that are gone, by their names."""
    declared = {agent["approle"] for agent in site.estate["agents"]}
    return {f"AppRole {name}" for name in {*site.inputs.others.get("gone", [])} - declared}


def _paths(site: Site, source: dict[str, str]) -> list[str]:
    """Where a secret comes from: of two logins that take turns, both are read."""
    if "kv" in source:
        return [f"{site.estate['kv_mount']}/data/{source['kv']}"]
    roles = [source[key] for key in ("static_role", "turns_with") if key in source]
    return [f"database/static-creds/{role}" for role in roles]


def _reads(site: Site) -> Iterator[tuple[str, str]]:
    """Successful reads of secret paths: path, and the AppRole or the name that read it."""
    prefixes = (f"{site.estate['kv_mount']}/data/", "database/static-creds/")
    for entry in auditlog.entries(site, [prefix.encode() for prefix in prefixes]):
        request = entry.get("request") or {}
        path = str(request.get("path", ""))
        if (
            entry.get("type") == "response"
            and request.get("operation") == "read"
            and path.startswith(prefixes)
            and not entry.get("error")
            and _answered(entry.get("response") or {})
        ):
            yield path, _reader(site, entry)


def _answered(response: dict[str, Any]) -> bool:
    """A wrapped answer holds nothing but its wrapping token, and is read all the same."""
    return bool(response.get("data") or response.get("wrap_info"))


def _reader(site: Site, entry: dict[str, Any]) -> str:
    """Whose token it was. What metadata say anybody can say who may make tokens of his own."""
    auth = entry.get("auth") or {}
    name, metadata = str(auth.get("display_name") or ""), auth.get("metadata") or {}
    if name == _APPROLE and metadata.get("role_name"):
        ours = metadata.get(PURPOSE) == "attest"
        return _OURSELVES if ours else f"AppRole {metadata['role_name']}"
    key, at = site.inputs.migration_key.encode(), ages.moment(entry.get("time"))
    said = errand.purpose_of(key, metadata, at) if at else ""
    return _ERRANDS.get(said) or name or "somebody unnamed"


def limits(site: Site) -> dict[str, Any]:
    """Memory limits as declared, and whether this host's kernel holds them."""
    enforced = bool(site.info().get("MemoryLimit"))
    note = "" if enforced else "not enforced: the kernel gives this host no memory controller"
    return {
        "enforced": enforced,
        "note": note,
        "declared": {name: service["memory"] for name, service in sorted(site.services.items())},
    }
