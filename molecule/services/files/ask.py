# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs inside a container: asks mcp-hr as a user, with the container's own certificate.

Prints the HTTP status and, where there are rows, whose they are.
"""

import http.client
import json
import os
import ssl
import sys

USER, ROLES = sys.argv[1], sys.argv[2]
HOST = "mcp-hr.tamshai.internal"

context = ssl.create_default_context(cafile=os.environ["MCP_CA_CERT"])
context.load_cert_chain(os.environ["MCP_CLIENT_CERT"], os.environ["MCP_CLIENT_KEY"])
link = http.client.HTTPSConnection(HOST, 3101, timeout=20, context=context)
call = {"name": "list_employees", "arguments": {"limit": 200}}
link.request(
    "POST",
    "/mcp",
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}),
    {
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
        "X-Tamshai-User-Id": USER,
        "X-Tamshai-User-Roles": ROLES,
    },
)
reply = link.getresponse()
text = reply.read()
answer = {"status": reply.status}
if reply.status == 200:
    result = json.loads(text)["result"]
    answer["users"] = [row["user_id"] for row in result["structuredContent"]["result"]]
print(json.dumps(answer))
