# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Root tokens that a killed run has left, among tokens that come and go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import accessors, errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import (
    QuorumError,
    generate_root,
    revoke_forgotten,
)

ENDED = errors.RefusedError("invalid accessor")
ENDING = errors.ForbiddenError("permission denied")


class Server:
    """Its tokens by accessor, with what it answers to each look-up in turn; the last one stays."""

    def __init__(self, **tokens: list[Any]) -> None:
        self.tokens = tokens
        self.revoked: list[str] = []
        self.whole = False

    def read(self, path: str) -> dict[str, Any]:
        assert path == "auth/token/lookup-self"
        return {"accessor": "own"}

    def keys(self, path: str) -> list[str]:
        assert path == "auth/token/accessors"
        return ["own", *self.tokens]

    def call(self, method: str, path: str, *, wrap_ttl: str) -> None:
        assert (method, path, wrap_ttl) == ("GET", "auth/token/lookup-self", "1s")
        self.whole = True

    def write(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        assert self.whole, "the server would revoke a token that it was just making"
        accessor = str(body["accessor"])
        if path == "auth/token/revoke-accessor":
            self.revoked.append(accessor)
            return {}
        answers = self.tokens[accessor]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return {"data": {"policies": answer}}


def test_one_that_is_ending_is_waited_for_and_what_was_forgotten_is_revoked() -> None:
    server = Server(
        service=[["default", "mcp-hr"]],
        ended=[ENDED],
        ending=[ENDING, ENDING, ENDED],
        forgotten=[["root"]],
    )
    assert revoke_forgotten(server) == ["forgotten"]
    assert server.revoked == ["forgotten"]


def test_what_the_server_does_not_tell_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accessors, "_MOMENT", 0.2)
    server = Server(hidden=[ENDING])
    with pytest.raises(errors.ForbiddenError, match=r"waited 0\.2 s .* permission denied"):
        revoke_forgotten(server)


@pytest.mark.parametrize(
    ("status", "expected"), [(500, QuorumError), (502, errors.ServerFailureError)]
)
def test_a_gateway_that_fails_says_nothing_of_the_shares(status: int, expected: type) -> None:
    asked: list[tuple[str, str]] = []

    def ask(method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        asked.append((method, path))
        if path.endswith("/update"):
            raise errors.ServerFailureError("it failed", status=status, messages=["failed"])
        return {"started": method != "GET", "required": 1, "nonce": "n", "otp": "o"}

    with pytest.raises(expected):
        generate_root(ask, ["share"])
    assert asked[-1] == ("DELETE", "sys/generate-root-token/attempt")
