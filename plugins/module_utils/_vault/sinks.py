# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where secrets may go that a server makes once: PGP messages, named files, a hidden result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._files import write_atomic

__all__ = ["fill", "in_clear", "unfit"]


def unfit(files: Sequence[str]) -> list[str]:
    """Why these cannot be files that get a secret each. None is overwritten that holds anything."""
    found = []
    for name in files:
        path = Path(name)
        if path.exists() and (not path.is_file() or path.stat().st_size):
            found.append(f"{name} is there already, and is not overwritten")
        elif not path.parent.is_dir():
            found.append(f"there is no directory {path.parent} for {path.name}")
        elif not os.access(path.parent, os.W_OK | os.X_OK):
            found.append(f"nothing can be written into {path.parent}")
    real = [os.path.realpath(name) for name in files]
    if len(set(real)) != len(real):
        found.append("each secret needs a file of its own; one is named twice")
    return found


def in_clear(module: AnsibleModule, clear: Sequence[str]) -> list[str]:
    """Why secrets may not be in the result in clear; empty where they may, or none would be.

    :arg clear: What would be there in clear, in words.
    """
    if not clear:
        return []
    what = " and ".join(clear)
    if not module.params["plain"]:
        why = "leave the server in clear; give PGP keys or name files, or allow it by 'plain'"
    elif not module.no_log:
        why = "be in clear in every log of the run: 'plain' wants no_log on the task"
    else:
        return []
    return [f"{what} would {why}"]


def fill(secrets: Mapping[str, str]) -> None:
    """Write each secret to its file, which its owner alone may read."""
    for name, secret in secrets.items():
        write_atomic(name, f"{secret}\n".encode(), mode=0o600)
