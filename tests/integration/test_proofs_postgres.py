# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs' own PostgreSQL client against a real server: how far each caller gets, and why."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    f1_b,
    foreign,
    hop,
    pgwire,
    tls,
)
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
    assert (found.outcome, found.answer) == ("admitted", "certificate taken, password asked for")


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
