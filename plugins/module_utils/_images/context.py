# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Build contexts: the folder that an image is built from."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._images.plan import files_below

__all__ = ["check_sources", "write_context"]


def check_sources(source: str | Path, files: Iterable[Mapping[str, Any]]) -> None:
    """See to it that all files are there, before a folder is touched.

    :raises PhoenixError: for those that do not exist or lie outside of the folder.
    """
    root = Path(source).resolve()
    origins = {item["src"]: (root / item["src"]).resolve() for item in files}
    missing = [src for src, at in origins.items() if not at.is_relative_to(root) or not at.exists()]
    if missing:
        raise PhoenixError(f"There is no {', '.join(missing)} in {root}.")


def write_context(
    folder: str | Path, dockerfile: str, source: str | Path, files: Iterable[Mapping[str, Any]]
) -> None:
    """Make a build context anew: ``Dockerfile``, ``files/`` and an empty ``fetched/``.

    :arg source: Folder that ``src`` of the files is relative to.
    :arg files: Each with ``src``, a file or folder, and ``mode``, octal, of the files in there.
        Modes of the source do not count: they depend on the umask of whoever checked it out.
    :raises PhoenixError: for a source that does not exist or lies outside of the folder.
    """
    files = list(files)
    check_sources(source, files)
    place = Path(folder)
    if place.exists():
        shutil.rmtree(place)
    (place / "fetched").mkdir(parents=True)
    (place / "files").mkdir()
    (place / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    root = Path(source).resolve()
    for item in files:
        for file in files_below((root / item["src"]).resolve()):
            target = place / "files" / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            target.chmod(int(item.get("mode") or "0644", 8))
    for path, folders, _names in os.walk(place / "files"):
        for name in folders:
            (Path(path) / name).chmod(0o755)
    (place / "files").chmod(0o755)
