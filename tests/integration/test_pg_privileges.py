# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The privilege gate against a real PostgreSQL: every way to a right is one that it finds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import privileges
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import allowed
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.privileges import Finding
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    Session,
    connect,
)
from ansible_collections.tamshai.phoenix.plugins.modules import pg_databases, pg_privileges, pg_ssl

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.modules import call
from fixtures.postgres import REPO, Server, server

MODEL = {
    "logins": [{"name": "app", "second_of": None}, {"name": "app_b", "second_of": "app"}],
    "databases": [{"name": "d_hr", "schema": "hr", "owner": "owner", "logins": ["app", "app_b"]}],
}
ALLOW = allowed(MODEL, {}, [])


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with server() as made:
        assert call(pg_ssl, **made.pg_ssl, unreachable="stage")["state"] == "staged"
        made.start()
        yield made


@pytest.fixture(scope="module")
def clean(running: Server) -> Server:
    """The declared state, in which there is nothing to find."""
    role = REPO / "roles" / "postgresql"
    sample = yaml.safe_load((role / "vars" / "main.yml").read_text())["__postgresql_samples"]["hr"]
    sample["seed"]["sql"] = (role / "files" / "hr.sql").read_text()
    rights = {"tables": ["SELECT", "INSERT", "UPDATE", "DELETE"], "sequences": ["USAGE"]}
    declared = {
        "roles": [
            {"name": "owner", "login": False},
            {"name": "app"},
            {"name": "app_b", "inherits": ["app"]},
            {"name": "healthcheck"},
        ],
        "databases": [
            {
                "name": "d_hr",
                "owner": "owner",
                "connect": ["app"],
                "schemas": [{"name": "hr", "grants": [{"to": "app", **rights}], **sample}],
            },
            {"name": "postgres", "connect": ["healthcheck"]},
            {"name": "template1"},
        ],
    }
    result = call(pg_databases, **running.login(), **declared)
    assert "failed" not in result, result
    return running


class Trial:
    """One transaction in which a test breaks something, looks, and takes everything back."""

    def __init__(self, made: Server) -> None:
        self.made = made
        self.session = self._connect("d_hr")

    def _connect(self, database: str) -> Session:
        return connect({**self.made.login(), "login_user": "postgres"}, database)

    def sql(self, text: str) -> None:
        self.session.execute(text)

    def opened(self, database: str) -> Any:
        """As the module opens sessions, but for the one in which nothing is committed yet."""
        if database in ("d_hr", "postgres"):
            return contextlib.nullcontext(self.session)
        return self._connect(database)

    def found(self, login: str = "app", allow: list[dict[str, Any]] | None = None) -> list[Finding]:
        rules = [privileges.rule(row) for row in allow or ALLOW]
        rows = privileges.inspect(self.opened, "d_hr")
        rows = [row for row in rows if row.database != "postgres" or row.kind == "database"]
        return [row for row in privileges.findings(rows, rules) if row.login == login]


@pytest.fixture
def trial(clean: Server) -> Iterator[Trial]:
    made = Trial(clean)
    made.sql("BEGIN")
    yield made
    made.session.connection.close()


def gate(made: Server, **more: Any) -> dict[str, Any]:
    return call(pg_privileges, **made.login(), allow=ALLOW, **more)


def test_the_declared_state_passes(clean: Server) -> None:
    result = gate(clean)
    assert "failed" not in result, result["msg"]
    assert result["findings"] == []
    assert result["logins"] == ["app", "app_b", "healthcheck", "postgres"]
    assert result["rights"] > 8
    assert not result["changed"]


@pytest.mark.parametrize(
    ("statement", "right", "kind"),
    [
        ("GRANT app TO app_b WITH SET TRUE", "MEMBER WITH INHERIT, SET", "role"),
        ("GRANT app TO app_b WITH ADMIN TRUE", "MEMBER WITH ADMIN, INHERIT", "role"),
        ("GRANT owner TO app_b WITH INHERIT FALSE, SET TRUE", "MEMBER WITH SET", "role"),
        ("GRANT TRUNCATE ON hr.employees TO app_b", "TRUNCATE", "table"),
        ("GRANT TRUNCATE ON hr.employees TO app", "TRUNCATE", "table"),
        ("ALTER ROLE app_b BYPASSRLS", "BYPASSRLS", "attribute"),
    ],
)
def test_a_second_login_may_do_what_the_first_may_and_no_more(
    trial: Trial, statement: str, right: str, kind: str
) -> None:
    assert trial.found("app_b") == []
    trial.sql(statement)
    found = trial.found("app_b")
    assert (right, kind) in {(row.right, row.kind) for row in found}
    if " TO app_b" in statement or "app_b" in statement.split(" ")[2:3]:
        assert trial.found("app") == []


def test_a_second_login_reads_as_the_first_does_and_cannot_become_it(trial: Trial) -> None:
    rows = []
    for login in ("app", "app_b"):
        trial.sql(f"SET SESSION AUTHORIZATION {login}")
        trial.sql("SELECT set_config('app.current_user_id', 'mona', true)")
        rows.append(trial.session.query("SELECT user_id FROM hr.employees ORDER BY 1"))
        trial.sql("RESET SESSION AUTHORIZATION")
    assert rows[0] == rows[1]
    assert 0 < len(rows[0]) < 5
    trial.sql("SET SESSION AUTHORIZATION app_b")
    with pytest.raises(PostgresError, match="permission denied to set role"):
        trial.sql("SET ROLE app")


def steps(*statements: str) -> str:
    return "; ".join(statements)


def as_owner(*statements: str) -> str:
    """By whom default privileges are set: what it makes in hr, app reads and changes."""
    return steps("SET LOCAL ROLE owner", *statements, "RESET ROLE")


# A table that the login has no right on, and a view that leads to it.
PRIVATE = steps(
    "CREATE SCHEMA private AUTHORIZATION owner",
    as_owner("CREATE TABLE private.t (a int)", "CREATE VIEW hr.v AS SELECT * FROM private.t"),
)
DAYS = as_owner(
    "CREATE TABLE hr.days (a int) PARTITION BY LIST (a)",
    "ALTER TABLE hr.days ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
)
PROTECTED = "ALTER TABLE private.t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
FUNCTION = steps(
    "CREATE FUNCTION hr.f() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER "
    "SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NULL; END'",
    "REVOKE EXECUTE ON FUNCTION hr.f() FROM PUBLIC",
)
TRIGGER = steps(FUNCTION, "CREATE TRIGGER t BEFORE UPDATE ON hr.employees EXECUTE FUNCTION hr.f()")

BREAKS: dict[str, tuple[str, str, str]] = {
    # what: (statement in d_hr, right, kind)
    "bypassrls": ("ALTER ROLE app BYPASSRLS", "BYPASSRLS", "attribute"),
    "createrole": ("ALTER ROLE app CREATEROLE", "CREATEROLE", "attribute"),
    "createdb": ("ALTER ROLE app CREATEDB", "CREATEDB", "attribute"),
    "replication": ("ALTER ROLE app REPLICATION", "REPLICATION", "attribute"),
    "superuser": ("ALTER ROLE app SUPERUSER", "SUPERUSER", "attribute"),
    "read all": ("GRANT pg_read_all_data TO app", "MEMBER WITH INHERIT, SET", "role"),
    "server files": ("GRANT pg_read_server_files TO app", "MEMBER WITH INHERIT, SET", "role"),
    "execute": ("GRANT pg_execute_server_program TO app", "MEMBER WITH INHERIT, SET", "role"),
    "admin": (
        "CREATE ROLE team; GRANT team TO app WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        "MEMBER WITH ADMIN",
        "role",
    ),
    "in name only": (
        "CREATE ROLE team; GRANT team TO app WITH ADMIN FALSE, INHERIT FALSE, SET FALSE",
        "MEMBER",
        "role",
    ),
    "truncate": ("GRANT TRUNCATE ON hr.employees TO app", "TRUNCATE", "table"),
    "references": ("GRANT REFERENCES ON hr.employees TO app", "REFERENCES", "table"),
    "trigger": ("GRANT TRIGGER ON hr.employees TO app", "TRIGGER", "table"),
    "maintain": ("GRANT MAINTAIN ON hr.employees TO app", "MAINTAIN", "table"),
    "public": ("GRANT TRUNCATE ON hr.employees TO PUBLIC", "TRUNCATE", "table"),
    "inherited": (
        (
            "CREATE ROLE team; GRANT TRUNCATE ON hr.employees TO team; "
            "GRANT team TO app WITH INHERIT TRUE, SET FALSE"
        ),
        "TRUNCATE",
        "table",
    ),
    "by set role": (
        (
            "CREATE ROLE team; GRANT TRUNCATE ON hr.employees TO team; "
            "GRANT team TO app WITH INHERIT FALSE, SET TRUE"
        ),
        "TRUNCATE",
        "table",
    ),
    "two steps": (
        (
            "CREATE ROLE team; CREATE ROLE core; GRANT TRUNCATE ON hr.employees TO core; "
            "GRANT core TO team; GRANT team TO app"
        ),
        "TRUNCATE",
        "table",
    ),
    "attribute by set role": (
        "CREATE ROLE team BYPASSRLS; GRANT team TO app WITH INHERIT FALSE, SET TRUE",
        "BYPASSRLS",
        "attribute",
    ),
    "other schema": (
        "CREATE SCHEMA z; CREATE TABLE z.t (a int); GRANT SELECT ON z.t TO app",
        "SELECT",
        "table",
    ),
    "column": (
        (
            "CREATE SCHEMA other; CREATE TABLE other.t (a int, b int); "
            "GRANT SELECT (b) ON other.t TO app"
        ),
        "SELECT",
        "table",
    ),
    "system table": ("GRANT SELECT ON pg_authid TO app", "SELECT", "table"),
    "system column": ("GRANT SELECT (rolpassword) ON pg_authid TO app", "SELECT", "table"),
    "system function": (
        "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO app",
        "EXECUTE",
        "system function",
    ),
    "system function for all": (
        "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO PUBLIC",
        "EXECUTE",
        "system function",
    ),
    "schema create": ("GRANT CREATE ON SCHEMA hr TO app", "CREATE", "schema"),
    "public create": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "CREATE", "schema"),
    "database create": ("GRANT CREATE ON DATABASE d_hr TO app", "CREATE", "database"),
    "temporary": ("GRANT TEMPORARY ON DATABASE d_hr TO PUBLIC", "TEMPORARY", "database"),
    "other database": ("GRANT CONNECT ON DATABASE postgres TO app", "CONNECT", "database"),
    "tablespace": ("GRANT CREATE ON TABLESPACE pg_default TO app", "CREATE", "tablespace"),
    "parameter": ("GRANT SET ON PARAMETER log_statement TO app", "SET", "parameter"),
    "alter system": (
        "GRANT ALTER SYSTEM ON PARAMETER session_preload_libraries TO app",
        "ALTER SYSTEM",
        "parameter",
    ),
    "setting": ("ALTER ROLE app SET session_replication_role = replica", "SET", "setting"),
    "setting for all": ("ALTER ROLE ALL SET session_replication_role = replica", "SET", "setting"),
    "setting in a database": (
        "ALTER ROLE app IN DATABASE d_hr SET log_statement = 'none'",
        "SET",
        "setting",
    ),
    "large object": (
        "SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO app",
        "SELECT",
        "large object",
    ),
    "wrapper": (
        "CREATE FOREIGN DATA WRAPPER w; GRANT USAGE ON FOREIGN DATA WRAPPER w TO app",
        "USAGE",
        "foreign data wrapper",
    ),
    "server": (
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
            "GRANT USAGE ON FOREIGN SERVER s TO app"
        ),
        "USAGE",
        "foreign server",
    ),
    "table owner": (
        "CREATE TABLE hr.mine (a int); ALTER TABLE hr.mine OWNER TO app",
        "OWNER",
        "object",
    ),
    "schema owner": ("CREATE SCHEMA mine AUTHORIZATION app", "OWNER", "object"),
    "database owner": ("ALTER DATABASE d_hr OWNER TO app", "OWNER", "object"),
    "owner by role": ("GRANT owner TO app WITH INHERIT FALSE, SET TRUE", "OWNER", "object"),
    "no rls, granted": (
        "SET LOCAL ROLE owner; CREATE TABLE hr.open (a int); RESET ROLE",
        privileges.NO_RLS,
        "table",
    ),
    "not forced": (
        "ALTER TABLE hr.employees NO FORCE ROW LEVEL SECURITY",
        privileges.NOT_FORCED,
        "table",
    ),
    "disabled": (
        "ALTER TABLE hr.employees DISABLE ROW LEVEL SECURITY",
        privileges.NO_RLS,
        "table",
    ),
    "view of a superuser": (
        (
            "CREATE VIEW hr.everybody AS SELECT * FROM hr.employees; "
            "GRANT SELECT ON hr.everybody TO app"
        ),
        privileges.NO_RLS,
        "table",
    ),
    "view of a superuser behind another": (
        steps(
            "CREATE SCHEMA private; CREATE VIEW private.e AS SELECT * FROM hr.employees",
            "GRANT USAGE ON SCHEMA private TO owner; GRANT SELECT ON private.e TO owner",
            as_owner("CREATE VIEW hr.everybody AS SELECT * FROM private.e"),
        ),
        privileges.NO_RLS,
        "table",
    ),
    "view of a bypassrls role behind two others": (
        steps(
            "CREATE ROLE auditor BYPASSRLS; GRANT SELECT ON hr.employees TO auditor",
            "CREATE SCHEMA private; GRANT USAGE ON SCHEMA private TO PUBLIC",
            "CREATE VIEW private.e AS SELECT * FROM hr.employees",
            "ALTER VIEW private.e OWNER TO auditor; GRANT SELECT ON private.e TO owner",
            "CREATE VIEW private.f AS SELECT * FROM private.e",
            "ALTER VIEW private.f OWNER TO owner",
            as_owner("CREATE VIEW hr.everybody AS SELECT * FROM private.f"),
        ),
        privileges.NO_RLS,
        "table",
    ),
    "no rls, behind a view": (PRIVATE, privileges.NO_RLS, "table"),
    "not forced, behind a view": (
        steps(PRIVATE, "ALTER TABLE private.t ENABLE ROW LEVEL SECURITY"),
        privileges.NOT_FORCED,
        "table",
    ),
    "materialized view behind a view": (
        steps(
            "CREATE MATERIALIZED VIEW public.e AS SELECT * FROM hr.employees",
            "GRANT SELECT ON public.e TO owner",
            as_owner("CREATE VIEW hr.everybody AS SELECT * FROM public.e"),
        ),
        privileges.NO_RLS,
        "table",
    ),
    "system table behind a view": (
        steps(
            "GRANT SELECT ON pg_authid TO owner",
            as_owner("CREATE VIEW hr.v AS SELECT rolname, rolpassword FROM pg_authid"),
        ),
        privileges.NO_RLS,
        "table",
    ),
    "no rls, behind a rule": (
        steps(
            PRIVATE,
            "DROP VIEW hr.v",
            "CREATE RULE more AS ON UPDATE TO hr.employees DO ALSO SELECT * FROM private.t",
        ),
        privileges.NO_RLS,
        "table",
    ),
    "rule of a superuser": (
        (
            "ALTER TABLE hr.employees OWNER TO postgres; GRANT UPDATE ON hr.employees TO app; "
            "CREATE RULE more AS ON UPDATE TO hr.employees DO INSTEAD SELECT * FROM hr.employees"
        ),
        privileges.NO_RLS,
        "table",
    ),
    "materialized view": (
        (
            "CREATE MATERIALIZED VIEW hr.everybody AS SELECT * FROM hr.employees; "
            "GRANT SELECT ON hr.everybody TO app"
        ),
        privileges.NO_RLS,
        "table",
    ),
    "policy": ("CREATE POLICY more ON hr.employees USING (true)", "ALL", "policy"),
    "policy for the owner of a view": (
        steps(
            "CREATE POLICY more ON hr.employees TO owner USING (true)",
            as_owner("CREATE VIEW hr.everybody AS SELECT * FROM hr.employees"),
        ),
        "ALL",
        "policy",
    ),
    "changed policy": ("ALTER POLICY own_row ON hr.employees USING (true)", "SELECT", "policy"),
    "definer": (
        (
            "CREATE FUNCTION hr.f() RETURNS int LANGUAGE sql SECURITY DEFINER "
            "SET search_path = pg_catalog, pg_temp AS 'SELECT 1'"
        ),
        "EXECUTE",
        "function",
    ),
    "definer, no path": (
        "CREATE FUNCTION hr.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        privileges.UNSAFE,
        "function",
    ),
    "definer, temporary first": (
        (
            "CREATE FUNCTION hr.f() RETURNS int LANGUAGE sql SECURITY DEFINER "
            "SET search_path = pg_catalog AS 'SELECT 1'"
        ),
        privileges.UNSAFE,
        "function",
    ),
    "definer, own schema": (
        (
            "CREATE FUNCTION hr.f() RETURNS int LANGUAGE sql SECURITY DEFINER "
            """SET search_path = "$user", pg_temp AS 'SELECT 1'"""
        ),
        privileges.UNSAFE,
        "function",
    ),
    "definer, writable path": (
        (
            "GRANT CREATE ON SCHEMA hr TO app; "
            "CREATE FUNCTION hr.f() RETURNS int LANGUAGE sql SECURITY DEFINER "
            "SET search_path = pg_catalog, hr, pg_temp AS 'SELECT 1'"
        ),
        privileges.UNSAFE,
        "function",
    ),
    "definer, by a trigger": (TRIGGER, "EXECUTE", "function"),
    "definer, by a trigger, no path": (
        steps(TRIGGER, "ALTER FUNCTION hr.f() RESET search_path"),
        privileges.UNSAFE,
        "function",
    ),
    "definer, by a trigger of a partition": (
        steps(
            DAYS,
            "CREATE TABLE public.day PARTITION OF hr.days DEFAULT",
            FUNCTION,
            "CREATE TRIGGER t AFTER INSERT ON public.day FOR EACH ROW EXECUTE FUNCTION hr.f()",
        ),
        "EXECUTE",
        "function",
    ),
    "definer, by a trigger behind a view": (
        steps(
            PRIVATE,
            PROTECTED,
            FUNCTION,
            "CREATE TRIGGER t AFTER DELETE ON private.t EXECUTE FUNCTION hr.f()",
        ),
        "EXECUTE",
        "function",
    ),
    "untrusted language": (
        "CREATE FUNCTION hr.f(internal) RETURNS internal LANGUAGE internal AS 'int4in'",
        "EXECUTE",
        "function",
    ),
    "programs by an extension": ("CREATE EXTENSION file_fdw SCHEMA public", "USE", "extension"),
    "network by an extension": ("CREATE EXTENSION dblink SCHEMA public", "USE", "extension"),
    "future tables": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner IN SCHEMA hr GRANT TRUNCATE ON TABLES TO app",
        "TRUNCATE",
        "future table",
    ),
    "future tables for all": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT SELECT ON TABLES TO PUBLIC",
        "SELECT",
        "future table",
    ),
    "future schemas": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT CREATE ON SCHEMAS TO app",
        "CREATE",
        "future schema",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_is_too_much_is_found_and_the_named_statements_take_it_away(
    trial: Trial, what: str
) -> None:
    statement, right, kind = BREAKS[what]
    trial.sql(statement)
    rows = trial.found()
    assert (right, kind) in [(row.right, row.kind) for row in rows], rows
    assert all(row.via and row.revoke and row.login == "app" for row in rows)
    for row in rows:
        assert row.revoke in privileges.table(rows)
    if kind == "object":
        return  # ownership goes to somebody else, and what it brought along to nobody
    for _round in range(3):
        for row in trial.found():
            trial.sql(row.revoke)
    assert trial.found() == []


def test_an_extension_that_a_login_cannot_use_is_not_found(trial: Trial) -> None:
    trial.sql("CREATE EXTENSION file_fdw SCHEMA public")
    for login in ("app", "app_b"):
        assert [(row.right, row.name) for row in trial.found(login)] == [("USE", "file_fdw")]
    trial.sql("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC")
    assert trial.found() == []
    trial.sql("GRANT EXECUTE ON FUNCTION public.file_fdw_handler() TO app_b")
    assert trial.found() == []
    (row,) = trial.found("app_b")
    assert (row.name, row.via) == ("file_fdw", "granted to the login on its functions")


def test_a_file_that_is_a_table_is_found(trial: Trial) -> None:
    trial.sql(
        "CREATE EXTENSION file_fdw SCHEMA public; CREATE SERVER f FOREIGN DATA WRAPPER file_fdw; "
        "CREATE FOREIGN TABLE hr.file (line text) SERVER f OPTIONS (filename '/etc/passwd')"
    )
    trial.sql("GRANT SELECT ON hr.file TO app_b")
    found = {(row.right, row.kind, row.name) for row in trial.found("app_b")}
    assert found == {
        ("USE", "extension", "file_fdw"),
        (privileges.NO_RLS, "table", "hr.file"),
    }


def test_a_table_without_a_right_on_it_is_nobody_s(trial: Trial) -> None:
    trial.sql("CREATE TABLE hr.open (a int)")
    assert trial.found() == []


NOTHING = {
    # what: statement in d_hr
    "view of what everybody may read": as_owner(
        "CREATE VIEW hr.v AS SELECT rolname, relname, f.is_supported "
        "FROM pg_roles, pg_class, pg_settings, information_schema.sql_features f"
    ),
    "views": as_owner(
        "CREATE VIEW hr.v AS SELECT * FROM hr.employees", "CREATE VIEW hr.w AS SELECT * FROM hr.v"
    ),
    "view of a table with row level security": steps(PRIVATE, PROTECTED),
    "view whose owner may not read": steps(
        "CREATE TABLE public.t (a int); GRANT SELECT ON public.t TO owner",
        as_owner("CREATE VIEW hr.v AS SELECT * FROM public.t"),
        "REVOKE SELECT ON public.t FROM owner",
    ),
    "view that reads as its caller": steps(
        "CREATE TABLE public.t (a int); GRANT SELECT ON public.t TO owner",
        as_owner("CREATE VIEW hr.v WITH (security_invoker) AS SELECT * FROM public.t"),
    ),
    "view of a partitioned table": steps(
        DAYS,
        "CREATE TABLE public.day PARTITION OF hr.days DEFAULT",
        as_owner("CREATE VIEW hr.v AS SELECT * FROM hr.days"),
    ),
    "rule that does nothing": (
        "CREATE RULE nothing AS ON DELETE TO hr.employees DO INSTEAD NOTHING"
    ),
    "trigger of a table without a right to it": steps(
        "CREATE TABLE public.t (a int)",
        FUNCTION,
        "CREATE TRIGGER t AFTER INSERT ON public.t EXECUTE FUNCTION hr.f()",
    ),
    "trigger of another change": steps(TRIGGER, "REVOKE UPDATE ON hr.employees FROM app"),
    "trigger that is switched off": steps(TRIGGER, "ALTER TABLE hr.employees DISABLE TRIGGER t"),
    "trigger that runs as who changes the rows": steps(
        TRIGGER, "ALTER FUNCTION hr.f() SECURITY INVOKER"
    ),
    "trigger of an extension": steps(
        "CREATE EXTENSION lo SCHEMA public",
        "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC",
        "CREATE TRIGGER t BEFORE DELETE ON hr.employees EXECUTE FUNCTION public.lo_manage(name)",
    ),
}


@pytest.mark.parametrize("what", NOTHING)
def test_a_view_a_rule_or_a_trigger_that_gives_nothing_is_not_found(
    trial: Trial, what: str
) -> None:
    trial.sql(NOTHING[what])
    assert trial.found() == []


def test_a_view_is_told_from_what_it_leads_to(trial: Trial) -> None:
    """The finding is about what the login has rights on; the way and the cure name the rest."""
    statement = BREAKS["view of a superuser behind another"][0]
    trial.sql(statement)
    trial.sql("SET SESSION AUTHORIZATION app")
    assert trial.session.value("SELECT count(*) FROM hr.employees") == 0
    assert trial.session.value("SELECT count(*) FROM hr.everybody") > 0
    trial.sql("RESET SESSION AUTHORIZATION")
    (row,) = trial.found()
    assert row.name == "hr.everybody"
    assert row.via == "rows are reached: granted to the login; through private.e"
    assert row.revoke == 'ALTER VIEW "private"."e" SET (security_invoker = true)'


def test_what_may_be_read_is_no_finding_behind_a_view(trial: Trial) -> None:
    trial.sql(as_owner("CREATE TABLE hr.open (a int)", "CREATE VIEW hr.v AS SELECT * FROM hr.open"))
    rule = {"login": "app", "kind": "table", "name": "hr.open", "rights": [privileges.NO_RLS]}
    assert [row.name for row in trial.found()] == ["hr.open"]
    assert trial.found(allow=[*ALLOW, rule]) == []


def test_a_trigger_runs_what_the_login_may_not_execute(trial: Trial) -> None:
    trial.sql(TRIGGER)
    (row,) = trial.found()
    assert row.name == "hr.f()"
    assert row.via == (
        "by trigger t on hr.employees, UPDATE granted to the login; SECURITY DEFINER of postgres"
    )
    rule = {"login": "app", "kind": "function", "name": "hr.f()", "rights": ["EXECUTE"]}
    assert trial.found(allow=[*ALLOW, rule]) == []


class TestLogins:
    def test_a_login_that_nobody_declared(self, trial: Trial) -> None:
        trial.sql("CREATE ROLE stranger LOGIN")
        rows = trial.found("stranger")
        assert [(row.right, row.kind) for row in rows] == [("LOGIN", "login")]

    def test_a_superuser_with_a_password(self, trial: Trial) -> None:
        trial.sql("ALTER ROLE postgres PASSWORD 'x'")
        assert [row.right for row in trial.found("postgres")] == ["PASSWORD"]

    def test_a_second_superuser(self, trial: Trial) -> None:
        trial.sql("CREATE ROLE stranger LOGIN SUPERUSER")
        assert "SUPERUSER" in [row.right for row in trial.found("stranger")]


class TestModule:
    @pytest.fixture
    def broken(self, clean: Server) -> Iterator[Server]:
        clean.sql("CREATE DATABASE x_other")
        clean.sql("ALTER ROLE app BYPASSRLS")
        clean.sql("GRANT TRUNCATE ON hr.employees TO app; CREATE EXTENSION file_fdw", "d_hr")
        yield clean
        clean.sql("DROP DATABASE x_other")
        clean.sql("ALTER ROLE app NOBYPASSRLS")
        clean.sql("REVOKE TRUNCATE ON hr.employees FROM app; DROP EXTENSION file_fdw", "d_hr")

    def test_it_fails_and_shows_a_table(self, broken: Server) -> None:
        result = gate(broken)
        assert result["failed"]
        for text in (
            "of app, app_b, healthcheck:",
            'ALTER ROLE "app" NOBYPASSRLS',
            'in d_hr: REVOKE TRUNCATE ON TABLE "hr"."employees" FROM "app"',
            'REVOKE CONNECT ON DATABASE "x_other" FROM PUBLIC',
            "USE on extension file_fdw in d_hr",
            'in d_hr: DROP EXTENSION "file_fdw"',
        ):
            assert text in result["msg"]
        assert {"BYPASSRLS", "TRUNCATE", "CONNECT", "USE"} <= {
            f["right"] for f in result["findings"]
        }

    def test_it_says_how_a_login_goes_that_nobody_declares(self, broken: Server) -> None:
        """And says nothing of that where there is none."""
        assert "psql -U postgres" in gate(broken)["msg"]
        assert "postgresql_drop_logins" not in gate(broken)["msg"]
        broken.sql("CREATE ROLE stranger LOGIN")
        try:
            told = gate(broken)["msg"]
        finally:
            broken.sql("DROP ROLE stranger")
        assert "Nobody declares the login stranger." in told
        assert "postgresql_drop_logins: [stranger]" in told

    def test_it_takes_nothing_away(self, broken: Server) -> None:
        before = gate(broken, findings="report")
        assert "failed" not in before
        assert before["findings"] == gate(broken)["findings"]


class TestRules:
    def test_an_exception_has_to_say_why(self) -> None:
        rule = {"login": "app", "kind": "table", "rights": ["TRUNCATE"]}
        with pytest.raises(Exception, match="says no reason"):
            allowed(MODEL, {}, [rule])
        rules = allowed(MODEL, {}, [{**rule, "reason": "a queue table"}])
        # The login's other half inherits the right.
        assert rules[-2:] == [rule, {**rule, "login": "app_b"}]

    def test_an_exception_lets_one_thing_through(self, trial: Trial) -> None:
        trial.sql("GRANT TRUNCATE, TRIGGER ON hr.employees TO app")
        rule = {"login": "app", "kind": "table", "name": "hr.emp*", "rights": ["TRUNCATE"]}
        assert [row.right for row in trial.found(allow=[*ALLOW, rule])] == ["TRIGGER"]

    def test_a_rule_is_for_one_login(self, trial: Trial) -> None:
        trial.sql("GRANT CONNECT ON DATABASE d_hr TO healthcheck")
        rows = trial.found("healthcheck")
        assert [(row.right, row.name) for row in rows] == [("CONNECT", "d_hr")]


def test_the_gate_agrees_with_the_server_s_own_functions(trial: Trial) -> None:
    """Every table right that has_table_privilege sees on the way of some grant, and no other."""
    trial.sql(
        "CREATE SCHEMA z; CREATE TABLE z.a (i int); CREATE TABLE z.b (i int); "
        "CREATE ROLE g1; CREATE ROLE g2; CREATE ROLE g3; "
        "GRANT g2 TO g1; GRANT g3 TO g2 WITH INHERIT FALSE, SET FALSE; GRANT g1 TO app; "
        "GRANT INSERT ON z.a TO g1; GRANT UPDATE ON z.a TO g2; GRANT DELETE ON z.a TO g3; "
        "GRANT SELECT ON z.b TO PUBLIC; GRANT TRUNCATE ON z.b TO app; "
        "GRANT pg_read_all_data TO g1"
    )
    oracle = {
        (row["t"], row["r"])
        for row in trial.session.query(
            "SELECT t, r, has_table_privilege('app', t, r) AS granted "
            "FROM unnest(ARRAY['z.a', 'z.b']) t, "
            "unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'SELECT']) r"
        )
        if row["granted"]
    }
    rows = trial.found()
    ours = {(row.name, row.right) for row in rows if row.name in ("z.a", "z.b")}
    # What pg_read_all_data gives is found as the membership, not once for each table.
    assert ("role", "pg_read_all_data") in {(row.kind, row.name) for row in rows}
    assert oracle - ours == {("z.a", "SELECT")}
    assert {pair for pair in ours if pair[1] != privileges.NO_RLS} <= oracle


def test_a_database_that_cannot_be_looked_at_fails(trial: Trial) -> None:
    def only_some(database: str) -> Any:
        if database == "template1":
            raise psycopg2.OperationalError("closed")
        return trial.opened(database)

    with pytest.raises(psycopg2.OperationalError):
        privileges.inspect(only_some)


def test_a_session_that_may_not_look_fails(trial: Trial) -> None:
    trial.sql("CREATE ROLE weak; SET LOCAL ROLE weak")
    with pytest.raises(PostgresError, match="permission denied"):
        privileges.inspect(trial.opened)
