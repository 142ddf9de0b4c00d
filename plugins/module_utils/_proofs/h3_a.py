# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H3.a: every hop is mutual TLS, and only declared callers get through."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    access,
    foreign,
    hop,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Container
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.hop import (
    ADMITTED,
    REFUSED,
    Credential,
    Hop,
    Target,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["every_hop"]

_MODERN = frozenset({"TLSv1.2", "TLSv1.3"})
_WORKERS = 8

# An application's environment says whom it verifies and admits. No hop from here shows whether it
# verifies those that it calls. What takes effect without having been declared:
_NOT_VERIFYING = ("NODE_TLS_REJECT_UNAUTHORIZED", "PYTHONHTTPSVERIFY", "VAULT_SKIP_VERIFY")
# The same, though an image may have its own: what else is trusted, or run.
_TRUSTING = (
    *("CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "OPENSSL_CONF", "PGSSLMODE", "PGSSLROOTCERT"),
    *("REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "VAULT_CACERT", "VAULT_CAPATH"),
    *("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "LD_PRELOAD", "NODE_OPTIONS", "PYTHONPATH"),
)
# Settings whose values a report may show; that of another variable may have a password in it.
_SHOWN = re.compile(r"MCP_(TLS|ALLOWED)_\w+|\w+_SSL(_\w+)?|NODE_ENV|" + "|".join(_NOT_VERIFYING))

Trial = tuple[str, Callable[[], Hop], str]


@proof("H3.a")
def every_hop(site: Site) -> Record:
    """Go through every pair of a principal and a service, and to every door as a stranger."""
    record = Record()
    targets = {name: hop.target_of(site, name) for name in site.services}
    trials: list[Trial] = []
    skipped: dict[str, str] = {}
    for probe in site.estate["probes"]:
        target = targets[probe["to"]]
        made = _trials_of(site, probe, target)
        if not made:
            skipped[f"{probe['from']} -> {probe['to']}"] = probe["expect"]
        trials += made
    for target in targets.values():
        trials += _strangers(site, target)
    with ThreadPoolExecutor(_WORKERS) as pool:
        hops = list(pool.map(lambda trial: trial[1](), trials))
        offers = dict(zip(targets, pool.map(partial(_old_tls), targets.values()), strict=True))
    _judge(site, record, trials, hops)
    for service in site.of_kind("postgresql"):
        access.judge_rules(site, record, service, tls=True)
    for name, (accepted, answer) in offers.items():
        record.expect(not accepted, f"{name} accepts TLS 1.1: {answer}")
    told = {
        service["name"]: _told(site, service, record) for service in site.of_kind("application")
    }
    record.note(
        who_gets_in=_matrix(site, trials, hops),
        hops={trial[0]: result.as_dict() for trial, result in zip(trials, hops, strict=True)},
        tls_1_1={name: answer for name, (_unused, answer) in offers.items()},
        told=told,
        not_tried=list(skipped),
    )
    declared = [name for name, expect in skipped.items() if expect == "allow"]
    if declared and not record.faults:
        raise NotRunError(
            f"declared calls that could not be tried: {', '.join(declared)}", record.evidence
        )
    return record


def _told(site: Site, service: dict[str, Any], record: Record) -> dict[str, str | None]:
    """The environment of a running application, as far as it can change whom it verifies."""
    box = site.container(service["name"])
    wanted = dict(service["environment"])
    more = [
        key for key in (*_NOT_VERIFYING, *_TRUSTING) if key in box.environment and key not in wanted
    ]
    found = {key: box.environment.get(key) for key in (*wanted, *more)}
    if more:
        of_image = Container(site.engine.get(f"/images/{box.inspected['Image']}/json")).environment
        wanted |= {key: of_image[key] for key in more if key in _TRUSTING and key in of_image}
    told: dict[str, str | None] = {}
    for key, value in found.items():
        shown = _SHOWN.fullmatch(key)
        as_declared = value == wanted.get(key)
        told[key] = value if shown else "as declared" if as_declared else "another"
        record.expect(
            as_declared,
            f"{service['name']} runs with {key}={value!r}, declared is {wanted.get(key)!r}"
            if shown
            else f"{service['name']} runs with another {key} than is declared",
        )
    return told


def _matrix(site: Site, trials: list[Trial], hops: list[Hop]) -> dict[str, dict[str, str]]:
    """The same by caller and service; a caller with one login that works is in."""
    outcomes: dict[str, dict[str, str]] = {}
    for (name, *_unused), result in zip(trials, hops, strict=True):
        caller, _arrow, rest = name.partition(" -> ")
        service = rest.partition(" as ")[0]
        row = outcomes.setdefault(caller, dict.fromkeys(site.services, "itself"))
        if row[service] != ADMITTED:
            row[service] = result.outcome
    return {
        name: row
        if name in site.services
        else {key: value for key, value in row.items() if value != "itself"}
        for name, row in outcomes.items()
    }


def _old_tls(target: Target) -> tuple[bool, str]:
    return tls.offer_tls11(
        target.address, target.port, server_name=target.fqdn, postgresql=target.postgresql
    )


def _judge(site: Site, record: Record, trials: list[Trial], hops: list[Hop]) -> None:
    for (name, _unused, expected), result in zip(trials, hops, strict=True):
        token = result.detail.pop("token", "")
        if token:
            site.revoke_later(token)
        record.expect(
            result.outcome == expected,
            f"{name} is {result.outcome} instead of {expected}: {result.answer}",
        )
        if result.version:
            record.expect(result.version in _MODERN, f"{name} speaks {result.version}")


def _trials_of(site: Site, probe: dict[str, Any], target: Target) -> list[Trial]:
    """What to try for one pair; nothing where the caller's key is not on this host."""
    caller = probe["from"]
    identity = site.identity(caller)
    if identity is None:
        return []
    name = f"{caller} -> {target.name}"
    allowed = probe["expect"] == "allow"
    expected = ADMITTED if allowed else REFUSED
    context = tls.client_context(site.ca, identity)
    if target.postgresql:
        return _database_trials(site, caller, target, context, allowed=allowed)
    if target.kind == "vault" and allowed and caller in site.services:
        talk = hop.vault_health
        door: Trial = (name, partial(hop.attempt, target, context, talk=talk), expected)
        if any(way.startswith("cert/") for way in site.inputs.others.get("ways_in", [])):
            return [door]  # somebody answers for a role that may be this very service's
        holder = f"{name} as the holder of its certificate"
        return [door, (holder, partial(hop.attempt, target, context), REFUSED)]
    return [(name, partial(hop.attempt, target, context), expected)]


def _database_trials(
    site: Site, caller: str, target: Target, context: ssl.SSLContext, *, allowed: bool
) -> list[Trial]:
    """A declared caller with each of its own logins; anybody else with all of them, stolen."""
    trials: list[Trial] = []
    for login in target.credentials:
        mine = allowed and login.service == caller
        if not mine and login.password is None:
            continue  # without the password nothing can be told about the certificate
        used = context
        if mine:
            folder = site.certs / caller / "clients" / login.login / "current"
            used = tls.client_context(site.ca, site.identity_at(login.login, folder))
        name = f"{caller} -> {target.name} as {login.login}"
        trials.append((name, partial(_login, target, used, login), ADMITTED if mine else REFUSED))
    return trials


def _login(target: Target, context: ssl.SSLContext, login: Credential) -> Hop:
    def talk(secured: ssl.SSLSocket, door: Target) -> Hop:
        return hop.postgresql_login(secured, door, login)

    return hop.attempt(target, context, talk=talk)


def _strangers(site: Site, target: Target) -> list[Trial]:
    """Nobody, and somebody with a certificate of another authority that carries the right name."""
    declared = site.services[target.name]["callers"]
    claimed = next((name for name in declared if name in site.services), target.name)
    forged = foreign.identity(site.services[claimed])
    contexts = {
        "without a certificate": tls.client_context(site.ca, None),
        "of a foreign authority": tls.client_context(site.ca, forged),
    }
    trials: list[Trial] = []
    for who, context in contexts.items():
        name = f"caller {who} -> {target.name}"
        if target.postgresql:
            # It refuses for want of a certificate before it asks for a password: whoever is asked
            # for one, of whatever login, has come through the door.
            trials += [
                (
                    f"{name} as {login.login}",
                    partial(_login, target, context, replace(login, password=None)),
                    REFUSED,
                )
                for login in (*target.credentials, hop.SUPERUSER)
            ]
        else:
            trials.append((name, partial(hop.attempt, target, context), REFUSED))
    return trials
