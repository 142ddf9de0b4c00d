# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which server to talk to, and as whom: the options that doc fragment ``vault`` documents."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import env_fallback

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["Connection", "connection_from", "connection_spec", "unheard"]

AUTH_METHODS = ("token", "cert", "approle", "none")


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


def connection_spec(**overrides: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The argument spec. A module adds its own options to it.

    :arg overrides: Replaces single keys of an option: ``auth_method={"default": "cert"}``.
    """
    spec: dict[str, dict[str, Any]] = {
        "url": {"type": "str", "required": True, **_env("BAO_ADDR", "VAULT_ADDR")},
        "ca_cert": {"type": "path", **_env("BAO_CACERT", "VAULT_CACERT", "VAULT_CAPATH")},
        "ca_cert_content": {"type": "str"},
        "client_cert": {"type": "path", **_env("BAO_CLIENT_CERT", "VAULT_CLIENT_CERT")},
        "client_key": {"type": "path", **_env("BAO_CLIENT_KEY", "VAULT_CLIENT_KEY")},
        "client_cert_content": {"type": "str"},
        "client_key_content": {"type": "str", "no_log": True},
        "tls_server_name": {
            "type": "str",
            **_env("BAO_TLS_SERVER_NAME", "VAULT_TLS_SERVER_NAME"),
        },
        "namespace": {"type": "str", **_env("BAO_NAMESPACE", "VAULT_NAMESPACE")},
        "timeout": {
            "type": "int",
            "default": 30,
            **_env("BAO_CLIENT_TIMEOUT", "VAULT_CLIENT_TIMEOUT"),
        },
        "retries": {"type": "int", "default": 5, **_env("BAO_MAX_RETRIES", "VAULT_MAX_RETRIES")},
        "wait": {"type": "int", "default": 0},
        "auth_method": {"type": "str", "choices": list(AUTH_METHODS), "default": "token"},
        "auth_mount": {"type": "str"},
        "auth_role": {"type": "str"},
        "auth_role_id": {"type": "str"},
        "auth_secret_id": {"type": "str", "no_log": True},
        "token": {"type": "str", "no_log": True, **_env("BAO_TOKEN", "VAULT_TOKEN")},
        "token_file": {"type": "path"},
        "root_shares": {"type": "list", "elements": "str", "no_log": True},
    }
    for name, change in overrides.items():
        spec[name] = {**spec[name], **change}
    return spec


def connection_from(params: Mapping[str, Any]) -> Connection:
    """Read the options of a module.

    :raises PhoenixError: if they contradict each other or the token file cannot be read.
    """
    for cert, key in (
        ("client_cert", "client_key"),
        ("client_cert_content", "client_key_content"),
    ):
        if params.get(key) and not params.get(cert):
            raise PhoenixError(f"'{key}' is of no use without '{cert}'")
    if params.get("auth_method") == "approle" and not params.get("auth_role_id"):
        raise PhoenixError("auth_method 'approle' needs 'auth_role_id'")
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


def unheard() -> list[str]:
    """Variables that ask other clients not to verify the server's certificate."""
    names = ("BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY")
    return [n for n in names if os.environ.get(n, "").lower() not in ("", "0", "f", "false")]


def _token(params: Mapping[str, Any]) -> str:
    if params.get("token"):
        return str(params["token"]).strip()
    named = params.get("token_file")
    # Where the command-line client leaves its token.
    place = (
        Path(named) if named else Path(os.environ.get("HOME") or "~").expanduser() / ".vault-token"
    )
    try:
        return place.read_text(encoding="utf-8").strip()
    except OSError as error:
        if named:
            raise PhoenixError(f"cannot read the token file {place}: {error.strerror}") from None
        return ""
