#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module image_context."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_context
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Write the folder that a container image is built from
description:
  - Makes a build context anew, with its Dockerfile, the files that it copies, and an empty folder
    C(fetched) for what is downloaded.
  - What Python leaves behind (C(__pycache__)) is left out.
options:
  path:
    description: Folder of the build context, which is removed first if it exists.
    type: path
    required: true
  dockerfile:
    description: Content of the Dockerfile.
    type: str
    required: true
  source:
    description: Folder that O(files[].src) is relative to.
    type: path
    required: true
  files:
    description: Files and folders that go to C(files) in the context, under the same relative path.
    type: list
    elements: dict
    default: []
    suboptions:
      src:
        description: File or folder in O(source).
        type: str
        required: true
      mode:
        description: Permissions of the file, or of each file in the folder, as an octal string.
        type: str
        default: "0644"
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: none
    details: The folder is meant to be built from once and to be removed.
extends_documentation_fragment:
  - tamshai.phoenix.attributes
"""

EXAMPLES = r"""
- name: Write the build context
  tamshai.phoenix.image_context:
    path: build/cache/images/app
    dockerfile: |
      FROM tamshai/services:1
      COPY files/services/common /app/common
    source: roles/images/files
    files:
      - {src: services/common}
      - {src: services/bin, mode: "0755"}
"""

RETURN = r"""
files:
  description: What was copied.
  returned: success
  type: list
  elements: str
  sample: [services/common]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._images.context import (
    check_sources,
    write_context,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import (
    Result,
    run,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan


def work(module: AnsibleModule) -> Result:
    """Write the context, unless in check mode."""
    params = module.params
    files = [item["src"] for item in params["files"]]
    plan = Plan()
    plan.add("build context", params["path"], "create", None, {"files": files})
    check_sources(params["source"], params["files"])
    if not module.check_mode:
        write_context(params["path"], params["dockerfile"], params["source"], params["files"])
    return Result(plan, files=files)


def main() -> None:
    run(
        {
            "path": {"type": "path", "required": True},
            "dockerfile": {"type": "str", "required": True},
            "source": {"type": "path", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "src": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
        },
        work,
    )


if __name__ == "__main__":
    main()
