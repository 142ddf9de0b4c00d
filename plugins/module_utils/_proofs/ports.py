# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which ports containers have open, read from the kernel and from the engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Container

__all__ = ["listening", "published"]

_LISTEN = "0A"
_LOOPBACK4 = 127  # the first byte
_LOOPBACK6 = "00000000000000000000000001000000"


def listening(net: Path) -> set[int]:
    """TCP ports open to others, from the `tcp` and `tcp6` tables of a network namespace."""
    found: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = (net / name).read_text().splitlines()[1:]
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split()
            address, _unused, port = fields[1].partition(":")
            if fields[3] == _LISTEN and not _loopback(address):
                found.add(int(port, 16))
    return found


def _loopback(address: str) -> bool:
    # The kernel prints an IPv4 address as a number in the machine's byte order.
    if len(address) == 8:
        return int(address, 16).to_bytes(4, sys.byteorder)[0] == _LOOPBACK4
    return address == _LOOPBACK6


def published(container: Container) -> list[tuple[str, int, int]]:
    """Addresses and ports of the host that lead into a container, and to which port of it."""
    found: set[tuple[str, int, int]] = set()
    for inner, bindings in (container.inspected["NetworkSettings"].get("Ports") or {}).items():
        number, _unused, protocol = inner.partition("/")
        if protocol != "tcp":
            continue
        for binding in bindings or []:
            address = binding.get("HostIp") or "127.0.0.1"
            if address in ("0.0.0.0", "::"):  # noqa: S104 - it is read, not bound
                address = "127.0.0.1"
            found.add((address, int(binding["HostPort"]), int(number)))
    return sorted(found)
