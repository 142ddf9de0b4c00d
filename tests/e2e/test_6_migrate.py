# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An old server in dev mode on the host; what it holds moves to production, and that is proven."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.drill, pytest.mark.slow]

TAG = f"old-{int(time.time())}"
TOKEN = "token-of-the-old-server"
HOSTILE = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü\n"

_ASK = """
import json, sys, time, urllib.error, urllib.request
given = json.load(sys.stdin)
def ask(method, path, body):
    request = urllib.request.Request(
        "http://127.0.0.1:8201/v1/" + path, body and json.dumps(body).encode(),
        {"X-Vault-Token": given["token"]}, method=method)
    for attempt in range(100):
        try:
            return urllib.request.urlopen(request, timeout=20).read()
        except urllib.error.HTTPError as error:
            if error.code != 400 or attempt == 99:
                raise
        except OSError:
            if attempt == 99:
                raise
        time.sleep(0.1)  # it starts, or makes an engine ready
for method, path, body in given["requests"]:
    ask(method, path, body)
"""


def old_server(estate: Any, *requests: tuple[str, str, Any]) -> None:
    """Start one, afresh, and have it asked these."""
    estate.sh(
        "docker rm -f old-vault >/dev/null 2>&1 || :; docker run -d --name old-vault"
        " -p 127.0.0.1:8201:8200 --entrypoint bao"
        " $(docker inspect -f '{{.Image}}' tamshai-vault-1) server -dev -dev-no-store-token"
        f" -dev-root-token-id={TOKEN} -dev-listen-address=0.0.0.0:8200"
    )
    program = shlex.quote(_ASK)
    given = {"token": TOKEN, "requests": requests}
    estate.sh(f"python3 -c {program}", json.dumps(given))


def secrets(last: str) -> list[tuple[str, str, Any]]:
    return [
        ("POST", "sys/mounts/tamshai", {"type": "kv", "options": {"version": "2"}}),
        *(
            ("POST", f"tamshai/data/{TAG}/databases", {"data": {"password": f"{HOSTILE}{n}"}})
            for n in ("1", "2", last)
        ),
        ("POST", f"tamshai/delete/{TAG}/databases", {"versions": [2]}),
        # One of the estate's own services: it stays as production has it.
        ("POST", "tamshai/data/mcp-hr", {"data": {"password": "of the old estate"}}),
    ]


def migrate(estate: Any, **more: Any) -> Any:
    given = {
        "vault_migrate_source_url": "http://127.0.0.1:8201",
        "vault_migrate_source_token": TOKEN,
        "vault_migrate_mounts": [{"source": "tamshai"}],
        **more,
    }
    made = estate.play("vault_migrate", "-e", json.dumps(given))
    assert made.rc == 0, made.output[-4000:]
    assert HOSTILE.split("\n", maxsplit=1)[0] not in made.output
    return made


def access() -> list[tuple[str, str, Any]]:
    role = {
        "role_id": f"{TAG}-role-id",
        "token_policies": [TAG],
        "token_ttl": "1h",
        "token_max_ttl": "4h",
        "secret_id_ttl": "10m",
        "secret_id_num_uses": 1,
    }
    return [
        ("PUT", f"sys/policies/acl/{TAG}", {"policy": f"# {HOSTILE}"}),
        ("POST", "sys/auth/approle", {"type": "approle"}),
        ("POST", f"auth/approle/role/{TAG}", role),
        # One of the estate's own: it stays as production declares it.
        ("POST", "auth/approle/role/mcp-hr", {"role_id": "of the old estate"}),
    ]


@pytest.fixture(scope="module")
def moved(estate: Any) -> Iterator[Any]:
    old_server(estate, *secrets("3"), *access())
    yield migrate(estate)
    estate.sh("docker rm -f old-vault")


def test_a_second_run_changes_nothing(estate: Any, moved: Any) -> None:
    assert moved.changed == 2  # production, and the record
    assert migrate(estate).changed == 0


def test_it_is_proven_and_no_other_promise_suffers(estate: Any, moved: Any) -> None:
    found = estate.attest("-e", "attest_by_shares=true")
    assert [proof["reason"] for proof in found.values() if proof["status"] == "fail"] == []
    assert found["F2.e"]["status"] == "pass"
    assert found["F2.e"]["evidence"]["compared"]["secret"] >= 1
    assert found["F2.b"]["evidence"]["root_tokens_alive"] == 0


def test_another_version_and_another_policy_are_seen_by_it_alone(estate: Any, moved: Any) -> None:
    old_server(estate, *secrets("another"))
    aside = {
        "vault_migrate_record": str(estate.folder / "aside.json"),
        "vault_migrate_clash": "replace",
        "vault_migrate_policies": False,
        "vault_migrate_approles": False,
    }
    migrate(estate, **aside)
    estate.vault("PUT", f"sys/policies/acl/{TAG}", {"policy": "# another"})
    broken = estate.broken("-e", "attest_by_shares=true")
    # As it is on record again.
    old_server(estate, *secrets("3"), *access())
    migrate(estate, vault_migrate_clash="replace")
    assert set(broken) == {"F2.e"}, broken
    assert f"tamshai/{TAG}/databases: version 3 holds other data" in broken["F2.e"]
    assert f"policy {TAG}: its text is not the one that was moved" in broken["F2.e"]
