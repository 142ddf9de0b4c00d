# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H5.c: no database login holds a right outside the allow-list."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["rights_within_the_list"]


@proof("H5.c")
def rights_within_the_list(site: Site) -> Record:
    raise NotImplementedError
