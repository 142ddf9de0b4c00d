# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the bootstrap of secret zero left on record."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["accessors"]


def accessors(site: Site) -> dict[str, str]:
    """By AppRole the accessor of the SecretID that was issued last, empty where none is known."""
    raise NotImplementedError
