# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Calls to another MCP server, with the gateway's certificate and the user's identity."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from common.identity import User
from common.settings import TlsFiles, Upstream
from common.tls import client_context
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, Tool

__all__ = ["UpstreamClient", "UpstreamError"]

# The protocol version that both ends of the estate speak: pinned, a call is one request.
PROTOCOL = "2026-07-28"


class UpstreamError(Exception):
    """The other server could not be reached or did not answer properly."""


class _Kept(httpx2.AsyncBaseTransport):
    """A connection pool that outlives the clients, which differ in the user's headers."""

    def __init__(self, files: TlsFiles) -> None:
        self.pool = httpx2.AsyncHTTPTransport(
            verify=client_context(files),
            retries=1,
            limits=httpx2.Limits(max_connections=50, max_keepalive_connections=10),
        )

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self.pool.handle_async_request(request)

    async def aclose(self) -> None:
        """Not with the client: :meth:`UpstreamClient.close` does it."""


class UpstreamClient:
    """One upstream. Connections are kept open and verified by name when they are made."""

    def __init__(self, upstream: Upstream, files: TlsFiles, *, timeout: float = 15) -> None:
        self.name = upstream.name
        self.url = f"{upstream.url}/mcp"
        self.files = files
        self.timeout = timeout
        self._kept = _Kept(files)
        self._closing: set[asyncio.Task[None]] = set()

    async def renew(self) -> None:
        """Connect with the certificate and CA that are in force now.

        Calls under way keep their connections; those are closed when no call can still use them.

        :raises TlsError: and the old ones stay.
        """
        old, self._kept = self._kept, _Kept(self.files)

        async def close_later() -> None:
            await asyncio.sleep(self.timeout)
            await old.pool.aclose()

        task = asyncio.create_task(close_later())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        await self._kept.pool.aclose()

    async def tools(self, user: User) -> list[Tool]:
        """The upstream's tools.

        :raises UpstreamError: if they cannot be had.
        """
        async with self._client(user) as client:
            return (await client.list_tools()).tools

    async def call(self, user: User, tool: str, arguments: dict[str, object]) -> CallToolResult:
        """Call a tool for a user.

        :raises UpstreamError: if there is no answer; a tool's own failure is an answer.
        """
        async with self._client(user) as client:
            return await client.call_tool(tool, arguments)

    @asynccontextmanager
    async def _client(self, user: User) -> AsyncIterator[Client]:
        try:
            async with (
                httpx2.AsyncClient(
                    transport=self._kept,
                    headers=user.headers,
                    timeout=self.timeout,
                    trust_env=False,
                ) as http,
                Client(
                    streamable_http_client(self.url, http_client=http),
                    mode=PROTOCOL,
                    cache=None,
                    read_timeout_seconds=self.timeout,
                ) as client,
            ):
                yield client
        except* (httpx2.HTTPError, MCPError, OSError) as group:
            raise UpstreamError(_reason(group)) from None


def _reason(group: BaseExceptionGroup[BaseException]) -> str:
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    text = " ".join(str(leaf).split())
    return f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__
