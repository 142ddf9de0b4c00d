# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What each service's agent needs on the host: pure functions from the estate's model to files.

An agent is ``bao agent`` (or ``vault agent``) under systemd. It exchanges a wrapped SecretID for a
token and renders the service's secrets as one JSON object into memory-backed storage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import human, seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Options", "agent_config", "layout", "template_text"]

SECRETS_FILE = "secrets.json"
# Field access is what lets the agent notice a missing key; other names would need `index`, which
# renders null instead.
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PATH = re.compile(r"[A-Za-z0-9_./-]+")
_FORMAT = re.compile(r"(?:[A-Za-z0-9_./-]*%s[A-Za-z0-9_./-]*)?")
_GO_TIME = "2006-01-02T15:04:05Z07:00"  # RFC 3339; fractions of a second are read as well


@dataclass(frozen=True)
class Options:
    """What is not in the estate's model.

    :arg render_interval: How often a KV secret is read again, in seconds.
    :arg wrap_ttl: How long a wrapped SecretID may wait for its agent, in seconds.
    :arg wait: How long one try waits for a Vault that is sealed or away, in seconds.
    :arg credential_limit: How old a credential may be before the host raises the alarm, in seconds.
    """

    render_interval: int = 30
    wrap_ttl: int = 300
    wait: int = 60
    credential_limit: int = 30 * 86400

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Options:
        """From variables, which may be durations in words.

        :raises PhoenixError: for an unknown name or no duration.
        """
        unknown = sorted(set(values) - set(cls.__dataclass_fields__))
        if unknown:
            raise PhoenixError(f"agents have no option {', '.join(unknown)}")
        return cls(**{name: seconds(value) for name, value in values.items()})


def layout(model: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Directories, files and facts of all agents of an estate.

    ``directories`` and ``files`` are entries of module ``files_bulk``, ``units`` of ``units_bulk``,
    ``agents`` of ``secret_zero``.

    :raises PhoenixError: if the estate has no Vault, or a secret has a name that no template can
        refer to.
    """
    vaults = [s for s in model["services"].values() if s["kind"] == "vault"]
    if model["agents"] and not vaults:
        raise PhoenixError(
            "services need secrets, and estate_services has no service of kind vault"
        )
    agents_root, run = f"{model['root']}/agents", f"{model['run']}-agents"
    directories = [_directory(model["run"]), _directory(run), _directory(agents_root)]
    files: list[dict[str, Any]] = []
    timers = ["tamshai-overdue.timer"] if vaults else []
    facts: list[dict[str, Any]] = []
    for agent in model["agents"]:
        service = model["services"][agent["service"]]
        role_id = next(r["role_id"] for r in model["approles"] if r["name"] == agent["approle"])
        fact = _fact(agent, agents_root, run)
        settings = _settings(model, service, fact, vaults[0], options)
        home = f"{agents_root}/{agent['service']}"
        directories += [
            _directory(home),
            _directory(agent["run"], agent, "0700"),
            _directory(f"{run}/{agent['service']}", agent, "0700"),
        ]
        config = agent_config(
            agent,
            mount=model["kv_mount"],
            port=vaults[0]["port"],
            home=home,
            wrap=fact["wrap_file"],
            options=options,
        )
        files += [
            _file(fact["config"], _json(config)),
            _file(f"{home}/role_id", role_id),
            _file(f"{home}/service.json", _json(settings)),
            _file(
                f"/etc/systemd/system/{fact['unit']}.d/user.conf",
                f"[Service]\nUser={agent['uid']}\nGroup={agent['gid']}\n",
            ),
        ]
        directories.append(_directory(f"/etc/systemd/system/{fact['unit']}.d"))
        facts.append(fact)
    if vaults:
        watch = _overdue(model, facts, vaults[0], options)
        files.append(_file(f"{model['root']}/overdue.json", _json(watch)))
    # The agents are started by module secret_zero, once there is something for them to read.
    units = [
        *(
            {"name": f"tamshai-reload@{f['service']}.path", "started": True, "enabled": True}
            for f in facts
        ),
        *({"name": f["unit"], "enabled": True} for f in facts),
        *({"name": name, "started": True, "enabled": True} for name in timers),
    ]
    return {"directories": directories, "files": files, "units": units, "agents": facts}


def agent_config(
    agent: Mapping[str, Any], *, mount: str, port: int, home: str, wrap: str, options: Options
) -> dict[str, Any]:
    """The agent's configuration, in the JSON form of its language.

    ``exit_on_err`` hands every failed login to systemd, whose next start brings a new wrapped
    SecretID: the everyday path is the recovery path.
    """
    current = f"{agent['certs']}/current"
    return {
        "vault": {
            "address": f"https://127.0.0.1:{port}",
            "ca_cert": f"{current}/ca.crt",
            "client_cert": f"{current}/tls.crt",
            "client_key": f"{current}/tls.key",
            "retry": {"num_retries": 3},
        },
        "auto_auth": {
            "method": [
                {
                    "type": "approle",
                    "mount_path": "auth/approle",
                    "exit_on_err": True,
                    "config": {
                        "role_id_file_path": f"{home}/role_id",
                        "secret_id_file_path": wrap,
                        "remove_secret_id_file_after_reading": True,
                        "secret_id_response_wrapping_path": (
                            f"auth/approle/role/{agent['approle']}/secret-id"
                        ),
                    },
                }
            ]
        },
        "template_config": {
            "static_secret_render_interval": human(options.render_interval),
            # A sealed Vault must not take away what is rendered.
            "exit_on_retry_failure": False,
        },
        "template": [
            {
                "contents": template_text(agent["secrets"], mount),
                "destination": f"{agent['run']}/{SECRETS_FILE}",
                "perms": "0400",
                "error_on_missing_key": True,
            }
        ],
    }


def template_text(secrets: Mapping[str, Mapping[str, str]], mount: str) -> str:
    """The template of a JSON object with the secrets under their environment names.

    Values pass through a JSON encoder, so nothing in them can be taken for syntax.

    :arg secrets: Environment name to ``{kv, key}`` or ``{static_role, field}``, with ``turns_with``
        for the later rotated of two static roles, and ``format`` for a text with the value in it.
    :raises PhoenixError: for a name or path that the template language could not hold.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, source in secrets.items():
        if "kv" in source:
            paths = [f"{mount}/data/{source['kv']}"]
            field, plain = f".data.{source['key']}", source["key"]
        else:
            roles = [source[key] for key in ("static_role", "turns_with") if key in source]
            paths = [f"database/static-creds/{role}" for role in roles]
            plain = source["field"]
            field = f".{plain}"
        form = source.get("format", "")
        words = all(_FIELD.fullmatch(word) for word in (plain, name))
        if not (words and all(map(_PATH.fullmatch, paths)) and _FORMAT.fullmatch(form)):
            raise PhoenixError(f"an agent cannot refer to secret {name} ({plain} in {paths[0]})")
        value = f"$from{field}"
        if form:
            value = f'printf "{form}" {value}'
        groups.setdefault(tuple(paths), []).append(f'"{name}": {{{{ {value} | toUnescapedJSON }}}}')
    lines = ["{"]
    for number, (paths_, values) in enumerate(groups.items()):
        end = "" if number == len(groups) - 1 else ","
        lines += [*_source(paths_), ",\n".join(values) + end, "{{- end }}" * len(paths_)]
    lines.append("}")
    return "\n".join(lines) + "\n"


def _source(paths: tuple[str, ...]) -> list[str]:
    """``$from`` is the secret at a path, or of two static roles the one that was rotated last.

    By the time of the rotation, since how long it is good was true when it was read.
    """
    if len(paths) == 1:
        return [f'{{{{- with $s := secret "{paths[0]}" }}}}{{{{ $from := $s.Data }}}}']
    first, second = (
        f'(sprig_mustToDate "{_GO_TIME}" ${name}.Data.last_vault_rotation)' for name in "ab"
    )
    return [
        f'{{{{- with $a := secret "{paths[0]}" }}}}{{{{ with $b := secret "{paths[1]}" }}}}',
        "{{- $from := $a.Data }}",
        f"{{{{- if {second}.After {first} }}}}{{{{ $from = $b.Data }}}}{{{{ end }}}}",
    ]


def _fact(agent: Mapping[str, Any], agents_root: str, run: str) -> dict[str, Any]:
    name = agent["service"]
    return {
        "service": name,
        "uid": agent["uid"],
        "gid": agent["gid"],
        "approle": agent["approle"],
        "unit": f"tamshai-agent@{name}.service",
        "config": f"{agents_root}/{name}/agent.json",
        "secrets_file": f"{agent['run']}/{SECRETS_FILE}",
        "wrap_file": f"{run}/{name}/wrap",
        "state_file": f"{run}/{name}.json",
        "keys": sorted(agent["secrets"]),
    }


def _settings(
    model: Mapping[str, Any],
    service: Mapping[str, Any],
    fact: Mapping[str, Any],
    vault: Mapping[str, Any],
    options: Options,
) -> dict[str, Any]:
    """What ``tamshai-wrap`` and ``tamshai-reload`` read. Public."""
    return {
        "service": service["name"],
        "project": model["project"],
        "reload": service["reload"],
        "reload_signal": service["reload_signal"],
        **_entrance(model, vault),
        "wrap_ttl": options.wrap_ttl,
        "wait": options.wait,
        **{k: fact[k] for k in ("uid", "gid", "approle", "wrap_file", "state_file")},
    }


def _entrance(model: Mapping[str, Any], vault: Mapping[str, Any]) -> dict[str, str]:
    """How the host's programs reach Vault, and as whom."""
    host = f"{model['root']}/certs/host/current"
    return {
        "url": f"https://127.0.0.1:{vault['port']}",
        "ca": f"{host}/ca.crt",
        "cert": f"{host}/tls.crt",
        "key": f"{host}/tls.key",
        "auth_role": "host",
    }


def _overdue(
    model: Mapping[str, Any],
    facts: list[dict[str, Any]],
    vault: Mapping[str, Any],
    options: Options,
) -> dict[str, Any]:
    """What ``tamshai-overdue`` reads. Public."""
    return {
        **_entrance(model, vault),
        "limit": options.credential_limit,
        "wait": options.wait,
        "database_mounts": ["database"],
        "passwords": [row["static_role"] for row in model["logins"]],
        "certs": f"{model['root']}/certs",
        "agents": [
            {name: fact[name] for name in ("service", "unit", "wrap_file", "state_file")}
            for fact in facts
        ],
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _directory(
    path: str, owner: Mapping[str, Any] | None = None, mode: str = "0755"
) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": path, "mode": mode}
    if owner is not None:
        entry |= {"owner": str(owner["uid"]), "group": str(owner["gid"])}
    return entry


def _file(path: str, content: str) -> dict[str, Any]:
    return {"path": path, "content": content, "mode": "0644"}
