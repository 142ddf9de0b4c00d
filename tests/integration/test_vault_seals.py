# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seals of a real server: its own key, a second real server, and the way from one to the other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.bao_dev import DevServer, dev_server
from fixtures.openbao import OpenBao, bao, run_module, running
from fixtures.ports import free_port
from fixtures.reference_services import Authority, eventually

from ansible_collections.tamshai.phoenix.plugins.filter.vault_seal_config import vault_seal_config
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.seals import KINDS
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_init,
    vault_rekey,
    vault_seal_info,
    vault_unseal,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary")

POLICY = """
path "transit/encrypt/unseal" { capabilities = ["update"] }
path "transit/decrypt/unseal" { capabilities = ["update"] }
"""


class Sealed:
    """A server whose seal is declared as the role declares it."""

    def __init__(self, server: OpenBao, transit: DevServer, token: str) -> None:
        self.server = server
        self._plain = (server.folder / "server.hcl").read_text()
        self.memory = server.folder / "memory"
        self.memory.mkdir()
        (self.memory / "seal.key").write_bytes(os.urandom(32))
        self.declared: dict[str, Any] = {
            "former": "",
            "options": {
                "static": {},
                "transit": {
                    "address": transit.url,
                    "key_name": "unseal",
                    "mount_path": "transit/",
                },
            },
            "secrets": {"transit": {"token": token}},
            "plugins": {},
            "product": "openbao",
            "egress": True,
            "folder": str(self.memory),
            "place": str(self.memory),
        }

    def declare(self, seal: str, former: str = "", **more: Any) -> None:
        """Write the configuration, as the role does."""
        config = vault_seal_config({**self.declared, "seal": seal, "former": former, **more})
        assert config["problems"] == []
        for file in config["secrets"]:
            Path(file["path"]).write_text(file["secret_content"])
        (self.server.folder / "server.hcl").write_text(f"{self._plain}\n{config['hcl']}\n")

    def look(self) -> dict[str, Any]:
        return run_module(vault_seal_info, **self.server.arguments())

    def give(self, shares: list[str], *, check: bool = False, **more: Any) -> dict[str, Any]:
        at = self.server.arguments()
        return run_module(vault_unseal, check=check, shares=shares, **at, **more)

    def begin(self) -> None:
        """Start it, initialise it, and put something into it."""
        self.server.start()
        made = run_module(vault_init, **self.server.arguments(), shares=3, threshold=2, plain=True)
        self.server.shares, self.server.root_token = made["unseal_shares"], made["root_token"]
        self.give(self.server.shares)
        with self.server.client() as client:
            client.write("sys/mounts/kv", {"type": "kv"})
            client.write("kv/thing", {"colour": "blue"})

    def has_its_data(self) -> bool:
        with self.server.client() as client:
            found = client.read("kv/thing")
        return found == {"colour": "blue"}

    def opens_itself(self) -> bool:
        self.server.restart()
        eventually(lambda: not self.look()["sealed"], "a server that opens itself")
        eventually(self.server._active, "an active server")
        return self.has_its_data()

    def copy(self) -> None:
        """Of the data of a server that is stopped."""
        shutil.rmtree(self.server.folder / "copy", ignore_errors=True)
        shutil.copytree(self.server.folder / "data", self.server.folder / "copy")

    def put_back(self) -> None:
        self.server.stop()
        shutil.rmtree(self.server.folder / "data")
        shutil.copytree(self.server.folder / "copy", self.server.folder / "data")
        self.server.start()

    def migrate(self, seal: str, former: str) -> dict[str, Any]:
        """All that the role does, without a break."""
        self.declare(seal, former)
        self.server.restart()
        assert self.look()["migration"] is True
        given = self.give(self.server.shares, migrate=True)
        self.declare(seal)
        return given


@pytest.fixture(scope="module")
def transit() -> Iterator[DevServer]:
    with dev_server() as server:
        server.request("POST", "sys/mounts/transit", {"type": "transit"})
        server.request("POST", "transit/keys/unseal", {})
        server.request("PUT", "sys/policies/acl/seal", {"policy": POLICY})
        yield server


@pytest.fixture(scope="module")
def token(transit: DevServer) -> str:
    request = {"policies": ["seal"], "period": "24h", "no_parent": True}
    return str(transit.request("POST", "auth/token/create", request)["auth"]["client_token"])


@pytest.fixture
def sealed(tmp_path: Path, transit: DevServer, token: str) -> Iterator[Sealed]:
    with running(tmp_path / "server") as server:
        server.stop()
        yield Sealed(server, transit, token)


def test_opened_by_a_transit_server(sealed: Sealed, token: str) -> None:
    sealed.declare("transit")
    assert token not in (sealed.server.folder / "server.hcl").read_text()
    sealed.begin()
    found = sealed.look()
    assert (found["type"], found["opens_itself"], found["sealed"]) == ("transit", True, False)
    assert (found["threshold"], found["shares"], found["migration"]) == (2, 3, False)
    assert sealed.opens_itself()


def test_recovery_shares_that_were_replaced_are_known_for_it(sealed: Sealed) -> None:
    """By a run that shows a new share after the one that showed the last of them was killed."""
    sealed.declare("static")
    sealed.begin()
    at = sealed.server.arguments(token=sealed.server.root_token)
    given = {"shares": sealed.server.shares, "new_shares": 3, "new_threshold": 2, "plain": True}
    shares = run_module(vault_rekey, **at, state="begun", **given)["unseal_shares"]
    former = {"state": "verified", "former_shares": sealed.server.shares}
    assert run_module(vault_rekey, **at, shares=shares, **former)["in_force"] is True
    again = run_module(vault_rekey, **at, shares=shares[:1], **former)
    assert (again["in_force"], again["changed"]) == (True, False)
    former["former_shares"] = shares
    present = run_module(vault_rekey, **at, shares=shares[:1], **former)
    assert "no change of shares waits" in present["msg"]


def test_a_transit_server_that_refuses_the_token_opens_nothing(sealed: Sealed) -> None:
    sealed.declare("transit", secrets={"transit": {"token": "s.wrong"}})
    server = sealed.server
    done = subprocess.run(
        [str(bao()), "server", f"-config={server.folder}/server.hcl"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "permission denied" in done.stdout + done.stderr
    assert "s.wrong" not in done.stdout + done.stderr
    unanswered = run_module(vault_seal_info, **server.arguments(retries=0))
    assert (unanswered["reachable"], unanswered["type"]) == (False, "")
    assert unanswered["reason"]


@pytest.mark.parametrize("kind", ["static", "transit"])
def test_from_shares_to_auto_unseal_and_back(sealed: Sealed, kind: str) -> None:
    sealed.declare("shamir")
    sealed.begin()
    shares = sealed.server.shares

    sealed.declare(kind, "shamir")
    sealed.server.restart()
    found = sealed.look()
    assert (found["type"], found["migration"], found["missing"]) == (kind, True, 2)
    refused = sealed.give(shares)
    assert (refused["failed"], refused["vault_error"]) == (True, "migration")
    assert sealed.look()["missing"] == 2
    assert sealed.give(shares, migrate=True, check=True)["changed"] is True
    assert sealed.look()["missing"] == 2
    few = sealed.give(shares[:1], migrate=True, allow_partial=True)
    assert (few["sealed"], few["missing"]) == (True, 1)
    given = sealed.give(shares[1:], migrate=True)
    assert (given["changed"], given["sealed"], given["seal_type"]) == (True, False, kind)
    found = sealed.look()
    assert (found["type"], found["migration"], found["opens_itself"]) == (kind, False, True)
    assert sealed.has_its_data()
    assert sealed.opens_itself()
    # The shares are recovery shares now; an open server takes none.
    assert sealed.give(shares, migrate=True)["changed"] is False

    sealed.declare("shamir", kind)
    sealed.server.restart()
    found = sealed.look()
    assert (found["type"], found["migration"], found["sealed"]) == ("shamir", True, True)
    assert sealed.give(shares, migrate=True)["sealed"] is False
    # Started once more before its configuration is cleaned up, it is as good as changed.
    sealed.server.restart()
    assert sealed.look()["migration"] is False
    assert sealed.give(shares)["sealed"] is False
    sealed.declare("shamir")
    (sealed.memory / "seal.key").unlink()
    sealed.server.restart()
    assert sealed.look()["sealed"] is True
    assert sealed.give(shares)["sealed"] is False
    assert sealed.has_its_data()


def test_from_one_auto_unseal_to_another(sealed: Sealed) -> None:
    sealed.declare("static")
    sealed.begin()
    assert sealed.migrate("transit", "static")["seal_type"] == "transit"
    (sealed.memory / "seal.key").unlink()
    assert sealed.opens_itself()


def test_the_server_is_killed_while_it_changes(sealed: Sealed) -> None:
    sealed.declare("shamir")
    sealed.begin()
    shares = sealed.server.shares
    ways = [("static", "shamir", 0.0), ("shamir", "static", 0.02), ("static", "shamir", 0.03)]
    for seal, former, delay in ways:
        sealed.server.stop()
        sealed.copy()
        sealed.declare(seal, former)
        sealed.server.start()
        # Killed with one share given: it has forgotten that share.
        sealed.give(shares[:1], migrate=True, allow_partial=True)
        sealed.server.restart()
        assert sealed.look()["missing"] == 2
        # Killed right after, or while, it puts its keys under the new seal.
        with sealed.server.client() as client:
            for share in shares[:2]:
                body = {"key": share, "migrate": True}
                client.call("PUT", "sys/unseal", body=body, authenticated=False)
        time.sleep(delay)
        sealed.server.restart()
        if sealed.look()["migration"]:
            # Between a new root key and its copy under the new seal the server loses itself: then
            # the copy is put back, and it is begun anew.
            if "failed" in sealed.give(shares, migrate=True):
                found = sealed.look()
                # Some that lose themselves cannot even say so any more.
                stuck = found.get("failed") or (found["sealed"] and found["migration"])
                assert stuck, found
                sealed.put_back()
                assert sealed.give(shares, migrate=True)["sealed"] is False
        elif seal == "shamir":
            assert sealed.give(shares)["sealed"] is False
        eventually(sealed.server._active, "an active server")
        found = sealed.look()
        assert (found["type"], found["migration"], found["sealed"]) == (seal, False, False)
        assert sealed.has_its_data()


def test_a_copy_that_is_put_back_is_as_it_was(sealed: Sealed) -> None:
    sealed.declare("shamir")
    sealed.begin()
    sealed.server.stop()
    sealed.copy()
    sealed.migrate("static", "shamir")
    assert sealed.look()["type"] == "static"
    sealed.declare("static", "shamir")
    sealed.put_back()
    assert sealed.look()["migration"] is True
    assert sealed.give(sealed.server.shares, migrate=True)["sealed"] is False
    assert sealed.has_its_data()


def test_a_change_that_was_begun_is_taken_back(sealed: Sealed) -> None:
    sealed.declare("shamir")
    sealed.begin()
    sealed.declare("transit", "shamir")
    sealed.server.restart()
    sealed.give(sealed.server.shares[:1], migrate=True, allow_partial=True)
    sealed.declare("shamir")
    sealed.server.restart()
    assert sealed.look()["migration"] is False
    assert sealed.give(sealed.server.shares)["sealed"] is False
    assert sealed.has_its_data()


def test_a_new_key_for_a_server_that_opens_itself(sealed: Sealed) -> None:
    sealed.declare("static")
    sealed.begin()
    (sealed.memory / "seal.key").rename(sealed.memory / "seal.previous.key")
    (sealed.memory / "seal.key").write_bytes(os.urandom(32))
    ids = {"current_key_id": "2", "previous_key_id": "1"}
    sealed.declare("static", options={"static": ids})
    assert sealed.opens_itself()
    # It has taken the new key, and the old one is worth nothing.
    (sealed.memory / "seal.previous.key").unlink()
    sealed.declare("static", options={"static": {"current_key_id": "2"}})
    assert sealed.opens_itself()
    (sealed.memory / "seal.key").write_bytes(os.urandom(32))
    sealed.server.restart()
    assert sealed.look()["sealed"] is True


def diagnose(hcl: str, folder: Path) -> str:
    """What the server's own check says about the seal in a configuration."""
    (folder / "data").mkdir(exist_ok=True)
    (folder / "check.hcl").write_text(
        f'storage "raft" {{\n  path = "{folder}/data"\n  node_id = "n1"\n}}\n'
        f'api_addr = "http://127.0.0.1:1"\ncluster_addr = "http://127.0.0.1:2"\n{hcl}\n'
    )
    done = subprocess.run(
        [
            *(str(bao()), "operator", "diagnose", f"-config={folder}/check.hcl"),
            *("-skip=listener", "-skip=storage", "-format=json"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    checks = json.loads(done.stdout)["children"]
    parsed = next(check for check in checks if check["name"] == "Parse Configuration")
    assert parsed["status"] == "ok", parsed
    name = "Create Vault Server Configuration Seals"
    seal = next(check for check in checks if check["name"] == name)
    return str(seal.get("message", ""))


@pytest.mark.parametrize("kind", sorted(k for k in KINDS if "openbao" not in KINDS[k].builtin))
def test_the_server_reads_the_stanza_of_a_cloud(kind: str, tmp_path: Path) -> None:
    values = dict.fromkeys(KINDS[kind].required, "x")
    brought = KINDS[kind].brought
    (tmp_path / "plugins").mkdir()
    plugin = {"directory": str(tmp_path / "plugins"), "command": "kms", "sha256sum": "0" * 64}
    config = vault_seal_config(
        {
            "seal": kind,
            "former": "",
            "options": {kind: {k: v for k, v in values.items() if k not in brought}},
            "secrets": {kind: {k: v for k, v in values.items() if k in brought}},
            "plugins": {kind: plugin},
            "product": "openbao",
            "egress": True,
            "folder": str(tmp_path),
            "place": str(tmp_path),
        }
    )
    assert config["problems"] == []
    # It gets as far as the plugin, which is not there; without one it knows no such seal.
    said = diagnose(config["hcl"], tmp_path)
    assert f'"{kind}": error while validating the command path' in said
    assert f"unknown wrapper: {kind}" in diagnose(f'seal "{kind}" {{\n}}', tmp_path)


def test_the_server_reads_the_stanza_of_a_key_server(tmp_path: Path) -> None:
    bundle = Authority().bundle(tmp_path / "bundle", "kmip") / "current"
    config = vault_seal_config(
        {
            "seal": "kmip",
            "former": "",
            "options": {"kmip": {"endpoint": f"127.0.0.1:{free_port()}", "kms_key_id": "k"}},
            "secrets": {
                "kmip": {
                    "client_cert": (bundle / "tls.crt").read_text(),
                    "client_key": (bundle / "tls.key").read_text(),
                    "ca_cert": (bundle / "ca.crt").read_text(),
                }
            },
            "plugins": {},
            "product": "openbao",
            "egress": True,
            "folder": str(tmp_path),
            "place": str(tmp_path),
        }
    )
    for file in config["secrets"]:
        Path(file["path"]).write_text(file["secret_content"])
    # Its certificate, key and authority are taken from their files, and it gets as far as calling.
    assert "connection refused" in diagnose(config["hcl"], tmp_path)
    (tmp_path / "seal.kmip.client_key").write_text("not a key")
    assert "failed to find any PEM data" in diagnose(config["hcl"], tmp_path)


def test_the_server_takes_any_option_which_is_why_we_check_them(
    sealed: Sealed, tmp_path: Path
) -> None:
    sealed.declare("transit")
    config = sealed.server.folder / "server.hcl"
    text = config.read_text()
    config.write_text(text.replace("  key_name", '  nonsense = "x"\n  key_name'))
    sealed.server.start()
    assert sealed.look()["type"] == "transit"
    stanza = text[text.index('seal "transit"') :]
    assert "key_name" in diagnose(stanza.replace("key_name", "keyname"), tmp_path)
