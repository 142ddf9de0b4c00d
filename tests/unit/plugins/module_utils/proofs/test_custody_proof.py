# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""F2.b: a root token that is alive, or that lies beside the shares, is seen; a dead one is not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.lookup import secret_stores
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    shapes,
    stores,
    tokens,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import Store
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.custody import (
    Custody,
    encrypt,
)

ROOT = "s.0123456789abcdefABCDEFgh"
OTHER = "hvs.CAESIJ0123456789abcdefghijklmnop"
SHARE = "0a" * 33
PASSPHRASE = "a passphrase of a test"


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> Store:
    """What the search of the host finds."""
    found = Store("the host")
    monkeypatch.setattr(shapes, "on_host", lambda _site: found)
    monkeypatch.setattr(auditlog, "entries", lambda *_words: [])
    return found


@pytest.fixture
def state(tmp_path: Path) -> Custody:
    """The control node's directory after a bootstrap: five shares, no root token."""
    custody = Custody(tmp_path / "state" / "vault")
    custody.begin()
    custody.hold(
        shares=[SHARE] * 5, threshold=3, root_token=ROOT, seal="shamir", passphrase=PASSPHRASE
    )
    custody.finish()
    return custody


@pytest.fixture
def proven(restaged: Callable[..., Any], state: Custody) -> Callable[[], dict[str, Any]]:
    """The proof's result with what the control node has now, and ``proven.stage``."""

    def prove() -> dict[str, Any]:
        store = Store("the control node")
        stores.from_files(store, [str(state.directory.parent)])
        prove.stage.site.inputs.stores[:] = [store]
        return dict(prove.stage.prove("F2.b"))

    prove.stage = restaged(stores=[])  # type: ignore[attr-defined]
    prove.stage.vault.seal |= {"t": 3, "n": 5}  # type: ignore[attr-defined]
    return prove


def revive(proven: Any, token: str = ROOT) -> None:
    about = {"policies": ["root"], "path": "auth/token/root", "creation_time": 1795000000}
    proven.stage.vault.tokens["acc-root"] = about
    proven.stage.vault.good_tokens[token] = ["root"]


def test_a_token_that_ends_while_it_is_asked_about_is_no_fault(proven: Any) -> None:
    proven.stage.vault.tokens["acc-going"] = "ending"
    assert proven()["status"] == "pass"


def test_tokens_that_may_not_be_looked_at_are_not_taken_for_ended(
    proven: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "_MOMENT", 0.2)
    proven.stage.vault.tokens["acc-hidden"] = "forbidden"
    result = proven()
    assert result["status"] == "fail"
    assert "permission denied" in result["reason"]


def test_a_token_that_is_half_made_when_it_is_listed_is_whole_when_it_is_looked_at(
    proven: Any,
) -> None:
    """The server revokes one that somebody looks at too early; it makes them one after another."""
    vault = proven.stage.vault
    vault.tokens["acc-young"] = {"path": "auth/approle/login", "policies": ["mcp-hr"]}
    ask, half, killed = vault.request, {"acc-young"}, []

    def request(method: str, path: str, body: Any = None, **more: Any) -> Any:
        if more.get("wrap_ttl"):
            half.clear()
        elif path == "auth/token/lookup-accessor" and body["accessor"] in half:
            killed.append(body["accessor"])
        return ask(method, path, body, **more)

    vault.request = request
    assert (proven()["status"], killed) == ("pass", [])


def test_an_operator_who_may_not_have_a_token_made_looks_at_none(proven: Any) -> None:
    proven.stage.vault.good_tokens.clear()
    result = proven()
    assert result["status"] == "fail"
    assert "a token cannot look at itself: 403" in result["reason"]


def test_a_quorum_without_a_root_token_passes_and_says_where_it_is(proven: Any) -> None:
    result = proven()
    assert (result["status"], result["reason"]) == ("pass", "")
    node = result["evidence"]["stores"]["the control node"]
    assert (node["quorum"], list(node["shares_encrypted"].values())) == (True, [5])
    assert result["evidence"]["root_tokens_alive"] == 0


def test_a_root_token_that_is_alive(proven: Any) -> None:
    revive(proven)
    result = proven()
    assert result["status"] == "fail"
    assert result["reason"] == (
        "a root token is alive since 2026-11-18T11:06:40+00:00: accessor acc-root"
    )


def test_a_root_token_beside_the_shares(proven: Any, state: Custody) -> None:
    revive(proven)
    (state.directory.parent / "notes.txt").write_text(f"token: {ROOT}\n")
    result = proven()
    assert result["status"] == "fail"
    assert (
        f"the control node holds a root token, {state.directory.parent}/notes.txt, "
        "together with a quorum of shares (5, of which 3 open it)" in result["reason"]
    )
    assert ROOT not in json.dumps(result)


def test_a_root_token_apart_from_the_shares(proven: Any, host: Store) -> None:
    revive(proven)
    host.tokens["/root/.vault-token"] = ROOT
    assert "the host holds a root token, /root/.vault-token, alone" in proven()["reason"]


def test_tokens_that_are_no_root_tokens_are_nobodys_business_here(proven: Any, host: Store) -> None:
    revive(proven, OTHER)
    host.tokens["/run/x"] = ROOT
    assert "the host" not in proven()["reason"]


def test_the_file_of_a_bootstrap_that_has_not_ended(proven: Any, state: Custody) -> None:
    label = {"kind": "root-token", "server": state.manifest.id}
    planted = state.directory / "root-token.json"
    planted.write_bytes(encrypt(ROOT, PASSPHRASE, label))
    result = proven()
    assert result["status"] == "fail"
    assert f"the control node holds a root token, the file {planted}, together" in result["reason"]


def test_what_cannot_be_seen_is_not_proven(proven: Any, restaged: Any) -> None:
    def refuse(path: str, _token: str = "") -> list[str]:
        raise PhoenixError(f"Vault forbids to list {path}")

    proven.stage.vault.listing = refuse
    result = proven()
    assert (result["status"], "vault_operator.yml" in result["reason"]) == ("fail", True)


def test_an_untold_control_node_is_not_proven(proven: Any) -> None:
    proven.stage.site.inputs.stores[:] = []
    result = proven.stage.prove("F2.b")
    assert (result["status"], result["reason"]) == (
        "not run",
        "what the control node holds was not told",
    )


def test_a_token_that_ends_while_it_is_looked_at(proven: Any) -> None:
    proven.stage.vault.listing = lambda _path, _token="": ["acc-1", "gone"]
    assert proven()["evidence"]["tokens_alive"] == 1


def test_the_lookup_counts_and_decrypts_nothing(
    state: Custody, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / ".vault-token").write_text(OTHER)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SHARES_1", SHARE)
    monkeypatch.setenv("BAO_TOKEN", ROOT)
    (tmp_path / "brought").write_text(SHARE + "\n")
    plugin = secret_stores.LookupModule()
    monkeypatch.setattr(plugin, "set_options", lambda **_words: None)
    monkeypatch.setattr(plugin, "get_option", lambda _name: "SHARES_")
    (found,) = plugin.run([[str(state.directory), str(state.directory)], str(tmp_path / "brought")])
    assert found["store"] == {
        "name": "the control node",
        "encrypted": {state.manifest.id: 5},
        "shares": 2,
        "offers": 0,
        "root_files": [],
    }
    assert found["tokens"] == {
        str(home / ".vault-token"): OTHER,
        "environment variable BAO_TOKEN": ROOT,
    }


def test_the_collection_itself_is_no_store_of_shares() -> None:
    """It may be on the host, where somebody runs it on the spot, and is newer than the estate."""
    root = Path(stores.__file__).resolve().parents[3]
    assert shapes.in_files([str(root / place) for place in ("plugins", "roles")], since=0) == []


def test_shapes_are_found_in_files_and_told_from_longer_words(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(f"x={SHARE}\n{SHARE}ff\nthis.{ROOT[2:]}\nvars.{ROOT[2:]}.x\n")
    (tmp_path / "b").write_text(f"export T={ROOT}; U='{OTHER}'")
    (tmp_path / "c").write_bytes(encrypt(ROOT, PASSPHRASE, {"kind": "root-token"}))
    store = Store("x")
    store.add(shapes.in_files([str(tmp_path)], since=0))
    other = Store("x")
    stores.from_files(other, [str(tmp_path)])
    assert store.shares == other.shares == 1
    assert set(store.tokens.values()) == set(other.tokens.values()) == {ROOT, OTHER}
    assert store.root_files == other.root_files == [str(tmp_path / "c")]


def test_a_root_token_that_this_run_has_revoked_itself_is_a_fault(proven: Any) -> None:
    seen = {"faults": [], "compared": {}, "forgotten": []}
    proven.stage.site.inputs.observed["migrated"] = seen
    assert proven()["status"] == "pass"
    seen["forgotten"] = ["acc-9"]
    result = proven()
    assert result["status"] == "fail"
    assert "a root token was alive, forgotten, until this run revoked it: acc-9" in result["reason"]
