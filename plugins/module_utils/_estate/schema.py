# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which keys a declaration may have, what their values look like, and what holds without them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ALTERNATING",
    "AUTHENTICATE",
    "DATABASE",
    "ESTATE",
    "PRINCIPALS",
    "RESERVED_NAMES",
    "SECRET",
    "SERVICE",
    "SERVICE_DATABASE",
    "SINGLE",
    "Check",
    "Field",
    "second_login",
]

PRINCIPALS = ("host", "operator")
"""Callers that are no services: the managed host itself and the person who runs the playbooks."""

RESERVED_NAMES = frozenset({*PRINCIPALS, "localhost", "default"})
"""Names that a service may not have."""

RESERVED_ENDS = ("-publish", "-egress", "-socket")
"""Ends of names of networks and directories that a service has besides its own."""

ALTERNATING, SINGLE = "alternating", "single"
"""How a database login's password is rotated: two logins by turns, or the one."""
_SECOND = "_b"


def second_login(login: str) -> str:
    """The login that takes turns with another."""
    return login + _SECOND


Check = Callable[[Any], str]
"""Says what a value had to be, completing 'must be ...'; empty where it is that."""


@dataclass(frozen=True)
class Field:
    """One key of a declaration."""

    check: Check
    required: bool = False
    default: Any = None
    each: bool = False
    """The value is a list, and ``check`` looks at each of its entries."""
    unique: bool = True
    """No entry of the list may appear twice."""
    fields: dict[str, Field] | None = None
    """The value, or each entry of the list, is itself a declaration with these keys."""


def _text(pattern: str, meaning: str, longest: int = 255) -> Check:
    compiled = re.compile(pattern)

    def check(value: Any) -> str:
        if isinstance(value, str) and len(value) <= longest and compiled.fullmatch(value):
            return ""
        return meaning

    return check


def _integer(low: int, high: int) -> Check:
    def check(value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return ""
        return f"a whole number from {low} to {high}"

    return check


def _choice(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if isinstance(value, str) and value in allowed:
            return ""
        return "one of " + ", ".join(allowed)

    return check


def _boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else "true or false"


def _anything(value: Any) -> str:
    return ""


def _declaration(value: Any) -> str:
    return "" if isinstance(value, dict) else "a mapping of keys to values"


def _network(value: Any) -> str:
    try:
        net = ipaddress.ip_network(value) if isinstance(value, str) and "/" in value else None
    except ValueError:
        net = None
    if net is None or net.version != 4 or net.prefixlen > 24:
        return "an IPv4 network with its prefix, /24 or wider, host bits zero (198.18.0.0/16)"
    return ""


def _environment(value: Any) -> str:
    meaning = "a mapping of environment variable names (A-Z, 0-9, _) to strings"
    if not isinstance(value, dict):
        return meaning
    for key, text in value.items():
        if not isinstance(key, str) or not re.fullmatch(r"[A-Z][A-Z0-9_]*", key):
            return meaning
        if not isinstance(text, str) or "\0" in text:
            return meaning
    return ""


def _headers(value: Any) -> str:
    if isinstance(value, dict) and all(
        isinstance(part, str) and part.isascii() and part.isprintable()
        for pair in value.items()
        for part in pair
    ):
        return ""
    return "a mapping of header names to strings"


def _command(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(v, str) and v for v in value):
        return ""
    return "a list of strings: a program and its arguments"


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
label = _text(
    _LABEL,
    "a DNS label of RFC 1123 in lower case: a-z, 0-9 and -, "
    "at most 63 characters, no - at either end",
)
dns_name = _text(
    rf"(?:{_LABEL}\.)+[a-z][a-z0-9-]*[a-z0-9]",
    "a DNS name in lower case with at least two labels (tamshai.internal)",
    180,
)
# An inventory name becomes a common name (64 characters at most) and the end of a SPIFFE ID.
host_name = _text(
    r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?",
    "a host name of letters, digits, . and -, at most 64 characters",
)
path = _text(
    r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+",
    "an absolute path of letters, digits, . _ and -",
)
login = _text(
    r"[a-z_][a-z0-9_]{0,62}",
    "a PostgreSQL name in lower case: a-z, 0-9 and _, not starting with a digit",
    63,
)
user = _text(r"[a-z_][a-z0-9_-]{0,31}", "a user name: a-z, 0-9, _ and -, at most 32 characters")
project = _text(r"[a-z0-9][a-z0-9_-]{0,62}", "a compose project name: a-z, 0-9, _ and -")
kv_path = _text(
    rf"{_LABEL}(?:/{_LABEL})*",
    "a path below the KV mount: DNS labels, separated by /",
)
secret_key = _text(
    r"[A-Z][A-Z0-9_]{0,63}",
    "the name of an environment variable: A-Z, 0-9 and _",
)
image = _text(r"[a-z0-9][a-z0-9._-]*", "a key of images_references: a-z, 0-9, . _ and -")
memory = _text(r"[1-9][0-9]{0,6}[KMG]", "a size such as 256M: a whole number and K, M or G")
url_path = _text(r"/[A-Za-z0-9._~/-]*", "an absolute URL path (/health)")
signal = _text(r"(?:HUP|USR1|USR2|INT|TERM)", "one of HUP, USR1, USR2, INT, TERM")

SERVICE_DATABASE: dict[str, Field] = {
    "name": Field(login, required=True),
    "login": Field(login, required=True),
    "rotation": Field(_choice(ALTERNATING, SINGLE), default=ALTERNATING),
    "shared": Field(_boolean, default=False),
    "prefix": Field(
        _text(r"[A-Z][A-Z0-9_]*", "a prefix of environment variables: A-Z, 0-9 and _", 32),
        default="POSTGRES",
    ),
}

SERVICE: dict[str, Field] = {
    "name": Field(label, required=True),
    "kind": Field(_choice("application", "vault", "postgresql"), default="application"),
    "image": Field(image, required=True),
    "port": Field(_integer(1, 65535), required=True),
    "uid": Field(_integer(1, 65533), required=True),
    "tls": Field(_choice("native"), default="native"),
    "publish": Field(_boolean, default=False),
    "egress": Field(_boolean, default=False),
    "callers": Field(label, each=True, default=()),
    "starts_without": Field(label, each=True, default=()),
    "kv": Field(kv_path, each=True, default=()),
    "databases": Field(_declaration, each=True, default=(), fields=SERVICE_DATABASE),
    "reload": Field(_choice("signal", "restart"), default="restart"),
    "reload_signal": Field(signal, default="HUP"),
    "health": Field(url_path, default="/health"),
    "healthcheck": Field(_command),
    "memory": Field(memory, default="256M"),
    "environment": Field(_environment, default={}),
}

DATABASE: dict[str, Field] = {
    "name": Field(login, required=True),
    "owner": Field(login, required=True),
    "schema": Field(login, required=True),
    "sample_data": Field(_boolean, default=False),
}

AUTHENTICATE: dict[str, Field] = {
    "url": Field(_text(r"https://[^\s/]+(?:/\S*)?", "an https:// URL", 500), required=True),
    "header": Field(
        _text(r"[A-Za-z][A-Za-z0-9-]*", "the name of a header"), default="Authorization"
    ),
    "prefix": Field(_text(r"[ -~]*", "text to put before the secret, printable ASCII"), default=""),
    "headers": Field(_headers, default={}),
    "status": Field(_integer(100, 599), default=200),
    "ca_path": Field(path),
}

SECRET: dict[str, Field] = {
    "path": Field(kv_path, required=True),
    "key": Field(secret_key, required=True),
    "kind": Field(_choice("opaque", "token", "pem", "url"), default="opaque"),
    "value": Field(_anything),
    "authenticate": Field(_declaration, fields=AUTHENTICATE),
}

ESTATE: dict[str, Field] = {
    "name": Field(label, required=True),
    "domain": Field(dns_name, required=True),
    "root": Field(path, default="/opt/tamshai"),
    "run": Field(path, default="/run/tamshai"),
    "project": Field(project, required=True),
    "owner": Field(user, default="tamshai"),
    "host": Field(host_name, required=True),
    "network_pool": Field(_network, default="198.18.0.0/16"),
    "services": Field(_declaration, each=True, required=True, fields=SERVICE),
    "databases": Field(_declaration, each=True, default=(), fields=DATABASE),
    "secrets": Field(_declaration, each=True, default=(), fields=SECRET),
}
