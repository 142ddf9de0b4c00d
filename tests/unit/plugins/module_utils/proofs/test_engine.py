# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed while it is looked at is gone; what is there and cannot be seen is an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import engine
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Engine


class FakeEngine:
    """An engine that has `a` and `b`, and lists `b` some times more after it was removed."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.lists = 1
        self.answer = 404

    def __call__(self, _method: str, path: str, _query: dict[str, str]) -> tuple[int, bytes]:
        if path == f"/{self.kind}/json":
            listed = ["a", "b"] if self.lists else ["a"]
            self.lists -= bool(self.lists)
            return 200, json.dumps([{"Id": name} for name in listed]).encode()
        if path == f"/{self.kind}/b/json":
            return self.answer, b"{}"
        return 200, json.dumps({"Id": "a"}).encode()


@pytest.fixture(params=["containers", "images"])
def shown(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """The ids of what the engine shows, and ``shown.fake``."""
    fake = FakeEngine(request.param)
    asked = Engine()
    monkeypatch.setattr(asked, "_request", fake)
    monkeypatch.setattr(engine, "_GOING", 0.3)

    def ids() -> list[str]:
        found: list[Any] = getattr(asked, request.param)()
        return [item.id if request.param == "containers" else item["Id"] for item in found]

    ids.fake = fake  # type: ignore[attr-defined]
    return ids


@pytest.mark.parametrize("lists", [1, 3], ids=["at once", "a little later"])
def test_what_is_removed_between_the_list_and_the_look_is_gone(shown: Any, lists: int) -> None:
    shown.fake.lists = lists
    assert shown() == ["a"]


def test_what_is_listed_and_never_shown_is_not_taken_for_gone(shown: Any) -> None:
    shown.fake.lists = 1000
    with pytest.raises(PhoenixError, match="lists and does not show"):
        shown()


def test_an_engine_that_fails_is_not_taken_for_an_empty_one(shown: Any) -> None:
    shown.fake.answer = 500
    with pytest.raises(PhoenixError, match="answered 500"):
        shown()


def test_the_networks_of_a_project(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Engine()

    def answer(_method: str, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        assert (path, json.loads(query["filters"])) == (
            "/networks",
            {"label": ["com.docker.compose.project=tamshai"]},
        )
        return 200, json.dumps([{"Name": "tamshai_vault", "Id": "1"}]).encode()

    monkeypatch.setattr(asked, "_request", answer)
    assert asked.networks("tamshai") == {"tamshai_vault"}
