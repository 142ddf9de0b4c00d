# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS of both ends: version 1.2 or later, both sides with a certificate of the estate's CA."""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from common.settings import TlsFiles

__all__ = ["ServerTls", "TlsError", "client_context", "fingerprint", "server_context"]

Context = TypeVar("Context")


class TlsError(Exception):
    """Certificate, key and authority do not make a working end; the text says which file."""


def _load(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    context.load_verify_locations(cafile=str(files.ca))
    # Both names through one resolution of the link that a renewal moves.
    folder = files.cert.parent.resolve(strict=True)
    key = folder / files.key.name if files.key.parent == files.cert.parent else files.key
    context.load_cert_chain(str(folder / files.cert.name), str(key))
    return context


def _build(files: TlsFiles, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    for attempt in (1, 2):  # a second time, since a renewal may have come in between
        try:
            return _load(make(), files)
        except (OSError, ssl.SSLError) as error:
            reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
            failure = f"{files.cert}, {files.key}, {files.ca}: {reason or error}"
            if attempt == 2:
                raise TlsError(failure) from None
    raise AssertionError("unreachable")


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that refuses, in the handshake, whoever has no certificate of the CA."""

    def make() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["http/1.1"])
        # No resumption: a resumed session would carry a client's certificate past the end of its
        # validity, and past a change of the CA.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return context

    return _build(files, make)


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that verifies the server's chain and name and presents our certificate."""
    return _build(files, lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def fingerprint(path: Path) -> str:
    """SHA-256 of the first certificate of a PEM file, as OpenSSL counts it."""
    text = path.read_text("ascii")
    end = "-----END CERTIFICATE-----"
    der = ssl.PEM_cert_to_DER_cert(text[: text.index(end) + len(end)])
    return hashlib.sha256(der).hexdigest()


class ServerTls:
    """The listener's context, whose every handshake uses the newest good certificate and CA.

    Loading a new chain into a living context would replace the certificate but only ever add to
    the trusted authorities. So a reload makes a whole new context, and the server-name callback,
    which OpenSSL runs in each handshake before it chooses a certificate, moves each connection.
    """

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self.listener = server_context(files)
        self._current = self.listener
        self.listener.sni_callback = self._use_current

    def _use_current(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        if self._current is not self.listener:
            connection.context = self._current

    def reload(self) -> None:
        """Serve what the files hold now; connections that are open stay.

        :raises TlsError: and everything stays as it was.
        """
        self._current = server_context(self.files)
