# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What time it is for the vault, told by what it answers."""

from __future__ import annotations

import datetime as dt
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.handover import Handover
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.answers import Reply

NOON = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
DATED = {"date": "Thu, 26 Nov 2026 12:00:00 GMT"}


def handover(reply: Reply, database: dt.datetime | None = None) -> Any:
    made: Any = object.__new__(Handover)
    made.client = SimpleNamespace(call=lambda *_a, **_k: reply, url="https://vault.test")
    made.tolerance = dt.timedelta(seconds=10)
    made._rotation = SimpleNamespace(clock=database)
    return made


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (Reply(200, {"server_time_utc": int(NOON.timestamp())}), NOON),
        (Reply(429, {"server_time_utc": int(NOON.timestamp())}), NOON),
        (Reply(400, {"errors": ["operation unavailable in namespaces"]}, DATED), NOON),
        (Reply(400, {}), None),
    ],
    ids=["health", "standby", "namespace", "unknown"],
)
def test_the_time(reply: Reply, expected: dt.datetime | None) -> None:
    assert handover(reply)._vault_clock() == expected


@pytest.mark.parametrize(("apart", "refused"), [(9, False), (11, True), (-3600, True)])
def test_the_difference(apart: int, refused: bool) -> None:
    made = handover(Reply(200), NOON + dt.timedelta(seconds=apart))
    if not refused:
        made._compare_clocks(NOON)
        return
    words = "ahead of" if apart > 0 else "behind"
    with pytest.raises(PostgresError, match=f"clock is {abs(apart)} s {words}"):
        made._compare_clocks(NOON)
