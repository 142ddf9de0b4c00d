# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pg_ssl against a real PostgreSQL: what it enforces, and what it does when that goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.wire import (
    client_context,
    handshake,
    startup,
)
from ansible_collections.tamshai.phoenix.plugins.modules import pg_ssl

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.modules import call
from fixtures.postgres import SERVER_NAME, Authority, Server, server

FIXTURES = Path(__file__).parent / "fixtures"
PLAINTEXT = "host all all samehost trust\n"


@pytest.fixture
def fresh() -> Iterator[Server]:
    """A server that is stopped and has no configuration."""
    with server() as made:
        yield made


@pytest.fixture
def proven(fresh: Server) -> Server:
    """A server in its proven state."""
    assert call(pg_ssl, **fresh.pg_ssl, unreachable="stage")["state"] == "staged"
    fresh.start()
    fresh.sql("CREATE ROLE app LOGIN PASSWORD 'app-password'")
    assert call(pg_ssl, **fresh.pg_ssl)["state"] == "proven"
    return fresh


def served(made: Server) -> str:
    context = client_context(made.bundle / "ca.crt")
    return handshake("127.0.0.1", made.port, SERVER_NAME, context).serial


def files(made: Server) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in made.config.iterdir() if p.is_file()}


def refuses_plaintext(made: Server, user: str = "app") -> bool:
    answer = startup("127.0.0.1", made.port, user, "postgres")
    return not answer.accepted and answer.code == "28000"


class TestFirstStart:
    def test_files_are_staged_where_no_server_answers(self, fresh: Server) -> None:
        first = call(pg_ssl, **fresh.pg_ssl, unreachable="stage")
        assert first["state"] == "staged"
        assert first["changed"]
        again = call(pg_ssl, **fresh.pg_ssl, unreachable="stage")
        assert not again["changed"]
        fresh.start()
        result = call(pg_ssl, **fresh.pg_ssl)
        assert result["state"] == "proven"
        assert result["served"][0]["serial"] == served(fresh)
        assert not result["changed"]

    def test_check_mode_writes_nothing(self, fresh: Server) -> None:
        result = call(pg_ssl, check=True, **fresh.pg_ssl, unreachable="stage")
        assert result["changed"]
        assert files(fresh) == {}

    def test_no_server_is_a_failure_unless_said_otherwise(self, fresh: Server) -> None:
        result = call(pg_ssl, **fresh.pg_ssl)
        assert result["failed"]
        assert "no PostgreSQL server answers" in result["msg"]
        assert files(fresh) == {}


class TestProven:
    def test_a_second_run_changes_nothing_and_proves_again(self, proven: Server) -> None:
        result = call(pg_ssl, **proven.pg_ssl)
        assert not result["changed"]
        assert result["state"] == "proven"
        assert result["served"][0]["protocol"] == "TLSv1.3"
        tried = {(r["database"], r["login"]) for r in result["refused"]}
        assert tried == {("postgres", "app"), ("postgres", "postgres")}
        assert result["plaintext_sessions"] == []
        assert result["restart_required"] == []

    def test_only_the_declared_login_with_its_own_certificate_gets_in(self, proven: Server) -> None:
        with proven.as_login("app", "app-password", "postgres") as connection:
            assert connection.info.ssl_in_use
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            proven.as_login("app", "wrong", "postgres")
        other = proven.client("somebody_else")
        with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
            psycopg2.connect(
                host=SERVER_NAME,
                hostaddr="127.0.0.1",
                port=proven.port,
                user="app",
                password="app-password",
                dbname="postgres",
                sslmode="verify-full",
                sslrootcert=other["login_ca_cert"],
                sslcert=other["login_client_cert"],
                sslkey=other["login_client_key"],
            )

    def test_a_host_line_added_by_hand_is_taken_out_and_refused(self, proven: Server) -> None:
        rules = proven.config / "pg_hba.conf"
        rules.write_text(PLAINTEXT + rules.read_text())
        proven.sql("SELECT pg_reload_conf()")
        predicted = call(pg_ssl, check=True, **proven.pg_ssl)
        assert predicted["changed"]
        assert predicted["state"] == "planned"
        assert startup("127.0.0.1", proven.port, "app", "postgres").accepted
        result = call(pg_ssl, **proven.pg_ssl)
        assert result["changed"]
        assert result["changes"] == predicted["changes"]
        assert result["state"] == "proven"
        assert refuses_plaintext(proven)

    def test_rules_that_were_loaded_and_then_hidden_again_are_found(self, proven: Server) -> None:
        rules = proven.config / "pg_hba.conf"
        good = rules.read_text()
        rules.write_text(PLAINTEXT + good)
        proven.sql("SELECT pg_reload_conf()")
        assert not refuses_plaintext(proven)
        rules.write_text(good)
        os.utime(rules, (0, 0))
        result = call(pg_ssl, **proven.pg_ssl)
        assert result["changed"]
        assert "not refused" in result["changes"][0]["note"]
        assert refuses_plaintext(proven)

    def test_a_new_certificate_is_served_after_the_run(self, proven: Server) -> None:
        serial = proven.certificate()
        assert served(proven) != serial
        result = call(pg_ssl, **proven.pg_ssl)
        assert result["changed"]
        assert result["served"][0]["serial"] == served(proven) == serial

    def test_a_setting_is_changed_by_reload(self, proven: Server) -> None:
        options = proven.pg_ssl
        options["settings"] = {**options["settings"], "log_connections": True}
        result = call(pg_ssl, **options)
        assert result["changed"]
        assert proven.sql("SHOW log_connections") == [("on",)]

    def test_a_setting_that_needs_a_restart_is_named(self, proven: Server) -> None:
        options = proven.pg_ssl
        options["settings"] = {**options["settings"], "max_connections": 33}
        result = call(pg_ssl, **options)
        assert result["restart_required"] == ["max_connections"]
        proven.stop()
        proven.start()
        result = call(pg_ssl, **options)
        assert not result["changed"]
        assert result["restart_required"] == []


class TestRestored:
    """Each of these breaks something for real and sees the proven state serving again."""

    def check(self, made: Server, before: dict[str, bytes], serial: str, **changes: Any) -> str:
        result = call(pg_ssl, **{**made.pg_ssl, **changes})
        assert result["failed"], result
        assert result["restored"] == "The last proven state is put back and serves."
        assert files(made) == before
        assert served(made) == serial
        assert refuses_plaintext(made)
        made.stop()
        made.start()  # a bad pair that lay dormant would be fatal here
        assert served(made) == serial
        assert call(pg_ssl, **made.pg_ssl)["state"] == "proven"
        return str(result["msg"])

    def test_a_key_of_another_certificate(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        _certificate, stranger, _serial = proven.authority.issue("stranger")
        proven.certificate(key=stranger)
        assert "key values mismatch" in self.check(proven, before, serial)

    def test_a_key_that_is_no_key(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate(key=b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
        assert "cannot be used" in self.check(proven, before, serial)

    def test_a_key_that_others_may_read(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate()
        (proven.bundle / "tls.key").chmod(0o444)
        assert "would not read" in self.check(proven, before, serial)

    def test_a_certificate_of_another_ca(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate(authority=Authority("another root"))
        message = self.check(proven, before, serial)
        assert f"does not verify as {SERVER_NAME}" in message

    def test_a_ca_file_that_is_not_the_issuer(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate(ca=Authority("another root").pem)
        assert "does not verify" in self.check(proven, before, serial)

    def test_a_certificate_with_another_name(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate(dns=("other.tamshai.internal",))
        assert "Hostname mismatch" in self.check(proven, before, serial)

    def test_an_expired_certificate(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.certificate(days=-1)
        assert "expired" in self.check(proven, before, serial)

    def test_a_reboot_finds_the_bundle_that_was_put_back(
        self, proven: Server, tmp_path: Path
    ) -> None:
        version, tree = proven.bundle.readlink(), str(proven.bundle.parent)
        store = [sys.executable, str(FIXTURES / "fake_store.py"), tree, str(tmp_path / "copy")]
        proven.certificate(authority=Authority("another root"))
        subprocess.run([*store, "save"], check=True)
        result = call(pg_ssl, **proven.pg_ssl, save_command=store)
        assert result["restored"] == "The last proven state is put back and serves."
        assert (tmp_path / "copy").read_text() == f"current {version}\n"
        # One that cannot be saved is told, and hides neither the failure nor that it serves.
        proven.certificate(authority=Authority("another root"))
        store[-1] = str(tmp_path / "absent" / "copy")
        result = call(pg_ssl, **proven.pg_ssl, save_command=store)
        assert f"does not verify as {SERVER_NAME}" in result["msg"]
        words = "(the encrypted copy of the bundles is not saved: No such file or directory)"
        assert words in result["restored"]
        assert result["restored"].endswith(" and serves.")

    def test_a_proven_bundle_that_is_gone_is_named(self, proven: Server) -> None:
        gone = proven.bundle.resolve()
        serial = proven.certificate()
        shutil.rmtree(gone)
        rules = [{**rule} for rule in proven.pg_ssl["hba"]]
        rules[1]["method"] = "scram-sha-512"
        result = call(pg_ssl, **{**proven.pg_ssl, "hba": rules})
        words = f"put back but for its certificate bundle (the certificate bundle {gone} cannot be"
        assert words in result["restored"]
        assert result["restored"].endswith(" and serves.")
        assert served(proven) == serial

    def test_access_rules_that_postgresql_cannot_read(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        rules = [{**rule} for rule in proven.pg_ssl["hba"]]
        rules[1]["options"] = ["clientcert=perhaps"]
        message = self.check(proven, before, serial, hba=rules)
        assert "pg_hba.conf line 3" in message

    def test_access_rules_with_an_unknown_method(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        rules = [{**rule} for rule in proven.pg_ssl["hba"]]
        rules[1]["method"] = "scram-sha-512"
        message = self.check(proven, before, serial, hba=rules)
        assert "invalid authentication method" in message

    def test_access_rules_that_admit_plaintext(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        rules = [{**rule} for rule in proven.pg_ssl["hba"]]
        rules[1].update(type="host", options=None)
        message = self.check(proven, before, serial, hba=rules)
        assert "a plaintext login of app on postgres" in message
        assert "is not refused" in message

    def test_a_setting_that_does_not_exist(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        settings = {**proven.pg_ssl["settings"], "no_such_setting": 1}
        message = self.check(proven, before, serial, settings=settings)
        assert "no_such_setting" in message

    def test_a_setting_that_alter_system_overrides(self, proven: Server) -> None:
        before, serial = files(proven), served(proven)
        proven.sql("ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1'")
        proven.sql("SELECT pg_reload_conf()")
        result = call(pg_ssl, **proven.pg_ssl)
        assert result["failed"]
        assert "ssl_min_protocol_version" in result["msg"]
        assert "postgresql.auto.conf" in result["msg"]
        proven.sql("ALTER SYSTEM RESET ssl_min_protocol_version")
        assert call(pg_ssl, **proven.pg_ssl)["state"] == "proven"
        assert (files(proven), served(proven)) == (before, serial)

    def test_check_mode_names_a_bad_bundle_and_leaves_it(self, proven: Server) -> None:
        _certificate, stranger, _serial = proven.authority.issue("stranger")
        proven.certificate(key=stranger)
        bundle = proven.bundle.readlink()
        result = call(pg_ssl, check=True, **proven.pg_ssl)
        assert result["failed"]
        assert proven.bundle.readlink() == bundle


class TestPlaintextSessions:
    """A server that served plaintext until now, with somebody on it."""

    @pytest.fixture
    def old(self, fresh: Server) -> Server:
        fresh.write(
            PLAINTEXT,
            f"listen_addresses = '127.0.0.1'\nport = {fresh.port}\nfsync = off\n"
            f"unix_socket_directories = '{fresh.socket}'\n",
        )
        fresh.start()
        fresh.sql("CREATE ROLE app LOGIN")
        return fresh

    @pytest.fixture
    def guest(self, old: Server) -> Iterator[Any]:
        connection = psycopg2.connect(
            host="127.0.0.1", port=old.port, user="app", dbname="postgres", sslmode="disable"
        )
        yield connection
        connection.close()

    def alive(self, guest: Any) -> bool:
        try:
            with guest.cursor() as cursor:
                cursor.execute("SELECT 1")
        except psycopg2.Error:
            return False
        return True

    def test_they_are_named_and_nothing_is_changed(self, old: Server, guest: Any) -> None:
        before = files(old)
        result = call(pg_ssl, **old.pg_ssl)
        assert result["failed"]
        assert "app on postgres from 127.0.0.1" in result["msg"]
        assert files(old) == before
        assert self.alive(guest)
        assert startup("127.0.0.1", old.port, "app", "postgres").accepted

    def test_they_live_on_when_kept(self, old: Server, guest: Any) -> None:
        result = call(pg_ssl, **old.pg_ssl, plaintext_sessions="keep")
        assert result["state"] == "proven", result
        assert [row["login"] for row in result["plaintext_sessions"]] == ["app"]
        assert self.alive(guest)
        assert refuses_plaintext(old)

    def test_they_end_when_terminated(self, old: Server, guest: Any) -> None:
        result = call(pg_ssl, **old.pg_ssl, plaintext_sessions="terminate")
        assert result["state"] == "proven", result
        assert not self.alive(guest)
        assert refuses_plaintext(old)


def test_a_run_killed_between_write_and_proof_is_finished_by_the_next(proven: Server) -> None:
    options = proven.pg_ssl
    options["settings"] = {**options["settings"], "log_connections": True}
    wanted = pg_ssl.wanted(
        {"server_config_dir": "", "server_bundle": "", "conf_file": "postgresql.conf"}
        | {"min_protocol": "TLSv1.2", "addresses": [], "plaintext_sessions": "refuse"}
        | {"owner": None, "group": None, **options}
    )
    (proven.config / "postgresql.conf").write_bytes(wanted.files["postgresql.conf"])
    result = call(pg_ssl, **options)
    assert result["state"] == "proven"
    assert proven.sql("SHOW log_connections") == [("on",)]
    stored = json.loads((proven.config / ".proven" / "proven.json").read_text())
    assert stored == {"bundle": str(proven.bundle.readlink())}
