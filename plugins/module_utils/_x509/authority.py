# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An authority on the control node: its keys, its certificates and the list of what it issued.

Layout of ``<state_dir>/ca``, mode 0700, everything in it 0600:

=================  =============================================================================
``root.key``       private key of the root, encrypted PKCS #8, and its certificate, in one file
``root.crt``       the certificate again, for those who only need that
``issuing.key``    the same for the issuing authority
``issuing.crt``
``crl.pem``        what the issuing authorities, this one and those before it, have revoked
``root-crl.pem``   which issuing authorities the root has revoked
``index.json``     every certificate issued: serial, names, from, to, revoked
=================  =============================================================================

Key and certificate share a file so that both are replaced by one rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    hashes,
    not_after,
    not_before,
    utc,
    x509,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.issue import (
    describe,
    serial_text,
)

__all__ = ["Authority", "Index", "moment"]

_SCHEMA = 1
_KEEP_EXPIRED = timedelta(days=365)
# A whole serial number, of which some print the zeros at the beginning and some do not.
_SERIAL = re.compile("[0-9A-Fa-f]{30,40}")


def moment(value: datetime) -> str:
    """A time as RFC 3339 in UTC, seconds precision."""
    return utc(value).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse_moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


@dataclass
class Index:
    """The certificates that an authority has issued, expired ones for a year longer."""

    certificates: list[dict[str, Any]] = field(default_factory=list)
    crl_number: int = 0

    @classmethod
    def parse(cls, data: bytes | None, what: str) -> Index:
        """:raises PhoenixError: a list that cannot be read is never replaced by an empty one."""
        if data is None:
            return cls()
        try:
            document = json.loads(data)
            if document["schema"] != _SCHEMA:
                raise PhoenixError(f"{what} is of a newer kind (schema {document['schema']})")
            number = document["crl_number"]
            records = document["certificates"]
            if not isinstance(number, int) or not all(
                isinstance(record["serial"], str)
                and isinstance(record["name"], str)
                and isinstance(record["issuer"], str)
                and _parse_moment(record["not_after"])
                and (record["revoked"] is None or _parse_moment(record["revoked"]))
                for record in records
            ):
                raise ValueError(what)
        except (ValueError, KeyError, TypeError):
            raise PhoenixError(
                f"{what} cannot be read",
                hint="It is the list of issued certificates; restore it from a copy.",
            ) from None
        return cls(records, number)

    def dump(self) -> bytes:
        document = {
            "schema": _SCHEMA,
            "crl_number": self.crl_number,
            "certificates": self.certificates,
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode("utf-8")

    def record(
        self,
        name: str,
        certificate: Any,
        issuer: Any,
        now: datetime,
        *,
        host: str = "",
        csr: bool = False,
    ) -> None:
        """Note a certificate.

        :arg csr: Whether it was issued for a request, so that its key is not known here.
        """
        self.certificates.append(
            {
                "host": host,
                "csr": csr,
                "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
                "spki": keys.fingerprint(certificate.public_key()),
                "serial": serial_text(certificate.serial_number),
                "name": name,
                "issuer": serial_text(issuer.serial_number),
                "not_before": moment(not_before(certificate)),
                "not_after": moment(not_after(certificate)),
                "issued": moment(now),
                "revoked": None,
                **describe(certificate),
            }
        )

    def forget_expired(self, now: datetime) -> None:
        self.certificates = [
            record
            for record in self.certificates
            if _parse_moment(record["not_after"]) > now - _KEEP_EXPIRED
        ]

    def adopt(self, wanted: list[str], issuer: Any, now: datetime) -> None:
        """Note serial numbers to be revoked that are not known here: this may be an older copy.

        As long as their issuer is good, since nobody here knows how long they are.
        """
        known = {record["serial"] for record in self.certificates}
        for text in wanted:
            serial = text.replace(":", "").lower().zfill(40)
            whole = _SERIAL.fullmatch(text.replace(":", "")) and int(serial, 16).bit_length() < 160
            if whole and serial not in known:
                self.certificates.append(
                    {
                        "host": "",
                        "csr": False,
                        "fingerprint": "",
                        "spki": "",
                        "serial": serial,
                        "name": "unknown",
                        "issuer": serial_text(issuer.serial_number),
                        "not_before": moment(now),
                        "not_after": moment(not_after(issuer)),
                        "issued": moment(now),
                        "revoked": None,
                    }
                )

    def to_revoke(self, wanted: list[str]) -> list[dict[str, Any]]:
        """The records that serials or names mean and that are not revoked yet.

        :raises PhoenixError: for one that the authority never issued.
        """
        found: list[dict[str, Any]] = []
        for text in wanted:
            serial = text.replace(":", "").lower().zfill(40)
            matching = [r for r in self.certificates if text == r["name"] or serial == r["serial"]]
            if not matching:
                raise PhoenixError(f"no certificate of that name or serial was issued: {text}")
            found += [r for r in matching if r["revoked"] is None and r not in found]
        return found

    def revoked(self, which: str, root: str, now: datetime) -> list[tuple[int, datetime]]:
        """What belongs on the revocation list of ``root`` or ``issuing``: revoked, not expired.

        An issuing authority that was replaced signs no list any more, and what it issued is good
        for weeks. So the present one lists that too: serial numbers are random (159 bits), those of
        two authorities are never the same, and the Vault compares nothing but the serial number.

        :arg root: The root's serial number. What it did not issue, an issuing authority did.
        """
        return [
            (int(record["serial"], 16), _parse_moment(record["revoked"]))
            for record in self.certificates
            if record["revoked"] is not None
            and (record["issuer"] == root) == (which == "root")
            and _parse_moment(record["not_after"]) > now
        ]


@dataclass(frozen=True)
class Authority:
    """The files of an authority.

    :arg directory: ``<state_dir>/ca``.
    :arg passphrase: Opens its keys. Empty: nothing can be signed, the public part can be read.
    """

    directory: Path
    passphrase: bytes = field(default=b"", repr=False)

    def certificate(self, which: str) -> Any | None:
        """The certificate of ``root`` or ``issuing``; ``None`` where there is none yet.

        :raises PhoenixError: when there is a file and it cannot be read.
        """
        path = self.directory / f"{which}.key"
        data = read_bytes_or_none(path)
        if data is None:
            return None
        return keys.load_certificate(data, str(path))

    def signer(self, which: str) -> tuple[Any, Any]:
        """Certificate and private key of ``root`` or ``issuing``.

        :raises PhoenixError: missing, wrong passphrase, key and certificate of different pairs.
        """
        path = self.directory / f"{which}.key"
        data = read_bytes_or_none(path)
        if data is None:
            raise PhoenixError(
                f"there is no {which} authority in {self.directory}",
                hint="Create it first: pki_cert with state authority.",
            )
        certificate = keys.load_certificate(data, str(path))
        key = keys.load_key(data, str(path), self.passphrase)
        if not keys.same_key(key.public_key(), certificate.public_key()):
            raise PhoenixError(f"{path}: the private key does not match the certificate")
        return certificate, key

    def save(self, which: str, certificate: Any, key: Any) -> None:
        public = keys.certificate_pem(certificate)
        sealed = keys.encrypt_pem(key, self.passphrase)
        write_atomic(self.directory / f"{which}.key", sealed + public, mode=0o600)
        self.publish(which)

    def published(self, which: str) -> bool:
        """Whether ``<which>.crt`` is the certificate that ``<which>.key`` holds."""
        certificate = self.certificate(which)
        return certificate is None or read_bytes_or_none(
            self.directory / f"{which}.crt"
        ) == keys.certificate_pem(certificate)

    def publish(self, which: str) -> None:
        """Write ``<which>.crt`` once more."""
        certificate = self.certificate(which)
        if certificate is not None:
            path = self.directory / f"{which}.crt"
            write_atomic(path, keys.certificate_pem(certificate), mode=0o600)

    def index(self) -> Index:
        path = self.directory / "index.json"
        return Index.parse(read_bytes_or_none(path), str(path))

    def save_index(self, index: Index) -> None:
        write_atomic(self.directory / "index.json", index.dump(), mode=0o600)

    def revocation_list(self, name: str) -> Any | None:
        """A revocation list, ``None`` where it is missing or cannot be read: it can be remade."""
        data = read_bytes_or_none(self.directory / name)
        if data is None:
            return None
        try:
            return x509.load_pem_x509_crl(data)
        except ValueError:
            return None

    def prepare(self) -> None:
        """Make the directory. It is closed to others; parents that are made on the way are too."""
        for path in reversed(self.directory.parents):
            if not path.exists():
                path.mkdir(mode=0o700)
        self.directory.mkdir(mode=0o700, exist_ok=True)
        self.directory.chmod(0o700)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One writer at a time. The lock goes with the process that holds it, so none is stale.

        :raises PhoenixError: where there is no authority.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            handle = os.open(self.directory / ".lock", flags, 0o600)
        except FileNotFoundError:
            raise PhoenixError(
                f"there is no authority in {self.directory}",
                hint="Bring the state directory of the estate here, or its newest backup; for a "
                "new estate, playbook tamshai.phoenix.phoenix makes one.",
            ) from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
