# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this machine has: packages, users, images, and containers that are as compose declares them.

One look at the beginning of a run spares the roles after it a look each. What is not certain counts
as missing here, and the role that needs it looks for itself.
"""

from __future__ import annotations

import http.client
import json
import pwd
import re
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["Ask", "Read", "folders", "images", "packages", "running", "service_images", "users"]

SOCKET = "/var/run/docker.sock"
_PROJECT = "com.docker.compose.project"
_SERVICE = "com.docker.compose.service"
_HASH = "com.docker.compose.config-hash"
_FILES = "com.docker.compose.project.config_files"

Read = Callable[[Sequence[str]], str]
"""The output of a command, empty where it fails."""

Ask = Callable[[str], Any]
"""The engine's answer to a GET, ``None`` where there is none."""


def read_command(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def ask_engine(path: str) -> Any:
    connection = _Connection("localhost", timeout=10)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        return json.loads(body) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def packages(read: Read = read_command) -> list[str]:
    """Names of the Debian packages that are installed and configured."""
    found = read(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\n"])
    pairs = (line.split("\t") for line in found.splitlines())
    return sorted({name for status, name in pairs if re.fullmatch(r"[ih]i ?", status)})


def users(names: Sequence[str], shadow: Path = Path("/etc/shadow")) -> dict[str, dict[str, Any]]:
    """``uid``, ``shell`` and whether the password is ``locked``, for each user that exists."""
    locked = set()
    try:
        for line in shadow.read_text(encoding="utf-8").splitlines():
            name, password, *_rest = line.split(":")
            if password.startswith("!"):
                locked.add(name)
    except (OSError, ValueError):
        locked.clear()
    result = {}
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        result[name] = {
            "uid": entry.pw_uid,
            "shell": entry.pw_shell,
            "locked": name in locked,
        }
    return result


def folders(place: Path) -> list[str]:
    """Names of the directories in one that need not exist."""
    if not place.is_dir():
        return []
    return sorted(path.name for path in place.iterdir() if path.is_dir() and not path.is_symlink())


def images(ask: Ask = ask_engine) -> dict[str, str]:
    """The id of each image by each of its references."""
    result = {}
    for image in ask("/images/json") or []:
        for reference in (image.get("RepoTags") or []) + (image.get("RepoDigests") or []):
            result[str(reference)] = str(image["Id"])
    return result


def running(
    file: str,
    known: Mapping[str, str],
    read: Read = read_command,
    ask: Ask = ask_engine,
) -> list[str]:
    """Services whose one container runs, is healthy, and is what the compose file says now.

    None at all where the project has a container of a service that the file does not declare.

    :arg file: The compose file.
    :arg known: Images of the engine, see :func:`images`.
    """
    if not Path(file).is_file():
        return []
    compose = ["docker", "compose", "--file", file, "config"]
    with ThreadPoolExecutor(2) as executor:
        hashing = executor.submit(read, [*compose, "--hash", "*"])
        text = read([*compose, "--format", "json"])
        hashes = dict(
            line.split() for line in hashing.result().splitlines() if len(line.split()) == 2
        )
    if not text:
        return []
    document = json.loads(text)
    filters = json.dumps({"label": [f"{_PROJECT}={document['name']}"]})
    containers = ask(f"/containers/json?all=1&filters={quote(filters)}") or []
    by_service: dict[str, list[Mapping[str, Any]]] = {}
    for container in containers:
        by_service.setdefault(container["Labels"].get(_SERVICE, ""), []).append(container)
    if set(by_service) - set(document["services"]):
        return []
    result = []
    for name, declared in document["services"].items():
        found = by_service.get(name, [])
        if len(found) == 1 and _as_declared(
            found[0], hashes.get(name, ""), _networks(document, declared), known
        ):
            result.append(name)
    return sorted(result)


def service_images(file: str, ask: Ask = ask_engine) -> dict[str, str]:
    """The reference of the image of each service's container, running or not.

    Its id instead, where the reference that it was made from names another image by now.
    """
    filters = json.dumps({"label": [f"{_FILES}={file}"]})
    found = ask(f"/containers/json?all=1&filters={quote(filters)}") or []
    return {c["Labels"].get(_SERVICE, ""): str(c["Image"]) for c in found}


def _networks(document: Mapping[str, Any], service: Mapping[str, Any]) -> set[str]:
    return {document["networks"][key]["name"] for key in service.get("networks") or {}}


def _as_declared(
    container: Mapping[str, Any], digest: str, networks: set[str], known: Mapping[str, str]
) -> bool:
    # The engine gives the image's reference as long as that still names the container's image.
    status = str(container["Status"])
    return (
        container["State"] == "running"
        and ("(" not in status or "(healthy)" in status)
        and digest != ""
        and container["Labels"].get(_HASH) == digest
        and known.get(container["Image"]) == container["ImageID"]
        and set(container["NetworkSettings"]["Networks"]) == networks
    )
