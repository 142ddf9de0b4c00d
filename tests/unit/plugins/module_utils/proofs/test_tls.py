# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hops against small real servers: TLS of OpenSSL, and PostgreSQL's way into it."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    foreign,
    h3_b,
    hop,
    ports,
    tls,
)

FQDN = "mcp-hr.tamshai.internal"
SERVICE = {"fqdn": FQDN, "spiffe": "spiffe://tamshai.internal/service/mcp-hr"}


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


@dataclass
class Pki:
    """A CA with one certificate that is good for server and client."""

    folder: Path
    serial: str = ""

    def __post_init__(self) -> None:
        now = datetime.datetime.now(datetime.UTC)
        ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _unused in range(2))
        builder = x509.CertificateBuilder().not_valid_before(now).issuer_name(name("ca"))
        builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
        ca = (
            builder.subject_name(name("ca"))
            .public_key(ca_key.public_key())
            .serial_number(1)
            .add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(*(False, False, False, False, False, True, True, False, False)),
                critical=True,
            )
            .sign(ca_key, hashes.SHA256())
        )
        leaf = (
            builder.subject_name(name(FQDN))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName(FQDN), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
            .sign(ca_key, hashes.SHA256())
        )
        self.serial = format(leaf.serial_number, "x")
        pem = serialization.Encoding.PEM
        (self.folder / "ca.crt").write_bytes(ca.public_bytes(pem))
        (self.folder / "tls.crt").write_bytes(leaf.public_bytes(pem))
        (self.folder / "tls.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )

    @property
    def ca(self) -> str:
        return str(self.folder / "ca.crt")

    @property
    def identity(self) -> tls.Identity:
        return tls.Identity("x", str(self.folder / "tls.crt"), str(self.folder / "tls.key"))

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        context.load_verify_locations(self.ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


Serve = Callable[[Callable[[socket.socket], None]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve connections one after the other with a function; returns the port."""
    listeners: list[socket.socket] = []

    def start(handle: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def loop() -> None:
            while True:
                try:
                    connection, _unused = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        handle(connection)
                    except OSError:
                        continue

        threading.Thread(target=loop, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for listener in listeners:
        listener.close()


def answering(context: ssl.SSLContext, answer: bytes) -> Callable[[socket.socket], None]:
    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)
            if answer:
                secured.sendall(answer)

    return handle


def target(port: int, kind: str = "application", fqdn: str = FQDN) -> hop.Target:
    return hop.Target("mcp-hr", kind, "127.0.0.1", port, fqdn)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, "admitted"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "refused"),
        (b"HTTP/1.1 401 Unauthorized\r\n\r\n", "refused"),
        (b"HTTP/1.1 503 Unavailable\r\n\r\n", "unreachable"),
        (b"HTTP/1.1 500 Oops\r\n\r\n", "unreachable"),
        (b"garbage", "unreachable"),
        (b"", "refused"),
    ],
)
def test_how_a_caller_with_a_certificate_fares(
    pki: Pki, serve: Serve, answer: bytes, outcome: str
) -> None:
    port = serve(answering(pki.server_context(), answer))
    found = hop.attempt(target(port), tls.client_context(pki.ca, pki.identity))
    assert found.outcome == outcome
    assert found.version == "TLSv1.3"
    assert found.serial == pki.serial


def test_without_a_certificate(pki: Pki, serve: Serve) -> None:
    port = serve(answering(pki.server_context(), OK))
    found = hop.attempt(target(port), tls.client_context(pki.ca, None))
    assert found.outcome == "refused"
    assert found.answer.startswith("TLS: ")


def test_of_a_foreign_authority(pki: Pki, serve: Serve) -> None:
    port = serve(answering(pki.server_context(), OK))
    context = tls.client_context(pki.ca, foreign.identity(SERVICE))
    found = hop.attempt(target(port), context)
    # The alert's text is lost where the server's reset overtakes it.
    assert found.outcome == "refused"
    assert found.answer.startswith("TLS: ")
    assert "_ssl.c" not in found.answer


def test_a_server_with_another_name_is_not_talked_to(pki: Pki, serve: Serve) -> None:
    port = serve(answering(pki.server_context(), OK))
    context = tls.client_context(pki.ca, pki.identity)
    found = hop.attempt(target(port, fqdn="postgres.tamshai.internal"), context)
    assert found.outcome == "refused"
    assert "certificate verify failed" in found.answer


def test_nobody_there_is_no_refusal(pki: Pki) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = hop.attempt(target(port), tls.client_context(pki.ca, pki.identity))
    assert found.outcome == "unreachable"


def test_a_vault_that_gives_a_token(pki: Pki, serve: Serve) -> None:
    body = b'HTTP/1.1 200 OK\r\n\r\n{"auth": {"client_token": "s.x", "policies": ["host"]}}'
    port = serve(answering(pki.server_context(), body))
    found = hop.attempt(target(port, "vault"), tls.client_context(pki.ca, pki.identity))
    assert (found.outcome, found.detail["token"]) == ("admitted", "s.x")


def test_a_vault_that_gives_none(pki: Pki, serve: Serve) -> None:
    body = b'HTTP/1.1 400 Bad Request\r\n\r\n{"errors": ["no chain matching all constraints"]}'
    port = serve(answering(pki.server_context(), body))
    found = hop.attempt(target(port, "vault"), tls.client_context(pki.ca, pki.identity))
    assert found.outcome == "refused"
    assert "no chain matching" in found.answer


def test_tls_1_1_is_refused_by_a_modern_server(pki: Pki, serve: Serve) -> None:
    context = pki.server_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    port = serve(answering(context, OK))
    accepted, answer = tls.offer_tls11("127.0.0.1", port, server_name=FQDN)
    assert not accepted
    assert answer == "alert protocol_version"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tls_1_1_is_noticed(pki: Pki, serve: Serve) -> None:
    context = pki.server_context()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    port = serve(answering(context, OK))
    assert tls.offer_tls11("127.0.0.1", port, server_name=FQDN) == (True, "ServerHello")


def test_an_answer_that_nobody_knows_counts_as_accepted(serve: Serve) -> None:
    port = serve(lambda connection: connection.sendall(b"220 smtp.example ESMTP"))
    accepted, answer = tls.offer_tls11("127.0.0.1", port, server_name=FQDN)
    assert accepted
    assert "unexpected" in answer


def test_postgresql_goes_into_tls_by_request(pki: Pki, serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        assert connection.recv(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        connection.sendall(b"S")
        answering(pki.server_context(), b"x")(connection)

    port = serve(handle)
    context = tls.client_context(pki.ca, pki.identity)
    with tls.connect(
        "127.0.0.1", port, server_name=FQDN, context=context, postgresql=True
    ) as secured:
        assert tls.describe(secured).serial == pki.serial


def test_postgresql_without_tls(pki: Pki, serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(8)
        connection.sendall(b"N")

    port = serve(handle)
    found = hop.attempt(target(port, "postgresql"), tls.client_context(pki.ca, pki.identity))
    assert found.outcome == "refused"
    assert "does not speak TLS" in found.answer


@pytest.mark.parametrize(
    ("answer", "refused"),
    [
        (OK, False),
        (b"HTTP/1.1 301 Moved\r\nLocation: https://x\r\n\r\n", False),
        (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n",
            True,
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\nno Host header", False),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", False),
        (b"\x15\x03\x01\x00\x02\x02\x46", True),
        (b"E\x00\x00\x00\x8cSFATAL", True),
        (b"", True),
    ],
)
def test_plain_http(serve: Serve, answer: bytes, refused: bool) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    assert h3_b.plain_request("127.0.0.1", serve(handle))[0] is refused


def test_plain_http_to_a_tls_server(pki: Pki, serve: Serve) -> None:
    port = serve(answering(pki.server_context(), OK))
    assert h3_b.plain_request("127.0.0.1", port)[0]


def test_a_port_that_takes_the_request_has_not_refused_it(serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    assert h3_b.plain_request("127.0.0.1", serve(handle), timeout=0.2) == (
        False,
        "took the request and did not answer within 0.2 s",
    )


def test_a_port_that_cannot_be_asked_has_not_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PhoenixError, match="cannot be reached"):
        h3_b.plain_request("127.0.0.1", port)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_tls_port_that_wants_a_certificate(
    pki: Pki, serve: Serve, newest: ssl.TLSVersion
) -> None:
    """By TLS 1.3 the refusal comes after the handshake."""
    context = pki.server_context()
    context.maximum_version = newest
    port = serve(answering(context, OK))
    assert h3_b.tls_request("127.0.0.1", port)[0]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
def test_a_tls_port_that_takes_everybody(pki: Pki, serve: Serve, version: ssl.TLSVersion) -> None:
    """Whatever its certificate and its version are, and whatever it thinks of the request."""
    context = pki.server_context()
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = context.maximum_version = version
    if version < ssl.TLSVersion.TLSv1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    spoken = "TLSv1.1" if version < ssl.TLSVersion.TLSv1_2 else "TLSv1.3"
    for answer, said in (
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "HTTP/1.1 403 Forbidden"),
        (b"x", "x"),
    ):
        port = serve(answering(context, answer))
        assert h3_b.tls_request("127.0.0.1", port) == (False, f"{spoken}: {said}")


def test_a_tls_port_that_takes_everybody_and_keeps_silent(pki: Pki, serve: Serve) -> None:
    context = pki.server_context()
    context.verify_mode = ssl.CERT_NONE

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            while secured.recv(4096):
                pass

    refused, answer = h3_b.tls_request("127.0.0.1", serve(handle), timeout=0.2)
    assert (refused, answer) == (False, "TLSv1.3: no word within 0.2 s")


def test_a_tls_port_that_takes_everybody_and_takes_its_leave(pki: Pki, serve: Serve) -> None:
    """As a server does that expects another protocol."""
    context = pki.server_context()
    context.verify_mode = ssl.CERT_NONE

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(4096)
            secured.unwrap()

    refused, answer = h3_b.tls_request("127.0.0.1", serve(handle))
    assert (refused, answer) == (False, "TLSv1.3: an orderly end")


def test_a_tls_port_that_speaks_http_2_alone(pki: Pki, serve: Serve) -> None:
    context = pki.server_context()
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    heard: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            heard.append(secured.recv(4096))
            secured.sendall(b"\0\0\0\x04\0\0\0\0\0")

    refused, answer = h3_b.tls_request("127.0.0.1", serve(handle))
    assert (refused, answer) == (False, r"TLSv1.3: \x00\x00\x00\x04\x00\x00\x00\x00\x00")
    assert heard[0].startswith(b"PRI * HTTP/2.0\r\n")


def test_a_port_of_which_nobody_knows_whether_it_speaks_tls(serve: Serve) -> None:
    def handle(connection: socket.socket) -> None:
        while connection.recv(4096):
            pass

    refused, answer = h3_b.tls_request("127.0.0.1", serve(handle), timeout=0.2)
    assert (refused, answer) == (False, "no word in the handshake within 0.2 s")


@pytest.mark.parametrize("answer", [b"HTTP/1.0 400 Bad request\r\n\r\n", b"-ERR unknown\r\n", b""])
def test_a_port_without_tls_takes_nobody_in_tls(serve: Serve, answer: bytes) -> None:
    def handle(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(answer)

    assert h3_b.tls_request("127.0.0.1", serve(handle))[0]


def test_a_tls_port_that_cannot_be_asked_has_not_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PhoenixError, match="cannot be reached"):
        h3_b.tls_request("127.0.0.1", port)


@pytest.mark.skipif(sys.byteorder != "little", reason="as a little machine's kernel prints them")
@pytest.mark.parametrize(
    ("word", "loopback"),
    [("0100007F", True), ("0B00007F", True), ("7F0200C0", False), ("7F00A8C0", False)],
)
def test_only_the_first_byte_makes_a_loopback(tmp_path: Path, word: str, loopback: bool) -> None:
    (tmp_path / "tcp").write_text(f"head\n   0: {word}:2008 00000000:0000 0A\n")
    assert ports.listening(tmp_path) == (set() if loopback else {8200})


def test_listening_ports_are_read_from_the_kernel(tmp_path: Path) -> None:
    head = "  sl  local_address rem_address   st\n"
    (tmp_path / "tcp").write_text(
        head
        + "   0: 00000000:2008 00000000:0000 0A\n"  # 0.0.0.0:8200
        + "   1: 0100007F:2009 00000000:0000 0A\n"  # 127.0.0.1:8201
        + "   2: 0200A8C0:1F90 0100A8C0:C350 01\n"  # an established connection
    )
    (tmp_path / "tcp6").write_text(
        head
        + "   0: 00000000000000000000000000000000:0C1D 00000000000000000000000000000000:0000 0A\n"
        + "   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A\n"
    )
    assert ports.listening(tmp_path) == {8200, 3101}
    assert ports.listening(tmp_path / "nowhere") == set()


def test_a_key_in_memory_is_on_no_disk(pki: Pki) -> None:
    text = (pki.folder / "tls.key").read_text()
    with tls.in_memory(text) as (path,):
        assert Path(path).read_text() == text
        assert Path(path).stat().st_mode & 0o777 == 0o400
        assert str(Path(path).readlink()).startswith("/memfd:")
    identity = tls.Identity("x", (pki.folder / "tls.crt").read_text(), text)
    assert identity.is_text
    tls.client_context(pki.ca, identity)
