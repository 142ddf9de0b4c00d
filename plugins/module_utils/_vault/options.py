# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which server to talk to, and as whom: the options that doc fragment ``vault`` documents."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import env_fallback

from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Connection", "connection_from", "connection_spec", "unheard"]

AUTH_METHODS = ("token", "cert", "approle", "none")
CA_VARIABLES = ("BAO_CACERT", "BAO_CAPATH", "VAULT_CACERT", "VAULT_CAPATH")
TOKEN_VARIABLES = ("BAO_TOKEN", "VAULT_TOKEN")


@dataclass(frozen=True)
class Connection:
    """A server and an identity. Its ``repr`` shows no secret."""

    url: str
    ca_cert: str | None = None
    ca_cert_content: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    client_cert_content: str | None = field(default=None, repr=False)
    client_key_content: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    namespace: str | None = None
    timeout: float = 30.0
    retries: int = 5
    wait: float = 0.0
    auth_method: str = "token"
    auth_mount: str | None = None
    auth_role: str | None = None
    auth_role_id: str | None = field(default=None, repr=False)
    auth_secret_id: str | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    root_shares: tuple[str, ...] = field(default=(), repr=False)


def _env(*names: str) -> dict[str, Any]:
    return {"fallback": (env_fallback, list(names))}


def _env_seconds(*names: str) -> dict[str, Any]:
    """Of a time limit, which the command-line client takes with a unit as well."""

    def fallback(*given: str) -> Any:
        text = env_fallback(*given)
        try:
            return seconds(text)
        except PhoenixError:
            return text  # which the option's type refuses, in Ansible's words

    return {"fallback": (fallback, list(names))}


def connection_spec(**overrides: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The argument spec. A module adds its own options to it.

    :arg overrides: Replaces single keys of an option: ``auth_method={"default": "cert"}``.
    """
    spec: dict[str, dict[str, Any]] = {
        "url": {"type": "str", "required": True, **_env("BAO_ADDR", "VAULT_ADDR")},
        "ca_cert": {"type": "path", **_env(*CA_VARIABLES)},
        "ca_cert_content": {"type": "str"},
        "client_cert": {"type": "path", **_env("BAO_CLIENT_CERT", "VAULT_CLIENT_CERT")},
        "client_key": {"type": "path", **_env("BAO_CLIENT_KEY", "VAULT_CLIENT_KEY")},
        # May hold the key as well, as a file may.
        "client_cert_content": {"type": "str", "no_log": True},
        "client_key_content": {"type": "str", "no_log": True},
        "tls_server_name": {
            "type": "str",
            **_env("BAO_TLS_SERVER_NAME", "VAULT_TLS_SERVER_NAME"),
        },
        "namespace": {"type": "str", **_env("BAO_NAMESPACE", "VAULT_NAMESPACE")},
        "timeout": {
            "type": "int",
            "default": 30,
            **_env_seconds("BAO_CLIENT_TIMEOUT", "VAULT_CLIENT_TIMEOUT"),
        },
        "retries": {"type": "int", "default": 5, **_env("BAO_MAX_RETRIES", "VAULT_MAX_RETRIES")},
        "wait": {"type": "int", "default": 0},
        "auth_method": {"type": "str", "choices": list(AUTH_METHODS), "default": "token"},
        "auth_mount": {"type": "str"},
        "auth_role": {"type": "str"},
        "auth_role_id": {"type": "str"},
        "auth_secret_id": {"type": "str", "no_log": True},
        # Its variables are read below: a fallback would go before a 'token_file'.
        "token": {"type": "str", "no_log": True},
        "token_file": {"type": "path"},
        "root_shares": {"type": "list", "elements": "str", "no_log": True},
    }
    for name, change in overrides.items():
        spec[name] = {**spec[name], **change}
    return spec


def connection_from(params: Mapping[str, Any]) -> Connection:
    """Read the options of a module.

    :raises PhoenixError: naming all that is wrong with them, or if the token file cannot be read.
    """
    mistakes = list(_mistakes(params))
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    text: dict[str, Any] = {
        name: params.get(name)
        for name in (
            "ca_cert",
            "ca_cert_content",
            "client_cert",
            "client_key",
            "client_cert_content",
            "client_key_content",
            "tls_server_name",
            "namespace",
            "auth_method",
            "auth_mount",
            "auth_role",
            "auth_role_id",
            "auth_secret_id",
        )
    }
    return Connection(
        url=str(params["url"]).rstrip("/"),
        timeout=float(params["timeout"]),
        retries=int(params["retries"]),
        wait=float(params["wait"]),
        token=_token(params) if params.get("auth_method") == "token" else "",
        root_shares=tuple(params.get("root_shares") or ()),
        **text,
    )


def _mistakes(params: Mapping[str, Any]) -> Iterator[str]:
    given = {name: value for name, value in params.items() if value}
    for key in ("client_key", "client_key_content"):
        cert = key.replace("key", "cert")
        if key in given and cert not in given:
            yield f"'{key}' is of no use without '{cert}'"
    method = str(params.get("auth_method"))
    if method == "token":
        unused = [name for name in ("auth_role_id", "auth_secret_id") if name in given]
        yield from (f"'{name}' is of no use with auth_method 'token'" for name in unused)
    if method == "approle" and "auth_role_id" not in given:
        yield "auth_method 'approle' needs 'auth_role_id'"
    if method == "token" and {"token", "token_file"} <= set(given):
        yield "give either 'token' or 'token_file'"
    for name in ("token", "namespace"):
        if any(ord(letter) < 32 for letter in str(given.get(name, "")).strip()):
            yield f"'{name}' holds a line break or another control character"
    least = {"timeout": 1, "retries": 0, "wait": 0, "concurrency": 1}
    yield from (
        f"'{name}' is {params[name]}, and at least {bound}"
        for name, bound in least.items()
        if params.get(name) is not None and params[name] < bound
    )


def unheard(params: Mapping[str, Any]) -> Iterator[str]:
    """What was said and is not heard, in words for a warning."""
    for name in ("BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"):
        if os.environ.get(name, "").lower() not in ("", "0", "f", "false"):
            yield f"{name} is set, and not heard: the server's certificate is always verified"
    method = params.get("auth_method")
    if method in ("cert", "approle"):
        # Not refused: a task may log in by itself where the defaults of its play give a token.
        for name in ("token", "token_file"):
            if params.get(name):
                yield f"'{name}' is given, and not heard: auth_method '{method}' logs in"


def _token(params: Mapping[str, Any]) -> str:
    if params.get("token"):
        return str(params["token"]).strip()
    named = params.get("token_file")
    if not named:
        for name in TOKEN_VARIABLES:
            if os.environ.get(name):
                return os.environ[name].strip()
    # Where the command-line client leaves its token.
    place = (
        Path(named) if named else Path(os.environ.get("HOME") or "~").expanduser() / ".vault-token"
    )
    try:
        token = place.read_text(encoding="ascii").strip()
    except OSError as error:
        if named:
            raise PhoenixError(f"cannot read the token file {place}: {error.strerror}") from None
        return ""
    except ValueError:
        token = ""
    if not token.isprintable() or (named and not token):
        raise PhoenixError(f"the file {place} does not hold a token")
    return token
