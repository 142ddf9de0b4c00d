# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server says about its own API."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

__all__ = ["accepted_fields"]


def accepted_fields(client: VaultClient, path: str) -> set[str] | None:
    """The fields that a write to a path takes, by the server itself; ``None`` where it is silent.

    An unknown field is answered with 204 and forgotten; the server's own description is the only
    way to know before anything is written. Reading it needs a token but no policy.
    """
    try:
        document = client.call("GET", path, params={"help": "1"}).body.get("openapi") or {}
    except errors.VaultError:
        return None
    schemas = (document.get("components") or {}).get("schemas") or {}
    names: set[str] = set()
    for title, schema in schemas.items():
        if title.endswith("Request"):
            names |= set(schema.get("properties") or {})
    return names or None
