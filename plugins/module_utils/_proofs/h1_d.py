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

# What a right to one thing that is there makes of it, by what it is. Whoever gets a SecretID of a
# neighbour, or sets its policies, is that neighbour.
_OF_APPROLES = (
    "secret-id",
    "secret-id/",
    "custom-secret-id",
    "role-id",
    "policies",
    "bind-secret-id",
)
_OF_SECRETS = ("data", "metadata", "delete", "undelete", "destroy")
_OF_LOGINS = ("static-roles", "static-creds", "rotate-role")
_OF_DATABASES = ("config", "rotate-root", "reset")


@proof("H1.d")
def own_paths_only(site: Site) -> Record:
    """With a token of each service in turn, and the host's, read every secret path."""
    granted = paths_of(site)
    everything = sorted(set().union(*granted.values()))
    if not everything:
        raise NotRunError("no service has a secret path")
    record = Record()
    seen: dict[str, Any] = {}
    powers = [*_POWERS, *_powers_there(site)]
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
        _may(site, record, admission, list(answers), powers)
        seen[name] = answers
    # After the AppRoles' turn: what is left alive of SecretIDs has been listed by then.
    seen["host"] = _host(site, record, [*everything, *_beyond(site)])
    record.note(answers=seen, asked_about=len({*everything, *_beyond(site), *powers}))
    return record


def _may(
    site: Site, record: Record, admission: Admission, tried: list[str], powers: list[str]
) -> None:
    """By the server's own word: besides what was tried, which is reading, nothing."""
    who, asked = admission.service, {"paths": [*tried, *powers]}
    answer = site.vault().request("PUT", "sys/capabilities-self", asked, token=admission.token)
    if not record.expect(answer.ok, f"nobody knows what {who} may do: {answer.text}"):
        return
    read = {*tried}
    for path in dict.fromkeys(asked["paths"]):
        found = {*(answer.data.get(path) or ["(nobody knows what)"])} - {"deny"}
        more = sorted(found - {"read"} if path in read else found)
        record.expect(not more, f"{who} may {', '.join(more)} {path}")


def _powers_there(site: Site) -> list[str]:
    """The same under the names of what there is, for a right may be to a single one."""

    def below(listed: str) -> list[str]:
        # Of a folder the operator sees the name alone, which stands for whatever is in it.
        names = site.vault().listing(listed, site.operator_token())
        return [f"{name}attest" if name.endswith("/") else name for name in names]

    kv = site.estate["kv_mount"]
    secrets = {*below(f"{kv}/metadata"), *site.estate["kv_paths"]}
    roles = below("auth/approle/role")
    logins, databases = below("database/static-roles"), below("database/config")
    return [
        *(f"auth/approle/role/{name}/{what}" for name in roles for what in _OF_APPROLES),
        *(f"sys/policies/acl/{name}" for name in below("sys/policies/acl")),
        *(f"auth/cert/certs/{name}" for name in below("auth/cert/certs")),
        *(f"{kv}/{what}/{path}" for path in sorted(secrets) for what in _OF_SECRETS),
        *(f"database/{what}/{name}" for name in logins for what in _OF_LOGINS),
        *(f"database/{what}/{name}" for name in databases for what in _OF_DATABASES),
    ]


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
