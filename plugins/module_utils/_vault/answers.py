# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server's answer means."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.exact import Literal
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.transport import (
    Answer,
    Target,
)

__all__ = ["Reply", "decode", "not_ready", "retry_after", "tls_error"]


@dataclass(frozen=True)
class Reply:
    """A decoded answer. ``body`` is ``{}`` where the server sent none."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    # What hvac's helpers ask a response for.
    @property
    def status_code(self) -> int:
        return self.status

    @property
    def ok(self) -> bool:
        return self.status < 400

    def json(self) -> dict[str, Any]:
        return self.body

    @property
    def messages(self) -> list[str]:
        return [str(message) for message in self.body.get("errors") or []]

    @property
    def warnings(self) -> list[str]:
        return [str(message) for message in self.body.get("warnings") or []]

    @property
    def data(self) -> dict[str, Any]:
        return self.body.get("data") or {}


def decode(answer: Answer) -> Reply:
    body: Any = {}
    if answer.body:
        try:
            body = json.loads(answer.body, parse_float=Literal)
        except ValueError:
            text = answer.body[:200].decode("utf-8", "replace").strip()
            body = {"errors": [text]} if answer.status >= 400 else {"raw": answer.body}
    return Reply(answer.status, body if isinstance(body, dict) else {"data": body}, answer.headers)


def not_ready(url: str, status: Mapping[str, Any]) -> errors.VaultError | None:
    if status.get("initialized") is False:
        return errors.UninitialisedError(
            f"the server {url} is not initialised", hint="Module vault_init does that."
        )
    if status.get("sealed"):
        given, needed = status.get("progress", 0), status.get("t", 0)
        return errors.SealedError(
            f"the server {url} is sealed ({given} of {needed} shares given)",
            hint="Unseal it: playbook tamshai.phoenix.unseal, or module vault_unseal.",
            unseal_progress=given,
            unseal_threshold=needed,
        )
    return None


def retry_after(reply: Reply) -> float:
    try:
        return min(float(reply.headers.get("retry-after", 0)), 5.0)
    except ValueError:
        return 0.0


# OpenSSL's verification results (x509_vfy.h): the certificate is good, its name is not; it is not
# valid yet, or no more.
_NAME_MISMATCH = frozenset({62, 63, 64})
_OUT_OF_TIME = frozenset({9, 10})


def tls_error(error: ssl.SSLError, url: str, target: Target) -> errors.VaultError:
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_MISMATCH:
            return errors.TlsNameError(
                f"the certificate of {url} is not made out to {target.server_name}",
                hint="Use a name that it holds as 'url', or give that name as 'tls_server_name'.",
            )
        return errors.TlsTrustError(
            f"the certificate of {url} is not trusted: {error.verify_message}",
            hint="Is this machine's clock right, and has the certificate been renewed?"
            if error.verify_code in _OUT_OF_TIME
            else "Give the CA that signed it as 'ca_cert'.",
        )
    reason = str(error.reason or error)
    if "ALERT" in reason and "CERTIFICATE_EXPIRED" in reason:
        return errors.TlsClientCertificateError(
            f"{url} refuses the client certificate: by the clock there it has run out, or is not "
            "valid yet. An estate's operator gets a new one by playbook tamshai.phoenix.phoenix "
            "with --tags trust",
            hint="Renew it; if it should be valid, set the clock that is wrong.",
        )
    if "ALERT" in reason and ("CERT" in reason or "HANDSHAKE_FAILURE" in reason or "CA" in reason):
        return errors.TlsClientCertificateError(
            f"{url} wants a client certificate and refuses what it got "
            f"({reason.lower().replace('_', ' ')})",
            hint="Give 'client_cert' and 'client_key' of a CA that the server trusts.",
        )
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return errors.UnreachableError(
            f"{url} does not speak TLS", hint="Is it a plain HTTP port, or another service?"
        )
    return errors.UnreachableError(f"TLS with {url} failed: {reason.lower().replace('_', ' ')}")
