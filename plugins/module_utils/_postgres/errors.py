# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Errors of the PostgreSQL parts. None of them quotes a statement that can hold a secret."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)

__all__ = [
    "PostgresError",
    "PostgresRefusedError",
    "PostgresUnprovenError",
    "PostgresUnreachableError",
]


class PostgresError(PhoenixError):
    """The server answered, and the answer is not what it should be."""


class PostgresUnreachableError(PostgresError):
    """No server answers there, or it is still starting."""


class PostgresRefusedError(PostgresError):
    """The server answers and does not let this login in."""


class PostgresUnprovenError(PostgresError):
    """The server runs, but what was asked of it could not be shown from outside."""
