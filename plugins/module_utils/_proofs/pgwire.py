# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small PostgreSQL client: start-up, SCRAM-SHA-256, one query at a time.

libpq hides what a proof has to see: the exact refusal, how far a login got, the handshake. It also
refuses a client key that belongs to the service it was made for. Protocol 3.0, as in the chapter
'Frontend/Backend Protocol' of PostgreSQL's documentation; SCRAM as in RFC 5802 and RFC 7677.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["PasswordWantedError", "RefusalError", "Session", "login", "superuser"]

_PROTOCOL = 196608  # 3.0
_OK, _SASL, _SASL_CONTINUE, _SASL_FINAL = 0, 10, 11, 12
_MECHANISM = "SCRAM-SHA-256"


class RefusalError(PhoenixError):
    """The server's own error.

    :arg code: Its SQLSTATE (`28000` where pg_hba or the certificate says no, `28P01` for a wrong
        password).
    :arg asked_for_password: Whether it had let the client come so far.
    """

    def __init__(self, text: str, code: str, *, asked_for_password: bool = False) -> None:
        super().__init__(text)
        self.code = code
        self.asked_for_password = asked_for_password


class PasswordWantedError(PhoenixError):
    """The server asks for a password, and there is none to give: everything before was right."""


@dataclass
class _Scram:
    """The client's side of one exchange."""

    password: str
    nonce: str
    first_bare: str = ""
    server_signature: bytes = b""

    def first(self) -> bytes:
        # PostgreSQL takes the user name from the start-up packet.
        self.first_bare = f"n=,r={self.nonce}"
        return ("n,," + self.first_bare).encode()

    def final(self, server_first: str) -> bytes:
        parts = dict(part.split("=", 1) for part in server_first.split(","))
        if not parts["r"].startswith(self.nonce):
            raise PhoenixError("the server's SCRAM nonce does not extend ours")
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password.encode(), base64.b64decode(parts["s"]), int(parts["i"])
        )
        client_key = _hmac(salted, b"Client Key")
        without_proof = f"c=biws,r={parts['r']}"
        signed = f"{self.first_bare},{server_first},{without_proof}".encode()
        signature = _hmac(hashlib.sha256(client_key).digest(), signed)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        self.server_signature = _hmac(_hmac(salted, b"Server Key"), signed)
        return f"{without_proof},p={base64.b64encode(proof).decode()}".encode()

    def verify(self, server_final: str) -> None:
        wanted = "v=" + base64.b64encode(self.server_signature).decode()
        if not hmac.compare_digest(server_final, wanted):
            raise PhoenixError("the server does not know the password's verifier itself")


def _hmac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


class Session:
    """A connection that has logged in. Close it, or use it as a context manager."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = b""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def rows(self, statement: str) -> list[list[str | None]]:
        """The rows of a statement, as text.

        :raises RefusalError: with the server's error.
        """
        self.send(b"Q", statement.encode() + b"\0")
        rows: list[list[str | None]] = []
        refusal: RefusalError | None = None
        while True:
            kind, body = self.receive()
            if kind == b"D":
                rows.append(_columns(body))
            elif kind == b"E":
                refusal = _refusal(body)
            elif kind == b"Z":
                break
        if refusal is not None:
            raise refusal
        return rows

    def send(self, kind: bytes, body: bytes) -> None:
        self._connection.sendall(kind + struct.pack("!i", len(body) + 4) + body)

    def receive(self) -> tuple[bytes, bytes]:
        """The next message.

        :raises ConnectionError: where the server has hung up.
        """
        head = self._exactly(5)
        size = int(struct.unpack("!i", head[1:])[0]) - 4
        return head[:1], self._exactly(size)

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self._connection.recv(65536)
            if not chunk:
                raise ConnectionError("connection closed by the server")
            self._buffer += chunk
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data


def login(
    connection: socket.socket, *, user: str, database: str, password: str | None = None
) -> Session:
    """Log in over a connection that is already in the state (plain or TLS) to log in with.

    :arg password: `None` to see how far one gets without.
    :raises RefusalError: with the server's error.
    :raises PasswordWantedError: where the server asks for a password and none was given.
    :raises OSError: where it hangs up, as it does in TLS 1.3 on a certificate that it rejects.
    """
    session = Session(connection)
    options = f"user\0{user}\0database\0{database}\0application_name\0attest\0\0".encode()
    connection.sendall(struct.pack("!ii", len(options) + 8, _PROTOCOL) + options)
    scram: _Scram | None = None
    while True:
        kind, body = session.receive()
        if kind == b"E":
            raise _refusal(body, asked_for_password=scram is not None)
        if kind == b"Z":
            return session
        if kind == b"R":
            scram = _authenticate(session, body, scram, password)


def superuser(service: Mapping[str, Any]) -> Session:
    """Log in as root of the host, who is the superuser on the socket and has no password there.

    :arg service: Of the estate's model, of kind ``postgresql``.
    :raises OSError: where nobody listens.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(5)
        connection.connect(f"{service['socket']}/.s.PGSQL.{service['port']}")
        return login(connection, user="postgres", database="postgres")
    except BaseException:
        connection.close()
        raise


def _authenticate(
    session: Session, body: bytes, scram: _Scram | None, password: str | None
) -> _Scram | None:
    (method,) = struct.unpack("!i", body[:4])
    if method == _OK:
        return scram
    if method == _SASL:
        if _MECHANISM.encode() not in body[4:].split(b"\0"):
            raise PhoenixError("the server offers no SCRAM-SHA-256")
        if password is None:
            raise PasswordWantedError("the server asks for a password")
        scram = _Scram(password, secrets.token_urlsafe(18))
        first = scram.first()
        session.send(b"p", _MECHANISM.encode() + b"\0" + struct.pack("!i", len(first)) + first)
    elif method == _SASL_CONTINUE and scram is not None:
        session.send(b"p", scram.final(body[4:].decode()))
    elif method == _SASL_FINAL and scram is not None:
        scram.verify(body[4:].decode())
    else:
        raise PhoenixError(f"the server asks for authentication method {method}, not for SCRAM")
    return scram


def _columns(body: bytes) -> list[str | None]:
    (count,) = struct.unpack("!h", body[:2])
    position = 2
    values: list[str | None] = []
    for _unused in range(count):
        (size,) = struct.unpack("!i", body[position : position + 4])
        position += 4
        if size < 0:
            values.append(None)
            continue
        values.append(body[position : position + size].decode("utf-8", "replace"))
        position += size
    return values


def _refusal(body: bytes, *, asked_for_password: bool = False) -> RefusalError:
    fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0") if part}
    return RefusalError(
        fields.get(b"M", "error without a message"),
        fields.get(b"C", ""),
        asked_for_password=asked_for_password,
    )
