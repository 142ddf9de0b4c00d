# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every proof that a report lists, in the order of the report.

An estate's report always has all of them: one that nobody registered for this release says why it
was not run, so that what is missing can be seen by whoever reads the report and not only by whoever
wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CATALOGUE", "GROUPS", "Entry", "group_of", "title_of"]


@dataclass(frozen=True)
class Entry:
    """One line of the table.

    :arg id: Stable name of the proof.
    :arg title: The claim, as a sentence that is either true or false of a running estate.
    :arg absent: Why it is not run where no proof of this id is registered.
    """

    id: str
    title: str
    absent: str = "not part of this release"


_GUARD = "not part of this release: the guard in front of the language model"
_IDENTITY = "not part of this release: identity (Keycloak) and the rotation of its client secrets"
_RENEWAL = "not part of this release: renewal of certificates under load"
_FORWARDING = "not part of this release: forwarding of audit events"
_RESTORE = "not part of this release: wipe, backup and restore"
_EDGE = "not part of this release: the edge (ingress and API gateway)"
_DOCUMENTS = "the estate has no document database"

CATALOGUE: tuple[Entry, ...] = (
    Entry(
        "H1.a",
        "on a fresh server all declared policies and AppRoles exist with the declared role_id, "
        "policies, TTLs; a second run changes nothing",
    ),
    Entry(
        "H1.b",
        "every service got its secrets through its own AppRole; a planted canary secret is found "
        "neither on disk, nor in `docker inspect`, nor in any process's environment or argv "
        "outside the service, nor in logs",
    ),
    Entry(
        "H1.c",
        "every SecretID is spent right after bootstrap: accessor gone, a second login refused",
    ),
    Entry(
        "H1.d",
        "a service's token reads what it was granted and is refused its neighbour's paths",
    ),
    Entry(
        "H2.a",
        "text with PII (SSN, card, e-mail, phone, bank account, routing number) reaches the "
        "external LLM endpoint only redacted, streamed and tool-call text included",
        _GUARD,
    ),
    Entry("H2.b", "an answer that leaks the system prompt or internal tags is blocked", _GUARD),
    Entry("H2.c", "no service but the guard can reach the LLM hosts", _GUARD),
    Entry(
        "H3.a",
        "every hop between services is TLS 1.2+, the server verified by name, the client by "
        "certificate; a client certificate of a service that is not a declared caller is refused",
    ),
    Entry("H3.b", "plain HTTP to every service port is refused"),
    Entry(
        "H3.c",
        "certificates are new after a rebuild and after every deployment that asks for it",
    ),
    Entry(
        "H4.a",
        "Keycloak client secrets rotate under load with 0 failed requests; the old secret is "
        "refused after the overlap",
        _IDENTITY,
    ),
    Entry(
        "H4.b",
        "every sink (Vault KV, GitHub repository and environment secrets) holds the new value; a "
        "crash at any step is resumed by the next run",
        _IDENTITY,
    ),
    Entry(
        "H4.c",
        "database passwords rotate under load with 0 failed requests; NOBYPASSRLS holds before "
        "and after",
    ),
    Entry(
        "H4.d",
        "no credential (client secret, database password, SecretID, token) is older than 30 days, "
        "no certificate older than the estate lets it be; the overdue detector sees one that is",
    ),
    Entry(
        "H5.a",
        "every audit event of Vault, Keycloak and the services reaches the collector exactly as "
        "written, across an outage of the collector of 10 minutes, with nothing lost",
        _FORWARDING,
    ),
    Entry(
        "H5.b",
        "a rebuild from nothing, data restored, takes less than the budget (15 minutes; goal 5) "
        "and the report shows each phase",
        _RESTORE,
    ),
    Entry(
        "H5.c",
        "the deployment stops if a database login holds a right outside the allow-list",
    ),
    Entry("F1.a", "certificates are made during the rebuild, none is copied in"),
    Entry("F1.b", "PostgreSQL refuses plaintext; a verify-full client succeeds"),
    Entry(
        "F1.c", "the document database refuses plaintext; a verifying client succeeds", _DOCUMENTS
    ),
    Entry(
        "F1.d",
        "certificates rotate under load with 0 failed requests; the new serial is served "
        "everywhere",
        _RENEWAL,
    ),
    Entry(
        "F1.e",
        "a certificate 14 days from expiry raises the event `certExpiringSoon` and a notification",
        "not part of this release: expiry events and notifications",
    ),
    Entry(
        "F2.a",
        "the server is not in dev mode, sealed after a restart until it is unsealed, its data "
        "intact",
    ),
    Entry(
        "F2.b",
        "no store holds a quorum of shares together with the root token; the root token is revoked",
    ),
    Entry("F2.c", "audit is on, on two devices; a request made by the proof is found in the log"),
    Entry(
        "F2.d",
        "a sealed server makes the settings role wait, then time out with a message that says "
        "sealed; unsealed meanwhile, it goes on",
    ),
    Entry(
        "F2.e",
        "KV data (all versions), policies and AppRoles move from a dev-mode server to production, "
        "compared by fingerprint",
    ),
    Entry("F2.f", "a raft snapshot is restored into an empty node and compared"),
    Entry(
        "F3.a",
        "edge -> gateway -> mcp-gateway is HTTPS with verification; no HTTP path is left",
        _EDGE,
    ),
    Entry("F3.b", "Keycloak's admin paths are refused on every public site", _EDGE),
    Entry(
        "W.a",
        "after a wipe nothing of the estate is left on the host; credentials of the old estate are "
        "refused by the new one",
        _RESTORE,
    ),
    Entry(
        "W.b",
        "after a reboot of the host the estate comes back by itself (auto-unseal) or after "
        "`unseal.yml` (shares); at rest lies no secret but the host's own identity key (and the "
        "static seal key where that mode is chosen), bound to a TPM where there is one",
    ),
    Entry(
        "E2E",
        "a user logs in at Keycloak and reads through edge, gateway and mcp-hr exactly the rows "
        "that row level security grants",
        "not part of this release: identity (Keycloak) and the edge",
    ),
)

# What the first part of an id stands for, in the order of the report.
GROUPS: dict[str, str] = {
    "H1": "Secrets reach services only through Vault",
    "H2": "Language models see no personal data",
    "H3": "Every hop is mutual TLS",
    "H4": "No credential grows old",
    "H5": "Audit, rebuild time and rights",
    "F1": "Certificates and databases",
    "F2": "Vault runs as in production",
    "F3": "The edge",
    "W": "Wipe and reboot",
    "E2E": "End to end",
}

_BY_ID = {entry.id: entry for entry in CATALOGUE}


def title_of(proof_id: str) -> str:
    """The claim of a proof; :exc:`KeyError` for an id that is not in the catalogue."""
    return _BY_ID[proof_id].title


def group_of(proof_id: str) -> str:
    """The key of :data:`GROUPS` that a proof belongs to."""
    return proof_id.partition(".")[0]
