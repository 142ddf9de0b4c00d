# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ssh_by_key asks a connection for. Molecule has it before a server that takes passwords."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleConnectionFailure

from ansible_collections.tamshai.phoenix.plugins.action.ssh_by_key import (
    fingerprints,
    try_key,
)

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
    assert try_key(connection) == ("", "")
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
    assert try_key(connection) == (said, "")
    assert connection.options["ssh_args"] == MINE


def test_connections_that_do_not_go_by_ssh_are_left_alone() -> None:
    for transport in ("local", "community.docker.docker"):
        connection = Connection(transport)
        assert try_key(connection) == ("", "")
        assert connection.used == []


def test_one_that_cannot_be_told_is_refused() -> None:
    said = "connection paramiko_ssh cannot be told to; use ssh"
    assert try_key(Connection("paramiko_ssh")) == (said, "")


# What ssh-keygen -l says of the first; the second opens nothing either.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIUu+7xOHeCA2aaez61qkxXHE+ab1otJrgCu6LnBu/Jk"
FINGERPRINT = "SHA256:GbeWoOZf9BMw0fscHLA+7NQAn3h/cDmElCu6EvzofP4"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINwhcjP52l5BByktqa3bnTkAqDXC/8/3R+Sw3OdJvhIX"
TOLD = (
    "debug1: Offering public key: me@home ED25519 SHA256:x agent\n"
    "debug1: Server accepts key: jump ED25519 SHA256:" + 43 * "j" + " agent\n"
    f"debug1: Server accepts key: /home/me/my key ED25519 {FINGERPRINT} explicit\n"
    'Authenticated to x using "publickey".\n'
    "debug1: Exit status 0\n"
    "Bytes per second: sent 1.0, received 1.0\n"
).encode()


def test_the_key_that_got_in_is_one_of_those_named() -> None:
    connection = Connection(answer=(0, b"", TOLD))
    assert try_key(connection, [OTHER, f"{KEY} me@home"]) == ("", "")
    (used,) = connection.used
    assert used.index("LogLevel=DEBUG1") < used.index("ControlMaster=auto")
    assert connection.options["ssh_args"] == MINE


def test_the_key_that_got_in_is_named_where_it_is_another() -> None:
    for keys in ([OTHER], []):
        assert try_key(Connection(answer=(0, b"", TOLD)), keys) == ("", FINGERPRINT)
    # Unknown is not well.
    assert try_key(Connection(answer=(0, b"", b"")), [KEY]) == ("", "ssh did not say which")


@pytest.mark.parametrize(
    "answer",
    [
        AnsibleConnectionFailure("No way:\ndebug1: x\nme@x: denied.\ndebug1: y\n"),
        (255, b"", b"me@x: denied.\ndebug1: Exit status 255\nBytes per second: sent 1.0\n"),
    ],
)
def test_what_ssh_tells_beside_is_not_why(answer: Any) -> None:
    assert try_key(Connection(answer=answer), [KEY]) == ("me@x: denied.", "")


def test_fingerprints_are_those_of_ssh_keygen() -> None:
    for line in (
        KEY,
        f"{KEY} a comment of several words",
        f'from="10.0.0.0/8",command="echo ssh-ed25519 AAAA" {KEY} me',
        f"# mine\n{KEY}\n",
    ):
        assert fingerprints([line]) == {FINGERPRINT}
    assert (
        fingerprints(["", "nonsense", "ssh-ed25519 AAAA", f"# {KEY}", "ssh-ed25519 \u00fc"])
        == set()
    )
