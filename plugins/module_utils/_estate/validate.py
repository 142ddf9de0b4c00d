# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that is wrong with a declared estate, each mistake with the path of the value."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate import schema
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.schema import Field
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.variables import url_variable

__all__ = ["declared", "problems", "shown", "start_needs"]

_SECRET_NAME = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|API_?KEY|PRIVATE")
_POSTGRES_ROLES = frozenset(
    {"postgres", "public", "none", "session_user"}
    | {"vault_rotator", "vault_rotation_owner", "healthcheck"}
)
_HOST_PORTS = frozenset({22, 80, 443})
_NO_SERVICES = "declare at least one service"


def problems(inputs: Any) -> list[str]:
    """Every mistake in an estate, in the order of the declaration; empty where it is sound.

    Takes anything that JSON can express and never raises.

    :arg inputs: The ``estate_*`` variables without their prefix, and ``host``, the inventory name.
    """
    found = _Shape()
    estate = found.mapping("", inputs, schema.ESTATE)
    if estate is None:
        return found.problems
    # Rules between values are looked at even where one value is malformed (None here): an operator
    # shall see all mistakes at once.
    rules = _Rules(estate)
    rules.look()
    return found.problems + rules.problems


def declared(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The estate with every default filled in; only for inputs without problems."""
    estate = _Shape().mapping("", inputs, schema.ESTATE)
    if estate is None:  # pragma: no cover - the caller has asked for problems first
        raise TypeError("an estate is a mapping")
    return estate


def shown(value: Any) -> str:
    """A declared value as a message quotes it, cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = value.encode("unicode_escape", "backslashreplace").decode("ascii")
        return f'"{text[:60]}{"..." if len(text) > 60 else ""}"'
    if isinstance(value, (int, float)):
        return str(value)[:60]
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def nearest(name: Any, known: Iterable[str]) -> str:
    """A hint for a misspelt name, empty where nothing known is like it."""
    if not isinstance(name, str):
        return ""
    match = difflib.get_close_matches(name[:100], sorted(known), n=1, cutoff=0.6)
    return f' (did you mean "{match[0]}"?)' if match else ""


def _join(where: str, key: Any) -> str:
    if not where:
        return f"estate_{key}" if key != "host" else "inventory_hostname"
    return f"{where}.{key}"


class _Shape:
    """Looks at each value on its own: known keys, types, syntax."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def mapping(self, where: str, value: Any, fields: Mapping[str, Field]) -> dict[str, Any] | None:
        if not isinstance(value, Mapping):
            self.problems.append(
                f"{where or 'the estate'}: must be a mapping of keys to values, "
                f"found {shown(value)}"
            )
            return None
        for key in value:
            if key not in fields:
                name = key if isinstance(key, str) else shown(key)
                self.problems.append(
                    f"{where or 'the estate'}: unknown key {shown(name)}{nearest(name, fields)}"
                )
        return {
            key: self._field(_join(where, key), value, key, field) for key, field in fields.items()
        }

    def _field(self, where: str, holder: Mapping[str, Any], key: str, field: Field) -> Any:
        value = holder.get(key)
        if value is None:
            if field.required:
                self.problems.append(f"{where}: missing")
            default = field.default
            return list(default) if isinstance(default, tuple) else default
        if field.each:
            return self._list(where, value, field)
        if field.fields is not None:
            return self.mapping(where, value, field.fields)
        return self._single(where, value, field)

    def _single(self, where: str, value: Any, field: Field) -> Any:
        wanted = field.check(value)
        if wanted:
            self.problems.append(f"{where}: must be {wanted}, found {shown(value)}")
            return None
        return value

    def _list(self, where: str, value: Any, field: Field) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            self.problems.append(f"{where}: must be a list, found {shown(value)}")
            return []
        entries: list[Any] = []
        for index, entry in enumerate(value):
            place = f"{where}[{index}]"
            if field.fields is not None:
                entries.append(self.mapping(place, entry, field.fields))
                continue
            checked = self._single(place, entry, field)
            if checked is not None and checked in entries:
                self.problems.append(f"{place}: {shown(checked)} is listed twice")
            entries.append(checked)
        return entries


class _Rules:
    """Looks at values side by side. Those that are malformed are ``None`` and left out."""

    def __init__(self, estate: dict[str, Any]) -> None:
        self.problems: list[str] = []
        self.estate = estate
        self.services: list[tuple[str, dict[str, Any]]] = [
            (f"estate_services[{i}]", s) for i, s in enumerate(estate["services"] or []) if s
        ]
        self.databases: list[tuple[str, dict[str, Any]]] = [
            (f"estate_databases[{i}]", d) for i, d in enumerate(estate["databases"] or []) if d
        ]
        self.secrets: list[tuple[str, dict[str, Any]]] = [
            (f"estate_secrets[{i}]", s) for i, s in enumerate(estate["secrets"] or []) if s
        ]
        self.by_name: dict[str, dict[str, Any]] = {}
        for _where, service in self.services:
            if service["name"] is not None:
                self.by_name.setdefault(service["name"], service)

    def add(self, where: str, text: str) -> None:
        self.problems.append(f"{where}: {text}")

    def look(self) -> None:
        if not self.services and not self.estate["services"]:
            self.add("estate_services", _NO_SERVICES)
        self._names()
        self._ports()
        self._callers()
        self._kinds()
        self._cycles()
        self._database_names()
        self._logins()
        self._secrets()
        self._environment()

    def _unique(self, things: list[tuple[str, dict[str, Any]]], what: str) -> None:
        first: dict[str, str] = {}
        for where, thing in things:
            name = thing["name"]
            if name is None:
                continue
            if name in first:
                self.add(f"{where}.name", f'{what} "{name}" is declared twice ({first[name]})')
            first.setdefault(name, where)

    def _names(self) -> None:
        self._unique(self.services, "service")
        self._unique(self.databases, "database")
        domain = self.estate["domain"] or ""
        variables: dict[str, str] = {}
        for where, service in self.services:
            name = service["name"]
            if name is None:
                continue
            if name in schema.RESERVED_NAMES or name.endswith(schema.RESERVED_ENDS):
                self.add(f"{where}.name", f'"{name}" is reserved by the estate itself')
            elif len(f"{name}.{domain}") > 64:
                # The common name of an X.509 subject ends there (RFC 5280, appendix A).
                self.add(f"{where}.name", f'"{name}.{domain}" is longer than 64 characters')
            other = variables.setdefault(url_variable(name), name)
            if other != name and service["kind"] == "application":
                wrong = f'"{name}" and "{other}" both give callers {url_variable(name)}'
                self.add(f"{where}.name", wrong)

    def _ports(self) -> None:
        published: dict[int, str] = {}
        applications: dict[int, str] = {}
        for where, service in self.services:
            port = service["port"]
            if port is None:
                continue
            clash = None
            if service["kind"] == "application":
                clash = applications.setdefault(port, where)
            if service["publish"]:
                if port in _HOST_PORTS:
                    self.add(f"{where}.port", f"{port} is a port of the host itself")
                other = published.setdefault(port, where)
                clash = other if clash in (None, where) else clash
            if clash not in (None, where):
                self.add(f"{where}.port", f"{port} clashes with {clash}.port")

    def _callers(self) -> None:
        known = {*self.by_name, *schema.PRINCIPALS}
        for where, service in self.services:
            for index, caller in enumerate(service["callers"]):
                place = f"{where}.callers[{index}]"
                if caller is None:
                    continue
                if caller not in known:
                    self.add(place, f'unknown caller "{caller}"{nearest(caller, known)}')
                elif caller == service["name"]:
                    self.add(place, "a service does not call itself")
            for index, callee in enumerate(service["starts_without"]):
                place = f"{where}.starts_without[{index}]"
                if callee is None:
                    continue
                if callee not in self.by_name:
                    self.add(place, f'unknown service "{callee}"{nearest(callee, self.by_name)}')
                elif service["name"] not in self.by_name[callee]["callers"]:
                    self.add(place, f'"{service["name"]}" is no caller of "{callee}"')

    def _kinds(self) -> None:
        needs = {
            "vault": [f"{w}.{k}" for w, s in self.services for k in ("kv", "databases") if s[k]],
            "postgresql": [w for w, _d in self.databases]
            + [f"{w}.databases" for w, s in self.services if s["databases"]],
        }
        for kind, users in needs.items():
            places = [(w, s) for w, s in self.services if s["kind"] == kind]
            for where, _service in places[1:]:
                self.add(
                    f"{where}.kind", f'one "{kind}" is supported ({places[0][0]} is the first)'
                )
            if users and not places:
                self.add(users[0], f'no service of kind "{kind}" is declared')
            for where, service in places:
                self._server(where, service)
            if places:
                self._reaches(kind, places[0][1])
        self._vault()

    def _server(self, where: str, service: dict[str, Any]) -> None:
        for key in ("kv", "databases"):
            if service[key]:
                self.add(f"{where}.{key}", f'a service of kind "{service["kind"]}" reads none')

    def _vault(self) -> None:
        """Roles and agents reach Vault from the host; Vault reaches the logins that it rotates."""
        vault = next(((w, s) for w, s in self.services if s["kind"] == "vault"), None)
        server = next(((w, s) for w, s in self.services if s["kind"] == "postgresql"), None)
        if vault is None:
            return
        where, service = vault
        if service["publish"] is False:
            self.add(f"{where}.publish", "must be true: roles reach Vault on the host's 127.0.0.1")
        for principal in schema.PRINCIPALS:
            if principal not in service["callers"]:
                self.add(f"{where}.callers", f'"{principal}" is missing; roles and agents are it')
        rotates = any(s["databases"] for _w, s in self.services)
        if server and rotates and service["name"] not in (None, *server[1]["callers"]):
            self.add(
                f"{server[0]}.callers",
                f'"{service["name"]}" is missing; it rotates the passwords of database logins',
            )

    def _reaches(self, kind: str, server: dict[str, Any]) -> None:
        """Who reads from a server has to be its declared caller."""
        for where, service in self.services:
            if service["kind"] != "application" or service["name"] is None:
                continue
            uses = {"postgresql": service["databases"], "vault": service["kv"]}[kind]
            uses = uses or (kind == "vault" and service["databases"])
            if uses and service["name"] not in server["callers"] and server["name"]:
                self.add(
                    where,
                    f'"{service["name"]}" uses "{server["name"]}" and is none of its callers',
                )

    def _cycles(self) -> None:
        """Services that each need the other to be there first."""
        for cycle in find_cycles(start_needs(service for _w, service in self.services)):
            ring = " -> ".join([*cycle, cycle[0]])
            where = next(w for w, s in self.services if s["name"] == cycle[0])
            self.add(
                where,
                f"{ring} is a cycle in which none can start first; "
                "name a callee that is called later only in starts_without",
            )

    def _database_names(self) -> None:
        known = {d["name"] for _w, d in self.databases if d["name"]}
        for where, database in self.databases:
            if database["name"] in {"postgres", "template0", "template1"}:
                self.add(f"{where}.name", f'"{database["name"]}" is PostgreSQL\'s own')
            if database["owner"] in _POSTGRES_ROLES:
                self.add(f"{where}.owner", f'"{database["owner"]}" is reserved')
            if str(database["schema"] or "").startswith("pg_"):
                self.add(f"{where}.schema", "pg_... is PostgreSQL's own")
        for where, service in self.services:
            prefixes: set[str] = set()
            for index, use in enumerate(service["databases"]):
                place = f"{where}.databases[{index}]"
                if use is None:
                    continue
                if use["name"] is not None and use["name"] not in known:
                    self.add(
                        f"{place}.name",
                        f'unknown database "{use["name"]}"{nearest(use["name"], known)}',
                    )
                if use["prefix"] in prefixes:
                    self.add(f"{place}.prefix", f"{use['prefix']} is taken by another database")
                prefixes.add(use["prefix"])

    def _logins(self) -> None:
        users: defaultdict[str, list[tuple[str, dict[str, Any], dict[str, Any]]]]
        users = defaultdict(list)
        owners = {d["owner"] for _w, d in self.databases}
        for where, service in self.services:
            for index, use in enumerate(service["databases"]):
                if use is None or use["login"] is None:
                    continue
                place = f"{where}.databases[{index}].login"
                if use["login"] in _POSTGRES_ROLES or use["login"].startswith("pg_"):
                    self.add(place, f'"{use["login"]}" is reserved')
                if use["login"] in owners:
                    self.add(
                        place,
                        f'"{use["login"]}" owns a database; an owner bypasses row level security',
                    )
                users[use["login"]].append((place, service, use))
        for login, uses in users.items():
            self._login_of_several(login, uses)
            self._second_login(login, uses, {*users, *owners})

    def _login_of_several(
        self, login: str, uses: list[tuple[str, dict[str, Any], dict[str, Any]]]
    ) -> None:
        services = {service["name"] for _place, service, _use in uses}
        if len(services) < 2 or all(use["shared"] for _place, _service, use in uses):
            return
        _place, owner, first = uses[0]
        for place, user, use in uses[1:]:
            if user["name"] != owner["name"] and not (use["shared"] and first["shared"]):
                self.add(
                    place,
                    f'"{login}" is the login of "{owner["name"]}" too; '
                    "say shared: true at both, or give each its own",
                )

    def _second_login(
        self,
        login: str,
        uses: list[tuple[str, dict[str, Any], dict[str, Any]]],
        others: set[str],
    ) -> None:
        """The login that takes turns with another is derived, and must be nobody else's."""
        first = uses[0][2]["rotation"]
        for place, _service, use in uses[1:]:
            if None not in (first, use["rotation"]) and use["rotation"] != first:
                self.add(
                    place.removesuffix("login") + "rotation",
                    f'"{login}" is rotated as "{first}" elsewhere ({uses[0][0]})',
                )
        second = schema.second_login(login)
        if first != schema.ALTERNATING:
            return
        hint = "choose another name, or rotation: single"
        if schema.login(second):
            self.add(uses[0][0], f'"{second}" takes turns with it and is too long; {hint}')
        elif second in others or second in _POSTGRES_ROLES:
            self.add(uses[0][0], f'"{second}" takes turns with it and is taken; {hint}')

    def _secrets(self) -> None:
        read = {p: s for _w, s in self.services for p in s["kv"] if p is not None}
        first: dict[tuple[str, str], str] = {}
        for where, secret in self.secrets:
            path, key = secret["path"], secret["key"]
            if path is not None and path not in read:
                self.add(f"{where}.path", f'no service reads "{path}"{nearest(path, read)}')
            if key == "CANARY":
                self.add(f"{where}.key", "CANARY is made by the estate")
            if path is None or key is None:
                continue
            if (path, key) in first:
                self.add(where, f'"{path}" {key} is declared twice ({first[path, key]})')
            first.setdefault((path, key), where)
        for where, service in self.services:
            taken = {
                f"{use['prefix']}_{part}": f"the database {use['name']}"
                for use in service["databases"]
                if use
                for part in ("USER", "PASSWORD", "SSL_CERT", "SSL_KEY")
            }
            for path, key in first:
                if path not in service["kv"]:
                    continue
                if key in taken:
                    self.add(
                        f"{where}.kv",
                        f'"{path}" brings {key}, which {taken[key]} brings as well',
                    )
                taken.setdefault(key, f'"{path}"')

    def _environment(self) -> None:
        for where, service in self.services:
            for key in service["environment"] or {}:
                place = f"{where}.environment.{key}"
                if _SECRET_NAME.search(key):
                    self.add(place, "looks like a secret; declare it in estate_secrets")
                elif key.startswith(("MCP_", "POSTGRES_", "TAMSHAI_", "VAULT_", "NODE_")):
                    self.add(place, "names with this beginning are derived from the estate")


def start_needs(services: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Which services each service needs before it can start: those it calls.

    Not among them: what it says in ``starts_without``, and what Vault calls, which connects to a
    database when it is told of one and starts before there is any.
    """
    listed = [s for s in services if s["name"] is not None]
    needs: dict[str, set[str]] = {s["name"]: set() for s in listed}
    free = {s["name"]: (None if s["kind"] == "vault" else set(s["starts_without"])) for s in listed}
    for service in listed:
        for caller in service["callers"]:
            if caller == service["name"] or caller not in needs:
                continue
            without = free[caller]
            if without is not None and service["name"] not in without:
                needs[caller].add(service["name"])
    return needs


def find_cycles(needs: Mapping[str, set[str]]) -> list[list[str]]:
    """One cycle out of each knot of names that need each other, in a stable order."""
    cycles: list[list[str]] = []
    left = {name: set(others) for name, others in needs.items()}
    while True:
        free = {name for name, others in left.items() if not others & left.keys()}
        if free:
            for name in free:
                del left[name]
            continue
        if not left:
            return cycles
        # Each name that is left needs one that is left: walk on until one comes again.
        walk = [min(left)]
        while True:
            following = min(left[walk[-1]] & left.keys())
            if following in walk:
                ring = walk[walk.index(following) :]
                break
            walk.append(following)
        start = ring.index(min(ring))
        cycles.append(ring[start:] + ring[:start])
        for name in ring:
            del left[name]
