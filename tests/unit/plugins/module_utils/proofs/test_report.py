# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: the same in JSON, in JUnit and on the page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import page, report
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import CATALOGUE

NOW = "2026-11-26T14:30:00Z"
Results = Callable[..., dict[str, Any]]


def build(
    hosts: dict[str, Any], phases: dict[str, Any] | None = None, *, rebuild: bool = True
) -> dict[str, Any]:
    return report.build("tamshai", hosts, phases, rebuild=rebuild, now=NOW)


def status(made: dict[str, Any], proof_id: str) -> tuple[str, str]:
    found = next(proof for proof in made["proofs"] if proof["id"] == proof_id)
    return found["status"], found["reason"]


def test_json_has_the_agreed_form(results: Results, phases: dict[str, Any]) -> None:
    made = json.loads(report.as_json(build({"vps1": results()}, phases)))
    assert list(made) == [
        *("schema", "estate", "started", "finished", "rebuild_seconds", "phases", "proofs")
    ]
    assert (made["schema"], made["estate"], made["rebuild_seconds"]) == (1, "tamshai", 128.9)
    assert made["phases"][4] == {"name": "vault", "seconds": 27.3, "changed": 4, "status": "ok"}
    assert [proof["id"] for proof in made["proofs"]] == [entry.id for entry in CATALOGUE]
    assert list(made["proofs"][0]) == ["id", "title", "status", "reason", "seconds", "evidence"]


def test_a_later_run_is_no_rebuild(results: Results, phases: dict[str, Any]) -> None:
    made = build({"vps1": results()}, phases, rebuild=False)
    assert made["rebuild_seconds"] is None
    assert made["phases"]


def test_a_host_without_a_result_proves_nothing() -> None:
    made = build({"vps1": {"problem": "cannot be reached"}})
    assert {p["status"] for p in made["proofs"]} == {"not run"}
    assert status(made, "H1.a") == ("not run", "cannot be reached")
    assert made["started"] == NOW


def test_a_module_that_failed_says_why() -> None:
    made = build({"vps1": {"failed": True, "msg": "no such proof: H9.z", "problem": "x"}})
    assert status(made, "H1.a") == ("not run", "no such proof: H9.z")


def test_of_several_hosts_the_worst_counts(results: Results) -> None:
    made = build({"a": results(), "b": results(H1_a="gone"), "c": {"problem": "unreachable"}})
    assert status(made, "H1.a") == ("fail", "b: gone")
    assert status(made, "H1.c") == ("not run", "c: unreachable")
    assert made["proofs"][0]["evidence"].keys() == {"a", "b"}


def test_what_all_hosts_say_is_said_once(results: Results) -> None:
    made = build({"a": results(), "b": results()})
    assert status(made, "H2.c")[1].startswith("not part of this release")


def test_junit_counts_and_tells(results: Results) -> None:
    made = build({"vps1": results(F1_b="logged in;\x07 by tamshai_app <b>")})
    suite = ET.fromstring(report.as_junit(made))
    assert suite.get("tests") == "33"
    assert suite.get("failures") == "1"
    not_run = [p for p in made["proofs"] if p["status"] == "not run"]
    assert suite.get("skipped") == str(len(not_run)) != "0"
    failure = suite.find(".//testcase[@classname='tamshai.F1']/failure")
    assert failure is not None
    assert failure.get("message") == "logged in; by tamshai_app <b>"
    assert len(suite.findall(".//skipped")) == len(not_run)


RUN = {"started": "2026-11-26T14:00:00Z", "seconds": 120.0, "status": "ok"}


@pytest.mark.parametrize(
    ("born", "run", "expected"),
    [
        ("2026-11-26T14:00:30+00:00", RUN, True),
        ("2026-11-26T13:59:00Z", RUN, False),
        ("2026-11-26T14:09:00Z", RUN, False),
        ("2026-11-26T14:09:00Z", {**RUN, "status": "running"}, True),
        ("", RUN, False),
    ],
)
def test_the_rebuild_is_the_run_in_which_the_estate_was_made(
    born: str, run: dict[str, Any], expected: bool
) -> None:
    assert report.rebuild_of([run], [born]) == (run, expected)


def test_the_kept_report_of_the_rebuild_wins_over_a_later_run() -> None:
    later = {"started": "2026-11-26T15:00:00Z", "seconds": 12.0, "status": "ok"}
    assert report.rebuild_of([later, RUN], ["2026-11-26T14:00:30Z"]) == (RUN, True)
    assert report.rebuild_of([None, None], ["2026-11-26T14:00:30Z"]) == (None, False)


def test_the_running_phase_is_shown_as_far_as_it_is() -> None:
    run = {
        "started": "2026-11-26T14:00:00Z",
        "seconds": 100,
        "status": "running",
        "phases": [{"name": "data", "seconds": 100.0}],
        "running": {"name": "verify", "budget": 10},
    }
    shown = report.so_far(run, "2026-11-26T14:01:45Z")
    assert (shown["seconds"], shown["status"]) == (105.0, "ok")
    assert shown["phases"][1]["name"] == "verify"
    assert shown["phases"][1]["seconds"] == 5.0
    assert report.so_far(RUN, NOW) == RUN


class Outline(HTMLParser):
    """Checks that tags close in order, and collects ids, links and text."""

    VOID = frozenset({"meta", "br", "hr", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [v for k, v in attrs if k == "id" and v]
        self.links += [v for k, v in attrs if k == "href" and v]
        self.sources += [str(given[k]) for k in ("src", "srcset", "poster") if k in given]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def render(made: dict[str, Any], **options: Any) -> Outline:
    return Outline(page.render(made, hosts=["vps1"], **options))


def test_the_page_is_whole_and_needs_nothing_else(results: Results, phases: dict[str, Any]) -> None:
    found = render(build({"vps1": results(H3_b="answers")}, phases), budgets={"vault": 25})
    assert found.open == []
    assert len(set(found.ids)) == len(found.ids)
    assert found.sources == []
    assert "script" not in found.tags
    assert "link" not in found.tags
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert found.tags.count("h1") == 1
    for entry in CATALOGUE:
        assert entry.id in found.text


def test_the_page_says_what_is_broken_first(results: Results) -> None:
    text = render(build({"vps1": results(H3_b="vault answers plain HTTP")})).text
    assert "1 promise is broken" in text.lower()
    assert text.index("What is broken") < text.index("The last run")
    assert "vault answers plain HTTP" in text


def test_the_page_says_that_limits_are_not_enforced(results: Results) -> None:
    text = render(build({"vps1": results()})).text
    assert "Memory limits are declared, and not enforced: the kernel gives" in text


def test_nothing_proven_is_no_success() -> None:
    assert "Nothing proven yet" in render(build({"vps1": {"problem": "unreachable"}})).text


def test_text_from_outside_is_text(results: Results) -> None:
    made = build({"vps1": results(H1_a="<script>alert(1)</script>\"'&")})
    made["proofs"][0]["evidence"] = {"<b>": ["<img src=x>", {"a": "</dl>"}]}
    html = page.render(made, hosts=["<i>"])
    assert "<script" not in html
    assert "<img" not in html
    assert Outline(html).open == []


def test_a_phase_over_its_budget_is_marked(results: Results, phases: dict[str, Any]) -> None:
    made = build({"vps1": results()}, phases)
    html = page.render(made, hosts=["vps1"], budgets={"vault": 25, "data": 20})
    rows = re.findall(r'<tr class="(\w*)"><th scope="row">(\w+)', html)
    assert ("over", "vault") in rows
    assert ("", "data") in rows
