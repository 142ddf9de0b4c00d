# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Two logins that take turns: a real OpenBao with its agent, and a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.layout import template_text
from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_ssl,
    vault_database,
)

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.agents import bao
from fixtures.bao_dev import DevServer, dev_server
from fixtures.modules import call
from fixtures.postgres import Server, server
from fixtures.reference_services import eventually

pytestmark = pytest.mark.skipif(bao() is None, reason="OpenBao is not installed")

HOUR = 3600
FULL = 648 * HOUR


class Pair:
    """A server with a login and one that inherits from it, and a Vault server."""

    def __init__(self, database: Server, vault: DevServer) -> None:
        self.database = database
        self.vault = vault
        client = database.client("vault_rotator")
        url = (
            f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{database.port}/d_hr"
            f"?sslmode=verify-full&sslrootcert={database.bundle}/ca.crt"
            f"&sslcert={client['login_client_cert']}&sslkey={client['login_client_key']}"
        )
        self.first: dict[str, Any] = {"name": "app", "username": "app"}
        self.second: dict[str, Any] = {"name": "app-b", "username": "app_b", "turns_with": "app"}
        self.common: dict[str, Any] = {
            **vault.login,
            **database.login(),
            "connection": {"name": "c", "connection_url": url, "database": "d_hr"},
        }

    def apply(self, *rows: dict[str, Any], check: bool = False) -> dict[str, Any]:
        rows = rows or (self.first, self.second)
        result = call(vault_database, check=check, **self.common, static_roles=list(rows))
        assert "failed" not in result, result["msg"]
        return result

    def served(self, name: str) -> dict[str, Any]:
        return dict(self.vault.read(f"database/static-creds/{name}"))

    @property
    def periods(self) -> tuple[int, int]:
        first, second = (self.served(name)["rotation_period"] for name in ("app", "app-b"))
        return first, second

    def rotate(self, name: str) -> None:
        self.vault.request("POST", f"database/rotate-role/{name}", {})


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(database="all", user="all")
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        yield made


@pytest.fixture
def pair(running: Server) -> Iterator[Pair]:
    declared = {
        "roles": [
            {"name": "owner", "login": False},
            {"name": "app"},
            {"name": "app_b", "inherits": ["app"]},
        ],
        "databases": [{"name": "d_hr", "owner": "owner", "connect": ["app"]}],
    }
    assert call(pg_databases, **running.login(), **declared)["changed"]
    assert not call(pg_databases, **running.login(), **declared)["changed"]
    with dev_server() as vault:
        yield Pair(running, vault)
    running.sql("DROP DATABASE d_hr WITH (FORCE)")
    for name in ("app_b", "app", "vault_rotator", "owner", "vault_rotation_owner"):
        running.sql(f"DROP ROLE IF EXISTS {name}")


def test_the_second_is_used_first_and_the_first_has_the_shorter_period(pair: Pair) -> None:
    predicted = pair.apply(check=True)
    made = pair.apply()
    assert made["changes"] == predicted["changes"]
    assert made["rotated"] == ["app", "app_b"]
    assert pair.served("app-b")["last_vault_rotation"] > pair.served("app")["last_vault_rotation"]
    assert pair.periods == (FULL * 3 // 4, FULL)
    assert not pair.apply()["changed"]
    # The server counts from the last rotation on.
    assert pair.served("app")["ttl"] == pytest.approx(FULL * 3 // 4, abs=30)
    assert pair.served("app-b")["ttl"] == pytest.approx(FULL, abs=30)
    # Both log in, the second one by what it inherits.
    for login, name in (("app", "app"), ("app_b", "app-b")):
        pair.database.as_login(login, pair.served(name)["password"], "d_hr").close()


def test_a_login_that_is_there_goes_on_while_the_second_one_comes(pair: Pair) -> None:
    """As a run that was killed before the second one was made leaves it, or an older estate."""
    pair.apply(pair.first)
    before = pair.served("app")
    predicted = pair.apply(check=True)
    made = pair.apply()
    assert made["changes"] == predicted["changes"]
    assert made["rotated"] == ["app_b"]
    after = pair.served("app")
    assert after["password"] == before["password"]
    assert after["last_vault_rotation"] == before["last_vault_rotation"]
    assert pair.periods == (FULL * 3 // 4, FULL)
    assert not pair.apply()["changed"]


def test_whoever_was_rotated_less_recently_catches_up_without_a_rotation(pair: Pair) -> None:
    pair.apply()
    pair.rotate("app")
    before = [pair.served(name)["password"] for name in ("app", "app-b")]
    assert pair.apply()["rotated"] == []
    assert pair.periods == (FULL, FULL * 3 // 4)
    assert pair.served("app-b")["ttl"] == pytest.approx(FULL * 3 // 4, abs=30)
    assert [pair.served(name)["password"] for name in ("app", "app-b")] == before
    assert not pair.apply()["changed"]


def test_passwords_changed_by_hand_come_back_in_the_same_order(pair: Pair) -> None:
    pair.apply()
    for login in ("app_b", "app"):
        pair.database.sql(f"ALTER ROLE {login} PASSWORD 'by-hand'")
    assert pair.apply()["rotated"] == ["app", "app_b"]
    assert pair.served("app-b")["last_vault_rotation"] > pair.served("app")["last_vault_rotation"]
    assert not pair.apply()["changed"]


def test_pairs_that_are_none_are_refused_with_all_their_mistakes(pair: Pair) -> None:
    rows = [
        {**pair.first, "rotation_period": "24h"},
        pair.second,
        {"name": "x", "username": "x", "turns_with": "nobody"},
        {"name": "y", "username": "y", "turns_with": "app"},
    ]
    result = call(vault_database, **pair.common, static_roles=rows)
    assert result["failed"]
    for text in (
        "app-b and app take turns and need the same rotation_period",
        "x takes turns with nobody, which is no other static role here",
        "y and app: a static role takes turns with one other",
    ):
        assert text in result["msg"]
    assert not pair.database.sql("SELECT 1 FROM pg_roles WHERE rolname = 'vault_rotator'")


def test_the_agent_renders_the_later_rotated_one(pair: Pair, tmp_path: Path) -> None:
    pair.apply()
    source = {"static_role": "app", "turns_with": "app-b"}
    secrets = {
        "USER": {**source, "field": "username"},
        "PASSWORD": {**source, "field": "password"},
        "CERT": {**source, "field": "username", "format": "/tls/clients/%s/current/tls.crt"},
    }
    (tmp_path / "token").write_text(pair.vault.token)
    rendered = tmp_path / "secrets.json"
    config = {
        "vault": {"address": pair.vault.url},
        "auto_auth": {
            "method": [
                {"type": "token_file", "config": {"token_file_path": str(tmp_path / "token")}}
            ]
        },
        "template": [
            {
                "contents": template_text(secrets, "tamshai"),
                "destination": str(rendered),
                "perms": "0400",
                "error_on_missing_key": True,
            }
        ],
    }
    (tmp_path / "agent.json").write_text(json.dumps(config))

    def shown(login: str, name: str) -> None:
        wanted = {
            "USER": login,
            "PASSWORD": pair.served(name)["password"],
            "CERT": f"/tls/clients/{login}/current/tls.crt",
        }
        with subprocess.Popen(
            [str(bao()), "agent", f"-config={tmp_path}/agent.json"],
            stdout=(tmp_path / "agent.log").open("ab"),
            stderr=subprocess.STDOUT,
        ) as agent:
            try:
                eventually(
                    lambda: rendered.exists() and json.loads(rendered.read_text()) == wanted,
                    f"the secrets of {login}",
                )
            finally:
                agent.terminate()

    shown("app_b", "app-b")
    pair.rotate("app")
    shown("app", "app")
    pair.rotate("app-b")
    shown("app_b", "app-b")
