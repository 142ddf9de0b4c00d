# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""mcp-hr and mcp-gateway as they run in the estate: real TLS, real PostgreSQL, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.ports import free_port
from fixtures.reference_services import (
    DOMAIN,
    HOSTILE,
    SCHEMA,
    Authority,
    Postgres,
    ServiceProcess,
    call_tool,
    eventually,
    postgres,
    request,
    spiffe,
)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs servers as accounts of their own")
LOGIN = "tamshai_app"


class World:
    """Everything that one test module shares."""

    def __init__(self, folder: Path, database: Postgres, authority: Authority) -> None:
        self.folder = folder
        self.database = database
        self.authority = authority
        self.password = HOSTILE
        self.gateway_bundle = self.client("mcp-gateway", spiffe("service/mcp-gateway"))
        self.operator = self.client("operator", spiffe("operator/admin"))
        self.stranger = self.client("stranger", spiffe("service/mcp-finance"))
        self.hr = self._service("mcp-hr", (spiffe("service/mcp-gateway"),))
        login = authority.bundle(
            self.hr.folder / "clients" / LOGIN,
            LOGIN,
            uris=(spiffe(f"service/mcp-hr/login/{LOGIN}"),),
        )
        self.hr.environment = {
            "POSTGRES_HOST": "localhost",
            "POSTGRES_PORT": str(database.port),
            "POSTGRES_DB": "postgres",
            "POSTGRES_SSL": "require",
            "POSTGRES_SSL_CA": f"{login}/current/ca.crt",
            "POSTGRES_SSL_CERT": f"{login}/current/tls.crt",
            "POSTGRES_SSL_KEY": f"{login}/current/tls.key",
            "POSTGRES_SSL_REJECT_UNAUTHORIZED": "true",
        }
        self.gateway = self._service("mcp-gateway", (spiffe("operator/admin"),))
        self.gateway.environment = {"MCP_HR_URL": f"https://localhost:{self.hr.port}"}

    def _service(self, name: str, callers: tuple[str, ...]) -> ServiceProcess:
        folder = self.folder / name
        folder.mkdir()
        service = ServiceProcess(name, free_port(), folder, self.authority, callers=callers)
        service.new_certificate()
        return service

    def client(self, name: str, *uris: str, authority: Authority | None = None) -> Path:
        return (authority or self.authority).bundle(
            self.folder / "clients" / name, name, uris=uris, ca=self.authority.pem
        )

    def give_hr_secrets(self) -> None:
        self.hr.give_secrets(
            POSTGRES_USER=LOGIN, POSTGRES_PASSWORD=self.password, CANARY="canary-4711-hr"
        )

    def set_password(self, value: str) -> None:
        self.password = value
        literal = "'" + value.replace("'", "''") + "'"
        self.database.sql(f"ALTER ROLE {LOGIN} PASSWORD {literal};")

    def reload(self) -> None:
        """Hang up on mcp-hr, and see that it has taken up all that is new and let go of the old."""
        done = self.hr.log.count("secrets reloaded")
        self.hr.hangup()
        eventually(lambda: self.hr.log.count("secrets reloaded") > done, "reload")

    def healthy(self, service: ServiceProcess) -> None:
        bundle = service.folder / "tls"
        eventually(
            lambda: request(service.port, bundle).status == 200, f"{service.name} healthy", 25
        )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not pytest's own directory: PostgreSQL's account could not pass through it.
    made = Path(tempfile.mkdtemp(prefix="tamshai-services-"))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def world(folder: Path) -> Iterator[World]:
    authority = Authority()
    with postgres(folder / "postgres", authority) as database:
        made = World(folder, database, authority)
        literal = "'" + HOSTILE.replace("'", "''") + "'"
        database.sql(SCHEMA.format(login=LOGIN, password=literal))
        started = [made.hr, made.gateway]
        made.give_hr_secrets()
        made.gateway.give_secrets(CLAUDE_API_KEY=f"key {HOSTILE}", CANARY="canary-4711-gw")
        for service in started:
            service.start()
        try:
            for service in started:
                service.listening()
                made.healthy(service)
            yield made
        finally:
            for service in started:
                if service.process is not None and service.process.poll() is None:
                    service.stop()


def names(rows: list[dict[str, object]]) -> list[object]:
    return [row["user_id"] for row in rows]


@pytest.mark.parametrize(
    ("user", "roles", "seen"),
    [
        ("alice", "", ["alice"]),
        ("mona", "", ["mona", "alice"]),
        ("alice", "hr-read", ["eve", "mona", "alice", "bob"]),
        ("nobody", "", []),
    ],
)
def test_user_sees_the_rows_that_row_level_security_grants(
    world: World, user: str, roles: str, seen: list[str]
) -> None:
    direct = call_tool(world.hr.port, world.gateway_bundle, "list_employees", {}, user, roles)
    through = call_tool(world.gateway.port, world.operator, "hr_list_employees", {}, user, roles)
    assert names(direct) == names(through) == seen


def test_settings_of_one_user_do_not_reach_the_next(world: World) -> None:
    for _attempt in range(6):  # more often than the pool has connections
        everyone = call_tool(world.hr.port, world.gateway_bundle, "whoami", {}, "eve", "hr-read")
        alone = call_tool(world.hr.port, world.gateway_bundle, "whoami", {}, "alice")
        assert (everyone["visible_employees"], alone["visible_employees"]) == (4, 1)


def test_request_without_user_is_refused(world: World) -> None:
    for found in (
        call_tool(world.hr.port, world.gateway_bundle, "whoami", {}),
        call_tool(world.gateway.port, world.operator, "hr_whoami", {}),
    ):
        assert found[0].endswith("the request has no x-tamshai-user-id")


def test_invisible_employee_does_not_exist(world: World) -> None:
    port, bundle = world.hr.port, world.gateway_bundle
    row = call_tool(port, bundle, "get_employee", {"employee_id": 3}, "alice")
    assert row["email"] == "alice@example.com"
    (text,) = call_tool(port, bundle, "get_employee", {"employee_id": 4}, "alice")
    assert text.endswith("there is no employee 4")


def test_gateway_lists_the_tools_of_its_upstreams(world: World) -> None:
    payload = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    answer = request(
        world.gateway.port,
        world.operator,
        "/mcp",
        payload=payload,
        headers={"X-Tamshai-User-Id": "alice"},
    )
    found = {tool["name"] for tool in answer.body["result"]["tools"]}
    assert found == {"hr_whoami", "hr_list_employees", "hr_get_employee"}


@pytest.mark.parametrize("path", ["/health", "/mcp"])
def test_undeclared_caller_is_refused(world: World, path: str) -> None:
    answer = request(world.hr.port, world.stranger, path, payload=None)
    assert answer.status == 403


def test_own_certificate_opens_health_and_nothing_else(world: World) -> None:
    own = world.hr.folder / "tls"
    assert request(world.hr.port, own).status == 200
    assert request(world.hr.port, own, "/mcp", payload={}).status == 403


def test_certificates_that_are_no_identity(world: World) -> None:
    both = world.client("both", spiffe("service/mcp-gateway"), spiffe("service/mcp-finance"))
    login = world.client("login", spiffe(f"service/mcp-gateway/login/{LOGIN}"))
    none = world.client("none")
    for bundle in (both, login, none):
        assert request(world.hr.port, bundle).status == 403


def test_no_or_foreign_certificate_ends_in_the_handshake(world: World) -> None:
    foreign = world.client(
        "foreign", spiffe("service/mcp-gateway"), authority=Authority("somebody else")
    )
    ca = world.operator / "current/ca.crt"
    for bundle in (None, foreign):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            request(world.hr.port, bundle, ca=ca)


def test_plain_http_is_refused(world: World) -> None:
    for service in (world.hr, world.gateway):
        with socket.create_connection(("127.0.0.1", service.port), 5) as link:
            link.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            link.settimeout(5)
            with contextlib.suppress(ConnectionResetError):
                assert b"HTTP/" not in link.recv(1000)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(world: World) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(world.operator / "current/ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with (
        socket.create_connection(("127.0.0.1", world.hr.port), 5) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(raw, server_hostname="localhost")


def test_healthcheck_of_the_container(world: World) -> None:
    done = world.hr.healthcheck()
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.split(" ", 1)[1])["checks"] == {"database": "ok"}


def test_new_certificate_is_served_after_a_hangup(world: World) -> None:
    before = request(world.hr.port, world.gateway_bundle).certificate
    world.hr.new_certificate()
    assert request(world.hr.port, world.gateway_bundle).certificate == before
    world.reload()
    assert request(world.hr.port, world.gateway_bundle).certificate != before


def test_pair_that_does_not_match_keeps_the_old_one(world: World) -> None:
    before = request(world.hr.port, world.gateway_bundle).certificate
    current = (world.hr.folder / "tls/current").resolve()
    world.hr.new_certificate()
    shutil.copy(current / "tls.key", world.hr.folder / "tls/current/tls.key")
    world.reload()
    assert [e for e in world.hr.events if e["message"].startswith("certificate kept")]
    assert request(world.hr.port, world.gateway_bundle).certificate == before
    world.hr.new_certificate()
    world.reload()
    assert request(world.hr.port, world.gateway_bundle).certificate != before


def test_authority_is_taken_up_and_dropped_by_hangup(world: World) -> None:
    other = Authority("next root")
    caller = world.client("from-next", spiffe("service/mcp-gateway"), authority=other)

    def admitted() -> bool:
        try:
            return request(world.hr.port, caller).status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    assert not admitted()
    world.hr.new_certificate(ca=world.authority.pem + other.pem)
    world.reload()
    assert admitted()
    world.hr.new_certificate()
    world.reload()
    assert not admitted()


def test_changed_password_is_taken_up_without_a_failed_request(world: World) -> None:
    port, bundle = world.hr.port, world.gateway_bundle
    # A connection that was opened before the password changes.
    assert names(call_tool(port, bundle, "list_employees", {}, "alice")) == ["alice"]
    world.set_password("another " + HOSTILE)
    assert names(call_tool(port, bundle, "list_employees", {}, "alice")) == ["alice"]
    world.give_hr_secrets()
    world.reload()
    for _attempt in range(10):
        assert names(call_tool(port, bundle, "list_employees", {}, "alice")) == ["alice"]
    world.healthy(world.hr)


def test_renewals_under_load_fail_no_request(world: World) -> None:
    """Certificate and password change five times while three callers ask without a pause."""
    stop = threading.Event()
    asked: list[int] = []
    failed: list[str] = []

    def ask(through_gateway: bool) -> None:
        port, bundle, prefix = (
            (world.gateway.port, world.operator, "hr_")
            if through_gateway
            else (world.hr.port, world.gateway_bundle, "")
        )
        while not stop.is_set():
            try:
                rows = call_tool(port, bundle, f"{prefix}list_employees", {}, "alice")
                if names(rows) != ["alice"]:
                    failed.append(repr(rows))
            except Exception as error:  # noqa: BLE001 - whatever it is, a request has failed
                failed.append(repr(error))
            asked.append(1)

    callers = [threading.Thread(target=ask, args=(way,)) for way in (True, True, False)]
    for caller in callers:
        caller.start()
    try:
        for number in range(5):
            world.hr.new_certificate()
            world.set_password(f"password {number} {HOSTILE}")
            world.give_hr_secrets()
            world.reload()
            time.sleep(0.3)
    finally:
        stop.set()
        for caller in callers:
            caller.join(30)
    assert failed == []
    assert len(asked) > 10


def test_login_that_takes_turns_comes_with_its_own_certificate(world: World) -> None:
    second = f"{LOGIN}_b"
    port, bundle = world.hr.port, world.gateway_bundle
    world.database.sql(
        f"CREATE ROLE {second} LOGIN PASSWORD 'of the second';"
        f"GRANT {LOGIN} TO {second} WITH INHERIT TRUE, SET FALSE"
    )
    client = world.authority.bundle(world.hr.folder / "clients" / second, second) / "current"

    def use(**secrets: str) -> None:
        world.hr.give_secrets(**secrets)
        world.reload()
        for _attempt in range(5):
            assert names(call_tool(port, bundle, "list_employees", {}, "alice")) == ["alice"]

    use(
        POSTGRES_USER=second,
        POSTGRES_PASSWORD="of the second",
        POSTGRES_SSL_CERT=f"{client}/tls.crt",
        POSTGRES_SSL_KEY=f"{client}/tls.key",
    )
    # The first one's password is replaced, and nobody notices.
    world.set_password("rotated while nobody uses it")
    assert names(call_tool(port, bundle, "list_employees", {}, "alice")) == ["alice"]
    world.healthy(world.hr)
    use(POSTGRES_USER=LOGIN, POSTGRES_PASSWORD=world.password)
    world.healthy(world.hr)


def test_health_is_the_truth_about_the_login(world: World) -> None:
    world.set_password("nobody told the service")
    answer = eventually(
        lambda: (a := request(world.hr.port, world.gateway_bundle)).status == 503 and a, "503", 10
    )
    assert "password authentication failed" in answer.body["checks"]["database"]
    assert world.hr.healthcheck().returncode == 1
    world.give_hr_secrets()
    world.reload()
    world.healthy(world.hr)


def test_database_that_comes_back_is_used_again(world: World) -> None:
    port, bundle = world.hr.port, world.gateway_bundle
    world.database.stop()
    for found in (
        call_tool(port, bundle, "list_employees", {}, "alice"),
        call_tool(world.gateway.port, world.operator, "hr_list_employees", {}, "alice"),
    ):
        assert found[0].endswith("the database is not available")
    assert request(world.gateway.port, world.operator).status == 200
    world.database.start()
    eventually(
        lambda: isinstance(call_tool(port, bundle, "list_employees", {}, "alice"), list),
        "the pool reconnects",
    )


def test_gateway_says_that_an_upstream_is_away(world: World) -> None:
    world.hr.stop()
    (text,) = call_tool(world.gateway.port, world.operator, "hr_whoami", {}, "alice")
    assert text == "hr is not available"
    world.hr.start()
    world.hr.listening()
    world.healthy(world.hr)
    found = call_tool(world.gateway.port, world.operator, "hr_whoami", {}, "alice")
    assert found["user_id"] == "alice"


def test_service_waits_for_its_secrets_and_answers_503_meanwhile(world: World) -> None:
    world.hr.stop()
    world.hr.secrets_file.unlink()
    world.hr.start()
    world.hr.listening()
    answer = request(world.hr.port, world.gateway_bundle)
    assert (answer.status, answer.body["status"]) == (503, "unavailable")
    assert "not there yet" in answer.body["checks"]["secrets"]
    assert request(world.hr.port, world.gateway_bundle, "/mcp", payload={}).status == 503
    world.hr.hangup()  # must not hurt
    world.hr.secrets_file.write_text("{half a docu")
    eventually(
        lambda: (
            "not valid JSON"
            in request(world.hr.port, world.gateway_bundle).body["checks"]["secrets"]
        ),
        "reason",
    )
    world.give_hr_secrets()
    world.healthy(world.hr)


def test_service_gives_up_after_its_wait(world: World) -> None:
    folder = world.folder / "impatient"
    folder.mkdir()
    service = ServiceProcess("mcp-gateway", free_port(), folder, world.authority)
    service.environment = {"TAMSHAI_WAIT_SECONDS": "1.5"}
    service.new_certificate()
    service.start()
    assert service.process is not None
    assert service.process.wait(20) == 75
    assert service.events[-1]["message"] == "giving up"
    # Without certificates there is no port at all.
    shutil.rmtree(folder / "tls")
    service.start()
    assert service.process.wait(20) == 75


def test_environment_without_verified_tls_is_refused(world: World) -> None:
    folder = world.folder / "lax"
    folder.mkdir()
    service = ServiceProcess("mcp-hr", free_port(), folder, world.authority)
    service.environment = {"MCP_TLS_REJECT_UNAUTHORIZED": "false", "MCP_HR_URL": "http://x"}
    service.start()
    assert service.process is not None
    assert service.process.wait(20) == 78
    reason = service.events[0]["reason"]
    assert "MCP_TLS_REJECT_UNAUTHORIZED" in reason
    assert "MCP_HR_URL is not https" in reason


def test_logs_are_json_and_hold_no_secret(world: World) -> None:
    for service in (world.hr, world.gateway):
        for entry in service.events:
            assert entry["service"] == service.name
        for secret in (HOSTILE, "canary-4711", "another ", json.dumps(HOSTILE)[1:-1]):
            assert secret not in service.log
        environment = Path(f"/proc/{service.process.pid}/environ").read_text()
        assert "canary-4711" not in environment


def test_service_ends_in_order(world: World) -> None:
    assert world.gateway.stop() == 0
    assert world.hr.stop() == 0
    assert f"{DOMAIN}" in world.hr.env["MCP_SERVER_NAME"]
