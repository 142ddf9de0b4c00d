# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server has under way that was begun here, by a run that is dead.

A server has one attempt to make a root token at a time, and one change of shares; it tells the
nonce of either to who asks, and not whose it is. So a run notes the nonce on its own machine and
keeps the note locked while it lives. The next run there knows by it what a killed one has left, and
begins anew; what nobody noted is somebody else's, and is left alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Undertaking"]

# Noted before the server is asked to begin, since it is the server that makes the nonce.
_ASKED = "asked"
# Noted when a run has what it wanted of it, and the server goes on with it.
_GIVEN = "given "


class Undertaking:
    """One kind of attempt at one server; a context in which it is made.

    :arg kind: Short name of the kind.
    :arg cluster: The server's ``cluster_id``, however it is reached.
    """

    def __init__(self, kind: str, cluster: str) -> None:
        cache = os.environ.get("XDG_CACHE_HOME") or _home() / ".cache"
        name = hashlib.sha256(cluster.encode()).hexdigest()[:16]
        self._path = Path(cache) / "tamshai.phoenix" / f"{kind.replace(' ', '-')}-{name}"
        self._kind = kind
        self._handle = -1

    def __enter__(self) -> Undertaking:
        """:raises PhoenixError: while another run on this machine is at it."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise PhoenixError(
                f"no note can be made of what is begun at the server: {error}",
                hint="Name another place for it by XDG_CACHE_HOME.",
            ) from error
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._handle)
            raise PhoenixError(
                f"another run on this machine is making a {self._kind} at this server right now",
                hint="Run again when it has ended.",
            ) from error
        except OSError as error:
            os.close(self._handle)
            raise PhoenixError(
                f"a note of what is begun at the server cannot be locked: {self._path}: {error}",
                hint="Name a place on a file system with locks by XDG_CACHE_HOME.",
            ) from error
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._handle)

    def is_ours(self, found: Mapping[str, Any], handed_out: str | None = None) -> bool:
        """Whether a dead run on this machine began what the server has under way.

        One that was killed before it got an answer knows no nonce. What is under way then, and has
        been given no share yet, is taken for its own: nothing is lost by beginning it anew.

        :arg found: ``nonce`` and ``progress``, as the server tells them.
        :arg handed_out: The nonce of the last one whose outcome has arrived where it was to go;
            what was given to a run for another one is lost. ``None`` if nobody knows that.
        """
        try:
            noted = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return False
        if noted == _ASKED:
            return not found.get("progress") and not found.get("verification_nonce")
        if noted.startswith(_GIVEN):
            given = noted.removeprefix(_GIVEN)
            return handed_out is not None and handed_out != given == found.get("nonce")
        return bool(noted) and noted == found.get("nonce")

    def ask(self) -> None:
        """Note that the server is about to be asked to begin."""
        self._note(_ASKED)

    def begun(self, nonce: str) -> None:
        """Note what the server calls it."""
        self._note(nonce)

    def given(self, nonce: str) -> None:
        """Note that this run has got what it wanted, which it may die before it passes on."""
        self._note(_GIVEN + nonce)

    def over(self) -> None:
        """Note that nothing of it is left at the server."""
        os.ftruncate(self._handle, 0)

    def _note(self, words: str) -> None:
        # One write over the whole: a run that is killed leaves this note or the one before.
        os.pwrite(self._handle, words.encode("ascii").ljust(64) + b"\n", 0)


def _home() -> Path:
    """Of whom the run acts as; privilege escalation may leave ``HOME``, which is another's then."""
    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError as error:
        raise PhoenixError(
            f"user {os.geteuid()} has no home for a note of what is begun at the server",
            hint="Name a place for it by XDG_CACHE_HOME.",
        ) from error
