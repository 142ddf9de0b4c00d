# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shares that are typed, as far as the questions go."""

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleActionFail, AnsiblePromptInterrupt, AnsiblePromptNoninteractive

from ansible_collections.tamshai.phoenix.plugins.action.vault_ask_shares import SPEC, ask
from ansible_collections.tamshai.phoenix.plugins.modules import vault_ask_shares as documentation

SHARES = [f"{n:02x}" * 33 for n in range(1, 4)]


class Typist:
    """A display at which somebody answers."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.said: list[str] = []

    def display(self, text: str) -> None:
        self.said.append(text)

    def prompt_until(self, question: str, *, private: bool) -> bytes:
        assert private
        self.said.append(question)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer.encode()


def test_documentation_and_spec_agree() -> None:
    documented = yaml.safe_load(documentation.DOCUMENTATION)["options"]
    assert set(documented) == set(SPEC)
    for name, option in SPEC.items():
        for key in ("type", "required"):
            assert documented[name].get(key) == option.get(key), (name, key)


def test_asks_until_there_are_enough() -> None:
    typist = Typist(SHARES[0], "no share", SHARES[0], f" {SHARES[1]} ")
    assert ask("h1", 2, typist) == {"changed": False, "shares": SHARES[:2], "terminal": True}
    assert "h1: share 1 of 2" in typist.said[0]
    assert any("no share" in said for said in typist.said)
    assert any("given already" in said for said in typist.said)
    assert not any(share in said for said in typist.said for share in SHARES)


def test_an_empty_line_ends_it() -> None:
    assert ask("h1", 3, Typist(SHARES[0], ""))["shares"] == SHARES[:1]
    assert ask("h1", 0, Typist()) == {"changed": False, "shares": [], "terminal": True}
    assert ask("h1", -1, Typist())["shares"] == []


def test_without_a_terminal_nothing_is_asked() -> None:
    found = ask("h1", 2, Typist(AnsiblePromptNoninteractive("no")))
    assert found == {"changed": False, "shares": [], "terminal": False}


def test_interrupted() -> None:
    with pytest.raises(AnsibleActionFail, match="interrupted"):
        ask("h1", 2, Typist(SHARES[0], AnsiblePromptInterrupt("^C")))
