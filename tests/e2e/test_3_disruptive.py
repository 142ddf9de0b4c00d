# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Vault restarted, the host rebooted: what has to come back comes back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import NAME, SLICE, disturb

pytestmark = [pytest.mark.drill, pytest.mark.slow]


@pytest.fixture
def as_another(estate: Any) -> tuple[str, str]:
    """Logged in as a user of the host who may become root, as many providers have it."""
    estate.sh(
        "id deploy >/dev/null 2>&1 || useradd --create-home deploy;"
        " echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy;"
        " install -d -o deploy -m 0700 /home/deploy/.ssh;"
        " install -o deploy -m 0600 /root/.ssh/authorized_keys /home/deploy/.ssh/"
    )
    return reached(estate, ansible_user="deploy", ansible_become=True)


def reached(estate: Any, **variables: Any) -> tuple[str, str]:
    """An inventory beside the drill's, by which the host is reached in another way."""
    inventory = estate.folder / "reached.json"
    inventory.write_text(json.dumps({"phoenix": {"hosts": {NAME: variables}}}))
    return "-i", str(inventory)


def test_every_promise_of_the_slice_holds(estate: Any, as_another: tuple[str, str]) -> None:
    found = estate.attest("-e", "attest_disruptive=true", *as_another)
    reasons = {name: proof["reason"] for name, proof in found.items() if proof["status"] == "fail"}
    assert reasons == {}
    assert {name for name, proof in found.items() if proof["status"] == "pass"} == SLICE
    restart = found["F2.a"]["evidence"]["restart"]
    assert restart["sealed_after"] is True
    assert "tamshai/data/mcp-hr" in restart["compared"]
    assert "sealed" in found["F2.d"]["evidence"]["timed_out"]["message"]
    reboot = found["W.b"]["evidence"]["reboot"]
    assert reboot["boot_before"] != reboot["boot_after"]
    assert set(reboot["services"].values()) == {"healthy"}


def test_a_settings_role_that_does_not_wait_is_seen(estate: Any) -> None:
    broken = estate.broken(*disturb("restart"), "-e", "vault_settings_wait=0")
    assert set(broken) == {"F2.d"}, broken
    assert "it gave up after" in broken["F2.d"]


def test_nothing_is_left_of_the_disruption_seen_by_the_docker_connection(estate: Any) -> None:
    by_docker = {"ansible_connection": "community.docker.docker", "ansible_host": NAME}
    made = estate.phoenix(*reached(estate, **by_docker))
    assert made.changed == 0, made.output[-4000:]


def test_a_vault_that_opens_itself_comes_back_by_itself(estate: Any) -> None:
    confirmed = ["--tags", "vault", "-e", f"vault_seal_migrate_confirm={NAME}"]
    estate.phoenix(*confirmed, "-e", "vault_seal=static")
    seal = ["-e", "vault_seal=static", "-e", '{"attest_only": ["W.b"]}']
    found = estate.attest(*seal, "-e", "attest_disruptive=true")["W.b"]
    assert found["status"] == "pass", found["reason"]
    reboot = found["evidence"]["reboot"]
    assert (reboot["seal"], reboot["sealed_after"]) == ("static", False)
    assert reboot["boot_before"] != reboot["boot_after"]
    # And back, which leaves nothing of that seal.
    estate.phoenix(*confirmed)
    status = estate.vault("GET", "sys/seal-status")
    assert (status["type"], status["sealed"], status["migration"]) == ("shamir", False, False)
    gone = "[ ! -e /run/tamshai/vault/seal.key ] && [ ! -e /opt/tamshai/vault/before-seal.tar ]"
    estate.sh(gone)
