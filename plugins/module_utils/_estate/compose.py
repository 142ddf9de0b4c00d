# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the model of an estate to its compose file, as data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import nearest

__all__ = ["document", "literal"]

Container = dict[str, Any]

_HEALTH = {"interval": "15s", "timeout": "5s", "retries": 3}


def document(model: Mapping[str, Any], images: Mapping[str, str]) -> dict[str, Any]:
    """The compose document for all services of an estate.

    :arg images: Image references by the name that ``image`` of a service uses.
    :raises PhoenixError: naming every image without a reference.
    """
    services = list(model["services"].values())
    missing = [
        f'estate_services ({s["name"]}).image: no reference for "{s["image"]}" in '
        f"images_references{nearest(s['image'], images)}"
        for s in services
        if not images.get(s["image"])
    ]
    if missing:
        raise PhoenixError("; ".join(missing))
    networks: dict[str, Any] = {}
    volumes: dict[str, Any] = {}
    containers: dict[str, Any] = {}
    for service in services:
        container = _common(model, service, images[service["image"]])
        _KINDS[service["kind"]](model, service, container)
        containers[service["name"]] = container
        networks |= _networks(service)
        for mount in container["volumes"]:
            if mount["type"] == "volume":
                volumes[mount["source"]] = {}
    return {
        "name": model["project"],
        "services": containers,
        "networks": networks,
        "volumes": volumes,
    }


def literal(text: str) -> str:
    """A string that compose takes as it is, without looking for variables in it."""
    return text.replace("$", "$$")


def _networks(service: Mapping[str, Any]) -> dict[str, Any]:
    """A network for callers, closed to the outside, and one more where that is not enough."""
    networks: dict[str, Any] = {service["name"]: {"internal": True}}
    for key in ("publish", "egress"):
        if service[key]:
            networks[f"{service['name']}-{key}"] = {}
    return networks


def _common(model: Mapping[str, Any], service: Mapping[str, Any], image: str) -> Container:
    """What every container of the estate has, whatever is in it."""
    name = service["name"]
    networks: dict[str, Any] = {network: {} for network in service["networks"]}
    networks[name] = {"aliases": [service["fqdn"]]}
    for key in ("publish", "egress"):
        if service[key]:
            networks[f"{name}-{key}"] = {}
    container: Container = {
        "image": image,
        "user": f"{service['uid']}:{service['gid']}",
        "restart": "unless-stopped",
        "read_only": True,
        "tmpfs": ["/tmp"],  # noqa: S108 - a mount inside the container
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        # Memory and swap together: none of it is swap, since not every service locks its secrets in
        # memory. Alone, a limit of memory would let a container have as much swap again.
        "mem_limit": service["memory"],
        "memswap_limit": service["memory"],
        "environment": {},
        "networks": networks,
        "volumes": [_bind(service["certs"], "/tls")],
    }
    if service["publish"]:
        container["ports"] = [
            {
                "host_ip": "127.0.0.1",
                "published": str(service["port"]),
                "target": service["port"],
                "protocol": "tcp",
            }
        ]
    return container


def _bind(source: str, target: str, *, read_only: bool = True) -> dict[str, Any]:
    # A source that is missing is a mistake; the engine would make a directory of root in its place.
    return {
        "type": "bind",
        "source": source,
        "target": target,
        "read_only": read_only,
        "bind": {"create_host_path": False},
    }


def _volume(source: str, target: str) -> dict[str, Any]:
    return {"type": "volume", "source": source, "target": target}


def _healthcheck(command: list[str], *, start: str = "60s") -> dict[str, Any]:
    return {
        "test": [literal(part) for part in command],
        **_HEALTH,
        "start_period": start,
        "start_interval": "500ms",
    }


def _application(
    model: Mapping[str, Any], service: Mapping[str, Any], container: Container
) -> None:
    container["environment"] = {k: literal(v) for k, v in service["environment"].items()}
    container["volumes"].append(_bind(service["run"], "/run/tamshai"))
    command = service["healthcheck"] or ["healthcheck"]
    container["healthcheck"] = _healthcheck(["CMD", *command])


def _vault(model: Mapping[str, Any], service: Mapping[str, Any], container: Container) -> None:
    binary = "vault" if service["image"] == "vault" else "bao"
    container["entrypoint"] = [binary]
    container["command"] = ["server", "-config=/config/server.hcl"]
    # Directories of the host, since a fresh volume would be root's and the server is not.
    place = f"{model['root']}/vault"
    container["volumes"] += [
        _bind(f"{place}/config", "/config"),
        _bind(f"{place}/data", "/bao/data", read_only=False),
        _bind(f"{place}/audit", "/bao/audit", read_only=False),
        _bind(service["run"], "/run/tamshai"),
    ]
    # A sealed or new server (exit code 2) is a running one: it waits for its operator.
    status = (
        f"{binary} status -address=https://127.0.0.1:{service['port']}"
        " -ca-cert=/tls/current/ca.crt -client-cert=/tls/current/tls.crt"
        " -client-key=/tls/current/tls.key >/dev/null; [ $? -eq 0 -o $? -eq 2 ]"
    )
    container["healthcheck"] = _healthcheck(["CMD-SHELL", status])


def _postgresql(model: Mapping[str, Any], service: Mapping[str, Any], container: Container) -> None:
    volume = "/var/lib/postgresql/data"
    # No superuser password exists: the socket admits root by peer. The script takes the place of
    # the image's own entry point, which wants a password or trust. A cluster appears by one rename,
    # with the login of the healthcheck in it, so a start that is killed leaves nothing half made.
    start = (
        'if [ ! -s "$PGDATA/PG_VERSION" ]; then'
        ' rm -rf "$PGDATA.new";'
        ' initdb --pgdata="$PGDATA.new" --username=postgres --auth-local=peer --auth-host=reject'
        " --encoding=UTF8 --locale=C.UTF-8 --data-checksums;"
        " echo 'CREATE ROLE healthcheck LOGIN NOINHERIT CONNECTION LIMIT 4'"
        ' | postgres --single -D "$PGDATA.new" postgres;'
        ' mv "$PGDATA.new" "$PGDATA"; fi;'
        " exec postgres -c config_file=/config/postgresql.conf"
    )
    container["entrypoint"] = ["/bin/sh", "-ceu", literal(start)]
    container["environment"] = {"PGDATA": f"{volume}/pgdata"}
    container["shm_size"] = "128m"
    container["stop_signal"] = "SIGINT"
    container["stop_grace_period"] = "60s"
    container["volumes"] += [
        _bind(f"{model['root']}/postgres/config", "/config"),
        _bind(service["socket"], "/var/run/postgresql", read_only=False),
        _volume("postgres-data", volume),
    ]
    # A login by certificate over TLS; the server's own certificate is the client's as well.
    target = (
        f"host={service['fqdn']} hostaddr=127.0.0.1 port={service['port']} dbname=postgres"
        " user=healthcheck sslmode=verify-full sslrootcert=/tls/current/ca.crt"
        " sslcert=/tls/current/tls.crt sslkey=/tls/current/tls.key connect_timeout=4"
    )
    container["healthcheck"] = _healthcheck(["CMD", "psql", "-XAtqc", "SELECT 1", target])


_KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any], Container], None]] = {
    "application": _application,
    "vault": _vault,
    "postgresql": _postgresql,
}
