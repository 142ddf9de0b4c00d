# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An authority to test with, made once for a file's tests and copied for each."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, keys
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import Authority
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import Tree
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Lifetime,
    parse_all,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

PASSPHRASE = b"a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ \xc3\xbc"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretching a passphrase takes time on purpose; not in every test."""
    monkeypatch.setattr(keys, "_SCRYPT_N", 2**4)
    monkeypatch.setattr(keys, "_SCRYPT_P", 1)


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="session")
def constraints() -> Constraints:
    return Constraints.parse(["estate.test"], ["127.0.0.1/32", "198.18.0.0/16"], ["estate.test"])


@pytest.fixture(scope="session")
def settings(constraints: Constraints) -> flow.AuthoritySettings:
    return flow.AuthoritySettings(
        organization="estate",
        constraints=constraints,
        root_lifetime=3650 * 86400,
        issuing=Lifetime.parse("1095d", None),
        crl_lifetime=30 * 86400,
    )


@pytest.fixture(scope="session")
def _master(
    tmp_path_factory: pytest.TempPathFactory, settings: flow.AuthoritySettings, now: datetime
) -> Path:
    place = tmp_path_factory.mktemp("authority") / "ca"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "_SCRYPT_N", 2**4)
        patch.setattr(keys, "_SCRYPT_P", 1)
        flow.ensure_authority(Authority(place, PASSPHRASE), settings, now, Plan())
    return place


@pytest.fixture
def authority(_master: Path, tmp_path: Path) -> Authority:
    shutil.copytree(_master, tmp_path / "state" / "ca")
    return Authority(tmp_path / "state" / "ca", PASSPHRASE)


@pytest.fixture
def root(authority: Authority) -> Any:
    return authority.certificate("root")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    (tmp_path / "certs").mkdir()
    return Tree(tmp_path / "certs")


@pytest.fixture
def entries() -> list[dict[str, Any]]:
    return [
        {
            "name": "api",
            "service": "api",
            "common_name": "api.estate.test",
            "dns": ["api.estate.test"],
            "ips": ["127.0.0.1"],
            "uris": ["spiffe://estate.test/service/api"],
            "usages": ["server", "client"],
            "reload": "signal",
        },
        {
            "name": "api.app_login",
            "service": "api",
            "common_name": "app_login",
            "uris": ["spiffe://estate.test/service/api/login/app_login"],
            "usages": ["client"],
            "reload": "signal",
        },
    ]


@pytest.fixture
def declared(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return parse_all(entries)


@pytest.fixture
def lifetime() -> Lifetime:
    return Lifetime.parse("90d", None)
