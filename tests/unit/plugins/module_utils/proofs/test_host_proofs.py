# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""H1.b, H3, F1 and W.b: what lies on the host, and who gets through which door."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import datetime
import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ansible_collections.tamshai.phoenix.plugins.module_utils._host.swaps import Swap
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import (
    auditlog,
    bundles,
    disruption,
    f1_b,
    foreign,
    h1_b,
    h3_a,
    h3_b,
    hop,
    pgwire,
    ports,
    scan,
    sweep,
    tls,
    w_b,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Container
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import Once
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.hop import Hop
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.scan import Find
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.sweep import Sweep
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errand

VALUES = {
    "mcp-gateway": {"CLAUDE_API_KEY": "sk-ant-secret", "CANARY": "canary-of-the-gateway"},
    "mcp-hr": {
        "POSTGRES_USER": "tamshai_app",
        "POSTGRES_PASSWORD": "pass-word-0123",
        "POSTGRES_SSL_CERT": "/tls/clients/tamshai_app/current/tls.crt",
        "POSTGRES_SSL_KEY": "/tls/clients/tamshai_app/current/tls.key",
        "CANARY": "canary-of-hr",
    },
}


def told(result: dict[str, Any]) -> tuple[str, str]:
    return result["status"], result["reason"]


# H1.b


def read(path: str, role: str = "", name: str = "approle", **more: Any) -> bytes:
    entry = {
        "type": "response",
        "request": {"operation": "read", "path": path},
        "response": {"data": {"data": "hmac-sha256:..."}},
        "auth": {"display_name": name, "metadata": {"role_name": role} if role else None},
        **more,
    }
    return json.dumps(entry).encode() + b"\n"


PROBE = read("tamshai/data/mcp-hr", "mcp-gateway").replace(
    b'"role_name"', b'"purpose": "attest", "role_name"'
)
READS = (
    PROBE
    + read("tamshai/data/mcp-gateway", "mcp-gateway")
    + read("tamshai/data/mcp-hr", "mcp-hr")
    + read("database/static-creds/tamshai-app", "mcp-hr")
    + read("database/static-creds/tamshai-app-b", "mcp-hr")
    + read("tamshai/data/mcp-hr", "mcp-gateway", error="permission denied")
    + b'{"half a li'
)


@pytest.fixture
def delivered(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stage with secrets in place, each search finding nothing, and reads in the audit log."""
    log = tmp_path / "audit.json"
    log.write_bytes(READS)
    monkeypatch.setattr(auditlog, "log_file", lambda _site: log)
    for agent in stage.estate["agents"]:
        agent["uid"] = os.getuid()
        path = Path(agent["run"]) / "secrets.json"
        path.write_text(json.dumps(VALUES[agent["service"]]))
        path.chmod(0o400)
    monkeypatch.setattr(
        scan,
        "mounts",
        lambda: (
            [
                scan.Mount("/", "ext4", "8:1", "/"),
                scan.Mount(str(tmp_path / "run"), "tmpfs", "0:9", "/"),
            ]
        ),
    )
    monkeypatch.setattr(scan, "processes", lambda *_a, **_k: ([], 40))
    monkeypatch.setattr(scan, "journal", lambda *_a, **_k: [])
    monkeypatch.setattr(stage.site, "private_keys", lambda: iter(()))
    monkeypatch.setattr(stage.site.engine, "images", lambda: [{"Id": "sha256:1", "RepoTags": None}])
    stage.site.sweep = Once(Sweep)
    monkeypatch.setattr(w_b, "_TPM", tmp_path / "no-tpm")
    stage.audit = log
    return stage


def test_secrets_where_they_belong_pass(delivered: Any) -> None:
    result = delivered.prove("H1.b")
    assert told(result) == ("pass", "")
    seen = result["evidence"]
    assert seen["delivered"]["mcp-hr"]["file_system"] == "tmpfs"
    assert seen["readers"]["tamshai/data/mcp-hr"] == {
        "the proofs": 1,
        "AppRole mcp-hr": 1,
    }
    assert "mcp-hr/POSTGRES_PASSWORD" in seen["looked_for"]
    assert "mcp-hr/POSTGRES_USER" not in seen["looked_for"]
    assert seen["memory_limits"]["note"].startswith("not enforced")
    for values in VALUES.values():
        for name, value in values.items():
            assert name == "POSTGRES_USER" or value not in repr(result)


def test_swap_is_told_and_not_read(delivered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    areas = [
        Swap("/dev/vda2", ("/dev/vda2",), plain=True),
        Swap("/dev/dm-0", ("/dev/dm-0", "/var/lib/tamshai/swap"), plain=False),
    ]
    unread: list[str] = []

    def files(
        _roots: Any, wanted: Any, *, skip: Any = lambda _path: False, **_more: Any
    ) -> tuple[list[Find], int]:
        unread[:] = unread or [file for area in areas for file in area.files if skip(file)]
        mark = wanted[-1]
        witnesses = Path("/var/tmp").glob(f".{mark.value[:24]}*")
        return [Find(mark.label, str(path)) for path in witnesses], 2

    monkeypatch.setattr(sweep, "swaps", lambda: areas)
    monkeypatch.setattr(scan, "files", files)
    monkeypatch.setattr(sweep, "_elsewhere", lambda *_arguments: ([], 0))
    monkeypatch.setattr(sweep, "_programs", lambda _site: [])
    monkeypatch.setattr(delivered.site, "born", lambda: 0.0)

    monkeypatch.setattr(sweep, "container_manager", lambda: "")
    found = sweep.search(delivered.site)
    assert found.swaps == ["/dev/vda2", "/dev/dm-0"]
    (fault,) = found.plain_swap
    assert "/dev/vda2, which is not encrypted" in fault
    assert unread == ["/dev/vda2", "/dev/dm-0", "/var/lib/tamshai/swap"]

    monkeypatch.setattr(sweep, "container_manager", lambda: "docker")
    assert sweep.search(delivered.site).plain_swap == []


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "ext4"])
def test_what_is_at_home_is_so_in_memory_only(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """The store's unit is off, and somebody has copied the keys to the directory below it."""
    table = [
        scan.Mount("/var/tmp", "ext4", "8:1", "/"),  # where the control is
        scan.Mount(str(tmp_path), kind, "0:9", "/"),
    ]
    vault = tmp_path / "run" / "vault"
    vault.mkdir()
    (vault / "seal.key").write_text("what-opens-the-vault")
    store.estate["services"]["vault"]["run"] = str(vault)
    for agent in store.estate["agents"]:
        place = Path(agent["run"]) / "secrets.json"
        place.write_text(json.dumps({"CANARY": f"canary-of-{agent['service']}"}))
    monkeypatch.setattr(scan, "mounts", lambda: table)
    monkeypatch.setattr(sweep, "swaps", list)
    monkeypatch.setattr(sweep, "_elsewhere", lambda *_arguments: ([], 0))
    monkeypatch.setattr(sweep, "_programs", lambda _site: [])
    store.site.born = Once(lambda: datetime.datetime.now(datetime.UTC).timestamp() - 60)
    found = sweep.search(store.site)
    assert found.volatile == []
    expected = {needle.label for needle in sweep.needles(store.site)} if kind == "ext4" else set()
    assert {find.label for find in found.stored} == expected
    assert all(find.where.startswith(str(tmp_path)) for find in found.stored)


def test_the_key_of_the_bundle_before_is_looked_for(store: Any, tmp_path: Path) -> None:
    """Until it has run out it opens what the one of today does."""
    place = Path(store.estate["root"]) / "certs" / "mcp-hr"
    bundle(place, 4711, BORN)
    half = place / "versions" / "half"
    half.mkdir()
    (half / "tls.crt").write_text("a bundle in the making")
    before = f"mcp-hr/versions/{4711:040x}"
    names = [name for name, _path in store.site.private_keys()]
    assert names == [row["name"] for row in store.estate["certificates"]] + [before]
    wanted = [
        scan.Needle(f"{sweep.KEY}{name}", sweep.private_line(path.read_text()))
        for name, path in store.site.private_keys()
    ]
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "old.key").write_text(
        (Path(store.estate["root"]) / "certs" / before / "tls.key").read_text()
    )
    found, _read = scan.files([str(disk)], wanted, since=0)
    assert found == [Find(f"key of {before}", f"{disk}/old.key")]


@pytest.mark.parametrize("proof", ["H1.b", "W.b"])
def test_plain_swap_is_a_place_where_secrets_may_lie(delivered: Any, proof: str) -> None:
    said = "memory is swapped to /dev/vda2"
    delivered.site.sweep = Once(lambda: Sweep(swaps=["/dev/vda2"], plain_swap=[said]))
    status, reason = told(delivered.prove(proof))
    assert status == "fail"
    assert said in reason


@pytest.mark.parametrize(
    ("where", "make"),
    [
        ("a disk", lambda s, m: setattr(s.site, "sweep", Once(lambda: Sweep(stored=[FOUND])))),
        ("memory", lambda s, m: setattr(s.site, "sweep", Once(lambda: Sweep(volatile=[FOUND])))),
        ("a process", lambda s, m: m.setattr(scan, "processes", lambda *_a: ([FOUND], 1))),
        ("the journal", lambda s, m: m.setattr(scan, "journal", lambda *_a, **_k: [FOUND])),
    ],
)
def test_a_secret_elsewhere(
    delivered: Any, monkeypatch: pytest.MonkeyPatch, where: str, make: Callable[..., None]
) -> None:
    make(delivered, monkeypatch)
    assert told(delivered.prove("H1.b")) == ("fail", "mcp-hr/CANARY in some place")


FOUND = Find("mcp-hr/CANARY", "some place")


def test_a_key_on_a_disk_is_not_this_proofs(delivered: Any) -> None:
    delivered.site.sweep = Once(lambda: Sweep(stored=[Find(sweep.KEY + "mcp-hr", "/root/x")]))
    assert told(delivered.prove("H1.b")) == ("pass", "")


def test_a_secret_in_a_containers_environment(delivered: Any) -> None:
    box = delivered.boxes[0]
    box.inspected["Config"]["Env"].append("X=canary-of-hr")
    assert told(delivered.prove("H1.b")) == (
        "fail",
        f"mcp-hr/CANARY in docker inspect of container {box.name}",
    )


def test_a_service_of_another_project_owns_nothing(
    delivered: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a staging estate, with a service of the same name: in its memory and its processes."""
    box = another(delivered, "staging-mcp-hr-1", project="staging")
    box.inspected["Id"] = "5" * 64
    note = tmp_path / "20" / "root" / "note"
    note.parent.mkdir(parents=True)
    note.write_text("canary-of-hr")
    mount = scan.Mount("/", "tmpfs", "0:20", "/")
    place = scan.Elsewhere(note.parent.parent, "", (mount,))
    monkeypatch.setattr(scan, "memory_elsewhere", lambda _known: [place])
    monkeypatch.setattr(scan.Elsewhere, "open", lambda _place: True)
    for inside, leaks in ((box, {"mcp-hr/CANARY"}), (delivered.boxes[4], set())):
        monkeypatch.setattr(scan, "container_of", lambda _pid, inside=inside: inside.id)
        found, _read = sweep._elsewhere(delivered.site, sweep.needles(delivered.site), [])
        assert {find.label for find in found} == leaks
    owned: dict[str, str] = {}

    def processes(_needles: Any, home: Callable[[str], str]) -> tuple[list[Find], int]:
        owned.update({item.name: home(item.id) for item in delivered.boxes})
        return [], 40

    monkeypatch.setattr(scan, "processes", processes)
    delivered.prove("H1.b")
    assert (owned["staging-mcp-hr-1"], owned["tamshai-mcp-hr-1"]) == ("", "mcp-hr/")


def test_a_secret_in_an_image(delivered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"Id": "sha256:1", "RepoTags": ["mcp-hr:1"], "Config": {"Env": ["K=sk-ant-secret"]}}
    monkeypatch.setattr(delivered.site.engine, "images", lambda: [image])
    assert told(delivered.prove("H1.b")) == (
        "fail",
        "mcp-gateway/CLAUDE_API_KEY in docker inspect of image mcp-hr:1",
    )


def test_a_path_that_somebody_else_read(delivered: Any) -> None:
    delivered.audit.write_bytes(
        READS.rpartition(b"\n")[0]
        + b"\n"
        + read("tamshai/data/mcp-hr", "mcp-gateway")
        + read("tamshai/data/mcp-hr", name="cert-operator")
    )
    assert told(delivered.prove("H1.b")) == (
        "fail",
        (
            "tamshai/data/mcp-hr was read by AppRole mcp-gateway; "
            "tamshai/data/mcp-hr was read by cert-operator"
        ),
    )


def test_what_a_service_read_that_is_gone(delivered: Any) -> None:
    """Its own is no fault, once it was removed by name; what is a service's today is one."""
    reads = READS.rpartition(b"\n")[0] + b"\n"
    delivered.audit.write_bytes(reads + read("tamshai/data/mcp-old", "mcp-old"))
    fault = (
        "tamshai/data/mcp-old was read by AppRole mcp-old "
        "(of a service that is gone? vault_settings_purge: [{kind: approle, names: [mcp-old]}])"
    )
    assert told(delivered.prove("H1.b")) == ("fail", fault)
    gone = dataclasses.replace(delivered.site.inputs, others={"gone": ["mcp-old", "mcp-gateway"]})
    delivered.site.inputs = gone
    assert told(delivered.prove("H1.b")) == ("pass", "")
    delivered.audit.write_bytes(
        reads + read("tamshai/data/mcp-hr", "mcp-old") + read("tamshai/data/mcp-old", "mcp-gateway")
    )
    faults = (
        "tamshai/data/mcp-hr was read by AppRole mcp-old",
        "tamshai/data/mcp-old was read by AppRole mcp-gateway",
    )
    assert told(delivered.prove("H1.b")) == ("fail", "; ".join(faults))


KEY = b"k" * 64
AT, TIME = 1795000000.0, "2026-11-18T11:06:40.123456789Z"


@pytest.mark.parametrize(
    ("said", "time", "moved", "reader"),
    [
        (errand.words(KEY, "migration", AT), TIME, True, ""),
        (errand.words(KEY, "attest", AT), TIME, False, ""),
        # Nothing was moved there; an hour later; before it began; by somebody without the key.
        (errand.words(KEY, "migration", AT), TIME, False, "the migration"),
        (errand.words(KEY, "migration", AT - 4000), TIME, True, "token"),
        (errand.words(KEY, "migration", AT + 100), TIME, True, "token"),
        (errand.words(b"x" * 64, "migration", AT), TIME, True, "token"),
        ({**errand.words(KEY, "migration", AT), "since": "x"}, TIME, True, "token"),
        (errand.words(KEY, "migration", AT), None, True, "token"),
        ({"purpose": "attest"}, TIME, True, "token"),
        ({"role_name": "mcp-hr"}, TIME, True, "token"),
        (None, TIME, True, "token"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_who_is_root_and_what_for(
    delivered: Any,
    said: dict[str, str] | None,
    time: str | None,
    moved: bool,
    reader: str,
    wrapped: bool,
) -> None:
    entry = json.loads(read("tamshai/data/mcp-hr", name="token"))
    entry |= {"auth": {"display_name": "token", "metadata": said}, "time": time}
    if wrapped:
        entry["response"] = {"wrap_info": {"ttl": 60}}
    delivered.audit.write_bytes(json.dumps(entry).encode() + b"\n" + READS)
    record = {"secret x": {"mount": "tamshai", "path": "mcp-hr"}} if moved else {}
    delivered.site.inputs = dataclasses.replace(
        delivered.site.inputs, migrated=record, migration_key=KEY.decode()
    )
    reason = f"tamshai/data/mcp-hr was read by {reader}" if reader else ""
    assert told(delivered.prove("H1.b")) == ("fail" if reader else "pass", reason)


def test_a_secret_that_no_approle_read(delivered: Any) -> None:
    delivered.audit.write_bytes(
        read("tamshai/data/mcp-gateway", "mcp-gateway") + read("tamshai/data/mcp-hr", "mcp-hr")
    )
    assert told(delivered.prove("H1.b")) == (
        "fail",
        (
            "no read of database/static-creds/tamshai-app by AppRole mcp-hr is in the audit log; "
            "no read of database/static-creds/tamshai-app-b by AppRole mcp-hr is in the audit log"
        ),
    )


def test_reads_in_logs_that_were_put_aside(delivered: Any) -> None:
    folder = delivered.audit.parent
    stranger = read("tamshai/data/mcp-hr", name="cert-operator")
    (folder / "audit-20261126T120000Z.json.gz").write_bytes(gzip.compress(stranger))
    (folder / "audit-20261126T130000Z.json.gz").write_bytes(gzip.compress(PROBE))
    # Killed in the middle: the packed form is half of it.
    (folder / "audit-20261126T140000Z.json.gz").write_bytes(gzip.compress(READS)[:20])
    (folder / "audit-20261126T140000Z.json").write_bytes(READS.rpartition(b"\n")[0] + b"\n")
    delivered.audit.write_bytes(b"")
    # The oldest of three is not looked at any more.
    result = delivered.prove("H1.b")
    assert told(result) == ("pass", "")
    assert result["evidence"]["readers"]["tamshai/data/mcp-hr"]["the proofs"] == 2
    (folder / "audit-20261126T130000Z.json.gz").write_bytes(gzip.compress(stranger))
    assert told(delivered.prove("H1.b")) == (
        "fail",
        "tamshai/data/mcp-hr was read by cert-operator",
    )


def test_a_log_that_is_compressed_meanwhile_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "audit-1.json.gz").write_bytes(gzip.compress(b"line"))
    assert auditlog._open(tmp_path / "audit-1.json").read() == b"line"


def test_a_secrets_file_that_others_may_read(delivered: Any) -> None:
    path = Path(delivered.estate["agents"][0]["run"]) / "secrets.json"
    path.chmod(0o444)
    status, reason = told(delivered.prove("H1.b"))
    assert status == "fail"
    assert "mode 0444" in reason


def test_a_secrets_file_on_a_disk(delivered: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "mounts", lambda: [scan.Mount("/", "ext4", "8:1", "/")])
    status, reason = told(delivered.prove("H1.b"))
    assert status == "fail"
    assert "is on ext4, not in memory" in reason


def test_a_secret_that_is_missing_or_empty(delivered: Any) -> None:
    path = Path(delivered.estate["agents"][1]["run"]) / "secrets.json"
    path.chmod(0o600)
    path.write_text(json.dumps({"POSTGRES_USER": "tamshai_app", "CANARY": " "}))
    path.chmod(0o400)
    status, reason = told(delivered.prove("H1.b"))
    assert status == "fail"
    assert "mcp-hr/CANARY is empty" in reason
    assert "mcp-hr lacks CANARY, POSTGRES_PASSWORD, POSTGRES_SSL_CERT" in reason


def test_secrets_that_were_never_rendered(stage: Any) -> None:
    status, reason = told(stage.prove("H1.b"))
    assert status == "fail"
    assert "the agent of mcp-gateway has rendered no" in reason


def test_limits_that_hold_need_no_note(stage: Any) -> None:
    stage.site.info = Once(lambda: {"MemoryLimit": True})
    assert h1_b.limits(stage.site)["note"] == ""


# H3.a and F1.b: the lines of pg_hba.conf


def line(kind: str, database: str, user: str, address: str, method: str, *options: str) -> Any:
    """A row of the server's view."""
    return {
        "type": kind,
        "database": [database],
        "user_name": [user],
        "address": address.partition("/")[0] or None,
        "netmask": "255.255.255.255" if "/" in address else None,
        "auth_method": method,
        "options": list(options) or None,
        "error": None,
    }


FULL = "clientcert=verify-full"
LINES = [
    line("local", "all", "postgres", "", "peer", "map=root"),
    line("hostssl", "tamshai_hr", "vault_rotator", "samenet", "scram-sha-256", FULL),
    line("hostssl", "tamshai_hr", "tamshai_app", "samenet", "scram-sha-256", FULL),
    line("hostssl", "tamshai_hr", "tamshai_app_b", "samenet", "scram-sha-256", FULL),
    line("hostssl", "postgres", "healthcheck", "127.0.0.1/32", "cert", "map=healthcheck", FULL),
]


@pytest.fixture
def rules(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the server says of its rules; a test puts in others."""
    said = SimpleNamespace(lines=copy.deepcopy(LINES), unread=[])

    def rows(statement: str) -> list[list[str]]:
        if "pg_conf_load_time" in statement:
            return [[name] for name in said.unread]
        numbered = enumerate(said.lines, 2)
        place = "/config/pg_hba.conf"
        return [[json.dumps({"line_number": n, "file_name": place, **row})] for n, row in numbered]

    session = SimpleNamespace(rows=rows)
    monkeypatch.setattr(pgwire, "superuser", lambda _service: contextlib.nullcontext(session))
    return said


@pytest.mark.parametrize(
    ("proof_id", "row", "shown"),
    [
        (
            "F1.b",
            line("host", "tamshai_hr", "tamshai_app", "samenet", "scram-sha-256", FULL),
            f"without TLS, undeclared: host tamshai_hr tamshai_app samenet scram-sha-256 {FULL}",
        ),
        (
            "F1.b",
            line("local", "all", "all", "", "trust"),
            "without TLS, undeclared: local all all trust",
        ),
        (
            "F1.b",
            line("local", "all", "postgres", "", "peer", "map=everybody"),
            "without TLS, undeclared: local all postgres peer map=everybody",
        ),
        (
            "H3.a",
            line("hostssl", "all", "postgres", "samenet", "trust"),
            "over TLS, undeclared: hostssl all postgres samenet trust",
        ),
        (
            "H3.a",
            line("hostssl", "postgres", "healthcheck", "samenet", "cert", FULL, "map=x"),
            f"over TLS, undeclared: hostssl postgres healthcheck samenet cert {FULL} map=x",
        ),
        (
            "H3.a",
            line("hostssl", "all", "all", "all", "ldap", "ldapbindpasswd=geheim"),
            "over TLS, undeclared: hostssl all all all ldap ldapbindpasswd",
        ),
    ],
)
def test_a_line_that_nobody_declared(
    delivered: Any,
    doors: dict[str, Hop],
    database: dict[str, Any],
    rules: SimpleNamespace,
    proof_id: str,
    row: Any,
    shown: str,
) -> None:
    rules.lines.append(row)
    fault = f"line 7 of pg_hba.conf admits {shown}"
    assert told(delivered.prove(proof_id)) == ("fail", fault)
    other = {"F1.b": "H3.a", "H3.a": "F1.b"}[proof_id]
    assert delivered.prove(other)["status"] != "fail", "one broken promise, one proof"


@pytest.mark.parametrize("login", ["vault_rotator", "tamshai_app_b"])
@pytest.mark.parametrize("options", [None, ["clientcert=verify-ca"]])
def test_a_line_that_asks_for_less_than_declared(
    delivered: Any, doors: dict[str, Hop], rules: SimpleNamespace, login: str, options: Any
) -> None:
    row = next(row for row in rules.lines if row["user_name"] == [login])
    row["options"] = options
    status, reason = told(delivered.prove("H3.a"))
    assert status == "fail"
    declared = f"hostssl tamshai_hr {login} samenet scram-sha-256"
    assert f"admits over TLS, undeclared: {declared}" in reason
    assert f"pg_hba.conf lacks a declared line: {declared} {FULL}" in reason


def test_a_declared_line_that_is_missing(
    delivered: Any, doors: dict[str, Hop], database: dict[str, Any], rules: SimpleNamespace
) -> None:
    del rules.lines[0], rules.lines[-1]
    lacks = "pg_hba.conf lacks a declared line: "
    assert told(delivered.prove("F1.b")) == ("fail", f"{lacks}local all postgres peer map=root")
    healthcheck = "hostssl postgres healthcheck 127.0.0.1 255.255.255.255 cert"
    assert told(delivered.prove("H3.a")) == (
        "fail",
        f"{lacks}{healthcheck} {FULL} map=healthcheck",
    )


@pytest.mark.parametrize("proof_id", ["F1.b", "H3.a"])
@pytest.mark.parametrize(
    ("error", "words"),
    [('invalid authentication method "x"', 'method "x"'), (None, "the server skips it")],
)
def test_a_line_that_the_server_cannot_read(
    delivered: Any,
    doors: dict[str, Hop],
    database: dict[str, Any],
    rules: SimpleNamespace,
    proof_id: str,
    error: str | None,
    words: str,
) -> None:
    rules.lines.append({**dict.fromkeys(LINES[0]), "error": error})
    status, reason = told(delivered.prove(proof_id))
    assert status == "fail"
    assert reason.startswith("line 7 of pg_hba.conf is no rule: ")
    assert words in reason


@pytest.mark.parametrize("proof_id", ["F1.b", "H3.a"])
def test_lines_that_are_not_in_force_yet(
    delivered: Any,
    doors: dict[str, Hop],
    database: dict[str, Any],
    rules: SimpleNamespace,
    proof_id: str,
) -> None:
    rules.unread = ["/config/pg_hba.conf"]
    assert told(delivered.prove(proof_id)) == (
        "fail",
        "the server has not read /config/pg_hba.conf since it changed; phase data has it do so",
    )


@pytest.mark.parametrize("proof_id", ["F1.b", "H3.a"])
def test_rules_that_cannot_be_read_pass_nothing(
    delivered: Any,
    doors: dict[str, Hop],
    database: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    proof_id: str,
) -> None:
    def absent(_service: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(pgwire, "superuser", absent)
    status, reason = told(delivered.prove(proof_id))
    assert status == "fail"
    assert reason.startswith("the rules of pg_hba.conf cannot be read: ")


# H3.a

PROBES = [
    ("mcp-gateway -> mcp-hr", "admitted"),
    ("mcp-hr -> vault", "admitted"),
    ("mcp-hr -> vault as the holder of its certificate", "refused"),
    ("mcp-hr -> postgres as tamshai_app", "admitted"),
    ("mcp-hr -> postgres as tamshai_app_b", "admitted"),
    ("vault -> postgres as vault_rotator", "admitted"),
    ("host -> vault", "admitted"),
    ("host -> mcp-hr", "refused"),
    ("postgres -> vault", "refused"),
    ("mcp-gateway -> postgres as tamshai_app", "refused"),
    ("vault -> postgres as tamshai_app", "refused"),
    ("caller without a certificate -> mcp-gateway", "refused"),
    ("caller of a foreign authority -> vault", "refused"),
    *(
        (f"caller {who} -> postgres as {login}", "refused")
        for who in ("without a certificate", "of a foreign authority")
        for login in ("tamshai_app", "tamshai_app_b", "vault_rotator", "postgres")
    ),
]


@pytest.fixture
def doors(
    delivered: Any, rules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Hop]:
    """Every hop as declared; a test puts another outcome for one of them."""
    spoiled: dict[str, Hop] = {}
    monkeypatch.setattr(tls, "client_context", lambda _ca, identity: identity)
    monkeypatch.setattr(foreign, "identity", lambda service: tls.Identity("foreign", "", ""))
    monkeypatch.setattr(tls, "offer_tls11", lambda *_a, **_k: (False, "alert protocol_version"))
    monkeypatch.setattr(hop, "attempt", lambda *_a, **_k: Hop("as declared", "", "TLSv1.3"))
    judge = h3_a._judge

    def judged(site: Any, record: Any, trials: Any, hops: Any) -> None:
        hops[:] = [
            spoiled.get(name) or Hop(expected, "an answer", "TLSv1.3")
            for name, _unused, expected in trials
        ]
        judge(site, record, trials, hops)

    monkeypatch.setattr(h3_a, "_judge", judged)
    return spoiled


def test_every_pair_and_every_stranger_is_tried(delivered: Any, doors: dict[str, Hop]) -> None:
    result = delivered.prove("H3.a")
    # Without the operator's key its own hops cannot be tried, and some of them are declared.
    assert told(result) == (
        "not run",
        "declared calls that could not be tried: operator -> vault, operator -> mcp-gateway",
    )
    outcomes = {name: seen["outcome"] for name, seen in result["evidence"]["hops"].items()}
    for name, expected in PROBES:
        assert outcomes[name] == expected
    # The report says which.
    assert "operator -> mcp-gateway" in result["evidence"]["not_tried"]
    assert result["evidence"]["tls_1_1"]["vault"] == "alert protocol_version"


def test_the_operators_hops_with_its_key(
    restaged: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = restaged(operator=("-----BEGIN", "-----BEGIN"))
    assert stage.site.identity("operator").is_text


def test_every_pair_with_the_operators_key_passes(delivered: Any, doors: dict[str, Hop]) -> None:
    delivered.site.inputs = Inputs(
        delivered.estate, "operator-token", operator=("-----BEGIN", "-----BEGIN")
    )
    result = delivered.prove("H3.a")
    assert told(result) == ("pass", "")
    assert result["evidence"]["hops"]["operator -> vault"]["outcome"] == "admitted"
    assert result["evidence"]["not_tried"] == []
    assert result["evidence"]["told"]["mcp-hr"]["POSTGRES_SSL_REJECT_UNAUTHORIZED"] == "true"


# Values of variables that are no settings of TLS: a report does not show them.
MAY_BE_SECRET = ("/of/nobody", "/of/another", "--require /of/a/password")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MCP_TLS_REJECT_UNAUTHORIZED", "false"),
        ("MCP_ALLOWED_CALLERS", ""),
        ("POSTGRES_SSL", "disable"),
        ("POSTGRES_SSL_REJECT_UNAUTHORIZED", None),
        ("NODE_ENV", "development"),
        ("MCP_CA_CERT", "/of/nobody"),
        ("POSTGRES_SSL_CA", "/x"),
        ("MCP_TLS_ENABLED", "false"),
        ("NODE_TLS_REJECT_UNAUTHORIZED", "0"),
        ("NODE_EXTRA_CA_CERTS", "/of/nobody"),
        ("NODE_OPTIONS", "--require /of/a/password"),
        ("PYTHONHTTPSVERIFY", "0"),
        ("SSL_CERT_FILE", "/of/another"),
    ],
)
def test_a_service_that_is_told_not_to_verify(
    delivered: Any,
    doors: dict[str, Hop],
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    value: str | None,
) -> None:
    of_image = {"PATH": "/bin", "NODE_TLS_REJECT_UNAUTHORIZED": "0"}
    monkeypatch.setattr(delivered.site.engine, "get", images_with(delivered, of_image))
    box = next(box for box in delivered.boxes if box.service == "mcp-hr")
    environment = box.environment | {key: value}
    box.inspected["Config"]["Env"] = [f"{k}={v}" for k, v in environment.items() if v is not None]
    wanted = delivered.estate["services"]["mcp-hr"]["environment"].get(key)
    result = delivered.prove("H3.a")
    with_value = f"mcp-hr runs with {key}={value!r}, declared is {wanted!r}"
    without = f"mcp-hr runs with another {key} than is declared"
    assert told(result) == ("fail", without if value in MAY_BE_SECRET else with_value)
    assert not any(secret in str(result) for secret in MAY_BE_SECRET)


def images_with(stage: Any, environment: dict[str, str]) -> Callable[[str], Any]:
    """The engine, whose image of every service has this environment."""
    for box in stage.boxes:
        box.inspected["Image"] = f"sha256:{box.service}"

    def get(path: str) -> Any:
        assert path.startswith("/images/sha256:")
        return {"Config": {"Env": [f"{key}={value}" for key, value in environment.items()]}}

    return get


def test_a_service_that_verifies_as_its_image_and_its_estate_say(
    delivered: Any, doors: dict[str, Hop], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some images name the file of public authorities, and an estate may declare anything."""
    of_image = {"SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt", "NODE_OPTIONS": "--x"}
    monkeypatch.setattr(delivered.site.engine, "get", images_with(delivered, of_image))
    declared = {"NODE_OPTIONS": "--max-old-space-size=200", "NODE_TLS_REJECT_UNAUTHORIZED": "1"}
    delivered.estate["services"]["mcp-hr"]["environment"] |= declared
    box = next(box for box in delivered.boxes if box.service == "mcp-hr")
    environment = box.environment | of_image | declared | {"SOMETHING": "else"}
    box.inspected["Config"]["Env"] = [f"{key}={value}" for key, value in environment.items()]
    assert delivered.prove("H3.a")["status"] == "not run"  # for want of the operator's key
    box.inspected["Config"]["Env"].append("NODE_OPTIONS=--x")
    assert told(delivered.prove("H3.a"))[0] == "fail"


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("host -> mcp-hr", "admitted"),
        ("host -> mcp-hr", "unreachable"),
        ("mcp-gateway -> mcp-hr", "refused"),
        ("mcp-gateway -> mcp-hr", "unreachable"),
        ("caller without a certificate -> vault", "admitted"),
        ("caller without a certificate -> postgres as vault_rotator", "admitted"),
        ("caller without a certificate -> postgres as tamshai_app_b", "unreachable"),
        ("caller without a certificate -> postgres as postgres", "admitted"),
    ],
)
def test_a_hop_that_ends_otherwise(
    delivered: Any, doors: dict[str, Hop], name: str, outcome: str
) -> None:
    doors[name] = Hop(outcome, "HTTP 200", "TLSv1.3")
    status, reason = told(delivered.prove("H3.a"))
    assert status == "fail"
    assert reason.startswith(f"{name} is {outcome} instead of ")


def test_a_service_that_its_certificate_lets_into_the_vault(
    delivered: Any, doors: dict[str, Hop]
) -> None:
    name = "mcp-hr -> vault as the holder of its certificate"
    doors[name] = Hop("admitted", "HTTP 200: a token with policies ['host']", "TLSv1.3")
    assert told(delivered.prove("H3.a")) == (
        "fail",
        f"{name} is admitted instead of refused: HTTP 200: a token with policies ['host']",
    )


def test_a_role_for_certificates_that_somebody_answers_for(
    delivered: Any, doors: dict[str, Hop]
) -> None:
    """It may be there for that very service."""
    delivered.site.inputs = Inputs(
        delivered.estate, "operator-token", others={"ways_in": ["cert/certs/monitoring"]}
    )
    hops = delivered.prove("H3.a")["evidence"]["hops"]
    assert "mcp-hr -> vault" in hops
    assert not [name for name in hops if "holder" in name]


def test_an_old_protocol(delivered: Any, doors: dict[str, Hop], monkeypatch: Any) -> None:
    doors["mcp-gateway -> mcp-hr"] = Hop("admitted", "HTTP 200", "TLSv1")
    monkeypatch.setattr(tls, "offer_tls11", lambda *_a, **_k: (True, "ServerHello"))
    status, reason = told(delivered.prove("H3.a"))
    assert status == "fail"
    assert "mcp-gateway -> mcp-hr speaks TLSv1" in reason
    assert "postgres accepts TLS 1.1: ServerHello" in reason


def test_tokens_of_the_trials_are_given_back(delivered: Any, doors: dict[str, Hop]) -> None:
    doors["host -> vault"] = Hop("admitted", "HTTP 200", "TLSv1.3", detail={"token": "s.trial"})
    assert "s.trial" not in repr(delivered.prove("H3.a"))
    delivered.site.close()
    assert "s.trial" in delivered.vault.revoked


# H3.b


@pytest.fixture
def open_ports(stage: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    pids = {}
    for number, box in enumerate(stage.boxes):
        box.inspected["State"] = {**box.inspected["State"], "Pid": 100 + number}
        pids[str(100 + number)] = {stage.estate["services"][box.service]["port"]}
    networks = {f"tamshai_{name}" for name in stage.estate["services"]}
    monkeypatch.setattr(stage.site.engine, "networks", lambda _project: networks)
    monkeypatch.setattr(ports, "listening", lambda net: pids[net.parent.name])
    monkeypatch.setattr(h3_b, "plain_request", lambda _a, port: (port != 8080, "an answer"))
    # As an application may that reads certificates itself: H3.a judges the declared ports.
    monkeypatch.setattr(h3_b, "tls_request", lambda _a, port: (port == 8211, "HTTP/1.1 403 No"))
    return pids


def test_tls_ports_pass(stage: Any, open_ports: dict[str, Any]) -> None:
    bindings = {"8200/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8200"}], "9/tcp": None}
    stage.boxes[0].inspected["NetworkSettings"]["Ports"] = bindings
    result = stage.prove("H3.b")
    assert told(result) == ("pass", "")
    assert "vault published as 8200 (127.0.0.1:8200)" in result["evidence"]["answers"]


def test_a_port_that_nobody_declared_is_asked_too(stage: Any, open_ports: dict[str, Any]) -> None:
    open_ports["103"].add(8080)
    assert told(stage.prove("H3.b")) == (
        "fail",
        "mcp-hr port 8080 answers plain HTTP: an answer",
    )


def test_a_second_tls_port_takes_nobody_without_a_certificate(
    stage: Any, open_ports: dict[str, Any]
) -> None:
    open_ports["100"].add(8211)
    result = stage.prove("H3.b")
    assert told(result) == ("pass", "")
    assert result["evidence"]["without_a_certificate"].keys() == {
        "vault port 8211 (198.18.0.2:8211)"
    }
    open_ports["100"].add(8210)
    assert told(stage.prove("H3.b")) == (
        "fail",
        "vault port 8210 does not refuse a caller without a certificate: HTTP/1.1 403 No",
    )


def test_a_second_tls_port_that_is_published(stage: Any, open_ports: dict[str, Any]) -> None:
    bindings = {"8210/tcp": [{"HostIp": "198.18.0.9", "HostPort": "443"}]}
    stage.boxes[0].inspected["NetworkSettings"]["Ports"] = bindings
    assert told(stage.prove("H3.b")) == (
        "fail",
        "vault published as 443 does not refuse a caller without a certificate: HTTP/1.1 403 No",
    )


def test_a_port_that_speaks_plain_http_is_one_fault(stage: Any, open_ports: dict[str, Any]) -> None:
    open_ports["103"].add(8080)
    assert "certificate" not in told(stage.prove("H3.b"))[1]


def test_a_port_that_keeps_silent(
    stage: Any, open_ports: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = "took the request and did not answer within 5 s"
    monkeypatch.setattr(h3_b, "plain_request", lambda _a, port: (port != 3101, silent))
    assert told(stage.prove("H3.b")) == ("fail", f"mcp-hr port 3101 {silent}")


def test_a_service_that_does_not_listen(stage: Any, open_ports: dict[str, Any]) -> None:
    open_ports["103"].clear()
    assert told(stage.prove("H3.b")) == ("fail", "mcp-hr does not listen on its port 3101")


def another(stage: Any, name: str, **labels: str) -> Any:
    """One more container of mcp-hr, which the engine lists first, since it is the newest."""
    box = Container(copy.deepcopy(stage.boxes[3].inspected))
    box.inspected |= {"Id": name, "Name": f"/{name}"}
    box.inspected["State"]["Pid"] = 900
    box.inspected["Config"]["Labels"] |= {f"com.docker.compose.{k}": v for k, v in labels.items()}
    stage.boxes.insert(0, box)
    return box


def test_a_second_container_of_a_service(stage: Any, open_ports: dict[str, Any]) -> None:
    box = another(stage, "tamshai-mcp-hr-2", oneoff="False")
    open_ports["900"] = {3101}
    stage.boxes.append(stage.boxes.pop(0))
    fault = "tamshai-mcp-hr-2 is not declared, is in network tamshai_mcp-hr, has port 3101 open"
    assert told(stage.prove("H3.b")) == ("fail", fault)
    box.inspected["State"]["Running"] = False
    assert told(stage.prove("H3.b")) == ("pass", "")


def test_a_one_off_run_of_a_service(stage: Any, open_ports: dict[str, Any]) -> None:
    """It is not taken for the service, and no door as long as it has none."""
    another(stage, "tamshai-mcp-hr-run-1", oneoff="True")
    open_ports["900"] = set()
    assert stage.site.container("mcp-hr").name == "tamshai-mcp-hr-1"
    result = stage.prove("H3.b")
    assert told(result) == ("pass", "")
    assert result["evidence"]["one_off_runs"] == ["tamshai-mcp-hr-run-1"]
    open_ports["900"] = {3101, 9000}
    status, reason = told(stage.prove("H3.b"))
    assert status == "fail"
    assert reason.endswith("is in network tamshai_mcp-hr, has port 3101, 9000 open")


@pytest.mark.parametrize(
    ("project", "network", "fault"),
    [
        ("", "tamshai_vault", "is in network tamshai_vault"),
        ("theirs", "tamshai_vault", "is in network tamshai_vault"),
        ("tamshai", "theirs_default", "is in project tamshai"),
        # The copy of the Vault; somebody else's.
        ("", "none", ""),
        ("tamshai_staging", "tamshai_staging_default", ""),
    ],
)
@pytest.mark.parametrize("one_off", ["", "True"])
def test_a_container_that_nobody_declared(
    stage: Any, open_ports: dict[str, Any], project: str, network: str, fault: str, one_off: str
) -> None:
    """One that is somebody else's errand is a guest in a network of the estate all the same."""
    box = another(stage, "guest", project=project, service="guest", oneoff=one_off)
    box.inspected["NetworkSettings"]["Networks"] = {network: {"IPAddress": "198.18.0.9"}}
    open_ports["900"] = {9000} if project == "tamshai" else set()
    has = "port 9000" if project == "tamshai" else "no port"
    assert told(stage.prove("H3.b")) == (
        ("fail", f"guest is not declared, {fault}, has {has} open") if fault else ("pass", "")
    )


# F1.a and H3.c


def bundle(folder: Path, serial: int, begin: datetime.datetime) -> dict[str, Any]:
    """A bundle as the store has it, and its line in the authority's list."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=90))
        .sign(key, hashes.SHA256())
    )
    version = folder / "versions" / f"{serial:040x}"
    version.mkdir(parents=True)
    pem = serialization.Encoding.PEM
    (version / "tls.crt").write_bytes(certificate.public_bytes(pem))
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (version / "tls.key").write_bytes(key.private_bytes(pem, *private))
    (version / "ca.crt").write_text(f"{ROOT}\n")
    if not (folder / "current").exists():
        (folder / "current").symlink_to(f"versions/{serial:040x}")
    return {
        "serial": f"{serial:040x}",
        "issued": "2026-11-26T14:27:30Z",
        "host": "vps1",
        "csr": True,
        "spki": bundles.spki(key.public_key()),
    }


ROOT = "-----BEGIN CERTIFICATE-----\nthe estate's\n-----END CERTIFICATE-----"
BORN = datetime.datetime(2026, 11, 26, 14, 27, 10, tzinfo=datetime.UTC)
SERIALS = {"vault": 17, "postgres": 18, "mcp-gateway": 19, "mcp-hr": 20}


@pytest.fixture
def store(restaged: Callable[..., Any], tmp_path: Path) -> Any:
    index: list[dict[str, Any]] = []
    stage = restaged(index=index, root=ROOT)
    for number, row in enumerate(stage.estate["certificates"]):
        row["path"] = row["path"].replace("/opt/tamshai", stage.estate["root"])
        serial = SERIALS.get(row["name"], 100 + number)
        index.append(bundle(Path(row["path"]), serial, BORN))
    stage.index = index
    stage.site.born = Once(BORN.timestamp)
    return stage


def test_certificates_made_here_pass(store: Any) -> None:
    result = store.prove("F1.a")
    assert told(result) == ("pass", "")
    seen = result["evidence"]["bundles"]
    assert seen["mcp-hr/versions/0000000000000000000000000000000000000014"] == {
        "serial": "14",
        "issued": "2026-11-26T14:27:30Z",
        "key_made_on_host": True,
    }
    assert len(seen) == len(store.estate["certificates"])


def test_a_certificate_that_was_copied_in(store: Any, tmp_path: Path) -> None:
    bundle(Path(store.estate["root"]) / "certs" / "mcp-hr", 4711, BORN)
    status, reason = told(store.prove("F1.a"))
    assert status == "fail"
    assert "was not issued by the estate's authority (1267)" in reason


@pytest.mark.parametrize("name", ["mcp-hr", "mcp-hr.tamshai_app", "host"])
@pytest.mark.parametrize(
    "more",
    [
        "-----BEGIN CERTIFICATE-----\nof a company\n-----END CERTIFICATE-----\n",
        # OpenSSL trusts this as well, and Python's cryptography passes over it.
        "-----BEGIN TRUSTED CERTIFICATE-----\nof a company\n-----END TRUSTED CERTIFICATE-----\n",
        None,
    ],
)
def test_somebody_else_who_is_trusted_as_well(store: Any, name: str, more: str | None) -> None:
    """By a service, by a login, by the host; or nobody knows whom it trusts."""
    place = next(row["path"] for row in store.estate["certificates"] if row["name"] == name)
    trusted = Path(place) / "current" / "ca.crt"
    if more is None:
        trusted.unlink()
    else:
        trusted.write_text(trusted.read_text() + more)
    assert told(store.prove("F1.a")) == (
        "fail",
        f"ca.crt of {name} is not the estate's root alone",
    )


def test_the_bundle_before_may_be_of_an_earlier_root(store: Any) -> None:
    place = Path(store.estate["root"]) / "certs" / "mcp-hr"
    store.index.append(bundle(place, 4711, BORN))
    (place / "versions" / f"{4711:040x}" / "ca.crt").write_text("of an earlier root")
    assert told(store.prove("F1.a")) == ("pass", "")


def test_without_the_root_nobody_knows_who_is_to_be_trusted(store: Any) -> None:
    store.site.inputs = dataclasses.replace(store.site.inputs, root="")
    assert told(store.prove("F1.a")) == (
        "not run",
        "the control node gave no certificate of the estate's root",
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"csr": False}, "the key of mcp-hr/versions/"),
        ({"host": "vps2"}, "was issued for host 'vps2'"),
        ({"issued": "2026-11-20T10:00:00Z"}, "before this estate was made"),
        ({"spki": "0" * 64}, "has another key than the authority signed"),
    ],
)
def test_a_certificate_with_another_past(store: Any, change: dict[str, Any], reason: str) -> None:
    entry = next(e for e in store.index if int(e["serial"], 16) == SERIALS["mcp-hr"])
    entry |= change
    status, said = told(store.prove("F1.a"))
    assert status == "fail"
    assert reason in said
    assert ";" not in said


def test_a_bundle_whose_key_is_another(store: Any) -> None:
    certs = Path(store.estate["root"]) / "certs"
    (certs / "mcp-hr/current/tls.key").write_bytes((certs / "vault/current/tls.key").read_bytes())
    status, reason = told(store.prove("F1.a"))
    assert status == "fail"
    assert "is not its certificate's" in reason


def test_a_bundle_that_is_missing(store: Any) -> None:
    store.estate["certificates"].append(
        {"name": "new", "path": f"{store.estate['root']}/certs/new"}
    )
    assert told(store.prove("F1.a")) == ("fail", "new has no bundle")


def test_without_the_authoritys_list_nothing_is_known(stage: Any) -> None:
    assert told(stage.prove("F1.a"))[0] == "not run"


@pytest.fixture
def serving(store: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    served = dict(SERIALS)
    monkeypatch.setattr(tls, "client_context", lambda *_a: None)
    monkeypatch.setattr(
        hop,
        "attempt",
        lambda door, _c, **_k: Hop("admitted", "", "TLSv1.3", serial=f"{served[door.name]:x}"),
    )
    return served


def test_served_is_what_is_in_place(store: Any, serving: dict[str, int]) -> None:
    result = store.prove("H3.c")
    assert told(result) == ("pass", "")
    assert result["evidence"]["served"]["mcp-hr"]["serial"] == "14"


def test_a_service_that_serves_its_old_certificate(store: Any, serving: dict[str, int]) -> None:
    serving["mcp-hr"] = 5
    assert told(store.prove("H3.c")) == (
        "fail",
        "mcp-hr serves 5, while its bundle holds 14",
    )


def test_a_certificate_from_before_the_rebuild(store: Any, serving: dict[str, int]) -> None:
    store.site.born = Once(lambda: BORN.timestamp() + 86400)
    status, reason = told(store.prove("H3.c"))
    assert status == "fail"
    assert "before this estate was made" in reason


def ask(store: Any, since: str) -> tuple[str, str]:
    object.__setattr__(store.site.inputs, "renewed_since", since)
    return told(store.prove("H3.c"))


def test_certificates_that_are_new_since_somebody_asked(
    store: Any, serving: dict[str, int]
) -> None:
    assert ask(store, "2026-11-26T14:27:30Z") == ("pass", "")
    evidence = store.prove("H3.c")["evidence"]["asked"]
    assert evidence["since"] == "2026-11-26T14:27:30Z"
    assert set(evidence["issued"]) == {c["name"] for c in store.estate["certificates"]}


def test_a_renewal_that_was_asked_for_and_not_done(store: Any, serving: dict[str, int]) -> None:
    for entry in store.index:
        entry["issued"] = "2026-11-26T14:40:00Z"
    old = next(e for e in store.index if int(e["serial"], 16) == SERIALS["mcp-hr"])
    old["issued"] = "2026-11-26T14:39:58Z"
    assert ask(store, "2026-11-26T14:39:59Z") == (
        "fail",
        "mcp-hr was asked to be new at 2026-11-26T14:39:59Z, and was issued 2026-11-26T14:39:58Z",
    )
    store.index.remove(old)
    assert ask(store, "2026-11-26T14:39:59Z")[1].endswith("was issued by nobody knows whom")


@pytest.mark.parametrize("proof_id", ["F1.a", "H3.c"])
def test_an_estate_of_unknown_age_has_nothing_to_compare(
    store: Any, serving: dict[str, int], proof_id: str
) -> None:
    store.site.born = Once(lambda: 0.0)
    result = store.prove(proof_id)
    assert told(result) == (
        "not run",
        "the estate's age is unknown: the file system keeps no birth times",
    )
    assert result["evidence"]
    # What can be told without its age is told.
    serving["mcp-hr"] = 5
    store.index.remove(next(e for e in store.index if int(e["serial"], 16) == SERIALS["mcp-hr"]))
    assert told(store.prove(proof_id))[0] == "fail"


# F1.b


@pytest.fixture
def database(
    delivered: Any, rules: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    answers: dict[str, Any] = {"plain": (True, "28000 no pg_hba.conf entry ..., no encryption")}
    answers["secure"] = Hop("admitted", "logged in to tamshai_hr as tamshai_app", "TLSv1.3")
    monkeypatch.setattr(
        f1_b, "_plaintext", lambda _t, login: answers.get(login.login, answers["plain"])
    )
    monkeypatch.setattr(f1_b, "_verified", lambda *_a: answers["secure"])
    return answers


def test_a_database_without_a_plaintext_door(delivered: Any, database: dict[str, Any]) -> None:
    result = delivered.prove("F1.b")
    assert told(result) == ("pass", "")
    assert result["evidence"]["plaintext"].keys() == {
        "tamshai_app",
        "tamshai_app_b",
        "vault_rotator",
    }


def test_a_plaintext_login(delivered: Any, database: dict[str, Any]) -> None:
    database["plain"] = (False, "logged in")
    status, reason = told(delivered.prove("F1.b"))
    assert status == "fail"
    assert "a plaintext login as tamshai_app is not refused: logged in" in reason


@pytest.mark.parametrize("login", ["postgres", "healthcheck", "login_of_nobody"])
def test_a_plaintext_login_that_nobody_declared(
    delivered: Any, database: dict[str, Any], login: str
) -> None:
    database[login] = (False, "the server asks for a password")
    assert told(delivered.prove("F1.b")) == (
        "fail",
        f"a plaintext login as {login} is not refused: the server asks for a password",
    )


def test_the_superuser_logs_in_over_the_servers_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    class Server:
        def rows(self, statement: str) -> list[list[str]]:
            return [["4", statement]]

    def login(connection: socket.socket, **who: str) -> Server:
        assert connection.getpeername() == f"{tmp_path}/.s.PGSQL.5432"
        assert who == {"user": "postgres", "database": "postgres"}
        return Server()

    monkeypatch.setattr(pgwire, "login", login)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{tmp_path}/.s.PGSQL.5432")
        listener.listen()
        session = pgwire.superuser({"socket": str(tmp_path), "port": 5432})
    assert session.rows("SELECT 1") == [["4", "SELECT 1"]]


def test_a_verifying_client_that_fails(delivered: Any, database: dict[str, Any]) -> None:
    database["secure"] = Hop("refused", "28P01 password authentication failed")
    status, reason = told(delivered.prove("F1.b"))
    assert status == "fail"
    assert "cannot log in as tamshai_app: 28P01" in reason


@pytest.mark.parametrize(
    ("raised", "refused"),
    [
        (pgwire.RefusalError("no pg_hba.conf entry for host, no encryption", "28000"), True),
        (pgwire.RefusalError("pg_hba.conf rejects connection, no encryption", "28000"), True),
        (pgwire.RefusalError("password authentication failed", "28P01"), False),
        (pgwire.RefusalError("too many connections, no encryption", "53300"), False),
        (pgwire.PasswordWantedError("the server asks for a password"), False),
        (None, False),
    ],
)
def test_only_a_refusal_for_lack_of_tls_counts(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, refused: bool
) -> None:
    import socket

    def login(*_args: Any, **_kwargs: Any) -> None:
        if raised is not None:
            raise raised

    monkeypatch.setattr(pgwire, "login", login)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = hop.Target("pg", "postgresql", "127.0.0.1", listener.getsockname()[1], "pg")
        assert f1_b._plaintext(door, hop.Credential("s", "u", "d", "p"))[0] is refused


# W.b


def test_the_operators_key_is_looked_for(delivered: Any) -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nfirst\nsecond\nthird\n-----END PRIVATE KEY-----\n"
    wanted = "control node: key of the operator"
    assert wanted not in {needle.label for needle in sweep.needles(delivered.site)}
    delivered.site.inputs = Inputs(delivered.estate, operator=("-----BEGIN", pem))
    found = {needle.label: needle.value for needle in sweep.needles(delivered.site)}
    assert found[wanted] == "second"


def test_a_clean_disk_waits_for_its_reboot(delivered: Any) -> None:
    result = delivered.prove("W.b")
    assert told(result) == ("not run", "needs attest_disruptive=true (reboots the host)")
    assert "at_rest" in result["evidence"]


@pytest.mark.parametrize("label", ["key of mcp-hr", "control node: unseal share 1"])
def test_a_key_at_rest_needs_no_reboot(delivered: Any, label: str) -> None:
    delivered.site.sweep = Once(lambda: Sweep(stored=[Find(label, "/root/x")]))
    assert told(delivered.prove("W.b")) == ("fail", f"{label} in /root/x")


@pytest.fixture
def tpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, str], None]:
    """A TPM device, and what systemd says about it."""
    (tmp_path / "tpmrm0").write_text("")
    monkeypatch.setattr(w_b, "_TPM", tmp_path / "tpmrm0")

    def say(status: int, answer: str) -> None:
        program = tmp_path / "systemd-creds"
        program.write_text(f'#!/bin/sh\n[ "$1" = has-tpm2 ] && echo "{answer}"\nexit {status}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return say


def host_key(result: dict[str, Any]) -> str:
    return str(result["evidence"]["at_rest"]["host_key"]["sealed_by"])


def test_a_host_without_a_tpm_has_a_key_in_a_file(delivered: Any) -> None:
    assert host_key(delivered.prove("W.b")) == "a key of this host in a file (no TPM)"


def test_a_tpm_that_systemd_uses(delivered: Any, tpm: Callable[[int, str], None]) -> None:
    tpm(0, "yes")
    result = delivered.prove("W.b")
    assert (result["status"], host_key(result)) == ("not run", "TPM")


def test_a_tpm_that_systemd_cannot_use(delivered: Any, tpm: Callable[[int, str], None]) -> None:
    tpm(8, "partial -libraries")
    result = delivered.prove("W.b")
    assert told(result) == (
        "fail",
        (
            "there is a TPM, and systemd cannot use it, so that nothing is bound to it: "
            "partial -libraries"
        ),
    )
    assert host_key(result) == "a key of this host in a file (partial -libraries)"


def test_a_tpm_that_nobody_can_ask_about(
    delivered: Any, tpm: Callable[[int, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    status, reason = told(delivered.prove("W.b"))
    assert status == "fail"
    assert "systemd-creds: No such file or directory" in reason


REBOOT = {"boot_before": "a", "boot_after": "b", "sealed": True, "seconds": 9}


def rebooted(stage: Any, **changes: Any) -> dict[str, Any]:
    from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs

    stage.site.inputs = Inputs(
        stage.estate, disturbed=disruption.KINDS, observed={"reboot": {**REBOOT, **changes}}
    )
    return dict(stage.prove("W.b"))


def test_an_estate_that_comes_back(delivered: Any) -> None:
    assert told(rebooted(delivered)) == ("pass", "")


@pytest.mark.parametrize(
    ("seal", "sealed", "fault"),
    [
        ("shamir", True, ""),
        ("shamir", False, "was open after the reboot, before anybody gave a share"),
        ("shamir", None, "was not seen"),
        ("static", False, ""),
        ("static", True, "did not open by its seal 'static'"),
        ("transit", False, ""),
        ("transit", True, "did not open by its seal 'transit'"),
        ("static", None, "was not seen"),
    ],
)
def test_either_seal(delivered: Any, seal: str, sealed: bool | None, fault: str) -> None:
    delivered.vault.seal["type"] = seal
    result = rebooted(delivered, sealed=sealed)
    status, reason = told(result)
    assert (status == "pass") == (not fault), reason
    assert fault in reason
    assert result["evidence"]["reboot"]["seal"] == seal


def test_what_opens_the_vault_is_looked_for(delivered: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "vault"
    folder.mkdir()
    delivered.estate["services"]["vault"]["run"] = str(folder)
    key = b"\x00\xff\n" + bytes(range(128, 157))
    pem = "-----BEGIN PRIVATE KEY-----\nfirst line of it\nsecond line of it\n-----END"
    (folder / "seal.key").write_bytes(key)
    (folder / "seal.transit.token").write_text("s.token-of-the-seal")
    (folder / "seal.transit.tls_client_key").write_text(pem)
    (folder / "seal.transit.tls_ca_cert").write_text("-----BEGIN CERTIFICATE-----\nAAAABBBB\n")
    found = sweep.seal_needles(delivered.site)
    assert [needle.label.removeprefix(sweep.SEAL) for needle in found] == [
        "seal.key",
        "seal.transit.tls_client_key",
        "seal.transit.token",
    ]
    assert scan.files([str(tmp_path)], found, since=0)[0] == []
    elsewhere = tmp_path / "disk"
    elsewhere.mkdir()
    copies = {"raw": b"x" + key, "hex": key.hex().encode(), "token": b"t=s.token-of-the-seal"}
    for name, content in copies.items():
        (elsewhere / name).write_bytes(content)
    assert {str(find) for find in scan.files([str(tmp_path)], found, since=0)[0]} == {
        f"{sweep.SEAL}seal.key in {elsewhere}/raw",
        f"{sweep.SEAL}seal.key in {elsewhere}/hex",
        f"{sweep.SEAL}seal.transit.token in {elsewhere}/token",
    }


def test_a_seal_key_at_rest_needs_no_reboot(delivered: Any) -> None:
    label = f"{sweep.SEAL}seal.key"
    delivered.site.sweep = Once(lambda: Sweep(stored=[Find(label, "/root/x")]))
    assert told(delivered.prove("W.b")) == ("fail", f"{label} in /root/x")


def test_a_secret_at_rest_after_the_reboot(delivered: Any) -> None:
    delivered.site.sweep = Once(lambda: Sweep(stored=[FOUND]))
    assert told(rebooted(delivered)) == ("fail", "mcp-hr/CANARY in some place")


def test_a_host_that_did_not_reboot(delivered: Any) -> None:
    assert told(rebooted(delivered, boot_after="a")) == ("fail", "the host was not rebooted")


def test_a_service_that_does_not_come_back(delivered: Any) -> None:
    delivered.boxes[3].inspected["State"] = {"Running": False}
    delivered.boxes[2].inspected["State"]["Health"] = {"Status": "starting"}
    del delivered.boxes[1]
    assert told(rebooted(delivered)) == (
        "fail",
        (
            "postgres is gone after the reboot; mcp-gateway is starting after the reboot; "
            "mcp-hr is stopped after the reboot"
        ),
    )


def test_what_a_one_off_run_has_left_is_not_the_service(delivered: Any) -> None:
    box = another(delivered, "tamshai-mcp-hr-run-1", oneoff="True")
    box.inspected["State"] = {"Running": False}
    assert told(rebooted(delivered)) == ("pass", "")


def test_secrets_that_do_not_come_back(delivered: Any) -> None:
    delivered.site.secrets()
    (Path(delivered.estate["agents"][1]["run"]) / "secrets.json").unlink()
    status, reason = told(rebooted(delivered))
    assert status == "fail"
    assert "no secrets after the reboot for mcp-hr" in reason
