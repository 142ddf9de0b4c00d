# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not known does not pass, and no secret gets into a result."""

from __future__ import annotations

import inspect
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils import _proofs
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    every,
    framework,
    hop,
    tokens,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import (
    CATALOGUE,
    GROUPS,
    group_of,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Once,
    Proof,
    Record,
    Vocabulary,
)

SLICE = [
    *("H1.a", "H1.b", "H1.c", "H1.d", "H3.a", "H3.b", "H3.c", "H4.c", "H4.d", "H5.c"),
    *("F1.a", "F1.b", "F2.a", "F2.b", "F2.c", "F2.d", "F2.e", "F2.f", "W.b"),
]


def one(prove: Any, *, bound: float = 5, secrets: tuple[str, ...] = ()) -> dict[str, Any]:
    """The result of a single proof with the id H1.a."""
    proofs = {"H1.a": Proof("H1.a", prove, bound)}
    found = framework.run(None, proofs, Vocabulary(*secrets))
    return next(result for result in found if result["id"] == "H1.a")


def test_every_id_is_in_every_report() -> None:
    found = framework.run(None, {}, Vocabulary())
    assert [result["id"] for result in found] == [entry.id for entry in CATALOGUE]
    assert len({entry.id for entry in CATALOGUE}) == len(CATALOGUE) == 33
    assert all(result["status"] == "not run" and result["reason"] for result in found)
    assert all(entry.title and group_of(entry.id) in GROUPS for entry in CATALOGUE)


def test_the_proofs_of_this_release_are_registered() -> None:
    assert sorted(every.PROOFS) == sorted(SLICE)


def test_every_file_with_a_proof_is_imported() -> None:
    folder = Path(_proofs.__path__[0])
    holding = {path.stem for path in folder.glob("*.py") if "\n@proof(" in path.read_text()}
    assert holding == {proof_id.lower().replace(".", "_") for proof_id in SLICE}


def test_no_fault_passes() -> None:
    def prove(_site: Any) -> Record:
        record = Record()
        record.note(peer="mcp-hr")
        return record

    result = one(prove)
    assert result["status"] == "pass"
    assert result["reason"] == ""
    assert result["evidence"] == {"peer": "mcp-hr"}
    assert result["title"].startswith("on a fresh server")


def test_any_fault_fails_with_its_evidence() -> None:
    def prove(_site: Any) -> Record:
        record = Record({"seen": 1})
        assert not record.expect(False, "one thing is wrong")
        assert record.expect(True, "never said")
        record.expect([], "another too")
        return record

    result = one(prove)
    assert (result["status"], result["reason"]) == (
        "fail",
        "one thing is wrong; another too",
    )
    assert result["evidence"] == {"seen": 1}


def test_a_hundred_faults_are_not_all_told() -> None:
    record = Record(faults=[f"fault {number}" for number in range(100)])
    assert record.reason.endswith("fault 11; and 88 more")


def test_what_cannot_be_asked_is_not_run() -> None:
    def prove(_site: Any) -> Record:
        raise NotRunError("the estate has no database", {"looked": True})

    result = one(prove)
    assert (result["status"], result["reason"]) == ("not run", "the estate has no database")
    assert result["evidence"] == {"looked": True}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
        (PhoenixError("Vault is sealed"), "PhoenixError: Vault is sealed"),
        (AssertionError(), "AssertionError: "),
    ],
)
def test_an_exception_is_a_fail(error: Exception, reason: str) -> None:
    def prove(_site: Any) -> Record:
        raise error

    result = one(prove)
    assert (result["status"], result["reason"]) == ("fail", reason)


def test_a_proof_that_hangs_fails_and_holds_nobody_up() -> None:
    release = threading.Event()

    def prove(_site: Any) -> Record:
        release.wait(30)
        return Record()

    begun = time.monotonic()
    result = one(prove, bound=0.2)
    release.set()
    assert time.monotonic() - begun < 5
    assert (result["status"], result["reason"]) == ("fail", "gave no answer within 0.2 s")


def test_a_proof_that_searches_has_the_time_for_it() -> None:
    release = threading.Event()
    site = SimpleNamespace(inputs=SimpleNamespace(search_timeout=0.2))

    def prove(_site: Any) -> Record:
        release.wait(30)
        return Record()

    proofs = {"H1.b": Proof("H1.b", prove, 0.1, searches=2)}
    found = framework.run(site, proofs, Vocabulary(), only=["H1.b"])
    release.set()
    assert [result["reason"] for result in found if result["status"] == "fail"] == [
        "gave no answer within 0.5 s, so nobody knows what its search found (attest_search_timeout)"
    ]


def test_a_busy_disk_is_no_fault() -> None:
    """Several writes of a Vault, and a login to a database, take seconds on a host that works."""
    assert min(item.bound for item in every.PROOFS.values()) >= 90
    assert tokens._MOMENT >= 10
    for function, least in ((auditlog.wait_for_path, 15), (hop.attempt, 15)):
        assert inspect.signature(function).parameters["timeout"].default >= least


def test_proofs_run_side_by_side() -> None:
    together = threading.Barrier(4, timeout=5)

    def prove(_site: Any) -> Record:
        together.wait()
        return Record()

    proofs = {name: Proof(name, prove, 5) for name in ("H1.a", "H1.b", "H1.c", "H1.d")}
    found = framework.run(None, proofs, Vocabulary())
    assert [result["status"] for result in found[:4]] == ["pass"] * 4


def test_only_those_asked_for_run() -> None:
    proofs = {name: Proof(name, lambda _site: Record(), 5) for name in ("H1.a", "H1.b")}
    found = {r["id"]: r for r in framework.run(None, proofs, Vocabulary(), only=["H1.b"])}
    assert found["H1.b"]["status"] == "pass"
    assert (found["H1.a"]["status"], found["H1.a"]["reason"]) == ("not run", "not asked for")


def test_an_id_that_does_not_exist_is_refused() -> None:
    with pytest.raises(PhoenixError, match=r"no such proof: H9\.z"):
        framework.run(None, {}, Vocabulary(), only=["H9.z", "H1.a"])


def test_no_secret_in_reason_or_evidence() -> None:
    vocabulary = Vocabulary("hunter2-and-more")

    def prove(_site: Any) -> Record:
        vocabulary.add("s.token-of-mine")
        record = Record(
            {"hunter2-and-more": ["x s.token-of-mine y", {"deep": ("hunter2-and-more",)}]}
        )
        record.expect(False, "the password hunter2-and-more does not work")
        return record

    found = framework.run(None, {"H1.a": Proof("H1.a", prove, 5)}, vocabulary)
    text = repr(found)
    assert "hunter2" not in text
    assert "token-of-mine" not in text
    assert "the password ******** does not work" in text


def test_evidence_is_json() -> None:
    clean = Vocabulary().clean({1: {"set"}, "path": Path("/x"), "none": None, "n": 1.5, "b": True})
    assert clean == {"1": ["set"], "path": "/x", "none": None, "n": 1.5, "b": True}


def test_what_several_need_is_made_once() -> None:
    calls = []

    def make() -> int:
        calls.append(1)
        time.sleep(0.05)
        return len(calls)

    once = Once(make)
    got: list[int] = []
    threads = [threading.Thread(target=lambda: got.append(once())) for _unused in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1] * 8


def test_a_failure_is_remembered_like_a_value() -> None:
    calls = []

    def make() -> int:
        calls.append(1)
        raise PhoenixError("down")

    once = Once(make)
    for _unused in range(2):
        with pytest.raises(PhoenixError, match="down"):
            once()
    assert len(calls) == 1


def test_two_proofs_of_one_id_are_refused() -> None:
    with pytest.raises(ValueError, match=r"two proofs of H1\.a"):
        framework.proof("H1.a")(lambda _site: Record())
    with pytest.raises(KeyError):
        framework.proof("Z9.z")


@pytest.mark.parametrize(
    ("statuses", "together"),
    [
        (["pass", "pass"], "pass"),
        (["pass", "not run"], "not run"),
        (["not run", "fail", "pass"], "fail"),
        ([], "not run"),
    ],
)
def test_several_hosts_are_as_good_as_the_worst(statuses: list[str], together: str) -> None:
    assert framework.worst(statuses) == together
