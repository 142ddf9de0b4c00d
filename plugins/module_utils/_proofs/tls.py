# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Handshakes as a client makes them, and what can be learned from them.

Keys that must not touch a disk are handed to OpenSSL through a file in memory.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Identity",
    "Peer",
    "client_context",
    "connect",
    "describe",
    "error_text",
    "in_memory",
    "offer_tls11",
    "request_postgresql_tls",
]

_POSTGRESQL_TLS = struct.pack("!ii", 8, 80877103)


@dataclass(frozen=True)
class Identity:
    """A client certificate with its key: paths, or PEM text for those that are on no disk."""

    name: str
    certificate: str
    key: str

    @property
    def is_text(self) -> bool:
        return self.certificate.lstrip().startswith("-----BEGIN")


@dataclass(frozen=True)
class Peer:
    """The server as the handshake showed it.

    :arg serial: Lower-case hexadecimal.
    """

    version: str
    cipher: str
    serial: str
    der: bytes


@contextlib.contextmanager
def in_memory(*texts: str) -> Iterator[list[str]]:
    """Paths to read-only files that exist in memory as long as the block runs."""
    handles: list[int] = []
    try:
        for text in texts:
            handle = os.memfd_create("tamshai", os.MFD_CLOEXEC)
            handles.append(handle)
            os.fchmod(handle, 0o400)
            data = text.encode("utf-8", "surrogateescape")
            while data:
                data = data[os.write(handle, data) :]
        yield [f"/proc/self/fd/{handle}" for handle in handles]
    finally:
        for handle in handles:
            os.close(handle)


def client_context(ca: str | None, identity: Identity | None) -> ssl.SSLContext:
    """A verifying client of TLS 1.2 or later.

    :arg ca: Path of the trusted certificates.
    :raises OSError: where a file cannot be read.
    :raises ssl.SSLError: where a certificate and its key do not belong together.
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if identity is None:
        return context
    if identity.is_text:
        with in_memory(identity.certificate, identity.key) as (certificate, key):
            context.load_cert_chain(certificate, key)
    else:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def request_postgresql_tls(plain: socket.socket) -> None:
    """Ask a PostgreSQL server to go on in TLS.

    :raises ssl.SSLError: where it does not.
    """
    plain.sendall(_POSTGRESQL_TLS)
    answer = plain.recv(1)
    if answer != b"S":
        raise ssl.SSLError(f"the server answered {answer!r} to SSLRequest: it does not speak TLS")


def connect(
    address: str,
    port: int,
    *,
    server_name: str,
    context: ssl.SSLContext,
    postgresql: bool = False,
    timeout: float = 5,
) -> ssl.SSLSocket:
    """Connect and shake hands, verifying the server's name.

    :raises OSError: where there is no connection; `ssl.SSLError` where there is no handshake.
    """
    plain = socket.create_connection((address, port), timeout=timeout)
    try:
        if postgresql:
            request_postgresql_tls(plain)
        return context.wrap_socket(plain, server_hostname=server_name)
    except BaseException:
        plain.close()
        raise


def describe(secured: ssl.SSLSocket) -> Peer:
    """What the handshake of a connected socket showed of the server."""
    from cryptography import x509

    der = secured.getpeercert(binary_form=True) or b""
    cipher = secured.cipher()
    return Peer(
        version=secured.version() or "",
        cipher=cipher[0] if cipher else "",
        serial=format(x509.load_der_x509_certificate(der).serial_number, "x"),
        der=der,
    )


# A handshake record of TLS 1.1, written by hand: whether this machine's OpenSSL still speaks 1.1
# must not decide what we learn about the server.
_TLS11 = b"\x03\x02"
_RECORD_HANDSHAKE, _RECORD_ALERT = 22, 21
_ALERTS = {
    40: "handshake_failure",
    47: "illegal_parameter",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
}


def _client_hello_tls11(server_name: str) -> bytes:
    name = server_name.encode("idna")
    sni = struct.pack("!BH", 0, len(name)) + name
    sni = struct.pack("!H", len(sni)) + sni
    groups = struct.pack("!HHHH", 6, 23, 24, 29)  # P-256, P-384, X25519
    formats = b"\x01\x00"
    extensions = b"".join(
        struct.pack("!HH", number, len(content)) + content
        for number, content in ((0, sni), (10, groups), (11, formats))
    )
    # ECDHE with ECDSA and RSA, then RSA: AES-CBC with SHA-1, all that TLS 1.1 has.
    suites = struct.pack("!6H", 0xC00A, 0xC009, 0xC014, 0xC013, 0x0035, 0x002F)
    hello = (
        _TLS11
        + os.urandom(32)
        + b"\x00"
        + struct.pack("!H", len(suites))
        + suites
        + b"\x01\x00"
        + struct.pack("!H", len(extensions))
        + extensions
    )
    message = b"\x01" + struct.pack("!I", len(hello))[1:] + hello
    return bytes([_RECORD_HANDSHAKE]) + _TLS11 + struct.pack("!H", len(message)) + message


def offer_tls11(
    address: str,
    port: int,
    *,
    server_name: str,
    postgresql: bool = False,
    timeout: float = 5,
) -> tuple[bool, str]:
    """Offer TLS 1.1 and nothing newer: was it accepted, and what was the answer.

    :raises OSError: where there is no connection to make the offer on.
    """
    with socket.create_connection((address, port), timeout=timeout) as plain:
        if postgresql:
            request_postgresql_tls(plain)
        try:
            plain.sendall(_client_hello_tls11(server_name))
            answer = plain.recv(7)
        except ConnectionResetError:
            return False, "connection reset"
    if not answer:
        return False, "connection closed"
    if answer[0] == _RECORD_HANDSHAKE:
        return True, "ServerHello"
    if answer[0] == _RECORD_ALERT and len(answer) >= 7:
        return False, f"alert {_ALERTS.get(answer[6], answer[6])}"
    return True, f"unexpected answer {answer!r}"


def error_text(error: BaseException) -> str:
    """A TLS or socket error without file names and line numbers of OpenSSL."""
    reason = getattr(error, "reason", None)
    if isinstance(reason, str) and reason:
        return reason.replace("_", " ").lower()
    text: Any = error.args[-1] if error.args else error
    return re.sub(r" \(_ssl\.c:\d+\)", "", str(text)) or type(error).__name__
