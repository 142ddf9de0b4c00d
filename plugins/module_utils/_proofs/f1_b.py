# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""F1.b: PostgreSQL has no plaintext door, and a verifying client gets in."""

from __future__ import annotations

import socket
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    access,
    hop,
    pgwire,
    tls,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Record,
    proof,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Site

__all__ = ["no_plaintext_login"]

# PostgreSQL's words where no line of pg_hba.conf admits a connection without TLS.
_REFUSED = "28000"
_WORDS = "no encryption"

# Besides the declared logins: the two that every server here has, and one that none has.
_OTHERS = ("postgres", "healthcheck", "login_of_nobody")


@proof("F1.b")
def no_plaintext_login(site: Site) -> Record:
    """Log in as each login without TLS, then as its service does; read the server's own rules."""
    service = site.the("postgresql")
    target = hop.target_of(site, service["name"])
    record = Record()
    plain: dict[str, str] = {}
    secure: dict[str, Any] = {}
    for login in target.credentials:
        plain[login.login] = _refused(record, target, login)
        if login.password is not None:
            result = _verified(site, target, login)
            secure[login.login] = result.as_dict()
            record.expect(
                result.outcome == hop.ADMITTED,
                f"a verify-full client cannot log in as {login.login}: {result.answer}",
            )
    if not secure:
        raise NotRunError("the estate has no database login of a service", {"plaintext": plain})
    others = [hop.Credential("", name, "postgres", None) for name in _OTHERS]
    record.note(
        plaintext=plain,
        plaintext_others={login.login: _refused(record, target, login) for login in others},
        verify_full=secure,
    )
    access.judge_rules(site, record, service, tls=False)
    return record


def _refused(record: Record, target: hop.Target, login: hop.Credential) -> str:
    refused, answer = _plaintext(target, login)
    record.expect(refused, f"a plaintext login as {login.login} is not refused: {answer}")
    return answer


def _plaintext(target: hop.Target, login: hop.Credential) -> tuple[bool, str]:
    with socket.create_connection((target.address, target.port), timeout=5) as connection:
        try:
            pgwire.login(
                connection, user=login.login, database=login.database, password=login.password
            )
        except pgwire.RefusalError as refusal:
            text = f"{refusal.code} {refusal.message}"
            return refusal.code == _REFUSED and _WORDS in refusal.message, text
        except pgwire.PasswordWantedError:
            return False, "the server asks for a password"
    return False, "logged in"


def _verified(site: Site, target: hop.Target, login: hop.Credential) -> hop.Hop:
    folder = site.certs / login.service / "clients" / login.login / "current"
    context = tls.client_context(site.ca, site.identity_at(login.login, folder))
    return hop.attempt(
        target, context, talk=lambda secured, door: hop.postgresql_login(secured, door, login)
    )
