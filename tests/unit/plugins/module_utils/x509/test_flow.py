# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Request, sign, install: what is due, what is refused, what is left behind."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, issue, keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import (
    Authority,
    moment,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
    Lifetime,
    parse_all,
)

from .conftest import PASSPHRASE

Declared = dict[str, Declaration]


class Estate:
    """Both sides, and a whole run of them."""

    def __init__(self, authority: Authority, tree: Tree, lifetime: Lifetime, now: datetime) -> None:
        self.authority, self.tree, self.lifetime, self.now = authority, tree, lifetime, now
        self.root = authority.certificate("root")

    def request(self, declared: Declared, **more: Any) -> tuple[Plan, dict[str, str], list[Any]]:
        plan = Plan()
        root = more.pop("root", self.root)
        now = more.pop("now", self.now)
        found, requests = flow.request(self.tree, declared, root, now, self.lifetime, plan, **more)
        return plan, {item.declared.name: item.due for item in found}, requests

    def sign(self, declared: Declared, requests: list[Any], **more: Any) -> list[Any]:
        plan = more.pop("plan", Plan())
        now = more.pop("now", self.now)
        return flow.sign(self.authority, requests, declared, now, self.lifetime, plan, **more)

    def install(self, declared: Declared, bundles: list[Any], **more: Any) -> list[Any]:
        plan = more.pop("plan", Plan())
        now = more.pop("now", self.now)
        return flow.install(self.tree, bundles, declared, now, plan, trusted=self.root, **more)

    def run(self, declared: Declared, **more: Any) -> list[str]:
        _unused, _unused, requests = self.request(declared, **more)
        now = more.get("now", self.now)
        for entry in requests:
            entry["time"] = moment(now)
        bundles = self.sign(declared, requests, now=now)
        return [entry["name"] for entry in self.install(declared, bundles, now=now)]


@pytest.fixture
def estate(authority: Authority, tree: Tree, lifetime: Lifetime, now: datetime) -> Estate:
    return Estate(authority, tree, lifetime, now)


def test_a_first_run_makes_all_and_a_second_nothing(estate: Estate, declared: Declared) -> None:
    plan, due, requests = estate.request(declared, check=True)
    assert [change.action for change in plan] == ["create", "create"]
    assert set(due.values()) == {"there is none yet"}
    assert requests == []
    assert list(estate.tree.root.iterdir()) == [], "check mode makes nothing"
    assert estate.run(declared) == list(declared)
    plan, due, requests = estate.request(declared)
    assert (plan.changed, set(due.values()), requests) == (False, {""}, [])


def test_the_private_key_does_not_leave_the_machine(estate: Estate, declared: Declared) -> None:
    _unused, _unused, requests = estate.request(declared)
    bundles = estate.sign(declared, requests)
    assert "PRIVATE" not in repr(requests) + repr(bundles)
    for path in estate.authority.directory.iterdir():
        assert b"BEGIN PRIVATE KEY" not in path.read_bytes()


def test_nothing_secret_is_in_a_plan(estate: Estate, declared: Declared) -> None:
    estate.run(declared)
    plan, _unused, _unused = estate.request(declared, renew=True)
    shown = repr(plan.diff()) + repr(plan.summary())
    staged = estate.tree.staged_key("api").decode().splitlines()[1]
    assert staged not in shown
    assert "PRIVATE" not in shown


@pytest.mark.parametrize(
    ("days", "due"), [(0, False), (59, False), (60, True), (89, True), (91, True)]
)
def test_renewal_at_two_thirds(
    estate: Estate, declared: Declared, now: datetime, days: int, due: bool
) -> None:
    estate.run(declared)
    _unused, reasons, _unused = estate.request(declared, now=now + timedelta(days=days), check=True)
    assert [bool(reason) for reason in reasons.values()] == [due, due]
    if days == 91:
        assert "expired" in reasons["api"]
    elif due:
        assert "the time to renew has come" in reasons["api"]


def test_a_lifetime_that_was_made_shorter_holds_at_once(
    estate: Estate, declared: Declared, now: datetime
) -> None:
    estate.run(declared)
    estate.lifetime = Lifetime.parse("10d", "7d")
    _unused, reasons, _unused = estate.request(declared, check=True)
    assert all(reason.endswith("later than a new one would") for reason in reasons.values())
    assert estate.run(declared) == list(declared)
    for hours, due in ((0, False), (71, False), (72, True)):
        later = now + timedelta(hours=hours)
        _unused, reasons, _unused = estate.request(declared, now=later, check=True)
        assert [bool(reason) for reason in reasons.values()] == [due, due]


def test_what_is_no_longer_declared_goes_where_that_is_wanted(
    estate: Estate, declared: Declared, tmp_path: Path
) -> None:
    """And nothing else does: what came from elsewhere, what is no bundle, what holds more."""
    estate.run(declared)
    root = estate.tree.root
    kept = {"api": declared["api"]}
    for name in ("foreign", "crowded", "loose", "broken"):
        shutil.copytree(root / "api", root / name, symlinks=True)
    other = Authority(tmp_path / "other", PASSPHRASE)
    settings = flow.AuthoritySettings(
        organization="other",
        constraints=issue.read_constraints(estate.root),
        root_lifetime=86400 * 400,
        issuing=Lifetime.parse("300d", None),
        crl_lifetime=86400,
    )
    flow.ensure_authority(other, settings, estate.now, Plan())
    foreign = (root / "foreign" / "current").resolve() / "ca.crt"
    foreign.chmod(0o600)
    foreign.write_bytes(keys.certificate_pem(other.certificate("root")))
    (root / "crowded" / "notes.txt").write_text("mine")
    (root / "loose" / "current").unlink()
    (root / "broken" / "current" / "tls.crt").unlink()
    (root / "empty").mkdir()
    for name in ("gone", "shared"):
        shutil.copytree(root / "api", root / name, symlinks=True)
    shutil.copytree(root / "foreign", root / "shared" / "clients" / "theirs", symlinks=True)
    assert not estate.request(kept)[0].changed, "without being asked for it"
    before = sorted(root.rglob("*"))
    plan, _unused, _unused = estate.request(kept, remove_undeclared=True, check=True)
    wanted = [("bundle", name, "delete") for name in ("api.app_login", "gone", "gone.app_login")]
    copies = ("foreign", "crowded", "loose", "broken", "shared")
    others = {f"{name}.app_login" for name in copies}
    shown = [(c.kind, c.name, c.action) for c in plan if c.name not in others]
    assert shown == wanted
    assert sorted(root.rglob("*")) == before
    estate.request(kept, remove_undeclared=True)
    assert not (root / "gone").exists()
    assert list((root / "api" / "clients").iterdir()) == []
    assert estate.tree.read(declared["api"]) is not None
    for name in ("foreign", "crowded", "loose", "broken", "empty", "shared/clients/theirs"):
        assert (root / name).exists(), name
    assert not estate.request(kept, remove_undeclared=True)[0].changed
    assert not estate.tree.staged()


def test_renewal_on_demand(estate: Estate, declared: Declared) -> None:
    estate.run(declared)
    before = estate.tree.current_serial(declared["api"])
    assert estate.run(declared, renew=True) == list(declared)
    assert estate.tree.current_serial(declared["api"]) != before
    assert set(estate.tree.pending()) == {"api", "api.app_login"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"dns": ["other.estate.test"]}, "dns"),
        ({"ips": []}, "ips"),
        ({"uris": []}, "uris"),
        ({"usages": ["server"]}, "usages"),
        ({"key_type": "ecdsa-p384"}, "key_type"),
        ({"common_name": "other"}, "common_name"),
    ],
)
def test_another_declaration_makes_another_certificate(
    estate: Estate, entries: list[dict[str, Any]], change: dict[str, Any], field: str
) -> None:
    estate.run(parse_all(entries))
    changed = parse_all([{**entries[0], **change}, entries[1]])
    _unused, reasons, _unused = estate.request(changed, check=True)
    assert reasons == {"api": f"it is declared with other {field}", "api.app_login": ""}
    assert estate.run(changed) == ["api"]


def test_another_root_makes_all_new(
    estate: Estate,
    declared: Declared,
    settings: flow.AuthoritySettings,
    now: datetime,
    tmp_path: Path,
) -> None:
    estate.run(declared)
    other = Authority(tmp_path / "other" / "ca", PASSPHRASE)
    flow.ensure_authority(other, settings, now, Plan())
    _unused, reasons, _unused = estate.request(declared, root=other.certificate("root"), check=True)
    assert set(reasons.values()) == {"it comes from another root"}
    _unused, reasons, _unused = estate.request(declared, root=None, check=True)
    assert set(reasons.values()) == {"its authority is yet to be made"}


@pytest.mark.parametrize("name", ["tls.key", "tls.crt", "ca.crt", "tls.pem"])
def test_a_damaged_bundle_is_replaced(estate: Estate, declared: Declared, name: str) -> None:
    estate.run(declared)
    (estate.tree.current(declared["api"]) / name).unlink()
    _unused, reasons, _unused = estate.request(declared, check=True)
    assert reasons == {"api": f"{name} is missing", "api.app_login": ""}
    assert estate.run(declared) == ["api"]


def test_drift_of_modes_is_repaired_in_place(estate: Estate, declared: Declared) -> None:
    estate.run(declared)
    serial = estate.tree.current_serial(declared["api"])
    (estate.tree.current(declared["api"]) / "tls.key").chmod(0o640)
    plan, reasons, requests = estate.request(declared)
    assert [(c.name, c.action) for c in plan] == [("api", "update")]
    assert (reasons["api"], requests) == ("", [])
    assert estate.tree.current_serial(declared["api"]) == serial
    assert not estate.request(declared)[0].changed


def test_left_overs_of_a_killed_run_are_removed(estate: Estate, declared: Declared) -> None:
    estate.run(declared)
    estate.request(declared, renew=True)
    plan, _unused, _unused = estate.request(declared, check=True)
    assert [(c.kind, c.action) for c in plan] == [("staged key", "delete")] * 2
    assert estate.tree.staged()
    estate.request(declared)
    assert estate.tree.staged() == []
    assert not estate.request(declared)[0].changed


def test_a_clock_that_went_back_is_named(estate: Estate, declared: Declared, now: datetime) -> None:
    estate.run(declared)
    _unused, reasons, _unused = estate.request(declared, now=now - timedelta(hours=1), check=True)
    assert "this machine's clock says" in reasons["api"]


# Signing


@pytest.mark.parametrize("minutes", [-6, 6])
def test_clocks_that_differ_are_refused(
    estate: Estate, declared: Declared, now: datetime, minutes: int
) -> None:
    _unused, _unused, requests = estate.request(declared)
    for entry in requests:
        entry["time"] = moment(now + timedelta(minutes=minutes))
    with pytest.raises(PhoenixError, match="by the clock there") as caught:
        estate.sign(declared, requests)
    assert "Set the clock" in caught.value.hint
    assert [r["name"] for r in estate.authority.index().certificates] == ["issuing"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "other"}, "not declared: 'other'"),
        ({"time": "yesterday"}, "does not say its time"),
        ({"csr": "x"}, "not a certificate request"),
    ],
)
def test_one_bad_request_and_none_is_signed(
    estate: Estate, declared: Declared, change: dict[str, str], words: str
) -> None:
    _unused, _unused, requests = estate.request(declared)
    requests[1].update(change)
    with pytest.raises(PhoenixError, match=words):
        estate.sign(declared, requests)
    assert [r["name"] for r in estate.authority.index().certificates] == ["issuing"]


def test_requests_that_were_swapped_are_refused(estate: Estate, declared: Declared) -> None:
    _unused, _unused, requests = estate.request(declared)
    requests[0]["csr"], requests[1]["csr"] = requests[1]["csr"], requests[0]["csr"]
    with pytest.raises(PhoenixError, match="the request is for"):
        estate.sign(declared, requests)


def test_the_index_lists_what_was_issued(estate: Estate, declared: Declared) -> None:
    _unused, _unused, requests = estate.request(declared)
    bundles = estate.sign(declared, requests, host="vps")
    records = {record["name"]: record for record in estate.authority.index().certificates}
    for entry in bundles:
        record = records[entry["name"]]
        leaf = keys.load_certificates(entry["certificate"].encode(), "x")[0]
        assert record["serial"] == entry["serial"] == issue.serial_text(leaf.serial_number)
        assert record["not_after"] == moment(leaf.not_valid_after_utc)
        assert (record["host"], record["csr"], record["revoked"]) == ("vps", True, None)
        assert record["spki"] == keys.fingerprint(leaf.public_key())
    assert records["issuing"]["csr"] is False


def test_signing_in_check_mode_issues_nothing(estate: Estate, declared: Declared) -> None:
    _unused, _unused, requests = estate.request(declared)
    plan = Plan()
    assert estate.sign(declared, requests, plan=plan, check=True) == []
    assert len(plan) == 2
    assert len(estate.authority.index().certificates) == 1


def test_signing_without_an_authority_says_so(
    estate: Estate, declared: Declared, tmp_path: Path
) -> None:
    _unused, _unused, requests = estate.request(declared)
    (tmp_path / "empty").mkdir()
    empty = Authority(tmp_path / "empty", PASSPHRASE)
    with pytest.raises(PhoenixError, match="there is no issuing authority"):
        flow.sign(empty, requests, declared, estate.now, estate.lifetime, Plan())


# Installing


def _bundles(estate: Estate, declared: Declared) -> list[Any]:
    estate.run(declared)
    _unused, _unused, requests = estate.request(declared, renew=True)
    return estate.sign(declared, requests)


def _unchanged(estate: Estate, declared: Declared, serials: dict[str, str | None]) -> bool:
    return all(estate.tree.current_serial(d) == serials[n] for n, d in declared.items())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda b: b[1].update(certificate=b[0]["certificate"]), "does not match it"),
        (lambda b: b[1].update(certificate="x"), "holds no certificate"),
        (lambda b: b[1].update(root=b[1]["certificate"]), "holds 2 certificates"),
        (lambda b: b[1].update(root=_issuing_of(b[1])), "another root than the one"),
        (lambda b: b[1].update(name="other"), "not declared"),
        (lambda b: b[1].update(certificate=_leaf_of(b[1])), "does not verify"),
    ],
)
def test_one_bad_bundle_and_none_is_swapped(
    estate: Estate, declared: Declared, damage: Any, words: str
) -> None:
    bundles = _bundles(estate, declared)
    serials = {name: estate.tree.current_serial(d) for name, d in declared.items()}
    damage(bundles)
    with pytest.raises(PhoenixError, match=words):
        estate.install(declared, bundles)
    assert _unchanged(estate, declared, serials)


def _leaf_of(bundle: dict[str, str]) -> str:
    return keys.certificate_pem(
        keys.load_certificates(bundle["certificate"].encode(), "x")[0]
    ).decode()


def _issuing_of(bundle: dict[str, str]) -> str:
    return keys.certificate_pem(
        keys.load_certificates(bundle["certificate"].encode(), "x")[1]
    ).decode()


def test_a_staged_key_of_another_is_refused(estate: Estate, declared: Declared) -> None:
    bundles = _bundles(estate, declared)
    estate.tree.stage_key("api", keys.key_pem(keys.make_key("ecdsa-p256")))
    with pytest.raises(PhoenixError, match="the staged private key does not match"):
        estate.install(declared, bundles)


def test_what_was_issued_for_another_declaration_is_refused(
    estate: Estate, entries: list[dict[str, Any]]
) -> None:
    declared = parse_all(entries)
    bundles = _bundles(estate, declared)
    changed = parse_all([{**entries[0], "ips": []}, entries[1]])
    with pytest.raises(PhoenixError, match="issued with other ips than declared"):
        estate.install(changed, bundles)


def test_a_clock_behind_refuses_in_words(estate: Estate, declared: Declared, now: datetime) -> None:
    bundles = _bundles(estate, declared)
    with pytest.raises(PhoenixError, match=r"valid from .* this machine's clock says"):
        estate.install(declared, bundles, now=now - timedelta(hours=1))


def test_installing_in_check_mode_swaps_nothing(estate: Estate, declared: Declared) -> None:
    bundles = _bundles(estate, declared)
    serials = {name: estate.tree.current_serial(d) for name, d in declared.items()}
    plan = Plan()
    assert estate.install(declared, bundles, plan=plan, check=True) == []
    assert [c.action for c in plan] == ["swap", "swap"]
    assert _unchanged(estate, declared, serials)


def test_swapped_names_say_how_they_are_taken_up(estate: Estate, declared: Declared) -> None:
    _unused, _unused, requests = estate.request(declared)
    swapped = estate.install(declared, estate.sign(declared, requests))
    assert swapped[0]["name"] == "api"
    assert (swapped[0]["service"], swapped[0]["reload"], swapped[0]["reload_signal"]) == (
        "api",
        "signal",
        "HUP",
    )


# Leaves of the authority's own machine


def test_leaves_in_one_step(
    authority: Authority, tmp_path: Path, declared: Declared, lifetime: Lifetime, now: datetime
) -> None:
    tree = Tree(tmp_path / "own")
    operator = {"api": replace(declared["api"], reload="signal")}
    plan = Plan()
    flow.ensure_leaves(authority, tree, operator, now, lifetime, plan, check=True)
    assert [c.action for c in plan] == ["create"]
    assert not tree.root.exists()
    for renew in (False, True):
        found = flow.ensure_leaves(authority, tree, operator, now, lifetime, Plan(), renew=renew)
        assert [item.due for item in found] == [""]
    assert tree.pending() == {}
    plan = Plan()
    flow.ensure_leaves(authority, tree, operator, now, lifetime, plan)
    assert not plan.changed


def test_a_link_leads_to_the_bundle(
    authority: Authority, tmp_path: Path, declared: Declared, lifetime: Lifetime, now: datetime
) -> None:
    tree = Tree(tmp_path / "state" / "certs")
    operator = {"api": declared["api"]}
    flow.ensure_leaves(authority, tree, operator, now, lifetime, Plan())
    plan = Plan()
    flow.link_leaves(tree, tmp_path / "state", operator, plan)
    assert plan.changed
    assert (tmp_path / "state" / "api" / "tls.key").exists()
    plan = Plan()
    flow.link_leaves(tree, tmp_path / "state", operator, plan)
    assert not plan.changed


# The planner, over arbitrary states


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["run", "request", "sign", "damage", "drift", "nothing"]),
            st.integers(min_value=0, max_value=70),
        ),
        max_size=5,
    )
)
def test_whatever_happened_one_run_repairs_and_the_next_changes_nothing(
    authority: Authority,
    tmp_path_factory: pytest.TempPathFactory,
    declared: Declared,
    lifetime: Lifetime,
    now: datetime,
    steps: list[tuple[str, int]],
) -> None:
    estate = Estate(authority, Tree(tmp_path_factory.mktemp("certs")), lifetime, now)
    clock = now
    for what, days in steps:
        clock += timedelta(days=days)
        _unused, _unused, requests = (
            estate.request(copy.copy(declared), now=clock)
            if what
            in (
                "request",
                "sign",
            )
            else (None, None, [])
        )
        if what == "run":
            estate.run(declared, now=clock)
        elif what == "sign":
            estate.sign(declared, requests, now=clock)
        elif what in ("damage", "drift") and estate.tree.current(declared["api"]).exists():
            path = estate.tree.current(declared["api"]) / "tls.key"
            if what == "damage":
                path.unlink(missing_ok=True)
            elif path.exists():
                path.chmod(0o644)
    predicted = estate.request(declared, now=clock, check=True)[0].summary()
    real, _unused, requests = estate.request(declared, now=clock)
    assert real.summary() == predicted, "check mode predicts what a run does"
    estate.install(declared, estate.sign(declared, requests, now=clock), now=clock)
    plan, reasons, requests = estate.request(declared, now=clock)
    assert (plan.summary(), set(reasons.values()), requests) == ([], {""}, [])
