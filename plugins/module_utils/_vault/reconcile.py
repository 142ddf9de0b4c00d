# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bring a server from what it is to what is declared: read, plan, act, read back.

Everything is read before anything is written, so a plan is whole before its first step. Objects
of one kind are read and written several at a time; kinds follow each other in the order in which
they depend on each other. After the writing, every written object is read back: a setting that
the server did not take is an error that names the setting and the server's version.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import MASK
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kinds import (
    KINDS,
    AuditDevices,
    AuthMethods,
    Kind,
    SecretEngines,
    by_name,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.schema import accepted_fields

__all__ = ["Outcome", "Purge", "Reconciler", "reconcile"]


_NEW_DEVICE = (AuditDevices.name, "created")


@dataclass
class Outcome:
    """One object and what became of it."""

    kind: str
    name: str
    verdict: str
    fields: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


@dataclass(frozen=True)
class Purge:
    """Objects of one kind that are not declared, and whose key begins with a prefix or is named."""

    kind: str
    prefix: str = ""
    names: tuple[str, ...] = ()


@dataclass
class _Item:
    kind: Kind
    key: str
    wanted: dict[str, Any]
    actual: dict[str, Any] | None = None

    @property
    def differing(self) -> list[str]:
        actual = self.actual or {}
        return sorted(
            name
            for name, value in self.wanted.items()
            if self.kind.fields[name].compared and actual.get(name) != value
        )

    @property
    def shown(self) -> dict[str, Any]:
        """What is wanted, without secrets."""
        return {
            name: MASK if self.kind.fields[name].secret else value
            for name, value in self.wanted.items()
        }

    @property
    def title(self) -> str:
        return f"{self.kind.name} {self.key}"


class Reconciler:
    """All that one call declares.

    :arg declared: For each kind its declared objects, as the module's options describe them.
    :arg purges: What else to remove.
    :raises PhoenixError: naming each object that is declared twice or cannot be read.
    """

    def __init__(
        self,
        client: VaultClient,
        declared: Mapping[type[Kind], Sequence[Mapping[str, Any]]],
        purges: Sequence[Purge] = (),
    ) -> None:
        self.client = client
        self.plan = Plan()
        self.outcomes: list[Outcome] = []
        self._purges = purges
        self._kinds = {kind: kind() for kind in KINDS}
        self._items: dict[type[Kind], list[_Item]] = {kind: [] for kind in KINDS}
        self._doomed: list[tuple[Kind, str]] = []
        mistakes = [
            f"purge of every {purge.kind} is refused: name a prefix"
            for purge in purges
            if not purge.names and by_name(purge.kind).whole(purge.prefix)
        ]
        for kind, entries in declared.items():
            mistakes += self._declare(self._kinds[kind], entries)
        if mistakes:
            raise PhoenixError("; ".join(mistakes))

    def _declare(self, kind: Kind, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
        seen: set[str] = set()
        for entry in entries:
            key = ""
            try:
                key = kind.key(entry)
                wanted = kind.wanted(entry)
            except PhoenixError as error:
                yield f"{kind.name} {key}: {error.message}" if key else error.message
                continue
            if key in seen:
                yield f"{kind.name} {key} is declared twice"
            seen.add(key)
            self._items[type(kind)].append(_Item(kind, key, wanted))
        items = self._items[type(kind)]
        yield from kind.clashes({item.key: item.wanted for item in items})

    # -- read and plan ------------------------------------------------------------------------

    def survey(self) -> None:
        """Read everything and fill :attr:`plan`; changes nothing."""
        for kind, items in self._items.items():
            if items:
                self._read(self._kinds[kind], items)
        for items in self._items.values():
            for item in items:
                self._decide(item)
        self._refuse_fixed()
        for items in self._items.values():
            self._refuse_ignored([i for i in items if i.actual is None or i.differing])
        for purge in self._purges:
            self._decide_purge(purge)

    @property
    def unmounted(self) -> list[str]:
        """Where declared roles would be, if anything were mounted there or declared to be."""
        mounts = {f"auth/{item.key}" for item in self._items[AuthMethods]}
        mounts |= {item.key for item in self._items[SecretEngines]}
        found: set[str] = set()
        for kind in self._kinds.values():
            found |= getattr(kind, "unmounted", set())
        return sorted(found - mounts)

    def _read(self, kind: Kind, items: list[_Item]) -> None:
        missing = kind.missing(self.client, [item.key for item in items])
        there = [item for item in items if item.key not in missing]
        found = self.client.map(lambda item: kind.read(self.client, item.key, item.wanted), there)
        for item, actual in zip(there, found, strict=True):
            item.actual = actual

    def _refuse_ignored(self, due: list[_Item]) -> None:
        """Refuse a setting that the server would take without a word and forget.

        :raises errors.IgnoredFieldError: before anything has been written.
        """
        if not due or not due[0].kind.checked:
            return
        accepted = accepted_fields(self.client, due[0].kind.path(due[0].key))
        unknown = {item.title: sorted(set(item.wanted) - (accepted or set())) for item in due}
        fields = sorted({name for names in unknown.values() for name in names})
        if accepted is None or not fields:
            return
        version = self.client.version
        named = [f"{title}: {', '.join(names)}" for title, names in unknown.items() if names]
        raise errors.IgnoredFieldError(
            f"the server (version {version}) does not know, and would ignore: {'; '.join(named)}",
            hint="Nothing was written. Leave these settings out, or upgrade the server.",
            fields=fields,
            version=version,
        )

    def _decide(self, item: _Item) -> None:
        differing = item.differing
        if item.actual is None:
            self.plan.add(item.kind.name, item.key, "create", None, item.shown)
            self.outcomes.append(Outcome(item.kind.name, item.key, "created"))
            return
        if not differing:
            self.outcomes.append(Outcome(item.kind.name, item.key, "unchanged"))
            return
        fixed = [name for name in differing if item.kind.fields[name].fixed]
        if fixed:
            self.outcomes.append(Outcome(item.kind.name, item.key, "drifted", fixed))
            return
        self.plan.add(
            item.kind.name,
            item.key,
            "update",
            {name: item.actual.get(name) for name in differing},
            {name: item.wanted[name] for name in differing},
        )
        self.outcomes.append(Outcome(item.kind.name, item.key, "updated", differing))

    def _refuse_fixed(self) -> None:
        """Refuse what cannot be put right, all of it at once.

        :raises PhoenixError: before anything has been written.
        """
        drifted = {(o.kind, o.name): o.fields for o in self.outcomes if o.verdict == "drifted"}
        if not drifted:
            return
        text = "; ".join(
            f"{item.title} has {_pairs(item.actual or {}, fields)} and is declared with "
            f"{_pairs(item.wanted, fields)}, which cannot be changed once it exists"
            for items in self._items.values()
            for item in items
            if (fields := drifted.get((item.kind.name, item.key)))
        )
        raise PhoenixError(
            text,
            hint="Nothing was written. Remove the object, if what it holds may go, or declare it "
            "as it is.",
            objects=[outcome.as_dict() for outcome in self.outcomes],
        )

    def _decide_purge(self, purge: Purge) -> None:
        kind = self._kinds[by_name(purge.kind)]
        declared = {item.key for item in self._items[type(kind)]}
        spared = declared | self._own_access(kind)
        found = set(kind.names(self.client, purge.prefix) if purge.prefix else ())
        default = getattr(kind, "default_mount", "")
        for name in purge.names:
            wanted = {name.lower(), f"{default}/{name}".lower()}
            # Those that begin so, in the case that the server knows.
            found |= {one for one in kind.names(self.client, name) if one.lower() in wanted}
        for name in sorted(found):
            if name not in spared and (kind, name) not in self._doomed:
                self._doomed.append((kind, name))
                self.plan.add(kind.name, name, "delete", {"exists": True}, {"exists": False})
                self.outcomes.append(Outcome(kind.name, name, "deleted"))

    def _own_access(self, kind: Kind) -> set[str]:
        """Objects that the caller's own token stands on, and the one below root as well."""
        if kind.name == "policy":
            return self.client.policies()
        found = set()
        for token in self.client.identities():
            meta = token.get("meta") or {}
            mount = str(token.get("path", "")).removeprefix("auth/").rpartition("/login")[0]
            names = [meta[name] for name in ("role_name", "cert_name") if meta.get(name)]
            found |= {f"{mount}/{name}" for name in names}
        return found

    @property
    def doubt(self) -> str:
        """What of :attr:`plan` the server may refuse, which only trying would tell."""
        devices = [o.name for o in self.outcomes if (o.kind, o.verdict) == _NEW_DEVICE]
        if not devices:
            return ""
        return (
            f"audit device {', '.join(devices)}: missing; a server that takes audit devices from "
            "its configuration only, as OpenBao does, will refuse to make it"
        )

    # -- act and read back --------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what :attr:`plan` says, then prove that it is so.

        :raises errors.IgnoredFieldError: if the server took a request and left a setting as it was.
        """
        if self.unmounted:
            raise errors.NoRouteError(
                f"nothing is mounted at {' and '.join(self.unmounted)}",
                hint="Nothing was written. Declare the mount in the same call, or make it before.",
                path=self.unmounted[0],
                status=404,
            )
        written: list[_Item] = []
        verdicts = {(outcome.kind, outcome.name): outcome for outcome in self.outcomes}
        for kind, items in self._items.items():
            due = [item for item in items if item.actual is None or item.differing]
            warnings = self.client.map(self._write, due)
            for item, said in zip(due, warnings, strict=True):
                verdicts[item.kind.name, item.key].warnings = said
            self._verify(self._kinds[kind], due)
            written += due
        for doomed_kind, name in reversed(self._doomed):
            doomed_kind.remove(self.client, name)
        self._report_ignored(written, verdicts)

    def _write(self, item: _Item) -> list[str]:
        create = item.actual is None
        due = {*item.wanted} if create else {*item.differing}
        values = {
            name: value
            for name, value in item.wanted.items()
            if name in due or item.kind.fields[name].always
        }
        return item.kind.write(self.client, item.key, values, create=create)

    def _verify(self, kind: Kind, items: list[_Item]) -> None:
        found = self.client.map(lambda item: kind.read(self.client, item.key, item.wanted), items)
        for item, actual in zip(items, found, strict=True):
            item.actual = actual or {}

    def _report_ignored(
        self, written: list[_Item], verdicts: Mapping[tuple[str, str], Outcome]
    ) -> None:
        ignored = [item for item in written if item.differing]
        for item in ignored:
            outcome = verdicts[item.kind.name, item.key]
            outcome.verdict, outcome.fields = "ignored by the server", item.differing
        if ignored:
            version = self.client.version
            text = "; ".join(
                f"{item.title}: {_pairs(item.wanted, item.differing)} became "
                f"{_pairs(item.actual or {}, item.differing)}"
                for item in ignored[:10]
            )
            raise errors.IgnoredFieldError(
                f"the server (version {version}) did not take what was written: {text}",
                fields=sorted({name for item in ignored for name in item.differing}),
                version=version,
                objects=[outcome.as_dict() for outcome in self.outcomes],
            )


def _pairs(values: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name}={_short(values.get(name))}" for name in names)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def reconcile(
    client: VaultClient,
    declared: Mapping[type[Kind], Sequence[Mapping[str, Any]]],
    *,
    purges: Sequence[Purge] = (),
    check_mode: bool = False,
) -> Reconciler:
    """Survey and, outside of check mode, carry out.

    :raises PhoenixError: before anything has been written, if something is wrong with it.
    """
    reconciler = Reconciler(client, declared, purges)
    reconciler.survey()
    if not check_mode:
        reconciler.carry_out()
    return reconciler
