#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: attest_report
short_description: Write the report of an estate's proofs
version_added: 0.1.0
description:
  - Puts the results of M(tamshai.phoenix.attest) from all hosts together and writes them as
    C(attest.json) for machines, C(attest.xml) (JUnit) for CI and C(attest.html) for people.
  - Runs on the control node.
  - A proof on several hosts is as good as on the worst of them.
author:
  - tamshai.phoenix contributors (@tamshai)
extends_documentation_fragment:
  - tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
    details:
      - Writes nothing in check mode.
  diff_mode:
    support: none
  idempotent:
    support: full
    details:
      - The report of a run is a record of it and not something that is managed, so writing it is
        no change.
options:
  estate:
    description: Name of the estate.
    type: str
    required: true
  results:
    description:
      - By host what M(tamshai.phoenix.attest) returned.
      - A host that returned nothing has C(problem) instead, which says why; no proof was run on it.
    type: dict
    required: true
  phases:
    description:
      - Reports of runs by P(tamshai.phoenix.phase_clock#callback), the newest first.
      - The one in which the estate came to be is kept in O(directory) for later reports. Files that
        are not there are no error.
    type: list
    elements: path
    default: []
  directory:
    description: Where the report goes; it is made if it is missing.
    type: path
    required: true
seealso:
  - module: tamshai.phoenix.attest
"""

EXAMPLES = r"""
- name: Write the report
  tamshai.phoenix.attest_report:
    estate: tamshai
    results:
      vps1: "{{ attested }}"
    phases: [build/report/phases.json]
    directory: build/report
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
broken:
  description: Ids of the proofs that failed.
  returned: success
  type: list
  elements: str
  sample: []
counts:
  description: How many proofs have which status.
  returned: success
  type: dict
  sample: {"pass": 11, "fail": 0, "not run": 20}
report:
  description: The page for people.
  returned: success
  type: str
  sample: /home/me/phoenix/build/report/attest.html
summary:
  description: A line for each proof that was run, and one on all of them.
  returned: success
  type: list
  elements: str
  sample: ["pass H1.a", "14 proven, 0 broken, 17 not run"]
"""

import datetime
import json
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import page, report
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    FAIL,
    NOT_RUN,
    PASS,
)

# The phases of the rebuild, kept next to the report that shows them.
KEPT = "rebuild.json"

SPEC: dict[str, dict[str, Any]] = {
    "estate": {"type": "str", "required": True},
    "results": {"type": "dict", "required": True},
    "phases": {"type": "list", "elements": "path", "default": []},
    "directory": {"type": "path", "required": True},
}


def main(module: AnsibleModule) -> Result:
    """Merge, write, and say what is broken."""
    params = module.params
    if not params["results"]:
        raise PhoenixError("there is no host to report on")
    directory = Path(params["directory"])
    runs = [read_run(Path(path)) for path in [*params["phases"], directory / KEPT]]
    born = [str(result.get("born") or "") for result in params["results"].values()]
    shown, rebuild = report.rebuild_of(runs, born)
    if shown is not None:
        shown = report.so_far(shown, now())
    made = report.build(params["estate"], params["results"], shown, rebuild=rebuild, now=now())
    if not module.check_mode:
        write(directory, made, shown, sorted(params["results"]), keep=rebuild)
    found = report.counts(made)
    return Result(
        Plan(),
        broken=[proof["id"] for proof in made["proofs"] if proof["status"] == FAIL],
        counts=found,
        report=str(directory / "attest.html"),
        summary=[
            *(f"{p['status']} {p['id']}" for p in made["proofs"] if p["status"] != NOT_RUN),
            f"{found[PASS]} proven, {found[FAIL]} broken, {found[NOT_RUN]} not run",
        ],
    )


def read_run(path: Path) -> dict[str, Any] | None:
    """A report of phases; none where it is missing or is not one."""
    data = read_bytes_or_none(path)
    try:
        document = json.loads(data) if data else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def write(
    directory: Path,
    made: dict[str, Any],
    shown: dict[str, Any] | None,
    hosts: list[str],
    *,
    keep: bool,
) -> None:
    """Each file is the old or the new one, whatever happens in between."""
    directory.mkdir(parents=True, exist_ok=True)
    phases = (shown or {}).get("phases") or []
    budgets = {phase["name"]: phase["budget"] for phase in phases if phase.get("budget")}
    files = {
        "attest.json": report.as_json(made),
        "attest.xml": report.as_junit(made),
        "attest.html": page.render(made, budgets=budgets, hosts=hosts).encode(),
    }
    if keep:
        files[KEPT] = (json.dumps(shown, indent=1) + "\n").encode()
    for name, content in files.items():
        write_atomic(directory / name, content, mode=0o644)


def now() -> str:
    """The time, RFC 3339 in UTC."""
    moment = datetime.datetime.now(datetime.UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


if __name__ == "__main__":
    run(SPEC, main)
