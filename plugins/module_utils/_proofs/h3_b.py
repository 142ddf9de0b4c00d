# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""H3.b: no service port speaks plain HTTP, and no other than the declared takes just anybody."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

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

# What to say by the protocol that was agreed upon: in HTTP/2 the preface and no settings.
_REQUESTS = {
    None: b"GET / HTTP/1.0\r\n\r\n",
    "http/1.1": b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    "h2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0",
}


class Door(NamedTuple):
    """A port that leads into a service's container.

    :arg declared: Whether it is the service's own: who gets in there is H3.a's to judge.
    """

    name: str
    address: str
    port: int
    declared: bool

    def __str__(self) -> str:
        return f"{self.name} ({self.address}:{self.port})"


@proof("H3.b")
def no_plain_http(site: Site) -> Record:
    """Send a plain request to every port that a container has open.

    To those that nobody declared, one in TLS without a certificate as well.
    """
    record = Record()
    doors = _doors(site, record)
    _judge_others(site, record)
    with ThreadPoolExecutor(_WORKERS) as pool:
        plain = list(pool.map(lambda door: plain_request(door.address, door.port), doors))
        # What answers in the clear has its fault already.
        others = [
            door
            for door, (refused, _answer) in zip(doors, plain, strict=True)
            if refused and not door.declared
        ]
        secured = list(pool.map(lambda door: tls_request(door.address, door.port), others))
    for door, (refused, answer) in zip(doors, plain, strict=True):
        said = answer if answer.startswith(_HELD) else f"answers plain HTTP: {answer}"
        record.expect(refused, f"{door.name} {said}")
    for door, (refused, answer) in zip(others, secured, strict=True):
        record.expect(
            refused, f"{door.name} does not refuse a caller without a certificate: {answer}"
        )
    record.note(
        answers={str(door): answer for door, (_refused, answer) in zip(doors, plain, strict=True)},
        without_a_certificate={
            str(door): answer for door, (_refused, answer) in zip(others, secured, strict=True)
        },
    )
    return record


def _doors(site: Site, record: Record) -> list[Door]:
    doors: list[Door] = []
    for name, service in site.services.items():
        container, address, own = site.container(name), site.address(name), service["port"]
        open_ports = ports.listening(_PROC / str(container.pid) / "net")
        record.expect(own in open_ports, f"{name} does not listen on its port {own}")
        doors += [
            Door(f"{name} port {port}", address, port, port == own) for port in sorted(open_ports)
        ]
        doors += [
            Door(f"{name} published as {port}", address, port, inner == own)
            for address, port, inner in ports.published(container)
        ]
    return doors


def _judge_others(site: Site, record: Record) -> None:
    """No other container is of the estate or in its networks: it would be a door, or behind one.

    But for a one-off run of a service, such as of a client, as long as it has no port open.
    """
    project = site.estate["project"]
    networks = site.engine.networks(project)
    known = {site.container(name).id for name in site.services}
    runs: list[str] = []
    for other in site.containers():
        where = " and ".join(f"network {name}" for name in sorted(networks & other.networks))
        if not other.running or other.id in known or not (where or other.project == project):
            continue
        open_ports = sorted(ports.listening(_PROC / str(other.pid) / "net"))
        if other.project == project and other.one_off and not open_ports:
            runs.append(other.name)
            continue
        record.expect(
            False,
            f"{other.name} is not declared, is in {where or f'project {project}'}, has "
            f"{'port ' + ', '.join(map(str, open_ports)) if open_ports else 'no port'} open",
        )
    record.note(one_off_runs=runs)


def plain_request(address: str, port: int, *, timeout: float = 5) -> tuple[bool, str]:
    """Ask in plain HTTP: was it refused, and in which words.

    :raises PhoenixError: where the port cannot be reached, so that nothing was asked.
    """
    with _connected(address, port, timeout) as plain:
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


def tls_request(address: str, port: int, *, timeout: float = 5) -> tuple[bool, str]:
    """Ask in TLS without a certificate: was it refused, and in which words.

    A server that knows its callers has an alert for this one, and no word and no farewell.

    :raises PhoenixError: where the port cannot be reached, so that nothing was asked.
    """
    with _connected(address, port, timeout) as plain:
        try:
            secured = _anybody().wrap_socket(plain, suppress_ragged_eofs=False)
        except TimeoutError:
            return False, f"no word in the handshake within {timeout:g} s"
        except OSError as error:
            return True, tls.error_text(error)
        with secured:
            try:
                secured.sendall(_REQUESTS[secured.selected_alpn_protocol()])
                answer = secured.recv(4096)
            except TimeoutError:
                return False, f"{secured.version()}: no word within {timeout:g} s"
            except OSError as error:
                # In TLS 1.3 a client learns only now that it should have had a certificate.
                return True, tls.error_text(error)
            # Letters and digits alone: a report has no place for what HTTP/2 is made of.
            word = ascii(answer.partition(b"\r\n")[0].decode("latin-1"))[1:-1]
            return False, f"{secured.version()}: {word or 'an orderly end'}"


def _anybody() -> ssl.SSLContext:
    """A client that has no certificate, asks for none, and speaks whatever there is to speak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.set_alpn_protocols([name for name in _REQUESTS if name])
    return context


def _connected(address: str, port: int, timeout: float) -> socket.socket:
    try:
        return socket.create_connection((address, port), timeout=timeout)
    except OSError as error:
        raise PhoenixError(f"{address}:{port} cannot be reached: {error}") from error


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
