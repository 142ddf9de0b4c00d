# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program that keeps bundles in memory and an encrypted copy on disk."""

from __future__ import annotations

import errno
import io
import os
import stat
import subprocess
import sys
import tarfile
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "roles" / "pki" / "files" / "tamshai-certs"
CANARY = b"-----BEGIN PRIVATE KEY-----\ncanary-4711\n"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the program runs as root only")


def program() -> Any:
    """The program as a module."""
    loader = SourceFileLoader("tamshai_certs", str(PROGRAM))
    spec = spec_from_loader("tamshai_certs", loader)
    assert spec is not None
    module = module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "dont_write_bytecode", True)
        loader.exec_module(module)
    return module


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program as a module, in which mounting and sealing are only pretended."""
    module = program()

    def seal(command: list[str], data: bytes) -> bytes:
        if command[0] == "mount":
            return b""
        assert "--name=tamshai-certs" in command
        if command[1] == "encrypt":
            return b"sealed:" + bytes(byte ^ 0x55 for byte in data)
        if not data.startswith(b"sealed:"):
            raise module.RefusedError("systemd-creds decrypt failed (1): bad")
        return bytes(byte ^ 0x55 for byte in data.removeprefix(b"sealed:"))

    monkeypatch.setattr(module, "run", seal)
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    place = tmp_path / "certs"
    version = place / "api" / "versions" / "1234"
    version.mkdir(parents=True)
    (place / "api" / "current").symlink_to("versions/1234")
    (version / "tls.key").write_bytes(CANARY)
    (version / "tls.key").chmod(0o400)
    os.chown(version / "tls.key", 4711, 4712)
    (version / "tls.crt").write_bytes(b"public")
    (version / "tls.crt").chmod(0o444)
    (place / ".staging").mkdir()
    (place / ".staging" / "secret").write_bytes(CANARY)
    return place


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    return tmp_path / "lib" / "certs.cred"


def listing(tree: Path) -> list[Any]:
    return [
        (str(p.relative_to(tree)), stat.S_IMODE(p.lstat().st_mode), p.lstat().st_uid)
        for p in sorted(tree.rglob("*"))
        if not p.relative_to(tree).parts[0].startswith(".")
    ]


def test_saved_and_restored_is_the_same(
    store: Any, tree: Path, sealed: Path, tmp_path: Path
) -> None:
    assert store.check(tree, sealed) == store.STALE
    assert store.save(tree, sealed) == 0
    assert store.check(tree, sealed) == 0
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    assert store.restore(fresh, sealed) == 0
    assert listing(fresh) == listing(tree)
    assert (fresh / "api" / "current").readlink() == Path("versions/1234")
    assert (fresh / "api" / "current" / "tls.key").read_bytes() == CANARY
    assert store.digest(fresh) == store.digest(tree)
    assert not (fresh / ".restore").exists()
    assert not (fresh / ".staging").exists()


def test_nothing_in_clear_is_on_disk(store: Any, tree: Path, sealed: Path) -> None:
    store.save(tree, sealed)
    for path in sealed.parent.iterdir():
        assert b"canary" not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("change", ["content", "mode", "owner", "link", "new", "gone"])
def test_any_change_is_noticed(store: Any, tree: Path, sealed: Path, change: str) -> None:
    store.save(tree, sealed)
    path = tree / "api" / "versions" / "1234" / "tls.crt"
    if change == "content":
        path.write_bytes(b"other!")
    elif change == "mode":
        path.chmod(0o440)
    elif change == "owner":
        os.chown(path, 1, 1)
    elif change == "link":
        (tree / "api" / "current").unlink()
        (tree / "api" / "current").symlink_to("versions/5678")
    elif change == "new":
        (tree / "other").mkdir()
    else:
        path.unlink()
    assert store.check(tree, sealed) == store.STALE


def test_a_damaged_copy_is_noticed(store: Any, tree: Path, sealed: Path) -> None:
    store.save(tree, sealed)
    sealed.write_bytes(sealed.read_bytes()[:-1])
    assert store.check(tree, sealed) == store.STALE


def test_an_empty_tree_needs_no_copy(store: Any, tmp_path: Path, sealed: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert store.check(tmp_path / "empty", sealed) == 0


def test_a_crash_between_copy_and_digest_is_noticed(
    store: Any, tree: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.save(tree, sealed)
    (tree / "api" / "versions" / "1234" / "tls.crt").write_bytes(b"newer")
    real = store.write

    def die_on_digest(path: Path, data: bytes) -> None:
        if path.suffix == ".sha256":
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(store, "write", die_on_digest)
    with pytest.raises(KeyboardInterrupt):
        store.save(tree, sealed)
    monkeypatch.setattr(store, "write", real)
    assert store.check(tree, sealed) == store.STALE
    store.save(tree, sealed)
    assert store.check(tree, sealed) == 0


def test_left_overs_of_a_killed_save_are_removed(store: Any, tree: Path, sealed: Path) -> None:
    sealed.parent.mkdir()
    (sealed.parent / ".certs.cred.abcdef").write_bytes(b"half")
    store.save(tree, sealed)
    assert sorted(p.name for p in sealed.parent.iterdir()) == ["certs.cred", "certs.sha256"]


def test_what_is_there_is_not_overwritten(store: Any, tree: Path, sealed: Path) -> None:
    store.save(tree, sealed)
    (tree / "api" / "versions" / "1234" / "tls.crt").write_bytes(b"newer")
    assert store.restore(tree, sealed) == 0
    assert (tree / "api" / "current" / "tls.crt").read_bytes() == b"newer"


def test_an_interrupted_restore_is_finished(
    store: Any, tree: Path, sealed: Path, tmp_path: Path
) -> None:
    (tree / "other").mkdir()
    store.save(tree, sealed)
    fresh = tmp_path / "fresh"
    (fresh / ".restore" / "half").mkdir(parents=True)
    (fresh / "other").mkdir()
    assert store.restore(fresh, sealed) == 0
    assert listing(fresh) == listing(tree)
    assert not (fresh / ".restore").exists()


def test_a_copy_that_cannot_be_opened_is_put_aside(
    store: Any, tmp_path: Path, sealed: Path
) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    sealed.parent.mkdir()
    sealed.write_bytes(b"damaged")
    with pytest.raises(store.RefusedError, match=r"cannot be restored .*certs\.refused"):
        store.restore(fresh, sealed)
    assert (sealed.parent / "certs.refused").read_bytes() == b"damaged"
    assert store.restore(fresh, sealed) == 0, "the next start succeeds, with nothing"
    assert list(fresh.iterdir()) == []


def test_what_was_put_aside_earlier_stays(store: Any, tmp_path: Path, sealed: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    sealed.parent.mkdir()
    for damaged in (b"first", b"second", b"third"):
        sealed.write_bytes(damaged)
        with pytest.raises(store.RefusedError):
            store.restore(fresh, sealed)
    aside = {path.name: path.read_bytes() for path in sealed.parent.iterdir()}
    assert aside == {
        "certs.refused": b"first",
        "certs.refused-2": b"second",
        "certs.refused-3": b"third",
    }


def test_a_broken_archive_is_put_aside(store: Any, tmp_path: Path, sealed: Path) -> None:
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    sealed.parent.mkdir()
    sealed.write_bytes(store.run(["systemd-creds", "encrypt", "--name=tamshai-certs"], b"no tar"))
    with pytest.raises(store.RefusedError):
        store.restore(fresh, sealed)
    assert [path.name for path in sealed.parent.iterdir()] == ["certs.refused"]


@pytest.mark.parametrize("when", ["decrypting", "writing", "renaming"])
def test_what_may_pass_keeps_the_copy_and_the_next_try_succeeds(
    store: Any,
    tree: Path,
    sealed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    (tree / "other").mkdir()
    store.save(tree, sealed)
    copy = sealed.read_bytes()
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    rename = Path.rename

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def slow(command: list[str], data: bytes) -> bytes:
        raise store.CertsError("systemd-creds decrypt: timed out after 60 seconds")

    def second_fails(self: Path, target: Path) -> Path:
        if self.name == "other":
            full()
        return rename(self, target)

    with monkeypatch.context() as patch:
        if when == "decrypting":
            patch.setattr(store, "run", lambda c, d: b"" if c[0] == "mount" else slow(c, d))
        elif when == "writing":
            patch.setattr(store, "put", full)
        else:
            patch.setattr(Path, "rename", second_fails)
        with pytest.raises(store.CertsError, match="not restored yet") as raised:
            store.restore(fresh, sealed)
    assert not isinstance(raised.value, store.RefusedError)
    assert sealed.read_bytes() == copy
    assert not list(sealed.parent.glob("*.refused*"))
    assert store.restore(fresh, sealed) == 0
    assert listing(fresh) == listing(tree)


@pytest.mark.parametrize(
    ("script", "refused"),
    [
        ("echo 'Decryption failed (incorrect key?)' >&2; exit 1", True),
        ("echo 'Unknown encryption format, or corrupted data.' >&2; exit 1", True),
        ("echo 'Failed to unseal: Device or resource busy' >&2; exit 1", False),
        ("echo 'tpm:warn(2.0): TPM was not able to start the command' >&2; exit 1", False),
        ("echo 'Failed to write: No space left on device' >&2; exit 1", False),
        ("kill -9 $$", False),
    ],
)
def test_a_refusal_is_told_from_what_may_pass(script: str, refused: bool) -> None:
    store = program()
    with pytest.raises(store.CertsError) as raised:
        store.run(["sh", "-c", script], b"")
    assert isinstance(raised.value, store.RefusedError) == refused


def test_a_program_that_cannot_be_started_is_no_refusal() -> None:
    store = program()
    with pytest.raises(store.CertsError) as raised:
        store.run(["/nowhere/systemd-creds", "decrypt"], b"")
    assert not isinstance(raised.value, store.RefusedError)


@pytest.mark.parametrize(
    ("name", "kind", "link"),
    [
        ("/etc/x", tarfile.REGTYPE, ""),
        ("../x", tarfile.REGTYPE, ""),
        ("api/../../x", tarfile.REGTYPE, ""),
        (".restore/x", tarfile.REGTYPE, ""),
        ("x", tarfile.SYMTYPE, "/etc"),
        ("x", tarfile.SYMTYPE, "../.."),
        ("x", tarfile.LNKTYPE, "y"),
        ("x", tarfile.CHRTYPE, ""),
        ("x", tarfile.FIFOTYPE, ""),
    ],
)
def test_an_archive_that_leads_out_is_refused(
    store: Any, tmp_path: Path, sealed: Path, name: str, kind: bytes, link: str
) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member, io.BytesIO())
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    sealed.parent.mkdir()
    sealed.write_bytes(
        store.run(["systemd-creds", "encrypt", "--name=tamshai-certs"], packed.getvalue())
    )
    with pytest.raises(store.CertsError, match="cannot be restored"):
        store.restore(fresh, sealed)
    assert list(fresh.iterdir()) == []


def test_bundles_on_a_disk_are_not_saved(
    store: Any, tree: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: False)
    with pytest.raises(store.CertsError, match="not a memory file system"):
        store.save(tree, sealed)
    with pytest.raises(store.CertsError, match="holds files on disk"):
        store.mount(tree)


def test_ramfs_where_tmpfs_cannot_stay_out_of_swap(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def mount(command: list[str], data: bytes) -> bytes:
        calls.append(command)
        if "tmpfs" in command:
            raise store.CertsError("unknown option noswap")
        return b""

    monkeypatch.setattr(os.path, "ismount", lambda path: False)
    monkeypatch.setattr(store, "run", mount)
    store.mount(tmp_path / "certs")
    assert [call[2] for call in calls] == ["tmpfs", "ramfs"]
    assert all("noexec" in " ".join(call) for call in calls)


def test_more_than_systemd_takes_is_said(
    store: Any, tree: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LIMIT", 10)
    with pytest.raises(store.CertsError, match="the limit is 10"):
        store.save(tree, sealed)


def test_the_program_says_what_is_wrong_and_ends_non_zero(tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    command = [sys.executable, str(PROGRAM), "--tree", str(tmp_path / "certs")]
    command += ["--sealed", str(tmp_path / "lib" / "certs.cred")]
    done = subprocess.run([*command, "save"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tamshai-certs: " in done.stderr
    assert subprocess.run([*command, "check"], check=False).returncode == 0
