# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shares at rest: what is on disk at every moment, and what opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import custody
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.custody import (
    Custody,
    CustodyError,
    brought_shares,
    decrypt,
    encrypt,
)

PASS = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
SHARES = [f"{n:02x}" * 33 for n in range(1, 6)]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "SCRYPT", {"n": 2**4, "r": 8, "p": 1})


def held(place: Path) -> Custody:
    made = Custody(place)
    made.begin()
    made.hold(shares=SHARES, threshold=3, root_token="s.root", seal="shamir", passphrase=PASS)
    return Custody(place)


def everything(place: Path) -> str:
    return "".join(p.read_text() for p in place.rglob("*") if p.is_file())


class TestFiles:
    def test_there_and_back(self) -> None:
        content = encrypt("secret", PASS, {"kind": "x"})
        assert b"secret" not in content
        assert decrypt(content, PASS, "x") == "secret"
        assert encrypt("secret", PASS, {"kind": "x"}) != content

    def test_another_passphrase(self) -> None:
        with pytest.raises(CustodyError, match="share-1 does not open"):
            decrypt(encrypt("secret", PASS, {}), PASS + "x", "share-1")

    def test_no_passphrase(self) -> None:
        with pytest.raises(CustodyError, match="passphrase"):
            encrypt("secret", "", {})

    def test_a_label_cannot_be_changed(self) -> None:
        document = json.loads(encrypt("secret", PASS, {"index": 1}))
        document["index"] = 2
        with pytest.raises(CustodyError, match="was changed"):
            decrypt(json.dumps(document).encode(), PASS, "x")

    @pytest.mark.parametrize(
        "content", [b"", b"{}", b"[]", b'{"ciphertext": "!"}', b'{"ciphertext": "AAAA"}', b"\xff"]
    )
    def test_a_damaged_file_is_called_that(self, content: bytes) -> None:
        with pytest.raises(CustodyError, match="damaged"):
            decrypt(content, PASS, "x")

    def test_a_costly_derivation_is_not_begun(self) -> None:
        document = json.loads(encrypt("secret", PASS, {}))
        document["kdf"]["n"] = 2**30
        with pytest.raises(CustodyError, match="damaged"):
            decrypt(json.dumps(document).encode(), PASS, "x")


class TestStages:
    def test_held_and_read(self, tmp_path: Path) -> None:
        kept = held(tmp_path / "v")
        assert kept.manifest.state == "held"
        assert kept.read_shares(PASS) == SHARES
        assert kept.read_shares(PASS, 3) == SHARES[:3]
        assert kept.read_root_token(PASS) == "s.root"
        assert not any(secret in everything(tmp_path) for secret in (*SHARES, "s.root"))
        modes = {p.stat().st_mode & 0o777 for p in (tmp_path / "v").iterdir()}
        assert modes == {0o600}
        assert (tmp_path / "v").stat().st_mode & 0o777 == 0o700

    def test_the_root_token_goes_at_the_end(self, tmp_path: Path) -> None:
        kept = held(tmp_path)
        kept.finish()
        assert Custody(tmp_path).manifest.state == "finished"
        assert not (tmp_path / "root-token.json").exists()
        assert Custody(tmp_path).read_root_token(PASS) == ""
        assert Custody(tmp_path).read_shares(PASS) == SHARES

    def test_killed_before_it_was_noted_that_the_root_token_is_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept = held(tmp_path)

        def dies(*_arguments: Any, **_options: Any) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as killed:
            killed.setattr(custody, "write_atomic", dies)
            with pytest.raises(KeyboardInterrupt):
                kept.finish()
        after = Custody(tmp_path)
        assert (after.manifest.state, after.read_root_token(PASS)) == ("held", "")
        assert after.finish().state == "finished"

    def test_shares_are_never_overwritten(self, tmp_path: Path) -> None:
        kept = held(tmp_path)
        with pytest.raises(CustodyError, match="not overwritten"):
            kept.hold(shares=["x"], threshold=1, root_token="r", seal="s", passphrase=PASS)
        assert Custody(tmp_path).read_shares(PASS) == SHARES

    def test_a_new_server_moves_the_old_ones_aside(self, tmp_path: Path) -> None:
        kept = held(tmp_path)
        first = kept.manifest.id
        kept.finish()
        fresh = Custody(tmp_path)
        fresh.begin()
        assert fresh.manifest.id != first
        assert fresh.share_paths() == []
        old = sorted(p.name for p in (tmp_path / "archive").rglob("*.json"))
        assert old == ["custody.json", *(f"share-{n}.json" for n in range(1, 6))]

    def test_no_archive_has_a_root_token_beside_its_shares(self, tmp_path: Path) -> None:
        held(tmp_path).begin()
        assert list((tmp_path / "archive").rglob("root-token.json")) == []

    def test_begin_again_keeps_the_identifier(self, tmp_path: Path) -> None:
        first = Custody(tmp_path).begin()
        assert Custody(tmp_path).begin() == first

    def test_killed_between_two_shares_is_not_held(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = Custody(tmp_path)
        made.begin()
        count = [0]
        real = custody.write_atomic

        def dies(*arguments: Any, **options: Any) -> None:
            count[0] += 1
            if count[0] == 4:
                raise KeyboardInterrupt
            real(*arguments, **options)

        monkeypatch.setattr(custody, "write_atomic", dies)
        with pytest.raises(KeyboardInterrupt):
            made.hold(shares=SHARES, threshold=3, root_token="r", seal="s", passphrase=PASS)
        monkeypatch.setattr(custody, "write_atomic", real)
        after = Custody(tmp_path)
        assert after.manifest.state == "begun"
        assert after.read_shares(PASS) == []
        after.hold(shares=SHARES, threshold=3, root_token="r", seal="s", passphrase=PASS)
        assert Custody(tmp_path).read_shares(PASS) == SHARES

    def test_a_damaged_manifest_stops_everything(self, tmp_path: Path) -> None:
        held(tmp_path)
        (tmp_path / "custody.json").write_text('{"state": "held"')
        with pytest.raises(CustodyError, match="damaged"):
            Custody(tmp_path)

    def test_a_share_that_went_to_its_custodian(self, tmp_path: Path) -> None:
        kept = held(tmp_path)
        (tmp_path / "share-2.json").rename(tmp_path / "elsewhere")
        assert kept.read_shares(PASS) == [SHARES[0], *SHARES[2:]]


class TestCustodians:
    def test_offered_then_released(self, tmp_path: Path) -> None:
        kept = held(tmp_path)
        kept.finish()
        assert kept.offer({"ann": "message-a", "bo": "message-b"}) is True
        assert kept.offer({"ann": "message-a", "bo": "message-b"}) is False
        assert (tmp_path / "custodians" / "ann.pgp").read_text() == "message-a\n"
        assert kept.offered() == ""
        assert kept.offer({"ann": "message-a"}, "change-1") is True
        assert kept.offer({"ann": "message-a"}, "change-1") is False
        assert Custody(tmp_path).offered() == "change-1"
        assert kept.read_shares(PASS) == SHARES  # still in force
        kept.release(shares=2, threshold=2)
        again = Custody(tmp_path)
        assert (again.manifest.state, again.manifest.threshold) == ("released", 2)
        assert again.share_paths() == []

    @pytest.mark.parametrize("gone", [0, 3])
    def test_a_release_that_was_killed_is_finished(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int
    ) -> None:
        kept = held(tmp_path)
        kept.finish()
        real, count = Path.unlink, [0]

        def dies(path: Path, missing_ok: bool = False) -> None:
            if count[0] == gone:
                raise KeyboardInterrupt
            count[0] += 1
            real(path, missing_ok)

        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", dies)
            with pytest.raises(KeyboardInterrupt):
                kept.release(shares=2, threshold=2)
        assert len(Custody(tmp_path).share_paths()) == 5 - gone

        after = Custody(tmp_path)
        assert after.forgettable()
        after.forget()
        assert (after.forgettable(), after.share_paths()) == (False, [])

    @pytest.mark.parametrize("state", ["held", "finished"])
    def test_shares_that_were_not_released_stay(self, tmp_path: Path, state: str) -> None:
        kept = held(tmp_path)
        if state == "finished":
            kept.finish()
        assert not kept.forgettable()
        kept.forget()
        assert kept.read_shares(PASS) == SHARES

    def test_not_before_the_bootstrap_has_ended(self, tmp_path: Path) -> None:
        with pytest.raises(CustodyError, match="has not ended"):
            held(tmp_path).release(shares=2, threshold=2)

    @pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden"])
    def test_a_name_is_no_path(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CustodyError, match="cannot be named"):
            held(tmp_path).offer({name: "message"})


class TestBrought:
    def test_files_and_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "plain").write_text(f"{SHARES[0]}\n")
        (tmp_path / "encrypted").write_bytes(encrypt(SHARES[1], PASS, {}))
        monkeypatch.setenv("UNSEAL_2", f" {SHARES[3]} ")
        monkeypatch.setenv("UNSEAL_1", SHARES[2])
        monkeypatch.setenv("UNSEAL_3", "")
        files = [str(tmp_path / "plain"), str(tmp_path / "encrypted")]
        assert brought_shares(files, "UNSEAL_", PASS) == SHARES[:4]

    def test_a_variable_that_names_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "one").write_text(f"{SHARES[0]}\n")
        (tmp_path / "empty").write_text("")
        monkeypatch.setenv("UNSEAL_1", f"file://{tmp_path}/one")
        monkeypatch.setenv("UNSEAL_2", f"file://{tmp_path}/empty")
        monkeypatch.setenv("UNSEAL_3", "")
        monkeypatch.setenv("UNSEAL_4", SHARES[1])
        assert brought_shares([], "UNSEAL_", PASS) == SHARES[:2]
        monkeypatch.setenv("UNSEAL_1", f"file://{tmp_path}/gone")
        with pytest.raises(CustodyError, match="no file"):
            brought_shares([], "UNSEAL_", PASS)

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(CustodyError, match="no file"):
            brought_shares([str(tmp_path / "x")], "", PASS)
