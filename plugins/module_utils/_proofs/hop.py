# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One caller at one service's door: how far it gets, in the protocol of that service.

A hop ends *admitted*, *refused* or *unreachable*. Unreachable is no refusal: a service that is down
refuses everybody, and proves nothing.
"""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    pgwire,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = [
    "ADMITTED",
    "REFUSED",
    "SUPERUSER",
    "UNREACHABLE",
    "Hop",
    "Target",
    "attempt",
    "target_of",
]

ADMITTED = "admitted"
REFUSED = "refused"
UNREACHABLE = "unreachable"

_FORBIDDEN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})
_LIMIT = 65536
# SQLSTATE class "invalid authorization". A server that starts or is full refuses in other words.
_UNAUTHORIZED = "28"


@dataclass(frozen=True)
class Target:
    """A service's door.

    :arg kind: Decides the protocol behind the handshake.
    :arg health: Path of an application's health check.
    """

    name: str
    kind: str
    address: str
    port: int
    fqdn: str
    health: str = "/health"
    credentials: tuple[Credential, ...] = ()
    protected: str = ""

    @property
    def postgresql(self) -> bool:
        return self.kind == "postgresql"


@dataclass(frozen=True)
class Credential:
    """A database login that a caller may hold; its password gives a refusal its worth.

    :arg password: `None` where nobody but the Vault knows it.
    """

    service: str
    login: str
    database: str
    password: str | None


SUPERUSER = Credential("", "postgres", "postgres", None)
"""Whom no network may log in as, with whatever certificate."""


@dataclass
class Hop:
    """How one attempt ended."""

    outcome: str
    answer: str
    version: str = ""
    cipher: str = ""
    serial: str = ""
    detail: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        shown = {
            "outcome": self.outcome,
            "answer": self.answer,
            "tls": self.version,
            "cipher": self.cipher,
            "server_serial": self.serial,
            **self.detail,
        }
        return {key: value for key, value in shown.items() if value}


def target_of(site: Site, name: str, *, logins: bool = True) -> Target:
    """The door of a service, at its container's own address.

    :arg logins: Whether the database logins are needed, for which services must have secrets.
    """
    service = site.services[name]
    credentials = _credentials(site) if logins and service["kind"] == "postgresql" else ()
    return Target(
        name=name,
        kind=service["kind"],
        address=site.address(name),
        port=service["port"],
        fqdn=service["fqdn"],
        health=service["health"] or "/health",
        credentials=credentials,
        protected=f"{site.estate['kv_mount']}/data/{next(iter(site.estate['kv_paths']), 'x')}",
    )


def _credentials(site: Site) -> tuple[Credential, ...]:
    """All database logins of the estate, with the passwords that this host's services hold."""
    held = {(s.service, s.name): s.value for s in site.secrets()}
    found = []
    for service in site.services.values():
        for use in service["databases"]:
            user, password = (
                held.get((service["name"], f"{use['prefix']}_{part}"))
                for part in ("USER", "PASSWORD")
            )
            # Of two logins that take turns, the service holds the password of one.
            found += [
                Credential(service["name"], name, use["name"], password if name == user else None)
                for name in use["logins"]
            ]
    known = {item.login for item in found}
    for row in site.estate["hba"]:
        # The login with which the Vault rotates the others.
        if row["type"] == "hostssl" and row["user"] not in known:
            vault = site.the("vault")["name"]
            found.append(Credential(vault, row["user"], row["database"], None))
    return tuple(found)


def attempt(
    target: Target,
    context: ssl.SSLContext,
    *,
    talk: Callable[[ssl.SSLSocket, Target], Hop] | None = None,
    timeout: float = 15,
) -> Hop:
    """Shake hands with a service, verifying its name, and speak to it.

    :arg timeout: Seconds for each answer. A service may log in to its database before it says how
        it is, for which it has five itself.
    """
    try:
        plain = socket.create_connection((target.address, target.port), timeout=timeout)
    except OSError as error:
        return Hop(UNREACHABLE, tls.error_text(error))
    with plain:
        try:
            if target.postgresql:
                tls.request_postgresql_tls(plain)
            secured = context.wrap_socket(plain, server_hostname=target.fqdn)
        except TimeoutError:
            return Hop(UNREACHABLE, "no answer in the handshake")
        except OSError as error:
            return Hop(REFUSED, f"TLS: {tls.error_text(error)}")
        with secured:
            peer = tls.describe(secured)
            try:
                hop = (talk or _TALKS[target.kind])(secured, target)
            except TimeoutError:
                hop = Hop(UNREACHABLE, "no answer after the handshake")
            except OSError as error:
                # In TLS 1.3 a client learns only now that its certificate is not taken.
                hop = Hop(REFUSED, f"TLS: {tls.error_text(error)}")
    hop.version, hop.cipher, hop.serial = peer.version, peer.cipher, peer.serial
    return hop


def exchange(secured: ssl.SSLSocket, method: str, path: str, host: str, body: str = "") -> bytes:
    """One HTTP request and all of its answer."""
    secured.sendall(
        f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
        f"Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n{body}".encode()
    )
    answer = b""
    while len(answer) < _LIMIT:
        chunk = secured.recv(_LIMIT)
        if not chunk:
            break
        answer += chunk
    return answer


def status_of(answer: bytes) -> int:
    """The status of an HTTP answer, 0 where it is none."""
    parts = answer.split(b" ", 2)
    if len(parts) > 1 and parts[0].startswith(b"HTTP/") and parts[1].isdigit():
        return int(parts[1])
    return 0


def _document(answer: bytes) -> dict[str, Any]:
    try:
        found = json.loads(answer.partition(b"\r\n\r\n")[2])
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _application(secured: ssl.SSLSocket, target: Target) -> Hop:
    answer = exchange(secured, "GET", target.health, target.fqdn)
    if not answer:
        return Hop(REFUSED, "closed without a byte")
    status = status_of(answer)
    if status in _FORBIDDEN:
        return Hop(REFUSED, f"HTTP {status} to GET {target.health}")
    if status == HTTPStatus.OK:
        return Hop(ADMITTED, f"HTTP {status} to GET {target.health}")
    return Hop(UNREACHABLE, f"HTTP {status} to GET {target.health}")


def _vault(secured: ssl.SSLSocket, target: Target) -> Hop:
    """The listener asks for a certificate of the estate; who may log in with it is decided behind.

    Admitted is a caller that the certificate's login gives a token to.
    """
    answer = exchange(secured, "POST", "/v1/auth/cert/login", target.fqdn, "{}")
    if not answer:
        return Hop(REFUSED, "closed without a byte")
    status, document = status_of(answer), _document(answer)
    if status == HTTPStatus.OK and document.get("auth"):
        auth = document["auth"]
        hop = Hop(ADMITTED, f"HTTP {status}: a token with policies {auth.get('policies')}")
        hop.detail["token"] = str(auth.get("client_token", ""))
        return hop
    errors = "; ".join(str(item).strip() for item in document.get("errors") or [])
    if status in (HTTPStatus.BAD_REQUEST, *_FORBIDDEN):
        return Hop(REFUSED, f"HTTP {status} to a login by certificate: {errors}")
    return Hop(UNREACHABLE, f"HTTP {status} to a login by certificate: {errors}")


def vault_health(secured: ssl.SSLSocket, target: Target) -> Hop:
    """A service comes to the Vault for its AppRole: the door has to let it in, no more."""
    answer = exchange(secured, "GET", "/v1/sys/health", target.fqdn)
    status = status_of(answer)
    outcome = ADMITTED if status == HTTPStatus.OK else UNREACHABLE if answer else REFUSED
    return Hop(outcome, f"HTTP {status} to GET /v1/sys/health")


def _postgresql(secured: ssl.SSLSocket, target: Target) -> Hop:
    """Try every login of the estate; admitted is who gets into a database with one of them."""
    return postgresql_login(secured, target, target.credentials[0])


def postgresql_login(secured: socket.socket, target: Target, login: Credential) -> Hop:
    """Log in and look around, or get as far as one gets without the password."""
    try:
        session = pgwire.login(
            secured, user=login.login, database=login.database, password=login.password
        )
    except pgwire.RefusalError as refusal:
        outcome = REFUSED if refusal.code.startswith(_UNAUTHORIZED) else UNREACHABLE
        return Hop(outcome, f"{refusal.code} {refusal.message}")
    except pgwire.PasswordWantedError:
        return Hop(ADMITTED, "asked for the password")
    except PhoenixError as error:
        return Hop(UNREACHABLE, error.message)
    row = session.rows(
        "SELECT current_user, ssl, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    )
    return Hop(ADMITTED, f"logged in to {login.database} as {login.login}", detail=_seen(row))


def _seen(rows: list[list[str | None]]) -> dict[str, Any]:
    if not rows:
        return {}
    user, encrypted, version, name = rows[0]
    how = f"over {version}" if encrypted == "t" else "without TLS"
    return {"server_sees": f"{user} {how}, certificate {name}"}


_TALKS: dict[str, Callable[[ssl.SSLSocket, Target], Hop]] = {
    "application": _application,
    "vault": _vault,
    "postgresql": _postgresql,
}
