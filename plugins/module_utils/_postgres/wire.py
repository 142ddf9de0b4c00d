# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a client sees of a PostgreSQL server before it logs in: its TLS and its refusals.

Works on the wire (PostgreSQL documentation, "Message Flow": SSL Session Encryption), so that a
proof does not depend on what the client library chooses to do.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresUnprovenError,
    PostgresUnreachableError,
)

__all__ = ["Refusal", "Served", "client_context", "handshake", "namespace_addresses", "startup"]

_SSL_REQUEST = struct.pack("!II", 8, 80877103)
_PROTOCOL_3 = 196608


@dataclass(frozen=True)
class Served:
    """The TLS that a server serves.

    :arg serial: Of its certificate, upper-case hexadecimal as OpenSSL prints it.
    """

    address: str
    serial: str
    protocol: str
    cipher: str
    not_after: str


@dataclass(frozen=True)
class Refusal:
    """The answer to a startup message.

    :arg accepted: Whether the server went on to authentication or further.
    :arg code: SQLSTATE of the refusal, empty where the server just closed the connection.
    """

    accepted: bool
    code: str = ""
    message: str = ""


def client_context(
    ca_file: str | Path,
    certificate: str | Path | None = None,
    key: str | Path | None = None,
) -> ssl.SSLContext:
    """TLS 1.2 or later, the chain and the name verified (libpq's ``verify-full``)."""
    context = ssl.create_default_context(cafile=str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        context.load_cert_chain(str(certificate), str(key))
    return context


@contextmanager
def _connected(address: str, port: int, timeout: float) -> Iterator[socket.socket]:
    try:
        stream = socket.create_connection((address, port), timeout=timeout)
    except OSError as error:
        raise PostgresUnreachableError(f"{address}:{port} does not answer: {error}") from error
    with stream:
        yield stream


def handshake(
    address: str, port: int, server_name: str, context: ssl.SSLContext, timeout: float = 5
) -> Served:
    """Do a TLS handshake after an SSLRequest.

    :raises PostgresUnprovenError: the server has no TLS, or its certificate does not verify.
    :raises PostgresUnreachableError: nothing answers there.
    """
    where = f"{address}:{port}"
    with _connected(address, port, timeout) as stream:
        try:
            stream.sendall(_SSL_REQUEST)
            answer = stream.recv(1)
            if answer != b"S":
                raise PostgresUnprovenError(
                    f"{where} offers no TLS: it answered {answer!r} to an SSLRequest"
                )
            with context.wrap_socket(stream, server_hostname=server_name) as secured:
                certificate = secured.getpeercert() or {}
                cipher = secured.cipher() or ("", "", 0)
                return Served(
                    address=address,
                    serial=str(certificate.get("serialNumber", "")),
                    protocol=secured.version() or "",
                    cipher=cipher[0],
                    not_after=str(certificate.get("notAfter", "")),
                )
        except ssl.SSLCertVerificationError as error:
            raise PostgresUnprovenError(
                f"{where} does not verify as {server_name}: {error.verify_message}"
            ) from error
        except OSError as error:
            raise PostgresUnprovenError(f"TLS with {where} failed: {error}") from error


def startup(
    address: str,
    port: int,
    user: str,
    database: str,
    *,
    context: ssl.SSLContext | None = None,
    server_name: str = "",
    timeout: float = 5,
) -> Refusal:
    """Ask to log in, in plaintext unless a context is given, and stop at the first answer.

    No password is ever sent.
    """
    body = b"".join(
        part.encode("utf-8") + b"\0"
        for part in ("user", user, "database", database, "application_name", "tamshai.phoenix")
    )
    message = struct.pack("!II", len(body) + 9, _PROTOCOL_3) + body + b"\0"
    with _connected(address, port, timeout) as stream:
        try:
            if context is None:
                return _ask(stream, message)
            stream.sendall(_SSL_REQUEST)
            if stream.recv(1) != b"S":
                raise PostgresUnprovenError(f"{address}:{port} offers no TLS")
            with context.wrap_socket(stream, server_hostname=server_name) as secured:
                return _ask(secured, message)
        except OSError as error:
            # TLS 1.3: a client whose certificate is refused learns it at its first read.
            return Refusal(accepted=False, message=str(error))


def _ask(stream: socket.socket, message: bytes) -> Refusal:
    stream.sendall(message)
    head = _read(stream, 5)
    if len(head) < 5:
        return Refusal(accepted=False, message="the server closed the connection")
    if head[:1] != b"E":
        return Refusal(accepted=True, message=f"the server answered {head[:1]!r}")
    length = min(struct.unpack("!I", head[1:])[0] - 4, 65536)
    fields = {
        part[:1]: part[1:].decode("utf-8", "replace")
        for part in _read(stream, length).split(b"\0")
        if part
    }
    return Refusal(accepted=False, code=fields.get(b"C", ""), message=fields.get(b"M", ""))


def _read(stream: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        part = stream.recv(length - len(data))
        if not part:
            break
        data += part
    return data


def namespace_addresses(pid: int, proc: str | Path = "/proc") -> list[str]:
    """IPv4 addresses of the network namespace that a process lives in.

    A server in a container is thus found without asking the container engine. Addresses of the
    loopback device are named only where the process shares our own namespace.
    """
    base = Path(proc)
    table = (base / str(pid) / "net" / "fib_trie").read_text(encoding="ascii")
    found: list[str] = []
    last = ""
    for line in table.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] in ("|--", "+--"):
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and last not in found:
            found.append(last)
    ours = (base / str(pid) / "ns" / "net").stat().st_ino == (
        base / "self" / "ns" / "net"
    ).stat().st_ino
    if ours:
        return ["127.0.0.1"]
    return [address for address in found if not address.startswith("127.")]
