# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which agents hold a password from before its rotation."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.holders import outdated

AT = "2026-11-26T14:00:00.500000+00:00"
EARLIER = "Thu 2026-11-26 14:00:00.400000 UTC"
LATER = "Thu 2026-11-26 14:00:00.600000 UTC"


def answer(*units: tuple[str, str]) -> str:
    return "\n\n".join(
        f"ActiveState={state}\nActiveEnterTimestamp={begun}" for state, begun in units
    )


def find(*units: tuple[str, str], rotated: Sequence[str] = (), at: str | None = AT) -> list[str]:
    names = [f"u{number}.service" for number in range(len(units))]
    return outdated(
        [{"login": "app", "rotated_at": at}],
        rotated,
        {"app": names},
        run=lambda command, timeout: (0, answer(*units) + "\n"),
    )


@pytest.mark.parametrize(
    ("state", "begun", "at", "held"),
    [
        ("active", EARLIER, AT, True),
        ("active", LATER, AT, False),
        ("active", EARLIER, None, False),
        ("active", "", AT, False),
        ("activating", EARLIER, AT, False),  # it has yet to fetch what it is to hold
        ("inactive", EARLIER, AT, False),
        ("failed", EARLIER, AT, False),
    ],
)
def test_a_unit_that_began_before_the_rotation(
    state: str, begun: str, at: str | None, held: bool
) -> None:
    assert find((state, begun), at=at) == (["u0.service"] if held else [])


def test_after_a_rotation_of_this_run_all_that_run_are_named() -> None:
    units = [("active", LATER), ("activating", ""), ("inactive", ""), ("active", EARLIER)]
    assert find(*units, rotated=["app"]) == ["u0.service", "u1.service", "u3.service"]
    assert find(*units, rotated=["other"]) == ["u3.service"]


def test_a_unit_with_two_logins_is_named_once_and_all_are_asked_for_at_once() -> None:
    calls = []

    def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
        calls.append(list(command))
        return 0, answer(("active", EARLIER), ("active", LATER))

    rows = [{"login": name, "rotated_at": AT} for name in ("app", "other")]
    units = {"app": ["a.service"], "other": ["b.service", "a.service"]}
    assert outdated(rows, [], units, run=run) == ["a.service"]
    assert [call[-2:] for call in calls] == [["a.service", "b.service"]]


def test_without_units_nothing_is_asked() -> None:
    def run(command: Sequence[str], timeout: float) -> tuple[int, str]:
        raise AssertionError

    assert outdated([{"login": "app", "rotated_at": AT}], ["app"], {"app": []}, run=run) == []


def test_a_host_that_cannot_say_is_an_error() -> None:
    with pytest.raises(PhoenixError, match="exit code 127"):
        outdated([], [], {"app": ["a"]}, run=lambda command, timeout: (127, "not found"))
