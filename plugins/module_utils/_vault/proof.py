# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a server serves: active, at the head of its own log, and heard by its audit device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["growing", "wait_serving"]


def wait_serving(client: VaultClient, timeout: float) -> dict[str, Any]:
    """Wait until the server is active and has applied all of its log; returns its seal status."""

    def probe() -> dict[str, Any] | None:
        error = client.not_ready()
        if error is not None:
            raise error
        leader = client.call("GET", "sys/leader", authenticated=False).body
        if not leader.get("is_self"):
            raise PhoenixError(f"{client.url} is open and does not become active; its log says why")
        applied, committed = (leader.get(f"raft_{n}_index") for n in ("applied", "committed"))
        if applied != committed:
            raise PhoenixError(f"it has applied change {applied} of {committed} in its log")
        return client.seal_status()

    return wait_until(probe, timeout=timeout, what=f"{client.url} to serve")


@contextlib.contextmanager
def growing(log: str | None) -> Iterator[Callable[[], list[str]]]:
    """Yields a function that says what is wrong if a log has not grown by then."""
    before = _size(log)

    def faults() -> list[str]:
        if log and _size(log) == before:
            return [f"what was asked of it is not in the audit log {log}"]
        return []

    yield faults


def _size(log: str | None) -> tuple[int, int]:
    try:
        about = Path(log or "").stat()
    except FileNotFoundError:
        return (0, 0)
    return about.st_ino, about.st_size
