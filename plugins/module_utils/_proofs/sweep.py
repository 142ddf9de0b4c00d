# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One search of the whole host for everything that must not lie about on it."""

from __future__ import annotations

import contextlib
import gzip
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.facts import container_manager
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.swaps import swaps
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import scan
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import LARGEST

if TYPE_CHECKING:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["FOREIGN", "KEY", "SEAL", "Sweep", "twins"]

KEY = "key of "
"""Begins the label of a private key of a certificate bundle."""
SEAL = "what opens the Vault: "
"""Begins the label of what a Vault that unseals itself is opened with."""
FOREIGN = "control node: "
"""Begins the label of a secret that only the control node may have."""

_ATTEMPTS = 5


@dataclass
class Sweep:
    """What a search of the host found, and where it looked.

    :arg stored: Secrets in files on a disk.
    :arg volatile: Secrets in files in memory, outside the directories they belong in.
    :arg swaps: Where the kernel swaps to, which is not read.
    :arg plain_swap: Those of them that may hold what was in memory as it was there, as faults. In a
        container there are none: they are those of its machine.
    :arg programs: Files that were not read, being an image's program to the byte.
    :arg packed: Files that were read as they are, being packed by what this host cannot unpack.
    """

    stored: list[scan.Find] = field(default_factory=list)
    volatile: list[scan.Find] = field(default_factory=list)
    needles: list[str] = field(default_factory=list)
    filesystems: list[str] = field(default_factory=list)
    read: int = 0
    swaps: list[str] = field(default_factory=list)
    plain_swap: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)
    packed: list[str] = field(default_factory=list)

    def of(self, wanted: Callable[[str], bool]) -> list[str]:
        """The finds whose label is wanted, as sentences."""
        return [str(find) for find in [*self.stored, *self.volatile] if wanted(find.label)]


def needles(site: Site) -> list[scan.Needle]:
    """Every secret that this host or its control node can name."""
    found = [
        scan.Needle(secret.label, secret.value, (secret.home,))
        for secret in site.secrets()
        if secret.confidential
    ]
    for name, path in site.private_keys():
        home = f"{path.parent.parent}/"
        found.append(scan.Needle(f"{KEY}{name}", private_line(path.read_text()), (home,)))
    found += seal_needles(site)
    if site.inputs.operator is not None:
        line = private_line(site.inputs.operator[1])
        found.append(scan.Needle(f"{FOREIGN}key of the operator", line))
    found += [scan.Needle(FOREIGN + label, value) for label, value in site.inputs.foreign.items()]
    return found


def seal_needles(site: Site) -> list[scan.Needle]:
    """The key or the token that opens a Vault by itself; at rest it may be encrypted only."""
    found = []
    for service in site.of_kind("vault"):
        for path in sorted(Path(service["run"]).glob("seal.*")):
            value = path.read_bytes().decode("utf-8", "surrogateescape")
            if value.startswith("-----BEGIN"):
                if "PRIVATE KEY-----" not in value:
                    continue  # a certificate is no secret
                value = private_line(value)
            found.append(scan.Needle(f"{SEAL}{path.name}", value, (f"{path.parent}/",)))
    return found


def private_line(pem: str) -> str:
    """A line of a PEM key that has private bits in it and stands in no certificate.

    The second of a short key (elliptic curves: the first is mostly its algorithm), the middle one
    of a long one (RSA: the first lines are the modulus).
    """
    lines = [line for line in pem.splitlines() if line and not line.startswith("-----")]
    if len(lines) < 2:
        return lines[0] if lines else ""
    return lines[1] if len(lines) <= 5 else lines[len(lines) // 2]


def search(site: Site) -> Sweep:
    """Search all files that changed since the estate came to be.

    :raises PhoenixError: where the search does not find its own control.
    """
    wanted = needles(site)
    # Everything that is at home is so in memory. On a disk nothing is, whatever the directory.
    homeless = [replace(needle, homes=()) for needle in wanted]
    mark = scan.control()
    docker = str(site.info().get("DockerRootDir") or "/var/lib/docker").rstrip("/")
    table = scan.mounts()
    stored = [m.point for m in table if m.stored and not m.point.startswith(f"{docker}/overlay2/")]
    volatile = [m.point for m in table if m.volatile]
    areas = swaps()
    sweep = Sweep(
        needles=sorted(n.label for n in wanted),
        filesystems=stored,
        swaps=[area.name for area in areas],
        plain_swap=[
            f"memory is swapped to {area.name}, which is not encrypted and was not searched"
            for area in areas
            if area.plain and not container_manager()
        ],
        programs=_programs(site),
    )
    unread = {*sweep.programs, *(file for area in areas for file in area.files)}
    # On a disk, of random names, as a text and packed.
    witnesses = [Path("/var/tmp") / f".{mark.value[:24]}{end}" for end in ("", ".gz")]  # noqa: S108
    line = f"{mark.value}\n".encode()
    try:
        for path, content in zip(witnesses, (line, gzip.compress(line)), strict=True):
            path.write_bytes(content)
        found, sweep.read = scan.files(
            stored,
            [*homeless, mark],
            since=site.born(),
            skip=unread.__contains__,
            unread=sweep.packed,
        )
    finally:
        for path in witnesses:
            path.unlink(missing_ok=True)
    seen = {find.where for find in found if find.label == mark.label}
    if not seen >= {str(path) for path in witnesses}:
        raise PhoenixError("the search of the disks did not find its own control")
    sweep.stored = [f for f in found if f.label != mark.label]
    sweep.volatile, count = scan.files(volatile, wanted, since=0, unread=sweep.packed)
    sweep.read += count
    found, count = _elsewhere(site, wanted, table)
    sweep.volatile += found
    sweep.read += count
    return sweep


def _elsewhere(
    site: Site, wanted: list[scan.Needle], known: list[scan.Mount]
) -> tuple[list[scan.Find], int]:
    """Search the memory that only other processes see, such as that of containers.

    Through a process that ends meanwhile nothing is read, and nothing says so. Its memory is looked
    for again: it is gone, too, or another process sees it.

    :raises PhoenixError: where all that see it end.
    """
    owners = owners_of(site)
    finds: list[scan.Find] = []
    read = 0
    places = scan.memory_elsewhere(known)
    for _attempt in range(_ATTEMPTS):
        missed: set[str] = set()
        for place in places:
            # A service may hold what is its own.
            own = owners.get(scan.container_of(place.pid), "/")
            others = [needle for needle in wanted if not needle.label.startswith(own)]
            found, count = scan.files(place.roots, others, since=0)
            finds += found
            read += count
            if not place.open():
                missed |= place.devices
        if not missed:
            return finds, read
        places = [p for p in scan.memory_elsewhere(known) if p.devices & missed]
    raise PhoenixError("there is memory that was not searched: whatever process sees it ends")


def owners_of(site: Site) -> dict[str, str]:
    """By the ids of the estate's containers, what the labels of their own secrets begin with.

    One of another project may have a service of the same name, and owns nothing here.
    """
    project = site.estate["project"]
    return {
        box.id: f"{box.service}/"
        for box in site.containers()
        if box.project == project and box.service
    }


def _programs(site: Site) -> list[str]:
    """The Vault's own program, which the host has a copy of: half of all bytes, and no secret."""
    found: list[str] = []
    for service in site.of_kind("vault"):
        # One that does not run has no image to compare with, so its program is read.
        with contextlib.suppress(PhoenixError):
            pid = site.container(service["name"]).state.get("Pid")
            found += twins(Path(site.estate["root"]) / "bin", Path(f"/proc/{pid}/root/bin"))
    return found


def twins(folder: Path, image: Path) -> list[str]:
    """Large files of a folder that an image has under the same name, equal in every byte."""
    large = [path for path in folder.glob("*") if path.lstat().st_size > LARGEST]
    return [
        str(path)
        for path in large
        if not path.is_symlink()
        and subprocess.run(
            ["cmp", "--silent", "--", str(path), str(image / path.name)], check=False
        ).returncode
        == 0
    ]


def inspected(site: Site, wanted: list[scan.Needle]) -> list[str]:
    """Secrets in what the engine shows of containers and images."""
    found: list[str] = []
    for container in site.containers():
        text = json.dumps(container.inspected, ensure_ascii=False).encode()
        found += [
            f"{label} in docker inspect of container {container.name}"
            for label in sorted(scan.labels_in(text, wanted))
        ]
    for image in site.engine.images():
        text = json.dumps(image, ensure_ascii=False).encode()
        tags = ", ".join(image.get("RepoTags") or [image["Id"][:19]])
        found += [
            f"{label} in docker inspect of image {tags}"
            for label in sorted(scan.labels_in(text, wanted))
        ]
    return found
