# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Unseal shares, and for the length of a bootstrap the root token, at rest on the control node.

A directory holds ``custody.json`` (public: how far the bootstrap has come) and one encrypted file
for each secret, so that a share can be moved to its custodian by moving a file. Each file stands
for itself: AES-256-GCM under a key that scrypt (RFC 7914) derives from the passphrase and the
file's own salt; what the file says about itself is authenticated with it, so that files cannot be
swapped or relabelled.

The bootstrap moves through three stages, each written by one rename and only after all that it
promises is on disk:

``begun``
    An ``id`` has been made for a server that is about to be initialised.
``held``
    All shares and the root token of that server are here.
``finished``
    The root token is revoked and its file is gone.
``released``
    The server has new shares, which custodians hold; none is here.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    write_atomic,
)

CRYPTOGRAPHY_IMPORT_ERROR: str | None = None
try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR = traceback.format_exc()

__all__ = [
    "CRYPTOGRAPHY_IMPORT_ERROR",
    "Custody",
    "CustodyError",
    "brought_shares",
    "decrypt",
    "encrypt",
]

# 32 MiB and a tenth of a second for each guess, on hardware of 2026.
SCRYPT = {"n": 2**15, "r": 8, "p": 1}
STATES = ("absent", "begun", "held", "finished", "released")
MANIFEST = "custody.json"
ROOT = "root-token.json"
OFFERED = "offered.json"
_FILE = "file://"
_SHARE, _ROOT_TOKEN = "unseal-share", "root-token"


class CustodyError(PhoenixError):
    """A file that is missing, damaged, or does not open with the passphrase."""


def encrypt(secret: str, passphrase: str, label: Mapping[str, Any]) -> bytes:
    """A secret as the content of a file.

    :arg label: What the file says about itself, in clear; it is authenticated.
    """
    if not passphrase:
        raise CustodyError(
            "there is no passphrase to encrypt the unseal shares with",
            hint="Set phoenix_state_passphrase.",
        )
    salt, nonce = os.urandom(16), os.urandom(12)
    kdf = {"name": "scrypt", **SCRYPT, "salt": _text(salt)}
    head = {"schema": 1, **label, "kdf": kdf, "cipher": "AES-256-GCM", "nonce": _text(nonce)}
    sealed = AESGCM(_key(passphrase, kdf)).encrypt(nonce, secret.encode(), _authenticated(head))
    return (json.dumps({**head, "ciphertext": _text(sealed)}, indent=2) + "\n").encode()


def decrypt(content: bytes, passphrase: str, what: str) -> str:
    """The secret in such a file.

    :arg what: Names the file in an error.
    :raises CustodyError: if the file is damaged or the passphrase another.
    """
    try:
        document = json.loads(content)
        sealed = base64.b64decode(document.pop("ciphertext"), validate=True)
        nonce = base64.b64decode(document["nonce"], validate=True)
        key = _key(passphrase, document["kdf"])
        return AESGCM(key).decrypt(nonce, sealed, _authenticated(document)).decode()
    except InvalidTag:
        raise CustodyError(
            f"{what} does not open with this passphrase, or was changed",
            hint="Is phoenix_state_passphrase the one of the run that wrote it?",
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise CustodyError(f"{what} is damaged: {type(error).__name__}") from None


def _label(kind: str, **more: Any) -> dict[str, Any]:
    """What a file says about itself; apart from its kinds, so that no search takes this for one."""
    return {"kind": kind, **more}


def _key(passphrase: str, kdf: Mapping[str, Any]) -> bytes:
    if kdf["name"] != "scrypt" or int(kdf["n"]) > 2**20 or int(kdf["r"]) * int(kdf["p"]) > 64:
        raise ValueError("unknown key derivation")
    salt = base64.b64decode(kdf["salt"], validate=True)
    parameters = Scrypt(salt=salt, length=32, n=int(kdf["n"]), r=int(kdf["r"]), p=int(kdf["p"]))
    return parameters.derive(passphrase.encode())


def _authenticated(head: Mapping[str, Any]) -> bytes:
    return json.dumps(head, sort_keys=True, separators=(",", ":")).encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def brought_shares(files: Sequence[str], environment: str, passphrase: str) -> list[str]:
    """Shares from files and from environment variables whose names begin with ``environment``.

    A variable ``file:///path`` names a file instead, so that no share is in the environment.
    """
    shares = []
    if environment:
        names = sorted(name for name in os.environ if name.startswith(environment))
        values = [os.environ[name].strip() for name in names]
        shares = [value for value in values if not value.startswith(_FILE)]
        files = [*files, *(value[len(_FILE) :] for value in values if value.startswith(_FILE))]
    brought = []
    for name in files:
        content = read_bytes_or_none(name)
        if content is None:
            raise CustodyError(f"there is no file {name} to read a share from")
        encrypted = content.lstrip().startswith(b"{")
        text = decrypt(content, passphrase, name) if encrypted else content.decode()
        brought.append(text.strip())
    return [share for share in [*brought, *shares] if share]


@dataclass(frozen=True)
class Manifest:
    """``custody.json``."""

    state: str = "absent"
    id: str = ""
    seal: str = ""
    shares: int = 0
    threshold: int = 0

    @classmethod
    def parse(cls, content: bytes | None, what: str) -> Manifest:
        if content is None:
            return cls()
        try:
            document = json.loads(content)
            manifest = cls(
                state=str(document["state"]),
                id=str(document["id"]),
                seal=str(document["seal"]),
                shares=int(document["shares"]),
                threshold=int(document["threshold"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise CustodyError(f"{what} is damaged: {type(error).__name__}") from None
        if manifest.state not in STATES:
            raise CustodyError(f"{what} has the unknown state {manifest.state!r}")
        return manifest

    def content(self) -> bytes:
        document = {"schema": 1, **self.__dict__}
        return (json.dumps(document, indent=2) + "\n").encode()


class Custody:
    """The directory of one server.

    :arg directory: Made on the first write, for its owner only.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        self._manifest_path = self.directory / MANIFEST
        self.manifest = Manifest.parse(
            read_bytes_or_none(self._manifest_path), str(self._manifest_path)
        )

    def begin(self) -> Manifest:
        """Make ready for a server that is about to be initialised.

        Secrets of an earlier server are moved aside and never deleted: its snapshots need them.
        """
        if self.manifest.state == "begun":
            return self.manifest
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self.manifest.state != "absent":
            self._archive()
        self._write(Manifest(state="begun", id=secrets.token_hex(16)))
        return self.manifest

    def hold(
        self, *, shares: Sequence[str], threshold: int, root_token: str, seal: str, passphrase: str
    ) -> Manifest:
        """Write shares and root token, then say that they are here.

        :raises CustodyError: unless a bootstrap has begun.
        """
        if self.manifest.state != "begun":
            raise CustodyError(
                f"{self.directory} is in state {self.manifest.state!r}, not 'begun'; "
                "shares that are there are not overwritten"
            )
        server = self.manifest.id
        for index, share in enumerate(shares, 1):
            label = _label(_SHARE, index=index, server=server)
            self._secret(f"share-{index}.json", encrypt(share, passphrase, label))
        self._secret(ROOT, encrypt(root_token, passphrase, _label(_ROOT_TOKEN, server=server)))
        self._write(Manifest("held", server, seal, len(shares), threshold))
        return self.manifest

    def finish(self) -> Manifest:
        """Forget the root token, which has been revoked."""
        if self.manifest.state not in ("held", "finished"):
            raise CustodyError(f"{self.directory}: nothing is held that could be finished")
        self.directory.joinpath(ROOT).unlink(missing_ok=True)
        if self.manifest.state == "held":
            old = self.manifest
            self._write(Manifest("finished", old.id, old.seal, old.shares, old.threshold))
        return self.manifest

    def offered(self) -> str:
        """The change of shares that :meth:`offer` was last called for."""
        content = read_bytes_or_none(self.directory / OFFERED)
        try:
            return str(json.loads(content)["change"]) if content else ""
        except (ValueError, KeyError, TypeError) as error:
            raise CustodyError(
                f"{self.directory / OFFERED} is damaged: {type(error).__name__}"
            ) from None

    def offer(self, messages: Mapping[str, str], change: str = "") -> bool:
        """Write what custodians have to be given: each a share, encrypted to its custodian.

        :arg change: What the server calls the change that these are of; written last.
        :returns: Whether anything was written.
        """
        place = self.directory / "custodians"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        written = False
        for name, message in messages.items():
            if not name or name.startswith(".") or "/" in name:
                raise CustodyError(f"a custodian cannot be named {name!r}")
            content = f"{message.strip()}\n".encode()
            if read_bytes_or_none(place / f"{name}.pgp") != content:
                write_atomic(place / f"{name}.pgp", content, mode=0o600)
                written = True
        if change and change != self.offered():
            write_atomic(
                self.directory / OFFERED, json.dumps({"change": change}).encode(), mode=0o600
            )
            written = True
        return written

    def release(self, *, shares: int, threshold: int) -> Manifest:
        """Delete shares that open the server no more, since its custodians have new ones."""
        if self.manifest.state not in ("finished", "released"):
            raise CustodyError(f"{self.directory}: the bootstrap has not ended")
        old = self.manifest
        self._write(Manifest("released", old.id, old.seal, shares, threshold))
        self.forget()
        return self.manifest

    def forgettable(self) -> bool:
        """Whether released shares are here, since a run was killed before it had deleted them."""
        return self.manifest.state == "released" and bool(self.share_paths())

    def forget(self) -> None:
        """Delete shares that were released."""
        for path in self.share_paths() if self.forgettable() else ():
            path.unlink(missing_ok=True)  # another run may be at it, too

    def reseal(self, seal: str) -> Manifest:
        """Note that the same shares belong to another kind of seal now."""
        old = self.manifest
        if old.state not in ("held", "finished", "released"):
            raise CustodyError(f"{self.directory}: no shares are known whose seal could change")
        if old.seal != seal:
            self._write(replace(old, seal=seal))
        return self.manifest

    def share_paths(self) -> list[Path]:
        """The files of shares that are (still) here."""
        found = self.directory.glob("share-*.json")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    def read_shares(self, passphrase: str, limit: int | None = None) -> list[str]:
        """Decrypt shares; as many as are here, or as ``limit`` says."""
        if self.manifest.state not in ("held", "finished"):
            return []
        return [
            decrypt(path.read_bytes(), passphrase, str(path)) for path in self.share_paths()[:limit]
        ]

    def read_root_token(self, passphrase: str) -> str:
        """The root token of a bootstrap under way, else an empty string."""
        content = read_bytes_or_none(self.directory / ROOT)
        if content is None or self.manifest.state not in ("held", "finished"):
            return ""
        return decrypt(content, passphrase, str(self.directory / ROOT))

    def archive(self) -> Path:
        """Where all that is kept of this server goes when another one takes its place."""
        return self.directory / "archive" / self.manifest.id

    def _archive(self) -> None:
        place = self.archive()
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The manifest goes last: a run that is killed here archives the rest next time.
        for path in [*self.share_paths(), self.directory / ROOT, self._manifest_path]:
            if path.exists():
                path.replace(place / path.name)
        # A dead server's root token opens nothing; beside its shares it must not stay.
        place.joinpath(ROOT).unlink(missing_ok=True)

    def _secret(self, name: str, content: bytes) -> None:
        write_atomic(self.directory / name, content, mode=0o600)

    def _write(self, manifest: Manifest) -> None:
        write_atomic(self._manifest_path, manifest.content(), mode=0o600)
        self.manifest = manifest
