# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of objects in a server, and how each is listed, read, written and removed.

A kind knows the wire; it decides nothing. :mod:`.reconcile` does the deciding, for all kinds alike.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import (
    CONNECTION_FIELDS,
    STATIC_ROLE_FIELDS,
    TOKEN_FIELDS,
    Field,
    normalise,
    observed,
    restated,
)

__all__ = [
    "KINDS",
    "AppRoles",
    "AuditDevices",
    "AuthMethods",
    "CertCrls",
    "CertRoles",
    "DatabaseConnections",
    "Kind",
    "KvConfigs",
    "Policies",
    "RateLimitSettings",
    "RateLimits",
    "SecretEngines",
    "StaticRoles",
    "by_name",
    "password_in",
]

# Below this many objects, asking for each costs less than a list that may hold thousands.
FEW = 3

Entry = Mapping[str, Any]
Values = dict[str, Any]


class Kind(ABC):
    """One kind of object.

    An object's key is its API path without the kind's own part: ``mcp-hr`` for a policy,
    ``approle/mcp-hr`` for a role of the AppRole method that is mounted at ``approle``.
    """

    name: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]]
    # Whether a write takes fields of just these names, so that the server can be asked about them.
    checked: ClassVar[bool] = False

    def path(self, key: str) -> str:
        """The API path that an object is written to."""
        raise NotImplementedError

    @abstractmethod
    def key(self, entry: Entry) -> str:
        """The key of a declared object."""

    def wanted(self, entry: Entry) -> Values:
        """What is stated about an object."""
        return normalise(self.fields, entry)

    def clashes(self, declared: Mapping[str, Values]) -> Iterable[str]:
        """What the server would refuse of objects that are declared together, by their keys."""
        return ()

    @abstractmethod
    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        """Which of these objects certainly do not exist, as cheaply as that can be found out."""

    @abstractmethod
    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        """An object as it is, ``None`` if there is none.

        :arg wanted: What is going to be compared, so that nothing else needs to be asked for.
        """

    @abstractmethod
    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        """Create with, or change, these values; returns the server's warnings."""

    def remove(self, client: VaultClient, key: str) -> None:
        """Delete an object."""
        raise PhoenixError(f"a {self.name} is not removed by this module")

    def names(self, client: VaultClient, prefix: str) -> list[str]:
        """The keys of all objects that begin with a prefix and may be removed."""
        raise PhoenixError(f"a {self.name} is not removed by this module")

    @classmethod
    def whole(cls, prefix: str) -> bool:
        """Whether a prefix is one of everything, or of everything in one place."""
        return not prefix.strip("/")


def _warnings(answer: Mapping[str, Any]) -> list[str]:
    return [str(warning) for warning in answer.get("warnings") or []]


def _slashed(path: str) -> str:
    return path.strip("/") + "/"


class _Mounts(Kind):
    """Mounts of either sort: one request shows them all."""

    base: ClassVar[str]
    fields: ClassVar[Mapping[str, Field]] = {
        "type": Field("text", fixed=True),
        "description": Field("text"),
        "local": Field("bool", fixed=True),
        "seal_wrap": Field("bool", fixed=True),
        "options": Field("map"),
        "default_lease_ttl": Field("duration"),
        "max_lease_ttl": Field("duration"),
        "listing_visibility": Field("text"),
        "token_type": Field(
            "text", choices=("service", "batch", "default-service", "default-batch")
        ),
        "audit_non_hmac_request_keys": Field("names"),
        "audit_non_hmac_response_keys": Field("names"),
        "passthrough_request_headers": Field("names"),
        "allowed_response_headers": Field("names"),
    }
    _own = ("type", "description", "local", "seal_wrap", "options")

    def __init__(self) -> None:
        self._seen: dict[str, Any] | None = None

    def key(self, entry: Entry) -> str:
        return str(entry["path"]).strip("/")

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        self._seen = client.read(self.base) or {}
        return {key for key in keys if _slashed(key) not in self._seen}

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        if self._seen is None:
            self._seen = client.read(self.base) or {}
        mount = self._seen.get(_slashed(key))
        if mount is None:
            return None
        config = mount.get("config") or {}
        # What was never tuned is left out of the answer, and is empty.
        flat = dict.fromkeys(self.fields) | config | {name: mount.get(name) for name in self._own}
        return observed(self.fields, flat)

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        self._seen = None
        if create:
            body: Values = {name: values[name] for name in self._own if name in values}
            body["config"] = {k: v for k, v in values.items() if k not in self._own}
            return _warnings(client.write(f"{self.base}/{key}", body, repeatable=False))
        return _warnings(client.write(f"{self.base}/{key}/tune", values))


class SecretEngines(_Mounts):
    name = "secret engine"
    base = "sys/mounts"

    def wanted(self, entry: Entry) -> Values:
        values = super().wanted(entry)
        # Other names for one engine, which the server keeps as what they stand for.
        version = {"kv-v1": "1", "kv-v2": "2"}.get(values.get("type", ""))
        if version:
            values |= {"type": "kv", "options": {**values.get("options", {}), "version": version}}
        return values


class AuthMethods(_Mounts):
    name = "auth method"
    base = "sys/auth"


class KvConfigs(Kind):
    """Settings of a key-value mount of version 2."""

    name = "kv config"
    fields: ClassVar[Mapping[str, Field]] = {
        "max_versions": Field("count"),
        "cas_required": Field("bool"),
        "delete_version_after": Field("duration"),
    }

    def key(self, entry: Entry) -> str:
        return str(entry["path"]).strip("/")

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        return set()

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        try:
            data = client.read(f"{key}/config")
        except errors.NoRouteError:
            return None  # The mount itself is still to be made: its secret engine is declared.
        return None if data is None else observed(self.fields, data)

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        return _warnings(client.write(f"{key}/config", values))


class Policies(Kind):
    """ACL policies. The text is kept, and compared, to the byte."""

    name = "policy"
    fields: ClassVar[Mapping[str, Field]] = {"text": Field("text")}
    # Made by the server; which of them exist depends on its version.
    built_in = frozenset({"default", "default-ceiling", "root", "response-wrapping"})

    def key(self, entry: Entry) -> str:
        return lower(str(entry["name"]))

    def wanted(self, entry: Entry) -> Values:
        values = super().wanted(entry)
        if not values["text"].strip():
            raise PhoenixError("text: no server takes an empty policy")
        return values

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        if len(keys) <= FEW:
            return set()
        return set(keys) - set(client.keys("sys/policies/acl"))

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        data = client.read(f"sys/policies/acl/{key}")
        return None if data is None else {"text": str(data.get("policy", ""))}

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        return _warnings(client.write(f"sys/policies/acl/{key}", {"policy": values["text"]}))

    def remove(self, client: VaultClient, key: str) -> None:
        client.delete(f"sys/policies/acl/{key}")

    def names(self, client: VaultClient, prefix: str) -> list[str]:
        found = client.keys("sys/policies/acl")
        start = lower(prefix)
        return [name for name in found if name.startswith(start) and name not in self.built_in]


def lower(name: str) -> str:
    """A name as servers keep it: in lower case, letter by letter, unlike :meth:`str.lower`."""
    return "".join(letter.lower()[:1] for letter in name)


class _Roles(Kind):
    """Roles below a mount: ``<mount>/<name>``."""

    default_mount: ClassVar[str]
    collection: ClassVar[str]
    prefix: ClassVar[str] = "auth/"
    few: ClassVar[int] = FEW
    checked = True

    def __init__(self) -> None:
        # Where nothing is mounted (yet), as far as that was met with.
        self.unmounted: set[str] = set()

    def key(self, entry: Entry) -> str:
        mount = str(entry.get("mount") or self.default_mount).strip("/")
        name = str(entry["name"])
        if not name or "/" in name:
            raise PhoenixError(f"{self.name} {name!r}: a name is not empty and holds no slash")
        return f"{mount}/{self.own_name(name)}"

    def own_name(self, name: str) -> str:
        """A name as the server keeps it."""
        return lower(name)

    def wanted(self, entry: Entry) -> Values:
        values = super().wanted(entry)
        if 0 < values.get("token_max_ttl", 0) < values.get("token_ttl", 0):
            raise PhoenixError("token_ttl: it is longer than token_max_ttl")
        return values

    def path(self, key: str) -> str:
        mount, _slash, name = key.rpartition("/")
        return f"{self.prefix}{mount}/{self.collection}/{name}"

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        absent: set[str] = set()
        for mount, members in _by_mount(keys).items():
            if len(members) <= self.few:
                continue
            try:
                there = set(client.keys(f"{self.prefix}{mount}/{self.collection}"))
            except errors.NoRouteError:
                there = set()
                self.unmounted.add(f"{self.prefix}{mount}")
            absent |= {key for key in members if key.rpartition("/")[2] not in there}
        return absent

    def found(self, client: VaultClient, key: str) -> Values | None:
        """An object in the server's own words; none also where its mount is still to be made."""
        try:
            return client.read(self.path(key))
        except errors.NoRouteError:
            self.unmounted.add(f"{self.prefix}{key.rpartition('/')[0]}")
            return None

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        data = self.found(client, key)
        return None if data is None else observed(self.fields, data)

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        return _warnings(client.write(self.path(key), values))

    def remove(self, client: VaultClient, key: str) -> None:
        client.delete(self.path(key))

    def names(self, client: VaultClient, prefix: str) -> list[str]:
        mount, _slash, start = prefix.rpartition("/")
        mount = mount or self.default_mount
        found = client.keys(f"{self.prefix}{mount}/{self.collection}")
        start = self.own_name(start)
        return [f"{mount}/{name}" for name in found if name.startswith(start)]

    @classmethod
    def whole(cls, prefix: str) -> bool:
        return not prefix.rpartition("/")[2]


def _by_mount(keys: Iterable[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for key in keys:
        groups.setdefault(key.rpartition("/")[0], []).append(key)
    return groups


class AppRoles(_Roles):
    """Roles of the AppRole method. The RoleID is a setting like any other."""

    name = "approle"
    default_mount = "approle"
    collection = "role"
    fields: ClassVar[Mapping[str, Field]] = {
        "role_id": Field("text"),
        "bind_secret_id": Field("bool"),
        "local_secret_ids": Field("bool", fixed=True),
        "secret_id_bound_cidrs": Field("cidrs"),
        "secret_id_num_uses": Field("count"),
        "secret_id_ttl": Field("duration"),
        **TOKEN_FIELDS,
    }

    def clashes(self, declared: Mapping[str, Values]) -> Iterable[str]:
        roles: dict[tuple[str, str], list[str]] = {}
        for key, values in declared.items():
            if values.get("role_id"):
                mount = key.rpartition("/")[0]
                roles.setdefault((mount, values["role_id"]), []).append(key)
        for (_mount, role_id), keys in roles.items():
            if len(keys) > 1:
                yield f"role_id {role_id}: of one role only, and declared for {', '.join(keys)}"

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        values = super().read(client, key, wanted)
        if values is not None and "role_id" in wanted:
            data = client.read(f"{self.path(key)}/role-id") or {}
            values["role_id"] = str(data.get("role_id", ""))
        return values

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        if create or "role_id" not in values:
            return super().write(client, key, values, create=create)
        # A changed RoleID has a path of its own.
        rest = {name: value for name, value in values.items() if name != "role_id"}
        warnings = super().write(client, key, rest, create=False) if rest else []
        role_id = {"role_id": values["role_id"]}
        return warnings + _warnings(client.write(f"{self.path(key)}/role-id", role_id))


class CertRoles(_Roles):
    """Roles of the certificate method: whose certificates may log in, and as what."""

    name = "cert role"
    default_mount = "cert"
    collection = "certs"
    fields: ClassVar[Mapping[str, Field]] = {
        "certificate": Field("text"),
        "display_name": Field("text"),
        "allowed_common_names": Field("names"),
        "allowed_dns_sans": Field("names"),
        "allowed_email_sans": Field("names"),
        "allowed_names": Field("names"),
        "allowed_organizational_units": Field("names"),
        "allowed_uri_sans": Field("names"),
        "required_extensions": Field("names"),
        **TOKEN_FIELDS,
    }

    def wanted(self, entry: Entry) -> Values:
        values = super().wanted(entry)
        if "certificate" in values and "-----BEGIN CERTIFICATE-----" not in values["certificate"]:
            raise PhoenixError("certificate: there is none in it, in PEM format")
        return values


class CertCrls(_Roles):
    """Revocation lists of the certificate method: whose certificates do not log in any more.

    The server tells the serial numbers of a list that it was given, so these are compared. It does
    not tell the number of the list. So an older list is known by what it lacks: a certificate that
    the server refuses, and that has not run out.
    """

    name = "cert crl"
    default_mount = "cert"
    collection = "crls"
    few = 0  # The server has no clear word for a list that it does not have.
    checked = False  # A serial number is no field of a write.
    fields: ClassVar[Mapping[str, Field]] = {
        "crl": Field("text", always=True),
        "lapsed": Field("names", always=True),
        "serials": Field("names"),
    }

    def wanted(self, entry: Entry) -> Values:
        from cryptography import x509

        try:
            found = x509.load_pem_x509_crl(str(entry["crl"]).encode())
        except ValueError as error:
            raise PhoenixError(f"not a revocation list in PEM: {error}") from None
        values = {
            "crl": str(entry["crl"]),
            "serials": sorted(str(one.serial_number) for one in found),
        }
        if entry.get("lapsed") is not None:
            try:
                values["lapsed"] = [str(int(one, 16)) for one in entry["lapsed"]]
            except ValueError:
                raise PhoenixError("lapsed: not all are serial numbers in hexadecimal") from None
        return values

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        data = self.found(client, key)
        if data is None:
            return None
        serials = sorted(data.get("serials") or {})
        lacking = {*serials} - {*wanted["serials"], *wanted.get("lapsed", serials)}
        if lacking:
            named = ", ".join(sorted(f"{int(serial):040x}" for serial in lacking))
            raise PhoenixError(
                f"{self.name} {key}: the server refuses certificates that this list does not name, "
                f"so it is an older one, and they would log in again: {named}",
                hint="Nothing was written. Bring the newest list, or have these on this one as "
                "well: module pki_cert with state 'crl' takes their serial numbers.",
            )
        return {"serials": serials}

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        return _warnings(client.write(self.path(key), {"crl": values["crl"]}))


class _InDatabaseEngine(_Roles):
    default_mount = "database"
    prefix = ""

    def own_name(self, name: str) -> str:
        return name


def password_in(url: str) -> str:
    """The password in a database's address, empty where it is left to the server to put in."""
    found = re.search(r"^(?:\w+://)?[^/@:\s]*:([^/\s]+)@|\bpassword=('[^']*'|[^\s&]+)", url)
    password = (found[1] or found[2]).strip("'") if found else ""
    return "" if re.fullmatch(r"\{\{\s*password\s*\}\}", password) else password


class DatabaseConnections(_InDatabaseEngine):
    """How the database engine reaches a database server, and as whom.

    The password is written when the connection is created. After that the server may have replaced
    it by one of its own, which a second write would undo.
    """

    name = "database connection"
    collection = "config"
    checked = False  # Each plugin takes fields of its own besides.
    fields: ClassVar[Mapping[str, Field]] = {
        **CONNECTION_FIELDS,
        "password": Field("text", once=True, secret=True),
        "verify_connection": Field("bool", always=True),
    }

    def wanted(self, entry: Entry) -> Values:
        if password_in(str(entry.get("connection_url") or "")):
            raise PhoenixError(
                "connection_url: it holds a password, which whoever reads the connection would "
                "see; write {{password}} in its place, and give 'password'"
            )
        return super().wanted(entry)

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        data = self.found(client, key)
        if data is None:
            return None
        flat = {**data, **(data.get("connection_details") or {})}
        if "root_credentials_rotate_statements" in flat:
            flat["root_rotation_statements"] = flat["root_credentials_rotate_statements"]
        return observed(self.fields, flat)

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        # The server wants the plugin's name in every write.
        if "plugin_name" not in values:
            values = {**values, "plugin_name": (client.read(self.path(key)) or {})["plugin_name"]}
        return super().write(client, key, values, create=create)


class StaticRoles(_InDatabaseEngine):
    """Logins whose passwords the database engine rotates. Creating one rotates it at once."""

    name = "static role"
    collection = "static-roles"
    fields: ClassVar[Mapping[str, Field]] = {
        **STATIC_ROLE_FIELDS,
        "skip_import_rotation": Field("bool", once=True),
    }

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        if not create:
            values = restated(observed(self.fields, client.read(self.path(key)) or {}), values)
        return _warnings(client.write(self.path(key), values, repeatable=not create))


class AuditDevices(Kind):
    """Audit devices. OpenBao takes them from its configuration file and refuses them by API."""

    name = "audit device"
    fields: ClassVar[Mapping[str, Field]] = {
        "type": Field("text", fixed=True),
        "description": Field("text", fixed=True),
        "local": Field("bool", fixed=True),
        "options": Field("map", fixed=True),
    }

    def __init__(self) -> None:
        self._seen: dict[str, Any] | None = None

    def key(self, entry: Entry) -> str:
        return str(entry["path"]).strip("/")

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        self._seen = client.read("sys/audit") or {}
        return {key for key in keys if _slashed(key) not in self._seen}

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        if self._seen is None:
            self._seen = client.read("sys/audit") or {}
        device = self._seen.get(_slashed(key))
        if device is None:
            return None
        values = observed(self.fields, device)
        # The server adds defaults of its own to the options; stated ones are what counts.
        stated = wanted.get("options")
        if stated is not None:
            values["options"] = {k: v for k, v in values["options"].items() if k in stated}
        return values

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        self._seen = None
        try:
            return _warnings(client.write(f"sys/audit/{key}", values, method="PUT"))
        except errors.RefusedError as error:
            if any("declarative" in message for message in error.messages):
                raise errors.RefusedError(
                    f"audit device {key} is missing, and {client.url} takes audit devices from "
                    "its configuration file only",
                    hint="Add an `audit` stanza to the server's configuration and send SIGHUP.",
                    path=error.path,
                    status=error.status,
                ) from error
            raise


class RateLimits(Kind):
    """How often each client may ask for something, by path."""

    name = "rate limit"
    checked = True
    fields: ClassVar[Mapping[str, Field]] = {
        "path": Field("text"),
        "role": Field("text"),
        "rate": Field("count"),
        "interval": Field("duration"),
        "block_interval": Field("duration"),
        "inheritable": Field("bool"),
    }
    base = "sys/quotas/rate-limit"

    def path(self, key: str) -> str:
        return f"{self.base}/{key}"

    def key(self, entry: Entry) -> str:
        return str(entry["name"])

    def wanted(self, entry: Entry) -> Values:
        return _unslashed(super().wanted(entry))

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        return set(keys) - set(client.keys(self.base))

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        data = client.read(self.path(key))
        return None if data is None else _unslashed(observed(self.fields, data))

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        if not create:
            # A write replaces the whole of it.
            values = observed(self.fields, client.read(self.path(key)) or {}) | values
        return _warnings(client.write(self.path(key), values))

    def remove(self, client: VaultClient, key: str) -> None:
        client.delete(self.path(key))

    def names(self, client: VaultClient, prefix: str) -> list[str]:
        return [name for name in client.keys(self.base) if name.startswith(prefix)]


def _unslashed(values: Values) -> Values:
    """The server adds a slash to the path of a mount."""
    return values | ({"path": values["path"].strip("/")} if "path" in values else {})


class RateLimitSettings(Kind):
    """What holds for all rate limits of a server."""

    name = "rate limit settings"
    fields: ClassVar[Mapping[str, Field]] = {
        "enable_rate_limit_audit_logging": Field("bool"),
        "enable_rate_limit_response_headers": Field("bool"),
        "rate_limit_exempt_paths": Field("names"),
    }
    _path = "sys/quotas/config"

    def key(self, entry: Entry) -> str:
        return "server"

    def missing(self, client: VaultClient, keys: Sequence[str]) -> set[str]:
        return set()

    def read(self, client: VaultClient, key: str, wanted: Values) -> Values | None:
        return observed(self.fields, client.read(self._path) or {})

    def write(self, client: VaultClient, key: str, values: Values, *, create: bool) -> list[str]:
        # What is left out of a write is emptied, the paths that are exempt by default included.
        body = (self.read(client, key, {}) or {}) | values
        return _warnings(client.write(self._path, body))


# In the order in which they depend on each other: what is written first comes first.
KINDS: tuple[type[Kind], ...] = (
    AuditDevices,
    AuthMethods,
    SecretEngines,
    KvConfigs,
    Policies,
    AppRoles,
    CertRoles,
    CertCrls,
    DatabaseConnections,
    StaticRoles,
    RateLimitSettings,
    RateLimits,
)


def by_name(name: str) -> type[Kind]:
    """The kind of that name."""
    return next(kind for kind in KINDS if kind.name == name)
