# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which systemd units still hold a password from before its rotation."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.files import Run, run_command
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["outdated"]


def outdated(
    logins: Iterable[Mapping[str, Any]],
    rotated: Collection[str],
    units: Mapping[str, Sequence[str]],
    *,
    run: Run = run_command,
) -> list[str]:
    """Units that were started before a password that they hold was rotated, in one call.

    That is seen from the two times alone, so that it is seen as well after a run that rotated and
    was killed before anybody was restarted.

    :arg logins: ``login`` and ``rotated_at`` of each login.
    :arg rotated: Logins that this run rotates.
    :arg units: Units that hold the password of each login.
    """
    names = sorted({name for held in units.values() for name in held})
    if not names:
        return []
    since = _since(names, run)
    found: dict[str, None] = {}
    for row in logins:
        at = dt.datetime.fromisoformat(row["rotated_at"]) if row["rotated_at"] else None
        for name in units.get(row["login"], ()):
            state, begun = since[name]
            running = state in ("active", "activating", "reloading")
            older = state == "active" and begun is not None and at is not None and begun < at
            if older or (running and row["login"] in rotated):
                found[name] = None
    return list(found)


def _since(names: Sequence[str], run: Run) -> dict[str, tuple[str, dt.datetime | None]]:
    """State of each unit, and when it last became active."""
    code, output = run(
        (
            *("systemctl", "show", "--timestamp=us+utc"),
            *("--property=ActiveState,ActiveEnterTimestamp", "--", *names),
        ),
        30.0,
    )
    blocks = [block for block in output.split("\n\n") if block.strip()]
    if code != 0 or len(blocks) != len(names):
        raise PhoenixError(f"systemctl show failed with exit code {code}: {output[-500:]}")
    result = {}
    for name, block in zip(names, blocks, strict=True):
        pairs = (line.partition("=") for line in block.splitlines())
        values = {key: value for key, _sep, value in pairs}
        # Such as "Thu 2026-11-26 14:00:00.000000 UTC"; empty where the unit never ran.
        words = values.get("ActiveEnterTimestamp", "").split()
        begun = dt.datetime.fromisoformat("T".join(words[1:3]) + "+00:00") if words[2:] else None
        result[name] = (values.get("ActiveState", ""), begun)
    return result
