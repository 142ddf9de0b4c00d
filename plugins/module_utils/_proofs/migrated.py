# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a migration has left on record, compared with what production holds.

Nobody who runs the proofs may read the secrets. A quorum of shares makes a root token, which makes
one that may read what was moved, and nothing else, for minutes; the root token is gone before the
first secret is read, and the other one after the last.
"""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import ages
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.tokens import listed
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import fingerprint
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errand

__all__ = ["compare", "reader"]

_WORKERS = 8
_LIFETIME = "10m"
_WAYS = ("sys/generate-root-token", "sys/generate-root")
_POLICY = "attest-migrated"

Object = Mapping[str, Any]


# -- a token for reading --------------------------------------------------------------------------


@contextlib.contextmanager
def reader(
    site: Site, objects: Mapping[str, Object], shares: Sequence[str]
) -> Iterator[tuple[str, list[str]]]:
    """A token that may read what was moved, gone afterwards.

    With it comes what was found before: the accessors of root tokens that somebody had forgotten.

    :raises PhoenixError: if the shares make none, or one of the tokens does not end.
    """
    policy = f"sys/policies/acl/{_POLICY}"
    wanted = {
        "policies": [_POLICY],
        "no_default_policy": True,
        "no_parent": True,  # else it would end with the root token
        "renewable": False,
        "explicit_max_ttl": _LIFETIME,
        "ttl": _LIFETIME,
        # What it reads is in the audit log under that.
        "meta": errand.words(site.inputs.fingerprint_key.encode(), "attest", time.time()),
    }
    with contextlib.ExitStack() as later:
        with contextlib.ExitStack() as soon:
            root = _root(site, shares)
            soon.callback(_end, site, root)
            forgotten = _end_forgotten(site, root)
            later.callback(site.vault().request, "DELETE", policy, token=site.operator_token())
            _ask(site, "PUT", policy, {"policy": _rules(objects)}, root)
            made = _ask(site, "POST", "auth/token/create", wanted, root)
            token = str(made["auth"]["client_token"])
            site.vocabulary.add(token)
            later.callback(_end, site, token)
        yield token, forgotten


def _root(site: Site, shares: Sequence[str]) -> str:
    token, operator = "", site.operator_token()
    for way in _WAYS:
        begun = site.vault().request("PUT", f"{way}/attempt", {}, token=operator)
        if not begun.ok:
            continue
        attempt = begun.data or begun.body
        try:
            token = _give(site, way, attempt, shares, operator)
        finally:
            if not token:
                site.vault().request("DELETE", f"{way}/attempt", token=operator)
        return token
    raise PhoenixError(f"the Vault makes no root token from shares: {begun.text}")


def _give(
    site: Site, way: str, attempt: Mapping[str, Any], shares: Sequence[str], operator: str
) -> str:
    needed = int(attempt.get("required") or 0)
    if not 0 < needed <= len(shares):
        raise PhoenixError(f"it takes {needed} shares, and {len(shares)} are at hand")
    answer: Mapping[str, Any] = {}
    for share in shares[:needed]:
        body = {"key": share, "nonce": attempt["nonce"]}
        given = _ask(site, "PUT", f"{way}/update", body, operator)
        answer = given.get("data") or given
    encoded = str(answer.get("encoded_token") or answer.get("encoded_root_token") or "")
    masked = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    pad = str(attempt["otp"]).encode()
    if not masked or len(masked) != len(pad):
        raise PhoenixError("the shares do not make a root token")
    token = bytes(a ^ b for a, b in zip(masked, pad, strict=True)).decode()
    site.vocabulary.add(token)
    return token


def _end_forgotten(site: Site, root: str) -> list[str]:
    """Revoke root tokens that a run which was killed has left: nobody knows them, and they last.

    :returns: Their accessors. Proof F2.b, which looks later, would not know of them.
    """
    vault, ended = site.vault(), []
    own = vault.read("auth/token/lookup-self", root).get("accessor")
    for accessor in listed(vault, root):
        body = {"accessor": accessor}
        about = vault.request("POST", "auth/token/lookup-accessor", body, token=root).data
        if accessor != own and about.get("policies") == ["root"]:
            _ask(site, "POST", "auth/token/revoke-accessor", body, root)
            ended.append(str(accessor))
    return ended


def _ask(site: Site, method: str, path: str, body: dict[str, Any], token: str) -> dict[str, Any]:
    answer = site.vault().request(method, path, body, token=token)
    if not answer.ok:
        raise PhoenixError(f"{method} {path}: the Vault answered {answer.text}")
    return answer.body


def _end(site: Site, token: str) -> None:
    """Revoke a token by itself, and see that it is gone."""
    _ask(site, "PUT", "auth/token/revoke-self", {}, token)
    if site.vault().request("GET", "auth/token/lookup-self", token=token).ok:
        raise PhoenixError("a token that was made to read what was moved is not gone")


def _rules(objects: Mapping[str, Object]) -> str:
    """A policy in JSON: reading, below the mounts that something was moved to, and its own end."""
    paths = {"auth/token/lookup-self"}
    for entry in objects.values():
        kind = _kind(entry)
        if kind == "policy":
            paths.add("sys/policies/acl/*")
        elif kind == "approle":
            paths.add(f"auth/{entry['mount']}/role/*")
        elif entry["version"] == 1:
            paths.add(f"{entry['mount']}/*")
        else:
            paths |= {f"{entry['mount']}/data/*", f"{entry['mount']}/metadata/*"}
    rules = {path: {"capabilities": ["read"]} for path in sorted(paths)}
    rules["auth/token/revoke-self"] = {"capabilities": ["update"]}
    return json.dumps({"path": rules})


# -- compare --------------------------------------------------------------------------------------


def compare(site: Site, objects: Mapping[str, Object], shares: Sequence[str]) -> dict[str, Any]:
    """Read everything on record in production and say what is not the same.

    :returns: ``faults`` in words, how much of what sort was compared, and the accessors of root
        tokens that were alive and had been ``forgotten``.
    """
    if not site.inputs.fingerprint_key:
        raise PhoenixError("no key to make fingerprints with")
    key = site.inputs.fingerprint_key.encode()
    looks = {"policy": _policy, "approle": _approle, "secret": _secret}
    with (
        reader(site, objects, shares) as (token, forgotten),
        ThreadPoolExecutor(_WORKERS) as pool,
    ):
        look = _Look(site, token, key)
        found = list(
            pool.map(
                lambda name: looks[_kind(objects[name])](look, name, objects[name]),
                sorted(objects),
            )
        )
    counted = dict.fromkeys(("secret", "version", "policy", "approle"), 0)
    faults: list[str] = []
    for name, said in zip(sorted(objects), found, strict=True):
        entry = objects[name]
        counted[_kind(entry)] += 1
        counted["version"] += len(entry.get("versions") or ())
        faults += [f"{name}: {fault}" for fault in said]
    return {"faults": faults, "compared": counted, "forgotten": forgotten}


def _kind(entry: Object) -> str:
    if "path" in entry:
        return "secret"
    return "approle" if "mount" in entry else "policy"


class _Look:
    """Reads of one token."""

    def __init__(self, site: Site, token: str, key: bytes) -> None:
        self.site, self.token, self.key = site, token, key

    def at(self, path: str, query: str = "") -> dict[str, Any] | None:
        """The data at a path; ``None`` where nothing is, or nothing that can be read."""
        where = quote(path, safe="/") + query
        answer = self.site.vault().request("GET", where, token=self.token)
        if answer.ok:
            return answer.data
        if answer.status == 404:
            return None
        raise PhoenixError(f"cannot read {path}: the Vault answered {answer.text}")

    def mark(self, kind: str, name: str, value: Any, version: int = 0) -> str:
        """As the record has it: HMAC of kind, name, version and JSON with sorted keys."""
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return fingerprint(self.key, f"{kind}\0{name}\0{version}\0{text}")


def _policy(look: _Look, _name: str, entry: Object) -> list[str]:
    data = look.at(f"sys/policies/acl/{entry['name']}")
    if data is None:
        return ["does not exist"]
    same = look.mark("policy", entry["name"], data.get("policy")) == entry["mark"]
    return [] if same else ["its text is not the one that was moved"]


def _approle(look: _Look, _name: str, entry: Object) -> list[str]:
    path = f"auth/{entry['mount']}/role/{entry['name']}"
    data = look.at(path)
    if data is None:
        return ["does not exist"]
    data = {**data, **(look.at(f"{path}/role-id") or {})}
    # What was never set is answered in more than one way, and lists in any order.
    shown = {
        field: (sorted(value) if isinstance(value := data.get(field), list) else value) or None
        for field in entry["fields"]
    }
    same = look.mark("approle", f"{entry['mount']}/{entry['name']}", shown) == entry["mark"]
    return [] if same else ["its role_id or settings are not those that were moved"]


def _secret(look: _Look, _name: str, entry: Object) -> list[str]:
    mount, path = entry["mount"], entry["path"]
    if entry["version"] == 1:
        data = look.at(f"{mount}/{path}")
        if data is None:
            return ["does not exist"]
        same = look.mark("secret", f"{mount}/{path}", data) == entry["mark"]
        return [] if same else ["its data are not those that were moved"]
    about = look.at(f"{mount}/metadata/{path}")
    if about is None:
        return ["does not exist"]
    faults = [
        fault
        for n, expected in entry["versions"].items()
        if (fault := _version(look, entry, about, n, expected))
    ]
    current = int(about.get("current_version") or 0)
    if current < entry["current"]:
        faults.append(f"ends with version {current}, not {entry['current']}")
    # What production has written since is its own business, metadata included.
    elif current == entry["current"] and not _metadata(look, entry, about):
        faults.append("its metadata are not those that were moved")
    return faults


def _version(look: _Look, entry: Object, about: Mapping[str, Any], n: str, expected: str) -> str:
    there = (about.get("versions") or {}).get(n)
    if there is None:
        grown = int(about.get("current_version") or 0) > entry["current"]
        pruned = grown and int(n) < int(about.get("oldest_version") or 0)
        return "" if pruned else f"version {n} is gone"
    if there.get("destroyed"):
        found = "destroyed"
    else:
        data = look.at(f"{entry['mount']}/data/{entry['path']}", f"?version={n}")
        if data is None:
            found = "deleted"
        else:
            name = f"{entry['mount']}/{entry['path']}"
            found = look.mark("secret", name, data.get("data"), int(n))
    if found == expected or (found == "deleted" and _past(entry["ends"].get(n))):
        return ""
    if _word(found) == _word(expected):
        return f"version {n} holds other data than were moved"
    return f"version {n} is {_word(found)}, and was {_word(expected)} when it was moved"


def _past(end: str | None) -> bool:
    """Whether the time has come at which the server was going to delete a version."""
    when = ages.moment(end)
    return when is not None and when <= time.time()


def _word(found: str) -> str:
    return found if found in ("deleted", "destroyed") else "live"


def _metadata(look: _Look, entry: Object, about: Mapping[str, Any]) -> bool:
    """Settings of a secret, with its custom metadata."""
    shown = {
        "max_versions": about.get("max_versions", 0),
        "cas_required": about.get("cas_required", False),
        "delete_version_after": _seconds(str(about.get("delete_version_after", "0s"))),
        "metadata_cas_required": about.get("metadata_cas_required", False),
        "custom_metadata": about.get("custom_metadata") or {},
    }
    return bool(
        look.mark("metadata", f"{entry['mount']}/{entry['path']}", shown) == entry["metadata"]
    )


def _seconds(text: str) -> int:
    """Of a duration as the server writes it, such as 3h25m19s."""
    total, number = 0, ""
    for sign in text:
        if sign.isdigit():
            number += sign
        elif sign in "hms" and number:
            total, number = total + int(number) * {"h": 3600, "m": 60, "s": 1}[sign], ""
    return total
