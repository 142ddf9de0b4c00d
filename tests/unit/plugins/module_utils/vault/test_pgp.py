# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public PGP keys as people paste them."""

from __future__ import annotations

import base64

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.pgp import public_key

DATA = bytes([0x98, 0x33]) + bytes(range(80))
PLAIN = base64.b64encode(DATA).decode()
LINES = "\n".join(PLAIN[i : i + 40] for i in range(0, len(PLAIN), 40))


BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        LINES,
        f"{BEGIN}\n\n{LINES}\n=AbCd\n{END}\n",
        f"{BEGIN}\nComment: alice\nVersion: 1\n\n{LINES}\n{END}\n".replace("\n", "\r\n"),
        f"pub   alice\n{BEGIN}\n\n{LINES}\n{END}",
    ],
    ids=["base64", "lines", "armour", "headers and CRLF", "text before"],
)
def test_forms(text: str) -> None:
    assert public_key(text) == PLAIN


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a public PGP key"),
        ("certainly not!", "neither armoured"),
        (base64.b64encode(b"\x94rest").decode(), "another kind"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n", "private"),
    ],
)
def test_what_is_none(text: str, words: str) -> None:
    with pytest.raises(PhoenixError, match=words):
        public_key(text)
