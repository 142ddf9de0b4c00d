# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All proofs of this release.

Imported one by one and by name, because that is how Ansible knows what to send to a host. A new
proof is a file of its own and a line here; a test compares the two.
"""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    f1_a,
    f1_b,
    f2_a,
    f2_b,
    f2_c,
    f2_d,
    f2_e,
    f2_f,
    framework,
    h1_a,
    h1_b,
    h1_c,
    h1_d,
    h3_a,
    h3_b,
    h3_c,
    h4_c,
    h4_d,
    h5_c,
    w_b,
)

__all__ = ["PROOFS"]

_MODULES = (
    *(h1_a, h1_b, h1_c, h1_d),
    *(h3_a, h3_b, h3_c, h4_c, h4_d, h5_c),
    *(f1_a, f1_b, f2_a, f2_b, f2_c, f2_d, f2_e, f2_f),
    w_b,
)

PROOFS = framework.registered()
"""By id. They registered themselves when they were imported above."""
