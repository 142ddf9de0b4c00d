# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the modules that need a whole host, as a reader copies them.

Before each, the host gets a reason for the module to do something; afterwards it is as it was.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import DISRUPTIVE, ROOT, SLICE

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from fixtures.examples import IN_AN_ESTATE, does_what_it_says, examples, in_place, play, stages

pytestmark = [pytest.mark.drill, pytest.mark.slow]

ON_THE_ESTATE = ["units_bulk", "tls_reload", "secret_zero", "attest"]
MODULES = [*ON_THE_ESTATE, "vault_upgrade"]

# Of the server that is upgraded: another one than the estate's, beside it.
PORT = 8300
COMPOSE = """\
services:
  vault:
    image: {{ vault_image }}
    user: "10001:10001"
    cap_drop: [ALL]
    command: [server, -config=/config]
    ports: ["127.0.0.1:%d:8200"]
    environment:
      BAO_ADDR: https://127.0.0.1:8200
      BAO_CACERT: /tls/current/ca.crt
    volumes:
      - /opt/vault/config:/config:ro
      - /opt/vault/data:/bao/data
      - /opt/tamshai/certs/vault:/tls:ro
    healthcheck:
      test: [CMD-SHELL, "bao status >/dev/null; [ $$? -ne 1 ]"]
      start_period: 30s
      start_interval: 200ms
"""
SERVER = """\
api_addr     = "https://127.0.0.1:8200"
cluster_addr = "https://127.0.0.1:8201"
listener "tcp" {
  address         = "0.0.0.0:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/tls/current/tls.crt"
  tls_key_file    = "/tls/current/tls.key"
}
storage "raft" {
  path                   = "/bao/data"
  node_id                = "n1"
  performance_multiplier = 1
}
"""
POLICY = 'path "*" { capabilities = ["create", "read", "update", "list", "sudo"] }'

# A new certificate for one service, which has not been told of it yet.
RENEWAL = """
- name: Renew
  module_defaults:
    tamshai.phoenix.pki_cert:
      certificates: "{{ estate_model.certificates | selectattr('name', 'eq', 'mcp-hr') }}"
      root_certificate: "{{ lookup('ansible.builtin.file', operator_dir ~ '/ca.crt') }}"
  block:
    - tamshai.phoenix.pki_cert:
        state: requested
        renew: true
      register: requested
    - tamshai.phoenix.pki_cert:
        state: signed
        state_dir: "{{ phoenix_state_dir }}"
        passphrase: "{{ phoenix_state_passphrase }}"
        host: "{{ inventory_hostname }}"
        requests: "{{ requested.requests }}"
      delegate_to: localhost
      vars:
        ansible_python_interpreter: "{{ ansible_playbook_python }}"
      register: signed
    - tamshai.phoenix.pki_cert:
        state: installed
        bundles: "{{ signed.bundles }}"
        save_command: "{{ __pki_save_command }}"
"""
SETTINGS_OF_PKI = [str(ROOT / "roles" / "pki" / part / "main.yml") for part in ("defaults", "vars")]


def plain(module: str, name: str) -> dict[str, Any]:
    """An example's task as it is, by the beginning of its name."""
    return next(task for task in examples(module) if task["name"].startswith(name))


class World:
    """A finished estate, and what the examples take for granted."""

    def __init__(self, estate: Any, folder: Path) -> None:
        self.estate, self.folder = estate, folder
        references = json.loads((ROOT / "build" / "images" / "references.json").read_text())
        self.old, self.new = references["openbao-previous"], references["openbao"]
        folder.mkdir()
        (folder / "compose.yaml.j2").write_text(COMPOSE % PORT)

    # The estate's own.

    def disturb(self) -> None:
        """What units_bulk and secret_zero then put right."""
        self.estate.sh(
            "systemctl disable --now --quiet fail2ban; systemctl enable --quiet nftables;"
            " systemctl stop tamshai-agent@mcp-hr"
        )

    @property
    def on_the_estate(self) -> dict[str, Any]:
        before = {
            "tls_reload": yaml.safe_load(RENEWAL),
            "attest": [plain("vault_login", "Log in as the operator")],
        }
        tasks: list[dict[str, Any]] = []
        for module in ON_THE_ESTATE:
            tasks += before.get(module, [])
            for task in examples(module):
                tasks += stages(module, task, {})
        return {
            "hosts": "phoenix",
            "gather_facts": False,
            "roles": ["tamshai.phoenix.estate"],
            "vars": {"operator_dir": "{{ phoenix_state_dir }}/operator"},
            "vars_files": SETTINGS_OF_PKI,
            "tasks": tasks,
        }

    # Beside it.

    def old_server(self) -> dict[str, str]:
        """One of the version before, open; its share and a token that is not root's."""
        sh = self.estate.sh
        compose = (COMPOSE % PORT).replace("{{ vault_image }}", self.old)
        sh("install -d /opt/vault/config; install -d -o 10001 -g 10001 -m 0700 /opt/vault/data")
        sh("cat > /opt/vault/config/server.hcl", SERVER)
        sh("cat > /opt/vault/compose.yaml", compose)
        sh("cd /opt/vault; docker compose up --detach --wait --quiet-pull 2>&1")
        client = textwrap.dedent(f"""
            export BAO_ADDR=https://127.0.0.1:{PORT} BAO_FORMAT=json
            export BAO_CACERT=/opt/tamshai/certs/host/current/ca.crt
            bao=/opt/tamshai/bin/bao
        """)
        made = json.loads(sh(f"{client} $bao operator init -key-shares=1 -key-threshold=1"))
        share = made["unseal_keys_hex"][0]
        script = (
            f"{client} read -r BAO_TOKEN; export BAO_TOKEN; read -r share;"
            " printf %s $share | $bao write sys/unseal key=- >/dev/null; timeout 20"
            " sh -c 'until $0 status | grep -q is_self.*true; do sleep 0.1; done' $bao;"
            " $bao secrets enable -version=2 kv >/dev/null; $bao kv put kv/one of=one >/dev/null;"
            f" echo '{POLICY}' | $bao policy write operator - >/dev/null;"
            " $bao token create -orphan -policy=operator"
        )
        token = json.loads(sh(script, f"{made['root_token']}\n{share}\n"))["auth"]["client_token"]
        return {"share": share, "token": token}

    def no_server(self) -> None:
        self.estate.sh(
            "[ ! -d /opt/vault ] || { cd /opt/vault; docker compose down 2>&1; rm -r /opt/vault; };"
            f" ! docker image inspect {self.old} >/dev/null 2>&1 || docker rmi {self.old}"
        )

    def upgrade(self, made: dict[str, str]) -> dict[str, Any]:
        """Forward and back, and forward again as far as the proof."""
        ca = "/opt/tamshai/certs/host/current/ca.crt"
        places = {
            "https://127.0.0.1:8200": f"https://127.0.0.1:{PORT}",
            "/etc/ssl/vault-ca.crt": ca,
            "compose.yaml.j2": str(self.folder / "compose.yaml.j2"),
        }
        every = {task["name"].split()[0]: task for task in examples("vault_upgrade")}
        assert list(every) == ["See", "Leave", "Declare", "Run", "Open", "Prove", "Put"]

        def staged(*names: str) -> list[dict[str, Any]]:
            tasks: list[dict[str, Any]] = []
            for name in names:
                tasks += stages("vault_upgrade", in_place(every[name], places), {})
            return tasks

        def plainly(*names: str) -> list[dict[str, Any]]:
            return [in_place(every[name], places) for name in names]

        return {
            "hosts": "phoenix",
            "gather_facts": False,
            "vars": {
                "vault_image": self.new,
                "unseal_shares": [made["share"]],
                "login": {"token": made["token"]},
            },
            "tasks": [
                *staged("See", "Leave", "Declare", "Run", "Put"),
                *plainly("Run", "Open", "Prove"),
                *plainly("Leave", "Declare", "Run"),
                *staged("Open", "Prove"),
            ],
        }


@pytest.fixture(scope="module")
def world(estate: Any) -> Iterator[World]:
    made = World(estate, estate.folder / "run-examples")
    made.no_server()
    made.disturb()
    yield made
    made.no_server()


@pytest.fixture(scope="module")
def results(world: World) -> dict[str, Any]:
    inventory = str(world.estate.state / "inventory")
    with ThreadPoolExecutor() as side_by_side:
        beside = side_by_side.submit(
            lambda: play(world.folder / "beside", world.upgrade(world.old_server()), inventory)
        )
        own = side_by_side.submit(play, world.folder / "own", world.on_the_estate, inventory)
        return own.result() | beside.result()


PLAYED = [(module, task["name"]) for module in MODULES for task in examples(module)]


@pytest.mark.parametrize(("module", "name"), PLAYED)
def test_an_example_does_what_it_says(results: dict[str, Any], module: str, name: str) -> None:
    does_what_it_says(results, module, name)


def test_every_example_that_needs_a_host_is_played() -> None:
    assert set(MODULES) == IN_AN_ESTATE


def test_each_had_something_to_do(results: dict[str, Any]) -> None:
    def ran(module: str, name: str) -> dict[str, Any]:
        task = plain(module, name)
        return dict(results[f"{module}: {task['name']} (run)"])

    idle = {name for module, name in PLAYED if not ran(module, name)["changed"]}
    assert idle == {
        "Make all proofs that disturb nobody",
        "Look again at one of them",
        "See what an upgrade would take",
    }
    changed = {change["name"]: change["action"] for change in ran("units_bulk", "Run")["changes"]}
    assert changed == {"fail2ban.service": "update", "nftables.service": "update"}
    assert ran("tls_reload", "Have")["proven"] == ["mcp-hr"]
    spent = ran("secret_zero", "See")["proofs"]
    assert [(p["service"], p["accessor_gone"], p["refused"]) for p in spent] == [
        ("mcp-hr", True, True)
    ]


def test_the_proofs_of_the_example_are_those_of_the_role(results: dict[str, Any]) -> None:
    every, one = (results[f"attest: {task['name']} (run)"] for task in examples("attest"))
    assert {p["id"]: p["reason"] for p in every["proofs"] if p["status"] == "fail"} == {}
    assert {p["id"] for p in every["proofs"] if p["status"] == "pass"} == SLICE - DISRUPTIVE
    assert [p["id"] for p in one["proofs"] if p["status"] == "pass"] == ["H1.c"]


def test_the_upgrade_was_one_and_went_back_before(world: World, results: dict[str, Any]) -> None:
    left = results["vault_upgrade: Leave the old server, with everything kept (run)"]
    assert (left["before"]["image"], left["after"]["image"]) == (world.old, world.new)
    assert left["before"]["version"] != left["after"]["version"]
    name = "Prove that it holds what the old one held"
    # First of the old server, which it has to be after the way back, and then of the new one.
    for proven in (results[name], results[f"vault_upgrade: {name} (run)"]):
        assert proven["compared"] >= 4
    assert world.estate.sh("docker inspect -f '{{.Config.Image}}' vault-vault-1") == world.new


def test_the_estate_is_as_it_was(world: World, results: dict[str, Any]) -> None:
    made = world.estate.phoenix("--tags", "host,trust,services", "--skip-tags", "verify")
    assert made.changed == 0, made.output[-4000:]
