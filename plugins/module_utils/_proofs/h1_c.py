# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H1.c: no SecretID outlives its one use."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    bootstrap,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Admission, Site

__all__ = ["secret_ids_spent"]


@proof("H1.c")
def secret_ids_spent(site: Site) -> Record:
    """The bootstrap's SecretIDs are gone; one that the proof uses is good once and not again."""
    record = Record()
    leftovers = site.leftovers()
    for name, accessors in leftovers.items():
        for accessor in accessors:
            record.expect(False, f"a SecretID of {name} is alive, accessor {accessor}")
    record.note(
        alive_before_the_proof={name: len(found) for name, found in leftovers.items()},
        bootstrap=_bootstrap(site, record),
        tried={name: _tried(item, record) for name, item in site.admissions().items()},
    )
    return record


def _bootstrap(site: Site, record: Record) -> dict[str, Any]:
    """The SecretIDs that were issued since the estate was made, looked up on the server."""
    roles = {agent["service"]: agent["approle"] for agent in site.estate["agents"]}
    seen: dict[str, Any] = {}
    for name, accessors in bootstrap.accessors(site).items():
        record.expect(accessors, f"no issue of a SecretID to {name} is on record")
        answers = {item: site.accessor_lookup(roles[name], item) for item in accessors}
        for accessor, answer in answers.items():
            record.expect(
                answer.status == HTTPStatus.NOT_FOUND,
                f"a SecretID that {name} was given is not spent: {accessor} {answer.text}",
            )
        seen[name] = {accessor: answer.status for accessor, answer in answers.items()}
    return seen


def _tried(item: Admission, record: Record) -> dict[str, Any]:
    before, login, again, after = item.before, item.login, item.again, item.after
    name = item.service
    record.expect(before.ok, f"a new SecretID of {name} is unknown to the server: {before.text}")
    record.expect(login.ok, f"a new SecretID of {name} does not log in: {login.text}")
    record.expect(
        not again.auth and again.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN),
        f"a SecretID of {name} logged in a second time: {again.text}",
    )
    record.expect(
        after.status == HTTPStatus.NOT_FOUND,
        f"the accessor of a spent SecretID of {name} is still there: {after.text}",
    )
    return {
        "accessor": item.accessor,
        "accessor_before_login": before.status,
        "first_login": login.status,
        "second_login": again.text,
        "accessor_after_login": after.status,
        "token_policies": login.auth.get("token_policies") or [],
        "token_ttl": login.auth.get("lease_duration"),
    }
