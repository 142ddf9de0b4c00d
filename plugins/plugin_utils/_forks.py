# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is seen to before Ansible forks: it runs each task in a process of its own.

Such a process would load the plugins that templates need once more, since the one that it is forked
from has not needed them.
"""

from __future__ import annotations

import functools
import gc
import os
from pathlib import Path

from ansible.plugins.loader import filter_loader, lookup_loader, test_loader

__all__ = ["prepare"]

_COLLECTION = "tamshai.phoenix"
_FILTERS = Path(__file__).parents[1] / "filter"
_LOOKUPS = ("ansible.builtin.env", "ansible.builtin.file", "ansible.builtin.template")


def prepare() -> None:
    """Load the plugins of templates, and leave what there is out of every search for garbage."""
    _once()
    gc.freeze()


@functools.cache
def _once() -> None:
    # What a fork has from its parent is shared memory, until somebody looks at it for garbage.
    os.register_at_fork(after_in_child=gc.freeze)
    # Nearly all objects go when nothing refers to them any more; cycles can wait.
    gc.set_threshold(50_000, 20, 20)
    for loader in (filter_loader, test_loader):
        for _plugin in loader.all():
            pass
    for path in sorted(_FILTERS.glob("*.py")):
        filter_loader.get(f"{_COLLECTION}.{path.stem}")
    for name in _LOOKUPS:
        lookup_loader.get(name)
