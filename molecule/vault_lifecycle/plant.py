# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Be root, on the server's host, by a quorum of shares and an open door, as a stranger could.

Reads the shares as a JSON list from standard input, and writes the root token, which is alive then
as that of a run that was killed would be.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import sys
from typing import Any

PLACE = "/opt/tamshai/certs/host/current"


def main() -> None:
    context = ssl.create_default_context(cafile=f"{PLACE}/ca.crt")
    context.load_cert_chain(f"{PLACE}/tls.crt", f"{PLACE}/tls.key")
    link = http.client.HTTPSConnection("127.0.0.1", 8200, context=context, timeout=20)

    def ask(method: str, path: str, body: Any = None, token: str = "") -> Any:
        link.request(method, f"/v1/{path}", json.dumps(body or {}), {"X-Vault-Token": token})
        answer = link.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text or "{}")

    begun = ask("PUT", "sys/generate-root/attempt")
    told: dict[str, Any] = {}
    for share in json.load(sys.stdin)[: begun["required"]]:
        told = ask("PUT", "sys/generate-root/update", {"key": share, "nonce": begun["nonce"]})
    masked = base64.b64decode(told["encoded_root_token"] + "==")
    token = bytes(a ^ b for a, b in zip(masked, begun["otp"].encode(), strict=True)).decode()
    ask("GET", "auth/token/lookup-self", token=token)
    print(token)


if __name__ == "__main__":
    main()
