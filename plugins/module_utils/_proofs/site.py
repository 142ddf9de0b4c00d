# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The running estate as the proofs see it: what several of them need is asked for once."""

from __future__ import annotations

import datetime
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    bundles,
    limit,
    sweep,
    tls,
    tokens,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import (
    Container,
    Engine,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    NotRunError,
    Once,
    Record,
    Vocabulary,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.stores import Store
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import (
    Answer,
    VaultApi,
)

__all__ = ["PURPOSE", "Admission", "Inputs", "Secret", "Site"]

Json = Any

PURPOSE = "purpose"
"""Key of a SecretID's metadata; ``attest`` marks those of the proofs."""
_WRAP_TTL = "60s"
_MOMENT = 3.0


@dataclass(frozen=True)
class Inputs:
    """What the control node tells the proofs.

    :arg estate: The estate model.
    :arg token: An operator's token, which reads the Vault's settings; else there is a login.
    :arg index: The control node's list of the certificates that its CA has issued.
    :arg root: Certificate of the root of that CA, PEM.
    :arg renewed_since: When new certificates were last asked for, RFC 3339; empty for never.
    :arg allow: What database logins may do, as module pg_privileges takes it.
    :arg others: ``policies`` and ``approles`` as module vault_config takes them, or their names
        alone, and paths of ``ways_in``, that are declared besides the estate's; names of AppRoles
        of services that are ``gone``.
    :arg staff: Texts of the policies of those who are no services, by name.
    :arg staff_roles: Their roles for certificates, as the roles of the collection state them.
    :arg operator: Certificate and key of the operator, PEM.
    :arg foreign: Secrets of the control node, by what they are called, that no host may have.
    :arg credential_limit: Seconds that a credential may live.
    :arg search_timeout: Seconds that one search of this host may take.
    :arg stores: What places besides this host hold of shares and tokens.
    :arg disturbed: What this run has restarted, or may copy: ``disruption.KINDS``.
    :arg observed: What the role saw while it restarted things.
    :arg migrated: What a migration has left on record, by kind and name.
    :arg migration_key: What the words of a migration's token are signed with.
    :arg fingerprint_key: For comparing data before and after without keeping it.
    :arg shares: Shares that open the Vault, and a copy of it.
    """

    estate: dict[str, Json]
    token: str = ""
    index: list[dict[str, Json]] = field(default_factory=list)
    root: str = ""
    renewed_since: str = ""
    allow: list[dict[str, Json]] = field(default_factory=list)
    others: dict[str, list[Json]] = field(default_factory=dict)
    staff: dict[str, str] = field(default_factory=dict)
    staff_roles: list[dict[str, Json]] = field(default_factory=list)
    operator: tuple[str, str] | None = None
    foreign: dict[str, str] = field(default_factory=dict)
    credential_limit: float = 30 * 86400.0
    search_timeout: float = limit.DEFAULT
    stores: list[Store] = field(default_factory=list)
    disturbed: frozenset[str] = frozenset()
    observed: dict[str, Json] = field(default_factory=dict)
    migrated: dict[str, Json] = field(default_factory=dict)
    migration_key: str = ""
    fingerprint_key: str = ""
    shares: tuple[str, ...] = ()


@dataclass(frozen=True)
class Secret:
    """One value in a service's secrets file.

    :arg confidential: False for a user name.
    """

    service: str
    name: str
    value: str
    confidential: bool
    home: str

    @property
    def label(self) -> str:
        return f"{self.service}/{self.name}"


@dataclass(frozen=True)
class Admission:
    """One service's way from nothing to a token, gone through by the proof itself.

    :arg before: Lookup of the SecretID's accessor before its use, ``after``: after it.
    :arg login: The first login with it, ``again``: the second.
    """

    service: str
    accessor: str
    before: Answer
    login: Answer
    again: Answer
    after: Answer

    @property
    def token(self) -> str:
        return str(self.login.auth.get("client_token", ""))


class Site:
    """The running estate on this host."""

    def __init__(
        self, inputs: Inputs, vocabulary: Vocabulary, engine: Engine | None = None
    ) -> None:
        self.inputs = inputs
        self.estate = inputs.estate
        self.vocabulary = vocabulary
        self.engine = engine or Engine()
        self.info = Once(self.engine.info)
        self.containers = Once(self.engine.containers)
        self.vault = Once(self._vault)
        self.host_token = Once(self._host_token)
        self.operator_token = Once(self._operator_token)
        self.secrets = Once(self._secrets)
        self.admissions = Once(self._admissions)
        self.leftovers = Once(self._leftovers)
        self.born = Once(self._born)
        self.sweep = Once(self._sweep)
        self.alive = Once(lambda: tokens.alive(self))
        self._tokens: list[str] = []

    # The estate's model.

    @property
    def services(self) -> dict[str, dict[str, Json]]:
        return dict(self.estate["services"])

    def of_kind(self, kind: str) -> list[dict[str, Json]]:
        return [service for service in self.services.values() if service["kind"] == kind]

    def the(self, kind: str) -> dict[str, Json]:
        """The one service of a kind.

        :raises NotRunError: where the estate has none.
        """
        found = self.of_kind(kind)
        if not found:
            raise NotRunError(f"the estate has no service of kind {kind}")
        return found[0]

    @property
    def superuser(self) -> dict[str, Json]:
        """Options of a database session: root of the host needs no password on the socket.

        :raises NotRunError: where the estate has no PostgreSQL.
        """
        service = self.the("postgresql")
        return {
            "login_host": service["socket"],
            "login_port": service["port"],
            "login_user": "postgres",
        }

    @property
    def certs(self) -> Path:
        return Path(self.estate["root"]) / "certs"

    @property
    def ca(self) -> str:
        return str(self.certs / "host" / "current" / "ca.crt")

    def identity(self, name: str) -> tls.Identity | None:
        """The certificate of a principal; None for an operator whose key is not at hand."""
        if name == "operator":
            if self.inputs.operator is None:
                return None
            return tls.Identity(name, *self.inputs.operator)
        return self.identity_at(name, self.certs / name / "current")

    @staticmethod
    def identity_at(name: str, folder: Path) -> tls.Identity:
        return tls.Identity(name, str(folder / "tls.crt"), str(folder / "tls.key"))

    # The engine.

    def forget_containers(self) -> None:
        """Ask the engine anew: something was restarted."""
        self.containers = Once(self.engine.containers)

    def container(self, service: str) -> Container:
        """The running container of a service; a one-off run of its image is none.

        :raises PhoenixError: where there is none.
        """
        for item in self.containers():
            ours = item.project == self.estate["project"] and item.service == service
            if ours and item.running and not item.one_off:
                return item
        raise PhoenixError(f"no running container of service {service}")

    def address(self, service: str) -> str:
        """The address of a service's container in the network that carries its name."""
        addresses = self.container(service).addresses
        for network, address in addresses.items():
            if network in (service, f"{self.estate['project']}_{service}"):
                return address
        if addresses:
            return next(iter(addresses.values()))
        raise PhoenixError(f"the container of service {service} has no address")

    # Vault.

    def _vault(self, principal: str = "host") -> VaultApi:
        service = self.the("vault")
        return VaultApi(
            "127.0.0.1",
            service["port"],
            server_name=service["fqdn"],
            ca=self.ca,
            identity=self.identity(principal),
        )

    def _host_token(self) -> str:
        """A token of the host's own identity, which may have wrapped SecretIDs of its services."""
        return self.token_from(
            self.vault().request("PUT", "auth/cert/login", {"name": "host"}), "host"
        )

    def token_from(self, answer: Answer, who: str) -> str:
        """The token of a login; it is revoked when the proofs are over."""
        if not answer.ok or not answer.auth:
            raise PhoenixError(f"Vault refused the login of {who}: {answer.text}")
        token = str(answer.auth["client_token"])
        self.revoke_later(token)
        return token

    def revoke_later(self, token: str) -> None:
        """Remember a token that a proof was given, to give it back at the end."""
        self.vocabulary.add(token)
        self._tokens.append(token)

    def _operator_token(self) -> str:
        """The operator's token: the one that was given, or that of a login by his certificate.

        :raises PhoenixError: where there is neither.
        """
        if self.inputs.token:
            return self.inputs.token
        if self.identity("operator") is None:
            raise PhoenixError("no operator's token: the operator's certificate is not at hand")
        vault = self._vault("operator")
        return self.token_from(
            vault.request("PUT", "auth/cert/login", {"name": "operator"}), "operator"
        )

    def secret_ids(self, approle: str) -> list[str]:
        """Accessors of the SecretIDs of a role that are alive."""
        return self.vault().listing(f"auth/approle/role/{approle}/secret-id", self.operator_token())

    def accessor_lookup(self, approle: str, accessor: str) -> Answer:
        return self.vault().request(
            "PUT",
            f"auth/approle/role/{approle}/secret-id-accessor/lookup",
            {"secret_id_accessor": accessor},
            token=self.operator_token(),
        )

    def _admissions(self) -> dict[str, Admission]:
        # The SecretIDs that bootstrap left alive are listed before this makes new ones.
        self.leftovers()
        return {role["name"]: self._admit(role) for role in self.estate["approles"]}

    def _leftovers(self) -> dict[str, list[str]]:
        """Accessors by AppRole that were alive before the proofs issued any themselves.

        An agent that is just starting has one for a moment, so they are given that moment.
        """
        found: dict[str, list[str]] = {}
        end = time.monotonic() + _MOMENT
        while True:
            found = {r["name"]: self.secret_ids(r["name"]) for r in self.estate["approles"]}
            if not any(found.values()) or time.monotonic() > end:
                return found
            time.sleep(0.2)

    def _admit(self, role: dict[str, Json]) -> Admission:
        name = role["name"]
        vault = self.vault()
        issued = vault.request(
            "PUT",
            f"auth/approle/role/{name}/secret-id",
            # Goes with the token into the audit log, and only an issuer of SecretIDs can say it.
            {"metadata": json.dumps({PURPOSE: "attest"})},
            token=self.host_token(),
            wrap_ttl=_WRAP_TTL,
        )
        wrap = issued.body.get("wrap_info") or {}
        if not wrap:
            raise PhoenixError(f"the host got no wrapped SecretID of {name}: {issued.text}")
        self.vocabulary.add(str(wrap["token"]))
        accessor = str(wrap.get("wrapped_accessor", ""))
        unwrapped = vault.request("PUT", "sys/wrapping/unwrap", token=str(wrap["token"]))
        secret_id = str(unwrapped.data.get("secret_id", ""))
        if not secret_id:
            raise PhoenixError(
                f"the wrapped SecretID of {name} cannot be unwrapped: {unwrapped.text}"
            )
        self.vocabulary.add(secret_id)
        before = self.accessor_lookup(name, accessor)
        credentials = {"role_id": role["role_id"], "secret_id": secret_id}
        logins = [vault.request("PUT", "auth/approle/login", credentials) for _unused in range(2)]
        for login in logins:
            if login.auth:
                self.token_from(login, name)
        after = self.accessor_lookup(name, accessor)
        return Admission(name, accessor, before, logins[0], logins[1], after)

    def close(self) -> None:
        """Give back the tokens that the proofs were given."""
        for token in self._tokens:
            try:
                self.vault().request("PUT", "auth/token/revoke-self", token=token)
            except PhoenixError:
                return  # Vault is gone; its tokens of an hour end by themselves

    # What is on the host.

    def _born(self) -> float:
        """When this estate came to be on this host: nobody can set back a birth time."""
        done = subprocess.run(
            ["stat", "--format=%W", self.estate["root"]],
            capture_output=True,
            text=True,
            check=False,
        )
        text = done.stdout.strip()
        return float(text) if text.isdigit() else 0.0

    def born_text(self) -> str:
        """The same in RFC 3339."""
        if not self.born():
            return "unknown: the file system keeps no birth times"
        return datetime.datetime.fromtimestamp(self.born(), datetime.UTC).isoformat()

    def need_birth(self, record: Record) -> None:
        """For proofs that compare with the estate's birth: everything is younger than 'unknown'.

        :raises NotRunError: where nobody knows it, unless there are faults, which are known.
        """
        if not self.born() and not record.faults:
            raise NotRunError(f"the estate's age is {self.born_text()}", record.evidence)

    def secrets_file(self, agent: dict[str, Json]) -> Path:
        return Path(agent["run"]) / "secrets.json"

    def _secrets(self) -> list[Secret]:
        found: list[Secret] = []
        for agent in self.estate["agents"]:
            path = self.secrets_file(agent)
            try:
                document = json.loads(path.read_bytes())
            except FileNotFoundError as error:
                raise PhoenixError(
                    f"the agent of {agent['service']} has rendered no {path}"
                ) from error
            for name, value in document.items():
                source = agent["secrets"].get(name, {})
                confidential = source.get("field") != "username"
                if confidential:
                    self.vocabulary.add(str(value))
                found.append(
                    Secret(agent["service"], name, str(value), confidential, f"{agent['run']}/")
                )
        return found

    def private_keys(self) -> Iterator[tuple[str, Path]]:
        """Every private key in the bundles, by the name of its certificate.

        Those of bundles that are not current, such as the ones before, by where they are.
        """
        current: set[Path] = set()
        for certificate in self.estate["certificates"]:
            place = Path(certificate["path"]) / "current"
            current.add(place.resolve())
            yield certificate["name"], place / "tls.key"
        for name, bundle in bundles.all_leaves(self.certs):
            if bundle.resolve() not in current and (bundle / "tls.key").exists():
                yield name, bundle / "tls.key"

    def _sweep(self) -> sweep.Sweep:
        with limit.within(self.inputs.search_timeout):
            return sweep.search(self)
