# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A right that a proof gives to a login for moments, and the word about it that outlives the proof.

Proof H4.c grants ``BYPASSRLS`` to see a rotation take it away. Killed in between, it would leave it
granted. So the grant and a mark in the login's comment are one statement, which is there or is not,
and whoever comes next finds the mark and takes back what it tells of. A mark that somebody else has
made can do no more than take that right away.
"""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.text import literal

__all__ = ["FIND", "MARK", "TAKE_BACK", "plant"]

MARK = "[BYPASSRLS planted by proof H4.c] "
_COMMENT = "pg_catalog.shobj_description(a.oid, 'pg_authid')"
_MARKED = (
    f"FROM pg_catalog.pg_authid a WHERE pg_catalog.starts_with({_COMMENT}, {literal(MARK)}) "
    "ORDER BY a.rolname"
)

FIND = f"SELECT a.rolname AS login, a.rolbypassrls::text AS held {_MARKED}"
"""Logins that carry the mark."""

TAKE_BACK = f"""
DO $planted$
DECLARE
  found record;
BEGIN
  FOR found IN SELECT a.rolname, {_COMMENT} AS text {_MARKED} LOOP
    EXECUTE pg_catalog.format('ALTER ROLE %I NOBYPASSRLS', found.rolname);
    EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', found.rolname,
      nullif(pg_catalog.substr(found.text, {len(MARK) + 1}), ''));
  END LOOP;
END
$planted$
"""
"""Takes the right from all of them, and the mark; their own comments stay."""


def plant(login: str) -> str:
    """The statement that grants it and says so, or does neither."""
    return f"""
DO $planted$
DECLARE
  found record;
BEGIN
  SELECT a.rolname, coalesce({_COMMENT}, '') AS text INTO STRICT found
    FROM pg_catalog.pg_authid a WHERE a.rolname = {literal(login)};
  EXECUTE pg_catalog.format('COMMENT ON ROLE %I IS %L', found.rolname,
    {literal(MARK)} || found.text);
  EXECUTE pg_catalog.format('ALTER ROLE %I BYPASSRLS', found.rolname);
END
$planted$
"""  # noqa: S608 - both are literals
