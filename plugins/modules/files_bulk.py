#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module files_bulk."""

from __future__ import annotations

DOCUMENTATION = r"""
module: files_bulk
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Write many files in one call, and make them take effect
description:
  - Creates directories, writes or removes files, and runs the commands that make changed files take
    effect, in one round trip to the host.
  - Each file is replaced by one rename, with owner and mode set before its content is written.
  - All files with a validator are validated before the first one is written.
  - What is still to be applied is noted on disk before the first write. A run that was killed in
    between is finished by the next one.
options:
  directories:
    description: Directories that have to exist, parents before their children.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path of the directory.
        type: path
        required: true
      mode:
        description: Permissions as an octal string.
        type: str
        default: "0755"
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
  files:
    description: Files that have to exist with a given content, or that must not exist.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path of the file.
        type: path
        required: true
      content:
        description: The whole content, which is shown in a diff.
        type: str
      secret_content:
        description: The whole content, which is never shown.
        type: str
      state:
        description: Whether the file has to exist.
        type: str
        choices: [present, absent]
        default: present
      mode:
        description: Permissions as an octal string.
        type: str
        default: "0644"
      owner:
        description: Name or number of the owner.
        type: str
        default: root
      group:
        description: Name or number of the group.
        type: str
        default: root
      validate:
        description: A command that accepts the file, with C(%s) in place of the file's path.
        type: list
        elements: str
        default: []
      unvalidated:
        description: Whether to write the file also where its validator is not installed yet.
        type: bool
        default: false
      apply:
        description: The name of the entry of O(apply) that makes a change in this file take effect.
        type: str
        default: ""
  apply:
    description: Commands that are run, in this order, after a change in a file that names them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The name that files refer to.
        type: str
        required: true
      command:
        description: A command and its arguments, run without a shell, that may safely run twice.
        type: list
        elements: str
        required: true
      unit:
        description:
          - A systemd unit that the command tells about the change.
          - The command is left out while the unit does not run; it reads its files at its start.
        type: str
        default: ""
      timeout:
        description: Seconds after which the command counts as failed.
        type: int
        default: 60
  pending:
    description: The directory for notes of what is still to be applied.
    type: path
    default: /var/lib/tamshai/pending
  units:
    description:
      - systemd units that are enabled and started once the files are there, in the order in which
        they are started, as M(tamshai.phoenix.units_bulk) does.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Full name of the unit.
        type: str
        required: true
      started:
        description: Whether the unit has to run; left out, that is left alone.
        type: bool
      enabled:
        description: Whether the unit has to start at boot; left out, that is left alone.
        type: bool
      optional:
        description: Whether to pass over the unit on a host that does not have it.
        type: bool
        default: false
      timeout:
        description: Seconds after which a start or a stop of the unit counts as failed.
        type: int
        default: 90
extends_documentation_fragment: tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Configure a service
  tamshai.phoenix.files_bulk:
    directories:
      - {path: /etc/example, mode: "0755"}
    files:
      - path: /etc/example/example.json
        content: |
          {"listen": "127.0.0.1:8080"}
        mode: "0600"
        validate: [python3, -m, json.tool, "%s"]
        apply: example
    apply:
      - name: example
        command: [systemctl, reload, example]
"""

RETURN = r"""
changed_paths:
  description: Directories and files that were changed.
  type: list
  elements: str
  returned: success
  sample: [/etc/ssh/sshd_config.d/10-tamshai.conf]
applied:
  description: Names of the commands that were run, or would be in check mode.
  type: list
  elements: str
  returned: success
  sample: [sshd]
conditions:
  description: Units that do not run because a condition of their own does not hold on this host.
  type: list
  elements: str
  returned: success
missing:
  description: Units that are not there yet; check mode only, since outside of it that is a failure.
  type: list
  elements: str
  returned: success
unpredictable:
  description: What check mode cannot tell, in words.
  type: list
  elements: str
  returned: success
changes:
  description: What was done, or would be in check mode.
  type: list
  elements: dict
  returned: success
  contains:
    kind:
      description: One of C(directory), C(file), C(apply), C(unit) and C(systemd).
      type: str
    name:
      description: A path, or the name of a command or of a unit.
      type: str
    action:
      description: One of C(create), C(update), C(delete), C(run), C(start) and C(reload).
      type: str
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.files import (
    Apply,
    Bulk,
    Directory,
    File,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.units import (
    UNIT_SPEC,
    Units,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run

_OWNER: dict[str, Any] = {
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
_DIRECTORY: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    **_OWNER,
}
_FILE: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "content": {"type": "str"},
    "secret_content": {"type": "str", "no_log": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "mode": {"type": "str", "default": "0644"},
    **_OWNER,
    "validate": {"type": "list", "elements": "str", "default": []},
    "unvalidated": {"type": "bool", "default": False},
    "apply": {"type": "str", "default": ""},
}
_APPLY: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "command": {"type": "list", "elements": "str", "required": True},
    "unit": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 60},
}
ARGUMENT_SPEC: dict[str, Any] = {
    "directories": {"type": "list", "elements": "dict", "default": [], "options": _DIRECTORY},
    "files": {"type": "list", "elements": "dict", "default": [], "options": _FILE},
    "apply": {"type": "list", "elements": "dict", "default": [], "options": _APPLY},
    "pending": {"type": "path", "default": "/var/lib/tamshai/pending"},
    "units": {"type": "list", "elements": "dict", "default": [], "options": UNIT_SPEC},
}


def _mode(thing: dict[str, Any]) -> int:
    if not re.fullmatch(r"[0-7]{3,4}", thing["mode"]):
        raise PhoenixError(f"{thing['path']}: mode must be an octal string such as 0644")
    return int(thing["mode"], 8)


def _file(thing: dict[str, Any]) -> File:
    given = [k for k in ("content", "secret_content") if thing[k] is not None]
    wanted = 1 if thing["state"] == "present" else 0
    if len(given) != wanted:
        words = "exactly one of content and secret_content" if wanted else "no content"
        raise PhoenixError(f"{thing['path']}: state {thing['state']} wants {words}")
    return File(
        path=thing["path"],
        content=thing[given[0]].encode() if given else None,
        mode=_mode(thing),
        owner=thing["owner"],
        group=thing["group"],
        secret="secret_content" in given,
        validate=tuple(thing["validate"]),
        apply=thing["apply"],
        unvalidated=thing["unvalidated"],
    )


def work(module: AnsibleModule) -> Result:
    """Read, plan, stop there in check mode, act."""
    params = module.params
    bulk = Bulk(
        [Directory(d["path"], _mode(d), d["owner"], d["group"]) for d in params["directories"]],
        [_file(f) for f in params["files"]],
        [Apply(a["name"], tuple(a["command"]), a["timeout"], a["unit"]) for a in params["apply"]],
        pending=params["pending"],
    )
    plan = bulk.read()
    if module.check_mode:
        bulk.check()
    else:
        bulk.act()
    # Read only now, since a unit may come from one of the files.
    units = Units.declared(params["units"])
    plan.changes.extend(units.read())
    if not module.check_mode:
        units.act()
    return Result(
        plan,
        changed_paths=bulk.changed_paths(),
        applied=[change.name for change in plan if change.kind == "apply"],
        conditions=units.conditions,
        missing=units.missing,
        unpredictable=bulk.unpredictable,
        changes=plan.summary(),
    )


def main() -> None:
    """Entry point."""
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
