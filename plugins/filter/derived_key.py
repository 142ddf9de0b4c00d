# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Filter derived_key: a key for one purpose out of a passphrase."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from ansible.errors import AnsibleFilterError


@functools.lru_cache(maxsize=16)
def _scrypt(passphrase: str, purpose: str) -> str:
    salt = f"tamshai.phoenix/{purpose}".encode()
    return hashlib.scrypt(
        passphrase.encode(), salt=salt, n=2**15, r=8, p=1, maxmem=2**26, dklen=32
    ).hex()


def derived_key(passphrase: str, purpose: str) -> str:
    """64 hexadecimal digits that say nothing about the passphrase, nor about other purposes."""
    if not passphrase or not purpose:
        raise AnsibleFilterError("derived_key needs a passphrase and a purpose")
    return _scrypt(str(passphrase), str(purpose))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        return {"derived_key": derived_key}
