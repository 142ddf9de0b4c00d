# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Passwords rotate again and again while a service is asked without a pause.

The service is the real one, with the real agent beside it: the server rotates two logins by turns
and by its own clock, the agent renders the one that was rotated last and sends the service a
signal, and none of its callers notices. Nor does the database server refuse a single connection.
"""

from __future__ import annotations

import http.client
import json
import os
import platform
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.layout import template_text
from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_ssl,
    vault_database,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from fixtures.agents import bao
from fixtures.modules import call
from fixtures.openbao import OpenBao, running
from fixtures.ports import free_port
from fixtures.postgres import REPO, Server, server
from fixtures.reference_services import (
    Authority,
    ServiceProcess,
    eventually,
    spiffe,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="OpenBao is not installed")

REQUESTS = int(os.environ.get("PHOENIX_BENCH_REQUESTS", "10000"))
CALLERS = 3
ROTATIONS = 5
# Seconds. The server looks every five seconds for what is due, so turns have to be further apart.
PERIOD = 24
LOGIN = "tamshai_app"
SECOND = "tamshai_app_b"


class Load:
    """Callers that each keep one connection and ask again as soon as they have the answer."""

    def __init__(self, port: int, bundle: Path) -> None:
        self.port = port
        self.bundle = bundle
        self.done = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _unused in range(CALLERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *unused: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _link(self) -> http.client.HTTPConnection:
        context = ssl.create_default_context(cafile=str(self.bundle / "current/ca.crt"))
        context.load_cert_chain(self.bundle / "current/tls.crt", self.bundle / "current/tls.key")
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        raw = socket.create_connection(("127.0.0.1", self.port), 30)
        link.sock = context.wrap_socket(raw, server_hostname="localhost")
        return link

    def _run(self) -> None:
        link = self._link()
        payload = json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
            | {"params": {"name": "whoami", "arguments": {}}}
        )
        headers = {
            "Accept": "application/json, text/event-stream",
            "Content-Type": "application/json",
            "X-Tamshai-User-Id": "mona",
        }
        while not self._stop.is_set():
            begin = time.monotonic()
            problem = ""
            try:
                link.request("POST", "/mcp", payload, headers)
                reply = link.getresponse()
                body = reply.read().decode()
                if reply.status != 200 or '"visible_employees":3' not in body.replace(" ", ""):
                    problem = f"{reply.status} {body[:200]}"
            except OSError as error:
                problem = repr(error)
                link = self._link()
            with self._lock:
                self.done += 1
                self.slowest = max(self.slowest, time.monotonic() - begin)
                if problem:
                    self.failures.append(problem)
        link.close()


@pytest.fixture
def database() -> Iterator[Server]:
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(database="all", user="all")
        options["settings"]["log_connections"] = True
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        for login in ("vault_rotator", LOGIN, SECOND):
            made.client(login)
        role = REPO / "roles" / "postgresql"
        samples = yaml.safe_load((role / "vars" / "main.yml").read_text())["__postgresql_samples"]
        samples["hr"]["seed"]["sql"] = (role / "files" / "hr.sql").read_text()
        rights = {"tables": ["SELECT"], "sequences": []}
        declared = {
            "roles": [
                {"name": "tamshai", "login": False},
                {"name": LOGIN},
                {"name": SECOND, "inherits": [LOGIN]},
            ],
            "databases": [
                {"name": "tamshai_hr", "owner": "tamshai", "connect": [LOGIN]}
                | {
                    "schemas": [
                        {"name": "hr", "grants": [{"to": LOGIN, **rights}], **samples["hr"]}
                    ]
                }
            ],
        }
        assert call(pg_databases, **made.login(), **declared)["changed"]
        yield made


@pytest.fixture
def vault(tmp_path: Path, database: Server) -> Iterator[OpenBao]:
    with running(tmp_path / "vault") as made:
        with made.ready().client() as client:
            client.write("sys/mounts/database", {"type": "database"})
        hand_over(database, made)
        yield made


def hand_over(database: Server, vault: OpenBao) -> None:
    """A run of the role: it keeps the two half a period apart."""
    client = database.folder / "clients" / "vault_rotator"
    url = (
        f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{database.port}/tamshai_hr"
        f"?sslmode=verify-full&sslrootcert={database.bundle}/ca.crt"
        f"&sslcert={client}/tls.crt&sslkey={client}/tls.key"
    )
    first = {"name": "tamshai-app", "username": LOGIN, "rotation_period": f"{PERIOD}s"}
    second = {**first, "name": "tamshai-app-b", "username": SECOND, "turns_with": "tamshai-app"}
    handed = call(
        vault_database,
        **vault.arguments(token=vault.root_token),
        **database.login(),
        connection={"name": "c", "connection_url": url, "database": "tamshai_hr"},
        static_roles=[first, second],
    )
    assert "failed" not in handed, handed


@pytest.fixture
def service(tmp_path: Path, database: Server) -> Iterator[ServiceProcess]:
    authority = Authority()
    made = ServiceProcess(
        "mcp-hr", free_port(), tmp_path, authority, callers=(spiffe("service/mcp-gateway"),)
    )
    made.new_certificate()
    client = database.folder / "clients" / LOGIN
    made.environment = {
        "POSTGRES_HOST": "localhost",
        "POSTGRES_PORT": str(database.port),
        "POSTGRES_DB": "tamshai_hr",
        "POSTGRES_SSL": "require",
        "POSTGRES_SSL_CA": f"{database.bundle}/ca.crt",
        "POSTGRES_SSL_CERT": f"{client}/tls.crt",
        "POSTGRES_SSL_KEY": f"{client}/tls.key",
        "POSTGRES_SSL_REJECT_UNAUTHORIZED": "true",
    }
    (tmp_path / "run").mkdir()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def agent(
    tmp_path: Path, database: Server, vault: OpenBao, service: ServiceProcess
) -> Iterator[None]:
    """As the estate's agent renders: one JSON object by one rename, then a signal."""
    assert service.process is not None
    (tmp_path / "token").write_text(vault.root_token)
    place = vault.operator / "current"
    source = {"static_role": "tamshai-app", "turns_with": "tamshai-app-b"}
    clients = database.folder / "clients"
    named = {**source, "field": "username"}
    secrets = {
        "POSTGRES_USER": named,
        "POSTGRES_PASSWORD": {**source, "field": "password"},
        "POSTGRES_SSL_CERT": {**named, "format": f"{clients}/%s/tls.crt"},
        "POSTGRES_SSL_KEY": {**named, "format": f"{clients}/%s/tls.key"},
    }
    config = {
        "vault": {
            "address": vault.url,
            "ca_cert": str(place / "ca.crt"),
            "client_cert": str(place / "tls.crt"),
            "client_key": str(place / "tls.key"),
        },
        "auto_auth": {
            "method": [
                {"type": "token_file", "config": {"token_file_path": str(tmp_path / "token")}}
            ]
        },
        "template_config": {
            "static_secret_render_interval": "10s",
            "exit_on_retry_failure": False,
        },
        "template": [
            {
                "contents": template_text(secrets, "tamshai"),
                "destination": str(service.secrets_file),
                "perms": "0400",
                "error_on_missing_key": True,
                "exec": {"command": ["kill", "-HUP", str(service.process.pid)]},
            }
        ],
    }
    (tmp_path / "agent.json").write_text(json.dumps(config))
    process = subprocess.Popen(
        [str(bao()), "agent", f"-config={tmp_path}/agent.json"],
        stdout=(tmp_path / "agent.log").open("wb"),
        stderr=subprocess.STDOUT,
    )
    yield
    process.terminate()
    process.wait(10)


@pytest.mark.usefixtures("agent")
def test_no_request_fails_while_passwords_rotate_by_turns(
    tmp_path: Path, database: Server, vault: OpenBao, service: ServiceProcess
) -> None:
    bundle = service.authority.bundle(
        tmp_path / "caller", "mcp-gateway", uris=(spiffe("service/mcp-gateway"),)
    )

    def last() -> list[str]:
        with vault.client() as client:
            roles = [
                client.read(f"database/static-roles/{r}") for r in ("tamshai-app", "tamshai-app-b")
            ]
        return [str((role or {})["last_vault_rotation"]) for role in roles]

    def used() -> str:
        return str(json.loads(service.secrets_file.read_bytes())["POSTGRES_USER"])

    eventually(service.secrets_file.exists, "the first secrets", 20)
    eventually(lambda: socket.create_connection(("127.0.0.1", service.port), 1), "listening", 20)
    seen, in_use = last(), used()
    said = len(database.log)
    turns: list[str] = []
    begin = time.monotonic()
    with Load(service.port, bundle) as load:
        while load.done < REQUESTS or len(turns) < ROTATIONS:
            assert time.monotonic() - begin < 600
            time.sleep(0.2)
            now = last()
            rotated = [
                login
                for login, old, new in zip((LOGIN, SECOND), seen, now, strict=True)
                if old != new
            ]
            assert in_use not in rotated, "a password in use was replaced"
            turns += rotated
            seen, in_use = now, used()
            if rotated:
                hand_over(database, vault)
    seconds = time.monotonic() - begin
    assert load.failures == []
    assert all(a != b for a, b in pairwise(turns)), turns
    log = database.log[said:]
    assert all(f"connection authorized: user={login} " in log for login in (LOGIN, SECOND))
    refused = [line for line in log.splitlines() if "FATAL" in line]
    assert refused == []
    report = {
        "name": "rotation_under_load",
        "unit": "failed requests",
        "what": f"{CALLERS} callers ask mcp-hr without a pause while its two logins are rotated "
        "by a server over TLS",
        "ours": len(load.failures),
        "baseline": None,
        "ratio": None,
        "runs": 1,
        "requests": load.done,
        "rotations": len(turns),
        "refused_connections": len(refused),
        "seconds": round(seconds, 1),
        "requests_per_second": round(load.done / seconds, 1),
        "slowest_request_seconds": round(load.slowest, 3),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
    }
    place = REPO / "build" / "bench" / "rotation_under_load.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(report, indent=2) + "\n")
