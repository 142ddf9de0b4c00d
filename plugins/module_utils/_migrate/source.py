# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A client that cannot change the server that it reads."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.answers import Reply
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["ReadOnlyClient", "refuse_plain_http"]

_READS = ("GET", "LIST")


class ReadOnlyClient(VaultClient):
    """Sends nothing but GET and LIST, whatever it is asked to do."""

    def _attempt(self, method: str, target: str, payload: bytes, headers: dict[str, str]) -> Reply:
        if method not in _READS:
            raise errors.RefusedError(f"{method} {target} is not sent: {self.url} is only read")
        return super()._attempt(method, target, payload, headers)


def refuse_plain_http(url: str, allowed: bool) -> None:
    """Let plain HTTP pass where nobody can listen, or where it was allowed by name.

    :raises PhoenixError: elsewhere.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" or allowed:
        return
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if not local:
        raise PhoenixError(
            f"{url} would send its token and every secret in clear over the network",
            hint="Give an address with https, or allow plain HTTP by 'allow_plain_http'.",
        )
