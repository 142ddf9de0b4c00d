# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seal stanzas of the server's configuration, and what is wrong with them.

A server takes any option in such a stanza and says nothing about one that it does not know
(OpenBao 2.7.2, tried). So the names are checked here; they are those of go-kms-wrapping, the
library that OpenBao and Vault share.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import nearest

__all__ = ["KINDS", "SealConfig", "problems", "secret_files", "stanzas"]

SHAMIR = "shamir"
_COMMON = frozenset(
    {
        "health_check_enabled",
        "health_check_interval",
        "health_check_interval_unhealthy",
        "health_check_timeout",
    }
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True)
class Kind:
    """One kind of seal.

    :arg required: Options without which the server does not start.
    :arg public: Options that may be read by anybody.
    :arg secret: Options that hold a secret, and may say C(file://) for it.
    :arg files: Options that name a file; its content is brought like a secret.
    :arg builtin: The servers that have it without a plugin.
    :arg network: Whether it is somewhere else, so that the server has to get out.
    """

    required: frozenset[str]
    public: frozenset[str]
    secret: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    builtin: tuple[str, ...] = ("vault",)
    network: bool = True

    @property
    def brought(self) -> frozenset[str]:
        return self.secret | self.files

    @property
    def known(self) -> frozenset[str]:
        return self.public | self.brought | _COMMON


def _kind(required: str, public: str, secret: str = "", files: str = "", **more: Any) -> Kind:
    sets = {"required": required, "public": public, "secret": secret, "files": files}
    more |= {name: frozenset(text.split()) for name, text in sets.items()}
    return Kind(**more)


KINDS: dict[str, Kind] = {
    # The keys are the role's own.
    "static": _kind("", "current_key_id previous_key_id", builtin=("openbao",), network=False),
    "transit": _kind(
        "address key_name mount_path token",
        "address key_name mount_path namespace disable_renewal key_id_prefix tls_ca_cert"
        " tls_server_name tls_skip_verify",
        secret="token",
        files="tls_ca_cert tls_client_cert tls_client_key",
        builtin=("openbao", "vault"),
    ),
    "kmip": _kind(
        "endpoint kms_key_id client_cert client_key",
        "endpoint kms_key_id server_name timeout encrypt_alg tls12_ciphers",
        files="ca_cert client_cert client_key",
        builtin=("openbao",),
    ),
    "awskms": _kind(
        "kms_key_id",
        "kms_key_id region endpoint role_arn role_session_name shared_creds_profile",
        secret="access_key secret_key session_token",
        files="shared_creds_filename web_identity_token_file",
    ),
    "gcpckms": _kind(
        "project region key_ring crypto_key",
        "project region key_ring crypto_key user_agent",
        files="credentials",
    ),
    "azurekeyvault": _kind(
        "vault_name key_name",
        "vault_name key_name tenant_id client_id environment resource",
        secret="client_secret",
    ),
    "ocikms": _kind(
        "key_id crypto_endpoint management_endpoint",
        "key_id crypto_endpoint management_endpoint auth_type_api_key",
    ),
    "alicloudkms": _kind(
        "kms_key_id", "kms_key_id region domain", secret="access_key secret_key access_secret"
    ),
    "pkcs11": _kind(
        "lib pin key_label",
        "lib slot token_label key_label key_id mechanism rsa_oaep_hash disable_software_encryption",
        secret="pin",
        builtin=(),
        network=False,
    ),
}


@dataclass(frozen=True)
class SealConfig:
    """What the role's variables say about the seal.

    :arg seal: The kind that the server is to have.
    :arg former: The kind that it has still, where it is to change.
    :arg options: By kind the public options.
    :arg secrets: By kind the secret options, and the content of files that options name.
    :arg plugins: By kind the server's plugin for it.
    :arg product: C(openbao) or C(vault).
    :arg egress: Whether the server gets out to other networks.
    :arg folder: Directory in the server's file system where the secrets are, in memory.
    :arg place: The same directory as the host names it.
    """

    seal: str
    former: str
    options: Mapping[str, Any]
    secrets: Mapping[str, Any]
    plugins: Mapping[str, Any]
    product: str
    egress: bool
    folder: str
    place: str

    @property
    def kinds(self) -> list[str]:
        """Kinds with a stanza, the present one first."""
        return [k for k in dict.fromkeys((self.former or self.seal, self.seal)) if k != SHAMIR]


def problems(config: SealConfig) -> Iterator[str]:
    """All that is wrong, as sentences without a secret in them."""
    used = [kind for kind in config.kinds if kind in KINDS]
    for unknown in dict.fromkeys(kind for kind in config.kinds if kind not in KINDS):
        yield f"vault_seal: unknown kind {unknown!r}{nearest(unknown, {SHAMIR, *KINDS})}"
    for name in ("options", "secrets", "plugins"):
        yield from _kinds_of(f"vault_seal_{name}", getattr(config, name))
    for name, kind in KINDS.items():
        options, secrets = _of(config.options, name), _of(config.secrets, name)
        yield from _options(f"vault_seal_options.{name}", options, kind, kind.public | _COMMON)
        yield from _options(f"vault_seal_secrets.{name}", secrets, kind, kind.brought)
        for option in sorted(options.keys() & secrets.keys()):
            yield f"vault_seal_secrets.{name}.{option}: is in vault_seal_options as well"
    for name in used:
        yield from _usable(name, KINDS[name], config)


def _kinds_of(variable: str, given: Any) -> Iterator[str]:
    if not isinstance(given, Mapping):
        yield f"{variable}: must be a mapping of kinds of seal to their options"
        return
    for name, options in given.items():
        if name not in KINDS:
            yield f"{variable}.{name}: unknown kind of seal{nearest(name, KINDS)}"
        elif not isinstance(options, Mapping):
            yield f"{variable}.{name}: must be a mapping of options to values"


def _options(
    where: str, given: Mapping[str, Any], kind: Kind, allowed: frozenset[str]
) -> Iterator[str]:
    for option, value in given.items():
        if option not in kind.known:
            yield f"{where}.{option}: unknown option{nearest(option, kind.known)}"
        elif option not in allowed and option in kind.brought:
            yield f"{where}.{option}: belongs into vault_seal_secrets, which is kept out of files"
        elif option not in allowed:
            yield f"{where}.{option}: is no secret and belongs into vault_seal_options"
        elif isinstance(value, (Mapping, list)) or value is None or not str(value).strip():
            yield f"{where}.{option}: must have a value"
        elif allowed == kind.brought:
            continue
        elif "${" in str(value) or not str(value).isprintable():
            yield f"{where}.{option}: must not have '${{' or control characters in it"
        elif where.endswith(".static") and "key_id" in option and not _ID.fullmatch(str(value)):
            yield f"{where}.{option}: must be letters, digits, dots and dashes"


def _usable(name: str, kind: Kind, config: SealConfig) -> Iterator[str]:
    options = {**_of(config.options, name), **_of(config.secrets, name)}
    for option in sorted(kind.required - options.keys()):
        place = "secrets" if option in kind.brought else "options"
        yield f"vault_seal_{place}.{name}.{option}: is missing"
    if name == "static" and str(options.get("previous_key_id")) == _current(options):
        yield "vault_seal_options.static.previous_key_id: must be another one than current_key_id"
    plugin = _of(config.plugins, name)
    if name == "static" and config.product not in kind.builtin:
        yield "vault_seal: HashiCorp's Vault has no seal 'static'"
    elif config.product not in kind.builtin:
        if config.product == "vault":
            yield f"vault_seal: HashiCorp's Vault has {name!r} in its Enterprise edition alone"
        else:
            for option in ("command", "directory", "sha256sum"):
                if not plugin.get(option):
                    yield (
                        f"vault_seal_plugins.{name}.{option}: is missing; OpenBao has this kind of "
                        "seal as a plugin only"
                    )
    if kind.network and not config.egress:
        yield (
            "estate_services: the vault needs 'egress: true', since its seal "
            f"{name!r} is somewhere else"
        )


def stanzas(config: SealConfig) -> str:
    """The part of the server's configuration that is about its seal, as HCL.

    The present seal is marked as disabled where it is to be left; the server needs both then.
    """
    lines: list[str] = []
    for name in config.kinds:
        plugin = dict(_of(config.plugins, name))
        if plugin and config.product == "openbao":
            directory = plugin.pop("directory", "")
            lines += ["", f"plugin_directory = {_quoted(directory)}"]
            lines += [f'plugin "kms" {_quoted(name)} {{', *_body(plugin), "}"]
        body: dict[str, Any] = {"disabled": "true"} if name != config.seal else {}
        body |= _static(config) if name == "static" else _of(config.options, name)
        for option in sorted(_of(config.secrets, name)):
            path = f"{config.folder}/{_file(name, option)}"
            body[option] = path if option in KINDS[name].files else f"file://{path}"
        lines += ["", f"seal {_quoted(name)} {{", *_body(body), "}"]
    return "\n".join(lines)


def secret_files(config: SealConfig) -> list[dict[str, str]]:
    """The files with secrets that the stanzas name, as module files_bulk takes them."""
    return [
        {"path": f"{config.place}/{_file(name, option)}", "secret_content": str(value)}
        for name in config.kinds
        for option, value in sorted(_of(config.secrets, name).items())
    ]


def _static(config: SealConfig) -> dict[str, Any]:
    options = {**_of(config.options, "static")}
    body = {
        **options,
        "current_key_id": _current(options),
        "current_key": f"file://{config.folder}/seal.key",
    }
    if options.get("previous_key_id"):
        body["previous_key"] = f"file://{config.folder}/seal.previous.key"
    return body


def _current(options: Mapping[str, Any]) -> str:
    return str(options.get("current_key_id") or "1")


def _file(kind: str, option: str) -> str:
    return f"seal.{kind}.{option}"


def _of(given: Any, name: str) -> Mapping[str, Any]:
    found = given.get(name) if isinstance(given, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _body(options: Mapping[str, Any]) -> list[str]:
    return [f"  {name} = {_quoted(value)}" for name, value in options.items()]


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return f'"{str(value).lower()}"'
    if isinstance(value, list):
        return json.dumps([str(item) for item in value])
    return json.dumps(str(value), ensure_ascii=False)
