# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The style sheet of the report's page."""

from __future__ import annotations

__all__ = ["CSS"]

CSS = """
:root {
  --ground: #f6f7f9; --card: #fff; --ink: #16202c; --soft: #51606f; --line: #dde3ea;
  --pass: #0b6b45; --pass-ground: #e2f4ea; --fail: #a81c1c; --fail-ground: #fdeaea;
  --none: #55616e; --none-ground: #eceff3; --accent: #1f4e8c; --bar: #2f6fbf; --over: #9a5b00;
  --hero: #0f2a22; --hero-fail: #3d1212; --hero-none: #232b35; --hero-ink: #f4fbf7;
  --hero-soft: #bfd6cb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #11161c; --card: #1a212a; --ink: #e8edf2; --soft: #a3b1bf; --line: #2d3743;
    --pass: #62d39b; --pass-ground: #12352a; --fail: #ff9c9c; --fail-ground: #43191b;
    --none: #b0bcc8; --none-ground: #28313b; --accent: #8dbdf5; --bar: #5b9ae6; --over: #f0b866;
    --hero: #0c211b; --hero-fail: #330f10; --hero-none: #1c232b;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
.wrap, main { max-width: 64rem; margin: 0 auto; padding: 0 1.25rem; }
header { background: var(--hero); color: var(--hero-ink); padding: 2.75rem 0 2.25rem; }
header.fail { background: var(--hero-fail); }
header.none { background: var(--hero-none); }
.estate, .when { margin: 0; color: var(--hero-soft); }
header.fail .estate, header.fail .when { color: #f0caca; }
header.none .estate, header.none .when { color: #c6d0da; }
h1 { margin: .2rem 0 .3rem; font-size: clamp(1.9rem, 5vw, 3rem); line-height: 1.1;
  letter-spacing: -.02em; font-weight: 700; }
.tiles { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.75rem 0 0; }
.tile { display: flex; flex-direction: column-reverse; background: rgb(255 255 255 / .08);
  border: 1px solid rgb(255 255 255 / .16); border-radius: .6rem; padding: .6rem 1rem;
  min-width: 7rem; }
.tile dt { font-size: .875rem; color: var(--hero-ink); }
.tile.time { flex-direction: column; }
.tile dd { margin: 0; font-size: 1.6rem; font-weight: 650; line-height: 1.2;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
section { margin: 2.5rem 0; }
h2 { font-size: 1.25rem; line-height: 1.3; margin: 0 0 .8rem; letter-spacing: -.01em; }
.key { font: 600 .8em/1 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace;
  color: var(--accent); margin-right: .35em; white-space: nowrap; }
a { color: var(--accent); }
a:focus-visible, summary:focus-visible, .scroll:focus-visible { outline: 3px solid var(--accent);
  outline-offset: 2px; border-radius: 2px; }
.attention { background: var(--fail-ground); border-left: .3rem solid var(--fail);
  padding: 1.1rem 1.25rem; border-radius: .4rem; }
.attention h2 { color: var(--fail); }
.attention ul { margin: 0; padding: 0; list-style: none; }
.attention li + li { margin-top: .8rem; }
.attention a { color: var(--ink); }
.attention p { margin: .2rem 0 0; overflow-wrap: anywhere; }
.remark { background: var(--none-ground); border-left: .3rem solid var(--over);
  padding: .7rem 1.25rem; border-radius: .4rem; }
.remark p { margin: 0; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem;
  border-bottom: 1px solid var(--line); }
thead th { font-size: .8125rem; font-weight: 600; color: var(--soft); }
.phases { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  border-collapse: separate; border-spacing: 0; overflow: hidden; }
.phases caption { position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap; }
.phases tbody tr:last-child > * { border-bottom: 0; }
.phases th[scope=row] { font-weight: 600; white-space: nowrap; }
.phases td { vertical-align: middle; }
.lane { width: 55%; }
.track { display: block; position: relative; height: 1rem; border-radius: .25rem;
  background: var(--none-ground); }
.bar { position: absolute; top: 0; bottom: 0; border-radius: .25rem; background: var(--bar); }
tr.over .bar { background: var(--over); }
tr.fail .bar { background: var(--fail); }
.note { font-size: .8125rem; font-weight: 500; color: var(--over); }
tr.fail .note { color: var(--fail); }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.proofs { list-style: none; margin: 0; padding: 0; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem; }
.proof { display: grid; grid-template-columns: 7rem minmax(0, 1fr) auto; gap: .25rem 1rem;
  padding: .9rem 1.1rem; }
.proof + .proof { border-top: 1px solid var(--line); }
.proof:target { box-shadow: inset .3rem 0 0 var(--accent); }
.status { margin: 0; }
.status span:last-child { font-weight: 600; }
.status .sign { display: inline-grid; place-items: center; width: 1.45rem; height: 1.45rem;
  border-radius: 50%; margin-right: .45rem; font-size: .85rem; font-weight: 700; }
.pass .status { color: var(--pass); } .pass .sign { background: var(--pass-ground); }
.proof.fail .status { color: var(--fail); } .fail .sign { background: var(--fail-ground); }
.none .status { color: var(--none); } .none .sign { background: var(--none-ground); }
.claim h3 { font-size: 1rem; font-weight: 500; line-height: 1.45; margin: 0; }
.none .claim h3 { color: var(--soft); }
.reason { margin: .25rem 0 0; color: var(--soft); font-size: .9375rem; overflow-wrap: anywhere; }
.proof.fail .reason { color: var(--fail); }
.took { color: var(--soft); font-size: .875rem; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
details { margin-top: .45rem; }
summary { cursor: pointer; color: var(--accent); font-size: .9375rem; width: fit-content;
  padding: .15rem 0; }
.evidence { font-size: .875rem; margin-top: .5rem; overflow-wrap: anywhere; }
.pairs { display: grid; grid-template-columns: minmax(7rem, 12rem) minmax(0, 1fr); margin: 0;
  border-top: 1px solid var(--line); }
.pairs > dt, .pairs > dd { margin: 0; padding: .4rem .6rem .4rem 0;
  border-bottom: 1px solid var(--line); }
.pairs > dt { color: var(--soft); }
.pairs > dt.deep { grid-column: 1 / -1; border-bottom: 0; padding-bottom: .1rem;
  font-weight: 600; }
.pairs > dd.deep { grid-column: 1 / -1; padding: 0 0 .4rem .9rem; }
.pairs .pairs { border-top: 0; }
.pairs .pairs > :nth-last-child(-n+2) { border-bottom: 0; }
.scroll { overflow-x: auto; }
.scroll table { width: auto; min-width: 100%; }
.scroll th, .scroll td { padding: .35rem .8rem .35rem 0; overflow-wrap: normal; }
.scroll th[scope=row] { font-weight: 500; white-space: nowrap; }
.scroll td { min-width: 5rem; }
.scroll td.prose { min-width: 16rem; }
code { font: .92em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
.empty { color: var(--soft); }
ol { margin: 0; padding-left: 1.2rem; }
footer { border-top: 1px solid var(--line); padding: 1.5rem 0 2.5rem; color: var(--soft);
  font-size: .875rem; }
footer p { max-width: 46rem; }
@media (max-width: 40rem) {
  header { padding: 1.75rem 0 1.5rem; }
  .tiles { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: .5rem; }
  .tile { min-width: 0; padding: .5rem .7rem; }
  .tile.time { grid-column: 1 / -1; }
  .proof { grid-template-columns: minmax(0, 1fr) auto; padding: .85rem .95rem; }
  .proof .claim { grid-column: 1 / -1; grid-row: 2; }
  .phases th, .phases td { padding: .4rem .5rem; }
  .lane { width: 34%; }
  .wide { display: none; }
  .pairs { grid-template-columns: minmax(0, 1fr); }
  .pairs > dt { border-bottom: 0; padding-bottom: 0; }
}
@media print {
  body { background: #fff; }
  header { background: #fff; color: #000; border-bottom: 2px solid #000; }
  .estate, .when, .tile dt { color: #000; }
  .tile { border-color: #000; }
  .proof, tr { break-inside: avoid; }
}
"""
