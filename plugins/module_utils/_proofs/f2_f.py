# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.f: a snapshot of the Vault, put into an empty server, is the Vault again."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import disruption, vaultcopy
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.h1_d import paths_of
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["snapshot_restored"]

_WAIT = 60.0
_NAME = "tamshai-attest-copy"
_RESTORE = "sys/storage/raft/snapshot-force"
_ROLES = "auth/approle/role"
_LISTED = (
    "sys/policies/acl",
    _ROLES,
    "auth/cert/certs",
    "database/config",
    "database/static-roles",
)
_NO_TEXT = "sys/policies/acl/root"
_MOMENTS = frozenset({"ttl"})  # how long a database credential is good for, as of now


@proof("F2.f", bound=150)
def snapshot_restored(site: Site) -> Record:
    """Take a snapshot, put it into an empty node without a network, open that, compare."""
    if "copy" not in site.inputs.disturbed:
        raise NotRunError(disruption.why_not(site, "copy"))
    site.containers()  # before there is one more of them for a while
    record = Record()
    plan, kind = _plan(site)
    # Their tokens are in the snapshot, so they are good on the copy, too: nobody has to be root.
    tokens = {name: item.token for name, item in site.admissions().items()}
    key = secrets.token_bytes(32)
    live = content(site, site.vault(), tokens, key)
    snapshot = _snapshot(site)
    begun = time.monotonic()
    with vaultcopy.started(plan) as copy:
        _restore(site, copy, snapshot, plan, kind)
        restored = content(site, copy, tokens, key)
    compare(record, live, restored)
    record.note(
        snapshot_bytes=len(snapshot),
        seconds_of_the_copy=round(time.monotonic() - begun, 1),
        image=plan.image,
        network="none",
        seal=kind or "shamir",
        compared=sorted(live),
    )
    return record


def compare(record: Record, live: dict[str, str], restored: dict[str, str]) -> None:
    """Note a fault for whatever is not the same."""
    record.expect(live, "there is nothing to compare")
    for name in sorted({*live, *restored}):
        if name not in restored:
            record.expect(False, f"{name} is not in the restored copy")
        elif name not in live:
            record.expect(False, f"{name} is in the restored copy and not in the Vault")
        else:
            record.expect(
                live[name] == restored[name], f"{name} is another one in the restored copy"
            )


def _plan(site: Site) -> tuple[vaultcopy.Plan, str]:
    """What the copy is made of, and the kind of its seal where it opens itself."""
    service = site.the("vault")
    container = site.container(service["name"])
    status = site.vault().seal_status()
    folder = Path(container.source_of("/config"))
    kind, stanza = vaultcopy.seal_stanza((folder / "server.hcl").read_text(encoding="utf-8"))
    if status.get("recovery_seal") and kind != "static":
        raise NotRunError(f"the copy has no network, and its seal ({kind}) is elsewhere")
    missing = int(status.get("t") or 0) - len(site.inputs.shares)
    if not status.get("recovery_seal") and missing > 0:
        raise NotRunError(
            f"{missing} of the {status.get('t')} shares that open the copy are not at hand"
        )
    devices = site.vault().read("sys/audit", site.operator_token())
    logs = {
        str(Path(path).parent)
        for device in devices.values()
        if (path := device["options"].get("file_path", "")).startswith("/")
    }
    static = bool(status.get("recovery_seal"))
    plan = vaultcopy.Plan(
        name=_NAME,
        image=str(container.inspected["Config"]["Image"]),
        binary=container.command[0],
        user=f"{service['uid']}:{service['gid']}",
        folder=Path(site.estate["run"]) / "attest-copy",
        config=vaultcopy.configuration(devices, stanza if static else ""),
        memory=sorted(logs),
        seal=container.source_of("/run/tamshai") if static else "",
    )
    return plan, kind if static else ""


def _snapshot(site: Site) -> bytes:
    status, data = site.vault().raw("GET", "sys/storage/raft/snapshot", token=site.operator_token())
    if status != 200 or not data:
        raise PhoenixError(f"the Vault gives no snapshot: {status}")
    return data


def _restore(site: Site, copy: VaultApi, snapshot: bytes, plan: vaultcopy.Plan, kind: str) -> None:
    """From an empty server to one that serves what is in the snapshot."""
    sort = "recovery" if kind else "secret"
    made = copy.request("PUT", "sys/init", {f"{sort}_shares": 1, f"{sort}_threshold": 1})
    if not made.ok:
        raise PhoenixError(f"the copy cannot be initialised: {made.text}")
    root, shares = str(made.body["root_token"]), list(made.body.get("keys") or [])
    site.vocabulary.add(root, *shares)
    if not kind:
        _open(copy, shares)
    wait_until(copy.active, timeout=_WAIT, what="the empty copy to be active")
    status, said = copy.raw("POST", _RESTORE, snapshot, token=root)
    if status >= 300:
        raise PhoenixError(
            f"the copy refuses the snapshot: {status} {said[:200].decode(errors='replace').strip()}"
        )
    token = site.operator_token()
    # It takes some seconds, and seals itself where it has other keys now. What it remembers of the
    # old ones, such as the number of shares, it forgets in a restart.
    wait_until(
        lambda: bool(copy.seal_status().get("sealed")) or _knows(copy, token),
        timeout=_WAIT,
        what="the copy to take the snapshot",
    )
    vaultcopy.restart(plan)
    if not kind:
        _open(copy, list(site.inputs.shares))
    wait_until(
        lambda: copy.active() and _knows(copy, token),
        timeout=_WAIT,
        what="the copy to serve what is in the snapshot",
    )


def _knows(copy: VaultApi, token: str) -> bool:
    """Whether the copy takes a token of the live Vault, which only the snapshot can bring."""
    return copy.request("GET", "auth/token/lookup-self", token=token).ok


def _open(copy: VaultApi, shares: list[str]) -> None:
    for share in shares:
        answer = copy.request("PUT", "sys/unseal", {"key": share})
        if not answer.ok:
            raise PhoenixError(f"the shares at hand do not open the copy: {answer.text}")
        if not answer.body.get("sealed"):
            return
    raise PhoenixError("the shares at hand do not open the copy")


def content(site: Site, vault: VaultApi, tokens: dict[str, str], key: bytes) -> dict[str, str]:
    """A keyed fingerprint of everything in a server that may be read, by name."""
    return {
        name: fingerprint(key, disruption.canonical(value))
        for name, value in _content(site, vault, tokens)
    }


def _content(site: Site, vault: VaultApi, tokens: dict[str, str]) -> Iterator[tuple[str, Any]]:
    token = site.operator_token()
    yield "cluster", vault.seal_status().get("cluster_id")
    for base in ("sys/mounts", "sys/auth", "sys/audit"):
        for path, about in vault.read(base, token).items():
            yield f"{base}/{path}", about
    for base in _LISTED:
        for name in vault.listing(base, token):
            path = f"{base}/{name}"
            if path != _NO_TEXT:
                yield path, _settings(vault.read(path, token))
            if base == _ROLES:
                yield f"role_id {name}", vault.read(f"{base}/{name}/role-id", token)
    yield from _secrets(site, vault, tokens)


def _secrets(site: Site, vault: VaultApi, tokens: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The history of all of them, and what services may read of them, every version."""
    mount, token = site.estate["kv_mount"], site.operator_token()
    versions: dict[str, Any] = {}
    for path in vault.listing(f"{mount}/metadata", token):
        if path.endswith("/"):  # the operator does not see what is in a folder
            yield f"{mount}/metadata/{path}", None
            continue
        about = vault.read(f"{mount}/metadata/{path}", token)
        versions[f"{mount}/data/{path}"] = about["versions"]
        yield f"{mount}/metadata/{path}", about
    for service, paths in paths_of(site).items():
        for path in sorted(paths):
            for number, state in sorted(versions.get(path, {"": {}}).items()):
                if not state.get("deletion_time") and not state.get("destroyed"):
                    query = f"{path}?version={number}" if number else path
                    yield f"{query} as {service}", _settings(vault.read(query, tokens[service]))


def _settings(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name not in _MOMENTS}
