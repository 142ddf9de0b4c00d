# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server is and holds, asked on its host by the operator, without our modules.

Reads {"certificate", "key", "requests"} from standard input; the requests (method, path, body) are
made first. The key stays in memory. Writes JSON: the server's version and cluster, whether anybody
may have a root token made of shares ("door"), accessors of all root tokens, each version of the
secret, and which container it is, since when, from which image.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from typing import Any

AUTHORITY = "/opt/tamshai/certs/host/current/ca.crt"


class Server:
    """A server, and a token of the operator for it."""

    def __init__(self, *identity: str) -> None:
        files = []
        for text in identity:
            handle = os.memfd_create("operator")
            os.write(handle, text.encode())
            files.append(f"/proc/self/fd/{handle}")
        context = ssl.create_default_context(cafile=AUTHORITY)
        context.load_cert_chain(*files)
        self._link = http.client.HTTPSConnection("127.0.0.1", 8200, context=context, timeout=20)
        self._token = ""
        login = self.ask("PUT", "auth/cert/login", {"name": "operator"})
        self._token = login["auth"]["client_token"]

    def ask(
        self, method: str, path: str, body: Any = None, *, missing: bool = False, token: str = ""
    ) -> Any:
        """One request.

        :arg missing: What it is about may not be there, or is switched off.
        :arg token: Accessor of the token that it is about, which may have ended: nothing is told.
        """
        text = None if body is None else json.dumps(body)
        until = time.monotonic() + 20
        while True:
            self._link.request(method, f"/v1/{path}", text, {"X-Vault-Token": self._token})
            answer = self._link.getresponse()
            told = json.loads(answer.read() or "{}")
            ending = token and answer.status in (400, 403)
            if ending and token not in self.accessors():
                return {}
            # A key-value engine that was just made.
            shortly = "will resume service shortly" in str(told)
            if not (ending or shortly) or time.monotonic() > until:
                break
            time.sleep(0.05)
        if answer.status >= 300 and not (missing and answer.status in (404, 405)):
            sys.exit(f"{method} {path}: {answer.status} {told}")
        return told

    def versions(self) -> list[str]:
        """Each version of the secret, and "deleted" for one that was."""
        about = self.ask("GET", "tamshai/metadata/kept", missing=True).get("data", {})
        found = []
        for number in sorted(about.get("versions", {}), key=int):
            told = self.ask("GET", f"tamshai/data/kept?version={number}", missing=True)
            found.append((told["data"]["data"] or {"value": "deleted"})["value"])
        return found

    def accessors(self) -> list[str]:
        return list(self.ask("LIST", "auth/token/accessors")["data"]["keys"])

    def roots(self) -> list[str]:
        """Accessors of all root tokens."""
        path, found = "auth/token/lookup-accessor", []
        for accessor in self.accessors():
            about = self.ask("POST", path, {"accessor": accessor}, token=accessor)
            if about and "root" in about["data"]["policies"]:
                found.append(accessor)
        return found

    def seen(self) -> dict[str, Any]:
        status = self.ask("GET", "sys/seal-status")
        try:
            roots, versions = self.roots(), self.versions()
        finally:
            self.ask("PUT", "auth/token/revoke-self")
        self._token = ""
        return {
            "version": status["version"],
            "cluster": status["cluster_id"],
            "door": "started" in self.ask("GET", "sys/generate-root/attempt", missing=True),
            "roots": roots,
            "secret": versions,
            "container": container(),
        }


def container() -> list[str]:
    """Id, start and image."""
    form = "{{.Id}} {{.State.StartedAt}} {{.Config.Image}}"
    command = ["docker", "inspect", "--format", form, "tamshai-vault-1"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


def main() -> None:
    given = json.load(sys.stdin)
    server = Server(given["certificate"], given["key"])
    for request in given["requests"]:
        server.ask(*request)
    print(json.dumps(server.seen()))


if __name__ == "__main__":
    main()
