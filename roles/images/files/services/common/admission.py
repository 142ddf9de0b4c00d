# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The door of a service: who may come in, and what the outside may see of it."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from common.identity import peer_identity
from common.logs import event

__all__ = ["Door", "Health", "PeerProtocol"]

HEALTH_PATH = "/health"
LINGER_SECONDS = 0.5
logger = logging.getLogger("tamshai.door")


@dataclass(frozen=True)
class Health:
    """Whether the service can do its work, and in public words why not."""

    ok: bool
    checks: dict[str, str] = field(default_factory=dict)


class PeerProtocol(H11Protocol):
    """Uvicorn's HTTP/1.1, with the identity of the connection's certificate in each request.

    ASGI has no settled way to pass it. The handshake is over when the connection is made, and the
    certificate of a connection never changes, so that it is read once.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        caller = peer_identity(transport.get_extra_info("peercert"))
        app = self.app

        async def with_caller(scope: Any, receive: Any, send: Any) -> None:
            scope.setdefault("state", {})["caller"] = caller
            await app(scope, receive, send)

        self.app = with_caller

    def shutdown(self) -> None:
        """End the connection, in bounded time.

        An idle client may answer the end of the TLS session only when it next uses the connection,
        and asyncio would wait for that.
        """
        idle = self.cycle is None or self.cycle.response_complete
        super().shutdown()
        if idle:
            self.loop.call_later(LINGER_SECONDS, self.transport.abort)


class Door:
    """Admits declared callers, answers ``/health``, and keeps everybody out until it is ready.

    ``/health`` is for declared callers and for the service itself, whose container's healthcheck
    has no other certificate. Everything else is for declared callers alone.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        callers: frozenset[str],
        own_identity: str,
        health: Callable[[], Awaitable[Health]],
        ready: Callable[[], bool],
    ) -> None:
        self.app = app
        self.callers = callers
        self.own_identity = own_identity
        self.health = health
        self.ready = ready

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} here")
        started = time.monotonic()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        caller = scope.get("state", {}).get("caller")
        try:
            await self._enter(scope, receive, watch, caller)
        finally:
            quiet = scope["path"] == HEALTH_PATH and status == 200
            event(
                logger,
                logging.DEBUG if quiet else logging.INFO,
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                caller=caller,
                milliseconds=round((time.monotonic() - started) * 1000, 1),
            )

    async def _enter(self, scope: Scope, receive: Receive, send: Send, caller: str | None) -> None:
        health = scope["path"] == HEALTH_PATH
        if caller not in self.callers and not (health and caller == self.own_identity):
            await _answer(send, 403, {"error": "this caller is not declared for this service"})
        elif health:
            state = await self.health()
            body = {"status": "ok" if state.ok else "unavailable", "checks": state.checks}
            await _answer(send, 200 if state.ok else 503, body)
        elif not self.ready():
            await _answer(send, 503, {"error": "the service is not ready yet"})
        else:
            await self.app(scope, receive, send)


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
