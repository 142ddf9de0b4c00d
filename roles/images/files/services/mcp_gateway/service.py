# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The MCP face of the gateway, and its place in the common frame."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from common.admission import Health
from common.identity import IdentityError, User, user_of
from common.logs import event
from common.secret_file import SecretFile
from common.server import Service
from common.settings import Settings
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_REQUEST,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)
from starlette.types import ASGIApp

from mcp_gateway.upstream import UpstreamClient, UpstreamError

__all__ = ["GatewayService"]

logger = logging.getLogger("tamshai.gateway")


class GatewayService(Service):
    """Offers every upstream's tools as ``<upstream>_<tool>`` and passes calls on unchanged.

    The user is whom the caller vouches for (:func:`common.identity.user_of`), and goes on to the
    upstream in the same way. What the user may see is the upstream's to decide.
    """

    def __init__(self, settings: Settings, secrets: SecretFile) -> None:
        secrets.required = frozenset({"CLAUDE_API_KEY"})
        super().__init__(settings, secrets)
        self._upstreams: dict[str, UpstreamClient] = {}
        server: Server[Any] = Server(
            settings.name, on_list_tools=self._list_tools, on_call_tool=self._call_tool
        )
        self._app = server.streamable_http_app(
            host=settings.host, stateless_http=True, json_response=True
        )

    @property
    def app(self) -> ASGIApp:
        return self._app

    async def start(self) -> None:
        files = self.settings.client_tls
        self._upstreams = {u.name: UpstreamClient(u, files) for u in self.settings.upstreams}

    async def reload(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.renew()

    async def stop(self) -> None:
        for upstream in self._upstreams.values():
            await upstream.close()

    async def health(self) -> Health:
        """The gateway's own: an upstream that is down must not take the others away."""
        return Health(True, {"secrets": "ok"})

    async def _list_tools(
        self, ctx: ServerRequestContext[Any], _params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """All tools of the upstreams that answer."""
        try:
            user = _user(ctx)
        except IdentityError as error:
            raise MCPError(INVALID_REQUEST, str(error)) from None

        async def of(upstream: UpstreamClient) -> list[Tool]:
            try:
                found = await upstream.tools(user)
            except UpstreamError as error:
                _report(upstream, error)
                return []
            return [t.model_copy(update={"name": f"{upstream.name}_{t.name}"}) for t in found]

        found = await asyncio.gather(*(of(upstream) for upstream in self._upstreams.values()))
        return ListToolsResult(tools=[tool for tools in found for tool in tools])

    async def _call_tool(
        self, ctx: ServerRequestContext[Any], params: CallToolRequestParams
    ) -> CallToolResult:
        name, _unused, tool = params.name.partition("_")
        upstream = self._upstreams.get(name)
        if upstream is None or not tool:
            return _failure(f"there is no tool {params.name}")
        try:
            return await upstream.call(_user(ctx), tool, params.arguments or {})
        except IdentityError as error:
            return _failure(str(error))
        except UpstreamError as error:
            _report(upstream, error)
            return _failure(f"{name} is not available")


def _user(ctx: ServerRequestContext[Any]) -> User:
    request = ctx.request
    return user_of(request.headers if request is not None else {})


def _failure(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _report(upstream: UpstreamClient, error: UpstreamError) -> None:
    event(logger, logging.WARNING, "upstream failed", upstream=upstream.name, reason=str(error))
