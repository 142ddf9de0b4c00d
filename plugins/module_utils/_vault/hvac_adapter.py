# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client of hvac on the connections of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

try:
    import hvac
    from hvac.adapters import Adapter
except ImportError:
    Adapter = object

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["attached"]


def attached(client: VaultClient) -> Any:
    """An :class:`hvac.Client` that sends through ``client``."""
    adapter = _HvacAdapter(client)
    return hvac.Client(url=client.url, token="", verify=True, adapter=lambda **_options: adapter)


class _HvacAdapter(Adapter):  # type: ignore[misc, unused-ignore]
    """Lets hvac's helpers send through a :class:`VaultClient`."""

    def __init__(self, client: VaultClient) -> None:
        # hvac's own initialiser would build a requests session, which reads the environment.
        self._client = client
        self.base_uri = client.url
        self.namespace = client.connection.namespace
        self.session = None
        self.allow_redirects = True
        self.ignore_exceptions = False
        self.strict_http = False
        self.request_header = True
        self._kwargs: dict[str, Any] = {}

    @property
    def token(self) -> str:
        return self._client.token

    @token.setter
    def token(self, value: str | None) -> None:
        self._client.token = value or ""

    def close(self) -> None:
        self._client.close()

    def get_login_token(self, response: Any) -> str:
        return str(response["auth"]["client_token"])

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        raise_exception: bool = True,
        **options: Any,
    ) -> Any:
        path = "/".join(part for part in url.split("/") if part)
        reply = self._client.call(
            method.upper(),
            unquote(path.removeprefix("v1/")),
            body=options.get("json"),
            params=options.get("params"),
            headers=headers,
            wrap_ttl=options.get("wrap_ttl"),
            accept=() if raise_exception else range(400, 600),
            authenticated=bool(self._client.token) and not url.endswith("/login"),
        )
        return reply.body if reply.status == 200 and reply.body else reply
