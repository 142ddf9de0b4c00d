# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the results of the hosts to one report: JSON for machines, JUnit for CI."""

from __future__ import annotations

import datetime
import json
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import (
    CATALOGUE,
    group_of,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    FAIL,
    NOT_RUN,
    PASS,
    worst,
)

__all__ = ["SCHEMA", "as_json", "as_junit", "build", "counts", "rebuild_of", "so_far"]

SCHEMA = 1

# The control node's clock and the host's may differ by so much.
_CLOCKS = datetime.timedelta(seconds=5)

Report = dict[str, Any]
HostResult = Mapping[str, Any]


def build(
    estate: str,
    hosts: Mapping[str, HostResult],
    phases: Mapping[str, Any] | None,
    *,
    rebuild: bool,
    now: str,
) -> Report:
    """The report of an estate.

    :arg hosts: By host what the proofs returned, or ``{"problem": why}`` where they returned
        nothing: every proof is then not run on it, for that reason.
    :arg phases: The report of a run's phases, if there is one.
    :arg rebuild: Whether that run is the one in which the estate came to be.
    :arg now: Stands for the end where no host tells one.
    """
    started = sorted(str(host["started"]) for host in hosts.values() if host.get("started"))
    finished = sorted(str(host["finished"]) for host in hosts.values() if host.get("finished"))
    return {
        "schema": SCHEMA,
        "estate": estate,
        "started": started[0] if started else now,
        "finished": finished[-1] if finished else now,
        "rebuild_seconds": phases.get("seconds") if phases and rebuild else None,
        "phases": [_phase(phase) for phase in (phases or {}).get("phases") or []],
        "proofs": _merge(hosts),
    }


def _phase(phase: Mapping[str, Any]) -> Report:
    return {key: phase.get(key) for key in ("name", "seconds", "changed", "status")}


def _merge(hosts: Mapping[str, HostResult]) -> list[Report]:
    tables = {host: _by_id(result) for host, result in hosts.items()}
    if len(tables) == 1:
        (table,) = tables.values()
        return [table[entry.id] for entry in CATALOGUE]
    return [
        _together(entry.id, entry.title, {h: t[entry.id] for h, t in tables.items()})
        for entry in CATALOGUE
    ]


def _by_id(result: HostResult) -> dict[str, Report]:
    given = {proof["id"]: proof for proof in result.get("proofs") or []}
    # A module that failed left its message.
    problem = str(result.get("msg") or result.get("problem") or "the host gave no result for it")
    return {
        entry.id: given.get(entry.id)
        or {
            "id": entry.id,
            "title": entry.title,
            "status": NOT_RUN,
            "reason": problem,
            "seconds": 0.0,
            "evidence": {},
        }
        for entry in CATALOGUE
    }


def _together(proof_id: str, title: str, results: Mapping[str, Report]) -> Report:
    """One proof on several hosts: as good as its worst."""
    status = worst(result["status"] for result in results.values())
    told: dict[str, list[str]] = {}
    for host, result in results.items():
        if result["status"] == status and result["reason"]:
            told.setdefault(result["reason"], []).append(host)
    everywhere = len(told) == 1 and len(next(iter(told.values()))) == len(results)
    reasons = [
        reason if everywhere else f"{', '.join(names)}: {reason}" for reason, names in told.items()
    ]
    return {
        "id": proof_id,
        "title": title,
        "status": status,
        "reason": "; ".join(reasons),
        "seconds": max((result["seconds"] for result in results.values()), default=0.0),
        "evidence": {host: r["evidence"] for host, r in results.items() if r["evidence"]},
    }


def counts(report: Mapping[str, Any]) -> dict[str, int]:
    """How many proofs have which status."""
    found = Counter(proof["status"] for proof in report["proofs"])
    return {status: found.get(status, 0) for status in (PASS, FAIL, NOT_RUN)}


def rebuild_of(
    candidates: Sequence[Mapping[str, Any] | None], born: Sequence[str]
) -> tuple[Mapping[str, Any] | None, bool]:
    """Which report of phases is that of the rebuild in which the estate came to be.

    A later run that changes nothing takes seconds, and they are not what a rebuild takes.

    :arg candidates: Reports of runs; the first is the fallback where no rebuild is on record.
    :arg born: When the estate came to be on each host, RFC 3339; empty where it is not known.
    :return: The run, and whether it is that rebuild.
    """
    runs = [run for run in candidates if run and run.get("started")]
    times = [moment(text) for text in born if text]
    for run in runs:
        if times and _covers(run, min(times), max(times)):
            return run, True
    return (runs[0] if runs else None), False


def _covers(run: Mapping[str, Any], first: datetime.datetime, last: datetime.datetime) -> bool:
    begun = moment(str(run["started"]))
    if first < begun - _CLOCKS:
        return False
    if run.get("status") == "running":
        return True
    return last <= begun + datetime.timedelta(seconds=float(run.get("seconds") or 0)) + _CLOCKS


def so_far(run: Mapping[str, Any], now: str) -> dict[str, Any]:
    """A report of phases with the phase that is still running, as far as it has come.

    The report of the proofs is made within the last phase of a rebuild, and shows it.
    """
    if run.get("status") != "running":
        return dict(run)
    seconds = max((moment(now) - moment(str(run["started"]))).total_seconds(), 0.0)
    phases = list(run.get("phases") or [])
    if run.get("running"):
        spent = sum(float(phase.get("seconds") or 0) for phase in phases)
        last = {"seconds": round(max(seconds - spent, 0.0), 1), "changed": 0, "status": "ok"}
        phases.append({**run["running"], **last})
    return {**run, "seconds": round(seconds, 1), "phases": phases, "status": "ok"}


def moment(text: str) -> datetime.datetime:
    """An RFC 3339 time."""
    return datetime.datetime.fromisoformat(text)


def as_json(report: Report) -> bytes:
    return (json.dumps(report, indent=2, ensure_ascii=False) + "\n").encode()


def as_junit(report: Report) -> bytes:
    """A proof is a test case: a fail is a failure, what was not run is skipped."""
    found = counts(report)
    suite = ET.Element(
        "testsuite",
        name=f"attest {report['estate']}",
        timestamp=report["started"],
        tests=str(len(report["proofs"])),
        failures=str(found[FAIL]),
        skipped=str(found[NOT_RUN]),
        errors="0",
        time=f"{sum(proof['seconds'] for proof in report['proofs']):.3f}",
    )
    for proof in report["proofs"]:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"{report['estate']}.{group_of(proof['id'])}",
            name=f"{proof['id']} {proof['title']}",
            time=f"{proof['seconds']:.3f}",
        )
        if proof["status"] == FAIL:
            failure = ET.SubElement(case, "failure", message=_xml(proof["reason"]))
            failure.text = _xml(proof["reason"].replace("; ", "\n"))
        elif proof["status"] == NOT_RUN:
            ET.SubElement(case, "skipped", message=_xml(proof["reason"]))
        if proof["evidence"]:
            output = ET.SubElement(case, "system-out")
            output.text = _xml(json.dumps(proof["evidence"], indent=1, ensure_ascii=False))
    ET.indent(suite)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True)) + b"\n"


def _xml(text: str) -> str:
    """Without the control characters that XML 1.0 cannot hold (section 2.2)."""
    return "".join(char for char in text if char in "\t\n\r" or ord(char) >= 0x20)
