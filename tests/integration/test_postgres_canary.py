# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A planted password of a PostgreSQL session is in no result, whatever becomes of the session."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_privileges,
    pg_ssl,
)

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.modules import call
from fixtures.postgres import Server, server

CANARY = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
MODULES: dict[str, tuple[Any, dict[str, Any]]] = {
    "pg_databases": (pg_databases, {"databases": [{"name": "no'such", "connect": ["no'body"]}]}),
    "pg_privileges": (pg_privileges, {"allow": []}),
}


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(user="all", database="all", options=None)
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        quoted = CANARY.replace("'", "''")
        made.sql(f"CREATE ROLE admin LOGIN SUPERUSER PASSWORD '{quoted}'")
        yield made


def results(made: Server, name: str, password: str) -> dict[str, Any]:
    module, options = MODULES[name]
    login = made.login(**made.client("admin"), login_user="admin", login_password=password)
    return call(module, **login, **options)


@pytest.mark.parametrize("name", MODULES)
def test_the_session_comes_about_and_the_work_fails(running: Server, name: str) -> None:
    result = results(running, name, CANARY)
    assert result["failed"]
    assert "PostgreSQL refused" not in result["msg"]
    assert CANARY not in json.dumps(result, ensure_ascii=False)
    assert CANARY not in running.log


@pytest.mark.parametrize("name", MODULES)
def test_the_session_is_refused(running: Server, name: str) -> None:
    result = results(running, name, CANARY + "wrong")
    assert result["failed"]
    assert "password authentication failed" in result["msg"]
    assert CANARY not in json.dumps(result, ensure_ascii=False)


def test_the_server_s_words_about_values_stay_with_the_server(running: Server) -> None:
    """A failing statement is reported by its primary message; DETAIL and LINE quote values."""
    seed = {"table": "t", "sql": "CREATE TABLE t (a int); INSERT INTO t VALUES ('a secret')"}
    declared = {
        "roles": [{"name": "owner", "login": False}],
        "databases": [
            {"name": "d", "owner": "owner", "schemas": [{"name": "s", "seed": seed}]},
        ],
    }
    result = call(pg_databases, **running.login(), **declared)
    assert result["failed"]
    assert "LINE" not in result["msg"]
    assert "INSERT" not in result["msg"]
