# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait on a condition, with a bound and a name."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)

__all__ = ["wait_until"]

T = TypeVar("T")


def wait_until(
    probe: Callable[[], T | None],
    *,
    timeout: float,
    what: str,
    interval: float = 0.1,
    max_interval: float = 1.0,
) -> T:
    """Call ``probe`` until it answers something true, and return that.

    A :class:`PhoenixError` that the probe raises means 'not yet, and this is why'; it is what the
    time-out reports. Any other exception is a mistake and goes through at once.

    :arg timeout: Seconds. The probe is called at least once, and once more at the very end.
    :arg what: What is waited for, to complete the sentence 'waited 10 s for ...'.
    :arg interval: Seconds before the second call; it grows by half up to ``max_interval``.
    :raises PhoenixError: of the class that the probe raised last, if it did.
    """
    end = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        reason: PhoenixError | None = None
        try:
            answer = probe()
            if answer:
                return answer
        except PhoenixError as error:
            reason = error
        left = end - time.monotonic()
        if left <= 0:
            text = f"waited {timeout:g} s for {what}"
            if reason is None:
                raise PhoenixError(f"{text}: it did not come about")
            reason.message = f"{text}: {reason.message}"
            reason.args = (reason.message,)
            raise reason
        pause.wait(min(interval, left))
        interval = min(interval * 1.5, max_interval)
