# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A container's healthcheck: the real protocol, with TLS verified in both directions.

``python3 -m common.healthcheck`` ends with 0 if ``/health`` on the service's own port answers 200,
else with 1 and one line that says why. It connects to the loopback address but verifies the name in
the service's certificate, and presents the service's own certificate, which ``/health`` admits.

The standard library only, and little of it: this runs every few seconds.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Mapping

TIMEOUT = 5.0
MAX_ANSWER = 65536


def check(env: Mapping[str, str]) -> tuple[int, str]:
    """Status code and body of ``/health``.

    :raises OSError: TLS and connection errors.
    :raises ValueError: an answer that is no HTTP.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(env["MCP_CA_CERT"])
    context.load_cert_chain(env["MCP_CLIENT_CERT"], env["MCP_CLIENT_KEY"])
    name = env["MCP_SERVER_NAME"]
    with (
        socket.create_connection(("127.0.0.1", int(env["PORT"])), TIMEOUT) as raw,
        context.wrap_socket(raw, server_hostname=name) as link,
    ):
        link.sendall(f"GET /health HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < MAX_ANSWER and (part := link.recv(MAX_ANSWER)):
            answer += part
    head, _unused, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body.decode("utf-8", "replace")


def main() -> int:
    try:
        status, body = check(os.environ)
    except KeyError as error:
        print(f"{error.args[0]} is not set")
        return 1
    except (OSError, ValueError, IndexError) as error:
        print(f"{type(error).__name__}: {error}")
        return 1
    print(f"{status} {body}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
