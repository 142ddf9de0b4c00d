# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the Docker engine says about its containers: a reader of its API over the Unix socket.

The roles talk to the engine through community.docker; a proof asks the engine itself.
"""

from __future__ import annotations

import http.client
import json
import socket
import urllib.parse
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["Container", "Engine", "UnixConnection"]

Json = Any

_FRAME = 8  # bytes in front of each part of a log
_GOING = 10.0  # seconds in which what is being removed disappears from the lists, too


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Container:
    """One container as `docker inspect` shows it."""

    def __init__(self, inspected: dict[str, Json]) -> None:
        self.inspected = inspected

    @property
    def id(self) -> str:
        return str(self.inspected["Id"])

    @property
    def name(self) -> str:
        return str(self.inspected["Name"]).lstrip("/")

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.inspected["Config"].get("Labels") or {})

    @property
    def service(self) -> str:
        """Its name in the compose project, empty where it is in none."""
        return self.labels.get("com.docker.compose.service", "")

    @property
    def project(self) -> str:
        return self.labels.get("com.docker.compose.project", "")

    @property
    def one_off(self) -> bool:
        """Whether it is somebody's `docker compose run`, beside the service's own container."""
        return self.labels.get("com.docker.compose.oneoff") == "True"

    @property
    def state(self) -> dict[str, Json]:
        return dict(self.inspected["State"])

    @property
    def running(self) -> bool:
        return bool(self.state.get("Running"))

    @property
    def health(self) -> str:
        """`healthy`, `unhealthy`, `starting`, or `none` without a health check."""
        return str((self.state.get("Health") or {}).get("Status", "none"))

    @property
    def pid(self) -> int:
        return int(self.state.get("Pid") or 0)

    @property
    def command(self) -> list[str]:
        """Everything that its process was started with."""
        return [str(self.inspected.get("Path", "")), *map(str, self.inspected.get("Args") or [])]

    @property
    def environment(self) -> dict[str, str]:
        pairs = (item.partition("=") for item in self.inspected["Config"].get("Env") or [])
        return {name: value for name, _unused, value in pairs}

    @property
    def networks(self) -> set[str]:
        return set(self.inspected["NetworkSettings"].get("Networks") or {})

    @property
    def addresses(self) -> dict[str, str]:
        """IPv4 address by network."""
        networks = self.inspected["NetworkSettings"].get("Networks") or {}
        return {
            name: entry["IPAddress"] for name, entry in networks.items() if entry.get("IPAddress")
        }

    @property
    def memory_limit(self) -> int:
        """Declared limit in bytes, 0 without."""
        return int(self.inspected["HostConfig"].get("Memory") or 0)

    def source_of(self, destination: str) -> str:
        """Path on the host of what is mounted at a path in the container, empty if nothing is."""
        for mount in self.inspected.get("Mounts") or []:
            if mount.get("Destination") == destination:
                return str(mount.get("Source", ""))
        return ""


class Engine:
    """The engine behind a Unix socket.

    :arg timeout: Seconds for each request.
    """

    def __init__(self, path: str = "/var/run/docker.sock", timeout: float = 10) -> None:
        self._path = path
        self._timeout = timeout

    def get(self, path: str, **query: str) -> Json:
        """The JSON answer of a GET.

        :raises PhoenixError: where the engine does not answer, or answers an error.
        """
        found = self._find(path, query)
        if found is None:
            raise PhoenixError(f"the Docker engine has no {path}")
        return found

    def _find(self, path: str, query: dict[str, str]) -> Json:
        """The same, ``None`` for what is not there."""
        status, body = self._request("GET", path, query)
        if status == http.HTTPStatus.NOT_FOUND:
            return None
        if status != http.HTTPStatus.OK:
            raise PhoenixError(f"the Docker engine answered {status} to GET {path}")
        return json.loads(body)

    def _request(self, method: str, path: str, query: dict[str, str]) -> tuple[int, bytes]:
        target = path + ("?" + urllib.parse.urlencode(query) if query else "")
        connection = UnixConnection(self._path, self._timeout)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError as error:
            raise PhoenixError(
                f"the Docker engine at {self._path} does not answer: {error}"
            ) from error
        finally:
            connection.close()

    def info(self) -> dict[str, Json]:
        return dict(self.get("/info"))

    def containers(self) -> list[Container]:
        """Every container, stopped ones included."""
        return [Container(found) for found in self._each("containers", all="true")]

    def networks(self, project: str) -> set[str]:
        """Names of the networks of a compose project."""
        label = {"label": [f"com.docker.compose.project={project}"]}
        return {str(item["Name"]) for item in self.get("/networks", filters=json.dumps(label))}

    def images(self) -> list[dict[str, Json]]:
        return self._each("images")

    def _each(self, kind: str, **query: str) -> list[dict[str, Json]]:
        """All of a kind, as the engine inspects them.

        One may be removed before its turn comes, such as that of a `docker run --rm`. It counts as
        gone only once it is listed no longer: what is there and is not shown is not known.

        :raises PhoenixError: for such a one, too.
        """

        def listed() -> list[str]:
            return [str(item["Id"]) for item in self.get(f"/{kind}/json", **query)]

        shown = {name: self._find(f"/{kind}/{name}/json", {}) for name in listed()}
        gone = {name for name, found in shown.items() if found is None}
        if gone:
            wait_until(
                lambda: gone.isdisjoint(listed()),
                timeout=_GOING,
                what=f"{kind} that the engine lists and does not show to be gone",
            )
        return [found for found in shown.values() if found is not None]

    def log(self, container: str, *, since: float) -> str:
        """What a container has written to standard output and error since a time."""
        query = {"stdout": "true", "stderr": "true", "since": f"{since:.9f}"}
        status, body = self._request("GET", f"/containers/{container}/logs", query)
        if status != http.HTTPStatus.OK:
            raise PhoenixError(f"the Docker engine answered {status} to a request for a log")
        return _unframed(body).decode("utf-8", "replace")


def _unframed(body: bytes) -> bytes:
    """The text of a log without a terminal: frames with a stream, three zeros and a length."""
    text = b""
    while len(body) >= _FRAME:
        size = int.from_bytes(body[4:_FRAME], "big")
        text += body[_FRAME : _FRAME + size]
        body = body[_FRAME + size :]
    return text
