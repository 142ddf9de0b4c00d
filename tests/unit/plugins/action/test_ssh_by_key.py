# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ssh_by_key asks a connection for. Molecule has it before a server that takes passwords."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.tamshai.phoenix.plugins.action.ssh_by_key import try_key

MINE = "-o ControlMaster=auto -o ControlPersist=60s"


class Connection:
    """Keeps the settings under which it was used."""

    def __init__(self, transport: str = "ssh", answer: Any = (0, b"", b"")) -> None:
        self.transport = transport
        self.answer = answer
        self.options = {"ssh_args": MINE}
        self.used: list[str] = []

    def get_option(self, name: str) -> str:
        return self.options[name]

    def set_option(self, name: str, value: str) -> None:
        self.options[name] = value

    def exec_command(self, command: str, *, sudoable: bool) -> Any:
        assert (command, sudoable) == ("true", False)
        self.used.append(self.options["ssh_args"])
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_a_key_gets_in_by_a_login_of_its_own() -> None:
    connection = Connection()
    assert try_key(connection) == ""
    (used,) = connection.used
    assert used.endswith(MINE)
    for option in ("ControlPath=none", "PreferredAuthentications=publickey"):
        assert used.index(option) < used.index("ControlMaster=auto")
    assert connection.options["ssh_args"] == MINE


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            AnsibleConnectionFailure("No way:\nme@x: Permission denied.\n"),
            "me@x: Permission denied.",
        ),
        ((255, b"", b"odd\n"), "odd"),
        ((1, b"", b""), "exit code 1"),
    ],
)
def test_whatever_else_happens_is_said(answer: Any, said: str) -> None:
    connection = Connection(answer=answer)
    assert try_key(connection) == said
    assert connection.options["ssh_args"] == MINE


def test_connections_that_do_not_go_by_ssh_are_left_alone() -> None:
    for transport in ("local", "community.docker.docker"):
        connection = Connection(transport)
        assert try_key(connection) == ""
        assert connection.used == []


def test_one_that_cannot_be_told_is_refused() -> None:
    assert (
        try_key(Connection("paramiko_ssh")) == "connection paramiko_ssh cannot be told to; use ssh"
    )
