# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A planted secret is found however it is written, and what is at home is left alone."""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
import urllib.parse
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import scan, sweep
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.scan import Find, Needle
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.sweep import (
    private_line,
    twins,
)

HOSTILE = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"


def go_json(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return escaped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@pytest.mark.parametrize("secret", [HOSTILE, "plain-0123456789abcdef", "two\nlines of a secret"])
@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda s: s, id="plain"),
        pytest.param(json.dumps, id="json"),
        pytest.param(lambda s: json.dumps(s, ensure_ascii=False), id="json-utf8"),
        pytest.param(go_json, id="docker"),
        pytest.param(lambda s: go_json(go_json(s)), id="docker-log"),
        pytest.param(lambda s: urllib.parse.quote(s, safe=""), id="url"),
        pytest.param(urllib.parse.quote_plus, id="form"),
        pytest.param(lambda s: s.encode().hex(), id="hex"),
        *(
            pytest.param(
                lambda s, n=n, t=t: base64.b64encode(b"p" * n + s.encode() + b"t" * t).decode(),
                id=f"base64-{n}-{t}",
            )
            for n in range(3)
            for t in range(3)
        ),
        pytest.param(
            lambda s: base64.urlsafe_b64encode(b">>" + s.encode()).decode(), id="base64url"
        ),
    ],
)
def test_every_spelling_is_found(secret: str, write: object, tmp_path: Path) -> None:
    assert callable(write)
    text = f"xx{write(secret)}yy".encode()
    assert scan.labels_in(text, [Needle("it", secret)]) == {"it"}
    (tmp_path / "file").write_bytes(b"\0\xff binary \n" + text)
    found, _unused = scan.files([str(tmp_path)], [Needle("it", secret)], since=0)
    assert found == [Find("it", str(tmp_path / "file"))]


def test_a_rotated_log_is_read_as_well(tmp_path: Path) -> None:
    """Packed, cut off within what follows the secret, and not packed in spite of its name."""
    line = b"token=" + HOSTILE.encode() + b"\n"
    packed = gzip.compress(line + secrets.token_bytes(4000))
    (tmp_path / "app.log.1.gz").write_bytes(packed)
    (tmp_path / "app.log.2.gz").write_bytes(packed[:3000])
    (tmp_path / "app.log.3.gz").write_bytes(line)
    (tmp_path / "app log.4.gz").write_bytes(gzip.compress(b"nothing to see"))
    (tmp_path / "app.log.5.gz").write_bytes(b"")
    found, read = scan.files([str(tmp_path)], [Needle("it", HOSTILE)], since=0)
    assert sorted(f.where for f in found) == [f"{tmp_path}/app.log.{n}.gz" for n in (1, 2, 3)]
    assert read == 5


def packed_zip(data: bytes) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("nothing", b"to see")
        archive.writestr("etc/app.conf", data)
    return packed.getvalue()


def packed_tar(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        entry = tarfile.TarInfo("etc/app.conf")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("backup.tgz", gzip.compress),
        ("backup", lambda data: gzip.compress(b"one before") + gzip.compress(data)),
        ("backup.txz", packed_tar),
        ("backup.xz", lambda data: lzma.compress(b"one before") + lzma.compress(data)),
        ("backup.tbz", bz2.compress),
        ("backup.zip", packed_zip),
        ("cut.bz2", lambda data: bz2.compress(data + secrets.token_bytes(2**20), 1)[:900_000]),
        ("cut.xz", lambda data: lzma.compress(data + secrets.token_bytes(200_000))[:150_000]),
        ("more.gz", lambda data: gzip.compress(data) + b"and what is none of it"),
        ("plain.zip", lambda data: b"PK\x03\x04 and no ZIP: " + data),
    ],
)
def test_what_is_packed_is_known_by_how_it_begins(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / name).write_bytes(pack(b"token=" + HOSTILE.encode() + b"\n"))
    (tmp_path / f"harmless-{name}").write_bytes(pack(b"nothing to see"))
    found, _read = scan.files([str(tmp_path)], [Needle("it", HOSTILE)], since=0)
    assert found == [Find("it", f"{tmp_path}/{name}")]


def test_one_of_many_small_files_in_a_zip_is_found(tmp_path: Path) -> None:
    """The search ends with its first find, while there is more to be given to it."""
    with zipfile.ZipFile(tmp_path / "some.jar", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3000):
            archive.writestr(f"{number}", f"{HOSTILE}\n" if number == 5 else "nothing\n" * 250)
    found, _read = scan.files([str(tmp_path)], [Needle("it", HOSTILE)], since=0)
    assert found == [Find("it", f"{tmp_path}/some.jar")]


def test_a_zip_with_a_damaged_name_hides_nothing_else(tmp_path: Path) -> None:
    damaged = packed_zip(HOSTILE.encode()).replace(b"etc/app", b"\xff\xffc/app")
    at = damaged.index(b"PK\x01\x02", damaged.index(b"PK\x01\x02") + 1)
    damaged = damaged[: at + 8] + b"\x00\x08" + damaged[at + 10 :]  # "the name is UTF-8"
    with pytest.raises(UnicodeDecodeError), zipfile.ZipFile(io.BytesIO(damaged)):
        pass
    (tmp_path / "upload").write_bytes(damaged)
    (tmp_path / "leak.gz").write_bytes(gzip.compress(HOSTILE.encode()))
    found, _read = scan.files([str(tmp_path)], [Needle("it", HOSTILE)], since=0)
    assert found == [Find("it", f"{tmp_path}/leak.gz")]


def test_what_zstd_has_packed_is_read_where_there_is_zstd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And named as not read where there is none."""
    program = tmp_path / "bin" / "zstd"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\n[ "$1 $2" = "-dcq --" ] && tail -c +5 "$3" | rev\n')
    program.chmod(0o755)
    backup = tmp_path / "disk" / "backup.tzst"
    backup.parent.mkdir()
    backup.write_bytes(b"\x28\xb5\x2f\xfd" + b"2retnuh2retnuh\n")

    def search() -> tuple[list[Find], list[str]]:
        unread: list[str] = []
        needle = Needle("it", "hunter2hunter2")
        return scan.files([str(backup.parent)], [needle], since=0, unread=unread)[0], unread

    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
        assert search() == ([Find("it", str(backup))], [])
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    assert search() == ([], [str(backup)])


def test_a_secret_across_two_pieces_of_a_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "_PIECE", 16)
    for before in range(40):
        (tmp_path / f"{before}").write_bytes(b"x" * before + b"hunter2hunter2" + b"y" * 40)
    found, _unused = scan.files([str(tmp_path)], [Needle("it", "hunter2hunter2")], since=0)
    assert len(found) == 40


def test_a_file_that_is_cut_short_while_it_is_read_ends_nobody(tmp_path: Path) -> None:
    """In a process of its own, since one that maps such a file is killed by SIGBUS."""
    log = tmp_path / "log"
    log.write_bytes(b"x" * 100_000 + b"hunter2hunter2")
    look = scan.labels_in

    def cut(data: Any, needles: Any) -> set[str]:
        os.truncate(log, 0)
        return look(data, needles)

    def search() -> None:
        scan.labels_in = cut
        scan._needles_of(str(log), [Needle("it", "hunter2hunter2")])

    child = multiprocessing.get_context("fork").Process(target=search)
    child.start()
    child.join(30)
    assert child.exitcode == 0


def test_something_else_is_not_found() -> None:
    text = "a completely different text, c29tZXRoaW5nIGVsc2U="
    assert scan.labels_in(text.encode(), [Needle("it", HOSTILE)]) == set()


def test_a_short_value_is_not_looked_for() -> None:
    assert scan.spellings("short") == set()


def test_a_needle_does_not_show_its_secret() -> None:
    assert "hunter2" not in repr(Needle("it", "hunter2hunter2"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secrets.json").write_text("hunter2hunter2")
    (tmp_path / "elsewhere").write_text("hunter2hunter2")
    (tmp_path / "a name with ' and \n in it").write_text("hunter2hunter2")
    (tmp_path / "empty").write_text("")
    (tmp_path / "harmless").write_text("nothing")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("elsewhere")
    return tmp_path


def test_a_secret_at_home_is_no_find(tree: Path) -> None:
    needle = Needle("it", "hunter2hunter2", (f"{tree}/home/",))
    found, read = scan.files([str(tree)], [needle], since=0)
    assert {find.where for find in found} == {
        f"{tree}/elsewhere",
        f"{tree}/a name with ' and \n in it",
    }
    assert read == 5


def test_a_neighbour_at_home_is_a_find(tree: Path) -> None:
    mine = Needle("mine", "hunter2hunter2", (f"{tree}/home/",))
    other = Needle("other", "hunter2hunter2", (f"{tree}/elsewhere-home/",))
    found, _unused = scan.files([str(tree)], [mine, other], since=0)
    assert Find("other", f"{tree}/home/secrets.json") in found
    assert Find("mine", f"{tree}/home/secrets.json") not in found


def test_a_name_may_hold_it_as_well(tree: Path) -> None:
    (tree / "x-hunter3hunter3.txt").write_text("")
    found, _unused = scan.files([str(tree)], [Needle("it", "hunter3hunter3")], since=0)
    assert found == [Find("it", f"the name of {tree}/x-hunter3hunter3.txt")]


def test_old_files_and_skipped_ones_are_not_read(tree: Path) -> None:
    needle = Needle("it", "hunter2hunter2")
    assert scan.files([str(tree)], [needle], since=time.time() + 60) == ([], 0)
    found, _unused = scan.files(
        [str(tree)], [needle], since=0, skip=lambda p: not p.endswith("where")
    )
    assert found == [Find("it", f"{tree}/elsewhere")]


def test_a_change_time_cannot_be_set_back(tree: Path) -> None:
    os.utime(tree / "elsewhere", (1, 1))
    found, _unused = scan.files(
        [str(tree)], [Needle("it", "hunter2hunter2")], since=time.time() - 60
    )
    assert Find("it", f"{tree}/elsewhere") in found


def test_mounts_by_where_they_keep_their_files(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /proc rw - proc proc rw\n"
        "3 1 0:9 / /run rw - tmpfs tmpfs rw\n"
        "4 1 8:2 / /srv/with\\040space rw - xfs /dev/sdb rw\n"
        "5 1 0:11 / /run rw shared:3 - tmpfs tmpfs rw\n"
    )
    found = scan.mounts(str(table))
    assert [m.point for m in found if m.stored] == ["/", "/srv/with space"]
    assert [m.point for m in found if m.volatile] == ["/run"]


def test_memory_that_only_others_see_is_found_once(tmp_path: Path) -> None:
    line = "1 0 {} / {} rw - {} x rw\n"
    here = line.format("0:9", "/run", "tmpfs")
    box = here + line.format("0:20", "/tmp", "tmpfs") + line.format("8:1", "/", "ext4")
    tables = {
        "1": ("host", here),
        "20": ("box", box),
        "21": ("box", box),
        "30": ("unit", line.format("0:20", "/tmp", "tmpfs") + line.format("0:30", "/k", "ramfs")),
        "self": ("host", ""),
    }
    for pid, (space, table) in tables.items():
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "mnt").symlink_to(space)
        (tmp_path / pid / "mountinfo").write_text(table)
    (tmp_path / "40").mkdir()  # has ended
    known = scan.mounts(str(tmp_path / "1" / "mountinfo"))
    found = scan.memory_elsewhere(known, proc=str(tmp_path))
    roots = [root.split("/root", 1)[1] for place in found for root in place.roots]
    assert sorted(roots) == ["/k", "/tmp"]
    assert 1 not in [place.pid for place in found]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Searches a container whose memory two processes see, of which some end when looked at."""
    box = tmp_path / "memory"
    box.mkdir()
    (box / "leak").write_text("hunter2hunter2")
    mountinfo = "1 0 0:20 / /tmp rw - tmpfs x rw\n"
    for pid in ("20", "21"):
        (tmp_path / pid / "ns").mkdir(parents=True)
        (tmp_path / pid / "ns" / "mnt").symlink_to("mnt:[4026530001]")
        (tmp_path / pid / "mountinfo").write_text(mountinfo)
        (tmp_path / pid / "root").mkdir()
        (tmp_path / pid / "root" / "tmp").symlink_to(box)
    look, search = scan.memory_elsewhere, scan.files

    def find(ends: Callable[[Path], bool]) -> list[str]:
        def files(roots: list[str], *args: Any, **more: Any) -> Any:
            folder = Path(roots[0]).parent.parent
            if ends(folder):
                shutil.rmtree(folder)
            return search([os.path.realpath(root) for root in roots], *args, **more)

        monkeypatch.setattr(scan, "memory_elsewhere", partial(look, proc=str(tmp_path)))
        monkeypatch.setattr(scan, "files", files)
        site: Any = SimpleNamespace(containers=list, estate={"project": "tamshai"})
        found, _read = sweep._elsewhere(site, [Needle("it", "hunter2hunter2")], [])
        return sorted({Path(item.where).name for item in found})

    return find


def test_memory_of_a_process_that_ends_is_searched_through_another(
    elsewhere: Callable[..., list[str]],
) -> None:
    ended: list[Path] = []

    def first(folder: Path) -> bool:
        ended.append(folder)
        return len(ended) == 1

    assert elsewhere(first) == ["leak"]
    assert len(set(ended)) == 2


def test_memory_that_is_gone_with_its_processes_is_nobodys(
    elsewhere: Callable[..., list[str]],
) -> None:
    assert elsewhere(lambda _folder: True) == []


def test_memory_that_is_there_and_never_searched_is_no_pass(
    elsewhere: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan.Elsewhere, "open", lambda _place: False)
    with pytest.raises(PhoenixError, match="memory that was not searched"):
        elsewhere(lambda _folder: False)


@pytest.mark.parametrize(
    ("groups", "container"), [(f"0::/docker/{'a' * 64}\n", "a" * 64), ("0::/init.scope\n", "")]
)
def test_the_container_of_a_process(tmp_path: Path, groups: str, container: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(groups)
    assert scan.container_of(7, proc=str(tmp_path)) == container
    assert scan.container_of(8, proc=str(tmp_path)) == ""


def test_a_process_with_the_secret_is_found_and_its_own_container_is_not() -> None:
    needle = Needle("mcp-hr/CANARY", "hunter2hunter2")
    with subprocess.Popen(
        [sys.executable, "-c", "input()", "hunter2hunter2"],
        stdin=subprocess.PIPE,
        env={"IT": "hunter2hunter2"},
    ) as child:
        found, count = scan.processes([needle], lambda _id: "")
        child.communicate()
    where = {find.where.partition(" of ")[0] for find in found if str(child.pid) in find.where}
    assert where == {"the environment", "the arguments"}
    assert count > 1


def test_processes_in_the_services_own_container(tmp_path: Path) -> None:
    container = "ab" * 32
    folder = tmp_path / "12"
    folder.mkdir()
    (folder / "environ").write_bytes(b"CANARY=hunter2hunter2\0")
    (folder / "cmdline").write_bytes(b"x\0")
    (folder / "comm").write_text("python3\n")
    (folder / "cgroup").write_text(f"0::/docker/{'cd' * 32}/docker/{container}\n")
    needles = [Needle("mcp-hr/CANARY", "hunter2hunter2"), Needle("other/X", "hunter2hunter2")]
    own = {container: "mcp-hr/"}
    found = scan._process(folder, needles, lambda item: own.get(item, ""))
    assert found == [Find("other/X", "the environment of process 12 (python3)")]
    assert scan._process(tmp_path / "13", needles, lambda _id: "") is None


def test_a_search_that_misses_its_control_says_so(tmp_path: Path) -> None:
    with pytest.raises(PhoenixError, match="did not find its own control"):
        scan.processes([], lambda _id: "", proc=str(tmp_path))


def test_the_line_of_a_key_is_private() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    for key in (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
        ed25519.Ed25519PrivateKey.generate(),
    ):
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        line = private_line(pem)
        assert line in pem
        assert len(line) >= 40
        piece = base64.b64decode(line[: len(line) // 4 * 4])
        assert piece not in public
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            number = key.private_numbers()
            private = getattr(number, "private_value", None) or number.p
            size = (private.bit_length() + 7) // 8
            raw = private.to_bytes(size, "big")
            assert any(raw[i : i + 12] in piece for i in range(size - 12))


def test_only_an_image_s_own_program_goes_unread(tmp_path: Path) -> None:
    host, image = tmp_path / "host", tmp_path / "image"
    program = b"\x7fELF" + bytes(3 * 1024 * 1024)
    for folder in (host, image):
        folder.mkdir()
        (folder / "bao").write_bytes(program)
        (folder / "small").write_bytes(b"alike")
    (host / "other").write_bytes(program)
    (host / "link").symlink_to(host / "bao")
    assert twins(host, image) == [str(host / "bao")]
    with (host / "bao").open("ab") as stream:
        stream.write(b"s3cret")
    assert twins(host, image) == []
    assert twins(host, tmp_path / "gone") == []


def test_only_the_estate_s_own_vault_is_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container of somebody else's project, of the same name, says nothing about a program."""
    asked: list[tuple[Path, Path]] = []

    def compare(folder: Path, image: Path) -> list[str]:
        asked.append((folder, image))
        return ["bao"]

    def none(_name: str) -> None:
        raise PhoenixError("no running container of service vault")

    site: Any = SimpleNamespace(
        estate={"root": str(tmp_path)}, of_kind=lambda _kind: [{"name": "vault"}], container=none
    )
    monkeypatch.setattr(sweep, "twins", compare)
    assert sweep._programs(site) == []
    site.container = lambda name: SimpleNamespace(state={"Pid": {"vault": 42}[name]})
    assert sweep._programs(site) == ["bao"]
    assert asked == [(tmp_path / "bin", Path("/proc/42/root/bin"))]
