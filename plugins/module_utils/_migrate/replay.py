# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the history of one secret is told again to another server, version by version.

Pure: it compares two histories and says which requests make the second one equal to the first.
Numbers are kept. What has no data to be copied (a version that was deleted, destroyed, or pruned
for age) is written as a placeholder, and deleted or destroyed like its original.

A history that a killed run has left half told is the beginning of the source's own, so it is gone
on with. Whatever else is found at the target is somebody's content: a clash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

__all__ = [
    "DEFAULT_SETTINGS",
    "DELETED",
    "DESTROYED",
    "LIVE",
    "PLACEHOLDER",
    "Delete",
    "Destroy",
    "Expire",
    "History",
    "Mount",
    "Retelling",
    "Settings",
    "Step",
    "Version",
    "Write",
    "retell",
]

LIVE, DELETED, DESTROYED = "live", "deleted", "destroyed"

# What is written where there is no data. Undeleting it at the target shows what it is.
PLACEHOLDER = {"placeholder": "tamshai.phoenix: the data of this version stayed at the source"}

DEFAULT_SETTINGS: Mapping[str, Any] = {
    "max_versions": 0,
    "cas_required": False,
    "delete_version_after": 0,
    "metadata_cas_required": False,
}
# Versions that a server keeps of a secret where nobody says how many.
_KEPT = 10


@dataclass(frozen=True)
class Version:
    """One version of a secret.

    :arg mark: Keyed fingerprint of its data, empty where they cannot be read.
    :arg expires: When the server is going to delete it, RFC 3339; empty where it is not.
    :arg placeholder: Whether its data are the placeholder.
    """

    state: str
    mark: str = ""
    expires: str = ""
    placeholder: bool = False


@dataclass(frozen=True)
class History:
    """All that a server knows about one secret.

    :arg current: Number of the newest version, 0 where there was none yet.
    :arg versions: Those that the server still has, by number.
    :arg revision: Number of the metadata's own version, for check-and-set.
    """

    current: int = 0
    versions: Mapping[int, Version] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_SETTINGS))
    custom: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0

    @property
    def oldest(self) -> int:
        return min(self.versions, default=self.current + 1)


@dataclass(frozen=True)
class Mount:
    """What a target's mount does to every secret in it.

    :arg max_versions: Versions kept, 0 where it does not say.
    :arg delete_version_after: Seconds after which a version is deleted, 0 where it is not.
    """

    max_versions: int = 0
    delete_version_after: int = 0

    def kept(self, own: int) -> int:
        """How many versions of a secret stay, given the secret's own setting."""
        return max(own, self.max_versions) or _KEPT


@dataclass(frozen=True)
class Settings:
    """Write these of the settings, or ``custom_metadata``."""

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Expire:
    """See to it that the next version is deleted at a time."""

    at: str


@dataclass(frozen=True)
class Write:
    """Write one version.

    :arg mark: Of the data to copy; empty for a placeholder.
    """

    version: int
    mark: str = ""


@dataclass(frozen=True)
class Delete:
    versions: tuple[int, ...]


@dataclass(frozen=True)
class Destroy:
    versions: tuple[int, ...]


Step: TypeAlias = "Settings | Expire | Write | Delete | Destroy"


@dataclass(frozen=True)
class Retelling:
    """What there is to do for one secret.

    :arg clash: Why nothing may be done; empty where something may.
    :arg ahead: Whether the target has all of it and has written more since.
    """

    steps: Sequence[Step] = ()
    clash: str = ""
    ahead: bool = False


def retell(source: History, target: History | None, mount: Mount) -> Retelling:
    """What makes the target's history that of the source.

    :arg target: ``None`` where the target knows no such secret.
    """
    if target is None:
        steps = tuple(_steps(source, History(), mount))
        # Metadata may exist with nothing in them.
        return Retelling(steps or (Settings({"max_versions": 0}),))
    clash = _clash(source, target, mount)
    if clash:
        return Retelling(clash=clash)
    if target.current > source.current:
        return Retelling(ahead=True)
    return Retelling(tuple(_steps(source, target, mount)))


# -- compare ----------------------------------------------------------------------------------


def _clash(source: History, target: History, mount: Mount) -> str:
    """In what the target contradicts the source; empty where it does not."""
    shared = range(1, min(source.current, target.current) + 1)
    # One version that is the same in both shows that what only one can still tell is the same too.
    related = any(
        n in source.versions
        and n in target.versions
        and _equal(source.versions[n], target.versions[n], mount)
        for n in shared
    )
    for n in shared:
        here, there = source.versions.get(n), target.versions.get(n)
        if here is None and there is None:
            continue
        if there is None:
            # A target that has written on has pruned for age, as any server does.
            if target.current > source.current and related:
                continue
            return f"version {n} is gone there"
        reason = _contradiction(here, there, mount, related)
        if reason:
            return f"version {n} {reason}"
    if target.current <= source.current and target.custom and target.custom != source.custom:
        return "its custom metadata are others"
    return ""


def _equal(here: Version, there: Version, mount: Mount) -> bool:
    """Whether both can be read, and are the same."""
    return here.state == there.state == LIVE and not _contradiction(here, there, mount, False)


def _contradiction(here: Version | None, there: Version, mount: Mount, related: bool) -> str:
    if here is None:
        # Pruned at the source. What stands in for it is ours; else it was copied before.
        if there.state == DESTROYED or (there.state == LIVE and there.placeholder) or related:
            return ""
        return f"is {there.state} there, and the source has it no more"
    if there.state == LIVE:
        if here.state == LIVE:
            if here.mark != there.mark:
                return "has other data there"
            # A mount that deletes everything after a time cannot be told not to.
            if bool(here.expires) != bool(there.expires) and not mount.delete_version_after:
                return "has another end there"
            return ""
        return "" if there.placeholder else f"has data there, and is {here.state} at the source"
    return "" if here.state == there.state else f"is {there.state} there, not {here.state}"


# -- decide -----------------------------------------------------------------------------------


def _steps(source: History, target: History, mount: Mount) -> Iterator[Step]:
    """For a target that contradicts the source in nothing."""
    final: dict[str, Any] = {**source.settings, "custom_metadata": dict(source.custom)}
    now: dict[str, Any] = {**target.settings, "custom_metadata": dict(target.custom)}
    writes = range(target.current + 1, source.current + 1)
    wanted = dict(final)
    # Set last, for every change of the metadata has to name its predecessor from then on.
    wanted["metadata_cas_required"] = now["metadata_cas_required"]
    span = source.current - source.oldest + 1
    kept = mount.kept(final["max_versions"])
    if writes:
        # What the source has kept stays, though its settings would keep less today, ...
        if span > kept:
            wanted["max_versions"] = kept = span
        # ... and nothing gets an end that has none.
        wanted["delete_version_after"] = 0
    yield from _differing(now, wanted)
    now = wanted
    for n in writes:
        version = source.versions.get(n)
        live = version is not None and version.state == LIVE
        if version is not None and live and version.expires:
            yield Expire(version.expires)
            now = {**now, "delete_version_after": None}
        elif now["delete_version_after"] != wanted["delete_version_after"]:
            yield Settings({"delete_version_after": wanted["delete_version_after"]})
            now = dict(wanted)
        yield Write(n, version.mark if version is not None and live else "")
    yield from _ends(source, target, kept)
    yield from _differing(now, final)


def _differing(now: Mapping[str, Any], then: Mapping[str, Any]) -> Iterator[Settings]:
    values = {name: value for name, value in then.items() if now[name] != value}
    if values:
        yield Settings(values)


def _ends(source: History, target: History, kept: int) -> Iterator[Step]:
    """Delete and destroy what is so at the source: placeholders, all of them."""
    deleted: list[int] = []
    destroyed: list[int] = []
    for n in range(1, source.current + 1):
        here = source.versions.get(n)
        if here is not None and here.state == LIVE:
            continue
        if n > target.current:
            if n <= source.current - kept:
                continue  # pruned by the writes above
        else:
            there = target.versions.get(n)
            if there is None or there.state != LIVE or not there.placeholder:
                continue
        (deleted if here is not None and here.state == DELETED else destroyed).append(n)
    if deleted:
        yield Delete(tuple(deleted))
    if destroyed:
        yield Destroy(tuple(destroyed))
