# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Seal stanzas, and what is wrong with a declared seal."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.filter.vault_seal_config import vault_seal_config
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.seals import KINDS

TRANSIT = {"address": "https://t:8200", "key_name": "unseal", "mount_path": "transit/"}
SECRET = "belongs into vault_seal_secrets, which is kept out of files"
ELSEWHERE = "is somewhere else"
PLUGIN = {"directory": "/plugins", "command": "kms", "sha256sum": "0" * 64}


def made(seal: str, former: str = "", **more: Any) -> dict[str, Any]:
    declared = {
        "options": {},
        "secrets": {},
        "plugins": {},
        "product": "openbao",
        "egress": True,
        "folder": "/run/tamshai",
        "place": "/run/tamshai/vault",
    }
    return vault_seal_config({"seal": seal, "former": former, **declared, **more})


def test_shamir_has_no_stanza() -> None:
    assert made("shamir") == {"problems": [], "hcl": "", "secrets": []}


def test_the_stanza_of_the_hosts_own_key() -> None:
    assert made("static")["hcl"] == (
        '\nseal "static" {\n'
        '  current_key_id = "1"\n'
        '  current_key = "file:///run/tamshai/seal.key"\n'
        "}"
    )


def test_a_key_that_is_rolled() -> None:
    ids = {"current_key_id": "2", "previous_key_id": "1"}
    hcl = made("static", options={"static": ids})["hcl"]
    assert 'previous_key = "file:///run/tamshai/seal.previous.key"' in hcl
    same = made("static", options={"static": {"previous_key_id": "1"}})
    assert "must be another one than current_key_id" in same["problems"][0]


def test_a_key_may_be_named_by_a_number() -> None:
    hcl = made("static", options={"static": {"current_key_id": 2, "previous_key_id": 1}})["hcl"]
    assert '  current_key_id = "2"' in hcl
    assert '  previous_key_id = "1"' in hcl
    same = made("static", options={"static": {"previous_key_id": 1}})
    assert "must be another one than current_key_id" in same["problems"][0]
    path = made("static", options={"static": {"current_key_id": "../2"}})
    assert "must be letters, digits, dots and dashes" in path["problems"][0]


def test_secrets_are_in_files_and_nowhere_else() -> None:
    secrets = {"token": "s.secret", "tls_client_key": "PEM", "tls_ca_cert": "CA"}
    found = made("transit", options={"transit": TRANSIT}, secrets={"transit": secrets})
    assert "secret" not in found["hcl"]
    assert '  token = "file:///run/tamshai/seal.transit.token"' in found["hcl"]
    assert '  tls_client_key = "/run/tamshai/seal.transit.tls_client_key"' in found["hcl"]
    assert {file["path"]: file["secret_content"] for file in found["secrets"]} == {
        "/run/tamshai/vault/seal.transit.token": "s.secret",
        "/run/tamshai/vault/seal.transit.tls_client_key": "PEM",
        "/run/tamshai/vault/seal.transit.tls_ca_cert": "CA",
    }


@pytest.mark.parametrize(
    ("seal", "former", "stanzas"),
    [
        ("shamir", "shamir", []),
        ("static", "shamir", ["static"]),
        ("shamir", "static", ["static disabled"]),
        ("transit", "static", ["static disabled", "transit"]),
    ],
)
def test_both_seals_while_one_is_left(seal: str, former: str, stanzas: list[str]) -> None:
    transit = {"options": {"transit": TRANSIT}, "secrets": {"transit": {"token": "t"}}}
    blocks = made(seal, former, **transit)["hcl"].split("\n\n")
    found = [
        block.split('"')[1] + (" disabled" if "disabled" in block else "")
        for block in blocks
        if "seal" in block
    ]
    assert found == stanzas


def test_all_mistakes_at_once() -> None:
    found = made(
        "transit",
        options={
            "transit": {"addres": "https://t", "token": "s.secret", "namespace": "a${b}"},
            "awskms": {"kms_key": "x"},
            "statik": {},
        },
        secrets={"transit": {"key_name": "unseal"}, "kmip": "none"},
        egress=False,
    )["problems"]
    assert found == [
        'vault_seal_options.statik: unknown kind of seal (did you mean "static"?)',
        "vault_seal_secrets.kmip: must be a mapping of options to values",
        'vault_seal_options.transit.addres: unknown option (did you mean "address"?)',
        f"vault_seal_options.transit.token: {SECRET}",
        "vault_seal_options.transit.namespace: must not have '${' or control characters in it",
        "vault_seal_secrets.transit.key_name: is no secret and belongs into vault_seal_options",
        'vault_seal_options.awskms.kms_key: unknown option (did you mean "kms_key_id"?)',
        "vault_seal_options.transit.address: is missing",
        "vault_seal_options.transit.mount_path: is missing",
        f"estate_services: the vault needs 'egress: true', since its seal 'transit' {ELSEWHERE}",
    ]
    assert "s.secret" not in "".join(found)


def test_an_unknown_kind() -> None:
    assert made("trasit")["problems"] == [
        "vault_seal: unknown kind 'trasit' (did you mean \"transit\"?)"
    ]


@pytest.mark.parametrize("kind", sorted(k for k in KINDS if "openbao" not in KINDS[k].builtin))
def test_openbao_has_the_kinds_of_clouds_as_plugins(kind: str) -> None:
    given = dict.fromkeys(KINDS[kind].required, "x")
    brought = KINDS[kind].brought
    values: dict[str, Any] = {
        "options": {kind: {k: v for k, v in given.items() if k not in brought}},
        "secrets": {kind: {k: v for k, v in given.items() if k in brought}},
    }
    missing = made(kind, **values)["problems"]
    assert [text.split(":")[0] for text in missing] == [
        f"vault_seal_plugins.{kind}.{option}" for option in ("command", "directory", "sha256sum")
    ]
    hcl = made(kind, plugins={kind: PLUGIN}, **values)["hcl"]
    assert f'plugin_directory = "/plugins"\nplugin "kms" "{kind}" {{' in hcl
    assert f'seal "{kind}" {{' in hcl


def test_what_vault_does_not_have() -> None:
    assert made("static", product="vault")["problems"] == [
        "vault_seal: HashiCorp's Vault has no seal 'static'"
    ]
    options = {"endpoint": "k:5696", "kms_key_id": "1"}
    kmip = made(
        "kmip",
        product="vault",
        options={"kmip": options},
        secrets={"kmip": {"client_cert": "c", "client_key": "k"}},
    )
    assert "Enterprise" in kmip["problems"][0]
