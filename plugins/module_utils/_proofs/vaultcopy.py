# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An empty server of the Vault's own image that nothing but a proof can reach, for a snapshot.

Its container has no network: a restored copy changes the passwords of live databases within
seconds of its unseal. It keeps its data in memory, listens on a socket in a directory of its own,
and ends by itself after some minutes, whatever becomes of the proof.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import (
    UnixConnection,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import VaultApi
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["CopyApi", "Plan", "configuration", "restart", "seal_stanza", "started"]

LIFETIME = 180
_START = 30.0
_SOCKET = "vault.sock"
_PLACE = "/copy"
_CONFIG = f"""\
ui = false
log_format = "json"
api_addr = "http://127.0.0.1:8200"
cluster_addr = "https://127.0.0.1:8201"
listener "unix" {{
  address = "{_PLACE}/{_SOCKET}"
  socket_mode = "0600"
}}
# Its storage wants an address for other nodes. This one is in a network with nobody else.
listener "tcp" {{
  address = "127.0.0.1:8200"
  cluster_address = "127.0.0.1:8201"
  tls_disable = true
}}
storage "raft" {{
  path = "{_PLACE}/data"
  node_id = "copy"
  performance_multiplier = 1
}}
"""
_SEAL = re.compile(r'^seal\s+"(\w+)"\s*\{.*?^\}', re.MULTILINE | re.DOTALL)


class CopyApi(VaultApi):
    """The Vault API over a Unix socket."""

    def __init__(self, path: Path, timeout: float = 30) -> None:  # pylint: disable=super-init-not-called
        self._path = str(path)
        self._timeout = timeout
        self._local = threading.local()

    @property
    def where(self) -> str:
        return self._path

    def _connection(self) -> UnixConnection:
        connection: UnixConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = UnixConnection(self._path, self._timeout)
        return connection


@dataclass(frozen=True)
class Plan:
    """What a copy is made of.

    :arg name: Name of its container.
    :arg image: Reference of its image, ``binary``: the program in it.
    :arg user: ``uid:gid`` that it runs as.
    :arg folder: Directory in memory for its configuration, its data and its socket.
    :arg config: Text of its configuration, see :func:`configuration`.
    :arg memory: Other directories in the container that it writes to, in memory as well.
    :arg seal: Directory of the host with what opens a seal that needs no people, empty without.
    """

    name: str
    image: str
    binary: str
    user: str
    folder: Path
    config: str
    memory: Sequence[str]
    seal: str = ""

    @property
    def command(self) -> list[str]:
        """To start its container."""
        uid, _unused, gid = self.user.partition(":")
        owned = f"uid={uid},gid={gid},mode=0700"
        return [
            *("docker", "run", "--detach", "--rm", "--pull=never", f"--name={self.name}"),
            *("--network=none", "--read-only", "--cap-drop=ALL"),
            *("--security-opt=no-new-privileges", f"--user={self.user}", "--tmpfs=/tmp"),
            *(f"--tmpfs={folder}:{owned}" for folder in self.memory),
            f"--volume={self.folder}:{_PLACE}",
            *([f"--volume={self.seal}:/run/tamshai:ro"] if self.seal else []),
            *("--entrypoint=timeout", self.image, str(LIFETIME)),
            *(self.binary, "server", f"-config={_PLACE}/server.hcl"),
        ]


def configuration(devices: Mapping[str, Mapping[str, Any]], seal: str) -> str:
    """A server with nothing but a socket.

    :arg devices: The audit devices of the live server: no server becomes active on data whose audit
        devices are not those of its configuration, to the letter.
    :arg seal: Its seal stanza, empty where shares open it.
    """
    return "\n".join([_CONFIG, seal, *(_audit(*device) for device in devices.items())])


def _audit(path: str, device: Mapping[str, Any]) -> str:
    settings = [f"    {name} = {json.dumps(str(v))}" for name, v in device["options"].items()]
    about = device.get("description")
    head = [f"  description = {json.dumps(about)}"] if about else []
    name = f"{json.dumps(device['type'])} {json.dumps(path.strip('/'))}"
    return "\n".join([f"audit {name} {{", *head, "  options {", *settings, "  }", "}"])


def seal_stanza(config: str) -> tuple[str, str]:
    """Kind and text of the seal stanza in a server's configuration, both empty without one."""
    found = _SEAL.search(config)
    return (found[1], found[0]) if found else ("", "")


@contextlib.contextmanager
def started(plan: Plan) -> Iterator[CopyApi]:
    """A copy that answers; gone afterwards, and so is what a proof that was killed left behind."""
    remove(plan)
    try:
        plan.folder.mkdir(mode=0o700, parents=True)
        (plan.folder / "data").mkdir(mode=0o700)
        config = plan.folder / "server.hcl"
        config.write_text(plan.config, encoding="utf-8")
        config.chmod(0o644)
        uid, _unused, gid = plan.user.partition(":")
        for folder in (plan.folder, plan.folder / "data"):
            os.chown(folder, int(uid), int(gid))
        _start(plan)
        yield CopyApi(plan.folder / _SOCKET)
    finally:
        remove(plan)


def restart(plan: Plan) -> None:
    """Start the copy anew on the data that it has, and wait until it answers."""
    _end(plan)
    _start(plan)


def _start(plan: Plan) -> None:
    _docker(plan.command)
    api = CopyApi(plan.folder / _SOCKET)
    wait_until(lambda: bool(api.seal_status()), timeout=_START, what="the copy to answer")


def _end(plan: Plan) -> None:
    listed = _docker(["docker", "ps", "--all", "--quiet", f"--filter=name=^{plan.name}$"])
    for name in listed.split():
        _docker(["docker", "rm", "--force", "--volumes", name], gone="No such container")


def remove(plan: Plan) -> None:
    """Remove container and directory; that there are none is fine."""
    _end(plan)
    shutil.rmtree(plan.folder, ignore_errors=True)


def _docker(command: Sequence[str], gone: str = "") -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0 and not (gone and gone in done.stderr):
        raise PhoenixError(f"docker {command[1]} failed: {done.stderr.strip()}")
    return done.stdout
