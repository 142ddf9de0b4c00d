# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong between a module and a Vault or OpenBao server, told apart.

Each class has a ``kind``, which a failed module returns as ``vault_error``, so that a playbook can
branch on it without reading English.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = [
    "ConflictError",
    "ForbiddenError",
    "IgnoredFieldError",
    "MigrationError",
    "NoRouteError",
    "RateLimitedError",
    "RefusedError",
    "SealedError",
    "ServerFailureError",
    "StandbyError",
    "TlsClientCertificateError",
    "TlsNameError",
    "TlsTrustError",
    "TokenExpiredError",
    "TokenMissingError",
    "UninitialisedError",
    "UnreachableError",
    "VaultError",
]


class VaultError(PhoenixError):
    """Base of all of them.

    :arg path: API path below ``/v1/`` that was asked for, where the error belongs to one.
    :arg status: HTTP status, 0 where no answer came.
    :arg messages: The server's own words.

    ``perhaps_done`` is whether a request that must not be carried out twice may have been, so that
    it is not sent again.
    """

    kind: ClassVar[str] = "vault"
    perhaps_done = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        path: str = "",
        status: int = 0,
        messages: Sequence[str] = (),
        **facts: Any,
    ) -> None:
        super().__init__(message, hint=hint, vault_error=self.kind, **facts)
        self.path = path
        self.status = status
        self.messages = tuple(messages)
        if path:
            self.facts["vault_path"] = path
        if status:
            self.facts["vault_status"] = status


class UnreachableError(VaultError):
    """No answer: refused, reset, no such name, or nothing within the time limit."""

    kind = "unreachable"


class SealedError(VaultError):
    """The server answers, and needs its unseal shares."""

    kind = "sealed"


class MigrationError(VaultError):
    """The server answers, sealed, and waits to change to the seal that its configuration names."""

    kind = "migration"


class UninitialisedError(VaultError):
    """The server answers, and has never been initialised."""

    kind = "uninitialised"


class StandbyError(VaultError):
    """The node answers, and there is no active node that it could pass the request to."""

    kind = "standby"


class TlsNameError(VaultError):
    """The server's certificate is trusted but made out to another name."""

    kind = "tls_name"


class TlsTrustError(VaultError):
    """The server's certificate is not trusted: another CA, expired, not for servers."""

    kind = "tls_trust"


class TlsClientCertificateError(VaultError):
    """The listener wants a client certificate and got none, or none that it accepts."""

    kind = "tls_client_certificate"


class TokenMissingError(VaultError):
    """The path needs a token and there is none."""

    kind = "token_missing"


class TokenExpiredError(VaultError):
    """The token is expired, revoked or was never one."""

    kind = "token_expired"


class ForbiddenError(VaultError):
    """The token is good, its policies do not allow this.

    :arg capabilities: What the token would need on the path (one of them where there are several).
    """

    kind = "forbidden"

    def __init__(self, message: str, *, capabilities: Sequence[str] = (), **rest: Any) -> None:
        super().__init__(message, missing_capabilities=list(capabilities), **rest)


class NoRouteError(VaultError):
    """Nothing is mounted at the path, or the engine that is has no such endpoint."""

    kind = "not_found"


class RateLimitedError(VaultError):
    """The server refused, again and again, for there were too many requests."""

    kind = "rate_limited"


class RefusedError(VaultError):
    """The server understood the request and says that it is wrong (400, 405, 422)."""

    kind = "refused"


class ConflictError(RefusedError):
    """Check-and-set: somebody else has written meanwhile."""

    kind = "conflict"


class ServerFailureError(VaultError):
    """The server failed (5xx) and went on failing."""

    kind = "server_failure"


class IgnoredFieldError(VaultError):
    """The server took a request and did not do what one of its fields says.

    :arg fields: The names of these fields.
    :arg version: The server's version.
    """

    kind = "ignored_field"

    def __init__(
        self, message: str, *, fields: Sequence[str], version: str = "", **rest: Any
    ) -> None:
        super().__init__(message, ignored_fields=list(fields), server_version=version, **rest)
