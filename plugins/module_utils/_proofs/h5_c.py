# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H5.c: no database login holds a right outside the allow-list."""

from __future__ import annotations

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import privileges
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    PSYCOPG2_ERROR,
    connect,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["rights_within_the_list"]


@proof("H5.c")
def rights_within_the_list(site: Site) -> Record:
    """Work out every right of every login, as the gate of a deployment does, and judge each."""
    login = site.superuser
    if PSYCOPG2_ERROR is not None:
        raise NotRunError("the host lacks the Python library psycopg2")
    if not site.inputs.allow:
        raise NotRunError("no allow-list was given")
    record = Record()
    rights = privileges.inspect(lambda database: connect(login, database))
    outside = privileges.findings(rights, [privileges.rule(row) for row in site.inputs.allow])
    for finding in outside:
        record.expect(
            False,
            f"{finding.login} has {finding.right} on {finding.kind} {finding.name}"
            f" ({finding.via}); {finding.revoke} would take it away",
        )
    counted: dict[str, int] = {}
    for right in rights:
        counted[right.login] = counted.get(right.login, 0) + 1
    record.expect(rights, "no login was found")
    record.note(
        rights_looked_at=counted,
        rules=len(site.inputs.allow),
        outside=[finding.public() for finding in outside],
    )
    return record
