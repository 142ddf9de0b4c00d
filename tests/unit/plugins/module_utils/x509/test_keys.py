# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys: their encryption on disk, and what is said about files that are no keys."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import keys

from .conftest import PASSPHRASE


@pytest.mark.parametrize("kind", ["ecdsa-p256", "ecdsa-p384", "rsa-3072"])
def test_a_key_is_of_its_type_and_comes_back(kind: str) -> None:
    key = keys.make_key(kind)
    assert keys.key_type(key) == keys.key_type(key.public_key()) == kind
    again = keys.load_key(keys.encrypt_pem(key, PASSPHRASE), "file", PASSPHRASE)
    assert keys.same_key(key.public_key(), again.public_key())
    clear = keys.load_key(keys.key_pem(key), "file")
    assert keys.same_key(key.public_key(), clear.public_key())


def test_unsupported_types_are_named() -> None:
    with pytest.raises(PhoenixError, match="dsa-7"):
        keys.make_key("dsa-7")


def test_openssl_opens_the_encrypted_key_at_full_strength(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "_SCRYPT_N", 2**14)
    monkeypatch.setattr(keys, "_SCRYPT_P", 5)
    openssl = shutil.which("openssl")
    assert openssl, "install openssl: apt-get install openssl"
    path = tmp_path / "root.key"
    path.write_bytes(keys.encrypt_pem(keys.make_key("ecdsa-p384"), PASSPHRASE))
    secret = tmp_path / "passphrase"
    secret.write_bytes(PASSPHRASE + b"\n")
    opened = subprocess.run(
        [openssl, "pkey", "-in", path, "-passin", f"file:{secret}", "-noout", "-text_pub"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "P-384" in opened.stdout
    shown = subprocess.run(
        [openssl, "asn1parse", "-in", path], check=True, capture_output=True, text=True
    ).stdout
    assert "OBJECT            :scrypt" in shown or ":id-scrypt" in shown
    assert "INTEGER           :4000" in shown
    assert ":aes-256-cbc" in shown


def test_each_encryption_differs() -> None:
    key = keys.make_key("ecdsa-p256")
    assert keys.encrypt_pem(key, PASSPHRASE) != keys.encrypt_pem(key, PASSPHRASE)


def test_wrong_passphrase_and_no_key_are_told_apart() -> None:
    sealed = keys.encrypt_pem(keys.make_key("ecdsa-p256"), PASSPHRASE)
    with pytest.raises(PhoenixError, match=r"the passphrase does not open root.key"):
        keys.load_key(sealed, "root.key", PASSPHRASE + b" ")
    with pytest.raises(PhoenixError, match="no passphrase was given"):
        keys.load_key(sealed, "root.key")
    with pytest.raises(PhoenixError, match="holds 0 private keys"):
        keys.load_key(b"", "root.key", PASSPHRASE)
    with pytest.raises(PhoenixError, match="is not encrypted"):
        keys.load_key(keys.key_pem(keys.make_key("ecdsa-p256")), "root.key", PASSPHRASE)


def test_no_message_quotes_the_passphrase() -> None:
    sealed = keys.encrypt_pem(keys.make_key("ecdsa-p256"), PASSPHRASE)
    with pytest.raises(PhoenixError) as caught:
        keys.load_key(sealed, "root.key", b"canary-passphrase-4711")
    assert "canary" not in f"{caught.value!r} {caught.value.message} {caught.value.hint}"
    assert caught.value.__cause__ is None


@given(st.binary(max_size=200))
def test_garbage_is_refused_with_our_error(data: bytes) -> None:
    framed = b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----\n"
    private = framed.replace(b"CERTIFICATE", b"PRIVATE KEY")
    for text in (data, framed):
        with pytest.raises(PhoenixError):
            keys.load_certificates(text, "file")
    for text in (data, private):
        with pytest.raises(PhoenixError):
            keys.load_key(text, "file")


@given(st.lists(st.sampled_from(["CERTIFICATE", "PRIVATE KEY", "X"]), max_size=5), st.text())
def test_blocks_come_in_order_whatever_is_between(kinds: list[str], noise: str) -> None:
    noise = noise.replace("-", "")
    text = noise.join(f"\n-----BEGIN {k}-----\nAAAA\n-----END {k}-----\n" for k in kinds)
    assert [kind for kind, _unused in keys.pem_blocks(text.encode())] == kinds
