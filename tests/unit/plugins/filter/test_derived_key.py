# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys derived from a passphrase."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.filter.derived_key import derived_key


def test_the_same_on_every_control_node() -> None:
    # Fixed for good: another value would have every secret written once more.
    assert derived_key("pass", "kv-fingerprint") == derived_key("pass", "kv-fingerprint")
    assert derived_key("pass", "kv-fingerprint").startswith("db64e71789cec034")


def test_purposes_have_nothing_in_common() -> None:
    assert derived_key("pass", "a") != derived_key("pass", "b")
    assert derived_key("pass", "a") != derived_key("pass2", "a")


@pytest.mark.parametrize(("passphrase", "purpose"), [("", "a"), ("pass", "")])
def test_nothing_is_derived_from_nothing(passphrase: str, purpose: str) -> None:
    with pytest.raises(AnsibleFilterError):
        derived_key(passphrase, purpose)
