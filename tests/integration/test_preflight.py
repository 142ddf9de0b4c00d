# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Role preflight tries secrets at a real HTTPS server, and tells what came of it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOOD = "canary-good-token"
BAD = "canary-spent-token"


class Issuer(BaseHTTPRequestHandler):
    """Knows one token."""

    def do_GET(self) -> None:
        good = self.headers.get("X-Key") == f"Key {GOOD}" and self.headers.get("X-Version") == "1"
        self.send_response(200 if good else 401)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The URL of a server, and the authority that it has to be verified with."""
    folder = tmp_path_factory.mktemp("issuer")
    subprocess.run(
        [
            "openssl",
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=issuer", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Issuer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{server.server_port}/me", folder / "ca.pem"
    server.shutdown()
    server.server_close()
    thread.join()


def test_each_secret_is_tried_where_it_was_issued(issuer: tuple[str, Path], tmp_path: Path) -> None:
    url, ca = issuer
    how = {"url": url, "header": "X-Key", "prefix": "Key ", "headers": {"X-Version": "1"}}
    trusted = {**how, "ca_path": str(ca)}
    common = {"path": "mcp-gateway"}
    secrets = [
        {**common, "key": "GOOD", "value": GOOD, "authenticate": trusted},
        {**common, "key": "SPENT", "value": BAD, "authenticate": trusted},
        {**common, "key": "UNVERIFIED", "value": GOOD, "authenticate": how},
        {**common, "key": "UNTRIED", "value": GOOD},
        {**common, "key": "EMPTY", "value": "", "authenticate": trusted},
    ]
    variables = tmp_path / "variables.json"
    variables.write_text(
        json.dumps(
            {
                "estate_secrets": secrets,
                "phoenix_state_dir": str(tmp_path / "state"),
                "phoenix_state_passphrase": "a passphrase of many words",
                "ansible_python_interpreter": sys.executable,
            }
        )
    )
    playbook = tmp_path / "preflight.yml"
    playbook.write_text(
        "- hosts: all\n  gather_facts: false\n  roles: [tamshai.phoenix.preflight]\n"
    )
    run = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-vvv", "-i", "vps1,", "-c", "local", "-e", f"@{variables}", str(playbook)),
        ],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    text = run.stdout + run.stderr
    assert run.returncode != 0
    prefix = "vps1: estate_secrets"
    assert f"{prefix}[0]" not in text, text
    assert f"{prefix}[1] (mcp-gateway SPENT): {url} answered 401" in text
    assert f"{prefix}[2] (mcp-gateway UNVERIFIED): could not be tried" in text
    assert f"{prefix}[3]" not in text
    assert f"{prefix}[4] (mcp-gateway EMPTY): empty" in text
    assert GOOD not in text
    assert BAD not in text
