# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Vault API, spoken by a proof: nothing of what the modules use to set the server up."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import tls

__all__ = ["Answer", "VaultApi"]


@dataclass(frozen=True)
class Answer:
    """What the server said.

    :arg body: The JSON document, empty where there was none.
    """

    status: int
    body: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def data(self) -> dict[str, Any]:
        return self.body.get("data") or {}

    @property
    def auth(self) -> dict[str, Any]:
        return self.body.get("auth") or {}

    @property
    def text(self) -> str:
        """The status and the server's errors in one line."""
        errors = "; ".join(str(item).strip() for item in self.body.get("errors") or [])
        return f"{self.status} {errors}".strip()


class VaultApi:
    """One server, with one connection for each thread.

    :arg address: Where to connect to.
    :arg server_name: The name that its certificate must be valid for.
    :arg identity: The client certificate to show.
    """

    def __init__(
        self,
        address: str,
        port: int,
        *,
        server_name: str,
        ca: str,
        identity: tls.Identity | None,
        timeout: float = 10,
    ) -> None:
        self._address = address
        self._port = port
        self._server_name = server_name
        self._timeout = timeout
        self._context = tls.client_context(ca, identity)
        self._local = threading.local()

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str = "",
        wrap_ttl: str = "",
    ) -> Answer:
        """One request below `/v1/`.

        :arg wrap_ttl: Ask for the answer wrapped in a token that lives so long.
        :raises PhoenixError: where no answer came.
        """
        payload = None if body is None else json.dumps(body).encode()
        extra = {"X-Vault-Wrap-TTL": wrap_ttl} if wrap_ttl else {}
        status, content = self.raw(method, path, payload, token=token, headers=extra)
        return Answer(status, _document(content))

    def raw(
        self,
        method: str,
        path: str,
        payload: bytes | None = None,
        *,
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """The same for bytes that are no JSON, such as a snapshot.

        :raises PhoenixError: where no answer came.
        """
        sent = {"X-Vault-Request": "true", **(headers or {})}
        if token:
            sent["X-Vault-Token"] = token
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, "/v1/" + path, payload, sent)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._local.connection = None
                # An idle connection may have been closed by the server: once more on a new one.
                if attempt == 1 and isinstance(
                    error, (ConnectionError, http.client.RemoteDisconnected)
                ):
                    continue
                raise PhoenixError(f"Vault at {self.where} does not answer: {error}") from error
        raise AssertionError("unreachable")

    @property
    def where(self) -> str:
        return f"{self._address}:{self._port}"

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = _NamedConnection(
                self._address, self._port, self._server_name, self._context, self._timeout
            )
            self._local.connection = connection
        return connection

    # What several proofs do.

    def seal_status(self) -> dict[str, Any]:
        """The seal, which even a sealed server tells."""
        return self.read("sys/seal-status")

    def active(self) -> bool:
        """Whether it is open and answers requests itself, which it does some time after that."""
        return self.request("GET", "sys/health").status == http.HTTPStatus.OK

    def read(self, path: str, token: str = "") -> dict[str, Any]:
        """The `data` of a GET (the document itself where it has none).

        :raises PhoenixError: for any answer but 200; says so where the server is sealed.
        """
        answer = self.request("GET", path, token=token)
        if not answer.ok:
            raise PhoenixError(_explain("read", path, answer))
        return answer.data or answer.body

    def listing(self, path: str, token: str = "") -> list[str]:
        """The keys of a LIST, empty where the server says 404, as it does for 'none'."""
        answer = self.request("LIST", path, token=token)
        if answer.status == http.HTTPStatus.NOT_FOUND:
            return []
        if not answer.ok:
            raise PhoenixError(_explain("list", path, answer))
        return [str(key) for key in answer.data.get("keys") or []]


class _NamedConnection(http.client.HTTPSConnection):
    """Verifies another name than the address it connects to."""

    def __init__(
        self,
        address: str,
        port: int,
        server_name: str,
        context: ssl.SSLContext,
        timeout: float,
    ) -> None:
        super().__init__(address, port, timeout=timeout, context=context)
        self._server_name = server_name
        self._tls = context

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def _document(content: bytes) -> dict[str, Any]:
    if not content.strip():
        return {}
    try:
        document = json.loads(content)
    except ValueError:
        return {"errors": [content[:200].decode("utf-8", "replace")]}
    return document if isinstance(document, dict) else {"data": document}


def _explain(verb: str, path: str, answer: Answer) -> str:
    if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        return f"Vault is sealed (or has no active node): cannot {verb} {path}: {answer.text}"
    if answer.status == http.HTTPStatus.FORBIDDEN:
        return f"Vault forbids to {verb} {path}: {answer.text}"
    return f"Vault answered {answer.text} to {verb} {path}"
