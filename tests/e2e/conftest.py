# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill host of its own, brought up as `make phoenix` does it, and ways to break what runs on it.

E2E_KEEP=1    leave the host running afterwards
E2E_REUSE=1   take the one that was left running, and do not time its rebuild
E2E_IMAGES=0  take the images as they are, without building what has changed
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.custody import Custody
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import generate_root

ROOT = Path(__file__).resolve().parents[2]
NAME = os.environ.get("E2E_NAME", "drill-e2e")
ADDRESS = os.environ.get("E2E_ADDRESS", "198.19.255.11")
KEEP = os.environ.get("E2E_KEEP") == "1"
IMAGES = ["images"] if os.environ.get("E2E_IMAGES") == "0" else []
REUSE = os.environ.get("E2E_REUSE") == "1"
# Places of Ansible's and of the system's own timers.
CHANGES_BY_ITSELF = ["root/.ansible", "var/lib/apt", "var/lib/logrotate", "var/lib/systemd"]
PHASES = ["preflight", "host", "images", "trust", "vault", "data", "services", "verify"]
SLICE = {
    *("H1.a", "H1.b", "H1.c", "H1.d", "H3.a", "H3.b", "H3.c", "H4.c", "H4.d", "H5.c"),
    *("F1.a", "F1.b", "F2.a", "F2.b", "F2.c", "F2.d", "F2.f", "W.b"),
}
DISRUPTIVE = {"H4.c", "F2.a", "F2.d", "F2.f", "W.b"}

# Runs on the host with the operator's identity in memory: one request to the Vault.
_VAULT = """
import http.client, json, os, ssl, sys
given = json.load(sys.stdin)
paths = []
for text in (given["certificate"], given["key"]):
    handle = os.memfd_create("e2e")
    os.write(handle, text.encode())
    paths.append(f"/proc/self/fd/{handle}")
context = ssl.create_default_context(cafile="/opt/tamshai/certs/host/current/ca.crt")
context.load_cert_chain(*paths)
def ask(method, path, body=None, **headers):
    link = http.client.HTTPSConnection("127.0.0.1", 8200, context=context, timeout=20)
    named = {"X-Vault-" + name.replace("_", "-"): value for name, value in headers.items()}
    link.request(method, "/v1/" + path, json.dumps(body) if body is not None else None, named)
    answer = link.getresponse()
    text = answer.read()
    return answer.status, json.loads(text) if text.strip() else {}
token = ask("PUT", "auth/cert/login", {"name": "operator"})[1]["auth"]["client_token"]
status, answer = ask(
    given["method"], given["path"], given["body"], **{"Token": token, **given["headers"]}
)
ask("PUT", "auth/token/revoke-self", Token=token)
print(json.dumps([status, answer]))
"""


@dataclass
class Play:
    """A run of a playbook.

    :arg cpu: Seconds that control node and drill host have computed for it.
    """

    rc: int
    output: str
    seconds: float
    cpu: float
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def changed(self) -> int:
        return sum(phase["changed"] for phase in self.report["phases"])

    @property
    def hosts(self) -> set[str]:
        return {host for phase in self.report["phases"] for host in phase["hosts"]}


class Estate:
    """The drill host and what runs on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = ROOT / "build" / "drill" / NAME
        self.reports = folder / "report"
        self.first: Play | None = None
        self.second: Play | None = None
        self.built: int | None = None
        self._number = 0

    # Playbooks.

    def command(self, playbook: str, report: Path, *arguments: str) -> list[str]:
        inventory = self.state / "inventory"
        places = {"attest_report_dir": str(self.reports), "attest_phases": [str(report)]}
        return [
            *("ansible-playbook", playbook, "-i", str(inventory)),
            *("-e", json.dumps(places), *arguments),
        ]

    def environment(self, report: Path, ansible: Path = ROOT / ".venv") -> dict[str, str]:
        collections = f"{ROOT / 'build' / 'collections'}:{sysconfig.get_path('purelib')}"
        return {
            **{k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
            "PATH": f"{ansible / 'bin'}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": collections,
            "PHASE_CLOCK_LIVE": "never",
            "PHASE_CLOCK_REPORT": str(report),
        }

    def play(
        self,
        playbook: str,
        *arguments: str,
        ansible: Path = ROOT / ".venv",
        installed: Path | None = None,
    ) -> Play:
        """Run a playbook to its end.

        :arg ansible: A virtual environment with the Ansible to run it with.
        :arg installed: Collections to take it from, in place of the repository and its settings.
        """
        self._number += 1
        report = self.folder / f"run{self._number}" / "phases.json"
        command = self.command(f"playbooks/{playbook}.yml", report, *arguments)
        environment = self.environment(report, ansible)
        if installed is not None:
            command = self.command(f"tamshai.phoenix.{playbook}", report, *arguments)
            del environment["ANSIBLE_CONFIG"]
            environment["ANSIBLE_COLLECTIONS_PATH"] = str(installed)
            environment["ANSIBLE_STDOUT_CALLBACK"] = "tamshai.phoenix.phase_clock"
        begun, computed = time.monotonic(), computing()
        done = subprocess.run(
            command,
            cwd=ROOT if installed is None else installed,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds, cpu = time.monotonic() - begun, computing() - computed
        output = done.stdout + done.stderr
        (self.folder / f"run{self._number}.log").write_text(
            f"$ {shlex.join(command)}\n{output}\n-- {done.returncode} after {seconds:.1f} s\n"
        )
        found = sorted(report.parent.glob("phases*.json")) if report.parent.exists() else []
        document = json.loads(found[0].read_text()) if found else {}
        return Play(done.returncode, output, seconds, cpu, document)

    def phoenix(self, *arguments: str, installed: Path | None = None) -> Play:
        """A rebuild, or the phases of one; it has to succeed."""
        made = self.play("phoenix", *arguments, installed=installed)
        assert made.rc == 0, made.output[-4000:]
        return made

    def kill_in(self, phase: str, task: str, delay: float) -> str:
        """Begin a rebuild and kill it some seconds into a task, while the phase still runs."""
        self._number += 1
        report = self.folder / f"run{self._number}" / "phases.json"
        with subprocess.Popen(
            self.command("playbooks/phoenix.yml", report, "-v"),
            cwd=ROOT,
            env=self.environment(report),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running:
            assert running.stdout is not None
            seen: list[str] = []
            reached = False
            killer = threading.Timer(delay, os.killpg, (running.pid, signal.SIGKILL))
            for line in running.stdout:
                seen.append(line)
                reached = reached or f"] {phase}: begins" in line
                if reached and killer.ident is None and f": {task}] *" in line:
                    killer.start()
            running.wait()
            killer.cancel()
        output = "".join(seen)
        (self.folder / f"run{self._number}.log").write_text(output)
        assert killer.ident is not None, f"{task} was never reached:\n{output[-3000:]}"
        assert running.returncode == -signal.SIGKILL, f"it ended before:\n{output[-3000:]}"
        # What ended in time is no phase that was killed.
        begun = re.findall(r"^\[[0-9:]+\] (\w+): begins", output, re.MULTILINE)
        ended = re.findall(r"^\[[0-9:]+\] (\w+): \w+ in ", output, re.MULTILINE)
        assert begun[-1] == phase, f"{begun[-1]} was killed instead"
        assert phase not in ended, output[-3000:]
        return output

    def reinstall(self) -> None:
        """The host as its provider makes it anew; the control node still knows the one before.

        Where there is an image with role host applied, with that: it saves its time.
        """
        with contextlib.closing(docker.from_env()) as engine:
            engine.containers.get(NAME).remove(v=True, force=True)
            hosted = engine.images.list("tamshai/drill-hosted-13")
        drill("present", "images", flavour="hosted" if hosted else "bare")

    # Proofs.

    def attest(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Make the proofs; by id."""
        (self.reports / "attest.json").unlink(missing_ok=True)
        made = self.play("verify", *arguments)
        path = self.reports / "attest.json"
        assert path.exists(), made.output[-4000:]
        document = json.loads(path.read_text())
        found = {proof["id"]: proof for proof in document["proofs"]}
        broken = [name for name, proof in found.items() if proof["status"] == "fail"]
        # A broken promise fails the play, and nothing else does.
        assert (made.rc != 0) == bool(broken), made.output[-4000:]
        return found

    def broken(self, *arguments: str) -> dict[str, str]:
        """The proofs that fail, with their reasons."""
        found = self.attest(*arguments)
        return {name: p["reason"] for name, p in found.items() if p["status"] == "fail"}

    def report(self) -> dict[str, Any]:
        return dict(json.loads((self.reports / "attest.json").read_text()))

    # The host.

    def sh(self, script: str, given: str = "", *, check: bool = True) -> str:
        """Run a shell script on the host as root."""
        done = subprocess.run(
            ["docker", "exec", "-i", NAME, "bash", "-euo", "pipefail", "-c", script],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def untouched(self) -> list[str]:
        """What any change on the host or in the state of the control node would show in."""
        own = " -o ".join(f"-path {path}" for path in CHANGES_BY_ITSELF)
        host = self.sh(
            "cd /; find etc home opt root srv usr var/lib -xdev \\( " + own + " \\) -prune"
            " -o -printf '%p %C@ %m %l\\n'; cat /proc/sys/net/ipv4/ip_forward;"
            " systemctl list-units --type=service --state=running --plain --no-legend"
            " | grep -v ^user;"
        )
        here = [f"{path} {path.lstat().st_ctime_ns}" for path in self.state.rglob("*")]
        return sorted([*host.splitlines(), *here])

    def spawn(self, script: str) -> None:
        """Start something on the host and leave it running."""
        subprocess.run(["docker", "exec", "-d", NAME, "sh", "-c", script], check=True)

    def psql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements as the superuser, over the socket that admits root of the host alone."""
        program = (
            "import json, sys, psycopg2; given = json.load(sys.stdin);"
            "link = psycopg2.connect(host='/run/tamshai/postgres-socket', user='postgres',"
            " dbname=given['database']); link.autocommit = True; cursor = link.cursor();"
            "[cursor.execute(one) for one in given['statements']];"
            "print(cursor.fetchall() if cursor.description else '')"
        )
        given = {"database": database, "statements": statements}
        return self.sh(f"python3 -c {shlex.quote(program)}", json.dumps(given))

    def vault(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        missing: bool = False,
        **headers: str,
    ) -> dict[str, Any]:
        """A request as the operator; it has to succeed, unless what it is about may be gone."""
        operator = self.state / "state" / "operator"
        given = {
            "certificate": (operator / "tls.crt").read_text(),
            "key": (operator / "tls.key").read_text(),
            "method": method,
            "path": path,
            "body": body,
            "headers": headers,
        }
        program = shlex.quote(_VAULT)
        status, answer = json.loads(self.sh(f"python3 -c {program}", json.dumps(given)))
        assert status < 300 or missing, answer
        return dict(answer)

    @property
    def passphrase(self) -> str:
        return (self.state / "passphrase").read_text().strip()

    def shares(self) -> str:
        """What opens the Vault, a share a line."""
        return "\n".join(Custody(self.state / "state" / "vault").read_shares(self.passphrase))

    def root_token(self) -> str:
        """A root token, made from the shares as people do; nobody revokes it."""
        return generate_root(self.vault, self.shares().split())

    def revoke_root_tokens(self) -> None:
        """End all of them, by their accessors."""
        for accessor in self.vault("LIST", "auth/token/accessors")["data"]["keys"]:
            about = {"accessor": accessor}
            found = self.vault("POST", "auth/token/lookup-accessor", about, missing=True)
            if found.get("data", {}).get("policies") == ["root"]:
                self.vault("POST", "auth/token/revoke-accessor", about)

    def secrets(self) -> dict[str, str]:
        """Every secret that the estate has, by what it is called."""
        text = self.sh("cd /run/tamshai; for f in */secrets.json; do echo $f; cat $f; echo; done")
        found: dict[str, str] = {}
        for name, document in re.findall(r"(\S+)/secrets\.json\n(\{.*?\n?\})", text, re.DOTALL):
            found |= {f"{name}/{k}": str(v) for k, v in json.loads(document).items()}
        found = {k: v for k, v in found.items() if not k.endswith("_USER")}
        assert {"mcp-hr/POSTGRES_PASSWORD", "mcp-gateway/CLAUDE_API_KEY"} <= found.keys()
        for number, share in enumerate(self.shares().split()):
            found[f"share {number}"] = share
            found[f"share {number} in base64"] = base64.b64encode(bytes.fromhex(share)).decode()
        keys = {
            "of the control node": [p.read_text() for p in self.state.rglob("*.key")],
            "of the host": [self.sh("cat /opt/tamshai/certs/*/current/tls.key")],
            "that logs in": [(self.state / "id_ed25519").read_text()],
        }
        block = re.compile(r"BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)-----END", re.DOTALL)
        for whose, texts in keys.items():
            blocks = block.findall("\n".join(texts))
            lines = [line for block in blocks for line in block.splitlines() if len(line) >= 64]
            assert lines, whose
            found |= {f"key {whose}, {number}": line for number, line in enumerate(lines)}
        found["passphrase"] = self.passphrase
        return found

    def override(self, service: str, environment: dict[str, str]) -> None:
        """Run a service with more in its environment than the estate declares."""
        document = {"services": {service: {"environment": environment}}}
        self.sh(
            "cat > /dev/shm/override.json; cd /opt/tamshai;"
            " docker compose -f compose.yaml -f /dev/shm/override.json up -d --no-deps --wait"
            f" {service} 2>&1; rm /dev/shm/override.json",
            json.dumps(document),
        )

    def restore(self, service: str) -> None:
        """Run a service as the estate declares it."""
        self.sh(f"cd /opt/tamshai; docker compose up -d --no-deps --wait {service} 2>&1")


def drill(state: str, *skip: str, flavour: str = "bare") -> int | None:
    """Make the drill host, or remove it; says how much of the images was not there before."""
    command = [
        *("ansible-playbook", "playbooks/drill.yml", "-e", f"drill_name={NAME}"),
        *("-e", f"drill_ip={ADDRESS}", "-e", f"drill_state={state}"),
        *("-e", f"drill_flavour={flavour}"),
        # An older version of the server, to be upgraded.
        *("-e", '{"drill_images": ["openbao-previous"]}'),
    ]
    for tag in skip:
        command += ["--skip-tags", tag]
    path = f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    built = re.search(r"^\[[0-9:]+\] build: ok in .*, (\d+) changed", done.stdout, re.MULTILINE)
    return int(built[1]) if built else None


def disturb(what: str) -> tuple[str, str]:
    """All proofs that disturb nobody, and those that one disturbance shows."""
    return "-e", json.dumps({"attest_disturb": [what], "attest_settle_timeout": 60})


def computing() -> float:
    """Seconds that processes which this one has waited for, and the drill host, have computed."""
    mine = resource.getrusage(resource.RUSAGE_CHILDREN)
    with contextlib.closing(docker.from_env()) as engine:
        host = engine.api.stats(NAME, stream=False, one_shot=True)
    theirs = host["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9
    return mine.ru_utime + mine.ru_stime + float(theirs)


def running() -> bool:
    done = subprocess.run(
        ["docker", "ps", "-q", "--filter", f"name=^{NAME}$"],
        capture_output=True,
        text=True,
        check=False,
    )
    return bool(done.stdout.strip())


@pytest.fixture(scope="session")
def estate() -> Iterator[Estate]:
    """A drill host; bare at first, unless one is taken over."""
    folder = ROOT / "build" / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("run*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    taken = REUSE and running()
    made = Estate(folder)
    if not taken:
        drill("absent", "images")
        made.built = drill("present", *IMAGES)
    yield made
    if not KEEP:
        drill("absent", "images")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order in which they are written, file by file."""
    items.sort(key=lambda item: str(item.path))
