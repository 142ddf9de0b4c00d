# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a killed run has left at a server is told from what somebody else does there."""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.undertaking import Undertaking

OURS = "da5b074b-4d60-024e-dc9f-9212aed2750b"
THEIRS = "04a45f27-8c96-967f-93a4-67f667c76c8a"


@pytest.fixture(autouse=True)
def _apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def begun(nonce: str = OURS, cluster: str = "c1", kind: str = "root token") -> None:
    """By a run that is killed then."""
    with Undertaking(kind, cluster) as made:
        made.ask()
        if nonce:
            made.begun(nonce)


def ours(nonce: str = OURS, cluster: str = "c1", **found: object) -> bool:
    return Undertaking("root token", cluster).is_ours({"nonce": nonce, "progress": 0, **found})


def test_by_its_nonce() -> None:
    assert not ours()
    begun()
    assert ours()
    assert ours(progress=2)
    assert not ours(THEIRS)
    assert not ours(cluster="c2")
    begun(THEIRS, kind="change of shares")
    assert ours()


def test_where_the_server_was_asked_and_its_answer_never_came() -> None:
    begun("")
    assert ours(THEIRS)
    assert not ours(THEIRS, progress=1)
    assert not ours(THEIRS, verification_nonce=OURS)
    begun()
    assert not ours(THEIRS)


def test_one_that_is_over() -> None:
    begun()
    with Undertaking("root token", "c1") as made:
        made.over()
    assert not ours()
    assert not ours("")


def test_what_a_run_was_given_is_its_own_until_it_has_arrived() -> None:
    with Undertaking("root token", "c1") as made:
        made.begun(OURS)
        made.given(OURS)
    undertaking, found = Undertaking("root token", "c1"), {"nonce": OURS, "progress": 0}
    assert not undertaking.is_ours(found)
    assert undertaking.is_ours(found, "")
    assert undertaking.is_ours(found, THEIRS)
    assert not undertaking.is_ours(found, OURS)
    assert not undertaking.is_ours({**found, "nonce": THEIRS}, "")


def test_a_run_that_lives_is_not_robbed() -> None:
    with Undertaking("root token", "c1"):
        other = Undertaking("root token", "c1")
        with pytest.raises(PhoenixError, match="another run on this machine is making a root"):
            other.__enter__()
        with Undertaking("root token", "c2"), Undertaking("change of shares", "c1"):
            pass
    with other:
        pass


def test_where_nothing_can_be_noted_nothing_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(PhoenixError, match="no note can be made"):
        Undertaking("root token", "c1").__enter__()


def test_a_note_lies_in_the_home_of_who_runs_it_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = pwd.struct_passwd(("root", "x", os.geteuid(), 0, "", str(tmp_path / "own"), "/bin/sh"))
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "of another"))
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: own)
    begun()
    assert list((tmp_path / "own" / ".cache" / "tamshai.phoenix").iterdir())
    assert not (tmp_path / "of another").exists()


def test_a_place_without_locks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(PhoenixError, match=r"cannot be locked: .*No locks available"):
        begun()


def test_who_has_no_home_names_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is only a number, as in a container, goes on where XDG_CACHE_HOME is set."""
    monkeypatch.setattr(pwd, "getpwuid", dict[int, object]().__getitem__)
    begun()
    assert ours()
    monkeypatch.delenv("XDG_CACHE_HOME")
    with pytest.raises(PhoenixError, match="has no home for a note"):
        begun()
