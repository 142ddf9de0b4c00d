# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a declared estate to everything that roles need to know about it.

The result is plain JSON data without a secret in it. Lists and mappings keep the order of the
declaration, so a change in one service shows as a change in one place.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate import schema
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import (
    declared,
    problems,
    start_needs,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.variables import url_variable

__all__ = ["KV_MOUNT", "ROTATOR", "EstateError", "build"]

ROTATOR = "vault_rotator"
"""The login with which Vault rotates the passwords of the others."""
KV_MOUNT = "tamshai"
CANARY = "CANARY"
"""A random value that each service gets besides its secrets; found elsewhere, it proves a leak."""

Estate = dict[str, Any]
Rows = list[dict[str, Any]]


class EstateError(PhoenixError):
    """An estate with mistakes; ``facts['problems']`` lists them all."""

    def __init__(self, found: list[str]) -> None:
        text = "\n".join(f"  {problem}" for problem in found)
        noun = "mistake" if len(found) == 1 else "mistakes"
        super().__init__(f"the estate has {len(found)} {noun}:\n{text}", problems=found)


def build(inputs: Any) -> Estate:
    """The model of an estate.

    :arg inputs: The ``estate_*`` variables without their prefix, and ``host``.
    :raises EstateError: with every mistake of the declaration at once.
    """
    found = problems(inputs)
    if found:
        raise EstateError(found)
    estate = declared(inputs)
    model: Estate = {key: estate[key] for key in ("name", "domain", "root", "run", "project")}
    model |= {key: estate[key] for key in ("owner", "host", "network_pool")}
    model["principals"] = _principals(estate)
    model["calls"] = _calls(estate)
    model["databases"] = _databases(estate)
    model["logins"] = _logins(estate)
    model["services"] = _services(estate, model)
    model["start_order"] = _start_order(estate)
    model["certificates"] = _certificates(model)
    model["networks"] = _networks(model)
    model["kv_mount"] = KV_MOUNT
    model["kv_paths"] = sorted({path for s in estate["services"] for path in s["kv"]})
    model["secrets"] = [{k: s[k] for k in ("path", "key", "kind")} for s in estate["secrets"]]
    model["policies"] = _policies(model)
    model["approles"] = _approles(model)
    model["hba"] = _hba(model)
    model["agents"] = _agents(model)
    model["probes"] = _probes(model)
    return model


def _principals(estate: Estate) -> Estate:
    """Callers that are no services, with the identity in their certificates."""
    domain, host = estate["domain"], estate["host"]
    return {
        "host": {"name": "host", "spiffe": f"spiffe://{domain}/host/{host}"},
        "operator": {"name": "operator", "spiffe": f"spiffe://{domain}/operator/admin"},
    }


def _spiffe(estate: Estate, name: str) -> str:
    if name in schema.PRINCIPALS:
        return str(_principals(estate)[name]["spiffe"])
    return f"spiffe://{estate['domain']}/service/{name}"


def _calls(estate: Estate) -> Rows:
    return [
        {"caller": caller, "callee": service["name"], "port": service["port"]}
        for service in estate["services"]
        for caller in service["callers"]
    ]


def _databases(estate: Estate) -> Rows:
    return [
        {
            **database,
            "logins": sorted(
                {
                    login
                    for service in estate["services"]
                    for use in service["databases"]
                    if use["name"] == database["name"]
                    for login in _logins_of(use)
                }
            ),
        }
        for database in estate["databases"]
    ]


def _logins_of(use: Estate) -> list[str]:
    """The logins that a service has for one database: it uses the one that was rotated last."""
    login = use["login"]
    if use["rotation"] == schema.SINGLE:
        return [login]
    return [login, schema.second_login(login)]


def _logins(estate: Estate) -> Rows:
    """The database logins of applications; each is a static role of Vault's database engine.

    ``second_of`` names the login that another one takes turns with and has all its rights from.
    """
    logins: dict[str, dict[str, Any]] = {}
    for service in estate["services"]:
        for use in service["databases"]:
            for login in _logins_of(use):
                row = logins.setdefault(
                    login,
                    {
                        "name": login,
                        "databases": [],
                        "services": [],
                        "static_role": _static_role(login),
                        "connection": f"postgresql-{use['name']}",
                        "shared": False,
                        "second_of": use["login"] if login != use["login"] else None,
                    },
                )
                if use["name"] not in row["databases"]:
                    row["databases"].append(use["name"])
                if service["name"] not in row["services"]:
                    row["services"].append(service["name"])
                row["shared"] = len(row["services"]) > 1
    return list(logins.values())


def _services(estate: Estate, model: Estate) -> Estate:
    declared_databases = {d["name"]: d for d in model["databases"]}
    services: Estate = {}
    for service in estate["services"]:
        name = service["name"]
        fqdn = f"{name}.{estate['domain']}"
        callees = [c["callee"] for c in model["calls"] if c["caller"] == name]
        services[name] = {
            **{key: service[key] for key in ("name", "kind", "image", "port", "uid")},
            "gid": service["uid"],
            **{key: service[key] for key in ("tls", "publish", "egress", "callers")},
            "calls": callees,
            "fqdn": fqdn,
            "spiffe": _spiffe(estate, name),
            "url": f"https://{fqdn}:{service['port']}",
            "certs": f"{estate['root']}/certs/{name}",
            "run": f"{estate['run']}/{name}",
            # Where root of the host finds the database's socket.
            **(
                {"socket": f"{estate['run']}/{name}-socket"}
                if service["kind"] == "postgresql"
                else {}
            ),
            **{key: service[key] for key in ("reload", "reload_signal", "health", "healthcheck")},
            "kv": service["kv"],
            "databases": [
                {
                    "name": use["name"],
                    "login": use["login"],
                    "logins": _logins_of(use),
                    "prefix": use["prefix"],
                    "schema": declared_databases[use["name"]]["schema"],
                    "owner": declared_databases[use["name"]]["owner"],
                    "client_cert": f"{name}.{use['login']}",
                }
                for use in service["databases"]
            ],
            "networks": [name, *callees],
            "memory": service["memory"],
            "environment": {},
        }
    by_name = {s["name"]: s for s in estate["services"]}
    for name, service in services.items():
        if service["kind"] == "application":
            service["environment"] = _environment(estate, services, service)
            service["environment"] |= by_name[name]["environment"]
    return services


def _environment(estate: Estate, services: Estate, service: Estate) -> dict[str, str]:
    """What an application reads from its environment: addresses and paths, never a secret."""
    current = "/tls/current"
    values = {
        "NODE_ENV": "production",
        "PORT": str(service["port"]),
        "MCP_TLS_ENABLED": "true",
        "MCP_CA_CERT": f"{current}/ca.crt",
        "MCP_SERVER_CERT": f"{current}/tls.crt",
        "MCP_SERVER_KEY": f"{current}/tls.key",
        "MCP_CLIENT_CERT": f"{current}/tls.crt",
        "MCP_CLIENT_KEY": f"{current}/tls.key",
        "MCP_TLS_REJECT_UNAUTHORIZED": "true",
        "MCP_ALLOWED_CALLERS": ",".join(_spiffe(estate, name) for name in service["callers"]),
        # Its own name and identity: for the healthcheck, which verifies and presents them.
        "MCP_SERVER_NAME": service["fqdn"],
        "MCP_SPIFFE_ID": service["spiffe"],
        "TAMSHAI_SERVICE": service["name"],
        "TAMSHAI_SECRETS_FILE": "/run/tamshai/secrets.json",
    }
    for name in service["calls"]:
        callee = services[name]
        if callee["kind"] == "vault":
            values["VAULT_ADDR"] = callee["url"]
        elif callee["kind"] == "application":
            values[url_variable(name)] = callee["url"]
        else:
            for use in service["databases"]:
                values |= _database_environment(callee, use)
    return values


def _database_environment(server: Estate, use: Estate) -> dict[str, str]:
    prefix, client = use["prefix"], _client(use["login"])
    return {
        f"{prefix}_HOST": server["fqdn"],
        f"{prefix}_PORT": str(server["port"]),
        f"{prefix}_DB": use["name"],
        # The name that existing services know; with a CA and REJECT_UNAUTHORIZED it means that
        # the server is verified by name.
        f"{prefix}_SSL": "require",
        f"{prefix}_SSL_CA": "/tls/current/ca.crt",
        f"{prefix}_SSL_REJECT_UNAUTHORIZED": "true",
        f"{prefix}_SSL_CERT": f"{client}/tls.crt",
        f"{prefix}_SSL_KEY": f"{client}/tls.key",
    }


def _client(login: str) -> str:
    """Where a container finds the client certificate of a login."""
    return f"/tls/clients/{login}/current"


def _start_order(estate: Estate) -> list[str]:
    """Services so that each comes after those that it needs in order to start."""
    needs = start_needs(estate["services"])
    order: list[str] = []
    while len(order) < len(needs):
        order += [n for n, others in needs.items() if n not in order and others <= {*order}]
    return order


def _certificates(model: Estate) -> Rows:
    certs = f"{model['root']}/certs"
    rows: Rows = []
    for service in model["services"].values():
        rows.append(
            {
                "name": service["name"],
                "service": service["name"],
                "common_name": service["fqdn"],
                "dns": [service["fqdn"]],
                # What is published is reached from the host as 127.0.0.1.
                "ips": ["127.0.0.1"] if service["publish"] else [],
                "uris": [service["spiffe"]],
                "usages": ["server", "client"],
                "path": service["certs"],
                **{key: service[key] for key in ("uid", "gid", "reload", "reload_signal")},
            }
        )
        for login in _client_logins(model, service):
            rows.append(
                {
                    "name": f"{service['name']}.{login}",
                    "service": service["name"],
                    # PostgreSQL's clientcert=verify-full wants the login as common name.
                    "common_name": login,
                    "dns": [],
                    "ips": [],
                    # Names the owner, and is not the identity of a caller.
                    "uris": [f"{service['spiffe']}/login/{login}"],
                    "usages": ["client"],
                    "path": f"{service['certs']}/clients/{login}",
                    **{key: service[key] for key in ("uid", "gid", "reload", "reload_signal")},
                }
            )
    rows.append(
        {
            "name": "host",
            "service": None,
            "common_name": model["host"],
            # A DNS name keeps verifiers from applying name constraints to the common name.
            "dns": [f"{model['host'].lower()}.host.{model['domain']}"],
            "ips": [],
            "uris": [model["principals"]["host"]["spiffe"]],
            "usages": ["server", "client"],
            "path": f"{certs}/host",
            "uid": 0,
            "gid": 0,
            "reload": "none",
        }
    )
    return rows


def _client_logins(model: Estate, service: Estate) -> list[str]:
    """The PostgreSQL logins that a service uses, each once."""
    if service["kind"] == "vault":
        return [ROTATOR] if _rotated(model) else []
    return list(dict.fromkeys(login for use in service["databases"] for login in use["logins"]))


def _rotated(model: Estate) -> list[str]:
    """The databases in which Vault rotates logins; it has to be a caller of their server."""
    vault = next((s for s in model["services"].values() if s["kind"] == "vault"), None)
    server = next((s for s in model["services"].values() if s["kind"] == "postgresql"), None)
    if vault is None or server is None or vault["name"] not in server["callers"]:
        return []
    return [database["name"] for database in model["databases"] if database["logins"]]


def _networks(model: Estate) -> Rows:
    """One network for each service: its members are the service and the services that call it."""
    return [
        {
            "name": service["name"],
            "members": [
                service["name"],
                *(c for c in service["callers"] if c not in schema.PRINCIPALS),
            ],
        }
        for service in model["services"].values()
    ]


def _applications(model: Estate) -> Rows:
    return [s for s in model["services"].values() if s["kind"] == "application"]


def _static_role(login: str) -> str:
    return login.replace("_", "-")


def _policies(model: Estate) -> Rows:
    """A service reads its own KV paths and its own logins' credentials, and nothing else."""
    rows: Rows = []
    for service in _applications(model):
        paths = [f"{KV_MOUNT}/data/{path}" for path in service["kv"]]
        logins = _client_logins(model, service)
        paths += [f"database/static-creds/{_static_role(login)}" for login in logins]
        text = "\n".join(f'path "{path}" {{\n  capabilities = ["read"]\n}}\n' for path in paths)
        rows.append({"name": service["name"], "text": text})
    return rows


def _approles(model: Estate) -> Rows:
    return [
        {
            "name": service["name"],
            "role_id": f"{service['name']}-role-id-{model['name']}-v1",
            "token_policies": [service["name"]],
            "token_ttl": 3600,
            "token_max_ttl": 14400,
            # As servers have them by default; said, so that whoever changed them is set right:
            # a period renews a token for ever, whatever its longest life.
            "token_explicit_max_ttl": 0,
            "token_period": 0,
            "token_num_uses": 0,
            "bind_secret_id": True,
            "secret_id_ttl": 600,
            "secret_id_num_uses": 1,
        }
        for service in _applications(model)
    ]


def _hba(model: Estate) -> Rows:
    """Who may log in to PostgreSQL, in the order in which the server looks at the lines.

    ``samenet`` is the server's own network, in which there is nobody but its callers.
    """
    if not any(s["kind"] == "postgresql" for s in model["services"].values()):
        return []
    rows: Rows = [
        {
            "type": "local",
            "database": "all",
            "user": "postgres",
            "address": "",
            "method": "peer",
            "options": ["map=root"],
        }
    ]
    pairs = [(name, ROTATOR) for name in _rotated(model)]
    pairs += [(d["name"], login) for d in model["databases"] for login in d["logins"]]
    rows += [
        {
            "type": "hostssl",
            "database": database,
            "user": login,
            "address": "samenet",
            "method": "scram-sha-256",
            "options": ["clientcert=verify-full"],
        }
        for database, login in pairs
    ]
    return rows


def _agents(model: Estate) -> Rows:
    """What each application's agent fetches, and under which name the application finds it."""
    rows: Rows = []
    for service in _applications(model):
        secrets: dict[str, dict[str, str]] = {}
        for use in service["databases"]:
            secrets |= _database_secrets(use)
        for secret in model["secrets"]:
            if secret["path"] in service["kv"]:
                secrets[secret["key"]] = {"kv": secret["path"], "key": secret["key"]}
        if service["kv"]:
            secrets[CANARY] = {"kv": service["kv"][0], "key": CANARY}
        rows.append(
            {
                "service": service["name"],
                "uid": service["uid"],
                "gid": service["gid"],
                "approle": service["name"],
                "run": service["run"],
                "certs": service["certs"],
                "secrets": secrets,
            }
        )
    return rows


def _database_secrets(use: Estate) -> dict[str, dict[str, str]]:
    """User and password; of two logins that of the later rotation, with its own certificate."""
    prefix, role = use["prefix"], _static_role(use["login"])
    source = {"static_role": role}
    secrets = {
        f"{prefix}_USER": {**source, "field": "username"},
        f"{prefix}_PASSWORD": {**source, "field": "password"},
    }
    if len(use["logins"]) == 1:
        return secrets  # its certificate is named in the environment
    client = _client("%s")
    secrets |= {
        f"{prefix}_SSL_CERT": {**source, "field": "username", "format": f"{client}/tls.crt"},
        f"{prefix}_SSL_KEY": {**source, "field": "username", "format": f"{client}/tls.key"},
    }
    turns = {"turns_with": _static_role(use["logins"][1])}
    return {name: {**secret, **turns} for name, secret in secrets.items()}


def _probes(model: Estate) -> Rows:
    """Every ordered pair of a principal and a service, and how the attempt has to end."""
    names = [*model["services"], *schema.PRINCIPALS]
    return [
        {
            "from": name,
            "to": service["name"],
            "fqdn": service["fqdn"],
            "port": service["port"],
            "expect": "allow" if name in service["callers"] else "refuse",
        }
        for name in names
        for service in model["services"].values()
        if name != service["name"]
    ]
