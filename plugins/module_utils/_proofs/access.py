# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whom PostgreSQL's own access rules let in, compared with whom the estate declares.

A door that no attempt of a proof happens to fit is still a door. So every line that admits has to
be one that role postgresql writes, and every such line has to be there.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import access_rules
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import pgwire
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Record
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["judge_rules"]

# The view reads the files as they lie there now. Of a line that it cannot read it says an error, or
# (an unknown clientcert, for one) nothing at all: it has no method then.
_RULES = """
SELECT row_to_json(r) FROM pg_hba_file_rules r
WHERE auth_method IS DISTINCT FROM 'reject' ORDER BY file_name, line_number
"""
# In whole seconds, as the server tells the time of a file.
_UNREAD = """
SELECT file_name FROM (SELECT current_setting('hba_file') AS file_name
  UNION SELECT file_name FROM pg_hba_file_rules) f
WHERE (pg_stat_file(file_name)).modification > pg_conf_load_time() ORDER BY 1
"""

# Options that are shown with their value; that of another one may be a secret (ldapbindpasswd).
_SHOWN = ("clientcert", "map")


class Line(NamedTuple):
    """A line of pg_hba.conf that admits somebody, as the server shows it."""

    type: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    netmask: str
    method: str
    options: tuple[str, ...]

    @property
    def tls(self) -> bool:
        return self.type == "hostssl"

    def __str__(self) -> str:
        options = (
            option if option.startswith(_SHOWN) else option.partition("=")[0]
            for option in self.options
        )
        names = (",".join(self.databases), ",".join(self.users))
        parts = (self.type, *names, self.address, self.netmask, self.method, *options)
        return " ".join(part for part in parts if part)


def judge_rules(site: Site, record: Record, service: Mapping[str, Any], *, tls: bool) -> None:
    """Compare the lines that admit over TLS, or those that admit without.

    Lines that the server cannot read, or has not read yet, are a fault either way: what is in force
    is something else then.
    """
    try:
        with pgwire.superuser(service) as session:
            rows = [json.loads(str(row[0])) for row in session.rows(_RULES)]
            unread = [str(row[0]) for row in session.rows(_UNREAD)]
    except (OSError, PhoenixError) as error:
        record.expect(False, f"the rules of pg_hba.conf cannot be read: {error}")
        return
    for name in unread:
        record.expect(
            False, f"the server has not read {name} since it changed; phase data has it do so"
        )
    missing = [line for line in _declared(site) if line.tls == tls]
    declared = frozenset(missing)
    admitting = []
    for row in rows:
        where = f"line {row['line_number']} of {str(row['file_name']).rpartition('/')[2]}"
        if row["error"] or not row["auth_method"]:
            record.expect(False, f"{where} is no rule: {row['error'] or 'the server skips it'}")
            continue
        line = _shown(row)
        if line.tls == tls:
            admitting.append(str(line))
            missing = [other for other in missing if other != line]
            how = "over" if tls else "without"
            record.expect(line in declared, f"{where} admits {how} TLS, undeclared: {line}")
    for line in missing:
        record.expect(False, f"pg_hba.conf lacks a declared line: {line}")
    record.note(rules=admitting)


def _shown(row: Mapping[str, Any]) -> Line:
    return Line(
        row["type"],
        tuple(row["database"]),
        tuple(row["user_name"]),
        row["address"] or "",
        row["netmask"] or "",
        row["auth_method"],
        tuple(sorted(row["options"] or ())),
    )


def _declared(site: Site) -> list[Line]:
    """The lines that role postgresql writes, as the server shows them."""
    lines = []
    for rule in access_rules(site.estate):
        address, mask = rule["address"], ""
        if "/" in address:
            network = ipaddress.ip_network(address)
            address, mask = str(network.network_address), str(network.netmask)
        options = set(rule["options"])
        if rule["method"] == "cert":
            options.add("clientcert=verify-full")  # implied, and shown
        lines.append(
            Line(
                rule["type"],
                (rule["database"],),
                (rule["user"],),
                address,
                mask,
                rule["method"],
                tuple(sorted(options)),
            )
        )
    return [line for line in lines if line.method != "reject"]
