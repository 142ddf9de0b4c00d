# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Those who use a bundle: told of a new one, and asked by a handshake whether they serve it.

That a server accepted a reload proves nothing: several keep the old certificate and only log why.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
)

__all__ = ["Consumer", "Containers", "Renewal", "Swap", "client_context", "served_serial"]

# PostgreSQL's SSLRequest: its length and the code 80877103 (protocol documentation, 54.7).
_SSL_REQUEST = struct.pack("!II", 8, 80877103)

_TRY_SECONDS = 5.0


@dataclass(frozen=True)
class Consumer:
    """A service that holds certificates.

    :arg port: The port that it serves TLS on, inside its container.
    :arg postgresql: Whether TLS begins by PostgreSQL's own request.
    :arg reload: ``signal`` or ``restart``.
    """

    name: str
    fqdn: str
    port: int
    postgresql: bool
    reload: str
    signal: str


@dataclass(frozen=True)
class Swap:
    """A bundle that was swapped in and whose consumer has yet to take it up."""

    certificate: str
    serial: str
    before: str


class Containers:
    """The running containers of a compose project.

    :arg docker: Runs ``docker`` with arguments and gives what it prints;
        raises :class:`PhoenixError` when it fails.
    """

    def __init__(self, docker: Callable[[list[str]], str], project: str) -> None:
        self._docker = docker
        self._project = project

    def running(self) -> dict[str, dict[str, Any]]:
        """By service: the container's ``id``, its first process ``pid``, its ``addresses``."""
        label = f"label=com.docker.compose.project={self._project}"
        ids = self._docker(["ps", "--quiet", "--no-trunc", "--filter", label]).split()
        if not ids:
            return {}
        found: dict[str, dict[str, Any]] = {}
        for entry in json.loads(self._docker(["inspect", "--type", "container", *ids])):
            service = entry["Config"]["Labels"].get("com.docker.compose.service", "")
            networks = entry["NetworkSettings"]["Networks"] or {}
            addresses = sorted(n["IPAddress"] for n in networks.values() if n.get("IPAddress"))
            found[service] = {
                "id": entry["Id"],
                "pid": int(entry["State"]["Pid"]),
                "addresses": addresses,
            }
        return found

    def reload(self, container: Mapping[str, Any], consumer: Consumer) -> None:
        """Restart the container, or signal its first process.

        Not by the engine's ``kill``: whatever the signal, the engine then takes the container for
        stopped by hand, and does not start it again after a reboot.
        """
        if consumer.reload == "restart":
            self._docker(["restart", str(container["id"])])
            return
        if container["pid"] <= 1:
            raise PhoenixError(f"{consumer.name} does not run any more")
        try:
            os.kill(container["pid"], signal.Signals[f"SIG{consumer.signal}"])
        except (KeyError, OSError) as error:
            raise PhoenixError(
                f"{consumer.name} cannot be sent {consumer.signal}: {error}"
            ) from None


def client_context(root: Path, identity: Path) -> ssl.SSLContext:
    """A context that trusts one root and shows a client certificate.

    :arg identity: Directory of the bundle whose certificate is shown.
    """
    context = ssl.create_default_context(cafile=str(root))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
    return context


def served_serial(
    address: str, port: int, fqdn: str, context: ssl.SSLContext, *, postgresql: bool = False
) -> str:
    """The serial number that a server shows in a verified handshake, 40 digits in lower case.

    :raises PhoenixError: no connection, no TLS, or a certificate that does not verify.
    """
    where = f"{fqdn} at {address}:{port}"
    try:
        with socket.create_connection((address, port), timeout=_TRY_SECONDS) as plain:
            if postgresql:
                plain.sendall(_SSL_REQUEST)
                if plain.recv(1) != b"S":
                    raise PhoenixError(f"{where} does not offer TLS")
            with context.wrap_socket(plain, server_hostname=fqdn) as secured:
                shown = secured.getpeercert() or {}
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise PhoenixError(f"{where}: {error}") from None
    return str(shown.get("serialNumber", "")).lower().zfill(40)


@dataclass(frozen=True)
class Renewal:
    """One consumer and the bundles that it has to take up.

    :arg identity: Directory of the bundle that this host shows as a client.
    :arg timeout: Seconds until it has to serve the new certificate.
    """

    tree: Tree
    containers: Containers
    consumer: Consumer
    swaps: list[Swap]
    identity: Path
    timeout: float

    def take_up(self, declared: Mapping[str, Declaration]) -> bool:
        """Have it done, or have the bundles from before served again.

        :return: Whether a handshake has shown it; a client certificate nobody sees from outside.
        :raises PhoenixError: says what failed, and what is served now.
        """
        names = [swap.certificate for swap in self.swaps]
        try:
            shown = self._tell(declared, {s.certificate: s.serial for s in self.swaps})
        except PhoenixError as error:
            self._go_back(declared, error.message)
            self.tree.clear_pending(names)
            raise PhoenixError(f"{error.message}; the bundle from before is served again") from None
        self.tree.clear_pending(names)
        return shown

    def _go_back(self, declared: Mapping[str, Declaration], why: str) -> None:
        before = {swap.certificate: swap.before for swap in self.swaps}
        for name, serial in before.items():
            # None in a mark that cannot be read.
            if not serial or not (self.tree.base(declared[name]) / "versions" / serial).is_dir():
                raise PhoenixError(f"{why}; the bundle from before is gone")
        for name, serial in before.items():
            self.tree.point(declared[name], serial)
        try:
            self._tell(declared, before)
        except PhoenixError as error:
            raise PhoenixError(f"{why}; with the bundle from before: {error.message}") from None

    def _tell(self, declared: Mapping[str, Declaration], serials: Mapping[str, str]) -> bool:
        container = self.containers.running().get(self.consumer.name)
        if container is None:
            raise PhoenixError(f"{self.consumer.name} does not run any more")
        self.containers.reload(container, self.consumer)
        serial = serials.get(self.consumer.name)
        if serial is None:
            return False
        # The root that came with the bundle: after a change of roots old and new ones differ.
        root = self.tree.current(declared[self.consumer.name]) / "ca.crt"
        context = client_context(root, self.identity)
        wait_until(
            lambda: self._serves(serial, context),
            timeout=self.timeout,
            what=f"{self.consumer.name} to serve certificate {serial}",
        )
        return True

    def _serves(self, serial: str, context: ssl.SSLContext) -> bool:
        """Whether all addresses do. They are asked for each time: a restart may move it."""
        name = self.consumer.name
        container = self.containers.running().get(name)
        if container is None or not container["addresses"]:
            raise PhoenixError(f"{name} does not run or has no address")
        for address in container["addresses"]:
            found = served_serial(
                address,
                self.consumer.port,
                self.consumer.fqdn,
                context,
                postgresql=self.consumer.postgresql,
            )
            if found != serial:
                raise PhoenixError(f"{name} at {address} serves {found}")
        return True
