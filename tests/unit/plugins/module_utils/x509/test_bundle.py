# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bundles on disk: whole or not at all, and what a broken one is called."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import bundle, issue, keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Bundle, Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import Declaration

Place = Callable[..., str]


@pytest.fixture
def place(
    authority: Authority, tree: Tree, declared: dict[str, Declaration], now: datetime
) -> Place:
    """Put a new version of a bundle in place; its serial."""
    issuer = authority.signer("issuing")
    root = keys.certificate_pem(authority.certificate("root"))

    def _place(name: str = "api") -> str:
        key = keys.make_key("ecdsa-p256")
        leaf = issue.make_leaf(
            public_key=key.public_key(),
            declared=declared[name],
            issuer=issuer,
            now=now,
            lifetime=timedelta(days=90),
        )
        chain = keys.certificate_pem(leaf) + keys.certificate_pem(issuer[0])
        tree.place(declared[name], keys.key_pem(key), chain, root)
        return issue.serial_text(leaf.serial_number)

    return _place


def test_layout_owner_and_modes(tree: Tree, declared: dict[str, Declaration], place: Place) -> None:
    serial = place("api.app_login")
    link = tree.root / "api" / "clients" / "app_login" / "current"
    assert link.readlink() == Path("versions") / serial
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in link.iterdir()}
    assert modes == {"tls.crt": 0o444, "tls.key": 0o400, "ca.crt": 0o444, "tls.pem": 0o400}
    for directory in (tree.root / "api", tree.root / "api" / "clients", link.resolve()):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    found = tree.read(declared["api.app_login"])
    assert found is not None
    assert found.serial == serial
    assert len(found.chain) == 1


def test_a_strict_umask_does_not_lock_the_service_out(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    before = os.umask(0o077)
    try:
        place()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tree.base(declared["api"]) / "versions").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree.current(declared["api"]) / "tls.crt").stat().st_mode) == 0o444


def test_the_directory_of_a_service_stays_the_same_one(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    place()
    inode = tree.base(declared["api"]).stat().st_ino
    place()
    assert tree.base(declared["api"]).stat().st_ino == inode


def test_two_versions_are_kept(tree: Tree, declared: dict[str, Declaration], place: Place) -> None:
    serials = []
    for age in (300, 200, 100):
        serials.append(place())
        version = tree.base(declared["api"]) / "versions" / serials[-1]
        os.utime(version, (version.stat().st_mtime - age,) * 2)
    assert tree.surplus(declared["api"]) == [serials[0]]
    tree.prune(declared["api"])
    left = {path.name for path in (tree.base(declared["api"]) / "versions").iterdir()}
    assert left == set(serials[1:])


@pytest.mark.parametrize("newest", [0, 1])
def test_what_a_failed_reload_goes_back_to_is_kept_whatever_its_time(
    tree: Tree, declared: dict[str, Declaration], place: Place, newest: int
) -> None:
    """After a reboot all versions are as old as their restoring, in whatever order."""
    serials = [place(), place()]
    tree.clear_pending(["api"])
    versions = tree.base(declared["api"]) / "versions"
    for number, serial in enumerate(serials):
        os.utime(versions / serial, (1000 + (number == newest),) * 2)
    current = place()
    assert tree.surplus(declared["api"]) == [serials[0]]
    tree.prune(declared["api"])
    assert {path.name for path in versions.iterdir()} == {serials[1], current}
    assert tree.pending()["api"]["before"] == serials[1]


def test_the_current_version_is_never_surplus(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    first, second, third = place(), place(), place()
    tree.point(declared["api"], first)
    tree.prune(declared["api"])
    assert tree.current_serial(declared["api"]) == first
    assert (tree.current(declared["api"]) / "tls.key").exists()
    assert (
        len({second, third} & {p.name for p in (tree.base(declared["api"]) / "versions").iterdir()})
        == 1
    )


def test_a_swap_is_marked_until_it_is_proven(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    first = place()
    assert tree.pending() == {}, "nobody can have used a bundle that was not there"
    second = place()
    assert tree.pending() == {"api": {"serial": second, "before": first}}
    tree.clear_pending(["api"])
    assert tree.pending() == {}


def test_a_mark_that_cannot_be_read_still_counts(tree: Tree) -> None:
    tree.mark_pending("api", "1", "2")
    (tree.pending_marks / "api").write_text("{")
    assert list(tree.pending()) == ["api"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: (p / "tls.key").unlink(), "tls.key is missing"),
        (lambda p: _write(p / "tls.key", b"x"), "tls.key holds 0 private keys"),
        (lambda p: _write(p / "tls.crt", b"x"), "tls.crt holds no certificate"),
        (lambda p: _write(p / "ca.crt", b""), "ca.crt holds no certificate"),
        (
            lambda p: _write(p / "tls.key", keys.key_pem(keys.make_key("ecdsa-p256"))),
            "tls.key does not match the certificate",
        ),
        (lambda p: _write(p / "tls.pem", b""), "tls.pem is not"),
    ],
)
def test_damage_is_named(
    tree: Tree,
    declared: dict[str, Declaration],
    place: Place,
    damage: Callable[[Path], None],
    words: str,
) -> None:
    place()
    damage(tree.current(declared["api"]).resolve())
    with pytest.raises(PhoenixError, match=words):
        tree.read(declared["api"])


def _write(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def test_a_dangling_link_is_damage_not_absence(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    assert tree.read(declared["api"]) is None
    place()
    tree.current(declared["api"]).unlink()
    tree.current(declared["api"]).symlink_to("versions/gone")
    with pytest.raises(PhoenixError, match="missing"):
        tree.read(declared["api"])


def test_a_directory_in_the_place_of_the_link_is_not_deleted(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    current = tree.current(declared["api"])
    current.mkdir(parents=True)
    (current / "precious").touch()
    with pytest.raises(PhoenixError, match="is a directory, not a symbolic link"):
        place()
    assert (current / "precious").exists()


def test_drift_of_modes_is_found_and_repaired(
    tree: Tree, declared: dict[str, Declaration], place: Place
) -> None:
    place()
    assert tree.drift(declared["api"]) == []
    (tree.current(declared["api"]) / "tls.key").chmod(0o644)
    assert tree.drift(declared["api"]) == ["tls.key"]
    tree.repair(declared["api"])
    assert tree.drift(declared["api"]) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_drift_of_owners_is_found_and_repaired(
    tree: Tree, entries: list[dict[str, Any]], place: Place
) -> None:
    place()
    wanted = Declaration.parse({**entries[0], "uid": 4711, "gid": 4712})
    assert set(tree.drift(wanted)) == set(bundle.MODES)
    tree.repair(wanted)
    assert tree.drift(wanted) == []


def test_staged_keys_are_for_their_maker_only(tree: Tree) -> None:
    tree.stage_key("api", b"key")
    path = tree.staging / "api" / "tls.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(tree.staging.stat().st_mode) == 0o700
    assert tree.staged() == ["api"]
    assert tree.staged_key("api") == b"key"
    tree.clear_staging()
    assert tree.staged() == []
    with pytest.raises(PhoenixError, match="not staged any more"):
        tree.staged_key("api")


def test_a_directory_on_a_disk_is_no_memory(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match="is no memory file system"):
        Tree(tmp_path / "absent").check_in_memory()


class Killed(BaseException):
    """Stands for kill -9: nothing of ours catches it."""


def test_killed_at_any_step_leaves_the_old_or_the_new_bundle(
    tree: Tree, declared: dict[str, Declaration], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call by which the file system is changed is a place to die, before it and after."""
    old = place()
    wanted = declared["api"]
    steps = _count_steps(monkeypatch, place)
    assert steps > 10
    for deadly in range(steps):
        before = tree.current_serial(wanted)
        with monkeypatch.context() as patch:
            _die_at(patch, deadly)
            with pytest.raises(Killed):
                place()
        found = tree.read(wanted)
        assert found is not None, f"no bundle after a kill at step {deadly}"
        if found.serial != before:
            assert tree.pending()["api"]["serial"] == found.serial, "a swap without a mark"
        tree.clear_staging()
    fresh = place()
    assert tree.current_serial(wanted) == fresh != old


_DEADLY = ("mkdir", "chmod", "fchmod", "rename", "replace", "symlink", "unlink", "fsync", "rmdir")


def _die_at(patch: pytest.MonkeyPatch, deadly: int) -> list[int]:
    seen = [0]

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if seen[0] >= deadly:
                raise Killed
            seen[0] += 1
            return real(*args, **kwargs)

        return call

    for name in _DEADLY:
        patch.setattr(os, name, wrap(getattr(os, name)))
    return seen


def _count_steps(monkeypatch: pytest.MonkeyPatch, place: Place) -> int:
    with monkeypatch.context() as patch:
        seen = _die_at(patch, 10**9)
        place()
        return seen[0]


def test_reading_needs_all_files(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match=r"tls.crt is missing"):
        Bundle.read(tmp_path)
