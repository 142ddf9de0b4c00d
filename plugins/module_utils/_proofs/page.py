# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report as one HTML page: no script, nothing from elsewhere, good on a phone and on paper."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import (
    GROUPS,
    group_of,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    FAIL,
    NOT_RUN,
    PASS,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.report import (
    counts,
    moment,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.style import CSS

__all__ = ["render"]

Report = Mapping[str, Any]

_SIGN = {PASS: "✓", FAIL: "✕", NOT_RUN: "–"}
_CLASS = {PASS: "pass", FAIL: "fail", NOT_RUN: "none"}
_WORD = {PASS: "proven", FAIL: "broken", NOT_RUN: "not run"}
_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
)
# Longer texts are shown in a block of their own.
_INLINE = 90


def render(
    report: Report, *, budgets: Mapping[str, int] | None = None, hosts: Sequence[str]
) -> str:
    """The page.

    :arg report: As ``attest.json`` has it.
    :arg budgets: Seconds that each phase may take, where it has a budget.
    :arg hosts: Which hosts were looked at.
    """
    found = counts(report)
    title = f"{report['estate']}: {_verdict(found)}"
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            _POLICY,
            f"<title>{_text(title)}</title>",
            f"<style>{CSS}</style>",
            "</head>",
            "<body>",
            _header(report, found, hosts),
            "<main>",
            _attention(report),
            _timeline(report, budgets or {}),
            _limits(report),
            _proofs(report),
            "</main>",
            _footer(report),
            "</body>",
            "</html>",
            "",
        ]
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)


def _verdict(found: Mapping[str, int]) -> str:
    if found[FAIL]:
        noun = "promise is" if found[FAIL] == 1 else "promises are"
        return f"{found[FAIL]} {noun} broken"
    if not found[PASS]:
        return "nothing proven yet"
    noun = "promise" if found[PASS] == 1 else "promises"
    return f"{found[PASS]} {noun} proven, none broken"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if seconds >= 100 else f"{round(seconds)} s"


def _when(text: str) -> str:
    return f'<time datetime="{_text(text)}">{moment(text).strftime("%d %B %Y, %H:%M:%S %Z")}</time>'


def _header(report: Report, found: Mapping[str, int], hosts: Sequence[str]) -> str:
    state = _CLASS[FAIL] if found[FAIL] else _CLASS[PASS] if found[PASS] else _CLASS[NOT_RUN]
    tiles = [
        _tile("pass", found[PASS], "proven"),
        _tile("fail", found[FAIL], "broken"),
        _tile("none", found[NOT_RUN], "not run"),
    ]
    if report["rebuild_seconds"] is not None:
        tiles.append(_tile("time", _duration(report["rebuild_seconds"]), "rebuilt from nothing in"))
    where = ", ".join(hosts)
    return (
        f'<header class="{state}"><div class="wrap">'
        f'<p class="estate">Estate {_text(report["estate"])} on {_text(where)}</p>'
        f"<h1>{_text(_verdict(found).capitalize())}</h1>"
        f'<p class="when">{_when(report["started"])}</p>'
        f'<dl class="tiles">{"".join(tiles)}</dl>'
        "</div></header>"
    )


def _tile(kind: str, value: object, label: str) -> str:
    return f'<div class="tile {kind}"><dt>{_text(label)}</dt><dd>{_text(value)}</dd></div>'


def _attention(report: Report) -> str:
    broken = [proof for proof in report["proofs"] if proof["status"] == FAIL]
    if not broken:
        return ""
    items = "".join(
        f'<li><a href="#{_anchor(proof)}"><b>{_text(proof["id"])}</b> {_text(proof["title"])}</a>'
        f"<p>{_text(proof['reason'])}</p></li>"
        for proof in broken
    )
    return (
        '<section class="attention" aria-labelledby="broken"><h2 id="broken">What is broken</h2>'
        f"<ul>{items}</ul></section>"
    )


def _anchor(proof: Report) -> str:
    return "proof-" + str(proof["id"]).lower().replace(".", "-")


def _timeline(report: Report, budgets: Mapping[str, int]) -> str:
    phases = report["phases"]
    known = report["rebuild_seconds"] is not None
    heading = "How it was rebuilt" if known else "The last run"
    if not phases:
        return (
            f'<section aria-labelledby="phases"><h2 id="phases">{heading}</h2>'
            "<p>No report of its phases is at hand.</p></section>"
        )
    total = max(sum(float(phase["seconds"]) for phase in phases), 0.001)
    rows: list[str] = []
    begin = 0.0
    for phase in phases:
        rows.append(_phase(phase, begin, total, budgets.get(phase["name"])))
        begin += float(phase["seconds"])
    return (
        f'<section aria-labelledby="phases"><h2 id="phases">{heading}</h2>'
        '<table class="phases"><caption>Phases in their order, with the time each '
        "took and its budget</caption><thead><tr>"
        '<th scope="col">Phase</th><th scope="col" class="lane">When</th>'
        '<th scope="col" class="num">Time</th><th scope="col" class="num">Budget</th>'
        '<th scope="col" class="num wide">Changes</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></section>"
    )


def _phase(phase: Report, begin: float, total: float, budget: int | None) -> str:
    seconds = float(phase["seconds"])
    over = bool(budget and seconds > budget)
    kind = "fail" if phase["status"] not in ("ok", "skipped", "running") else "over" if over else ""
    left, width = 100 * begin / total, max(100 * seconds / total, 0.6)
    note = "" if phase["status"] == "ok" else f' <span class="note">{_text(phase["status"])}</span>'
    return (
        f'<tr class="{kind}"><th scope="row">{_text(phase["name"])}{note}</th>'
        '<td class="lane"><span class="track" aria-hidden="true">'
        f'<span class="bar" style="left:{left:.2f}%;width:{width:.2f}%"></span></span></td>'
        f'<td class="num">{_duration(seconds)}</td>'
        f'<td class="num">{_duration(budget) if budget else "–"}'
        f"{' <span class=note>over</span>' if over else ''}</td>"
        f'<td class="num wide">{_text(phase.get("changed", "–"))}</td></tr>'
    )


def _limits(report: Report) -> str:
    """What a reader must know about this host before believing a number."""
    for proof in report["proofs"]:
        limits = proof["evidence"].get("memory_limits")
        if isinstance(limits, Mapping) and limits.get("note"):
            declared = ", ".join(f"{k} {v}" for k, v in (limits.get("declared") or {}).items())
            return (
                '<aside class="remark"><p><b>Memory limits are declared, and '
                f"{_text(limits['note'])}.</b> Declared: {_text(declared)}.</p></aside>"
            )
    return ""


def _proofs(report: Report) -> str:
    parts: list[str] = []
    for group, heading in GROUPS.items():
        members = [proof for proof in report["proofs"] if group_of(proof["id"]) == group]
        if members:
            parts.append(
                f'<section aria-labelledby="group-{group}">'
                f'<h2 id="group-{group}"><span class="key">{group}</span> {_text(heading)}</h2>'
                f'<ul class="proofs">{"".join(_proof(proof) for proof in members)}</ul></section>'
            )
    return "\n".join(parts)


def _proof(proof: Report) -> str:
    status = proof["status"]
    reason = f'<p class="reason">{_text(proof["reason"])}</p>' if proof["reason"] else ""
    evidence = ""
    if proof["evidence"]:
        evidence = (
            f"<details><summary>Evidence of {_text(proof['id'])}</summary>"
            f'<div class="evidence">{_value(proof["evidence"])}</div></details>'
        )
    took = f'<span class="took">{_duration(proof["seconds"])}</span>' if proof["seconds"] else ""
    return (
        f'<li class="proof {_CLASS[status]}" id="{_anchor(proof)}">'
        f'<p class="status"><span class="sign" aria-hidden="true">{_SIGN[status]}</span>'
        f"<span>{_WORD[status]}</span></p>"
        f'<div class="claim"><h3><span class="key">{_text(proof["id"])}</span> '
        f"{_code(_sentence(proof['title']))}</h3>{reason}{evidence}</div>{took}</li>"
    )


def _code(text: str) -> str:
    """Text in which what stands between backticks is code."""
    parts = _text(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _value(value: Any) -> str:
    """A JSON value as a reader wants it: tables where rows are alike, lists, else plain text."""
    if isinstance(value, Mapping):
        if not value:
            return '<span class="empty">none</span>'
        columns = _columns(value.values())
        return _table(value, columns) if columns else _pairs(value)
    if isinstance(value, (list, tuple)):
        return _list(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value == "":
        return '<span class="empty">none</span>'
    text = _text(value)
    return f"<code>{text}</code>" if len(text) > _INLINE else text


def _columns(values: Iterable[Any]) -> list[str]:
    """The columns that several flat mappings have between them; none where they are not alike."""
    rows = list(values)
    if len(rows) < 2 or not all(isinstance(row, Mapping) and row for row in rows):
        return []
    columns = list(dict.fromkeys(key for row in rows for key in row))
    flat = all(not isinstance(item, Mapping) for row in rows for item in row.values())
    filled = sum(len(row) for row in rows) / (len(rows) * len(columns))
    return columns if flat and len(columns) <= 8 and filled > 0.6 else []


def _table(rows: Mapping[str, Any], columns: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{_label(column)}</th>' for column in columns)
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(_cell(row.get(column, "")) for column in columns)
        + "</tr>"
        for name, row in rows.items()
    )
    return (
        '<div class="scroll" tabindex="0" role="group" aria-label="table"><table><thead><tr>'
        f"<td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if value == "":
        return "<td></td>"
    prose = isinstance(value, str) and len(value) > 24 and " " in value
    return f"<td class=prose>{_value(value)}</td>" if prose else f"<td>{_value(value)}</td>"


def _pairs(values: Mapping[str, Any]) -> str:
    parts: list[str] = []
    for key, value in values.items():
        # What has parts of its own gets the whole width, below its name.
        kind = ' class="deep"' if isinstance(value, Mapping) and value else ""
        parts.append(f"<dt{kind}>{_label(key)}</dt><dd{kind}>{_value(value)}</dd>")
    return f'<dl class="pairs">{"".join(parts)}</dl>'


def _list(values: Sequence[Any]) -> str:
    if not values:
        return '<span class="empty">none</span>'
    if all(not isinstance(item, (Mapping, list)) for item in values):
        return ", ".join(_value(item) for item in values)
    return "<ol>" + "".join(f"<li>{_value(item)}</li>" for item in values) + "</ol>"


def _label(key: object) -> str:
    """A key in words; names of things (with dots, slashes, capitals) stay as they are."""
    text = str(key)
    return _text(text.replace("_", " ") if text.replace("_", "").islower() else text)


def _footer(report: Report) -> str:
    return (
        '<footer><div class="wrap"><p>Each line is a claim about the running estate, tried from '
        "outside of what built it. <b>Proven</b>: everything that was seen agrees with it. "
        "<b>Broken</b>: something does not, or the attempt itself went wrong. <b>Not run</b>: "
        "nothing is known, for the reason given. Evidence never holds a secret.</p>"
        f"<p>tamshai.phoenix, report format {_text(report['schema'])}, finished "
        f"{_when(report['finished'])}.</p></div></footer>"
    )
