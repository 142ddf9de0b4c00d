# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Facts about this machine, read from the kernel's and the distribution's own files.

Far less than Ansible's own facts, and in a tenth of the time.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._host.swaps import swaps

__all__ = ["container_manager", "gather"]

ROOT = Path("/")


def gather(disks: list[str], control_time: float | None, root: Path = ROOT) -> dict[str, Any]:
    """Everything at once; a value that this machine does not tell is empty or zero.

    :arg disks: Paths whose file systems' free space is of interest; they need not exist.
    :arg control_time: The control node's clock, seconds since the epoch, right before the call.
    :arg root: Where the machine's files are, for tests.
    """
    now = time.time()
    release = _os_release(root)
    session = _ssh_session(root)
    memory = _meminfo(root)
    return {
        "distribution": release.get("ID", ""),
        "version": release.get("VERSION_ID", ""),
        "pretty": release.get("PRETTY_NAME", ""),
        "codename": release.get("VERSION_CODENAME", ""),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "container": container_manager(root),
        "systemd": (root / "run/systemd/system").is_dir(),
        "uid": os.geteuid(),
        "memory_mib": memory.get("MemTotal", 0) // 1024,
        "swap_mib": memory.get("SwapTotal", 0) // 1024,
        "plain_swap": [swap.name for swap in swaps(root) if swap.plain],
        "cpus": os.cpu_count() or 1,
        "disks": [_disk(path) for path in disks],
        "cgroup_controllers": _read(root / "sys/fs/cgroup/cgroup.controllers").split(),
        "mtu": _mtu(root),
        "ssh_client": session["client"],
        "ssh_port": session["port"],
        "ssh_user": session["user"],
        "ssh_socket": _active("ssh.socket"),
        "reboot_required": (root / "run/reboot-required").exists(),
        "skew": None if control_time is None else round(now - control_time, 3),
        "docker": _version(["docker", "--version"]),
        "python_apt": any(root.glob("usr/lib/python3/dist-packages/apt_pkg*.so")),
        "compose": _version(["docker", "compose", "version", "--short"]),
    }


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _os_release(root: Path) -> dict[str, str]:
    values = {}
    for line in _read(root / "etc/os-release").splitlines():
        key, sep, value = line.partition("=")
        if sep:
            values[key.strip()] = value.strip().strip("\"'")
    return values


def _meminfo(root: Path) -> dict[str, int]:
    """Sizes in KiB."""
    found = re.findall(r"^(\w+):\s+(\d+) kB", _read(root / "proc/meminfo"), re.MULTILINE)
    return {name: int(size) for name, size in found}


def container_manager(root: Path = ROOT) -> str:
    """Which container manager this runs under, empty on a machine of its own (systemd's rule)."""
    return _read(root / "run/systemd/container").strip() or (
        "docker" if (root / ".dockerenv").exists() else ""
    )


def _disk(path: str) -> dict[str, Any]:
    place = Path(path)
    while not place.exists() and place != place.parent:
        place = place.parent
    usage = shutil.disk_usage(place)
    return {"path": path, "free_mib": usage.free >> 20, "device": place.stat().st_dev}


def _mtu(root: Path) -> int:
    """The MTU of the interface that the default route leaves by."""
    for line in _read(root / "proc/net/route").splitlines()[1:]:
        fields = line.split()
        if len(fields) > 7 and fields[1] == "00000000" and fields[7] == "00000000":
            return int(_read(root / "sys/class/net" / fields[0] / "mtu").strip() or 0)
    return 0


def _ssh_session(root: Path) -> dict[str, Any]:
    """Where this session comes from, the port that it came to, and who logged in.

    Empty where it is no SSH session. Privilege escalation clears the environment, so the ancestors
    are asked as well; the oldest of the session is the one that the server started for who logged
    in.
    """
    found: dict[str, Any] = {"client": "", "port": 0, "user": ""}
    pid = os.getpid()
    for _generation in range(32):
        place = root / "proc" / str(pid)
        match = re.search(r"(?:^|\0)SSH_CONNECTION=(\S+) \S+ \S+ (\d+)", _read(place / "environ"))
        if match:
            found = {"client": match[1], "port": int(match[2]), "user": _owner(place)}
        status = re.search(r"^PPid:\s+(\d+)", _read(place / "status"), re.MULTILINE)
        pid = int(status[1]) if status else 0
        if pid <= 1:
            break
    return found


def _owner(place: Path) -> str:
    """The name of who runs a process, its number where that has none."""
    try:
        uid = place.stat().st_uid
    except OSError:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _active(unit: str) -> bool:
    try:
        done = subprocess.run(["systemctl", "is-active", "--quiet", unit], timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _version(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = re.search(r"\d+\.\d+\.\d+", done.stdout) if done.returncode == 0 else None
    return match.group(0) if match else ""
