# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H4.d: no credential is too old, and what watches over that can see one that is.

Every age comes from the server that the credential opens, not from whoever rotates it: of a
database password from the Vault *and* from PostgreSQL, of SecretIDs and tokens from the Vault.

An AppRole itself has no age that would say anything: its RoleID is a name and opens nothing. What
can get old is what it gives, so it is judged by the oldest SecretID and token that it *could* give.

Certificates live longer than the limit, by the estate's own declaration. Their ages are reported,
and they are judged by what is promised of them: that none has run out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import human
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    connect,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import ages, alarm, bundles
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.ages import Credential
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.schedules import longest_gap
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["credentials", "nothing_is_overdue", "postgres"]

# What the server lets a token live that no mount and no role says anything about.
_SERVER_CEILING = 768 * 3600.0
_DAY = 86400.0
_SHOWN = 200

_NOTES = """
SELECT n.nspname AS schema FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_proc p ON p.pronamespace = n.oid AND p.proname = 'set_password' AND p.prosecdef
WHERE c.relname = 'rotations' AND c.relkind = 'r'
"""
# A note counts for the password that is in force, and for no other.
_AGES = """
SELECT a.rolname AS login, EXTRACT(EPOCH FROM r.rotated_at)::float8 AS born
FROM pg_catalog.pg_authid a JOIN {schema}.rotations r ON r.role = a.rolname
WHERE r.verifier = encode(sha256(convert_to(a.rolpassword, 'UTF8')), 'hex')
"""
_LOGINS = """
SELECT rolname AS login FROM pg_catalog.pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL
"""
_DATABASES = """
SELECT datname AS name FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate
"""


@proof("H4.d")
def nothing_is_overdue(site: Site) -> Record:
    """Ask for the age of everything that lets somebody in, then for those who watch over it."""
    record = Record()
    limit, now = site.inputs.credential_limit, time.time()
    _detector(record, limit, now)
    found = credentials(site, limit)
    for item in ages.overdue(found, now):
        record.expect(False, item.describe(now))
    record.note(
        limit=human(int(limit)),
        looked_at=_counted(found),
        oldest=_oldest(found, now),
        ages=[_shown(item, now) for item in found if item.kind != "token"][:_SHOWN],
        could_give=_could_give(site, record, limit),
        could_become=_could_become(site, record, limit),
        certificates=_certificates(site, record, limit, now),
        alarm=alarm.watched(site, record, now + limit + _DAY),
    )
    return record


def credentials(site: Site, limit: float) -> list[Credential]:
    """Everything that has an age, certificates apart."""
    found = [*_passwords(site, limit), *_secret_ids(site, limit), *_tokens(site, limit)]
    if site.of_kind("postgresql"):
        found += postgres(site.superuser, limit)
    return found


def _passwords(site: Site, limit: float) -> list[Credential]:
    """Database passwords, by the Vault that sets them: whatever static role there is."""
    found = []
    for path, role in _static_roles(site):
        born = ages.moment(role.get("last_vault_rotation"))
        what = f"{role.get('username')} (static role {path.rpartition('/')[2]})"
        found.append(Credential("database password", what, born, limit, "Vault"))
    return found


def _static_roles(site: Site) -> Iterator[tuple[str, dict[str, Any]]]:
    vault, token = site.vault(), site.operator_token()
    for mount, about in sorted(vault.read("sys/mounts", token).items()):
        if isinstance(about, dict) and about.get("type") == "database":
            for name in vault.listing(f"{mount}static-roles", token):
                path = f"{mount}static-roles/{name}"
                yield path, vault.read(path, token)


def postgres(login: dict[str, Any], limit: float) -> list[Credential]:
    """Database passwords, by what PostgreSQL has on record about those that are in force."""
    if PSYCOPG2_ERROR is not None:
        raise NotRunError("the host lacks the Python library psycopg2")
    born: dict[str, float] = {}
    with connect(login, "postgres") as session:
        logins = [str(row["login"]) for row in session.query(_LOGINS)]
        databases = [str(row["name"]) for row in session.query(_DATABASES)]
    for database in databases:
        with connect(login, database) as session:
            for row in session.query(_NOTES):
                schema = '"' + str(row["schema"]).replace('"', '""') + '"'
                notes = session.query(_AGES.format(schema=schema))
                born |= {str(note["login"]): float(note["born"]) for note in notes}
    return [
        Credential("database password", name, born.get(name), limit, "PostgreSQL")
        for name in sorted(logins)
    ]


def _secret_ids(site: Site, limit: float) -> list[Credential]:
    vault, token = site.vault(), site.operator_token()
    found = []
    for role in vault.listing("auth/approle/role", token):
        for accessor in site.secret_ids(role):
            answer = site.accessor_lookup(role, accessor)
            if answer.status == 404:  # spent since it was listed
                continue
            born = ages.moment(answer.data.get("creation_time"))
            found.append(Credential("SecretID", f"{role} {accessor}", born, limit, "Vault"))
    return found


def _tokens(site: Site, limit: float) -> list[Credential]:
    return [
        Credential("token", f"{token.name} {token.accessor}", token.created or None, limit, "Vault")
        for token in site.alive()
    ]


def _could_give(site: Site, record: Record, limit: float) -> dict[str, Any]:
    """How old the SecretIDs and tokens of each role can get before the server ends them."""
    vault, token = site.vault(), site.operator_token()
    methods = vault.read("sys/auth", token)
    seen: dict[str, Any] = {}
    for mount, path in (("approle/", "auth/approle/role"), ("cert/", "auth/cert/certs")):
        config = (methods.get(mount) or {}).get("config") or {}
        ceiling = float(config.get("max_lease_ttl") or _SERVER_CEILING)
        for name in vault.listing(path, token):
            role = vault.read(f"{path}/{name}", token)
            could = {"token": ages.longest(role, ceiling)}
            if mount == "approle/" and role.get("bind_secret_id"):
                could["SecretID"] = float(role.get("secret_id_ttl") or 0) or ages.FOREVER
            elif mount == "approle/":
                could["RoleID that opens it alone"] = ages.FOREVER
            for what, seconds in could.items():
                record.expect(
                    seconds <= limit,
                    f"{path}/{name} could give a {what} that lives {_long(seconds)}",
                )
            seen[f"{path}/{name}"] = {what: _long(seconds) for what, seconds in could.items()}
    return seen


def _could_become(site: Site, record: Record, limit: float) -> dict[str, str]:
    """How old what is there can get if everything goes on as it is set."""
    found = {
        f"token {token.name} {token.accessor}": token.longest
        for token in site.alive()
        if not token.root  # F2.b judges that
    }
    for path, role in _static_roles(site):
        found[f"the password of {path}"] = _between_rotations(role)
    for what, seconds in found.items():
        record.expect(seconds <= limit, f"{what} could get as old as {_long(seconds)}")
    return {what: _long(s) for what, s in list(found.items())[:_SHOWN]}


def _between_rotations(role: dict[str, Any]) -> float:
    """The longest time between two rotations, by a period or, in one of the products, a schedule.

    One may be made at the start of its window, and the next at the end of it.
    """
    schedule = role.get("rotation_schedule")
    if schedule:
        return longest_gap(str(schedule)) + float(role.get("rotation_window") or 0)
    return float(role.get("rotation_period") or ages.FOREVER)


def _long(seconds: float) -> str:
    return "for ever" if seconds == ages.FOREVER else human(int(seconds))


def _certificates(site: Site, record: Record, limit: float, now: float) -> dict[str, Any]:
    """Ages of all certificates in place; a fault where one has run out."""
    older, left = [], {}
    for certificate in site.estate["certificates"]:
        name = certificate["name"]
        try:
            leaf = bundles.leaf(Path(certificate["path"]) / "current")
        except OSError as error:
            raise PhoenixError(f"there is no certificate {name}: {error.strerror}") from error
        end = bundles.not_after(leaf).timestamp()
        record.expect(end > now, f"certificate {name} has run out")
        left[name] = round((end - now) / _DAY, 1)
        if now - bundles.not_before(leaf).timestamp() > limit:
            older.append(name)
    return {
        "judged": "by their end, since the estate lets them live longer than the limit",
        "days_left": left,
        "older_than_the_limit": older,
    }


def _detector(record: Record, limit: float, now: float) -> None:
    """The detector sees one that is overdue, one of unknown age, and not one that is in time."""
    control = [
        Credential("control", name, born, limit, "this proof")
        for name, born in (
            ("late", now - limit - 1),
            ("unknown", None),
            ("in time", now - limit / 2),
        )
    ]
    seen = [item.name for item in ages.overdue(control, now)]
    record.expect(seen == ["late", "unknown"], f"the detector saw {seen} of its own controls")


def _counted(found: list[Credential]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for item in found:
        what = f"{item.kind} ({item.source})"
        counted[what] = counted.get(what, 0) + 1
    return counted


def _oldest(found: list[Credential], now: float) -> dict[str, str]:
    oldest: dict[str, float] = {}
    for item in found:
        age = item.age(now)
        if age is not None:
            oldest[item.kind] = max(age, oldest.get(item.kind, 0.0))
    return {kind: human(int(age)) for kind, age in sorted(oldest.items())}


def _shown(item: Credential, now: float) -> str:
    age = item.age(now)
    return f"{item.kind} {item.name}, {item.source}: {'?' if age is None else human(int(age))}"
