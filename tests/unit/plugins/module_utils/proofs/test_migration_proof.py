# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.e judges what was compared, and says why where nothing was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.f2_e import moved
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import NotRunError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.h1_b import _allowed
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.migrated import (
    _seconds,
    _version,
)

RECORD = {"policy p": {"name": "p", "mark": "m"}, "secret s/x": {"mount": "s", "path": "x"}}
COMPARED = {"secret": 1, "version": 3, "policy": 1, "approle": 0}


def site(record: dict[str, Any], observed: dict[str, Any]) -> Any:
    return SimpleNamespace(inputs=SimpleNamespace(migrated=record, observed=observed))


def test_nothing_was_migrated() -> None:
    with pytest.raises(NotRunError, match=r"^nothing was migrated$"):
        moved(site({}, {}))


def test_nobody_gave_leave_to_use_the_shares() -> None:
    with pytest.raises(NotRunError, match=r"2 objects .* attest_by_shares=true"):
        moved(site(RECORD, {}))


def test_all_is_as_it_was() -> None:
    record = moved(site(RECORD, {"migrated": {"faults": [], "compared": COMPARED}}))
    assert record.faults == []
    assert record.evidence["compared"] == COMPARED


def test_a_fault_is_one() -> None:
    seen = {"faults": ["policy p: does not exist"], "compared": COMPARED}
    assert moved(site(RECORD, {"migrated": seen})).faults == ["policy p: does not exist"]


def test_what_could_not_be_read_does_not_pass() -> None:
    record = moved(site(RECORD, {"migrated": {"problem": "it takes 3 shares, and 1 are at hand"}}))
    assert record.faults == ["nothing was read: it takes 3 shares, and 1 are at hand"]


def test_what_was_not_compared_does_not_pass() -> None:
    seen = {"faults": [], "compared": {**COMPARED, "policy": 0}}
    assert moved(site(RECORD, {"migrated": seen})).faults == ["1 of 2 objects were compared"]


def test_the_migration_may_have_read_what_was_moved_and_nothing_else() -> None:
    agents = [{"approle": "mcp-hr", "secrets": {"KEY": {"kv": "mcp-hr"}}}]
    stage = SimpleNamespace(
        inputs=SimpleNamespace(migrated=RECORD), estate={"agents": agents, "kv_mount": "s"}
    )
    assert _allowed(stage) == {"s/data/mcp-hr": {"AppRole mcp-hr"}, "s/data/x": {"the migration"}}


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        ({}, "version 1 is deleted, and was live when it was moved"),
        ({"1": "2099-01-01T00:00:00Z"}, "version 1 is deleted, and was live when it was moved"),
        ({"1": "2020-01-01T00:00:00.5Z"}, ""),
    ],
)
def test_a_version_may_be_deleted_when_its_time_has_come(ends: dict[str, str], reason: str) -> None:
    entry = {"mount": "s", "path": "x", "current": 1, "ends": ends}
    look = SimpleNamespace(at=lambda *_words: None)
    about = {"current_version": 1, "versions": {"1": {"destroyed": False}}}
    assert _version(look, entry, about, "1", "ab" * 16) == reason


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("3h25m19s", 12319), ("1h0m0s", 3600), ("90s", 90)]
)
def test_durations_as_the_server_writes_them(text: str, seconds: int) -> None:
    assert _seconds(text) == seconds
