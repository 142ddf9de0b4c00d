# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The authority on disk: made once, never remade by mistake, its list kept."""

from __future__ import annotations

import json
import stat
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, issue, keys, verify
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import (
    Authority,
    Index,
    moment,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import Lifetime
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

from .conftest import PASSPHRASE


def ensure(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime, **more: Any
) -> list[tuple[str, str]]:
    plan = Plan()
    flow.ensure_authority(authority, settings, now, plan, **more)
    return [(change.name, change.action) for change in plan]


def test_all_is_made_and_a_second_run_changes_nothing(
    tmp_path: Path, settings: flow.AuthoritySettings, now: datetime
) -> None:
    fresh = Authority(tmp_path / "new" / "state" / "ca", PASSPHRASE)
    assert ensure(fresh, settings, now, check=True) == [("root", "create"), ("issuing", "create")]
    assert not (tmp_path / "new").exists(), "check mode makes nothing"
    assert ensure(fresh, settings, now) == [("root", "create"), ("issuing", "create")]
    assert ensure(fresh, settings, now) == []
    for directory in (fresh.directory, fresh.directory.parent):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    for path in fresh.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = (fresh.directory / "root.key").read_bytes()
    assert b"BEGIN ENCRYPTED PRIVATE KEY" in text
    assert b"BEGIN PRIVATE KEY" not in text


def test_a_wrong_passphrase_shows_at_once(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    with pytest.raises(PhoenixError, match="the passphrase does not open"):
        ensure(replace(authority, passphrase=b"another passphrase"), settings, now)
    with pytest.raises(PhoenixError, match="shorter than 12"):
        ensure(replace(authority, passphrase=b"short"), settings, now)


def test_the_passphrase_is_in_no_text_of_the_object(authority: Authority) -> None:
    assert "d`e" not in repr(authority)


def test_a_lost_root_is_not_replaced(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    (authority.directory / "root.key").unlink()
    with pytest.raises(PhoenixError, match=r"root.key is missing, and certificates"):
        ensure(authority, settings, now)
    assert not (authority.directory / "root.key").exists()


def _use(authority: Authority, settings: flow.AuthoritySettings, now: datetime) -> None:
    ensure(authority, settings, now)
    authority.index()


@pytest.mark.parametrize("name", ["root.key", "issuing.key", "index.json"])
def test_a_damaged_file_is_named_and_kept(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime, name: str
) -> None:
    (authority.directory / name).write_bytes(b"\0damaged")
    with pytest.raises(PhoenixError, match=name):
        _use(authority, settings, now)
    assert (authority.directory / name).read_bytes() == b"\0damaged"


def test_a_key_of_another_certificate_is_refused(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    other = keys.encrypt_pem(keys.make_key("ecdsa-p384"), PASSPHRASE)
    public = (authority.directory / "issuing.crt").read_bytes()
    (authority.directory / "issuing.key").write_bytes(other + public)
    with pytest.raises(PhoenixError, match="does not match the certificate"):
        ensure(authority, settings, now)


def test_a_key_in_clear_is_refused(authority: Authority) -> None:
    public = (authority.directory / "issuing.crt").read_bytes()
    clear = keys.key_pem(authority.signer("issuing")[1])
    (authority.directory / "issuing.key").write_bytes(clear + public)
    with pytest.raises(PhoenixError, match="is not encrypted"):
        authority.signer("issuing")


def test_other_constraints_are_refused_with_both_sides(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    other = replace(settings, constraints=Constraints.parse(["other.test"]))
    with pytest.raises(PhoenixError, match=r"estate\.test.*but.*other\.test"):
        ensure(authority, other, now)


def test_the_clock_before_and_after_the_root_is_refused(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    with pytest.raises(PhoenixError, match=r"valid from .* this machine's clock says"):
        ensure(authority, settings, now - timedelta(days=2))
    with pytest.raises(PhoenixError, match="expired"):
        ensure(authority, settings, now + timedelta(days=3651))


def test_the_issuing_authority_is_renewed_under_the_same_root(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    before = authority.certificate("issuing")
    almost = now + timedelta(days=729)
    assert ensure(authority, settings, almost) == []
    later = now + timedelta(days=731)
    assert ensure(authority, settings, later) == [("issuing", "rotate")]
    after = authority.certificate("issuing")
    assert after != before
    assert after is not None
    assert before is not None
    assert after.subject != before.subject
    assert verify.signed_by(after, authority.certificate("root"))
    assert [r["name"] for r in authority.index().certificates] == ["issuing", "issuing"]


def test_a_foreign_issuing_authority_is_replaced(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "other", PASSPHRASE)
    ensure(other, settings, now)
    for name in ("issuing.key", "issuing.crt"):
        (authority.directory / name).write_bytes((other.directory / name).read_bytes())
    assert ensure(authority, settings, now) == [("issuing", "rotate")]


def test_the_published_certificate_is_repaired(
    authority: Authority, settings: flow.AuthoritySettings, now: datetime
) -> None:
    (authority.directory / "root.crt").write_text("stale")
    assert ensure(authority, settings, now, check=True) == [("root.crt", "update")]
    assert ensure(authority, settings, now) == [("root.crt", "update")]
    assert ensure(authority, settings, now) == []


def test_a_run_killed_between_root_and_issuing_is_finished(
    tmp_path: Path, settings: flow.AuthoritySettings, now: datetime
) -> None:
    fresh = Authority(tmp_path / "ca", PASSPHRASE)
    assert ensure(fresh, settings, now, steps=("root",)) == [("root", "create")]
    assert ensure(fresh, settings, now) == [("issuing", "create")]


def test_an_intermediate_needs_a_root(
    tmp_path: Path, settings: flow.AuthoritySettings, now: datetime
) -> None:
    with pytest.raises(PhoenixError, match="there is no root authority"):
        ensure(Authority(tmp_path / "ca", PASSPHRASE), settings, now, steps=("issuing",))


def test_a_state_without_an_authority_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(PhoenixError, match=f"there is no authority in {tmp_path / 'ca'}"),
        Authority(tmp_path / "ca", PASSPHRASE).lock(),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_writer_at_a_time(authority: Authority) -> None:
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with authority.lock():
            inside.set()
            go_on.wait(5)
            order.append("first")

    def second() -> None:
        with authority.lock():
            order.append("second")

    one = threading.Thread(target=first)
    one.start()
    assert inside.wait(5)
    two = threading.Thread(target=second)
    two.start()
    two.join(0.2)
    assert two.is_alive(), "the second writer waits"
    go_on.set()
    one.join(5)
    two.join(5)
    assert order == ["first", "second"]


# The index


def _record(serial: int, name: str, **more: Any) -> dict[str, Any]:
    return {
        "serial": issue.serial_text(serial),
        "name": name,
        "issuer": issue.serial_text(1),
        "not_after": "2027-01-01T00:00:00Z",
        "revoked": None,
        **more,
    }


def test_expired_records_are_kept_for_a_year(now: datetime) -> None:
    index = Index(
        [
            _record(2, "a", not_after=moment(now - timedelta(days=366))),
            _record(3, "b", not_after=moment(now - timedelta(days=364))),
        ]
    )
    index.forget_expired(now)
    assert [record["name"] for record in index.certificates] == ["b"]


@pytest.mark.parametrize(
    "text",
    ["2", "02", "00:02", issue.serial_text(2), issue.serial_text(2).upper(), "a"],
)
def test_serials_of_every_tool_and_names_are_understood(text: str) -> None:
    index = Index([_record(2, "a"), _record(3, "b")])
    assert [record["name"] for record in index.to_revoke([text])] == ["a"]


def test_what_was_never_issued_cannot_be_revoked() -> None:
    with pytest.raises(PhoenixError, match="no certificate of that name or serial was issued: x"):
        Index([_record(2, "a")]).to_revoke(["a", "x"])


def test_a_revoked_certificate_is_revoked_once(now: datetime) -> None:
    index = Index([_record(2, "a", revoked="2026-01-01T00:00:00Z"), _record(3, "a")])
    assert [r["serial"] for r in index.to_revoke(["a"])] == [issue.serial_text(3)]


def test_lists_hold_revoked_certificates_until_they_expire(now: datetime) -> None:
    at = moment(now)
    index = Index(
        [
            _record(2, "a", revoked=at, not_after=moment(now + timedelta(1))),
            _record(3, "b", revoked=at, not_after=moment(now - timedelta(1))),
            _record(4, "c", revoked=at, not_after=moment(now + timedelta(1)), issuer="x"),
            _record(5, "d", revoked=at, not_after=moment(now + timedelta(1)), issuer="y"),
            _record(6, "e", revoked=at, not_after=moment(now - timedelta(1)), issuer="y"),
            _record(7, "f", not_after=moment(now + timedelta(1))),
        ]
    )

    def listed(which: str) -> list[int]:
        return [serial for serial, _unused in index.revoked(which, issue.serial_text(1), now)]

    assert listed("root") == [2]
    assert listed("issuing") == [4, 5], "whichever issuing authority it came from"


def test_an_index_comes_back_as_it_was(now: datetime) -> None:
    index = Index([_record(2, "a"), _record(3, "b")], crl_number=4)
    assert Index.parse(index.dump(), "index.json") == index
    assert Index.parse(None, "index.json") == Index()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)


@given(st.one_of(st.binary(max_size=40), JSON.map(lambda value: json.dumps(value).encode())))
def test_an_index_that_cannot_be_read_is_never_an_empty_one(data: bytes) -> None:
    with pytest.raises(PhoenixError, match=r"index.json"):
        Index.parse(data, "index.json")


def test_a_newer_index_is_left_alone() -> None:
    data = b'{"schema": 2, "crl_number": 0, "certificates": []}'
    with pytest.raises(PhoenixError, match="newer"):
        Index.parse(data, "index.json")


# Revocation lists


def lists(authority: Authority, now: datetime, **more: Any) -> list[tuple[str, str]]:
    plan = Plan()
    flow.ensure_revocation_lists(authority, 30 * 86400, now, plan, **more)
    return [(change.name, change.action) for change in plan]


def test_lists_are_made_kept_and_remade(authority: Authority, now: datetime) -> None:
    both = ["crl.pem", "root-crl.pem"]
    assert lists(authority, now, check=True) == [(name, "create") for name in both]
    assert authority.revocation_list("crl.pem") is None
    assert lists(authority, now) == [(name, "create") for name in both]
    assert lists(authority, now) == []
    assert lists(authority, now + timedelta(days=19)) == []
    assert lists(authority, now + timedelta(days=21)) == [(name, "update") for name in both]


def test_a_revoked_certificate_comes_onto_the_list_once(
    authority: Authority, now: datetime
) -> None:
    lists(authority, now)
    assert lists(authority, now, revoke=["issuing"]) == [
        ("issuing", "revoke"),
        ("root-crl.pem", "update"),
    ]
    listed = authority.revocation_list("root-crl.pem")
    assert listed is not None
    assert [entry.serial_number for entry in listed] == [
        authority.signer("issuing")[0].serial_number
    ]
    assert lists(authority, now, revoke=["issuing"]) == []


def _leaf(authority: Authority, declared: dict[str, Any], now: datetime) -> int:
    """A certificate that the present issuing authority made and the index knows."""
    signer = authority.signer("issuing")
    leaf = issue.make_leaf(
        public_key=keys.make_key("ecdsa-p256").public_key(),
        declared=declared["api"],
        issuer=signer,
        now=now,
        lifetime=timedelta(days=90),
    )
    index = authority.index()
    index.record("api", leaf, signer[0], now)
    authority.save_index(index)
    return int(leaf.serial_number)


@pytest.mark.parametrize("lost", [False, True])
def test_a_certificate_of_the_issuing_authority_before_is_listed_by_the_present_one(
    authority: Authority,
    settings: flow.AuthoritySettings,
    declared: dict[str, Any],
    now: datetime,
    lost: bool,
) -> None:
    """It is good until it expires, and the one that issued it signs no list any more."""
    at = now if lost else now + timedelta(days=731)
    serial = _leaf(authority, declared, at)
    if lost:
        (authority.directory / "issuing.key").unlink()
    assert ("issuing", "create" if lost else "rotate") in ensure(authority, settings, at)
    lists(authority, at)
    assert lists(authority, at, revoke=["api"]) == [("api", "revoke"), ("crl.pem", "update")]
    made = authority.revocation_list("crl.pem")
    assert verify.signed_by(made, authority.certificate("issuing"))
    assert [entry.serial_number for entry in made or []] == [serial]
    assert list(authority.revocation_list("root-crl.pem") or []) == []
    assert lists(authority, at) == []
    # Once it has expired it is on no list; a revoked issuing authority is on the root's alone.
    lists(authority, at + timedelta(days=91), revoke=["issuing"])
    assert list(authority.revocation_list("crl.pem") or []) == []


def test_what_an_earlier_version_left_off_the_list_comes_onto_it(
    authority: Authority,
    settings: flow.AuthoritySettings,
    declared: dict[str, Any],
    now: datetime,
) -> None:
    serial = _leaf(authority, declared, now)
    (authority.directory / "issuing.key").unlink()
    ensure(authority, settings, now)
    lists(authority, now)
    index = authority.index()
    index.to_revoke(["api"])[0]["revoked"] = moment(now)
    authority.save_index(index)
    assert lists(authority, now, check=True) == [("crl.pem", "update")]
    assert lists(authority, now) == [("crl.pem", "update")]
    assert [e.serial_number for e in authority.revocation_list("crl.pem") or []] == [serial]
    assert lists(authority, now) == []


def test_a_serial_that_an_older_copy_of_the_state_does_not_know(
    authority: Authority, now: datetime
) -> None:
    """It is on the list for as long as its issuer is good."""
    lists(authority, now)
    text = "7B:" * 19 + "CD"
    expected = [("unknown", "revoke"), ("crl.pem", "update")]
    assert lists(authority, now, revoke=[text], check=True) == expected
    assert authority.index().to_revoke([]) == []
    assert lists(authority, now, revoke=[text]) == expected
    listed = authority.revocation_list("crl.pem")
    assert listed is not None
    assert [f"{entry.serial_number:x}" for entry in listed] == ["7b" * 19 + "cd"]
    for later in (0, 300):
        assert ("unknown", "revoke") not in lists(
            authority, now + timedelta(days=later), revoke=[text]
        )
    assert len(list(authority.revocation_list("crl.pem") or [])) == 1
    # Not a whole one; and one that no certificate can have.
    for wrong in ("abcdef", "f" * 40):
        with pytest.raises(PhoenixError, match=f"was issued: {wrong}"):
            lists(authority, now, revoke=[wrong])


def test_a_crash_between_index_and_list_is_repaired(authority: Authority, now: datetime) -> None:
    lists(authority, now)
    index = authority.index()
    index.certificates[0]["revoked"] = moment(now)
    authority.save_index(index)
    assert lists(authority, now) == [("root-crl.pem", "update")]


def test_a_damaged_list_is_remade(authority: Authority, now: datetime) -> None:
    lists(authority, now)
    (authority.directory / "crl.pem").write_text("x")
    assert [name for name, _unused in lists(authority, now)] == ["crl.pem"]


def test_the_authority_state_needs_no_key_when_nothing_is_due(
    authority: Authority, now: datetime
) -> None:
    lists(authority, now)
    assert lists(replace(authority, passphrase=b"wrong passphrase"), now) == []


def test_lifetimes_are_as_declared(
    tmp_path: Path, settings: flow.AuthoritySettings, now: datetime
) -> None:
    short = replace(settings, issuing=Lifetime.parse("10d", None), root_lifetime=20 * 86400)
    fresh = Authority(tmp_path / "ca", PASSPHRASE)
    ensure(fresh, short, now)
    root, issuing = fresh.certificate("root"), fresh.certificate("issuing")
    assert root is not None
    assert issuing is not None
    assert root.not_valid_after_utc == now + timedelta(days=20)
    assert issuing.not_valid_after_utc == now + timedelta(days=10)
