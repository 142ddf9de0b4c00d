# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Move what a server holds to another one: read both, decide, act, read back.

The source is only read. Everything is decided before anything is written, from what the two servers
say at the time: there is no journal, so a run that was killed leaves nothing to be put right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.access import (
    AppRoles,
    Policies,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.kv import (
    Copy,
    Engine,
    Scope,
    below,
    settings_of,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.ledger import (
    KEEP,
    REFUSE,
    REPLACE,
    Item,
    Ledger,
    Marks,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.replay import (
    DEFAULT_SETTINGS,
    DELETED,
    DESTROYED,
    LIVE,
    History,
    Mount,
    Retelling,
    retell,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import kinds
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["Migration", "Wishes"]

_KV = ("kv", "generic")
# Mounts of a server's own, which hold nothing to be moved.
_OWN_ENGINES = frozenset({"system", "identity", "cubbyhole", "ns_system", "ns_identity"})
_OWN_METHODS = frozenset({"token", "ns_token", "approle"})
_SHOWN = 20


@dataclass(frozen=True)
class Wishes:
    """What is to be moved.

    :arg mounts: Key-value engines; all of the source, if empty.
    :arg exclude_secrets: Secrets and folders of the target that are not even looked at.
    :arg approle_mounts: AppRole methods with their names at the target; all, if empty.
    """

    mounts: Sequence[Scope] = ()
    exclude_secrets: Sequence[str] = ()
    policies: bool = True
    exclude_policies: Sequence[str] = ()
    approles: bool = True
    exclude_approles: Sequence[str] = ()
    approle_mounts: Mapping[str, str] = field(default_factory=dict)


class Migration:
    """From a source to a target."""

    def __init__(
        self,
        source: VaultClient,
        target: VaultClient,
        wishes: Wishes,
        marks: Marks,
        clash: str = REFUSE,
    ) -> None:
        self.source = source
        self.target = target
        self.wishes = wishes
        self.marks = marks
        self.ledger = Ledger(clash)
        # What closes a mount, after its secrets.
        self._last: list[Item] = []

    # -- read and decide ----------------------------------------------------------------------

    def survey(self) -> None:
        """Read both servers and decide about everything; changes nothing.

        :raises PhoenixError: naming every object that the target has with other content.
        """
        self._refuse_itself()
        here, there = self._mounts(self.source), self._mounts(self.target)
        renamed: dict[str, str] = {}
        for scope in self._scopes(here):
            if scope.source != scope.target:
                renamed[scope.source] = scope.target
            self._engine(scope, here[scope.source], there.get(scope.target))
        for path, mount in here.items():
            if mount["type"] not in (*_KV, *_OWN_ENGINES):
                self.ledger.lose("secret engine", path, f"engines of type {mount['type']} stay")
        if self.wishes.policies:
            Policies(
                self.source, self.target, self.marks, self.wishes.exclude_policies, renamed
            ).survey(self.ledger)
        if self.wishes.approles:
            self._approles()
        if any(item.kind == "secret" for item in self.ledger.items):
            why = "created_time, updated_time and deletion_time are those of the migration"
            self.ledger.lose("secret", "*", why)
        self.ledger.settle()

    def _refuse_itself(self) -> None:
        same = [
            (str(client.seal_status().get("cluster_id") or ""), client.connection.namespace or "")
            for client in (self.source, self.target)
        ]
        if same[0][0] and same[0] == same[1]:
            raise PhoenixError(f"{self.source.url} and {self.target.url} are the same server")

    @staticmethod
    def _mounts(client: VaultClient, base: str = "sys/mounts") -> dict[str, Any]:
        answer = client.read(base) or {}
        return {
            path.rstrip("/"): mount
            for path, mount in answer.items()
            if isinstance(mount, Mapping) and "type" in mount
        }

    def _scopes(self, here: Mapping[str, Any]) -> list[Scope]:
        """The engines to move.

        :raises PhoenixError: naming those that the source does not have.
        """
        engines = sorted(path for path, mount in here.items() if mount["type"] in _KV)
        if not self.wishes.mounts:
            return [Scope(path, path) for path in engines]
        missing = sorted({scope.source for scope in self.wishes.mounts} - set(engines))
        if missing:
            raise PhoenixError(
                f"{self.source.url} has no key-value engine {', '.join(missing)}",
                hint=f"It has {', '.join(engines) or 'none'}.",
            )
        return list(self.wishes.mounts)

    def _approles(self) -> None:
        here = self._mounts(self.source, "sys/auth")
        there = self._mounts(self.target, "sys/auth")
        for path, mount in here.items():
            if mount["type"] not in _OWN_METHODS:
                self.ledger.lose("auth method", path, f"methods of type {mount['type']} stay")
        methods = sorted(path for path, mount in here.items() if mount["type"] == "approle")
        names = self.wishes.approle_mounts or dict(zip(methods, methods, strict=True))
        missing = sorted(set(names) - set(methods))
        if missing:
            raise PhoenixError(
                f"{self.source.url} has no AppRole method {', '.join(missing)}",
                hint=f"It has {', '.join(methods) or 'none'}.",
            )
        for old, new in names.items():
            if self._mount(kinds.AuthMethods(), old, new, there.get(new), "approle"):
                AppRoles(
                    self.source,
                    self.target,
                    self.marks,
                    old,
                    new,
                    new in there,
                    self.wishes.exclude_approles,
                ).survey(self.ledger)

    def _mount(
        self, kind: kinds.Kind, old: str, new: str, there: Mapping[str, Any] | None, what: str
    ) -> bool:
        """Have a mount made where there is none; ``False`` where there is another."""
        if there is None:
            values = {
                name: value
                for name, value in (kind.read(self.source, old, {}) or {}).items()
                if value
            }
            create: Callable[[], object] = lambda: kind.write(  # noqa: E731
                self.target, new, values, create=True
            )
            self.ledger.items.append(Item(kind.name, new, "created", act=create, after=values))
            return True
        found = _engine_of(there)
        if found == what:
            self.ledger.items.append(Item(kind.name, new, "unchanged"))
            return True
        self.ledger.clash(kind.name, new, f"is {found}, not {what}", replaceable=False)
        return False

    # -- key-value engines --------------------------------------------------------------------

    def _engine(
        self, scope: Scope, mount: Mapping[str, Any], there: Mapping[str, Any] | None
    ) -> None:
        if not self._mount(
            kinds.SecretEngines(), scope.source, scope.target, there, _engine_of(mount)
        ):
            return
        version = 2 if _engine_of(mount) == "kv 2" else 1
        source = Engine(self.source, scope.source, scope.target, version, self.marks)
        target = Engine(self.target, scope.target, scope.target, version, self.marks)
        paths = [p for p in source.paths(scope) if not self._spared(f"{scope.target}/{p}")]
        present = set(target.paths()) if there is not None else set()
        if version == 1:
            self._singles(source, target, paths, present)
            return
        config = self._config(source, target, there is not None, bool(present - set(paths)))
        histories = self.source.map(source.history, paths)
        actual = self.source.map(lambda p: target.history(p) if p in present else None, paths)
        for path, here, now in zip(paths, histories, actual, strict=True):
            if here is not None:
                self._secret(Copy(source, target, path), here, now, config)

    def _spared(self, name: str) -> bool:
        return any(below(name, spared) for spared in self.wishes.exclude_secrets)

    def _config(self, source: Engine, target: Engine, exists: bool, foreign: bool) -> _Config:
        """Decide about the settings of a mount of version 2.

        A mount that holds nothing but what the source has takes over the source's settings. Where
        it holds more, they would change what happens to that; the secrets move all the same.
        """
        wanted = settings_of(self.source.read(f"{source.mount}/config") or {})
        answer = self.target.read(f"{target.mount}/config") if exists else None
        now = settings_of(answer or {})
        known = answer is None or "metadata_cas_required" in answer
        if not known and wanted["metadata_cas_required"]:
            self.ledger.lose("kv config", target.home, _UNKNOWN)
            wanted["metadata_cas_required"] = False
        differing = sorted(name for name in wanted if wanted[name] != now[name])
        if differing and foreign:
            told = ", ".join(f"{name} is {now[name]}, not {wanted[name]}" for name in differing)
            self.ledger.lose(
                "kv config", target.home, f"stays as the target's other secrets need it: {told}"
            )
            return _Config(now, now, known)
        if differing:
            self._set_config(target, now, wanted, differing)
        return _Config(now, wanted, known)

    def _set_config(
        self,
        target: Engine,
        now: Mapping[str, Any],
        wanted: Mapping[str, Any],
        differing: Sequence[str],
    ) -> None:
        """In two parts: what would give versions an end, or refuse what is written, comes last."""
        where = f"{target.mount}/config"
        first = {n: wanted[n] for n in differing if n == "max_versions"}
        last = {n: wanted[n] for n in differing if n not in first}
        if "delete_version_after" in last:
            last["delete_version_after"] = f"{last['delete_version_after']}s"

        def check() -> str:
            there = settings_of(self.target.read(where) or {})
            return "" if there == wanted else "its settings are others"

        verdict = "created" if now == DEFAULT_SETTINGS else "replaced"
        item = Item("kv config", target.home, verdict, check=check)
        item.before, item.after = dict(now), dict(wanted)
        item.act = (lambda: self.target.write(where, first)) if first else None
        self.ledger.items.append(item)
        if last:
            closing = Item("kv config", target.home, verdict)
            closing.act = lambda: self.target.write(where, last)
            self._last.append(closing)

    def _singles(
        self, source: Engine, target: Engine, paths: Sequence[str], present: set[str]
    ) -> None:
        marks = self.source.map(source.single, paths)
        actual = self.source.map(lambda p: target.single(p) if p in present else "", paths)
        for path, mark, now in zip(paths, marks, actual, strict=True):
            if not mark:
                continue
            name = f"{target.home}/{path}"
            verdict = "unchanged" if now == mark else "created"
            if now and now != mark:
                if self.ledger.clash("secret", name, "has other data there") != REPLACE:
                    continue
                verdict = "replaced"
            act = None if now == mark else _bound(Copy(source, target, path).overwrite, mark)
            self.ledger.items.append(
                Item(
                    "secret",
                    name,
                    verdict,
                    act=act,
                    check=_bound(_same_single, target, path, mark),
                    record={"mount": target.home, "path": path, "version": 1, "mark": mark},
                    before={"exists": True} if now else None,
                    after={"exists": True, "from": f"{source.mount}/{path}"},
                )
            )

    def _secret(self, copy: Copy, here: History, now: History | None, config: _Config) -> None:
        name = f"{copy.target.home}/{copy.path}"
        here = self._supported(name, here, config)
        told = retell(here, now, config.mount)
        verdict = _verdict(told, now)
        if told.clash:
            answer = self.ledger.clash("secret", name, told.clash)
            if answer in (KEEP, REFUSE):
                return
            verdict, told = "replaced", retell(here, None, config.mount)
        self._losses(name, here, config)
        named = config.named or bool(now and now.settings["metadata_cas_required"])
        revision = now.revision if now and verdict != "replaced" else 0

        def act() -> None:
            if verdict == "replaced":
                copy.forget(told.steps)
            copy.tell(told.steps, revision, named)

        self.ledger.items.append(
            Item(
                "secret",
                name,
                verdict,
                act=act if told.steps or verdict == "replaced" else None,
                check=lambda: _same(copy.target, copy.path, here, config),
                record=_record(copy.target.home, copy.path, here, self.marks),
                before=_shown(now) if now else None,
                after=_shown(here),
            )
        )

    def _supported(self, name: str, here: History, config: _Config) -> History:
        if config.known or not here.settings["metadata_cas_required"]:
            return here
        self.ledger.lose("secret", name, _UNKNOWN)
        settings = {**here.settings, "metadata_cas_required": False}
        return History(here.current, here.versions, settings, here.custom, here.revision)

    def _losses(self, name: str, here: History, config: _Config) -> None:
        if here.oldest > 1 and here.current:
            gone = {"versions": _span(1, here.oldest - 1)}
            self.ledger.lose("secret", name, "pruned at the source for their age", **gone)
        for n, version in here.versions.items():
            if version.state == DELETED:
                why = "deleted: to read its data takes an undelete at the source"
            elif version.state == DESTROYED:
                why = "destroyed: the source has no data of it"
            elif config.mount.delete_version_after and not version.expires:
                why = "the target's mount deletes it after a time; it has no end at the source"
            else:
                continue
            self.ledger.lose("secret", name, why, version=n)

    # -- act and read back --------------------------------------------------------------------

    def carry_out(self) -> None:
        """Do what was decided, then read everything back and compare.

        :raises PhoenixError: naming what is not as at the source.
        """
        for group in self._groups():
            self.target.map(lambda item: item.act and item.act(), group)
        written = [item for item in self.ledger.items if item.changes and item.check]
        said = self.target.map(lambda item: item.check and item.check(), written)
        wrong = [f"{i.title}: {text}" for i, text in zip(written, said, strict=True) if text]
        if wrong:
            raise PhoenixError(
                f"not as at the source after it was written: {'; '.join(wrong[:_SHOWN])}",
                hint="Was it changed meanwhile? Run it again.",
            )

    def _groups(self) -> list[list[Item]]:
        """In the order in which they depend on each other; those of one group do not."""
        order = ("secret engine", "kv config", "secret", "policy", "auth method", "approle")
        groups = [[i for i in self.ledger.items if i.kind == kind] for kind in order]
        groups.insert(order.index("secret") + 1, self._last)
        return groups


@dataclass(frozen=True)
class _Config:
    """Settings of a target's mount, now and in the end.

    :arg known: Whether the server knows check-and-set of metadata.
    """

    now: Mapping[str, Any]
    wanted: Mapping[str, Any]
    known: bool

    @property
    def mount(self) -> Mount:
        return Mount(self.wanted["max_versions"], self.now["delete_version_after"])

    @property
    def named(self) -> bool:
        return bool(self.now["metadata_cas_required"])


_UNKNOWN = "the target does not know the setting metadata_cas_required"


def _bound(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _engine_of(mount: Mapping[str, Any]) -> str:
    if mount["type"] not in _KV:
        return str(mount["type"])
    return "kv 2" if str((mount.get("options") or {}).get("version")) == "2" else "kv 1"


def _verdict(told: Retelling, now: History | None) -> str:
    if told.ahead:
        return "ahead"
    if not told.steps:
        return "unchanged"
    return "created" if now is None else "completed"


def _same(target: Engine, path: str, here: History, config: _Config) -> str:
    now = target.history(path)
    if now is None:
        return "it is not there"
    told = retell(here, now, config.mount)
    return told.clash or ("it is not complete" if told.steps else "")


def _same_single(target: Engine, path: str, mark: str) -> str:
    return "" if target.single(path) == mark else "has other data there"


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _shown(told: History) -> dict[str, Any]:
    """A history without a value."""
    states = {LIVE: 0, DELETED: 0, DESTROYED: 0}
    for version in told.versions.values():
        states[version.state] += 1
    return {
        "current_version": told.current,
        "versions": states,
        "settings": dict(told.settings),
        "custom_metadata": sorted(told.custom),
    }


def _record(mount: str, path: str, here: History, marks: Marks) -> dict[str, Any]:
    metadata = {**here.settings, "custom_metadata": dict(here.custom)}
    return {
        "mount": mount,
        "path": path,
        "version": 2,
        "current": here.current,
        "versions": {str(n): version.mark or version.state for n, version in here.versions.items()},
        "ends": {str(n): v.expires for n, v in here.versions.items() if v.expires},
        "metadata": marks.of("metadata", f"{mount}/{path}", metadata),
    }
