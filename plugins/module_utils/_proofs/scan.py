# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking for secrets where none may be: files, the journal, processes.

Every search carries a *control*, a random text without meaning that is put where it has to be
found. A search that misses its control has not looked, and says so instead of 'nothing found'.

The files are read by grep, which takes the needles from a file in memory: it is several times as
fast as Python, and other proofs go on meanwhile. What is packed is unpacked for it, once: not what
is packed within, nor encrypted.
"""

from __future__ import annotations

import base64
import bz2
import contextlib
import contextvars
import json
import lzma
import os
import re
import secrets
import shutil
import socket
import subprocess
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import limit
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.tls import in_memory

__all__ = [
    "EVERY_JOURNAL",
    "Elsewhere",
    "Find",
    "Mount",
    "Needle",
    "container_of",
    "control",
    "files",
    "grep_journal",
    "journal",
    "labels_in",
    "memory_elsewhere",
    "mounts",
    "processes",
    "spellings",
]

# Units may log to a journal of their own, and other machines' journals may lie here.
EVERY_JOURNAL = ("journalctl", "--namespace=*", "--merge", "-o", "export", "--no-pager")

# What a packed file begins with, whatever its name is.
_ZIP = b"PK\x03\x04"
_ZSTD = b"\x28\xb5\x2f\xfd"
_UNPACKERS: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: zlib.decompressobj(16 + zlib.MAX_WBITS),
    b"\xfd7zXZ\0": lzma.LZMADecompressor,
    b"BZh": bz2.BZ2Decompressor,
}
_HEADS = (*_UNPACKERS, _ZIP, _ZSTD)
_DAMAGED = (
    *(EOFError, OSError, ValueError, zlib.error, lzma.LZMAError, zipfile.BadZipFile),
    *(NotImplementedError, RuntimeError),  # of a file in a ZIP: packed otherwise, or encrypted
)
_PACKED_PIECE = 16 * 1024  # may be a thousand times as much, unpacked
_MINIMUM = 8  # shorter values stand in files by chance
_PIECE = 8 * 1024 * 1024
_GREP = {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}

# What is not on a disk: made by the kernel, or a view of something that is scanned where it is.
_NOT_STORED = frozenset(
    {"autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts"}
    | {"devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nsfs", "proc", "pstore"}
    | {"rpc_pipefs", "securityfs", "selinuxfs", "sysfs", "tracefs"}
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_CONTAINER_ID = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Needle:
    """A secret that is looked for.

    :arg label: What it is called in a report.
    :arg homes: Directories in which it belongs, each with a slash at its end.
    """

    label: str
    value: str
    homes: tuple[str, ...] = ()
    patterns: frozenset[bytes] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "patterns", frozenset(spellings(self.value)))

    def __repr__(self) -> str:
        return f"Needle({self.label})"


@dataclass(frozen=True)
class Find:
    """A secret in a place where it must not be."""

    label: str
    where: str

    def __str__(self) -> str:
        return f"{self.label} in {self.where}"


@dataclass(frozen=True)
class Mount:
    """One line of the mount table."""

    point: str
    kind: str
    device: str
    root: str

    @property
    def stored(self) -> bool:
        """Whether its files are on a disk."""
        return self.kind not in _NOT_STORED and not self.volatile

    @property
    def volatile(self) -> bool:
        """Whether its files are in memory."""
        return self.kind in _IN_MEMORY


def control() -> Needle:
    """A random needle that is no secret."""
    return Needle("control", f"attest-control-{secrets.token_hex(16)}")


def spellings(secret: str) -> set[bytes]:
    """The forms in which files and logs hold a secret: as it is, JSON, URL, hex, Base64.

    Values under 8 bytes have none, since they stand in files by chance. Bytes that are no UTF-8 are
    given as Python's surrogates.
    """
    found: set[bytes] = set()
    raw = secret.encode("utf-8", "surrogateescape")
    if len(raw) < _MINIMUM:
        return found
    # A line of JSON in a log of JSON is encoded twice.
    once = _in_json(secret)
    texts = {
        secret,
        *once,
        *(twice for text in once for twice in _in_json(text)),
        urllib.parse.quote(raw, safe=""),
        urllib.parse.quote_plus(raw),
        raw.hex(),
    }
    found.update(text.encode("utf-8", "surrogateescape") for text in texts)
    for offset in range(3):
        # In a longer text the first and the last digits depend on the neighbours.
        digits = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        core = digits[-(-offset * 8 // 6) : len(digits) - (1 if (offset + len(raw)) % 3 else 0)]
        found.update({core.encode(), core.translate({43: 45, 47: 95}).encode()})
    # grep takes a pattern a line; the longest line of a value with several finds it as well.
    return {max(form.split(b"\n"), key=len).rstrip(b"\r") for form in found}


def _in_json(text: str) -> set[str]:
    """A text within a JSON string: as Python writes it, and as Go does, which Docker is made of."""
    utf8 = json.dumps(text, ensure_ascii=False)[1:-1]
    go = utf8.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return {json.dumps(text)[1:-1], utf8, go}


def labels_in(data: bytes, needles: Iterable[Needle]) -> set[str]:
    """Which needles are in some bytes."""
    return {
        needle.label
        for needle in needles
        if any(data.find(pattern) >= 0 for pattern in needle.patterns)
    }


def mounts(table: str = "/proc/self/mountinfo") -> list[Mount]:
    """The mount table as this process sees it, the last mount on a point only."""
    found: dict[str, Mount] = {}
    for line in Path(table).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        left, _unused, right = line.partition(" - ")
        fields = left.split(" ")
        point = _unescape(fields[4])
        found[point] = Mount(point, right.split(" ")[0], fields[2], _unescape(fields[3]))
    return list(found.values())


@dataclass(frozen=True)
class Elsewhere:
    """Memory file systems that this process does not see, through one that does.

    :arg folder: That process, in ``/proc``.
    :arg space: Its mount namespace.
    """

    folder: Path
    space: str
    mounts: tuple[Mount, ...]

    @property
    def pid(self) -> int:
        return int(self.folder.name)

    @property
    def roots(self) -> list[str]:
        return [f"{self.folder}/root{mount.point}" for mount in self.mounts]

    @property
    def devices(self) -> set[str]:
        return {mount.device for mount in self.mounts}

    def open(self) -> bool:
        """Whether one still sees them so: the process has not ended."""
        try:
            return str((self.folder / "ns" / "mnt").readlink()) == self.space
        except OSError:
            return False


def memory_elsewhere(known: Iterable[Mount], *, proc: str = "/proc") -> list[Elsewhere]:
    """Memory file systems that this process does not see, such as those of containers.

    :arg known: What it does see.
    """
    seen = {mount.device for mount in known}
    found: list[Elsewhere] = []
    spaces: set[str] = set()
    for folder in Path(proc).iterdir():
        try:
            space = str((folder / "ns" / "mnt").readlink()) if folder.name.isdigit() else ""
            if not space or space in spaces:
                continue
            table = mounts(f"{folder}/mountinfo")
        except OSError:  # it has ended
            continue
        spaces.add(space)
        new = [mount for mount in table if mount.volatile and mount.device not in seen]
        seen |= {mount.device for mount in new}
        if new:
            found.append(Elsewhere(folder, space, tuple(new)))
    return found


def container_of(pid: int, *, proc: str = "/proc") -> str:
    """The id of the container that a process is in, empty where it is in none."""
    try:
        ids = _CONTAINER_ID.findall(Path(proc, str(pid), "cgroup").read_text())
    except OSError:  # it has ended
        return ""
    return ids[-1] if ids else ""


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def files(
    roots: Sequence[str],
    needles: Sequence[Needle],
    *,
    since: float,
    skip: Callable[[str], bool] = lambda path: False,
    parallel: int = 2,
    unread: list[str] | None = None,
) -> tuple[list[Find], int]:
    """Search all files below mount points whose content or metadata changed since some time.

    :arg roots: Mount points; nothing below another mount point is searched with them.
    :arg since: Seconds since the epoch, compared with the change time, which nobody can set back.
    :arg skip: Paths not to read.
    :arg unread: Takes the paths of files that are packed by what this host cannot unpack.
    :return: What was found outside the needles' homes, and how many files were read.
    """
    paths: list[str] = []
    for root in roots:
        command = ["find", root, "-xdev", "-type", "f", "-newerct", f"@{since:.0f}", "-print0"]
        listed = limit.run(command, f"what is below {root}")
        paths += [p for p in _split(listed) if not skip(p)]
    found = [
        Find(label, f"the name of {path}")
        for path in paths
        for label in labels_in(os.fsencode(path), needles)
    ]
    packed = {path: head for path in paths if (head := _head(path))}
    if unread is not None and shutil.which("zstd") is None:
        unread += [path for path, head in packed.items() if head == _ZSTD]
    for path in _grep_files(paths, packed, needles, parallel):
        found += [Find(needle.label, path) for needle in _needles_of(path, needles)]
    return found, len(paths)


def _needles_of(path: str, needles: Iterable[Needle]) -> list[Needle]:
    """The needles that a file has and must not have."""
    labels = _labels_of(_pieces(path), needles)
    if head := _head(path):
        labels |= _labels_of(_unpacked(path, head), needles)
    return [n for n in needles if n.label in labels and not path.startswith(n.homes or ("\0",))]


def _pieces(path: str) -> Iterator[bytes]:
    """A file of any size, nothing where it is gone by now.

    Not mapped into memory: a file that is cut short meanwhile would end the process by SIGBUS.
    """
    with contextlib.suppress(OSError), Path(path).open("rb") as stream:
        while piece := stream.read(_PIECE):
            yield piece


def _head(path: str) -> bytes:
    """What a packed file begins with, empty for another one."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:  # gone by now
        return b""
    try:
        begin = os.read(handle, max(map(len, _HEADS)))
    except OSError:
        return b""
    finally:
        os.close(handle)
    return next((head for head in _HEADS if begin.startswith(head)), b"")


def _unpacked(path: str, head: bytes) -> Iterator[bytes]:
    """What a packed file holds, as far as it can be unpacked.

    :raises PhoenixError: where the time of the search is over.
    """
    unpack = {_ZIP: _unzipped, _ZSTD: _zstd}.get(head)
    with contextlib.suppress(*_DAMAGED):
        for piece in unpack(path) if unpack else _streamed(path, _UNPACKERS[head]):
            limit.check("what is packed")
            yield piece


def _streamed(path: str, unpacker: Callable[[], Any]) -> Iterator[bytes]:
    """Piece by piece, so that what was cut off is read up to there."""
    with Path(path).open("rb") as stream:
        engine = unpacker()
        while piece := stream.read(_PACKED_PIECE):
            while piece:
                yield engine.decompress(piece)
                # Several of them, one behind the other, are one file.
                piece = engine.unused_data if engine.eof else b""
                engine = unpacker() if engine.eof else engine


def _unzipped(path: str) -> Iterator[bytes]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            with contextlib.suppress(*_DAMAGED), archive.open(entry) as stream:
                while piece := stream.read(_PIECE):
                    yield piece


def _zstd(path: str) -> Iterator[bytes]:
    command = ["zstd", "-dcq", "--", path]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as done:
        output: Any = done.stdout
        try:
            while piece := output.read(_PIECE):
                yield piece
        finally:
            done.kill()


def _labels_of(pieces: Iterable[bytes], needles: Iterable[Needle]) -> set[str]:
    """Which needles are in a content that comes piece by piece."""
    longest = max(len(pattern) for needle in needles for pattern in needle.patterns)
    labels: set[str] = set()
    end = b""
    for more in pieces:
        piece = end + more
        labels |= labels_in(piece, needles)
        end = piece[1 - longest :]  # one may begin here that goes on in the next piece
    return labels


def _split(output: bytes) -> list[str]:
    return [os.fsdecode(item) for item in output.split(b"\0") if item]


@contextlib.contextmanager
def _pattern_file(needles: Iterable[Needle]) -> Iterator[str]:
    patterns = sorted({pattern for needle in needles for pattern in needle.patterns})
    # surrogateescape carries bytes that are no UTF-8 through a text.
    text = b"\n".join(patterns).decode("utf-8", "surrogateescape")
    with in_memory(text) as (path,):
        yield path


def _grep_files(
    paths: Sequence[str], packed: dict[str, bytes], needles: Sequence[Needle], parallel: int
) -> list[str]:
    if not paths or not any(needle.patterns for needle in needles):
        return []
    with _pattern_file(needles) as patterns, ThreadPoolExecutor(parallel) as pool:
        look = ("grep", "-laZsF", "-D", "skip", "-f", patterns, "--")
        clear = limit.run(
            ["xargs", "-0", "-P", str(parallel), "-n", "400", "--", *look],
            f"{len(paths)} files",
            given=b"\0".join(os.fsencode(path) for path in paths),
            pass_fds=(_handle(patterns),),
            env=_GREP,
        )
        # How long it may take is known in this thread; a context serves one thread at a time.
        contexts = [contextvars.copy_context() for _path in packed]
        hits = pool.map(
            lambda context, path: context.run(_grep_packed, path, packed[path], patterns),
            contexts,
            packed,
        )
        unpacked = [path for path, hit in zip(packed, hits, strict=True) if hit]
    return list(dict.fromkeys(_split(clear) + unpacked))


def _grep_packed(path: str, head: bytes, patterns: str) -> bool:
    """Whether a packed file holds any of the patterns."""
    with subprocess.Popen(
        ["grep", "-qaF", "-f", patterns],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(_handle(patterns),),
        env=_GREP,
        bufsize=0,  # what was not taken must not be there for a later flush, which fails
    ) as search:
        given: Any = search.stdin
        with contextlib.suppress(BrokenPipeError):  # it ends with the first that it finds
            for piece in _unpacked(path, head):
                rest = memoryview(piece)
                while rest:
                    rest = rest[given.write(rest) :]
            given.close()
    return search.returncode == 0


def _handle(patterns: str) -> int:
    return int(patterns.rpartition("/")[2])


def journal(needles: Sequence[Needle], *, since: float) -> list[Find]:
    """Search all fields of the system's journals, arguments of the loggers included.

    :raises PhoenixError: where the control, which this writes, is not found.
    """
    mark = control()
    _log(f"attest: looking for secrets in the journal, {mark.value}")
    with _pattern_file([*needles, mark]) as patterns:
        look = ["-aF", "-f", patterns]
        lines = grep_journal(look, since=since, pass_fds=(_handle(patterns),))
    labels = labels_in(lines, [*needles, mark])
    if mark.label not in labels:
        raise PhoenixError("the search of the journal did not find its own control")
    return [Find(label, "the journal") for label in sorted(labels - {mark.label})]


def grep_journal(look: Sequence[str], *, since: float, **options: Any) -> bytes:
    """What grep prints, with these arguments, of all that the system's journals have to export.

    :raises PhoenixError: where the time of the search is over.
    """
    limit.run(["journalctl", "--sync"], "the journal")
    with subprocess.Popen(
        [*EVERY_JOURNAL, "--since", f"@{since:.0f}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as source:
        try:
            return limit.run(
                ["grep", *look], "the journal", stdin=source.stdout, env=_GREP, **options
            )
        finally:
            source.kill()


def _log(text: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect("/dev/log")
        line.send(f"<14>tamshai-attest[{os.getpid()}]: {text}".encode())


def processes(
    needles: Sequence[Needle], home: Callable[[str], str], *, proc: str = "/proc"
) -> tuple[list[Find], int]:
    """Search environment and arguments of every process outside the containers of the needle.

    :arg home: From a container's id to the label prefix of its own needles (`` for none).
    :return: What was found, and how many processes were looked at.
    :raises PhoenixError: where the control, a process that this starts, is not found.
    """
    mark = control()
    with subprocess.Popen(
        ["cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env={"ATTEST_CONTROL": mark.value},
    ) as witness:
        found: list[Find] = []
        count = 0
        for folder in Path(proc).iterdir():
            if folder.name.isdigit():
                hits = _process(folder, [*needles, mark], home)
                count += hits is not None
                found += hits or []
        witness.communicate()
    if not any(item.label == mark.label for item in found):
        raise PhoenixError("the search of the processes did not find its own control")
    return [item for item in found if item.label != mark.label], count


def _process(
    folder: Path, needles: Sequence[Needle], home: Callable[[str], str]
) -> list[Find] | None:
    try:
        content = {name: (folder / name).read_bytes() for name in ("environ", "cmdline")}
        groups = (folder / "cgroup").read_text()
        name = (folder / "comm").read_text().strip()
    except OSError:  # it has ended
        return None
    ids = _CONTAINER_ID.findall(groups)
    own = home(ids[-1]) if ids else ""
    return [
        Find(label, f"the {what} of process {folder.name} ({name})")
        for what, data in (("environment", content["environ"]), ("arguments", content["cmdline"]))
        for label in labels_in(data, needles)
        if not (own and label.startswith(own))
    ]
