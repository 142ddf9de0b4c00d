# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""PostgreSQL for a service: verified TLS, a client certificate, a user for each transaction."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from common.identity import User
from common.secret_file import SecretFile
from common.settings import SettingsError
from psycopg import AsyncConnection, OperationalError
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool, PoolTimeout

__all__ = ["Database", "DatabaseAddress", "DatabaseUnavailableError"]

# A verdict on the login stays good for this long, so that health requests cannot flood the server.
HEALTH_SECONDS = 3.0


class DatabaseUnavailableError(Exception):
    """No connection could be had; the reason is the server's, without a secret."""


@dataclass(frozen=True)
class DatabaseAddress:
    """Where the database is and how it is verified, from ``POSTGRES_*``."""

    host: str
    port: int
    name: str
    ca: str
    cert: str
    key: str

    @classmethod
    def read(cls, env: Mapping[str, str]) -> DatabaseAddress:
        """Read the environment.

        ``POSTGRES_SSL`` may say ``require``, as in the original contract: with
        ``POSTGRES_SSL_REJECT_UNAUTHORIZED`` (the default) that meant a verified server, which
        libpq calls ``verify-full``. There is no weaker mode.

        :raises SettingsError: for all mistakes together.
        """
        keys = ["HOST", "DB", "SSL_CA", "SSL_CERT", "SSL_KEY"]
        values = {key: env.get(f"POSTGRES_{key}", "").strip() for key in keys}
        wrong = [f"POSTGRES_{key} is missing" for key, value in values.items() if not value]
        if env.get("POSTGRES_SSL", "require") not in ("require", "verify-full", "true"):
            wrong.append("POSTGRES_SSL must be require or verify-full")
        if env.get("POSTGRES_SSL_REJECT_UNAUTHORIZED", "true").lower() != "true":
            wrong.append("POSTGRES_SSL_REJECT_UNAUTHORIZED must be true")
        port = env.get("POSTGRES_PORT", "5432")
        if not port.isdigit():
            wrong.append("POSTGRES_PORT is no number")
        if wrong:
            raise SettingsError("; ".join(wrong))
        return cls(
            host=values["HOST"],
            port=int(port),
            name=values["DB"],
            ca=values["SSL_CA"],
            cert=values["SSL_CERT"],
            key=values["SSL_KEY"],
        )


class Database:
    """A small pool whose connections each read the credentials that are in force when they open."""

    def __init__(self, address: DatabaseAddress, secrets: SecretFile, application: str) -> None:
        self.address = address
        self.secrets = secrets
        self.application = application
        self._verdict: tuple[float, str] | None = None
        self._pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
            kwargs=self._parameters_async,
            min_size=1,
            max_size=4,
            max_lifetime=600,
            timeout=5,
            # Gives up quickly, so that the next request starts a new try and does not sit out a
            # back-off that has grown while the server was away.
            reconnect_timeout=2,
            open=False,
            name=application,
            check=AsyncConnectionPool.check_connection,
        )

    async def _parameters_async(self) -> dict[str, Any]:
        return self._parameters()

    def _parameters(self) -> dict[str, Any]:
        """Login, password and client certificate out of one read of the secrets: they go together.

        Where two logins take turns, the secrets name the certificate of the one in use.
        """
        where = self.address
        return {
            "host": where.host,
            "port": where.port,
            "dbname": where.name,
            "user": self.secrets.get("POSTGRES_USER"),
            "password": self.secrets.get("POSTGRES_PASSWORD"),
            "sslmode": "verify-full",
            "sslrootcert": where.ca,
            "sslcert": self.secrets.get("POSTGRES_SSL_CERT", where.cert),
            "sslkey": self.secrets.get("POSTGRES_SSL_KEY", where.key),
            "ssl_min_protocol_version": "TLSv1.2",
            "gssencmode": "disable",
            "require_auth": "scram-sha-256",
            "channel_binding": "require",
            "connect_timeout": 5,
            "application_name": self.application,
            "row_factory": dict_row,
        }

    async def open(self) -> None:
        """Start connecting in the background; :meth:`problem` says how that went."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=5)

    async def renew(self) -> None:
        """Replace every connection: idle ones now, busy ones when they come back."""
        self._verdict = None
        await self._pool.drain()

    async def problem(self) -> str:
        """Why a login made now fails; empty if it works.

        A new connection each time, since one from the pool would prove only that the password was
        right once.
        """
        now = time.monotonic()
        if self._verdict is None or now - self._verdict[0] > HEALTH_SECONDS:
            self._verdict = (now, await self._login())
        return self._verdict[1]

    async def _login(self) -> str:
        try:
            connection = await AsyncConnection.connect(**self._parameters())
        except OperationalError as error:
            return _reason(error)
        await connection.close()
        return ""

    @asynccontextmanager
    async def as_user(self, user: User) -> AsyncIterator[AsyncConnection[DictRow]]:
        """A read-only transaction in which row level security sees this user.

        The settings are local to the transaction, so that the next user of the same connection
        starts with none.

        :raises DatabaseUnavailableError: if no connection could be had in five seconds.
        """
        try:
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(
                    "SELECT set_config('transaction_read_only', 'on', true),"
                    " set_config('app.current_user_id', %s, true),"
                    " set_config('app.current_user_roles', %s, true)",
                    (user.id, ",".join(user.roles)),
                )
                yield connection
        except (PoolTimeout, OperationalError) as error:
            raise DatabaseUnavailableError(_reason(error)) from None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
