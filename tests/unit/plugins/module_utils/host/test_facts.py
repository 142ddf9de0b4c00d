# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts from a made-up machine."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._host import facts


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    files = {
        "etc/os-release": 'PRETTY_NAME="Debian 13"\nID=debian\nVERSION_ID="13"\n',
        "proc/meminfo": "MemTotal:        4194304 kB\nSwapTotal:       1048576 kB\n",
        "proc/swaps": "Filename Type Size Used Priority\n/dev/vda2 partition 1048572 0 -2\n",
        "proc/net/route": (
            "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"
            "eth0\t00FF13C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\n"
            "eth1\t00000000\t01FF13C6\t0003\t0\t0\t0\t00000000\t0\n"
        ),
        "sys/class/net/eth1/mtu": "1400\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_machine_of_its_own(machine: Path) -> None:
    (machine / "run/systemd/system").mkdir(parents=True)
    found = facts.gather(["/", "/no/such/place"], None, machine)
    assert (found["distribution"], found["version"]) == ("debian", "13")
    assert (found["memory_mib"], found["swap_mib"]) == (4096, 1024)
    assert found["plain_swap"] == ["/dev/vda2"]
    assert found["mtu"] == 1400
    assert found["container"] == ""
    assert found["systemd"] is True
    assert found["cgroup_controllers"] == ["cpu", "memory", "pids"]
    assert found["skew"] is None
    assert [disk["path"] for disk in found["disks"]] == ["/", "/no/such/place"]
    assert all(disk["free_mib"] > 0 for disk in found["disks"])


def test_a_container_says_so(machine: Path) -> None:
    (machine / "run/systemd").mkdir(parents=True)
    (machine / "run/systemd/container").write_text("docker")
    assert facts.gather([], None, machine)["container"] == "docker"


def test_an_empty_machine_is_no_crash(tmp_path: Path) -> None:
    found = facts.gather(["/"], None, tmp_path)
    assert found["distribution"] == ""
    assert found["mtu"] == 0


def test_the_clocks_are_compared(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts.time, "time", lambda: 1000.0)
    assert facts.gather([], 1060.5, machine)["skew"] == -60.5


def test_the_session_is_found_behind_a_cleared_environment(machine: Path) -> None:
    def process(pid: int, parent: int, environment: str) -> None:
        folder = machine / "proc" / str(pid)
        folder.mkdir()
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
        (folder / "environ").write_text(environment)

    process(os.getpid(), 77, "PATH=/bin\0")
    process(77, 78, "SUDO_USER=me\0")
    process(78, 79, "LANG=C\0SSH_CONNECTION=203.0.113.9 50000 198.51.100.1 2222\0")
    process(79, 1, "")
    os.chown(machine / "proc/78", 987654, -1) if os.geteuid() == 0 else None
    found = facts.gather([], None, machine)
    user = "987654" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    wanted = ("203.0.113.9", 2222, user)
    assert (found["ssh_client"], found["ssh_port"], found["ssh_user"]) == wanted


def test_without_ssh_there_is_no_session(machine: Path) -> None:
    found = facts.gather([], None, machine)
    assert (found["ssh_client"], found["ssh_port"], found["ssh_user"]) == ("", 0, "")


def test_a_reboot_that_is_due_is_seen(machine: Path) -> None:
    assert facts.gather([], None, machine)["reboot_required"] is False
    (machine / "run").mkdir(exist_ok=True)
    (machine / "run/reboot-required").touch()
    assert facts.gather([], None, machine)["reboot_required"] is True
