# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes with a change of a static role. Schedules are Vault's, which no test here can ask."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import restated

WHO = {"db_name": "d", "username": "u"}
PERIOD = {"rotation_period": 60}
SCHEDULE = {"rotation_schedule": "0 0 * * *", "rotation_window": 3600}
STATEMENTS = {"rotation_statements": ["SELECT 1"]}


@pytest.mark.parametrize(
    ("now", "changed", "sent"),
    [
        (PERIOD, STATEMENTS, PERIOD | STATEMENTS),
        (PERIOD, {"rotation_period": 90}, {"rotation_period": 90}),
        (SCHEDULE, STATEMENTS, SCHEDULE | STATEMENTS),
        (SCHEDULE, {"rotation_window": 7200}, SCHEDULE | {"rotation_window": 7200}),
        (PERIOD, SCHEDULE, SCHEDULE),
        (SCHEDULE, PERIOD, PERIOD),
        (SCHEDULE, PERIOD | {"rotation_schedule": "", "rotation_window": 0}, None),
    ],
)
def test_what_rotates_by_the_one_does_not_rotate_by_the_other(
    now: dict[str, Any], changed: dict[str, Any], sent: dict[str, Any] | None
) -> None:
    before = {**WHO, "rotation_schedule": "", "credential_type": "password", **now}
    assert restated(before, changed) == WHO | (changed if sent is None else sent)
