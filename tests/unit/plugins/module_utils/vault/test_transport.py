# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP as servers may speak it, from a socket that says exactly what a test tells it to."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.transport import (
    Pool,
    Target,
    TransportError,
    tls_context,
)


class Speaker:
    """Answers each connection's requests with the given pieces of bytes, one list a request."""

    def __init__(self, *conversations: list[list[bytes]]) -> None:
        self.received: list[bytes] = []
        self.hung_up = threading.Event()
        self._conversations = list(conversations)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def target(self) -> Target:
        return Target.from_url(f"http://127.0.0.1:{self._socket.getsockname()[1]}", None)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)

    def _serve(self) -> None:
        for conversation in self._conversations:
            try:
                connection, _peer = self._socket.accept()
            except OSError:
                return
            with connection:
                for answer in conversation:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        part = connection.recv(65536)
                        if not part:
                            break
                        request += part
                    self.received.append(request)
                    for piece in answer:
                        connection.sendall(piece)
            self.hung_up.set()


@contextlib.contextmanager
def speaking(
    *conversations: list[list[bytes]], timeout: float = 5
) -> Iterator[tuple[Pool, Speaker]]:
    speaker = Speaker(*conversations)
    pool = Pool(speaker.target, size=2, timeout=timeout)
    try:
        yield pool, speaker
    finally:
        pool.close()
        speaker.close()


def plain(body: bytes, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, body)


class TestAnswers:
    def test_a_length(self) -> None:
        with speaking([[plain(b'{"a":1}')]]) as (pool, speaker):
            answer = pool.request("GET", "/v1/x", {"X-Vault-Token": "t"})
        assert (answer.status, answer.body) == (200, b'{"a":1}')
        assert speaker.received[0].startswith(b"GET /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X-Vault-Token: t\r\n" in speaker.received[0]

    @settings(max_examples=25)
    @given(body=st.binary(max_size=400), cuts=st.sets(st.integers(1, 700), max_size=8))
    def test_a_length_in_any_pieces(self, body: bytes, cuts: set[int]) -> None:
        whole = plain(body)
        places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
        pieces = [whole[a:b] for a, b in itertools.pairwise(places)]
        with speaking([pieces]) as (pool, _speaker):
            assert pool.request("GET", "/", {}).body == body

    @pytest.mark.parametrize("cut", range(1, 80, 7))
    def test_chunks(self, cut: int) -> None:
        whole = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"5;note=x\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
        )
        with speaking([[whole[:cut], whole[cut:]], [plain(b"next")]]) as (pool, _speaker):
            assert pool.request("GET", "/", {}).body == b"hello world"

    def test_no_content_keeps_the_connection(self) -> None:
        with speaking([[b"HTTP/1.1 204 No Content\r\n\r\n"], [plain(b"2")]]) as (pool, speaker):
            assert pool.request("POST", "/", {}, b"{}").status == 204
            assert pool.request("GET", "/", {}).body == b"2"
        assert b"Content-Length: 2\r\n" in speaker.received[0]

    def test_until_the_end_of_the_stream(self) -> None:
        answer = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nto the end"
        with speaking([[answer]], [[plain(b"new")]]) as (pool, _speaker):
            assert pool.request("GET", "/", {}).body == b"to the end"
            assert pool.request("GET", "/", {}).body == b"new"

    def test_an_interim_answer_is_passed_over(self) -> None:
        with speaking([[b"HTTP/1.1 100 Continue\r\n\r\n" + plain(b"real")]]) as (pool, _speaker):
            assert pool.request("GET", "/", {}).body == b"real"


class TestConnections:
    def test_a_closed_idle_connection_is_replaced_unnoticed(self) -> None:
        with speaking([[plain(b"1")]], [[plain(b"2")]]) as (pool, speaker):
            assert pool.request("GET", "/", {}).body == b"1"
            assert speaker.hung_up.wait(5)
            assert pool.request("POST", "/", {}, b"once").body == b"2"
        assert len(speaker.received) == 2

    def test_connection_close_is_obeyed(self) -> None:
        closing = plain(b"1", b"Connection: close\r\n")
        with speaking([[closing]], [[plain(b"2")]]) as (pool, _speaker):
            pool.request("GET", "/", {})
            assert pool.request("GET", "/", {}).body == b"2"

    @pytest.mark.parametrize(
        "answer",
        [
            [],
            [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"],
            [b"SSH-2.0-OpenSSH_9.9\r\n\r\n"],
            [b"HTTP/1.1 abc\r\n\r\n"],
        ],
    )
    def test_what_breaks_may_have_been_received(self, answer: list[bytes]) -> None:
        with speaking([answer]) as (pool, _speaker), pytest.raises(TransportError) as caught:
            pool.request("GET", "/", {})
        assert caught.value.sent is True

    def test_nobody_there_was_surely_not_received(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        pool = Pool(Target.from_url(f"http://127.0.0.1:{port}", None))
        with pytest.raises(TransportError) as caught:
            pool.request("GET", "/", {})
        assert caught.value.sent is False

    def test_dripping_bytes_do_not_stretch_the_time_limit(self) -> None:
        stop = threading.Event()

        def drip(server: socket.socket) -> None:
            connection, _peer = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not stop.wait(0.1):
                    connection.sendall(b"X: y\r\n")

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=drip, args=(server,))
            thread.start()
            target = Target.from_url(f"http://127.0.0.1:{server.getsockname()[1]}", None)
            with pytest.raises(TransportError, match="time limit"):
                Pool(target, timeout=0.6).request("GET", "/", {})
            stop.set()
            thread.join()

    def test_no_more_connections_than_allowed(self) -> None:
        most, lock, now = [0], threading.Lock(), [0]

        def serve(connection: socket.socket) -> None:
            with connection:
                while connection.recv(65536):
                    with lock:
                        now[0] += 1
                        most[0] = max(most[0], now[0])
                    threading.Event().wait(0.05)
                    with lock:
                        now[0] -= 1
                    connection.sendall(plain(b"x"))

        def accept(server: socket.socket) -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _peer = server.accept()
                    threading.Thread(target=serve, args=(connection,), daemon=True).start()

        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=accept, args=(server,), daemon=True).start()
            target = Target.from_url(f"http://127.0.0.1:{server.getsockname()[1]}", None)
            pool = Pool(target, size=3)
            threads = [
                threading.Thread(target=pool.request, args=("GET", "/", {})) for _n in range(12)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            pool.close()
        assert most[0] == 3


class TestInput:
    @pytest.mark.parametrize(
        "url",
        [
            "vault:8200",
            "ftp://vault",
            "https://",
            "https://v:port",
            "https://user:pw@vault",
            "https://vault/?x=1",
            "",
        ],
    )
    def test_what_is_no_address_is_refused(self, url: str) -> None:
        with pytest.raises(PhoenixError):
            Target.from_url(url, None)

    def test_default_ports_and_prefix(self) -> None:
        assert Target.from_url("https://vault.example.com", None).port == 443
        target = Target.from_url("http://proxy/vault/", None)
        assert (target.port, target.prefix) == (80, "/vault")

    def test_a_line_break_cannot_become_a_header(self) -> None:
        pool = Pool(Target.from_url("http://127.0.0.1:9", None))
        with pytest.raises(PhoenixError, match="line break"):
            pool.request("GET", "/", {"X-Vault-Token": "t\r\nX-Other: y"})

    def test_what_is_no_certificate_is_refused_without_showing_it(self) -> None:
        with pytest.raises(PhoenixError) as caught:
            tls_context(cert_text="nonsense", key_text="secret-key-material")
        assert "secret-key-material" not in str(caught.value)
        with pytest.raises(PhoenixError, match="CA"):
            tls_context(ca_file="/nonexistent/ca.crt")
