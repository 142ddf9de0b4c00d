# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names in certificates and name constraints (RFC 5280 section 4.2.1.10), as pure functions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)

__all__ = ["Constraints", "dns_name", "ip_address", "uri"]

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# RFC 3986, what may stand in a URI without an escape; a SPIFFE ID has neither query nor fragment.
_URI = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~%!$&'()*+,;=:@/-]+")


def dns_name(text: str) -> str:
    """A DNS name in lower case, without wildcard, underscore or trailing dot.

    :raises PhoenixError: says which rule the name breaks.
    """
    if not isinstance(text, str) or not text:
        raise PhoenixError(f"not a DNS name: {text!r}")
    if len(text) > 253:
        raise PhoenixError(f"not a DNS name, it is longer than 253 characters: {text[:40]!r}...")
    for label in text.split("."):
        if not _LABEL.fullmatch(label):
            raise PhoenixError(
                f"not a DNS name: {text!r} (label {label!r})",
                hint="A label is 1 to 63 of a-z, 0-9 and inner hyphens; wildcards are not issued.",
            )
    return text


def ip_address(text: str) -> str:
    """An IP address in its canonical form.

    :raises PhoenixError: for anything else, networks and zones included.
    """
    try:
        address = ipaddress.ip_address(str(text))
    except ValueError:
        raise PhoenixError(f"not an IP address: {text!r}") from None
    if getattr(address, "scope_id", None):
        raise PhoenixError(f"not an IP address for a certificate, it has a zone: {text!r}")
    return str(address)


def uri(text: str) -> str:
    """A URI with a DNS name as its host, such as a SPIFFE ID.

    RFC 5280 constrains URIs by host, so one without a host could never be allowed.

    :raises PhoenixError: says what is wrong with it.
    """
    if not isinstance(text, str) or not _URI.fullmatch(text):
        raise PhoenixError(f"not a URI for a certificate: {text!r}")
    host = _host(text)
    if host is None:
        raise PhoenixError(f"not a URI for a certificate, its host is no DNS name: {text!r}")
    return text


def _host(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or parts.username is not None:
        return None
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            return dns_name(host)
        except PhoenixError:
            return None
    return None


@dataclass(frozen=True)
class Constraints:
    """What an authority may put its name to. An empty kind permits nothing of that kind.

    :arg dns: A name permits itself and everything below it.
    :arg ips: Networks.
    :arg uri_hosts: A host permits URIs with exactly that host.
    """

    dns: tuple[str, ...] = ()
    ips: tuple[Network, ...] = ()
    uri_hosts: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, dns: Iterable[str] = (), ips: Iterable[str] = (), uri_hosts: Iterable[str] = ()
    ) -> Constraints:
        """:raises PhoenixError: names the entry that is not one of its kind."""
        networks: list[Network] = []
        for entry in ips:
            try:
                networks.append(ipaddress.ip_network(str(entry)))
            except ValueError as error:
                raise PhoenixError(f"not a network to permit: {entry!r} ({error})") from None
        return cls(
            tuple(sorted({dns_name(name) for name in dns})),
            tuple(sorted(set(networks), key=str)),
            tuple(sorted({dns_name(host) for host in uri_hosts})),
        )

    def permits_dns(self, name: str) -> bool:
        lower = name.lower()
        return any(lower == base or lower.endswith(f".{base}") for base in self.dns)

    def permits_ip(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        return any(
            address.version == network.version and address in network for network in self.ips
        )

    def permits_uri(self, text: str) -> bool:
        host = _host(text)
        return host is not None and host in self.uri_hosts

    def outside(
        self, dns: Iterable[str] = (), ips: Iterable[str] = (), uris: Iterable[str] = ()
    ) -> list[str]:
        """The names that are not permitted, each with its kind, in the order given."""
        return [
            *(f"DNS name {name}" for name in dns if not self.permits_dns(name)),
            *(f"IP address {text}" for text in ips if not self.permits_ip(text)),
            *(f"URI {text}" for text in uris if not self.permits_uri(text)),
        ]

    def within(self, other: Constraints) -> bool:
        """Whether everything permitted here is permitted there as well."""
        return (
            all(other.permits_dns(name) for name in self.dns)
            and all(
                any(
                    network.version == outer.version and network.subnet_of(outer)  # type: ignore[arg-type]
                    for outer in other.ips
                )
                for network in self.ips
            )
            and set(self.uri_hosts) <= set(other.uri_hosts)
        )

    def public(self) -> dict[str, list[str]]:
        return {
            "dns": list(self.dns),
            "ips": [str(network) for network in self.ips],
            "uri_hosts": list(self.uri_hosts),
        }
