# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Consumers take up new bundles, proven by real handshakes; those that do not get the old back."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.ports import free_port

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.consumer import (
    client_context,
    served_serial,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Lifetime,
    parse_all,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints
from ansible_collections.tamshai.phoenix.plugins.modules import tls_reload

FIXTURES = Path(__file__).parent / "fixtures"
LIFETIME = Lifetime.parse("90d", None)


class Estate:
    """An authority, bundles for two services and the host, and the servers that use them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.new_root("ca")
        self.tree = Tree(place / "certs")
        self.tree.root.mkdir()
        self.certificates = [
            {
                "name": name,
                "service": None if name == "host" else name.partition(".")[0],
                "common_name": name.rpartition(".")[2],
                "dns": [] if "." in name else [f"{name}.estate.test"],
                "usages": ["client"] if "." in name else ["server", "client"],
                "reload": "none" if name == "host" else "signal",
            }
            for name in ("api", "api.login", "db", "host")
        ]
        self.services = [
            {"name": name, "fqdn": f"{name}.estate.test", "port": free_port(), "kind": kind}
            for name, kind in (("api", "application"), ("db", "postgresql"))
        ]
        self.declared = parse_all(self.certificates)
        self.state = place / "docker.json"
        self.processes: dict[str, Any] = {}
        self.copy = place / "copy"
        self.store = [
            sys.executable,
            *map(str, (FIXTURES / "fake_store.py", self.tree.root, self.copy)),
        ]
        self.issue()

    def new_root(self, name: str) -> None:
        self.authority = Authority(self.place / name, b"correct horse battery staple")
        constraints = Constraints.parse(["estate.test"], ["127.0.0.1/32"], ["estate.test"])
        settings = flow.AuthoritySettings(
            "estate", constraints, 10**8, Lifetime.parse("1000d", None), 10**6
        )
        flow.ensure_authority(self.authority, settings, datetime.now(UTC), Plan())

    def issue(self, *names: str) -> None:
        """New bundles, all of them or those named."""
        chosen = {n: d for n, d in self.declared.items() if not names or n in names}
        now = datetime.now(UTC)
        root = self.authority.certificate("root")
        _unused, requests = flow.request(self.tree, chosen, root, now, LIFETIME, Plan(), renew=True)
        bundles = flow.sign(self.authority, requests, chosen, now, LIFETIME, Plan())
        flow.install(self.tree, bundles, chosen, now, Plan())

    def start(self, name: str, *options: str) -> None:
        entry = next(s for s in self.services if s["name"] == name)
        if entry["kind"] == "postgresql":
            options = (*options, "--postgresql")
        bundle = self.tree.current(self.declared[name])
        script = str(FIXTURES / "tls_server.py")
        command = [sys.executable, script, str(bundle), str(entry["port"]), *options]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.processes[name] = {"pid": process.pid, "command": command}
        self.state.write_text(json.dumps(self.processes), "utf-8")

    def stop(self) -> None:
        if self.state.exists():
            for process in json.loads(self.state.read_text("utf-8")).values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process["pid"], signal.SIGKILL)

    def serial(self, name: str) -> str:
        return str(self.tree.current_serial(self.declared[name]))

    def served(self, name: str) -> str:
        entry = next(s for s in self.services if s["name"] == name)
        own = self.tree.current(self.declared["host"])
        context = client_context(own / "ca.crt", own)
        return served_serial(
            "127.0.0.1",
            int(str(entry["port"])),
            str(entry["fqdn"]),
            context,
            postgresql=entry["kind"] == "postgresql",
        )

    def calls(self) -> list[str]:
        log = self.state.with_suffix(".log")
        words = log.read_text("utf-8").splitlines() if log.exists() else []
        return [line for line in words if line.split()[0] not in ("ps", "inspect")]

    def reload(self, *, check: bool = False, **more: Any) -> dict[str, Any]:
        options = {
            "certs_dir": str(self.tree.root),
            "certificates": self.certificates,
            "services": self.services,
            "project": "estate",
            "docker": [sys.executable, str(FIXTURES / "fake_docker.py")],
            "timeout": 2,
            **more,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        output = io.StringIO()
        with (
            patch_module_args(options),
            contextlib.redirect_stdout(output),
            pytest.raises(SystemExit),
        ):
            tls_reload.main()
        result: dict[str, Any] = json.loads(output.getvalue())
        return result


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Estate]:
    made = Estate(tmp_path)
    monkeypatch.setenv("FAKE_DOCKER_STATE", str(made.state))
    yield made
    made.stop()


def test_both_kinds_of_servers_serve_the_new_serial(estate: Estate) -> None:
    estate.start("api")
    estate.start("db")
    old = {name: estate.served(name) for name in ("api", "db")}
    assert old == {name: estate.serial(name) for name in ("api", "db")}
    estate.issue()
    predicted = estate.reload(check=True)
    assert predicted["changed"]
    assert {name: estate.served(name) for name in ("api", "db")} == old, "check mode tells nobody"
    result = estate.reload()
    assert result["changes"] == predicted["changes"]
    assert sorted(result["proven"]) == ["api", "db"]
    for name in ("api", "db"):
        assert estate.served(name) == estate.serial(name) != old[name]
    assert estate.calls() == [], "the engine's kill would cancel the restart policy"
    again = estate.reload()
    assert (again["changed"], again["proven"]) == (False, [])


def test_a_deaf_server_gets_the_old_bundle_back(estate: Estate) -> None:
    older = estate.serial("api")
    estate.issue()
    estate.tree.clear_pending(estate.declared)
    estate.start("api", "--deaf")
    estate.start("db")
    old = estate.serial("api")
    # Which version a reboot restores last is a matter of chance.
    versions = estate.tree.base(estate.declared["api"]) / "versions"
    os.utime(versions / old, (0, 0))
    estate.issue()
    assert not (versions / older).exists()
    subprocess.run([*estate.store, "save"], check=True)
    result = estate.reload(save_command=estate.store)
    assert result["failed"]
    assert "waited 2 s for api to serve certificate" in result["msg"]
    assert f"serves {old}" in result["msg"]
    assert "the bundle from before is served again" in result["msg"]
    assert (result["failed_services"], result["proven"]) == (["api"], ["db"])
    assert estate.serial("api") == estate.served("api") == old
    assert f"api/current versions/{old}\n" in estate.copy.read_text(), "a reboot keeps it"
    assert estate.served("db") == estate.serial("db")
    assert not estate.reload()["changed"]


def test_a_copy_that_does_not_follow_is_named(estate: Estate, tmp_path: Path) -> None:
    estate.start("api", "--deaf")
    estate.issue("api")
    store = [*estate.store[:-1], str(tmp_path / "absent" / "copy")]
    result = estate.reload(timeout=0, save_command=store)
    assert "the bundle from before is served again" in result["msg"]
    words = "the encrypted copy of the bundles is not saved: No such file or directory"
    assert words in result["msg"]
    estate.issue("api")
    result = estate.reload(timeout=0, save_command=[str(tmp_path / "absent" / "program")])
    assert "the bundle from before is served again" in result["msg"]
    assert "the encrypted copy of the bundles cannot be checked" in result["msg"]


def test_a_copy_is_none_of_the_business_of_one_that_goes_well(estate: Estate) -> None:
    estate.start("api")
    estate.issue("api")
    assert estate.reload(save_command=estate.store)["proven"] == ["api"]
    assert not estate.copy.exists()


def test_without_a_legible_mark_there_is_nothing_to_go_back_to(estate: Estate) -> None:
    estate.start("api", "--deaf")
    estate.issue("api")
    new = estate.serial("api")
    (estate.tree.pending_marks / "api").write_text("{")
    assert "the bundle from before is gone" in estate.reload(timeout=0)["msg"]
    assert estate.serial("api") == new


def test_a_server_that_died_is_named(estate: Estate) -> None:
    estate.start("api")
    estate.issue("api")
    os.kill(estate.processes["api"]["pid"], signal.SIGSTOP)
    result = estate.reload(timeout=1)
    os.kill(estate.processes["api"]["pid"], signal.SIGCONT)
    assert result["failed"]
    assert "with the bundle from before" in result["msg"]
    assert list(estate.tree.pending()) == ["api"], "the next run tries again"
    assert estate.reload()["proven"] == ["api"]


def test_a_restart_where_a_signal_is_not_enough(estate: Estate) -> None:
    estate.start("api", "--deaf")
    estate.services[0]["reload"] = "restart"
    estate.issue("api")
    assert estate.reload(timeout=10)["proven"] == ["api"]
    assert estate.calls() == ["restart api"]
    assert estate.served("api") == estate.serial("api")


def test_a_new_root_is_taken_up(estate: Estate) -> None:
    estate.start("api")
    estate.new_root("other")
    estate.issue()
    assert estate.reload()["proven"] == ["api"]
    assert estate.served("api") == estate.serial("api")


def test_a_deaf_server_gets_the_bundle_of_its_old_root_back(estate: Estate) -> None:
    estate.start("api", "--deaf")
    old = estate.serial("api")
    estate.new_root("other")
    estate.issue()
    assert "the bundle from before is served again" in estate.reload()["msg"]
    assert estate.serial("api") == old


def test_a_new_client_certificate_is_told_not_proven(estate: Estate) -> None:
    estate.start("api")
    estate.issue("api.login")
    result = estate.reload()
    assert (result["told"], result["proven"]) == (["api"], [])
    assert estate.tree.pending() == {}


def test_who_does_not_run_reads_it_at_its_start(estate: Estate) -> None:
    estate.start("db")
    estate.issue("api")
    result = estate.reload()
    assert not result["changed"]
    assert estate.tree.pending() == {}
    assert estate.calls() == []


def test_no_docker_no_containers(estate: Estate, tmp_path: Path) -> None:
    estate.issue("api")
    assert not estate.reload(docker=[str(tmp_path / "absent")])["changed"]


def test_a_failing_docker_is_an_error(estate: Estate) -> None:
    estate.issue("api")
    result = estate.reload(docker=["false"])
    assert "docker ps failed" in result["msg"]
    assert list(estate.tree.pending()) == ["api"]


def test_a_killed_run_is_finished_by_the_next(estate: Estate) -> None:
    """Swapped, and nobody told: what a run that dies after the swap leaves."""
    estate.start("api")
    old = estate.served("api")
    estate.issue("api")
    assert estate.served("api") == old
    assert estate.reload()["proven"] == ["api"]
    assert estate.served("api") != old


@pytest.mark.parametrize(
    "damage", [lambda s: s.pop("port"), lambda s: s.update(port="x"), lambda s: s.pop("fqdn")]
)
def test_a_service_without_an_address_is_an_error(
    estate: Estate, damage: Callable[[Any], Any]
) -> None:
    damage(estate.services[0])
    assert "a service lacks a usable" in estate.reload()["msg"]


def test_no_private_key_is_shown(estate: Estate) -> None:
    estate.start("api", "--deaf")
    estate.issue()
    shown = json.dumps(estate.reload())
    for name in ("api", "host"):
        pem = (estate.tree.current(estate.declared[name]) / "tls.key").read_text()
        assert pem.splitlines()[1] not in shown
