# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP/1.1 over kept-alive TLS connections, for one server and many threads.

It stands below hvac in place of ``requests`` for three reasons: a request costs a sixth of the
processor time (which decides how fast thousands of objects are reconciled), the time limit is one
for the whole request instead of one for each read, and a TLS failure arrives as the ``ssl`` module
raised it, so that a wrong name and a wrong CA can be told apart.

Nothing is taken from the environment: no proxy, no CA bundle, no ``.netrc``.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Answer", "Pool", "Target", "TransportError", "tls_context"]

MAX_HEAD = 64 * 1024
CHUNK = 256 * 1024


class TransportError(Exception):
    """The exchange broke.

    :arg sent: Whether the server may have received the request, and therefore acted on it.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True)
class Answer:
    """An HTTP response, read to its end. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Target:
    """Where the server is and how to know it."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    server_name: str
    prefix: str = ""
    authority: str = field(default="")

    @classmethod
    def from_url(cls, url: str, tls: ssl.SSLContext | None, server_name: str = "") -> Target:
        """Take an address like ``https://vault:8200`` apart.

        :raises PhoenixError: if it is none.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise PhoenixError(f"not an address of a server: {url}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PhoenixError(
                f"not an address of a server: {url}",
                hint="Write scheme, name and port, such as https://vault.example.com:8200.",
            )
        if parts.username or parts.password or parts.query or parts.fragment:
            raise PhoenixError("the server's address must not hold credentials or a query")
        secure = parts.scheme == "https"
        return cls(
            host=parts.hostname,
            port=port or (443 if secure else 80),
            tls=tls if secure else None,
            server_name=server_name or parts.hostname,
            prefix=parts.path.rstrip("/"),
            authority=parts.netloc,
        )


def tls_context(
    *,
    ca_file: str | None = None,
    ca_text: str | None = None,
    cert_file: str | None = None,
    key_file: str | None = None,
    cert_text: str | None = None,
    key_text: str | None = None,
) -> ssl.SSLContext:
    """A verifying context of TLS 1.2 or newer.

    A certificate and key given as text never touch a file system: OpenSSL wants a path, and gets
    one into anonymous memory.

    :raises PhoenixError: if a file is missing or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if ca_text:
            context.load_verify_locations(cadata=ca_text)
        elif ca_file and Path(ca_file).is_dir():
            context.load_verify_locations(capath=ca_file)
        elif ca_file:
            context.load_verify_locations(cafile=ca_file)
        else:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    except (OSError, ValueError) as error:
        raise PhoenixError(
            f"cannot read the CA certificates {ca_file or '(text)'}: {error}"
        ) from None
    try:
        if cert_text or key_text:
            with _in_memory((cert_text or "") + "\n" + (key_text or "")) as path:
                context.load_cert_chain(path, password=_no_passphrase)
        elif cert_file:
            context.load_cert_chain(cert_file, key_file or None, password=_no_passphrase)
    except (OSError, ValueError) as error:
        raise PhoenixError(
            f"cannot use the client certificate {cert_file or '(text)'}: {error}",
            hint="Both must be PEM, belong together, and the key must have no passphrase.",
        ) from None
    return context


def _no_passphrase() -> bytes:
    """Keeps OpenSSL from asking at a terminal, and waiting there for ever."""
    return b""


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[str]:
    handle = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        os.write(handle, text.encode())
        os.lseek(handle, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


class Pool:
    """Connections to one target; each serves one request at a time.

    :arg size: How many may be open at once. A request beyond that waits for one to come back.
    :arg timeout: Seconds for one whole request, connecting included.
    """

    def __init__(self, target: Target, *, size: int = 10, timeout: float = 30.0) -> None:
        self.target = target
        self.timeout = timeout
        self._idle: list[_Connection] = []
        self._lock = threading.Lock()
        self._free = threading.BoundedSemaphore(size)

    def request(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        """Send one request and read its answer.

        :arg path: Percent-encoded, begins with a slash.
        :raises ssl.SSLError: if the handshake fails.
        :raises TransportError: for all else; a stale kept-alive connection is not reported but
            replaced.
        """
        deadline = time.monotonic() + self.timeout
        head = [f"{method} {self.target.prefix}{path} HTTP/1.1", f"Host: {self.target.authority}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT", "PATCH"):
            head.append(f"Content-Length: {len(body)}")
        if any("\r" in line or "\n" in line for line in head):
            raise PhoenixError("a header or path holds a line break")
        payload = "\r\n".join(head).encode("latin-1", "replace") + b"\r\n\r\n" + body
        with self._free:
            connection = self._take() or _Connection(self.target, deadline)
            try:
                answer, reusable = connection.exchange(method, payload, deadline)
            except BaseException:
                connection.close()
                raise
            if reusable:
                with self._lock:
                    self._idle.append(connection)
            else:
                connection.close()
            return answer

    def _take(self) -> _Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.alive():
                return connection
            connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


class _Connection:
    def __init__(self, target: Target, deadline: float) -> None:
        try:
            plain = socket.create_connection(
                (target.host, target.port), timeout=_left(deadline, sent=False)
            )
        except OSError as error:
            raise TransportError(_words(error), sent=False) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket: socket.socket = (
                target.tls.wrap_socket(plain, server_hostname=target.server_name)
                if target.tls
                else plain
            )
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError) as error:
            plain.close()
            raise TransportError(
                "the server closed the connection in the TLS handshake", sent=False
            ) from error
        except ssl.SSLError:
            plain.close()
            raise
        except OSError as error:
            plain.close()
            raise TransportError(_words(error), sent=False) from error
        self._buffer = b""

    def alive(self) -> bool:
        """An idle connection on which something can be read was closed by the other side."""
        try:
            return not select.select([self._socket], [], [], 0)[0]
        except (OSError, ValueError):
            return False

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()

    def exchange(self, method: str, payload: bytes, deadline: float) -> tuple[Answer, bool]:
        self._deadline = deadline
        try:
            self._socket.settimeout(_left(deadline, sent=False))
            self._socket.sendall(payload)
            status, headers = self._head()
            body = self._body(method, status, headers)
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError) as error:
            raise TransportError("the server closed the connection", sent=True) from error
        except ssl.SSLError:
            raise
        except OSError as error:
            raise TransportError(_words(error), sent=True) from error
        except (ValueError, IndexError) as error:
            raise TransportError(f"not an HTTP answer: {error}", sent=True) from error
        keep = headers.get("connection", "").lower() != "close" and not self._buffer
        return Answer(status, headers, body), keep

    def _head(self) -> tuple[int, dict[str, str]]:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                lines = self._buffer[:end].decode("latin-1").split("\r\n")
                self._buffer = self._buffer[end + 4 :]
                version, status = lines[0].split(" ", 2)[:2]
                if not version.startswith("HTTP/1."):
                    raise ValueError(f"answered with {version[:20]!r}")
                if int(status) < 200:  # 100 Continue and its kin
                    continue
                headers = {}
                for line in lines[1:]:
                    name, _colon, value = line.partition(":")
                    headers[name.strip().lower()] = value.strip()
                return int(status), headers
            if len(self._buffer) > MAX_HEAD:
                raise ValueError("the header has no end")
            self._more()

    def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        if "content-length" in headers:
            return self._exactly(int(headers["content-length"]))
        headers["connection"] = "close"
        with contextlib.suppress(EOFError):
            while True:
                self._more()
        body, self._buffer = self._buffer, b""
        return body

    def _chunks(self) -> bytes:
        parts = []
        while True:
            size = int(self._line().split(b";", 1)[0], 16)
            if size == 0:
                break
            parts.append(self._exactly(size))
            self._line()
        while self._line():  # trailers
            pass
        return b"".join(parts)

    def _line(self) -> bytes:
        while True:
            line, found, rest = self._buffer.partition(b"\r\n")
            if found:
                self._buffer = rest
                return line
            if len(line) > MAX_HEAD:
                raise ValueError("a line has no end")
            self._more()

    def _exactly(self, size: int) -> bytes:
        if len(self._buffer) >= size:
            data, self._buffer = self._buffer[:size], self._buffer[size:]
            return data
        parts, have = [self._buffer], len(self._buffer)
        self._buffer = b""
        while have < size:
            part = self._receive(min(CHUNK, size - have))
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def _more(self) -> None:
        self._buffer += self._receive(CHUNK)

    def _receive(self, size: int) -> bytes:
        self._socket.settimeout(_left(self._deadline, sent=True))
        data = self._socket.recv(size)
        if not data:
            raise _ClosedError("the server closed the connection")
        return data


class _ClosedError(EOFError, ConnectionError):
    """The end of the stream, where more was due."""


def _left(deadline: float, *, sent: bool) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TransportError("no answer within the time limit", sent=sent)
    return left


def _words(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer within the time limit"
    return error.strerror or str(error) or type(error).__name__
