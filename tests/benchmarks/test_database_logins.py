# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""200 database logins: handed over, looked at, rotated, and judged by the gate."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_privileges,
    pg_ssl,
    vault_database,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from fixtures.agents import bao
from fixtures.modules import call
from fixtures.openbao import OpenBao, running
from fixtures.postgres import REPO, Server, server

pytestmark = pytest.mark.skipif(bao() is None, reason="OpenBao is not installed")

COUNT = 200
LOGINS = [f"app_{number:03}" for number in range(COUNT)]


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(database="all", user="all", options=None)
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        yield made


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        with made.ready().client() as client:
            client.write("sys/mounts/database", {"type": "database"})
        yield made


def timed(work: Callable[[], dict[str, Any]]) -> tuple[float, dict[str, Any]]:
    begin = time.monotonic()
    result = work()
    assert "failed" not in result, result
    return round(time.monotonic() - begin, 2), result


def logs_in(made: Server, login: str, password: str) -> bool:
    connection = psycopg2.connect(
        host="localhost",
        port=made.port,
        user=login,
        password=password,
        dbname="d_hr",
        sslmode="verify-full",
        sslrootcert=str(made.bundle / "ca.crt"),
    )
    connection.close()
    return True


def test_two_hundred_logins(database: Server, vault: OpenBao) -> None:
    roles = {
        "roles": [{"name": "owner", "login": False}, *({"name": name} for name in LOGINS)],
        "databases": [
            {
                "name": "d_hr",
                "owner": "owner",
                "connect": LOGINS,
                "schemas": [
                    {"name": "hr", "grants": [{"to": n, "tables": ["SELECT"]} for n in LOGINS]}
                ],
            }
        ],
    }
    client = database.client("vault_rotator")
    url = (
        f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{database.port}/d_hr"
        f"?sslmode=verify-full&sslrootcert={database.bundle}/ca.crt"
        f"&sslcert={client['login_client_cert']}&sslkey={client['login_client_key']}"
    )
    handed = {
        **vault.arguments(token=vault.root_token),
        **database.login(),
        "connection": {"name": "c", "connection_url": url, "database": "d_hr"},
        "static_roles": [{"name": n.replace("_", "-"), "username": n} for n in LOGINS],
    }
    seconds: dict[str, float] = {}
    seconds["databases, from nothing"], _made = timed(
        lambda: call(pg_databases, **database.login(), **roles)
    )
    seconds["databases, nothing to do"], again = timed(
        lambda: call(pg_databases, **database.login(), **roles)
    )
    assert again["changes"] == []
    seconds["hand-over, from nothing"], made = timed(lambda: call(vault_database, **handed))
    assert len(made["rotated"]) == COUNT
    seconds["hand-over, nothing to do"], again = timed(lambda: call(vault_database, **handed))
    assert again["changes"] == []
    for name in LOGINS[::2]:
        database.sql(f"ALTER ROLE {name} PASSWORD 'by-hand'")
    seconds["half of them changed by hand"], healed = timed(lambda: call(vault_database, **handed))
    assert healed["rotated"] == LOGINS[::2]
    seconds["gate"], gate = timed(
        lambda: call(
            pg_privileges,
            **database.login(),
            findings="report",
            allow=[{"login": name, "kind": "*"} for name in LOGINS],
        )
    )
    assert gate["rights"] > 5 * COUNT

    def rotated(client: VaultClient, name: str) -> bool:
        role = name.replace("_", "-")
        before = (client.read(f"database/static-creds/{role}") or {})["password"]
        client.write(f"database/rotate-role/{role}", repeatable=False)
        after = (client.read(f"database/static-creds/{role}") or {})["password"]
        return after != before and logs_in(database, name, after)

    begin = time.monotonic()
    with vault.client() as client:
        assert all(client.map(lambda name: rotated(client, name), LOGINS))
    seconds["each rotated, read and logged in with"] = round(time.monotonic() - begin, 2)
    report = {
        "name": "database_logins",
        "unit": "s",
        "what": f"{COUNT} database logins, and a server over TLS with its data on disk",
        "ours": seconds,
        "baseline": None,
        "ratio": None,
        "runs": 1,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
    }
    place = REPO / "build" / "bench" / "database_logins.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(report, indent=2) + "\n")
    assert seconds["hand-over, nothing to do"] < seconds["hand-over, from nothing"]
