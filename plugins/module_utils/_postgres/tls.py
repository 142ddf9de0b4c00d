# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TLS of a PostgreSQL server: staged, reloaded, proven from outside, or put back as it was.

A reload that PostgreSQL could not carry out is visible only in its log: ``pg_reload_conf()``
answers true, the old TLS context goes on serving, and the next start is fatal. So nothing here
believes a reload: files are tried before the server sees them, and the served certificate is
compared after.
"""

from __future__ import annotations

import json
import ssl
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    read_bytes_or_none,
    symlink_atomic,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import (
    PostgresError,
    PostgresUnprovenError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.session import (
    Session,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.wire import (
    Served,
    client_context,
    handshake,
    namespace_addresses,
    startup,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

__all__ = ["Bundle", "Enforcer", "Proof", "Wanted", "rehearse"]

# SQLSTATE invalid_authorization_specification: what the access rules answer, and nothing else does.
REFUSED_BY_RULES = "28000"
PROVEN = ".proven"
SECOND_LOOK = 0.5  # seconds


@dataclass(frozen=True)
class Bundle:
    """Certificate, key and CA, as the module sees them; a symbolic link to a version, usually."""

    path: Path

    @property
    def certificate(self) -> Path:
        return self.path / "tls.crt"

    @property
    def key(self) -> Path:
        return self.path / "tls.key"

    @property
    def ca(self) -> Path:
        return self.path / "ca.crt"

    @property
    def version(self) -> str:
        return str(self.path.readlink()) if self.path.is_symlink() else ""


@dataclass(frozen=True)
class Wanted:
    """What the server is to be.

    :arg files: Name in ``config_dir`` -> content. ``access`` among them holds the access rules.
    :arg pairs: (database, user) that the access rules name; a plaintext login of each is tried.
    :arg plaintext: What becomes of plaintext sessions: ``refuse``, ``keep`` or ``terminate``.
    """

    config_dir: Path
    server_config_dir: str
    files: Mapping[str, bytes]
    access: str
    settings: Iterable[str]
    bundle: Bundle
    server_name: str
    port: int
    pairs: Iterable[tuple[str, str]]
    addresses: tuple[str, ...] = ()
    plaintext: str = "refuse"
    uid: int | None = None
    gid: int | None = None
    timeout: float = 15


@dataclass
class Proof:
    """What was seen from outside."""

    served: list[Served] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


def rehearse(bundle: Bundle, server_name: str, server_uid: int | None = None) -> str:
    """Do a whole handshake with the files in memory; answer the certificate's serial.

    Finds a key of another certificate, a chain that does not verify, a missing name, a wrong usage
    or time, before the server is told to read any of it.

    :arg server_uid: The server's user, to check that it would accept the key file's owner and mode.
    :raises PostgresUnprovenError: in words of what is wrong with which file.
    """
    try:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(str(bundle.certificate), str(bundle.key))
        server.load_verify_locations(str(bundle.ca))
        context = client_context(bundle.ca)
    except (OSError, ssl.SSLError) as error:
        raise PostgresUnprovenError(
            f"the certificate bundle {bundle.path} cannot be used: {_words(error)}"
        ) from None
    _check_key_mode(bundle.key, server_uid)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(back, there, server_hostname=server_name)
    peer = server.wrap_bio(there, back, server_side=True)
    try:
        for _round in range(4):
            for side in (client, peer):
                try:
                    side.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLCertVerificationError as error:
        raise PostgresUnprovenError(
            f"the certificate bundle {bundle.path} does not verify as {server_name}: "
            f"{error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        raise PostgresUnprovenError(
            f"the certificate bundle {bundle.path} does not do a handshake: {_words(error)}"
        ) from None
    return str((client.getpeercert() or {}).get("serialNumber", ""))


def _check_key_mode(key: Path, server_uid: int | None) -> None:
    found = key.stat()
    mode = stat.S_IMODE(found.st_mode)
    by_owner = server_uid in (None, found.st_uid) and not mode & 0o077
    by_root = found.st_uid == 0 and not mode & 0o137
    if not (by_owner or by_root):
        raise PostgresUnprovenError(
            f"PostgreSQL would not read {key}: owner {found.st_uid}, mode {mode:04o}",
            hint="The key belongs to the server's user with 0600 or less, or to root with 0640.",
        )


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason:
        return str(reason).lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)


class Enforcer:
    """Brings a server to what is wanted, and back if that cannot be shown.

    :arg connect: Opens a superuser session that the access rules cannot cut off.
    :arg save: Has a reboot bring back the bundles as they are; answers why it does not, if so.
    """

    def __init__(
        self, wanted: Wanted, connect: Callable[[], Session], save: Callable[[], str]
    ) -> None:
        self.wanted = wanted
        self.connect = connect
        self.save = save
        self.plan = Plan()
        self.restart_required: list[str] = []
        self.plaintext_sessions: list[dict[str, Any]] = []
        self.server_version = 0
        self.addresses: tuple[str, ...] = ()
        self._server_uid: int | None = None
        self._before = {name: self._read(name) for name in wanted.files}

    # -- reading

    def stage_only(self) -> None:
        """Plan for a server that does not run: its files."""
        self._plan_files()

    def observe(self, session: Session) -> Proof | None:
        """Compare the running server with what is wanted; answer the proof where it is so."""
        self.server_version = session.version
        self._find_server(session)
        self._check_paths(session)
        self._plan_files()
        self.plaintext_sessions = _plaintext_sessions(session)
        if self.plan.changed:
            self.plan.add("server", "postgresql", "reload")
            return None
        try:
            serial = self.rehearse()
            # A second look, so that a host that is busy for a moment is not taken for one in drift.
            return wait_until(
                lambda: self._prove(session, serial), timeout=SECOND_LOOK, what="the proof"
            )
        except PostgresError as error:
            self.plan.add("server", "postgresql", "reload", note=error.message)
        return None

    def _find_server(self, session: Session) -> None:
        process = session.server_process()
        if process is not None:
            pid, self._server_uid = process
        if self.wanted.addresses:
            self.addresses = self.wanted.addresses
        elif process is not None:
            self.addresses = tuple(namespace_addresses(pid))
        if not self.addresses:
            raise PostgresUnprovenError(
                "the address where PostgreSQL serves TLS is not known",
                hint="Give it as address.",
            )

    def _check_paths(self, session: Session) -> None:
        wanted = f"{self.wanted.server_config_dir}/{self.wanted.access}"
        found = session.value("SELECT current_setting('hba_file')")
        if found != wanted:
            raise PostgresError(
                f"the server reads its access rules from {found}, not from {wanted}",
                hint="Point hba_file there and restart the server once.",
            )

    def _plan_files(self) -> None:
        for name, content in self.wanted.files.items():
            before = self._before[name]
            if before != content:
                self.plan.add(
                    "file",
                    str(self.wanted.config_dir / name),
                    "create" if before is None else "update",
                    None if before is None else before.decode("utf-8", "replace").splitlines(),
                    content.decode("utf-8").splitlines(),
                )

    # -- acting

    def rehearse(self) -> str:
        """The bundle tried in memory; see :func:`rehearse`."""
        return rehearse(self.wanted.bundle, self.wanted.server_name, self._server_uid)

    def write_staged(self) -> None:
        """Write the files of a first start, which a bad bundle would keep from happening."""
        self.rehearse()
        self.wanted.config_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name in self.wanted.files:
            if self._before[name] != self.wanted.files[name]:
                self._write(name, self.wanted.files[name])

    def enforce(self) -> Proof:
        """Stage, reload, prove; on any failure put the last proven state back and prove that."""
        try:
            return self._enforce()
        except BaseException as error:
            outcome = self._restore()
            if isinstance(error, PhoenixError):
                error.message = f"{error.message.rstrip('.')}. {outcome}"
                error.facts["restored"] = outcome
            raise

    def _enforce(self) -> Proof:
        wanted = self.wanted
        serial = self.rehearse()
        # TLS first, with the access rules as they are: nobody is cut off while it is unproven.
        self._write_changed(name for name in wanted.files if name != wanted.access)
        self._reload()
        with self.connect() as session:
            self._check_settings(session)
            self._wait_served(serial)
            self.plaintext_sessions = _plaintext_sessions(session)
        if self.plaintext_sessions and wanted.plaintext == "refuse":
            names = ", ".join(
                f"{row['login']} on {row['database']} from {row['address']}"
                for row in self.plaintext_sessions
            )
            raise PostgresError(
                f"{len(self.plaintext_sessions)} session(s) in plaintext would be cut off later "
                f"without a warning: {names}",
                hint="End them, or say keep or terminate in plaintext_sessions.",
                plaintext_sessions=self.plaintext_sessions,
            )
        self._write_changed([wanted.access])
        self._reload()
        with self.connect() as session:
            if wanted.plaintext == "terminate" and self.plaintext_sessions:
                session.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_ssl JOIN pg_stat_activity "
                    "USING (pid) WHERE NOT ssl AND client_addr IS NOT NULL"
                )
            return self._prove(session, serial)

    def remember(self) -> None:
        """Keep the proven files, as what a later failure goes back to."""
        store = self.wanted.config_dir / PROVEN
        store.mkdir(mode=0o750, exist_ok=True)
        for name, content in self.wanted.files.items():
            if read_bytes_or_none(store / name) != content:
                write_atomic(store / name, content, mode=0o640)
        note = json.dumps({"bundle": self.wanted.bundle.version}).encode("ascii")
        if read_bytes_or_none(store / "proven.json") != note:
            write_atomic(store / "proven.json", note, mode=0o640)

    def _restore(self) -> str:
        """Put back what was proven last; answer a sentence on how that went."""
        store = self.wanted.config_dir / PROVEN
        for name, before in self._before.items():
            proven = read_bytes_or_none(store / name)
            content = proven if proven is not None else before
            if content is not None and content != self._read(name):
                self._write(name, content)
        remark = self._restore_bundle(store)
        back = f"The last proven state is put back{remark}"
        try:
            serial = self.rehearse()
            self._reload()
            self._wait_served(serial)
        except PhoenixError as error:
            return f"{back}, but does not prove itself: {error.message}"
        return f"{back} and serves."

    def _restore_bundle(self, store: Path) -> str:
        """Point to the proven bundle; answer what is amiss with that, as part of a sentence."""
        note = read_bytes_or_none(store / "proven.json")
        bundle = self.wanted.bundle
        version = json.loads(note).get("bundle", "") if note else ""
        if not version or not bundle.path.is_symlink() or version == bundle.version:
            return ""
        proven = Bundle(bundle.path.parent / version)
        try:
            rehearse(proven, self.wanted.server_name, self._server_uid)
        except PhoenixError as error:
            return f" but for its certificate bundle ({error.message})"
        symlink_atomic(version, bundle.path)
        unsaved = self.save()
        return f" until the next boot ({unsaved})" if unsaved else ""

    def _reload(self) -> None:
        with self.connect() as session:
            self._check_files(session)
            before = session.value("SELECT pg_conf_load_time()")
            session.value("SELECT pg_reload_conf()")

        def reloaded() -> bool:
            with self.connect() as fresh:
                return bool(fresh.value("SELECT pg_conf_load_time()") > before)

        wait_until(reloaded, timeout=self.wanted.timeout, what="PostgreSQL to read its files again")

    def _check_files(self, session: Session) -> None:
        """The server's own parser on the files as they lie there now, before it is told to load.

        For some mistakes (an unknown ``clientcert``, for one) the parser fills in no error and just
        leaves the rule out of its view: such a row has no type, and the reload would fail.
        """
        problems = [
            f"{row['file']} line {row['line']}: {row['error']}"
            for row in session.query(
                "SELECT file_name AS file, line_number AS line, coalesce(error, 'not a rule') "
                "AS error FROM pg_hba_file_rules WHERE error IS NOT NULL OR type IS NULL UNION ALL "
                "SELECT file_name, line_number, coalesce(error, 'not a mapping') "
                "FROM pg_ident_file_mappings WHERE error IS NOT NULL OR map_name IS NULL UNION ALL "
                "SELECT sourcefile, sourceline, coalesce(name || ': ', '') || error "
                "FROM pg_file_settings "
                "WHERE error IS NOT NULL AND error <> 'setting could not be applied' "
                "ORDER BY 1, 2"
            )
        ]
        if problems:
            raise PostgresError(
                "PostgreSQL cannot read its files: " + "; ".join(problems), problems=problems
            )

    def _check_settings(self, session: Session) -> None:
        rows = session.query(
            "SELECT name, coalesce(sourcefile, source) AS source, pending_restart FROM pg_settings "
            "WHERE name = ANY (%(names)s)",
            {"names": list(self.wanted.settings)},
        )
        self.restart_required = sorted(row["name"] for row in rows if row["pending_restart"])
        folder = self.wanted.server_config_dir
        overridden = [
            f"{row['name']} (by {row['source']})"
            for row in rows
            if not row["pending_restart"]
            and row["name"] not in ("hba_file", "ident_file")
            and not str(row["source"]).startswith(f"{folder}/")
        ]
        if overridden:
            raise PostgresError(
                f"settings in {folder} have no effect: {', '.join(overridden)}",
                hint="ALTER SYSTEM RESET them, or take them off the server's command line.",
            )

    def _check_loaded(self, session: Session) -> None:
        """Files that are newer than the server's last look at them have no effect yet."""
        loaded = float(session.value("SELECT extract(epoch FROM pg_conf_load_time())"))
        bundle = self.wanted.bundle
        paths = [self.wanted.config_dir / name for name in self.wanted.files]
        paths += [bundle.path, bundle.certificate, bundle.key, bundle.ca]
        newer = [str(path) for path in paths if path.lstat().st_mtime > loaded]
        if newer:
            raise PostgresUnprovenError(
                f"the server has not read {', '.join(newer)} since it changed"
            )

    # -- proving

    def _serve(self, address: str, serial: str) -> Served:
        wanted = self.wanted
        served = handshake(
            address, wanted.port, wanted.server_name, client_context(wanted.bundle.ca)
        )
        if served.serial != serial:
            raise PostgresUnprovenError(
                f"{address}:{wanted.port} serves certificate {served.serial}, not {serial}"
            )
        return served

    def _wait_served(self, serial: str) -> list[Served]:
        return wait_until(
            lambda: [self._serve(address, serial) for address in self.addresses],
            timeout=self.wanted.timeout,
            what="PostgreSQL to serve its certificate",
        )

    def _prove(self, session: Session, serial: str) -> Proof:
        """A handshake with verify-full on each address, and plaintext refused to everyone there."""
        wanted = self.wanted
        self._check_files(session)
        self._check_settings(session)
        self._check_loaded(session)
        proof = Proof(served=[self._serve(address, serial) for address in self.addresses])
        superuser = session.value("SELECT current_user")
        tried = list(dict.fromkeys([*wanted.pairs, ("postgres", superuser)]))
        for address in self.addresses:
            for database, user in tried:
                answer = startup(address, wanted.port, user, database)
                where = f"{user} on {database} at {address}:{wanted.port}"
                if answer.accepted:
                    raise PostgresUnprovenError(f"a plaintext login of {where} is not refused")
                if answer.code != REFUSED_BY_RULES:
                    raise PostgresUnprovenError(
                        f"a plaintext login of {where} failed for another reason than the access "
                        f"rules: {answer.code} {answer.message}".rstrip()
                    )
                proof.refused.append({"address": address, "login": user, "database": database})
        return proof

    # -- files

    def _read(self, name: str) -> bytes | None:
        return read_bytes_or_none(self.wanted.config_dir / name)

    def _write(self, name: str, content: bytes) -> None:
        write_atomic(
            self.wanted.config_dir / name,
            content,
            mode=0o640,
            uid=self.wanted.uid,
            gid=self.wanted.gid,
        )

    def _write_changed(self, names: Iterable[str]) -> None:
        for name in names:
            if self._read(name) != self.wanted.files[name]:
                self._write(name, self.wanted.files[name])


def _plaintext_sessions(session: Session) -> list[dict[str, Any]]:
    return session.query(
        "SELECT pid, usename AS login, datname AS database, host(client_addr) AS address, "
        "application_name AS application FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        "WHERE NOT ssl AND client_addr IS NOT NULL ORDER BY pid"
    )
