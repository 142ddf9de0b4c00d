# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Callers that ask an MCP server without a pause, and count every answer that is not a good one."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Door", "Load", "ask", "harmless_tool"]

_HEADERS = {
    "Accept": "application/json, text/event-stream",
    "Content-Type": "application/json",
    # A user that no estate has: what row level security lets nobody see is not asked for.
    "X-Tamshai-User-Id": "attest",
}
_SHOWN = 5
_BREATH = 0.05


@dataclass(frozen=True)
class Door:
    """Where an MCP server is, and as whom it is asked."""

    address: str
    port: int
    fqdn: str
    context: ssl.SSLContext

    def link(self) -> http.client.HTTPConnection:
        """A connection, verified by name."""
        made = http.client.HTTPConnection(self.fqdn, self.port, timeout=10)
        plain = socket.create_connection((self.address, self.port), timeout=10)
        made.sock = self.context.wrap_socket(plain, server_hostname=self.fqdn)
        return made


def ask(link: http.client.HTTPConnection, method: str, **parameters: Any) -> dict[str, Any]:
    """One JSON-RPC call and its result.

    :raises PhoenixError: for any answer that is not a result.
    :raises OSError: where there is no answer.
    """
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    link.request("POST", "/mcp", json.dumps(body), _HEADERS)
    reply = link.getresponse()
    text = reply.read().decode("utf-8", "replace")
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    result = document.get("result") if isinstance(document, dict) else None
    if reply.status != HTTPStatus.OK or not isinstance(result, dict) or result.get("isError"):
        raise PhoenixError(f"HTTP {reply.status} to {method}: {' '.join(text.split())[:300]}")
    return result


def harmless_tool(door: Door, prefix: str) -> str:
    """The first tool of a server that only reads and wants no argument.

    :raises PhoenixError: where there is none.
    """
    link = door.link()
    try:
        tools: list[Mapping[str, Any]] = ask(link, "tools/list").get("tools") or []
    finally:
        link.close()
    for tool in tools:
        reads = (tool.get("annotations") or {}).get("readOnlyHint") is True
        wants = (tool.get("inputSchema") or {}).get("required")
        if str(tool.get("name", "")).startswith(prefix) and reads and not wants:
            return str(tool["name"])
    raise PhoenixError(f"{door.fqdn} has no tool {prefix}... that reads and wants no argument")


class Load:
    """Several callers, each with one connection that it keeps, as long as the block runs."""

    def __init__(self, door: Door, tool: str, callers: int = 3) -> None:
        self.door = door
        self.tool = tool
        self.done = 0
        self.failures: Counter[str] = Counter()
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, daemon=True) for _unused in range(callers)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _call(self) -> None:
        link: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            begun = time.monotonic()
            problem = ""
            try:
                link = link or self.door.link()
                ask(link, "tools/call", name=self.tool, arguments={})
            except PhoenixError as error:
                problem = error.message
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                link = None
            with self._lock:
                self.done += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                if problem:
                    self.failures[problem] += 1
            if problem:
                self._stop.wait(_BREATH)
        if link is not None:
            link.close()

    def evidence(self) -> dict[str, Any]:
        """What a report shows."""
        with self._lock:
            return {
                "through": self.door.fqdn,
                "tool": self.tool,
                "requests": self.done,
                "failed": self.failures.total(),
                "failures": dict(self.failures.most_common(_SHOWN)),
                "slowest_seconds": round(self.slowest, 3),
            }
