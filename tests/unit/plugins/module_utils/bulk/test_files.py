# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Many files in one call: real files, real commands, in a folder of the test."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.files import (
    Apply,
    Bulk,
    Directory,
    File,
    run_command,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

ME = pwd.getpwuid(os.getuid()).pw_name
MINE = grp.getgrgid(os.getgid()).gr_name


class Commands:
    """Runs nothing; remembers what it was asked for and answers from a table of exit codes."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, command: Sequence[str], timeout: float) -> tuple[int, str]:
        self.asked.append(tuple(command))
        return self.codes.get(command[0], 0), f"{command[0]} has spoken"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def file(path: Path, content: str | None, **values: Any) -> File:
    data = None if content is None else content.encode()
    return File(str(path), data, **{"mode": 0o640, "owner": ME, "group": MINE, **values})


def bulk(place: Path, *things: Any, run: Any = run_command) -> Bulk:
    return Bulk(
        [t for t in things if isinstance(t, Directory)],
        [t for t in things if isinstance(t, File)],
        [t for t in things if isinstance(t, Apply)],
        pending=str(place / "pending"),
        run=run,
    )


def test_what_is_declared_is_made_and_then_left_alone(place: Path) -> None:
    things = [
        Directory(str(place / "a/b"), 0o750, ME, MINE),
        file(place / "a/b/one", "1\n"),
        file(place / "a/b/two", "2\n", mode=0o600),
    ]
    first = bulk(place, *things)
    assert [c.action for c in first.read()] == ["create"] * 3
    first.act()
    assert (place / "a/b/one").read_text() == "1\n"
    assert stat.S_IMODE((place / "a/b").stat().st_mode) == 0o750
    assert stat.S_IMODE((place / "a/b/two").stat().st_mode) == 0o600
    assert not bulk(place, *things).read().changed


def test_owners_by_number_are_as_good_as_by_name(place: Path) -> None:
    thing = file(place / "one", "1", owner=str(os.getuid()), group=str(os.getgid()))
    first = bulk(place, thing)
    first.read()
    first.act()
    assert not bulk(place, thing).read().changed
    assert not bulk(place, file(place / "one", "1")).read().changed


@pytest.mark.parametrize("what", ["content", "mode"])
def test_what_has_drifted_comes_back(place: Path, what: str) -> None:
    thing = file(place / "one", "1\n")
    first = bulk(place, thing)
    first.read()
    first.act()
    if what == "content":
        (place / "one").write_text("other\n")
    else:
        (place / "one").chmod(0o666)
    second = bulk(place, thing)
    (change,) = second.read()
    assert change.summary()["fields"] == [what]
    second.act()
    assert (place / "one").read_text() == "1\n"
    assert stat.S_IMODE((place / "one").stat().st_mode) == 0o640


def test_planning_changes_nothing(place: Path) -> None:
    planned = bulk(place, Directory(str(place / "a"), 0o750, ME, MINE), file(place / "a/one", "1"))
    planned.read()
    planned.check()
    assert list(place.iterdir()) == []


def test_an_unwanted_file_goes(place: Path) -> None:
    (place / "old").write_text("x")
    unwanted = bulk(place, file(place / "old", None))
    assert [c.action for c in unwanted.read()] == ["delete"]
    unwanted.act()
    assert not (place / "old").exists()
    assert not bulk(place, file(place / "old", None)).read().changed


def test_nothing_is_written_when_one_file_is_refused(place: Path) -> None:
    things = [
        file(place / "good", "x\n", validate=("grep", "x", "%s")),
        file(place / "bad", "y\n", validate=("grep", "x", "%s")),
    ]
    refused = bulk(place, *things)
    refused.read()
    with pytest.raises(PhoenixError, match=r"/bad is refused by grep \(exit code 1\)"):
        refused.act()
    assert not (place / "good").exists()


def test_check_mode_meets_the_validator_too(place: Path) -> None:
    planned = bulk(place, file(place / "bad", "y\n", validate=("grep", "x", "%s")))
    planned.read()
    with pytest.raises(PhoenixError, match="refused"):
        planned.check()


def test_check_mode_says_when_the_validator_is_not_there_yet(place: Path) -> None:
    planned = bulk(place, file(place / "one", "y\n", validate=("/no/such/program", "%s")))
    planned.read()
    planned.check()
    assert planned.unpredictable == [f"{place}/one: /no/such/program is not there to check it"]
    with pytest.raises(PhoenixError, match="exit code 127"):
        planned.act()


def test_a_file_may_be_written_before_its_validator_is_there(place: Path) -> None:
    validate = ("/no/such/program", "%s")
    first = bulk(place, file(place / "one", "y\n", validate=validate, unvalidated=True))
    first.read()
    first.check()
    assert first.unpredictable == []
    first.act()
    assert (place / "one").exists()


def test_a_validator_sees_the_name_and_no_other_user_sees_the_file(place: Path) -> None:
    script = place / "validator"
    script.write_text('#!/bin/sh\nstat -c "%a %n" "$1" > "$(dirname "$0")/seen"\n')
    script.chmod(0o755)
    one = bulk(place, file(place / "one.conf", "y", validate=(str(script), "%s")))
    one.read()
    one.act()
    mode, path = (place / "seen").read_text().split()
    assert mode == "600"
    assert path.endswith("/one.conf")
    assert not Path(path).exists()


def test_a_command_runs_after_a_change_and_only_then(place: Path) -> None:
    commands = Commands()
    things = [file(place / "one", "1", apply="reload"), Apply("reload", ("reload", "it"))]
    first = bulk(place, *things, run=commands)
    first.read()
    first.act()
    assert commands.asked == [("reload", "it")]
    assert not bulk(place, *things, run=commands).read().changed
    assert commands.asked == [("reload", "it")]


def test_commands_run_in_their_order_each_once(place: Path) -> None:
    commands = Commands()
    things = [
        file(place / "one", "1", apply="second"),
        file(place / "two", "2", apply="first"),
        file(place / "three", "3", apply="second"),
        Apply("first", ("a",)),
        Apply("second", ("b",)),
        Apply("third", ("c",)),
    ]
    first = bulk(place, *things, run=commands)
    first.read()
    first.act()
    assert commands.asked == [("a",), ("b",)]


def test_a_run_that_was_killed_before_the_command_is_finished_by_the_next(place: Path) -> None:
    def killed(command: Sequence[str], timeout: float) -> tuple[int, str]:
        raise KeyboardInterrupt

    things = [file(place / "one", "1", apply="reload"), Apply("reload", ("reload",))]
    first = bulk(place, *things, run=killed)
    first.read()
    with pytest.raises(KeyboardInterrupt):
        first.act()
    assert (place / "one").read_text() == "1"
    commands = Commands()
    second = bulk(place, *things, run=commands)
    (change,) = second.read()
    assert (change.kind, change.note) == ("apply", "left over from a run that did not end")
    second.act()
    assert commands.asked == [("reload",)]
    assert not bulk(place, *things, run=commands).read().changed


def test_a_command_that_fails_is_tried_again_by_the_next_run(place: Path) -> None:
    things = [file(place / "one", "1", apply="reload"), Apply("reload", ("reload", "it"))]
    first = bulk(place, *things, run=Commands(reload=3))
    first.read()
    with pytest.raises(PhoenixError, match="reload it failed with exit code 3: reload has spoken"):
        first.act()
    assert bulk(place, *things).read().changed


def test_a_unit_that_does_not_run_is_not_told(place: Path) -> None:
    commands = Commands(systemctl=3)
    things = [
        file(place / "one", "1", apply="reload"),
        Apply("reload", ("reload",), unit="x.service"),
    ]
    first = bulk(place, *things, run=commands)
    assert [c.kind for c in first.read()] == ["file"]
    first.act()
    assert commands.asked == [("systemctl", "is-active", "--quiet", "x.service")]


def test_a_link_or_a_directory_in_a_files_place_is_not_replaced(place: Path) -> None:
    (place / "link").symlink_to("/etc/passwd")
    (place / "folder").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(PhoenixError, match="exists and is no regular file"):
            bulk(place, file(place / name, "x")).read()


def test_an_unknown_apply_or_user_is_named(place: Path) -> None:
    with pytest.raises(PhoenixError, match="there is no apply named reload"):
        bulk(place, file(place / "one", "x", apply="reload")).read()
    stranger = bulk(place, file(place / "one", "x", owner="no-such-user"))
    assert stranger.read().changed
    with pytest.raises(PhoenixError, match="there is no user no-such-user"):
        stranger.act()


def test_a_missing_directory_is_named(place: Path) -> None:
    lost = bulk(place, file(place / "nowhere/one", "x"))
    lost.read()
    with pytest.raises(PhoenixError, match=r"the directory \S+/nowhere does not exist"):
        lost.act()


SECRET = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"


def test_a_secret_is_in_the_file_and_nowhere_else(place: Path) -> None:
    thing = file(place / "one", SECRET, secret=True, validate=("cat", "%s"))
    first = bulk(place, thing)
    plan = first.read()
    first.act()
    assert (place / "one").read_text() == SECRET
    (place / "one").write_text("another secret value")
    second = bulk(place, thing)
    for shown in (plan, second.read()):
        text = f"{shown.diff()} {shown.summary()}"
        assert "a'b" not in text
        assert "another secret value" not in text
    refused = bulk(
        place, file(place / "one", SECRET, secret=True, validate=("grep", "-v", "ü", "%s"))
    )
    refused.read()
    with pytest.raises(PhoenixError) as caught:
        refused.act()
    assert "a'b" not in str(caught.value)


def test_the_diff_shows_lines(place: Path) -> None:
    (place / "one").write_text("a\nb\n")
    (place / "one").chmod(0o640)
    diff = bulk(place, file(place / "one", "a\nc\n")).read().diff()
    assert '"b"' in diff["before"]
    assert '"c"' in diff["after"]


def test_commands_report_what_became_of_them() -> None:
    assert run_command(["sh", "-c", "echo out; echo err >&2; exit 4"], 5) == (4, "out\nerr")
    assert run_command(["/no/such/program"], 5)[0] == 127
    assert run_command(["sleep", "5"], 0.05) == (124, "did not end within 0.05 s")
