# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the kernel swaps to, and whether a disk gets to see what was in memory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Swap", "swaps"]

ROOT = Path("/")


@dataclass(frozen=True)
class Swap:
    """A swap area.

    :arg name: As the kernel calls it.
    :arg files: Where its bytes lie in files: the area itself, or what is below an encrypted one.
    :arg plain: Whether a disk holds what was in memory as it was there, or that is not known.
    """

    name: str
    files: tuple[str, ...]
    plain: bool


def swaps(root: Path = ROOT) -> list[Swap]:
    """All swap areas; in a container, those of the machine that it runs on.

    :arg root: Where the machine's files are, for tests.
    """
    try:
        lines = (root / "proc/swaps").read_text(encoding="utf-8").splitlines()[1:]
    except OSError:
        return []
    return [_swap(root, line.split()[0], line.split()[1]) for line in lines if line.strip()]


def _swap(root: Path, written: str, kind: str) -> Swap:
    # The kernel writes blanks and the like in octal.
    name = written.encode().decode("unicode_escape")
    block = _holder(root, name) if kind == "file" else _block(root, name)
    files = (name, *_backing(block)) if block else (name,)
    return Swap(name, files, block is None or not _kept_safe(block))


def _block(root: Path, name: str) -> Path | None:
    """The kernel's directory of a block device."""
    base = Path(os.path.realpath(root / name.lstrip("/"))).name
    found = root / "sys/class/block" / base
    return found if found.is_dir() else None


def _holder(root: Path, name: str) -> Path | None:
    """That of the device whose file system holds a file; some have none, such as btrfs."""
    try:
        device = (root / name.lstrip("/")).stat().st_dev
    except OSError:
        return None
    found = root / f"sys/dev/block/{os.major(device)}:{os.minor(device)}"
    return found if found.is_dir() else None


def _slaves(block: Path) -> list[Path]:
    folder = block / "slaves"
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _kept_safe(block: Path) -> bool:
    """In memory, or encrypted by the device mapper, itself or all that it is made of."""
    if block.resolve().name.startswith("zram"):
        return _text(block / "backing_dev") in ("", "none")
    if _text(block / "dm/uuid").startswith("CRYPT-"):
        return True
    below = _slaves(block)
    return bool(below) and all(_kept_safe(slave) for slave in below)


def _backing(block: Path) -> list[str]:
    """Files that loop devices below a device are made of."""
    file = _text(block / "loop/backing_file")
    return ([file] if file else []) + [f for slave in _slaves(block) for f in _backing(slave)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
