# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is planned for a server that lacks what newer ones have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.schema import Reconciler


class Old:
    """A session with PostgreSQL 15, whose memberships have no options."""

    version = 150000

    def query(self, text: str, _values: Any = None) -> list[dict[str, Any]]:
        if "inherit_option" in text:
            raise PostgresError('column "inherit_option" does not exist')
        return []


@contextlib.contextmanager
def connect(_database: str) -> Iterator[Any]:
    yield Old()


def reconciler(**more: Any) -> Reconciler:
    role = {"name": "app", "login": True, "connection_limit": -1, **more}
    return Reconciler([role], [], connect)


def test_an_old_server_is_fine_where_nobody_inherits() -> None:
    assert [change.title for change in reconciler(inherits=[]).read()] == ["role app"]


def test_an_old_server_cannot_let_a_role_inherit_and_no_more() -> None:
    with pytest.raises(PostgresError, match="PostgreSQL 15 cannot let a role inherit"):
        reconciler(inherits=["other"]).read()
