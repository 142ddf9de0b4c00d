# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs' own PostgreSQL client against a real server: how far each caller gets, and why."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import access_rules
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    access,
    f1_b,
    foreign,
    h3_a,
    hop,
    pgwire,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Record
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until
from ansible_collections.tamshai.phoenix.plugins.modules import pg_ssl

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.modules import call
from fixtures.postgres import SERVER_NAME, Server, server

PASSWORD = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
LOGIN = hop.Credential("mcp-hr", "app", "postgres", PASSWORD)


@pytest.fixture(scope="module")
def database() -> Iterator[Server]:
    """TLS enforced, one login that needs its certificate and its password."""
    with server() as made:
        call(pg_ssl, **made.pg_ssl, unreachable="stage")
        made.start()
        quoted = PASSWORD.replace("'", "''")
        made.sql(f"SET standard_conforming_strings = on; CREATE ROLE app LOGIN PASSWORD '{quoted}'")
        assert call(pg_ssl, **made.pg_ssl)["state"] == "proven"
        yield made


def target(made: Server) -> hop.Target:
    return hop.Target(
        "postgres", "postgresql", "127.0.0.1", made.port, SERVER_NAME, credentials=(LOGIN,)
    )


def attempt(made: Server, identity: tls.Identity | None, login: Any = LOGIN) -> hop.Hop:
    context = tls.client_context(str(made.bundle / "ca.crt"), identity)
    return hop.attempt(
        target(made), context, talk=lambda link, door: hop.postgresql_login(link, door, login)
    )


def identity(made: Server, name: str) -> tls.Identity:
    options = made.client(name)
    return tls.Identity(name, options["login_client_cert"], options["login_client_key"])


def test_the_login_with_its_certificate_and_password(database: Server) -> None:
    found = attempt(database, identity(database, "app"))
    assert (found.outcome, found.answer) == ("admitted", "logged in to postgres as app")
    assert found.version == "TLSv1.3"
    assert found.detail["server_sees"] == "app over TLSv1.3, certificate /CN=app"
    assert found.serial.lower() == format(int(database.bundle.readlink().name, 16), "x")


def test_another_certificate_with_the_right_password(database: Server) -> None:
    found = attempt(database, identity(database, "mcp-gateway"))
    assert found.outcome == "refused"
    assert found.answer.startswith("28")


def test_the_right_certificate_with_a_wrong_password(database: Server) -> None:
    wrong = hop.Credential("mcp-hr", "app", "postgres", "wrong-password")
    found = attempt(database, identity(database, "app"), wrong)
    assert (found.outcome, found.answer[:5]) == ("refused", "28P01")


def test_as_far_as_one_gets_without_a_password(database: Server) -> None:
    unknown = hop.Credential("vault", "app", "postgres", None)
    found = attempt(database, identity(database, "app"), unknown)
    assert (found.outcome, found.answer) == ("admitted", "asked for the password")


def test_a_server_that_takes_nobody_is_no_refusal(database: Server) -> None:
    database.sql("ALTER ROLE app CONNECTION LIMIT 0")
    try:
        found = attempt(database, identity(database, "app"))
    finally:
        database.sql("ALTER ROLE app CONNECTION LIMIT -1")
    assert found.outcome == "unreachable"
    assert found.answer == '53300 too many connections for role "app"'


def test_without_a_certificate(database: Server) -> None:
    found = attempt(database, None)
    assert found.outcome == "refused"
    assert found.answer == "28000 connection requires a valid client certificate"


def test_of_a_foreign_authority(database: Server) -> None:
    forged = foreign.identity({"fqdn": "app", "spiffe": "spiffe://tamshai.internal/service/app"})
    found = attempt(database, forged)
    assert found.outcome == "refused"
    assert "logged in" not in found.answer


def test_a_login_that_nobody_declared(database: Server) -> None:
    found = attempt(
        database,
        identity(database, "stranger"),
        hop.Credential("x", "stranger", "postgres", PASSWORD),
    )
    assert found.outcome == "refused"
    assert "pg_hba.conf" in found.answer


def test_without_tls_the_refusal_says_so(database: Server) -> None:
    refused, text = f1_b._plaintext(target(database), LOGIN)
    assert refused
    assert "no encryption" in text


def test_tls_1_1_is_refused(database: Server) -> None:
    accepted, answer = tls.offer_tls11(
        "127.0.0.1", database.port, server_name=SERVER_NAME, postgresql=True
    )
    assert not accepted, answer


def test_a_plaintext_login_is_noticed() -> None:
    with server() as made:
        made.write("host all all samehost scram-sha-256\n", f"port = {made.port}\n")
        conf = made.config / "postgresql.conf"
        conf.write_text(
            conf.read_text() + f"listen_addresses = '127.0.0.1'\n"
            f"unix_socket_directories = '{made.socket}'\n"
        )
        made.start()
        made.sql("CREATE ROLE app LOGIN PASSWORD 'app-password'")
        login = hop.Credential("mcp-hr", "app", "postgres", "app-password")
        assert f1_b._plaintext(target(made), login) == (False, "logged in")
        without = hop.Credential("mcp-hr", "app", "postgres", None)
        assert f1_b._plaintext(target(made), without) == (False, "the server asks for a password")


def test_rows_and_errors_of_a_session(database: Server) -> None:
    with socket.create_connection(("127.0.0.1", database.port), timeout=5) as plain:
        tls.request_postgresql_tls(plain)
        context = tls.client_context(str(database.bundle / "ca.crt"), identity(database, "app"))
        link = context.wrap_socket(plain, server_hostname=SERVER_NAME)
        with pgwire.login(link, user="app", database="postgres", password=PASSWORD) as session:
            assert session.rows("SELECT 1, NULL, 'ü'") == [["1", None, "ü"]]
            with pytest.raises(pgwire.RefusalError, match="does not exist") as caught:
                session.rows("SELECT * FROM nothing")
            assert caught.value.code == "42P01"
            assert session.rows("SELECT current_user") == [["app"]]


# The rules that role postgresql writes for the estate as it is declared by default.

ROOT = Path(__file__).resolve().parents[2]
FULL = "clientcert=verify-full"


@pytest.fixture(scope="module")
def site() -> Any:
    defaults = yaml.safe_load((ROOT / "roles/estate/defaults/main.yml").read_text())
    inputs = {
        name.removeprefix("estate_"): value
        for name, value in defaults.items()
        if name.startswith("estate_") and name != "estate_model"
    }
    for secret in inputs["secrets"]:
        secret["value"] = "sk-ant-0123456789abcdef0123456789"
    model = build({**inputs, "host": "vps1"})
    return SimpleNamespace(estate=model, services=model["services"], ca="")


@pytest.fixture(scope="module")
def estate(site: Any) -> Iterator[Server]:
    with server() as made:
        options = {**made.pg_ssl, "hba": access_rules(site.estate)}
        call(pg_ssl, **options, unreachable="stage")
        made.start()
        made.sql("CREATE ROLE vault_rotator LOGIN; CREATE ROLE tamshai_app_b LOGIN")
        assert call(pg_ssl, **options)["state"] == "proven"
        site.ca = str(made.bundle / "ca.crt")
        yield made


@pytest.fixture
def rewritten(estate: Server) -> Iterator[Callable[[str, str], None]]:
    """Puts something else into the file and has the server read it."""
    path = estate.config / "pg_hba.conf"
    before = path.read_text()

    def reload() -> None:
        loaded = "SELECT pg_conf_load_time()"
        last = estate.sql(loaded)
        estate.sql("SELECT pg_reload_conf()")
        wait_until(lambda: estate.sql(loaded) != last, timeout=5, what="the server to read it")

    def rewrite(old: str, new: str) -> None:
        assert old in before
        path.write_text(before.replace(old, new, 1))
        reload()

    yield rewrite
    path.write_text(before)
    reload()


def faults(site: Any, made: Server, *, tls: bool) -> list[str]:
    record = Record()
    service = {"socket": str(made.socket), "port": made.port}
    access.judge_rules(site, record, service, tls=tls)
    return record.faults


def strangers(site: Any, made: Server) -> dict[str, str]:
    """How far those without a valid certificate get, as each login."""
    logins = ("tamshai_app", "tamshai_app_b", "vault_rotator")
    known = tuple(hop.Credential("x", name, "tamshai_hr", None) for name in logins)
    door = dataclasses.replace(target(made), credentials=known)
    return {
        name.rpartition(" as ")[2]: f"{found.outcome}: {found.answer}"
        for name, attempted, expected in h3_a._strangers(site, door)
        if (found := attempted()).outcome != expected or "without a certificate" in name
    }


def test_the_rules_as_the_role_writes_them(site: Any, estate: Server) -> None:
    assert faults(site, estate, tls=True) == []
    assert faults(site, estate, tls=False) == []
    wanted = "refused: 28000 connection requires a valid client certificate"
    found = strangers(site, estate)
    assert found.pop("postgres").startswith("refused: 28000 pg_hba.conf rejects connection")
    assert found == dict.fromkeys(("tamshai_app", "tamshai_app_b", "vault_rotator"), wanted)


def test_a_superusers_door_over_tls(site: Any, estate: Server, rewritten: Any) -> None:
    rewritten("host all", "hostssl all postgres samenet trust\nhost all")
    (fault,) = faults(site, estate, tls=True)
    assert fault.endswith("admits over TLS, undeclared: hostssl all postgres samenet trust")
    assert faults(site, estate, tls=False) == []
    assert strangers(site, estate)["postgres"] == "admitted: logged in to postgres as postgres"


@pytest.mark.parametrize("login", ["vault_rotator", "tamshai_app_b"])
def test_a_login_without_its_certificate(
    site: Any, estate: Server, rewritten: Any, login: str
) -> None:
    line = f'hostssl "tamshai_hr" "{login}" samenet scram-sha-256'
    rewritten(f"{line} {FULL}", line)
    undeclared, missing = faults(site, estate, tls=True)
    shown = line.replace('"', "")
    assert undeclared.endswith(f"admits over TLS, undeclared: {shown}")
    assert missing == f"pg_hba.conf lacks a declared line: {shown} {FULL}"
    assert strangers(site, estate)[login] == "admitted: asked for the password"


def test_a_door_on_the_socket(site: Any, estate: Server, rewritten: Any) -> None:
    rewritten("host all", "local all all trust\nhost all")
    (fault,) = faults(site, estate, tls=False)
    assert fault.endswith("admits without TLS, undeclared: local all all trust")
    assert faults(site, estate, tls=True) == []


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("hostssl all all samenet anything", 'invalid authentication method "anything"'),
        ("hostssl all all samenet scram-sha-256 clientcert=maybe", "the server skips it"),
    ],
)
def test_a_line_that_the_server_cannot_read(
    site: Any, estate: Server, rewritten: Any, row: str, said: str
) -> None:
    rewritten("host all", f"{row}\nhost all")
    for over_tls in (True, False):
        (fault,) = faults(site, estate, tls=over_tls)
        assert "is no rule" in fault
        assert said in fault


def test_a_file_that_the_server_has_not_read(site: Any, estate: Server, rewritten: Any) -> None:
    path = estate.config / "pg_hba.conf"
    later = path.stat().st_mtime + 3600
    os.utime(path, (later, later))
    (fault,) = faults(site, estate, tls=True)
    assert fault.startswith(f"the server has not read {path} since it changed")
