# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H1.d: a service's token opens its own paths, and no neighbour's; the host's opens none."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Admission, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import Answer

__all__ = ["own_paths_only"]

# What makes somebody more than he is, under names that nobody has.
_POWERS = (
    *("auth/token/create", "auth/token/create-orphan", "sys/raw/attest"),
    *("sys/policies/acl/attest", "sys/auth/attest", "sys/mounts/attest", "identity/entity"),
    *("auth/approle/role/attest", "auth/approle/role/attest/secret-id", "auth/cert/certs/attest"),
    *("sys/generate-root-token/attempt", "sys/storage/raft/snapshot"),
)


@proof("H1.d")
def own_paths_only(site: Site) -> Record:
    """With a token of each service in turn, and the host's, read every secret path."""
    granted = paths_of(site)
    everything = sorted(set().union(*granted.values()))
    if not everything:
        raise NotRunError("no service has a secret path")
    record = Record()
    seen: dict[str, Any] = {}
    for name, admission in site.admissions().items():
        if not record.expect(admission.token, f"{name} got no token through its AppRole"):
            continue
        answers = {}
        for path in [*everything, *_beyond(site)]:
            answer = site.vault().request("GET", path, token=admission.token)
            answers[path] = answer.status
            if path in granted[name]:
                record.expect(
                    answer.ok and answer.data, f"{name} cannot read its own {path}: {answer.text}"
                )
            else:
                record.expect(
                    answer.status == HTTPStatus.FORBIDDEN,
                    f"{name} is not refused {path}: {answer.text}",
                )
        _may(site, record, admission, list(answers))
        seen[name] = answers
    # After the AppRoles' turn: what is left alive of SecretIDs has been listed by then.
    seen["host"] = _host(site, record, [*everything, *_beyond(site)])
    record.note(answers=seen)
    return record


def _may(site: Site, record: Record, admission: Admission, tried: list[str]) -> None:
    """By the server's own word: besides what was tried, which is reading, nothing."""
    asked = {"paths": [*tried, *_POWERS]}
    answer = site.vault().request("PUT", "sys/capabilities-self", asked, token=admission.token)
    for path in asked["paths"]:
        found = {*(answer.data.get(path) or [f"(nobody knows: {answer.text})"])} - {"deny"}
        more = sorted(found - {"read"} if path in tried else found)
        record.expect(not more, f"{admission.service} may {', '.join(more)} {path}")


def _host(site: Site, record: Record, paths: list[str]) -> dict[str, int]:
    """The host asks for wrapped SecretIDs of its services, and sees no secret itself."""
    token = site.host_token()
    answers: dict[str, int] = {}
    for path in paths:
        answer = site.vault().request("GET", path, token=token)
        answers[path] = answer.status
        record.expect(
            answer.status == HTTPStatus.FORBIDDEN, f"the host is not refused {path}: {answer.text}"
        )
    for role in site.estate["approles"]:
        path = f"auth/approle/role/{role['name']}/secret-id"
        answer = site.vault().request("PUT", path, {}, token=token)
        answers[f"{path} unwrapped"] = answer.status
        if not record.expect(
            answer.status == HTTPStatus.FORBIDDEN,
            f"the host is not refused a SecretID of {role['name']} in clear: {answer.text}",
        ):
            _discard(site, path, answer)
    return answers


def _discard(site: Site, path: str, answer: Answer) -> None:
    """What the host should not have been given must not live on."""
    site.vocabulary.add(str(answer.data.get("secret_id", "")))
    accessor = answer.data.get("secret_id_accessor")
    if accessor:
        site.vault().request(
            "PUT",
            f"{path}-accessor/destroy",
            {"secret_id_accessor": accessor},
            token=site.operator_token(),
        )


def paths_of(site: Site) -> dict[str, set[str]]:
    """What each AppRole may read, derived from what its service is declared to use."""
    granted: dict[str, set[str]] = {}
    for role in site.estate["approles"]:
        service = site.services[role["name"]]
        kv = {f"{site.estate['kv_mount']}/data/{path}" for path in service["kv"]}
        roles = {
            login["static_role"]
            for login in site.estate["logins"]
            if service["name"] in login["services"]
        }
        granted[role["name"]] = kv | {f"database/static-creds/{item}" for item in roles}
    return granted


def _beyond(site: Site) -> list[str]:
    """Paths that no service may read: how others get in, and what the server is made of."""
    roles = [role["name"] for role in site.estate["approles"]]
    return [
        *(f"auth/approle/role/{name}" for name in roles),
        "sys/policies/acl/operator",
        "sys/audit",
        "auth/cert/certs/operator",
    ]
