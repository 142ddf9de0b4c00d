# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which swap areas let what was in memory get to a disk, on made-up machines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._host.swaps import Swap, swaps

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class Machine:
    """Its files, as the kernel shows them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lines: list[str] = []

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def block(self, name: str, *slaves: str, **files: str) -> None:
        place = self.root / "sys/class/block" / name
        (place / "slaves").mkdir(parents=True)
        for slave in slaves:
            (place / "slaves" / slave).symlink_to(f"../../{slave}")
        for file, text in files.items():
            self.write(f"sys/class/block/{name}/{file.replace('__', '/')}", text)

    def swap(self, name: str, kind: str = "partition") -> Swap:
        self.write("proc/swaps", f"{HEADER}{name}\t\t{kind}\t65532\t0\t-2\n")
        return swaps(self.root)[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_none(machine: Machine) -> None:
    assert swaps(machine.root) == []
    machine.write("proc/swaps", HEADER)
    assert swaps(machine.root) == []


def test_a_partition_is_plain(machine: Machine) -> None:
    machine.block("vda2")
    assert machine.swap("/dev/vda2") == Swap("/dev/vda2", ("/dev/vda2",), plain=True)


def test_what_is_not_known_is_plain(machine: Machine) -> None:
    assert machine.swap("/dev/odd").plain
    assert machine.swap("/swap\\040file", "file") == Swap("/swap file", ("/swap file",), plain=True)


def test_an_encrypted_file_is_named_by_its_file_too(machine: Machine) -> None:
    machine.block("loop0", loop__backing_file="/var/lib/tamshai/swap\n")
    machine.block("dm-0", "loop0", dm__uuid="CRYPT-PLAIN-tamshai-swap\n")
    found = machine.swap("/dev/dm-0")
    assert found == Swap("/dev/dm-0", ("/dev/dm-0", "/var/lib/tamshai/swap"), plain=False)


def test_a_volume_is_as_safe_as_all_below_it(machine: Machine) -> None:
    machine.block("vda2")
    machine.block("dm-0", "vda2", dm__uuid="CRYPT-LUKS2-1-root\n")
    machine.block("dm-1", "dm-0", dm__uuid="LVM-1\n")
    machine.block("dm-2", "dm-0", "vda2", dm__uuid="LVM-2\n")
    assert not machine.swap("/dev/dm-1").plain
    assert machine.swap("/dev/dm-2").plain


def test_compressed_memory_is_memory_until_it_is_written_back(machine: Machine) -> None:
    machine.block("zram0", backing_dev="none\n")
    assert not machine.swap("/dev/zram0").plain
    machine.write("sys/class/block/zram0/backing_dev", "/dev/vda3\n")
    assert machine.swap("/dev/zram0").plain


def test_a_file_is_as_safe_as_the_device_of_its_file_system(machine: Machine) -> None:
    machine.write("swapfile", "")
    device = machine.root.stat().st_dev
    place = machine.root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    assert machine.swap("/swapfile", "file").plain
    (place / "slaves").mkdir(parents=True)
    assert machine.swap("/swapfile", "file").plain
    machine.write(str(place.relative_to(machine.root) / "dm/uuid"), "CRYPT-LUKS2-1-root\n")
    assert machine.swap("/swapfile", "file") == Swap("/swapfile", ("/swapfile",), plain=False)
