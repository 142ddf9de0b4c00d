# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment contract of a service, read once and checked at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["Settings", "SettingsError", "TlsFiles", "Upstream"]

_TRUE = frozenset({"1", "true", "yes", "on"})


class SettingsError(Exception):
    """The environment cannot work; the text names every variable that is wrong."""


@dataclass(frozen=True)
class TlsFiles:
    """One end's certificate, key and the authority that it trusts, as PEM files."""

    cert: Path
    key: Path
    ca: Path


@dataclass(frozen=True)
class Upstream:
    """Another MCP server, from ``MCP_<NAME>_URL``."""

    name: str
    url: str


@dataclass(frozen=True)
class Settings:
    """Everything that the environment says, but for what only one service reads.

    :arg server_name: The DNS name in the service's certificate; the healthcheck verifies it.
    :arg spiffe_id: The service's own identity: it may read its own ``/health``, nothing else.
    :arg allowed_callers: The SPIFFE identities that may call.
    :arg wait_seconds: How long certificates and secrets may be missing before the process gives
        up and leaves the next try to its restart policy.
    """

    name: str
    host: str
    port: int
    server_name: str
    spiffe_id: str
    allowed_callers: frozenset[str]
    server_tls: TlsFiles
    client_tls: TlsFiles
    secrets_file: Path
    wait_seconds: float
    log_level: str
    upstreams: tuple[Upstream, ...] = field(default=())

    @classmethod
    def read(cls, name: str, port: int, env: Mapping[str, str]) -> Settings:
        """Read the environment of the service ``name``, whose usual port is ``port``.

        :raises SettingsError: once, for all mistakes together.
        """
        read = _Reader(env)
        # There is no way to run without TLS, so a setting that asks for it must not be ignored.
        read.demand_true("MCP_TLS_ENABLED")
        read.demand_true("MCP_TLS_REJECT_UNAUTHORIZED")
        ca = read.path("MCP_CA_CERT")
        settings = cls(
            name=name,
            # In a container: what can reach this address is decided by its networks.
            host=read.text("MCP_HOST", "0.0.0.0"),  # noqa: S104
            port=int(read.number("PORT", port)),
            server_name=read.text("MCP_SERVER_NAME"),
            spiffe_id=read.identity("MCP_SPIFFE_ID", read.text("MCP_SPIFFE_ID")),
            allowed_callers=read.identities("MCP_ALLOWED_CALLERS"),
            server_tls=TlsFiles(read.path("MCP_SERVER_CERT"), read.path("MCP_SERVER_KEY"), ca),
            client_tls=TlsFiles(read.path("MCP_CLIENT_CERT"), read.path("MCP_CLIENT_KEY"), ca),
            secrets_file=read.path("TAMSHAI_SECRETS_FILE", "/run/tamshai/secrets.json"),
            wait_seconds=read.number("TAMSHAI_WAIT_SECONDS", 600),
            log_level=read.text("LOG_LEVEL", "INFO").upper(),
            upstreams=read.upstreams(),
        )
        if read.wrong:
            raise SettingsError("; ".join(read.wrong))
        return settings


class _Reader:
    """Reads values and collects what is wrong with them."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.wrong: list[str] = []

    def text(self, key: str, default: str = "") -> str:
        value = self.env.get(key, "").strip() or default
        if not value:
            self.wrong.append(f"{key} is missing")
        return value

    def path(self, key: str, default: str = "") -> Path:
        return Path(self.text(key, default))

    def number(self, key: str, default: float) -> float:
        value = self.env.get(key, "").strip()
        try:
            result = float(value) if value else default
        except ValueError:
            result = -1
        if result <= 0:
            self.wrong.append(f"{key} is no positive number")
        return result

    def demand_true(self, key: str) -> None:
        if self.env.get(key, "true").strip().lower() not in _TRUE:
            self.wrong.append(f"{key} must be true: there is no mode without verified TLS")

    def identity(self, key: str, value: str) -> str:
        if value and not value.startswith("spiffe://"):
            self.wrong.append(f"{key}: {value!r} is no SPIFFE identity")
        return value

    def identities(self, key: str) -> frozenset[str]:
        names = (name.strip() for name in self.env.get(key, "").split(","))
        return frozenset(self.identity(key, name) for name in names if name)

    def upstreams(self) -> tuple[Upstream, ...]:
        found = []
        for key, value in sorted(self.env.items()):
            if key.startswith("MCP_") and key.endswith("_URL") and value.strip():
                if urlsplit(value.strip()).scheme != "https":
                    self.wrong.append(f"{key} is not https")
                label = key.removeprefix("MCP_").removesuffix("_URL").lower()
                found.append(Upstream(label, value.strip().rstrip("/")))
        return tuple(found)
