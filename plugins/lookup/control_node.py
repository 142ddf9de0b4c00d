# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lookup plugin control_node."""

from __future__ import annotations

DOCUMENTATION = r"""
name: control_node
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Tell what a rebuild needs to know about the control node
description:
  - Versions of Python, ansible-core and the libraries that the collection uses on the control node,
    and whether the directory for the state of an estate can be used.
options:
  _terms:
    description: The directory for the state of an estate; it need not exist.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show what runs here
  ansible.builtin.debug:
    msg: "{{ lookup('tamshai.phoenix.control_node', phoenix_state_dir).versions }}"
"""

RETURN = r"""
_list:
  description:
    - A mapping for each directory, with C(versions) by name, empty where something is missing, and
      C(state_dir) with C(exists), C(directory), C(writable), C(open) (for others than its owner),
      C(mode) and C(root), the certificate of the authority in it, empty where there is none.
  type: list
  elements: dict
"""

import importlib.metadata
import os
import platform
import stat
from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.release import __version__ as ansible_version

_LIBRARIES = ("cryptography",)


class LookupModule(LookupBase):
    """What Ansible looks for in this file."""

    def run(
        self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [{"versions": _versions(), "state_dir": _state_dir(str(term))} for term in terms]


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "ansible-core": str(ansible_version)}
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = ""
    return versions


def _state_dir(text: str) -> dict[str, Any]:
    path = Path(text).expanduser()
    try:
        found = path.stat()
    except OSError:
        nearest = path
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
        return {
            "exists": False,
            "directory": False,
            "writable": writable,
            "open": False,
            "mode": "",
            "root": "",
        }
    mode = stat.S_IMODE(found.st_mode)
    return {
        "exists": True,
        "directory": stat.S_ISDIR(found.st_mode),
        "writable": os.access(path, os.W_OK | os.X_OK),
        "open": bool(mode & 0o077),
        "mode": f"{mode:04o}",
        "root": _text(path / "ca" / "root.crt"),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
