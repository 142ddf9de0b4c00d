# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A history retold to a server that may have been left with any part of it, or with another one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._migrate.replay import (
    DEFAULT_SETTINGS,
    DELETED,
    DESTROYED,
    LIVE,
    Delete,
    Destroy,
    Expire,
    History,
    Mount,
    Settings,
    Step,
    Version,
    Write,
    retell,
)

END = "2099-01-01T00:00:00Z"
FAR = 10**9


@dataclass
class Server:
    """One secret as a server of engine version 2 treats it (measured: OpenBao 2.7)."""

    mount: Mount = field(default_factory=Mount)
    history: History | None = None

    def carry_out(self, step: Step) -> None:
        now = self.history or History()
        if isinstance(step, Settings):
            values = dict(step.values)
            custom = values.pop("custom_metadata", now.custom)
            self.history = replace(now, settings={**now.settings, **values}, custom=custom)
        elif isinstance(step, Expire):
            self.history = replace(now, settings={**now.settings, "delete_version_after": FAR})
        elif isinstance(step, Write):
            self._write(now, step)
        else:
            self._end(now, step)

    def _write(self, now: History, step: Write) -> None:
        assert step.version == now.current + 1, "check-and-set"
        ends = now.settings["delete_version_after"] or self.mount.delete_version_after
        version = Version(LIVE, step.mark or "p", END if ends else "", not step.mark)
        versions = {**now.versions, step.version: version}
        kept = self.mount.kept(now.settings["max_versions"])
        versions = {n: v for n, v in versions.items() if n > step.version - kept}
        self.history = replace(now, current=step.version, versions=versions)

    def _end(self, now: History, step: Delete | Destroy) -> None:
        versions = dict(now.versions)
        for n in set(step.versions) & set(versions):
            assert versions[n].placeholder, "somebody's data"
            versions[n] = Version(DELETED if isinstance(step, Delete) else DESTROYED)
        self.history = replace(now, versions=versions)


marks = st.sampled_from(["a", "b", "c"])
live = st.builds(Version, st.just(LIVE), marks, st.sampled_from(["", "", END]))
versions = st.one_of(live, live, st.just(Version(DELETED)), st.just(Version(DESTROYED)))
settings = st.fixed_dictionaries(
    {
        "max_versions": st.sampled_from([0, 0, 1, 2, 5, 12]),
        "cas_required": st.booleans(),
        "delete_version_after": st.sampled_from([0, 0, 60]),
        "metadata_cas_required": st.booleans(),
    }
)
customs = st.sampled_from([{}, {}, {"owner": "hr"}, {"owner": "it"}])


@st.composite
def histories(draw: st.DrawFn) -> History:
    """As a source may have it: some versions pruned for age, whatever its settings say today."""
    current = draw(st.integers(0, 14))
    oldest = draw(st.integers(1, current)) if current else 1
    return History(
        current,
        {n: draw(versions) for n in range(oldest, current + 1)},
        draw(settings),
        draw(customs),
    )


mounts = st.builds(Mount, st.sampled_from([0, 0, 3, 20]), st.just(0))


def assert_equal(source: History, target: History | None) -> None:
    assert target is not None
    assert target.current == source.current
    assert target.settings == source.settings
    assert target.custom == source.custom
    for n, version in source.versions.items():
        there = target.versions[n]
        assert (there.state, there.mark, bool(there.expires)) == (
            version.state,
            version.mark,
            bool(version.expires),
        )
    # What the source had pruned is not to be read at the target.
    for n in set(target.versions) - set(source.versions):
        assert target.versions[n].state == DESTROYED


@given(histories(), mounts, st.lists(st.integers(0, 25), max_size=4))
def test_a_run_killed_anywhere_and_again_ends_equal(
    source: History, mount: Mount, killed: list[int]
) -> None:
    server = Server(mount)
    for at in killed:
        for step in retell(source, server.history, mount).steps[:at]:
            server.carry_out(step)
    told = retell(source, server.history, mount)
    assert told.clash == ""
    for step in told.steps:
        server.carry_out(step)
    assert_equal(source, server.history)
    again = retell(source, server.history, mount)
    assert (again.steps, again.clash, again.ahead) == ((), "", False)


@given(histories(), mounts, st.lists(versions, max_size=4), st.integers(0, 40))
def test_what_the_source_has_written_since_is_caught_up_with(
    source: History, mount: Mount, more: list[Version], killed: int
) -> None:
    assume(source.current == 0 or any(v.state == LIVE for v in source.versions.values()))
    server = Server(mount)
    for step in retell(source, None, mount).steps[:killed]:
        server.carry_out(step)
    kept = mount.kept(source.settings["max_versions"])
    later = {**source.versions, **{source.current + i: v for i, v in enumerate(more, 1)}}
    current = source.current + len(more)
    if more:
        later = {n: v for n, v in later.items() if n > current - kept}
    source = replace(source, current=current, versions=later)
    told = retell(source, server.history, mount)
    if told.clash:  # nothing is left that both have
        return
    for step in told.steps:
        server.carry_out(step)
    assert retell(source, server.history, mount).steps == ()
    assert server.history is not None or source == History()
    for n, version in source.versions.items():
        assert server.history is not None
        assert server.history.versions[n].state == version.state
        assert server.history.versions[n].mark == version.mark


@given(histories(), histories(), mounts)
def test_what_the_target_has_stays_readable_or_nothing_is_done(
    source: History, target: History, mount: Mount
) -> None:
    told = retell(source, target, mount)
    if told.clash or told.ahead:
        assert told.steps == ()
        return
    server = Server(mount, target)
    for step in told.steps:
        server.carry_out(step)
    now = server.history
    assert now is not None
    for n, version in target.versions.items():
        if version.state == LIVE and n in now.versions:
            assert now.versions[n].mark == version.mark
            assert now.versions[n].state == LIVE
    assert retell(source, now, mount).steps == ()


def one(*versions: Version, **more: object) -> History:
    return History(len(versions), dict(enumerate(versions, 1)), **more)  # type: ignore[arg-type]


A, B, GONE, LOST = Version(LIVE, "a"), Version(LIVE, "b"), Version(DELETED), Version(DESTROYED)
PLACE = Version(LIVE, "p", placeholder=True)


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        (one(A), one(B), "version 1 has other data there"),
        (one(A, B), one(A, A), "version 2 has other data there"),
        (one(GONE), one(B), "version 1 has data there, and is deleted at the source"),
        (one(LOST), one(GONE), "version 1 is deleted there, not destroyed"),
        (one(A), one(LOST), "version 1 is destroyed there, not live"),
        (one(A), one(replace(A, expires=END)), "version 1 has another end there"),
        (one(A), one(A, custom={"by": "others"}), "its custom metadata are others"),
        (
            History(2, {2: A}),
            one(B),
            "version 1 is live there, and the source has it no more",
        ),
        (one(A, B), History(3, {3: B}), "version 1 is gone there"),
    ],
)
def test_other_content_is_named(source: History, target: History, why: str) -> None:
    assert retell(source, target, Mount()).clash == why


def test_a_target_that_has_written_on_is_left_alone() -> None:
    target = one(A, B, custom={"added": "later"}, settings={**DEFAULT_SETTINGS, "max_versions": 3})
    told = retell(one(A), target, Mount())
    assert (told.ahead, told.steps, told.clash) == (True, (), "")
    # Also where it has pruned meanwhile, as long as something is left to tell it by.
    told = retell(one(A, B), History(11, dict.fromkeys(range(2, 12), B)), Mount())
    assert (told.ahead, told.clash) == (True, "")


def test_a_plain_secret_takes_one_request_for_each_version() -> None:
    steps = retell(one(A, B), None, Mount()).steps
    assert steps == (Write(1, "a"), Write(2, "b"))


def test_placeholders_are_completed_and_told_from_data() -> None:
    assert retell(one(GONE, LOST), one(PLACE, PLACE), Mount()).steps == (
        Delete((1,)),
        Destroy((2,)),
    )
    assert retell(History(3, {3: A}), one(PLACE), Mount(max_versions=20)).steps == (
        Write(2),
        Write(3, "a"),
        Destroy((1, 2)),
    )
