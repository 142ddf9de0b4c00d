# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H1.a: the Vault's policies and AppRoles are the declared ones, and no others.

So are the roles by which the operator and the host log in: policies say what these may do, and the
roles say who that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import (
    normalise,
    observed,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kinds import (
    AppRoles,
    CertRoles,
    Kind,
    Policies,
)

__all__ = ["policies_and_approles"]

# What every server has by itself, by any version; a role of the collection never writes them.
_BUILT_IN = frozenset({"default", "root", "default-ceiling"})

# Policies of those who are no services: the operator who reconciles, the host that asks for wraps.
_STAFF = frozenset({"operator", "host"})
# A role of the collection writes them in every run, but for this one: nobody may change his own.
_RENEWED = {"operator": "; run vault_operator.yml"}
# Where services, people and the host log in; tokens come of it.
_METHODS = frozenset({"approle/", "cert/", "token/"})
_KIND = {**dict.fromkeys(_BUILT_IN, "built in"), **dict.fromkeys(_STAFF, "staff")}

_COMPARED = (
    "token_policies",
    "token_ttl",
    "token_max_ttl",
    "token_explicit_max_ttl",
    "token_period",
    "token_num_uses",
    "bind_secret_id",
    "secret_id_ttl",
    "secret_id_num_uses",
)


def _gone(kind: str, name: str) -> str:
    """What takes it away, if it is of a service that is gone."""
    return f" (vault_settings_purge: [{{kind: {kind}, names: [{name}]}}] removes it)"


@proof("H1.a")
def policies_and_approles(site: Site) -> Record:
    """Read all of them back and compare them with the declaration, field by field."""
    record = Record()
    record.note(
        policies=_policies(site, record),
        approles=_approles(site, record),
        ways_in=_ways_in(site, record),
        staff_roles=_staff_roles(site, record),
        compared=["role_id", *_COMPARED],
        texts_compared=sorted(site.inputs.staff),
    )
    return record


def _policies(site: Site, record: Record) -> dict[str, str]:
    vault, token = site.vault(), site.operator_token()
    present = set(vault.listing("sys/policies/acl", token))
    declared = {policy["name"]: policy["text"] for policy in site.estate["policies"]}
    besides = _besides(site, "policies", Policies())
    texts = declared | {name: str(row["text"]) for name, row in besides.items() if row}
    for name in sorted(texts.keys() - present):
        record.expect(False, f"policy {name} does not exist")
    for name in sorted(texts.keys() & present):
        text = vault.read(f"sys/policies/acl/{name}", token).get("policy", "")
        record.expect(text == texts[name], f"policy {name} is not the declared text")
    for name, wanted in sorted(site.inputs.staff.items()):
        if not record.expect(name in present, f"policy {name} does not exist"):
            continue
        text = vault.read(f"sys/policies/acl/{name}", token).get("policy", "")
        record.expect(
            text == wanted, f"policy {name} is not the text of this release{_RENEWED.get(name, '')}"
        )
    known = {*_BUILT_IN, *_STAFF, *besides}
    for name in sorted(present - declared.keys() - known):
        record.expect(False, f"policy {name} exists and nobody declared it{_gone('policy', name)}")
    return {
        name: "declared" if name in declared else _KIND.get(name, "declared besides the estate")
        for name in sorted(present & {*declared, *known})
    }


def _besides(site: Site, what: str, kind: Kind) -> dict[str, dict[str, Any]]:
    """What is declared besides the estate's, by the server's keys; empty where a name is all."""
    found: dict[str, dict[str, Any]] = {}
    for entry in site.inputs.others.get(what, []):
        row = {"name": entry} if isinstance(entry, str) else entry
        key = kind.key(row)
        found[key] = found.get(key, {}) if isinstance(entry, str) else row
    return found


def _ways_in(site: Site, record: Record) -> list[str]:
    """How one can log in: by nothing that nobody has declared."""
    vault, token = site.vault(), site.operator_token()
    methods = [f"{path.strip('/')}/" for path in vault.read("sys/auth", token)]
    certificates = [f"cert/certs/{name}" for name in vault.listing("auth/cert/certs", token)]
    known = {*_METHODS, *(f"cert/certs/{name}" for name in _STAFF)}
    known |= {*site.inputs.others.get("ways_in", [])}
    for way in sorted({*methods, *certificates} - known):
        record.expect(False, f"one can log in at auth/{way}, and nobody declared it")
    return sorted({*methods, *certificates})


def _staff_roles(site: Site, record: Record) -> dict[str, Any]:
    """Whose certificate makes him the operator, or the host."""
    vault, token = site.vault(), site.operator_token()
    present = set(vault.listing("auth/cert/certs", token))
    seen: dict[str, Any] = {}
    for role in site.inputs.staff_roles:
        name, wanted = role["name"], normalise(CertRoles.fields, role)
        if not record.expect(name in present, f"cert role {name} does not exist"):
            continue
        found = observed(CertRoles.fields, vault.read(f"auth/cert/certs/{name}", token))
        _compare(record, f"cert role {name}", found, wanted, _RENEWED.get(name, ""))
        seen[name] = {key: found.get(key) for key in wanted if key != "certificate"}
    return seen


def _compare(
    record: Record, what: str, found: Mapping[str, Any], wanted: Mapping[str, Any], hint: str = ""
) -> None:
    for key, value in wanted.items():
        said = f"{found.get(key)!r}, declared is {value!r}"
        if key == "certificate":
            said = "not the declared one"
        record.expect(found.get(key) == value, f"{what}: {key} is {said}{hint}")


def _approles(site: Site, record: Record) -> dict[str, Any]:
    vault, token = site.vault(), site.operator_token()
    present = set(vault.listing("auth/approle/role", token))
    declared = {role["name"]: role for role in site.estate["approles"]}
    for name in sorted(declared.keys() - present):
        record.expect(False, f"AppRole {name} does not exist")
    besides = _besides(site, "approles", AppRoles())
    known = {key.removeprefix("approle/") for key in besides}
    for name in sorted(present - declared.keys() - known):
        record.expect(
            False, f"AppRole {name} exists and nobody declared it{_gone('approle', name)}"
        )
    seen: dict[str, Any] = {}
    for name in sorted(declared.keys() & present):
        wanted = {key: declared[name][key] for key in ("role_id", *_COMPARED)}
        path = f"auth/approle/role/{name}"
        found = vault.read(path, token)
        granted = {key: found.get(key) for key in _COMPARED}
        granted["role_id"] = vault.read(f"{path}/role-id", token).get("role_id")
        _compare(record, f"AppRole {name}", granted, wanted)
        seen[name] = granted
    for key, row in besides.items():
        name = key.removeprefix("approle/")
        if row:
            seen[name] = _approle_besides(site, record, name, AppRoles().path(key), row)
    return seen


def _approle_besides(
    site: Site, record: Record, name: str, path: str, row: Mapping[str, Any]
) -> dict[str, Any]:
    """As module vault_config compares it, which wrote it: what is stated, and no more."""
    vault, token, fields = site.vault(), site.operator_token(), AppRoles.fields
    there = vault.request("GET", path, token=token).status != HTTPStatus.NOT_FOUND
    if not record.expect(there, f"AppRole {name} does not exist"):
        return {}
    # Words for yes and no, which are an option's own to read.
    words = {
        key: boolean(value)
        for key, value in row.items()
        if value is not None and key in fields and fields[key].form == "bool"
    }
    wanted = normalise(fields, {**row, **words})
    found = observed(fields, vault.read(path, token))
    if "role_id" in wanted:
        found["role_id"] = vault.read(f"{path}/role-id", token).get("role_id")
    _compare(record, f"AppRole {name}", found, wanted)
    return {key: found.get(key) for key in wanted}
