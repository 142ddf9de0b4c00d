# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a search of a host may take: what it has started ends with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["DEFAULT", "VARIABLE", "check", "run", "within"]

DEFAULT = 120.0
VARIABLE = "attest_search_timeout"

# Seconds, and when they are over. Each proof has a thread, and so a context, of its own.
_LIMIT: ContextVar[tuple[float, float] | None] = ContextVar("limit", default=None)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """All that :func:`run` runs in the block takes no longer than this together."""
    token = _LIMIT.set((seconds, time.monotonic() + seconds))
    try:
        yield
    finally:
        _LIMIT.reset(token)


def check(what: str) -> None:
    """:raises PhoenixError: where the time of the block is over."""
    limit = _LIMIT.get()
    if limit and time.monotonic() > limit[1]:
        raise _over(what, limit[0])


def _over(what: str, seconds: float) -> PhoenixError:
    return PhoenixError(
        f"{what} could not be searched to the end within {seconds:g} s ({VARIABLE})"
    )


def run(command: Sequence[str], what: str, *, given: bytes | None = None, **options: Any) -> bytes:
    """The output of a program. Its exit status says nothing: files come and go on a running host.

    :arg what: What is searched, for the error.
    :arg given: Its standard input.
    :raises PhoenixError: where the time is over; the program and all that it started are killed.
    """
    seconds, end = _LIMIT.get() or (DEFAULT, time.monotonic() + DEFAULT)
    if given is not None:
        options["stdin"] = subprocess.PIPE
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        **options,
    ) as process:
        try:
            return process.communicate(given, timeout=max(end - time.monotonic(), 0))[0]
        except subprocess.TimeoutExpired:
            raise _over(what, seconds) from None
        finally:
            # Until it is waited for, nobody else can have its number.
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
