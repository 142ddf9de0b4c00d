# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking through a host for texts of a shape, where :mod:`scan` looks for texts that are known.

Each of the searches has to find a control that was put there for it.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import limit, scan, stores

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["in_files", "in_journal", "in_processes", "on_host"]

_CONTROL = "s.attestcontrol"
_ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}


def on_host(site: Site) -> stores.Store:
    """What the host holds: its disks and memory file systems, its journal, its processes.

    :raises PhoenixError: where a search does not find its control.
    """
    # Of the shape of a token, so that it is found by the same expression, and known by its start.
    mark = _CONTROL + secrets.token_hex(8)
    docker = str(site.info().get("DockerRootDir") or "/var/lib/docker").rstrip("/")
    points = [
        mount.point
        for mount in scan.mounts()
        if (mount.stored or mount.volatile) and not mount.point.startswith(f"{docker}/overlay2/")
    ]
    witness = Path("/var/tmp") / f".{mark[2:]}"  # noqa: S108 - on a disk, and random
    witness.write_text(mark + "\n", encoding="ascii")
    try:
        files = in_files(points, since=site.born())
    finally:
        witness.unlink()
    _log(f"attest: looking for shares and tokens in the journal, {mark}")
    journal = in_journal(since=site.born())
    for what, found in (("disks", [value for _path, value in files]), ("journal", journal)):
        if mark not in found:
            raise PhoenixError(f"the search of the {what} for shares did not find its own control")
    store = stores.Store("the host")
    everything = [*files, *(("the journal", value) for value in journal), *in_processes()]
    store.add((where, value) for where, value in everything if not value.startswith(_CONTROL))
    return store


def in_files(roots: list[str], *, since: float) -> list[tuple[str, str]]:
    """Pairs of path and text, from files below mount points that changed since some time."""
    size = f"-{stores.LARGEST}c"
    paths = b""
    for root in roots:
        where = [root, "-xdev", "-type", "f", "-size", size, "-newerct", f"@{since:.0f}"]
        paths += limit.run(["find", *where, "-print0"], f"what is below {root}")
    output = limit.run(
        [
            *("xargs", "-0", "-r", "-P", "2", "-n", "400", "--"),
            *("grep", "-HaosZE", "-D", "skip", "-e", stores.PATTERN, "--"),
        ],
        f"{paths.count(bytes(1))} files",
        given=paths,
        env=_ENVIRONMENT,
    )
    # A path, NUL, a text, an end of line. There is neither of these two in a text.
    found = re.findall(rb"([^\0]+)\0([^\n]*)\n", output)
    return [(os.fsdecode(path), text.decode("ascii", "replace")) for path, text in found]


def in_journal(*, since: float) -> list[str]:
    """Texts in all fields of the system's journals."""
    lines = scan.grep_journal(["-aoE", "-e", stores.PATTERN], since=since)
    return sorted(set(lines.decode("ascii", "replace").splitlines()))


def in_processes(proc: str = "/proc") -> list[tuple[str, str]]:
    """Pairs of place and text, from environments and arguments."""
    shape = re.compile(stores.PATTERN.encode())
    found: list[tuple[str, str]] = []
    for folder in Path(proc).iterdir():
        if not folder.name.isdigit():
            continue
        for name, what in (("environ", "the environment"), ("cmdline", "the arguments")):
            try:
                content = (folder / name).read_bytes()
            except OSError:  # it has ended
                continue
            where = f"{what} of process {folder.name}"
            found += [(where, match[0].decode("ascii")) for match in shape.finditer(content)]
    return found


def _log(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect("/dev/log")
        line.send(f"<14>tamshai-attest[{os.getpid()}]: {text}".encode())
