# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the action vault_custody does with its options, in check mode too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.action.vault_custody import SPEC, work
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import custody
from ansible_collections.tamshai.phoenix.plugins.modules import vault_custody as documentation

DEFAULTS = {name: option.get("default") for name, option in SPEC.items()}
SECRETS = {"passphrase": "pass", "shares": ["share-1", "share-2"], "threshold": 2}


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "SCRYPT", {"n": 2**4, "r": 8, "p": 1})


def act(place: Path, state: str, *, check: bool = False, **options: Any) -> dict[str, Any]:
    given = {**DEFAULTS, "path": str(place), "state": state, **options}
    return work(given, check_mode=check)


def test_documentation_and_spec_agree() -> None:
    documented = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert set(documented) == set(SPEC)
    for name, option in SPEC.items():
        for key in ("type", "default", "choices", "required", "elements"):
            assert documented[name].get(key) == option.get(key), (name, key)


def test_a_bootstrap(tmp_path: Path) -> None:
    place = tmp_path / "v"
    assert act(place, "read")["state"] == "absent"
    begun = act(place, "begun")
    assert (begun["changed"], begun["state"], len(begun["id"])) == (True, "begun", 32)
    assert act(place, "begun")["changed"] is False
    kept = act(place, "held", root_token="s.root", **SECRETS)
    assert (kept["shares_held"], kept["root_token_held"], kept["id"]) == (2, True, begun["id"])
    assert "shares" not in kept
    read = act(place, "read", passphrase="pass", secrets=True)
    assert (read["shares"], read["root_token"]) == (["share-1", "share-2"], "s.root")
    ended = act(place, "finished")
    assert (ended["state"], ended["root_token_held"]) == ("finished", False)
    assert act(place, "finished")["changed"] is False


def test_where_the_shares_of_an_earlier_server_went(tmp_path: Path) -> None:
    place = tmp_path / "v"
    first = act(place, "begun")
    assert first["archived"] == ""
    act(place, "held", root_token="s.root", **SECRETS)
    act(place, "finished")
    announced = act(place, "begun", check=True)["archived"]
    assert (place / "share-1.json").exists()
    other = act(place, "begun")
    assert other["archived"] == announced == str(place / "archive" / first["id"])
    assert sorted(path.name for path in Path(announced).iterdir()) == [
        *("custody.json", "share-1.json", "share-2.json"),
    ]
    assert act(place, "begun")["archived"] == ""


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    place = tmp_path / "v"
    assert act(place, "begun", check=True)["changed"] is True
    assert not place.exists()
    act(place, "begun")
    assert act(place, "held", check=True, root_token="r", **SECRETS)["changed"] is True
    assert act(place, "read")["state"] == "begun"


def test_brought_shares_come_before_the_held_ones(tmp_path: Path) -> None:
    place = tmp_path / "v"
    act(place, "begun")
    act(place, "held", root_token="r", **SECRETS)
    (tmp_path / "mine").write_text("share-3")
    files = [str(tmp_path / "mine")]
    found = act(place, "read", passphrase="pass", secrets=True, share_files=files)
    assert found["shares"] == ["share-3", "share-1", "share-2"]


def test_all_held_shares_are_read_though_fewer_open_the_server(tmp_path: Path) -> None:
    place = tmp_path / "v"
    shares = [f"share-{n}" for n in range(1, 6)]
    act(place, "begun")
    act(place, "held", passphrase="pass", shares=shares, threshold=3, root_token="r")
    assert act(place, "read", passphrase="pass", secrets=True)["shares"] == shares
    (place / "share-5.json").write_text("{}")
    assert act(place, "read", passphrase="pass", secrets=True)["shares"] == shares[:3]
    (place / "share-1.json").write_text("{}")
    with pytest.raises(custody.CustodyError, match=r"share-1\.json is damaged"):
        act(place, "read", passphrase="pass", secrets=True)


def test_the_seal_that_the_shares_belong_to(tmp_path: Path) -> None:
    place = tmp_path / "v"
    assert act(place, "read")["seal"] == ""
    with pytest.raises(custody.CustodyError, match="no shares are known"):
        act(place, "resealed", seal="static")
    act(place, "begun")
    act(place, "held", root_token="r", seal="shamir", **SECRETS)
    act(place, "finished")
    assert act(place, "resealed", seal="static", check=True)["changed"] is True
    assert act(place, "read")["seal"] == "shamir"
    noted = act(place, "resealed", seal="static")
    assert (noted["changed"], noted["seal"], noted["state"]) == (True, "static", "finished")
    assert act(place, "resealed", seal="static")["changed"] is False
    assert act(place, "read", passphrase="pass", secrets=True)["shares"] == SECRETS["shares"]
    act(place, "released", share_count=3, threshold=2)
    assert act(place, "resealed", seal="shamir")["state"] == "released"


def test_released_once_more(tmp_path: Path) -> None:
    place = tmp_path / "v"
    act(place, "begun")
    act(place, "held", root_token="r", seal="shamir", **SECRETS)
    act(place, "finished")
    share = (place / "share-1.json").read_bytes()
    assert act(place, "released", share_count=5, threshold=3)["shares_held"] == 0
    assert act(place, "released", share_count=5, threshold=3)["changed"] is False
    # Killed before the last file was gone.
    (place / "share-1.json").write_bytes(share)
    again = act(place, "released", share_count=5, threshold=3)
    assert (again["changed"], again["shares_held"]) == (True, 0)
    # A custodian has left, and fewer are needed.
    fewer = act(place, "released", share_count=3, threshold=2)
    assert (fewer["changed"], fewer["threshold"]) == (True, 2)


def test_a_release_that_was_killed_is_finished_by_a_look(tmp_path: Path) -> None:
    place = tmp_path / "v"
    act(place, "begun")
    act(place, "held", root_token="r", seal="shamir", **SECRETS)
    act(place, "finished")
    assert act(place, "read")["changed"] is False
    share = (place / "share-2.json").read_bytes()
    act(place, "released", share_count=5, threshold=3)
    (place / "share-2.json").write_bytes(share)
    # A dry run says so and deletes nothing; the run after the next has nothing to do.
    for check, changed, left in ((True, True, 1), (False, True, 0), (False, False, 0)):
        found = act(place, "read", check=check, passphrase="pass", secrets=True)
        assert (found["changed"], found["shares_held"]) == (changed, left)
        assert (found["state"], found["shares"], found["threshold"]) == ("released", [], 3)
