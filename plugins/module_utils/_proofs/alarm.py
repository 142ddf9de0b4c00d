# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host's own detector of credentials that are too old: does it run, and would it see one?"""

from __future__ import annotations

import datetime
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Record
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["watched"]

_SERVICE = "tamshai-overdue.service"
_ENDED = "ExecMainExitTimestamp"
_START, _NEXT = "ExecStart", "NextElapseUSecRealtime"
_OFTEN = 2 * 86400.0
_LATE = "3"
"""How its program ends when it has raised the alarm; so what it was about may be over."""
_RUN = 30.0
"""Seconds that a run may take where the Vault answers."""


def watched(site: Site, record: Record, later: float) -> dict[str, Any]:
    """Whether its timer runs, and what it will say if nothing rotates.

    :arg later: A time at which all passwords that there are now will be overdue.
    """
    program = Path(site.estate["root"]) / "bin" / "tamshai-overdue"
    timer = _unit("tamshai-overdue.timer", "ActiveState", _NEXT)
    last = _last_run()
    if not last.get(_ENDED):
        # A young estate: so that nobody takes a program for working whose unit cannot run it.
        _start(_SERVICE)
        wait_until(lambda: _last_run().get(_ENDED), timeout=_RUN, what=f"{_SERVICE} to end")
        last = _last_run()
    if record.expect(timer.get("ActiveState") == "active", "the host's overdue timer does not run"):
        due = _moment(timer.get(_NEXT, "")) - time.time()
        record.expect(due <= _OFTEN, "the host's overdue timer does not run every day")
    started = re.findall(r"path=(\S*) ; argv\[\]=(.*?) ; ", _unit(_SERVICE, _START).get(_START, ""))
    record.expect(
        started == [(str(program), str(program))],
        f"{_SERVICE} runs {[command for _path, command in started]}, not {program}",
    )
    record.expect(
        last.get("Result") == "success"
        or last.get("ExecMainStatus") == _LATE
        or last.get("ActiveState") == "activating",  # it could not ask the Vault then, and will
        f"its last run ended with {last.get('ExecMainStatus')}",
    )
    try:
        done = subprocess.run(
            [str(program), "--at", f"{later:.0f}", "--print"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        seen = json.loads(done.stdout) if done.stdout.strip() else {}
    except (OSError, ValueError) as error:
        record.expect(False, f"{program} does not run: {error}")
        return {"timer": timer, "last": last}
    late = seen.get("overdue") or []
    names = {item["name"] for item in late if item["kind"] == "database password"}
    missed = sorted({row["static_role"] for row in site.estate["logins"]} - names)
    record.expect(
        not missed,
        f"of passwords that nobody rotates it would not see: {', '.join(missed)}"
        + (f" ({done.stderr.strip()[-200:]})" if done.stderr.strip() else ""),
    )
    return {
        "timer": timer,
        "last": last,
        "would_see": sorted({item["kind"] for item in late}),
        "watched": seen.get("watched"),
    }


def _last_run() -> dict[str, str]:
    return _unit(_SERVICE, "ActiveState", "Result", "ExecMainStatus", _ENDED)


def _start(unit: str) -> None:
    done = subprocess.run(
        ["systemctl", "start", "--", unit], capture_output=True, text=True, check=False, timeout=20
    )
    if done.returncode != 0:
        raise PhoenixError(f"{unit} does not start: {' '.join(done.stderr.split())[:200]}")


def _moment(timestamp: str) -> float:
    """Seconds since the epoch of a time as :func:`_unit` shows it; endless for 'never'."""
    try:
        when = datetime.datetime.strptime(timestamp, "%a %Y-%m-%d %H:%M:%S UTC")
    except ValueError:
        return float("inf")
    return when.replace(tzinfo=datetime.UTC).timestamp()


def _unit(name: str, *properties: str) -> dict[str, str]:
    done = subprocess.run(
        ["systemctl", "show", f"--property={','.join(properties)}", "--", name],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    lines = (line.partition("=") for line in done.stdout.splitlines())
    return {key: value for key, _equals, value in lines}
