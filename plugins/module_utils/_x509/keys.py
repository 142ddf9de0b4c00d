# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private keys: made, stored, compared; and PEM files, which are where all of it is kept."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    Cipher,
    UnsupportedAlgorithm,
    algorithms,
    ec,
    modes,
    rsa,
    serialization,
    x509,
)

__all__ = [
    "certificate_pem",
    "encrypt_pem",
    "fingerprint",
    "key_pem",
    "key_type",
    "load_certificate",
    "load_certificates",
    "load_key",
    "make_key",
    "pem_blocks",
    "same_key",
]

_BLOCK = re.compile(
    rb"-----BEGIN (?P<kind>[A-Z0-9 ]+)-----\s.*?\s-----END (?P=kind)-----[ \t]*\r?\n?", re.DOTALL
)

# RFC 7914 parameters: 16 MiB, which every OpenSSL opens within its default limit of 32 MiB, and
# five passes of it, which OWASP gives as an equal of one pass over 128 MiB.
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 5


def make_key(kind: str) -> Any:
    """A new private key of one of the key types of a declaration."""
    if kind == "ecdsa-p256":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "ecdsa-p384":
        return ec.generate_private_key(ec.SECP384R1())
    if kind in ("rsa-3072", "rsa-4096"):
        return rsa.generate_private_key(public_exponent=65537, key_size=int(kind[4:]))
    raise PhoenixError(f"no such key type: {kind!r}")


def key_type(key: Any) -> str:
    """The type of a private or public key, in the words of a declaration.

    An unsupported one is named too (``ecdsa-secp521r1``, ``rsa-1024``), so that it can be refused.
    """
    curve = getattr(key, "curve", None)
    if curve is not None:
        return {"secp256r1": "ecdsa-p256", "secp384r1": "ecdsa-p384"}.get(
            curve.name, f"ecdsa-{curve.name}"
        )
    if isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return f"rsa-{key.key_size}"
    return type(key).__name__.strip("_")


def same_key(one: Any, other: Any) -> bool:
    """Whether two public keys are one and the same."""
    return _public_der(one) == _public_der(other)


def fingerprint(key: Any) -> str:
    """SHA-256 of a public key (its SubjectPublicKeyInfo), 64 hexadecimal digits."""
    return hashlib.sha256(_public_der(key)).hexdigest()


def _public_der(key: Any) -> bytes:
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_bytes(serialization.Encoding.DER, kind))


def key_pem(key: Any) -> bytes:
    """The key in clear: for files in memory that only its owner may read."""
    clear = serialization.NoEncryption()
    return bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, clear)
    )


def encrypt_pem(key: Any, passphrase: bytes) -> bytes:
    """The key as encrypted PKCS #8 (RFC 5958) under scrypt (RFC 7914) and AES-256-CBC.

    The library's own encryption stretches the passphrase by 2,048 rounds of PBKDF2, too few for
    one that a person has chosen. Any OpenSSL from 1.1 opens the result.
    """
    clear = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    salt, vector = os.urandom(16), os.urandom(16)
    secret = hashlib.scrypt(
        passphrase,
        salt=salt,
        n=_SCRYPT_N,
        r=_SCRYPT_R,
        p=_SCRYPT_P,
        dklen=32,
        maxmem=64 * 1024 * 1024,
    )
    fill = 16 - len(clear) % 16
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    sealed = encryptor.update(clear + bytes([fill]) * fill) + encryptor.finalize()
    stretch = _sequence(
        _oid("1.3.6.1.4.1.11591.4.11"),  # id-scrypt
        _sequence(
            _tlv(0x04, salt),
            *(_integer(number) for number in (_SCRYPT_N, _SCRYPT_R, _SCRYPT_P, 32)),
        ),
    )
    cipher = _sequence(_oid("2.16.840.1.101.3.4.1.42"), _tlv(0x04, vector))  # aes256-CBC-PAD
    scheme = _sequence(_oid("1.2.840.113549.1.5.13"), _sequence(stretch, cipher))  # id-PBES2
    text = base64.encodebytes(_sequence(scheme, _tlv(0x04, sealed))).replace(b"\n", b"")
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return b"\n".join(
        [
            b"-----BEGIN ENCRYPTED PRIVATE KEY-----",
            *lines,
            b"-----END ENCRYPTED PRIVATE KEY-----\n",
        ]
    )


def load_key(pem: bytes, what: str, passphrase: bytes | None = None) -> Any:
    """The private key in a PEM text.

    :arg what: The file or object, for the message.
    :raises PhoenixError: tells a wrong passphrase from text that is no key.
    """
    blocks = [block for kind, block in pem_blocks(pem) if kind.endswith("PRIVATE KEY")]
    if len(blocks) != 1:
        raise PhoenixError(f"{what} holds {len(blocks)} private keys, expected one")
    encrypted = b"ENCRYPTED" in blocks[0]
    if encrypted and not passphrase:
        raise PhoenixError(f"{what} is encrypted, and no passphrase was given")
    if not encrypted and passphrase is not None:
        raise PhoenixError(
            f"{what} is not encrypted",
            hint="A key of an authority never lies in clear; restore the encrypted one.",
        )
    try:
        return serialization.load_pem_private_key(blocks[0], passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise PhoenixError(
                f"the passphrase does not open {what}",
                hint="It is the one that the file was made with; without it the key is lost.",
            ) from None
        raise PhoenixError(f"{what} is not a readable private key ({type(error).__name__})") from (
            None
        )


def certificate_pem(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def load_certificates(pem: bytes, what: str) -> list[Any]:
    """All certificates in a PEM text, in order.

    :raises PhoenixError: when there is none, or one that cannot be read.
    """
    blocks = [block for kind, block in pem_blocks(pem) if kind == "CERTIFICATE"]
    if not blocks:
        raise PhoenixError(f"{what} holds no certificate")
    try:
        return [x509.load_pem_x509_certificate(block) for block in blocks]
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise PhoenixError(
            f"{what} holds a certificate that cannot be read ({type(error).__name__})"
        ) from None


def load_certificate(pem: bytes, what: str) -> Any:
    """The one certificate in a PEM text."""
    found = load_certificates(pem, what)
    if len(found) != 1:
        raise PhoenixError(f"{what} holds {len(found)} certificates, expected one")
    return found[0]


def pem_blocks(data: bytes) -> list[tuple[str, bytes]]:
    """The blocks of a PEM text with their labels; what stands between them is ignored."""
    return [
        (match["kind"].decode("ascii"), match[0].rstrip() + b"\n")
        for match in _BLOCK.finditer(data)
    ]


# The little of DER (X.690) that encrypt_pem needs.


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 128 | len(length)]) + length + content


def _sequence(*parts: bytes) -> bytes:
    return _tlv(0x30, b"".join(parts))


def _integer(value: int) -> bytes:
    return _tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _oid(text: str) -> bytes:
    first, second, *rest = (int(part) for part in text.split("."))
    encoded = b""
    for number in (first * 40 + second, *rest):
        group = bytes([number & 127])
        while number := number >> 7:
            group = bytes([128 | number & 127]) + group
        encoded += group
    return _tlv(0x06, encoded)
