# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pg_databases against a real PostgreSQL: what it makes, keeps, puts back and leaves alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import identifier
from ansible_collections.tamshai.phoenix.plugins.modules import pg_databases, pg_ssl

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.modules import call
from fixtures.postgres import REPO, Server, server

ROLE = REPO / "roles" / "postgresql"
PASSWORD = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    """A server that lets app log in to every database, with its certificate and password."""
    with server() as made:
        options = made.pg_ssl
        options["hba"][1].update(database="all", user="all")
        assert call(pg_ssl, **options, unreachable="stage")["state"] == "staged"
        made.start()
        yield made


@pytest.fixture(autouse=True)
def clean(running: Server) -> Iterator[None]:
    yield
    for (name,) in running.sql("SELECT datname FROM pg_database WHERE datname LIKE 'd\\_%'"):
        running.sql(f"DROP DATABASE {identifier(name)} WITH (FORCE)")
    for (name,) in running.sql(
        "SELECT rolname FROM pg_roles WHERE rolname NOT LIKE 'pg\\_%' AND rolname <> 'postgres'"
    ):
        running.sql(f"DROP OWNED BY {identifier(name)}")
        running.sql(f"DROP ROLE {identifier(name)}")


def declaration() -> dict[str, Any]:
    """The sample database of the role itself."""
    sample = yaml.safe_load((ROLE / "vars" / "main.yml").read_text())["__postgresql_samples"]["hr"]
    sample["seed"]["sql"] = (ROLE / "files" / "hr.sql").read_text()
    grant = {"to": "app", "tables": ["SELECT", "INSERT", "UPDATE", "DELETE"]}
    return {
        "roles": [{"name": "owner", "login": False}, {"name": "app", "login": True}],
        "databases": [
            {
                "name": "d_hr",
                "owner": "owner",
                "connect": ["app"],
                "schemas": [
                    {"name": "hr", "grants": [{**grant, "sequences": ["USAGE"]}], **sample}
                ],
            }
        ],
    }


def apply(made: Server, *, check: bool = False, **declared: Any) -> dict[str, Any]:
    result = call(pg_databases, check=check, **made.login(), **(declared or declaration()))
    assert "failed" not in result, result
    return result


def rows(made: Server, user: str, roles: str = "", sql: str = "") -> list[str]:
    """What the application's login sees for a user."""
    connection = made.as_login("app", PASSWORD, "d_hr")
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.current_user_id', %s, true)", (user,))
            cursor.execute("SELECT set_config('app.current_user_roles', %s, true)", (roles,))
            cursor.execute(sql or "SELECT user_id FROM hr.employees ORDER BY user_id")
            return [row[0] for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


@pytest.fixture
def made(running: Server) -> Server:
    result = apply(running)
    assert result["changed"]
    connection = psycopg2.connect(
        host=str(running.socket), port=running.port, user="postgres", dbname="postgres"
    )
    with connection, connection.cursor() as cursor:
        cursor.execute("ALTER ROLE app PASSWORD %s", (PASSWORD,))
    connection.close()
    return running


class TestPlan:
    def test_check_mode_predicts_the_run_and_makes_nothing(self, running: Server) -> None:
        predicted = apply(running, check=True)
        assert predicted["changed"]
        assert running.sql("SELECT 1 FROM pg_database WHERE datname = 'd_hr'") == []
        assert apply(running)["changes"] == predicted["changes"]

    def test_a_second_run_changes_nothing(self, made: Server) -> None:
        assert apply(made)["changes"] == []
        assert apply(made, check=True)["changes"] == []


class TestRows:
    """The sample data, as the application's login sees them."""

    def test_nobody_sees_nothing(self, made: Server) -> None:
        assert rows(made, "") == []

    def test_a_user_sees_their_own_row(self, made: Server) -> None:
        assert rows(made, "alice") == ["alice"]

    def test_a_manager_sees_those_who_report_to_them(self, made: Server) -> None:
        assert rows(made, "mona") == ["alice", "bob", "mona"]

    def test_hr_sees_all(self, made: Server) -> None:
        assert len(rows(made, "hanna", "employee,hr-read")) == 9

    def test_a_role_that_only_looks_like_it_sees_no_more(self, made: Server) -> None:
        assert rows(made, "dan", "hr-readers,xhr-read") == ["dan"]

    def test_only_hr_write_changes_rows(self, made: Server) -> None:
        change = "UPDATE hr.employees SET title = 'x' WHERE user_id = 'alice' RETURNING user_id"
        assert rows(made, "alice", "", change) == []
        assert rows(made, "hanna", "hr-read", change) == []
        assert rows(made, "hanna", "hr-write", change) == ["alice"]

    def test_the_settings_do_not_outlive_their_transaction(self, made: Server) -> None:
        connection = made.as_login("app", PASSWORD, "d_hr")
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.current_user_id', 'alice', true)")
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM hr.employees")
            assert cursor.fetchone() == (0,)
        connection.close()

    def test_the_owner_is_bound_too(self, made: Server) -> None:
        made.sql("GRANT owner TO app")
        seen = rows(made, "alice", "", "SET LOCAL ROLE owner; SELECT user_id FROM hr.employees")
        assert seen == ["alice"]

    @pytest.mark.parametrize(
        "statement",
        [
            "TRUNCATE hr.employees",
            "CREATE TABLE public.mine (a int)",
            "CREATE TABLE hr.mine (a int)",
            "CREATE TEMP TABLE mine (a int)",
            "ALTER TABLE hr.employees DISABLE ROW LEVEL SECURITY",
            "CREATE ROLE other",
        ],
    )
    def test_the_login_may_do_nothing_else(self, made: Server, statement: str) -> None:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            rows(made, "alice", "hr-write", statement)


class TestDrift:
    @pytest.mark.parametrize(
        "damage",
        [
            "ALTER TABLE hr.employees NO FORCE ROW LEVEL SECURITY",
            "ALTER TABLE hr.employees DISABLE ROW LEVEL SECURITY",
            "DROP POLICY own_row ON hr.employees",
            "ALTER POLICY own_row ON hr.employees USING (true)",
            "ALTER POLICY own_row ON hr.employees TO app",
            "REVOKE SELECT ON hr.employees FROM app",
            "REVOKE USAGE ON SCHEMA hr FROM app",
            "REVOKE CONNECT ON DATABASE d_hr FROM app",
            "GRANT CONNECT ON DATABASE d_hr TO PUBLIC",
            "GRANT CREATE ON SCHEMA public TO PUBLIC",
            "ALTER DATABASE d_hr OWNER TO postgres",
            "ALTER SCHEMA hr OWNER TO postgres",
            "ALTER ROLE app NOLOGIN",
            "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA hr REVOKE SELECT ON TABLES FROM app",
            "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        ],
    )
    def test_what_is_declared_is_put_back(self, made: Server, damage: str) -> None:
        made.sql(damage, "d_hr")
        assert apply(made, check=True)["changed"]
        result = apply(made)
        assert len(result["changes"]) == 1, result["changes"]
        assert apply(made)["changes"] == []
        assert rows(made, "alice") == ["alice"]

    def test_a_new_table_is_usable_at_once(self, made: Server) -> None:
        made.sql(
            "SET ROLE owner; CREATE TABLE hr.more (id int); INSERT INTO hr.more VALUES (1)", "d_hr"
        )
        assert rows(made, "alice", "", "SELECT 'x' FROM hr.more") == ["x"]

    def test_rows_changed_by_users_are_theirs(self, made: Server) -> None:
        made.sql("DELETE FROM hr.employees WHERE user_id = 'ines'", "d_hr")
        assert apply(made)["changes"] == []

    def test_no_attribute_and_no_right_is_taken_away(self, made: Server) -> None:
        made.sql("ALTER ROLE app CREATEDB BYPASSRLS; GRANT TRUNCATE ON hr.employees TO app", "d_hr")
        assert apply(made)["changes"] == []
        assert made.sql("SELECT rolcreatedb, rolbypassrls FROM pg_roles WHERE rolname = 'app'") == [
            (True, True)
        ]

    def test_a_changed_declaration_changes_the_policy(self, made: Server) -> None:
        changed = declaration()
        policies = changed["databases"][0]["schemas"][0]["tables"][0]["policies"]
        policies[0]["using"] = "user_id = 'bob'"
        result = apply(made, **changed)
        assert [(c["kind"], c["action"]) for c in result["changes"]] == [("policy", "update")]
        assert rows(made, "alice") == ["bob"]


class TestDeparted:
    """A login whose service is gone."""

    def test_it_goes_with_its_sessions_and_all_its_rights(self, made: Server) -> None:
        declared = declaration()
        gone = {"name": "app_old", "inherits": ["app"]}
        declared["roles"] = [*declared["roles"], gone]
        apply(made, **declared)
        made.sql("GRANT CONNECT ON DATABASE postgres TO app_old")
        made.sql("ALTER ROLE app_old PASSWORD 'p'")
        made.sql("CREATE ROLE rotator")
        made.sql("GRANT app_old TO rotator WITH ADMIN TRUE, INHERIT FALSE, SET FALSE")
        for database in ("d_hr", "postgres"):
            made.sql("CREATE TABLE public.notes (id int)", database=database)
            made.sql("GRANT SELECT ON public.notes TO app_old", database=database)
        session = psycopg2.connect(
            host=str(made.socket), port=made.port, user="postgres", dbname="postgres"
        )
        try:
            with session.cursor() as cursor:
                cursor.execute("SET SESSION AUTHORIZATION app_old")
            predicted = apply(made, check=True, **declaration(), drop_logins=["app_old"])
            assert [c["name"] for c in predicted["changes"]] == ["app_old"]
            assert made.sql("SELECT 1 FROM pg_roles WHERE rolname = 'app_old' AND rolcanlogin")
            # As a run leaves it that was killed in the middle.
            made.sql("ALTER ROLE app_old NOLOGIN")
            done = apply(made, **declaration(), drop_logins=["app_old", "never_was"])
            assert done["changes"] == predicted["changes"]
            assert not made.sql("SELECT 1 FROM pg_roles WHERE rolname = 'app_old'")
            assert made.sql("SELECT id FROM public.notes", database="d_hr") == []
            assert not apply(made, **declaration(), drop_logins=["app_old"])["changed"]
        finally:
            session.close()
            made.sql("DROP TABLE public.notes", database="postgres")
        assert rows(made, "nobody") == []

    def test_one_that_owns_something_stays_and_so_does_all_else(self, made: Server) -> None:
        made.sql("CREATE ROLE hoarder LOGIN")
        made.sql("CREATE TABLE public.hoard (id int)", database="d_hr")
        made.sql("ALTER TABLE public.hoard OWNER TO hoarder", database="d_hr")
        made.sql("CREATE ROLE lord LOGIN")
        made.sql("CREATE DATABASE d_lord OWNER lord")
        for check in (True, False):
            refused = call(
                pg_databases,
                check=check,
                **made.login(),
                **declaration(),
                drop_logins=["hoarder", "lord", "postgres"],
            )
            assert refused["failed"]
            for words in (
                "hoarder owns 1 object(s) in database d_hr",
                "lord owns 1 object(s) in the server, such as a database",
                "postgres is a superuser",
                "REASSIGN OWNED BY",
            ):
                assert words in refused["msg"], words
            assert len(made.sql("SELECT 1 FROM pg_roles WHERE rolname IN ('hoarder', 'lord')")) == 2

    def test_one_that_is_declared_is_refused(self, made: Server) -> None:
        refused = call(pg_databases, **made.login(), **declaration(), drop_logins=["app"])
        assert "declared, and to be dropped as well: app" in refused["msg"]


class TestFailures:
    def test_a_bad_policy_leaves_no_unprotected_table_behind(self, running: Server) -> None:
        broken = declaration()
        table = broken["databases"][0]["schemas"][0]["tables"][0]
        table["policies"][2]["using"] = "no_such_column"
        result = call(pg_databases, **running.login(), **broken)
        assert result["failed"]
        assert "no_such_column" in result["msg"]
        assert running.sql("SELECT to_regclass('hr.employees')", "d_hr") == [(None,)]
        assert apply(running)["changed"]
        assert apply(running)["changes"] == []

    def test_names_with_every_character(self, running: Server) -> None:
        name = "d_a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
        declared = {
            "roles": [{"name": f"{name}o", "login": False}, {"name": name, "login": True}],
            "databases": [
                {
                    "name": name,
                    "owner": f"{name}o",
                    "connect": [name],
                    "schemas": [
                        {
                            "name": name,
                            "grants": [{"to": name, "tables": ["SELECT"]}],
                            "seed": {"table": "t", "sql": "CREATE TABLE t (a text DEFAULT '%s')"},
                            "tables": [
                                {
                                    "name": "t",
                                    "policies": [
                                        {"name": name, "roles": [name], "using": "a LIKE 'x%'"}
                                    ],
                                }
                            ],
                        }
                    ],
                }
            ],
        }
        assert apply(running, **declared)["changed"]
        assert apply(running, **declared)["changes"] == []

    def test_a_table_in_use_is_not_waited_for_forever(
        self, made: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import schema

        monkeypatch.setattr(schema, "LOCK_TIMEOUT", "300ms")
        made.sql("ALTER TABLE hr.employees NO FORCE ROW LEVEL SECURITY", "d_hr")
        holder = psycopg2.connect(
            host=str(made.socket), port=made.port, user="postgres", dbname="d_hr"
        )
        with holder.cursor() as cursor:
            cursor.execute("LOCK TABLE hr.employees IN ACCESS SHARE MODE")
            result = call(pg_databases, **made.login(), **declaration())
        holder.close()
        assert result["failed"]
        assert "lock timeout" in result["msg"]

    def test_no_server(self, running: Server) -> None:
        result = call(pg_databases, login_host="/nowhere", **declaration())
        assert result["failed"]
        assert "no PostgreSQL server answers" in result["msg"]


def test_two_runs_at_once_take_turns(running: Server) -> None:
    """As two playbooks would: each in a process of its own."""
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**running.login(), **declaration()}})
    command = [sys.executable, str(Path(pg_databases.__file__))]
    environment = {**os.environ, "PYTHONPATH": str(REPO / "build" / "collections")}
    started = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        for _unused in range(3)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write(arguments)
        process.stdin.close()
    results = []
    for process in started:
        assert process.stdout is not None
        results.append(json.loads(process.stdout.read()))
        process.wait(60)
    assert all("failed" not in result for result in results), results
    assert sorted(result["changed"] for result in results) == [False, False, True]
