# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server that is only just starting is waited for; one that is not there is not."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import session
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresRefusedError,
    PostgresUnreachableError,
)

LOGIN = {"login_host": "/run/x", "login_port": 5432, "login_user": "postgres", "connect_timeout": 2}
STARTING = "FATAL: the database system is starting up"


class Connection:
    autocommit = False


def answers(monkeypatch: pytest.MonkeyPatch, *replies: Any) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    left = iter(replies)

    def connect(**arguments: Any) -> Any:
        calls.append(arguments)
        reply = next(left)
        if isinstance(reply, str):
            raise psycopg2.OperationalError(reply)
        return reply

    monkeypatch.setattr(session.psycopg2, "connect", connect)
    return calls


def test_a_starting_server_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answers(monkeypatch, STARTING, STARTING, Connection())
    assert session.connect(LOGIN).connection.autocommit is True
    assert len(calls) == 3


def test_one_that_goes_on_starting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, *[STARTING] * 100)
    with pytest.raises(PostgresUnreachableError, match=r"waited 2 s .* is starting up"):
        session.connect(LOGIN)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("connection to server failed: No such file or directory", PostgresUnreachableError),
        ("FATAL: no pg_hba.conf entry for host", PostgresRefusedError),
    ],
)
def test_what_patience_does_not_cure_fails_at_once(
    monkeypatch: pytest.MonkeyPatch, reply: str, error: type[Exception]
) -> None:
    calls = answers(monkeypatch, reply)
    with pytest.raises(error):
        session.connect(LOGIN)
    assert len(calls) == 1
