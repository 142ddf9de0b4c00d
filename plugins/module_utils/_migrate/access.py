# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Policies and AppRoles, from one server to another."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.ledger import (
    KEEP,
    REFUSE,
    Item,
    Ledger,
    Marks,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import kinds
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import observed
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.schema import accepted_fields

__all__ = ["AppRoles", "Policies", "chosen"]

# Names that the token fields had before they were shared by all methods; answered beside those.
_OLD_NAMES = frozenset({"policies", "period", "bound_cidr_list"})


def chosen(names: Sequence[str], exclude: Sequence[str]) -> list[str]:
    """Names that no pattern of a shell excludes."""
    return sorted(n for n in names if not any(fnmatch.fnmatchcase(n, p) for p in exclude))


@dataclass(frozen=True)
class Policies:
    """ACL policies, to the byte.

    :arg exclude: Patterns of names to leave.
    :arg renamed: Mounts that have another name at the target, with that name.
    """

    source: VaultClient
    target: VaultClient
    marks: Marks
    exclude: Sequence[str]
    renamed: Mapping[str, str]

    def survey(self, ledger: Ledger) -> None:
        kind = kinds.Policies()
        listed = self.source.keys("sys/policies/acl")
        names = chosen([n for n in listed if n not in kind.built_in], self.exclude)
        there = set(self.target.keys("sys/policies/acl"))
        own = self.target.policies()
        texts = self.source.map(lambda name: kind.read(self.source, name, {}), names)
        actual = self.target.map(
            lambda name: kind.read(self.target, name, {}) if name in there else None, names
        )
        for name, here, now in zip(names, texts, actual, strict=True):
            if here is not None:
                self._decide(ledger, kind, name, str(here["text"]), now, name in own)
        self._built_in(ledger, sorted(there & set(listed) & (kind.built_in - {"root"})))

    def _built_in(self, ledger: Ledger, names: Sequence[str]) -> None:
        kind = kinds.Policies()
        for name in names:
            if kind.read(self.source, name, {}) != kind.read(self.target, name, {}):
                ledger.lose("policy", name, "built in, and has another text at the target")

    def _decide(
        self,
        ledger: Ledger,
        kind: kinds.Policies,
        name: str,
        text: str,
        now: Mapping[str, Any] | None,
        own: bool,
    ) -> None:
        verdict = "created" if now is None else "unchanged"
        if now is not None and now["text"] != text:
            why = "the caller's own" if own else "its text is another"
            answer = ledger.clash("policy", name, why, replaceable=not own)
            if answer in (KEEP, REFUSE):
                return
            verdict = "replaced"
        for old, new in self.renamed.items():
            if f'"{old}/' in text:
                why = (
                    f"names the mount {old}, which is {new} at the target; texts are not rewritten"
                )
                ledger.lose("policy", name, why)

        def check() -> str:
            there = kind.read(self.target, name, {})
            return "" if there == {"text": text} else "its text is another"

        ledger.items.append(
            Item(
                "policy",
                name,
                verdict,
                act=None
                if verdict == "unchanged"
                else lambda: kind.write(self.target, name, {"text": text}, create=now is None),
                check=check,
                record={"name": name, "mark": self.marks.of("policy", name, text)},
                before=dict(now) if now else None,
                after={"text": text},
            )
        )


@dataclass(frozen=True)
class AppRoles:
    """Roles of one mount of the AppRole method, RoleID included.

    :arg here: The mount at the source.
    :arg there: The mount at the target.
    :arg exists: Whether the target has it.
    """

    source: VaultClient
    target: VaultClient
    marks: Marks
    here: str
    there: str
    exists: bool
    exclude: Sequence[str]

    def survey(self, ledger: Ledger) -> None:
        names = chosen(self.source.keys(f"auth/{self.here}/role"), self.exclude)
        present = self.target.keys(f"auth/{self.there}/role") if self.exists else []
        taken = self._role_ids(sorted(set(present) - set(names)))
        accepted = self._accepted() if names else None
        found = self.source.map(lambda name: self._read(self.source, self.here, name), names)
        actual = self.target.map(
            lambda n: self._read(self.target, self.there, n) if n in present else None, names
        )
        for name, raw, now in zip(names, found, actual, strict=True):
            if raw is not None:
                self._decide(ledger, name, raw, now, taken, accepted)
        left = self.source.map(
            lambda name: self.source.keys(f"auth/{self.here}/role/{name}/secret-id"), names
        )
        for name, accessors in zip(names, left, strict=True):
            if accessors:
                why = "SecretIDs are not moved: issue new ones at the target"
                key = f"{self.there}/{name}"
                ledger.lose("approle", key, why, secret_ids=len(accessors))

    def _role_ids(self, others: Sequence[str]) -> dict[str, str]:
        """The RoleIDs of roles that the target has besides; each may exist once."""
        path = f"auth/{self.there}/role"
        answers = self.target.map(lambda n: self.target.read(f"{path}/{n}/role-id"), others)
        return {
            str((answer or {}).get("role_id")): name
            for name, answer in zip(others, answers, strict=True)
        }

    def _accepted(self) -> set[str] | None:
        if not self.exists:
            return None
        return accepted_fields(self.target, f"auth/{self.there}/role/name")

    @staticmethod
    def _read(client: VaultClient, mount: str, name: str) -> dict[str, Any] | None:
        path = f"auth/{mount}/role/{name}"
        data = client.read(path)
        if data is None:
            return None
        return {**data, **(client.read(f"{path}/role-id") or {})}

    def _decide(
        self,
        ledger: Ledger,
        name: str,
        raw: Mapping[str, Any],
        now: Mapping[str, Any] | None,
        taken: Mapping[str, str],
        accepted: set[str] | None,
    ) -> None:
        key, fields = f"{self.there}/{name}", kinds.AppRoles.fields
        given = observed(fields, raw)
        wanted = {k: v for k, v in given.items() if accepted is None or k in accepted}
        lost = {k for k in given if k not in wanted and given[k]}
        lost |= {k for k in raw if k not in fields and k not in _OLD_NAMES and raw[k]}
        differing = _differing(fields, wanted, now)
        owner = taken.get(str(raw.get("role_id")))
        verdict = "created" if now is None else "unchanged"
        if owner or differing:
            why = f"{', '.join(differing)} differ" if differing else f"{owner} has its role_id"
            fixed = [n for n in differing if fields[n].fixed]
            answer = ledger.clash("approle", key, why, replaceable=not owner and not fixed)
            if answer in (KEEP, REFUSE):
                return
            verdict = "replaced"
        for field in sorted(lost):
            ledger.lose("approle", key, f"the target does not know the setting {field}")
        act: Callable[[], object] | None = None
        if verdict != "unchanged":
            values = wanted if now is None else {n: wanted[n] for n in differing}
            act = self._write(key, values, create=now is None)
        ledger.items.append(
            Item(
                "approle",
                key,
                verdict,
                act=act,
                check=lambda: self._check(name, wanted),
                record={
                    "mount": self.there,
                    "name": name,
                    "fields": sorted(wanted),
                    "mark": self.marks.of("approle", key, _plain(raw, wanted)),
                },
                before=None if now is None else {n: now.get(n) for n in wanted},
                after=wanted,
            )
        )

    def _write(self, key: str, values: dict[str, Any], *, create: bool) -> Callable[[], object]:
        return lambda: kinds.AppRoles().write(self.target, key, values, create=create)

    def _check(self, name: str, wanted: Mapping[str, Any]) -> str:
        there = self._read(self.target, self.there, name)
        if there is None:
            return "it is not there"
        differing = _differing(kinds.AppRoles.fields, wanted, there)
        return f"{', '.join(differing)} differ" if differing else ""


def _differing(
    fields: Mapping[str, Any], wanted: Mapping[str, Any], raw: Mapping[str, Any] | None
) -> list[str]:
    if raw is None:
        return []
    actual = observed(fields, raw)
    return sorted(n for n, v in wanted.items() if (actual.get(n) or None) != (v or None))


def _plain(raw: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as the server answers them. Empty is empty; the order of a list means nothing."""
    return {n: (sorted(v) if isinstance(v := raw.get(n), list) else v) or None for n in names}
