# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H3.b: no service port speaks plain HTTP."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    hop,
    ports,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["no_plain_http"]

_TLS_ALERT = 0x15
_HELD = "took the request and did not answer"
_WORKERS = 8
_PROC = Path("/proc")

Door = tuple[str, str, int]


@proof("H3.b")
def no_plain_http(site: Site) -> Record:
    """Send a plain request to every declared port, and to every other that a container has open."""
    record = Record()
    doors = _doors(site, record)
    with ThreadPoolExecutor(_WORKERS) as pool:
        answers = list(pool.map(lambda door: plain_request(door[1], door[2]), doors))
    seen: dict[str, str] = {}
    for (name, address, port), (refused, answer) in zip(doors, answers, strict=True):
        said = answer if answer.startswith(_HELD) else f"answers plain HTTP: {answer}"
        record.expect(refused, f"{name} {said}")
        seen[f"{name} ({address}:{port})"] = answer
    record.note(answers=seen)
    return record


def _doors(site: Site, record: Record) -> list[Door]:
    doors: list[Door] = []
    for name, service in site.services.items():
        container, address = site.container(name), site.address(name)
        open_ports = ports.listening(_PROC / str(container.pid) / "net")
        record.expect(
            service["port"] in open_ports, f"{name} does not listen on its port {service['port']}"
        )
        doors += [(f"{name} port {port}", address, port) for port in sorted(open_ports)]
        doors += [
            (f"{name} published as {port}", address, port)
            for address, port in ports.published(container)
        ]
    return doors


def plain_request(address: str, port: int, *, timeout: float = 5) -> tuple[bool, str]:
    """Ask in plain HTTP: was it refused, and in which words.

    :raises PhoenixError: where the port cannot be reached, so that nothing was asked.
    """
    try:
        plain = socket.create_connection((address, port), timeout=timeout)
    except OSError as error:
        raise PhoenixError(f"{address}:{port} cannot be reached: {error}") from error
    with plain:
        try:
            plain.sendall(
                f"GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
            )
            answer = plain.recv(4096)
        except TimeoutError:
            # It may be an HTTP server that is busy, and hands the request on in the clear.
            return False, f"{_HELD} within {timeout:g} s"
        except OSError as error:
            return True, tls.error_text(error)
    return _judge(answer)


def _judge(answer: bytes) -> tuple[bool, str]:
    if not answer:
        return True, "connection closed"
    if answer[0] == _TLS_ALERT:
        return True, "TLS alert"
    if not answer.startswith(b"HTTP/"):
        return True, f"no HTTP: {answer[:40]!r}"
    first = answer.partition(b"\r\n")[0].decode("latin-1")
    # A TLS server may still say in HTTP that this was HTTP.
    told = hop.status_of(answer) == HTTPStatus.BAD_REQUEST and b"HTTPS server" in answer
    return told, first
