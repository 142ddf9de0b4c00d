# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules attest and attest_report as Ansible runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import run
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import disruption, framework
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Proof,
    Record,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site
from ansible_collections.tamshai.phoenix.plugins.modules import attest, attest_report

CANARY = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
ESTATE = {"name": "tamshai", "root": "/nowhere", "run": "/nowhere", "services": {}, "agents": []}
SECRETS = ("token", "operator_key", "fingerprint_key")

Call = Callable[..., tuple[dict[str, Any], int]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run a module to its end; its result and exit code."""

    def _call(module: Any, options: dict[str, Any], *, check: bool = False) -> Any:
        given = {**options, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            run(module.SPEC, module.main)
        output = capsys.readouterr()
        assert CANARY not in output.out + output.err
        assert json.dumps(CANARY)[1:-1] not in output.out + output.err
        return json.loads(output.out), int(ended.value.code or 0)

    return _call


def options(**more: Any) -> dict[str, Any]:
    secrets = {name: f"{CANARY}-{name}" for name in SECRETS}
    return {"estate": ESTATE, **secrets, "forbidden": {"share": f"{CANARY}-share"}, **more}


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Proof]:
    """One proof that passes, in place of the real ones."""

    def prove(_site: Site) -> Record:
        return Record({"seen": True})

    made = {"H1.a": Proof("H1.a", prove, 5)}
    monkeypatch.setattr(attest, "PROOFS", made)
    return made


def test_every_proof_is_in_the_result(call: Call, proofs: dict[str, Proof]) -> None:
    result, code = call(attest, options())
    assert (code, result["changed"], len(result["proofs"])) == (0, False, 33)
    assert result["proofs"][0]["status"] == "pass"
    assert {p["status"] for p in result["proofs"][1:]} == {"not run"}
    assert result["started"] <= result["finished"]
    assert result["born"] == ""


def test_a_failed_proof_does_not_fail_the_module(call: Call, proofs: dict[str, Proof]) -> None:
    def prove(_site: Site) -> Record:
        raise PhoenixError("Vault is sealed")

    proofs["H1.a"] = Proof("H1.a", prove, 5)
    result, code = call(attest, options())
    assert (code, result["proofs"][0]["status"]) == (0, "fail")


def test_no_secret_comes_out_whatever_a_proof_does(call: Call, proofs: dict[str, Proof]) -> None:
    learned = "learned-from-a-server-0123"

    def prove(site: Site) -> Record:
        site.vocabulary.add(learned)
        inputs = site.inputs
        record = Record({"token": inputs.token, learned: [inputs.fingerprint_key]})
        record.expect(False, f"{inputs.foreign} and {learned} and {inputs.operator}")
        return record

    def crash(site: Site) -> Record:
        raise ValueError(f"{site.inputs.token} {site.inputs.foreign}")

    proofs["H1.a"] = Proof("H1.a", prove, 5)
    proofs["H1.b"] = Proof("H1.b", crash, 5)
    result, _unused = call(attest, options(operator_certificate="-----BEGIN"))
    assert result["proofs"][0]["status"] == result["proofs"][1]["status"] == "fail"
    assert learned not in json.dumps(result)


def test_a_defect_shows_no_secret_either(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(site: Site, *_args: Any, **_kwargs: Any) -> None:
        raise RuntimeError(f"{site.inputs.token} in a traceback")

    monkeypatch.setattr(attest, "prove", broken)
    result, code = call(attest, options())
    assert code == 1
    assert "in a traceback" in result["msg"]


def test_check_mode_asks_nothing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framework, "run", lambda *_a, **_k: pytest.fail("it ran"))
    for collect in ("proofs", "snapshot", "opening"):
        result, code = call(attest, options(collect=collect), check=True)
        assert (code, result["changed"]) == (0, False)
        assert {p["status"] for p in result["proofs"]} == {"not run"}
        assert all(p["reason"].startswith("check mode") for p in result["proofs"])


def test_an_unknown_proof_is_refused_in_words(call: Call, proofs: dict[str, Proof]) -> None:
    result, code = call(attest, options(only=["H9.z"]))
    assert code == 1
    assert result["msg"].startswith("no such proof: H9.z. There are H1.a, ")


def test_shares_are_not_shown(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(
        disruption, "open_seal", lambda _site, shares, delay: given.append((shares, delay))
    )
    _unused, code = call(attest, options(collect="opening", shares=[f"{CANARY}-1"], delay=4))
    assert (code, given) == (0, [([f"{CANARY}-1"], 4)])


@pytest.mark.parametrize("module", [attest, attest_report])
def test_documentation_and_spec_agree(module: Any) -> None:
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert documented.keys() == module.SPEC.keys()
    for name, option in module.SPEC.items():
        for key in ("type", "default", "choices", "elements", "required"):
            assert option.get(key) == documented[name].get(key), (name, key)


# attest_report

RUN = {
    "started": "2026-11-26T14:00:00Z",
    "seconds": 120.0,
    "status": "ok",
    "phases": [{"name": "vault", "seconds": 20.0, "budget": 25, "changed": 3, "status": "ok"}],
}


def host(**more: Any) -> dict[str, Any]:
    """What attest returns, in check mode's form."""
    return {
        "proofs": attest.predicted(),
        "started": "2026-11-26T14:02:00Z",
        "finished": "2026-11-26T14:02:04Z",
        "born": "2026-11-26T14:00:10+00:00",
        **more,
    }


def report_options(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "estate": "tamshai",
        "results": {"vps1": host()},
        "phases": [str(folder / "phases.json")],
        "directory": str(folder / "report"),
        **more,
    }


def test_three_files_are_written_and_nothing_is_changed(call: Call, tmp_path: Path) -> None:
    (tmp_path / "phases.json").write_text(json.dumps(RUN))
    result, code = call(attest_report, report_options(tmp_path))
    assert (code, result["changed"], result["broken"]) == (0, False, [])
    assert result["counts"] == {"pass": 0, "fail": 0, "not run": 33}
    assert result["summary"] == ["0 proven, 0 broken, 33 not run"]
    folder = tmp_path / "report"
    assert sorted(os.listdir(folder)) == [  # noqa: PTH208
        *("attest.html", "attest.json", "attest.xml", "rebuild.json")
    ]
    assert json.loads((folder / "attest.json").read_text())["rebuild_seconds"] == 120.0
    assert result["report"] == str(folder / "attest.html")


def test_the_rebuild_is_remembered_over_a_later_run(call: Call, tmp_path: Path) -> None:
    (tmp_path / "phases.json").write_text(json.dumps(RUN))
    call(attest_report, report_options(tmp_path))
    later = {**RUN, "started": "2026-11-26T15:00:00Z", "seconds": 12.0, "phases": []}
    (tmp_path / "phases.json").write_text(json.dumps(later))
    call(attest_report, report_options(tmp_path))
    document = json.loads((tmp_path / "report" / "attest.json").read_text())
    assert document["rebuild_seconds"] == 120.0
    assert document["phases"][0]["name"] == "vault"


def test_an_estate_made_anew_forgets_the_rebuild_before(call: Call, tmp_path: Path) -> None:
    (tmp_path / "phases.json").write_text(json.dumps(RUN))
    call(attest_report, report_options(tmp_path))
    (tmp_path / "phases.json").unlink()
    results = {"vps1": host(born="2026-11-27T08:00:00Z")}
    call(attest_report, report_options(tmp_path, results=results))
    document = json.loads((tmp_path / "report" / "attest.json").read_text())
    assert document["rebuild_seconds"] is None


@pytest.mark.parametrize("content", ["", "no JSON", "[1]"])
def test_reports_of_phases_that_are_none(call: Call, tmp_path: Path, content: str) -> None:
    (tmp_path / "phases.json").write_text(content)
    _unused, code = call(attest_report, report_options(tmp_path))
    assert code == 0
    document = json.loads((tmp_path / "report" / "attest.json").read_text())
    assert (document["rebuild_seconds"], document["phases"]) == (None, [])


def test_what_is_broken_is_returned(call: Call, tmp_path: Path) -> None:
    proofs = attest.predicted()
    proofs[3] |= {"status": "fail", "reason": "x"}
    result, _unused = call(
        attest_report, report_options(tmp_path, results={"a": host(proofs=proofs)})
    )
    assert result["broken"] == ["H1.d"]
    assert result["summary"][0] == "fail H1.d"


def test_a_dry_run_writes_nothing(call: Call, tmp_path: Path) -> None:
    _unused, code = call(attest_report, report_options(tmp_path), check=True)
    assert code == 0
    assert not (tmp_path / "report").exists()


def test_no_host_no_report(call: Call, tmp_path: Path) -> None:
    result, code = call(attest_report, report_options(tmp_path, results={}))
    assert (code, result["msg"]) == (1, "there is no host to report on")
