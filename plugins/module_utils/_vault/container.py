# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The container that a server runs in, and what version an image has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Container", "older"]

Docker = Callable[[list[str]], tuple[int, str, str]]
"""Runs the Docker client; exit status, output, errors."""

_STOP_SECONDS = 30
_VERSION = re.compile(r"\bv(\d+\.\d+\.\d+\S*)")


class Container:
    """The one container of a compose service, running or not."""

    def __init__(self, docker: Docker, project: str, service: str) -> None:
        self._docker = docker
        self._filters = [
            f"--filter=label=com.docker.compose.project={project}",
            f"--filter=label=com.docker.compose.service={service}",
        ]

    def image(self) -> str:
        """The reference that it was made from, empty where there is no container."""
        found = self._inspect()
        return str(found["Config"]["Image"]) if found else ""

    def running(self) -> bool:
        found = self._inspect()
        return bool(found and found["State"]["Running"])

    def stop(self) -> None:
        """Let the server end; that there is none is fine."""
        for name in self._names():
            self._run("stop", f"--time={_STOP_SECONDS}", name)

    def version(self, image: str, binary: str) -> str:
        """The version of the program in an image, which is run for it without network or rights."""
        said = self._run(
            *("run", "--rm", "--pull=never", "--network=none", "--read-only", "--cap-drop=ALL"),
            *(f"--entrypoint={binary}", image, "version"),
        )
        found = _VERSION.search(said)
        if not found:
            raise PhoenixError(f"{image} does not tell its version: {said.strip()[:200]}")
        return found[1]

    def _names(self) -> list[str]:
        return self._run("ps", "--all", "--quiet", "--no-trunc", *self._filters).split()

    def _inspect(self) -> dict[str, Any] | None:
        names = self._names()
        return dict(json.loads(self._run("inspect", names[0]))[0]) if names else None

    def _run(self, *arguments: str) -> str:
        status, out, error = self._docker(list(arguments))
        if status != 0:
            raise PhoenixError(f"docker {arguments[0]} failed: {error.strip()}")
        return out


def older(version: str, than: str) -> bool:
    """Whether one version comes before another.

    :raises PhoenixError: where one of them is no version.
    """
    return _numbers(version) < _numbers(than)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    if not found:
        raise PhoenixError(f"not a version: {version!r}")
    return tuple(int(part) for part in found.groups())
