# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bootstrap of secret zero left on record.

A line in the journal for each SecretID, and a file with the latest of each service, since a journal
is cut short some day.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["accessors", "parse"]

# Whoever issues a SecretID writes this line, the operator's run and the host alike.
_IDENTIFIER = "tamshai-wrap"
_ISSUED = re.compile(r"service=(\S+) event=issued wrapped_accessor=(\S+)")
# Of a service that was restarted very often the latest are looked up.
_LATEST = 20


def accessors(site: Site) -> dict[str, list[str]]:
    """By service the accessors of the SecretIDs that were issued since the estate was made.

    :raises PhoenixError: where the journal cannot be read.
    """
    since = f"--since=@{site.born():.0f}"
    done = subprocess.run(
        ["journalctl", "-t", _IDENTIFIER, "-o", "cat", "--no-pager", since],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=20,
    )
    if done.returncode != 0:
        raise PhoenixError(f"journalctl ended with {done.returncode}: {done.stderr.strip()[-200:]}")
    issued = parse(done.stdout)
    found: dict[str, list[str]] = {}
    for agent in site.estate["agents"]:
        name = agent["service"]
        latest = _latest(Path(f"{site.estate['run']}-agents") / f"{name}.json")
        found[name] = list(dict.fromkeys([*issued.get(name, []), *latest]))
    return found


def _latest(path: Path) -> list[str]:
    """The accessor in a service's file, if there is one."""
    try:
        accessor = json.loads(path.read_bytes()).get("accessor")
    except (OSError, ValueError):
        return []
    return [str(accessor)] if accessor else []


def parse(lines: str) -> dict[str, list[str]]:
    """By service the accessors in the journal's lines, the latest last."""
    found: dict[str, list[str]] = {}
    for service, accessor in _ISSUED.findall(lines):
        found.setdefault(service, []).append(accessor)
    return {service: items[-_LATEST:] for service, items in found.items()}
