# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions with a PostgreSQL server: by `peer` over its socket, or by TCP with verify-full."""

from __future__ import annotations

import os
import re
import socket
import struct
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
    PostgresRefusedError,
    PostgresUnreachableError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

try:
    import psycopg2
    import psycopg2.extensions
    import psycopg2.extras
except ImportError:
    PSYCOPG2_ERROR: str | None = traceback.format_exc()
else:
    PSYCOPG2_ERROR = None

__all__ = ["PSYCOPG2_ERROR", "Session", "alone", "connect", "login_spec"]

_LOCK = 7411680217  # of this collection; any number that nothing else uses
_STARTING = re.compile(r"(starting up|shutting down|recovery|not yet accepting)", re.IGNORECASE)
_ABSENT = re.compile(
    r"(No such file|refused|timed? ?out|unreachable|could not translate|closed the connection)",
    re.IGNORECASE,
)


def login_spec() -> dict[str, dict[str, Any]]:
    """The options that every module with a PostgreSQL session shares (fragment ``postgresql``)."""
    return {
        "login_host": {"type": "str", "default": "/var/run/postgresql"},
        "login_hostaddr": {"type": "str", "default": ""},
        "login_port": {"type": "int", "default": 5432},
        "login_user": {"type": "str", "default": "postgres"},
        "login_password": {"type": "str", "no_log": True},
        "login_db": {"type": "str", "default": "postgres"},
        "login_ca_cert": {"type": "path"},
        "login_client_cert": {"type": "path"},
        "login_client_key": {"type": "path"},
        "connect_timeout": {"type": "int", "default": 10},
    }


class Session:
    """One session, autocommit unless inside :meth:`transaction`."""

    def __init__(self, connection: Any, description: str) -> None:
        self.connection = connection
        self.description = description
        connection.autocommit = True

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *unused: object) -> None:
        self.connection.close()

    @property
    def version(self) -> int:
        """As the server numbers it: 170011 is 17.11."""
        return int(self.connection.server_version)

    def query(self, sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        with (
            _translated(),
            self.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor,
        ):
            cursor.execute(sql, parameters)
            return [dict(row) for row in cursor.fetchall()]

    def value(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
        rows = self.query(sql, parameters)
        return next(iter(rows[0].values())) if rows else None

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> None:
        with _translated(), self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            if not self.connection.closed:
                self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def server_process(self) -> tuple[int, int] | None:
        """Process and user id of the server behind a unix socket, in our own namespaces.

        ``None`` over TCP. The kernel notes them when the server starts to listen, so the process is
        the postmaster, not the session's backend.
        """
        size = struct.calcsize("3i")
        with socket.socket(fileno=os.dup(self.connection.fileno())) as stream:
            if stream.family != socket.AF_UNIX:
                return None
            pid, uid, _gid = struct.unpack(
                "3i", stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            )
        return pid, uid


def connect(login: Mapping[str, Any], database: str | None = None) -> Session:
    """Open a session.

    :arg login: Options of :func:`login_spec`. A host that is an absolute path is a socket's
        directory; any other is reached by TCP with ``sslmode=verify-full``, always.
    A server that says that it is starting is waited for, as long as for a connection.

    :raises PostgresUnreachableError: nothing answers, or the server is still starting.
    :raises PostgresRefusedError: the server does not let this login in.
    """
    host = login["login_host"]
    database = database or login.get("login_db") or "postgres"
    description = f"{login['login_user']}@{host}:{login['login_port']}/{database}"
    arguments = _arguments(login, database)

    def attempt() -> list[Session | PostgresError]:
        """A session, or why there is none; raises only what a moment's patience may cure."""
        try:
            return [Session(psycopg2.connect(**arguments), description)]
        except psycopg2.OperationalError as error:
            text = " ".join(str(error).split())
        absent = PostgresUnreachableError(f"no PostgreSQL server answers as {description}: {text}")
        if _STARTING.search(text):
            raise absent
        if _ABSENT.search(text):
            return [absent]
        return [PostgresRefusedError(f"PostgreSQL refused {description}: {text}")]

    (found,) = wait_until(
        attempt, timeout=arguments["connect_timeout"], what="a server that is starting"
    )
    if isinstance(found, PostgresError):
        raise found
    return found


def _arguments(login: Mapping[str, Any], database: str) -> dict[str, Any]:
    """What psycopg2 is given."""
    host = login["login_host"]
    arguments: dict[str, Any] = {
        "host": host,
        "port": login["login_port"],
        "user": login["login_user"],
        "dbname": database,
        "connect_timeout": max(2, int(login.get("connect_timeout") or 10)),
        "application_name": "tamshai.phoenix",
        "client_encoding": "UTF8",
        "options": "-c search_path=pg_catalog",
    }
    if login.get("login_password"):
        arguments["password"] = login["login_password"]
    if host.startswith("/"):
        return arguments
    if not login.get("login_ca_cert"):
        raise PostgresError(
            f"no CA certificate for {host}",
            hint="TCP sessions are verified: give login_ca_cert.",
        )
    arguments.update(sslmode="verify-full", sslrootcert=login["login_ca_cert"])
    if login.get("login_hostaddr"):
        arguments["hostaddr"] = login["login_hostaddr"]
    if login.get("login_client_cert"):
        arguments.update(sslcert=login["login_client_cert"], sslkey=login["login_client_key"])
    return arguments


@contextmanager
def alone(session: Session, timeout: float = 60) -> Iterator[None]:
    """Keep other runs of this collection's modules off the same server.

    The lock goes with the session, so a run that is killed leaves none behind.

    :arg timeout: Seconds to wait for another run.
    :raises PostgresError: it is still at work.
    """
    session.execute(f"SET lock_timeout = {int(timeout * 1000)}")
    try:
        session.query("SELECT pg_advisory_lock(%(lock)s)", {"lock": _LOCK})
    except PostgresUnreachableError:
        raise
    except PostgresError as error:
        raise PostgresError(
            f"another run is at work on {session.description}: {error.message}"
        ) from None
    yield


@contextmanager
def _translated() -> Iterator[None]:
    """The server's message without its DETAIL, HINT and LINE, which quote values."""
    try:
        yield
    except psycopg2.Error as error:
        text = getattr(error.diag, "message_primary", None) or " ".join(str(error).split())
        lost = error.pgcode is None or error.pgcode.startswith(("57P", "08"))
        kind = PostgresUnreachableError if lost else PostgresError
        code = f" (SQLSTATE {error.pgcode})" if error.pgcode else ""
        raise kind(f"PostgreSQL: {text}{code}") from None
