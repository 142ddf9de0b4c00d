# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""vault_database and vault_db_static_role against a real OpenBao and a real PostgreSQL."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg2
import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import handover, planted
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.rotation import Rotation
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.scram import verifier
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import Session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.vaultdb import StaticRole
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.modules import (
    pg_databases,
    pg_ssl,
    vault_config,
    vault_database,
    vault_db_static_role,
)

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.agents import bao
from fixtures.bao_dev import DevServer, dev_server
from fixtures.modules import call
from fixtures.openbao import run_module
from fixtures.postgres import SERVER_NAME, Server, server

pytestmark = pytest.mark.skipif(bao() is None, reason="OpenBao is not installed")

CONNECTION = "postgresql-d_hr"
ANY_ROLE = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*"}
# Other than the one that the hand-over has written, and to the same effect.
STATEMENT = "SELECT vault_rotation.set_password('{{name}}', '{{password}}') WHERE true"
REFUSE = "REVOKE EXECUTE ON FUNCTION vault_rotation.set_password FROM vault_rotator"


class World:
    """A server with two logins, and a Vault server that knows nothing of it yet."""

    def __init__(self, database: Server, vault: DevServer) -> None:
        self.database = database
        self.vault = vault
        client = database.client("vault_rotator")
        url = (
            f"postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{database.port}/d_hr"
            f"?sslmode=verify-full&sslrootcert={database.bundle}/ca.crt"
            f"&sslcert={client['login_client_cert']}&sslkey={client['login_client_key']}"
        )
        self.declared: dict[str, Any] = {
            **vault.login,
            **database.login(),
            "connection": {"name": CONNECTION, "connection_url": url, "database": "d_hr"},
            "static_roles": [
                {"name": "app", "username": "app"},
                {"name": "other-app", "username": "other_app", "rotation_period": "24h"},
            ],
        }

    def apply(self, *, check: bool = False, **changes: Any) -> dict[str, Any]:
        return call(vault_database, check=check, **{**self.declared, **changes})

    def password(self, role: str = "app") -> str:
        return str(self.vault.read(f"database/static-creds/{role}")["password"])

    def log_in(self, login: str = "app", role: str = "app") -> str:
        with (
            self.database.as_login(login, self.password(role), "d_hr") as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("SELECT current_user::text")
            return str(cursor.fetchone()[0])

    def attributes(self, login: str) -> tuple[Any, ...]:
        rows = self.database.sql(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls FROM pg_roles"
        )
        return next(row[1:] for row in rows if row[0] == login)


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(database="all", user="all")
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        yield made


@pytest.fixture
def world(running: Server) -> Iterator[World]:
    names = ["app", "other_app", "owner"]
    declared = {
        "roles": [{"name": name, "login": name != "owner"} for name in names],
        "databases": [{"name": "d_hr", "owner": "owner", "connect": ["app", "other_app"]}],
    }
    assert call(pg_databases, **running.login(), **declared)["changed"]
    with dev_server() as vault:
        yield World(running, vault)
    running.sql("DROP DATABASE d_hr WITH (FORCE)")
    for name in ("vault_rotator", *names, "vault_rotation_owner"):
        running.sql(f"DROP ROLE IF EXISTS {name}")


@pytest.fixture
def handed(world: World) -> World:
    result = world.apply()
    assert "failed" not in result, result
    assert result["changed"]
    assert result["root_rotated"]
    assert sorted(result["rotated"]) == ["app", "other_app"]
    return world


class TestHandOver:
    def test_the_served_passwords_log_in(self, handed: World) -> None:
        assert handed.log_in() == "app"
        assert handed.log_in("other_app", "other-app") == "other_app"

    def test_a_second_run_changes_nothing(self, handed: World) -> None:
        before = handed.password()
        for check in (True, False):
            result = handed.apply(check=check)
            assert result["changes"] == [], result
            assert not result["root_rotated"]
            assert all(row["intact"] for row in result["logins"])
        assert handed.password() == before

    def test_check_mode_does_not_need_what_the_run_would_make(
        self, handed: World, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Such as the second login of an estate that has one so far."""
        second = {"name": "app-b", "username": "app_b", "turns_with": "app"}
        roles = [*handed.declared["static_roles"], second]
        made = handed.apply(check=True, static_roles=roles)
        assert "failed" not in made, made
        assert made["rotated"] == ["app_b"]
        assert {"kind": "static role", "name": "app-b", "action": "create"} in made["changes"]
        # Whatever form the installed Ansible gives a warning.
        told = json.dumps(made.get("warnings")) + capfd.readouterr().err
        assert "has these logins as well: app_b" in told
        assert "there is no login app_b" in handed.apply(static_roles=roles)["msg"]

    def test_check_mode_predicts_and_does_nothing(self, world: World) -> None:
        predicted = world.apply(check=True)
        assert predicted["changed"]
        assert world.database.sql("SELECT FROM pg_roles WHERE rolname = 'vault_rotator'") == []
        made = world.apply()
        assert made["changes"] == predicted["changes"]
        assert made["rotated"] == predicted["rotated"]

    def test_the_rotator_may_do_one_thing(self, handed: World) -> None:
        assert handed.attributes("vault_rotator") == (False, False, False, False)
        made = handed.database
        made.sql("ALTER ROLE vault_rotator PASSWORD 'known-to-the-test'")
        connection = made.as_login("vault_rotator", "known-to-the-test", "d_hr")
        connection.autocommit = True
        for statement in (
            "ALTER ROLE app PASSWORD 'x'",
            "ALTER ROLE app NOBYPASSRLS",
            "CREATE ROLE x",
            "SET ROLE vault_rotation_owner",
            "SET ROLE app",
            "SELECT * FROM vault_rotation.rotations",
            "CREATE TABLE vault_rotation.x (a int)",
        ):
            with (
                pytest.raises(psycopg2.errors.InsufficientPrivilege),
                connection.cursor() as cursor,
            ):
                cursor.execute(statement)
        connection.close()

    def test_nobody_else_may_execute_the_function(self, handed: World) -> None:
        with (
            handed.database.as_login("app", handed.password(), "d_hr") as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InsufficientPrivilege),
        ):
            cursor.execute("SELECT vault_rotation.set_password('other_app', 'x')")

    def test_no_password_is_anywhere_but_in_vault(self, world: World, capfd: Any) -> None:
        seen: list[str] = []
        new_password = Rotation.new_password

        def spied(self: Rotation) -> str:
            seen.append(new_password(self))
            return seen[0]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Rotation, "new_password", spied)
            result = world.apply()
        assert len(seen) == 1
        secrets = [seen[0], world.password(), world.password("other-app")]
        text = json.dumps(result) + world.database.log + "".join(capfd.readouterr())
        assert not any(secret in text for secret in secrets)
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            world.database.as_login("vault_rotator", seen[0], "d_hr")


class TestRotation:
    def test_a_rotation_clears_bypassrls(self, handed: World) -> None:
        handed.database.sql("ALTER ROLE app BYPASSRLS")
        before = handed.password()
        handed.vault.request("POST", "database/rotate-role/app")
        assert handed.password() != before
        assert handed.log_in() == "app"
        assert handed.attributes("app") == (False, False, False, False)

    @pytest.mark.parametrize("comment", [None, "whose it is: a'b\"c%s"])
    def test_what_a_killed_proof_has_planted_is_taken_back(
        self, handed: World, comment: str | None
    ) -> None:
        said = "SELECT shobj_description('app'::regrole, 'pg_authid')"
        if comment:
            quoted = comment.replace("'", "''")
            handed.database.sql(f"COMMENT ON ROLE app IS '{quoted}'")
        handed.database.sql("ALTER ROLE other_app BYPASSRLS")
        handed.database.sql(planted.plant("app"))
        assert handed.attributes("app") == (False, False, False, True)
        assert handed.apply(check=True)["changed"]
        assert handed.attributes("app") == (False, False, False, True)
        result = handed.apply()
        assert [change["name"] for change in result["changes"]] == ["app"]
        assert handed.attributes("app") == (False, False, False, False)
        assert handed.database.sql(said) == [(comment,)]
        # What nobody has marked is for the gate to say.
        assert handed.attributes("other_app") == (False, False, False, True)
        assert not handed.apply()["changed"]

    def test_a_login_that_became_a_superuser_is_refused(self, handed: World) -> None:
        handed.database.sql("ALTER ROLE app SUPERUSER")
        try:
            with pytest.raises(OSError, match="500"):
                handed.vault.request("POST", "database/rotate-role/app")
            result = handed.apply()
            assert result["failed"]
            assert "app is a superuser" in result["msg"]
        finally:
            handed.database.sql("ALTER ROLE app NOSUPERUSER")

    def test_a_failing_rotation_leaves_no_verifier_in_the_log(self, handed: World) -> None:
        handed.database.sql("REVOKE app FROM vault_rotation_owner")
        marker = len(handed.database.log)
        with pytest.raises(OSError, match="500"):
            handed.vault.request("POST", "database/rotate-role/app")
        written = handed.database.log[marker:]
        assert "app is not managed here" in written
        assert "SCRAM-SHA-256$" not in written
        assert handed.apply()["changed"]

    @pytest.mark.parametrize(
        "value",
        ["plain", "", "md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "SCRAM-SHA-256$4096:x$y:z", None],
    )
    def test_only_a_scram_verifier_is_set(self, handed: World, value: str | None) -> None:
        made = handed.database
        made.sql("ALTER ROLE vault_rotator PASSWORD 'known-to-the-test'")
        with (
            made.as_login("vault_rotator", "known-to-the-test", "d_hr") as connection,
            connection.cursor() as cursor,
            pytest.raises(psycopg2.errors.InvalidParameterValue),
        ):
            cursor.execute("SELECT vault_rotation.set_password('app', %s)", (value,))

    def test_a_stranger_s_login_is_refused(self, handed: World) -> None:
        made = handed.database
        made.sql("ALTER ROLE vault_rotator PASSWORD 'known-to-the-test'")
        for role in ("owner", "postgres", "vault_rotation_owner", "pg_read_all_data"):
            with (
                made.as_login("vault_rotator", "known-to-the-test", "d_hr") as connection,
                connection.cursor() as cursor,
                pytest.raises(psycopg2.errors.InsufficientPrivilege, match="refused"),
            ):
                cursor.execute("SELECT vault_rotation.set_password(%s, %s)", (role, verifier("x")))


class TestDrift:
    def test_a_password_changed_by_hand_is_rotated(self, handed: World) -> None:
        handed.database.sql("ALTER ROLE app PASSWORD 'changed-by-hand'")
        assert handed.apply(check=True)["rotated"] == ["app"]
        result = handed.apply()
        assert result["rotated"] == ["app"]
        assert not result["root_rotated"]
        assert handed.log_in() == "app"
        assert handed.apply()["changes"] == []

    def test_the_rotator_s_password_changed_by_hand_is_replaced(self, handed: World) -> None:
        handed.database.sql("ALTER ROLE vault_rotator PASSWORD 'changed-by-hand'")
        result = handed.apply()
        assert result["root_rotated"]
        assert result["rotated"] == []
        handed.vault.request("POST", "database/rotate-role/app")
        assert handed.log_in() == "app"
        assert handed.apply()["changes"] == []

    def test_a_verifier_that_vault_did_not_set_is_found_by_its_time(self, handed: World) -> None:
        handed.database.sql(
            "UPDATE vault_rotation.rotations SET rotated_at = now() + '1 h' WHERE role = 'app'",
            "d_hr",
        )
        assert handed.apply()["rotated"] == ["app"]

    @pytest.mark.parametrize("refused", [False, True], ids=["scheduled", "refused before"])
    def test_a_rotation_by_the_server_in_the_middle_of_a_look_is_no_drift(
        self, handed: World, monkeypatch: pytest.MonkeyPatch, refused: bool
    ) -> None:
        """At the first look, or, where the run lets the server rotate again, at the last one."""
        if refused:
            handed.database.sql(REFUSE, "d_hr")
        read, looks = Rotation._read_cluster, itertools.count(1)

        def overtaken(self: Rotation, *arguments: Any) -> None:
            read(self, *arguments)
            if next(looks) == 1 + refused:
                handed.vault.request("POST", "database/rotate-role/app")

        monkeypatch.setattr(Rotation, "_read_cluster", overtaken)
        before = handed.password()
        result = handed.apply()
        assert "failed" not in result, result
        assert [change["kind"] for change in result["changes"]] == ["function"] * refused
        assert result["rotated"] == []
        assert handed.password() != before
        assert next(looks) > 2 + refused, "it has looked once more"
        assert handed.log_in() == "app"

    def test_a_rotation_that_the_server_has_not_noted_yet_is_no_drift(
        self, handed: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It notes it a moment after PostgreSQL has it."""
        read, late = StaticRole.read, ["app"]

        def behind(self: StaticRole) -> Any:
            found = read(self)
            if self.name in late:
                late.remove(self.name)
                assert self.rotated_at
                self.rotated_at -= dt.timedelta(hours=1)
            return found

        monkeypatch.setattr(StaticRole, "read", behind)
        assert handed.apply()["changes"] == []
        assert late == []

    def test_what_is_still_wrong_after_a_run_is_told(
        self, handed: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        handed.database.sql(REFUSE, "d_hr")
        monkeypatch.setattr(handover, "_AGREED", 0.3)
        monkeypatch.setattr(Rotation, "act", lambda _self: None)
        result = handed.apply()
        assert result["failed"]
        assert "waited 0.3 s for both servers to agree" in result["msg"]
        assert "not as it should be: function d_hr.vault_rotation.set_password" in result["msg"]

    def test_clocks_that_differ_are_told_before_anything_is_rotated(
        self, handed: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As the database server an hour ahead, all that it writes down an hour late."""
        later = "UPDATE vault_rotation.rotations SET rotated_at = rotated_at + '{} h'::interval"
        handed.database.sql(later.format(1), "d_hr")
        before = handed.password()
        value = Session.value

        def ahead(self: Session, query: str, *more: Any) -> Any:
            found = value(self, query, *more)
            return found + dt.timedelta(hours=1) if "clock_timestamp" in query else found

        with monkeypatch.context() as patch:
            patch.setattr(Session, "value", ahead)
            result = handed.apply()
        told = re.search(r"clock is (\d+) s ahead of", result["msg"])
        # One clock is read by the whole second, and after the other one.
        assert told, result["msg"]
        assert 3595 < int(told[1]) < 3610
        assert handed.password() == before
        handed.database.sql(later.format(-1), "d_hr")
        assert handed.apply()["changes"] == []

    def test_a_tampered_function_is_put_back(self, handed: World) -> None:
        handed.database.sql(
            "CREATE OR REPLACE FUNCTION vault_rotation.set_password(p_role text, p_verifier text) "
            "RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN END'; "
            "GRANT EXECUTE ON FUNCTION vault_rotation.set_password(text, text) TO PUBLIC",
            "d_hr",
        )
        result = handed.apply()
        assert [c["kind"] for c in result["changes"]] == ["function"]
        assert handed.apply()["changes"] == []

    def test_a_vault_that_was_rebuilt_takes_over(self, handed: World) -> None:
        with dev_server() as fresh:
            again = World(handed.database, fresh)
            result = again.apply()
            assert result["root_rotated"]
            assert sorted(result["rotated"]) == ["app", "other_app"]
            assert again.log_in() == "app"
            assert again.apply()["changes"] == []

    def test_a_changed_period_does_not_rotate(self, handed: World) -> None:
        before = handed.password()
        roles = [{**row, "rotation_period": "12h"} for row in handed.declared["static_roles"]]
        result = handed.apply(static_roles=roles)
        assert [c["action"] for c in result["changes"]] == ["update", "update"]
        assert handed.password() == before

    def test_a_run_killed_after_each_write_is_finished_by_the_next(self, world: World) -> None:
        """Run number n is killed after its write number n, to either server."""
        killed = 0
        while _killed(world, after=killed + 1):
            killed += 1
        assert killed >= 5
        assert "failed" not in world.apply()
        assert (world.log_in(), world.log_in("other_app", "other-app")) == ("app", "other_app")
        assert world.apply()["changes"] == []


def _killed(world: World, after: int) -> bool:
    """Whether a run in a process of its own came as far as that write, and died there."""
    process = os.fork()
    if process == 0:
        count = itertools.count(1)

        def dying(do: Any) -> Any:
            def act(*arguments: Any, **more: Any) -> Any:
                done = do(*arguments, **more)
                if next(count) == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                return done

            return act

        try:
            VaultClient.write = dying(VaultClient.write)  # type: ignore[method-assign]
            Session.execute = dying(Session.execute)  # type: ignore[method-assign]
            world.apply()
        finally:
            os._exit(0)
    _process, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) == -signal.SIGKILL


@pytest.mark.slow
def test_a_database_that_is_down_at_rotation_time_is_rotated_when_it_is_back(world: World) -> None:
    roles = [{"name": "app", "username": "app", "rotation_period": "5s"}]
    assert "failed" not in world.apply(static_roles=roles)
    before = world.vault.read("database/static-roles/app")["last_vault_rotation"]
    world.database.stop()
    try:
        time.sleep(7)
        assert world.apply(static_roles=roles)["failed"]
    finally:
        world.database.start()
    end = time.monotonic() + 40
    while world.vault.read("database/static-roles/app")["last_vault_rotation"] == before:
        assert time.monotonic() < end
        time.sleep(0.2)
    slow = [{**roles[0], "rotation_period": "24h"}]
    assert "failed" not in world.apply(static_roles=slow)
    assert world.log_in() == "app"
    assert world.apply(static_roles=slow)["changes"] == []


class TestStaticRole:
    """The module for one role, for somebody who has nothing else of ours."""

    @pytest.fixture
    def single(self, handed: World) -> dict[str, Any]:
        client = handed.database.client("app")
        return {
            **handed.vault.login,
            "name": "app",
            "probe": {
                "host": SERVER_NAME,
                "hostaddr": "127.0.0.1",
                "port": handed.database.port,
                "database": "d_hr",
                "ca_cert": client["login_ca_cert"],
                "client_cert": client["login_client_cert"],
                "client_key": client["login_client_key"],
            },
        }

    def test_nothing_stated_nothing_changed(self, single: dict[str, Any]) -> None:
        result = call(vault_db_static_role, **single)
        assert not result["changed"]
        assert result["login_works"]

    def test_a_password_changed_by_hand_shows_and_is_rotated(
        self, handed: World, single: dict[str, Any]
    ) -> None:
        handed.database.sql("ALTER ROLE app PASSWORD 'changed-by-hand'")
        assert call(vault_db_static_role, **single)["login_works"] is False
        predicted = call(vault_db_static_role, check=True, **single, rotate="drifted")
        assert predicted["changed"]
        result = call(vault_db_static_role, **single, rotate="drifted")
        assert result["rotated"]
        assert result["login_works"]
        assert not call(vault_db_static_role, **single, rotate="drifted")["changed"]

    def test_no_database_is_no_drift(self, single: dict[str, Any]) -> None:
        single["probe"]["port"] = 1
        result = call(vault_db_static_role, **single, rotate="drifted")
        assert result["failed"]
        assert "no PostgreSQL server answers" in result["msg"]

    def test_rotation_on_request(self, handed: World, single: dict[str, Any]) -> None:
        before = handed.password()
        result = call(vault_db_static_role, **single, rotate="always")
        assert result["rotated"]
        assert result["login_works"]
        assert handed.password() != before
        assert before not in json.dumps(result)
        assert handed.password() not in json.dumps(result)

    @pytest.mark.parametrize(
        "ignored",
        [
            {"rotation_schedule": "0 0 * * *"},
            {"rotation_window": "1h"},
            {"skip_import_rotation": True},
        ],
    )
    def test_a_setting_that_would_be_ignored_is_refused_before_anything_is_written(
        self, handed: World, single: dict[str, Any], ignored: dict[str, Any]
    ) -> None:
        before = handed.vault.read("database/static-roles/app")
        result = call(vault_db_static_role, **single, **ignored, rotation_period="1h")
        assert result["failed"]
        assert result["ignored_fields"] == sorted(ignored)
        assert "version 2." in result["msg"]
        assert next(iter(ignored)) in result["msg"]
        assert handed.vault.read("database/static-roles/app") == before

    @pytest.mark.parametrize("by", [vault_db_static_role, vault_config], ids=["alone", "in a call"])
    @pytest.mark.parametrize(
        ("setting", "stated", "kept"),
        [("rotation_period", "30h", 108000), ("rotation_statements", [STATEMENT], [STATEMENT])],
    )
    def test_one_setting_is_changed_without_the_others_being_stated(
        self, handed: World, by: ModuleType, setting: str, stated: Any, kept: Any
    ) -> None:
        """The server wants others of them again in every change, and it does not rotate for one."""
        role = {"name": "app", setting: stated}
        options = role if by is vault_db_static_role else {"static_roles": [role]}
        at = {**handed.vault.login, **options}
        before, password = handed.vault.read("database/static-roles/app"), handed.password()
        predicted = run_module(by, check=True, **at)
        assert handed.vault.read("database/static-roles/app") == before
        result = run_module(by, **at)
        assert result["changed"], result
        assert result["diff"] == predicted["diff"]
        after = handed.vault.read("database/static-roles/app")
        assert {name for name in after if after[name] != before.get(name)} == {setting}
        assert after[setting] == kept
        assert not run_module(by, **at)["changed"]
        assert handed.password() == password
        assert handed.log_in() == "app"

    def test_names_with_every_character(self, handed: World) -> None:
        """What the server takes from a plain HTTP client, both modules give it, and read back."""
        handed.vault.request("POST", f"database/config/{CONNECTION}", ANY_ROLE)
        role: dict[str, Any] = {"db_name": CONNECTION, "username": "app", "rotation_period": "1h"}
        role["rotation_statements"] = [STATEMENT]
        letters = [chr(number) for number in range(33, 127) if chr(number) != "/"]
        allowed = []
        for letter in [*letters, "x y", "é", "日", "a/b"]:
            with contextlib.suppress(OSError):
                handed.vault.request("POST", f"database/static-roles/raw-{letter}-end", role)
                allowed.append(letter)
        assert len(allowed) > 60, allowed
        made = [{"name": f"our-{letter}-End", **role} for letter in allowed]
        at = {**handed.vault.login, "static_roles": made}
        assert [run_module(vault_config, **at).get("changed") for _run in range(2)] == [True, False]
        for entry in made:
            again = run_module(vault_db_static_role, **handed.vault.login, **entry)
            assert again.get("changed") is False, again
        there = set(handed.vault.request("LIST", "database/static-roles")["data"]["keys"])
        assert {entry["name"] for entry in made} <= there

    def test_the_login_of_a_role_is_fixed(self, single: dict[str, Any]) -> None:
        result = call(vault_db_static_role, **single, username="other_app")
        assert result["failed"]
        assert "cannot be changed" in result["msg"]

    def test_removal(self, handed: World, single: dict[str, Any]) -> None:
        assert call(vault_db_static_role, check=True, **single, state="absent")["changed"]
        assert call(vault_db_static_role, **single, state="absent")["changed"]
        assert not call(vault_db_static_role, **single, state="absent")["changed"]
        result = call(vault_db_static_role, **single)
        assert result["failed"]
        assert "give db_name, username" in result["msg"]
