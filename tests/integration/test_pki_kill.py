# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""kill -9 at any moment of a renewal: the old bundle or the new one, and the next run repairs."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, verify
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Lifetime,
    parse_all,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

COLLECTIONS = Path(__file__).parents[2] / "build" / "collections"
PASSPHRASE = b"correct horse battery staple"
LIFETIME = Lifetime.parse("90d", None)
DECLARED = parse_all(
    [
        {
            "name": name,
            "common_name": name,
            "dns": [f"{name}.estate.test"],
            "usages": ["server"],
            "reload": "signal",
        }
        for name in ("one", "two", "three")
    ]
)
ROUNDS = 25


def renew(place: Path) -> None:
    """One renewal of everything."""
    now = datetime.now(UTC)
    tree, authority = Tree(place / "certs"), Authority(place / "ca", PASSPHRASE)
    root = authority.certificate("root")
    _unused, requests = flow.request(tree, DECLARED, root, now, LIFETIME, Plan(), renew=True)
    bundles = flow.sign(authority, requests, DECLARED, now, LIFETIME, Plan())
    flow.install(tree, bundles, DECLARED, now, Plan())


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "certs").mkdir()
    settings = flow.AuthoritySettings(
        "estate",
        Constraints.parse(["estate.test"]),
        10**8,
        Lifetime.parse("1000d", None),
        10**6,
    )
    authority = Authority(tmp_path / "ca", PASSPHRASE)
    flow.ensure_authority(authority, settings, datetime.now(UTC), Plan())
    renew(tmp_path)
    return tmp_path


def _start(place: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, __file__, str(place)],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(COLLECTIONS)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begin\n"
    return process


def _check(place: Path) -> None:
    """Each bundle is whole and valid, and the index knows each certificate that is in use."""
    authority, tree = Authority(place / "ca", PASSPHRASE), Tree(place / "certs")
    root = authority.certificate("root")
    known = {record["serial"] for record in authority.index().certificates}
    for name, wanted in DECLARED.items():
        bundle = tree.read(wanted)
        assert bundle is not None
        verify.check_chain(bundle.leaf, bundle.chain, root, datetime.now(UTC), name)
        assert bundle.serial in known, f"{name} is not in the index"


def test_any_moment(place: Path) -> None:
    chance = random.Random(4711)
    seen = set()
    for _round in range(ROUNDS):
        process = _start(place)
        threading.Event().wait(chance.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        _check(place)
        tree = Tree(place / "certs")
        seen.add((bool(tree.staged()), bool(tree.pending())))
        tree.clear_pending(DECLARED)
    assert len(seen) > 1, "all were killed at the same step"
    authority, tree = Authority(place / "ca", PASSPHRASE), Tree(place / "certs")
    root, now = authority.certificate("root"), datetime.now(UTC)
    plan = Plan()
    flow.request(tree, DECLARED, root, now, LIFETIME, plan)
    assert {change.action for change in plan} <= {"delete"}
    plan = Plan()
    flow.request(tree, DECLARED, root, now, LIFETIME, plan)
    assert not plan.changed
    assert tree.staged() == []
    for wanted in DECLARED.values():
        assert len(list((tree.base(wanted) / "versions").iterdir())) <= 2


if __name__ == "__main__":
    while True:
        print("begin", flush=True)
        renew(Path(sys.argv[1]))
