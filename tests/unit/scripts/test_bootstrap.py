# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What scripts/bootstrap does on different machines, with programs that only pretend."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REAL = "awk bash cat cut dirname env grep head ln mkdir nohup readlink rm sed sha256sum sleep sort"
REAL += " tail tee"


class Machine:
    """A clone that has its Python environment, and a PATH with only what is put there."""

    def __init__(self, path: Path) -> None:
        self.clone = path / "clone"
        self.bin = path / "bin"
        self.calls = path / "calls"
        self.calls.touch()
        self.bin.mkdir()
        (self.clone / "scripts").mkdir(parents=True)
        shutil.copy(ROOT / "scripts" / "bootstrap", self.clone / "scripts" / "bootstrap")
        digest = hashlib.sha256()
        for name in ("requirements.txt", "requirements-dev.txt", "requirements-constraints.txt"):
            shutil.copy(ROOT / name, self.clone / name)
            digest.update((ROOT / name).read_bytes())
        (self.clone / ".venv" / "bin").mkdir(parents=True)
        self.program("python", "exit 0", self.clone / ".venv" / "bin")
        (self.clone / ".venv" / f".requirements-{digest.hexdigest()[:16]}").touch()
        for name in REAL.split():
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        tools = (
            "mmdebstrap ssh ssh-keygen openssl git newuidmap setsid shellcheck go javac gpg curl"
        )
        for name in tools.split():
            self.program(name, 'exec "$@"' if name == "setsid" else "exit 0")
        self.user(0)
        self.system("ID=debian")

    def program(self, name: str, body: str, where: Path | None = None) -> None:
        path = (where or self.bin) / name
        path.write_text(f'#!/bin/bash\necho "{name} $*" >>{self.calls}\n{body}\n')
        path.chmod(0o755)

    def user(self, number: int) -> None:
        self.program("id", f'[ "$1" = -u ] && echo {number} || echo somebody')

    def system(self, os_release: str) -> None:
        (self.clone / "os-release").write_text(f"{os_release}\n")

    def bootstrap(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.bin / "bash"), str(self.clone / "scripts" / "bootstrap"), *arguments],
            env={
                "PATH": str(self.bin),
                "HOME": str(self.clone),
                "BOOTSTRAP_OS_RELEASE": str(self.clone / "os-release"),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def called(self, name: str) -> list[str]:
        return [line for line in self.calls.read_text().splitlines() if line.startswith(name)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_engine_that_answers_is_used_as_it_is(machine: Machine) -> None:
    machine.program("docker", "exit 0")
    result = machine.bootstrap()
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.called("docker") == ["docker info"]
    link = machine.clone / "build/collections/ansible_collections/tamshai/phoenix"
    assert link.resolve() == machine.clone


def test_a_copy_of_the_collection_that_somebody_installed_gives_way(machine: Machine) -> None:
    link = machine.clone / "build/collections/ansible_collections/tamshai/phoenix"
    (link / "plugins").mkdir(parents=True)
    result = machine.bootstrap("--no-engine")
    assert result.returncode == 0, result.stderr
    assert link.is_symlink()
    assert link.resolve() == machine.clone


def test_without_the_engine_nothing_asks_for_one(machine: Machine) -> None:
    assert machine.bootstrap("--no-engine").returncode == 0
    assert machine.called("docker") == []


def test_a_person_without_an_engine_is_told_one_line(machine: Machine) -> None:
    machine.user(1000)
    result = machine.bootstrap()
    assert result.returncode != 0
    assert "sudo apt-get install --yes --no-install-recommends docker.io" in result.stderr
    assert machine.called("apt-get") == []


def test_a_person_is_told_all_that_is_missing_at_once(machine: Machine) -> None:
    machine.user(1000)
    for name in ("mmdebstrap", "newuidmap"):
        (machine.bin / name).unlink()
    machine.program("python", "exit 1", machine.clone / ".venv" / "bin")
    machine.program("python3", '[[ "$*" != *ensurepip* ]]')
    result = machine.bootstrap()
    assert result.returncode != 0
    (line,) = [one for one in result.stderr.splitlines() if "sudo" in one]
    _before, packages = line.split("--no-install-recommends ")
    assert packages == (
        "python3-venv docker.io iptables mmdebstrap uidmap"
        " && sudo usermod --append --groups docker somebody"
    )
    assert machine.called("apt-get") == []


@pytest.mark.parametrize("user", [0, 1000])
def test_other_systems_are_told_what_they_need(machine: Machine, user: int) -> None:
    machine.user(user)
    machine.system('ID=fedora\nID_LIKE="rhel centos"')
    result = machine.bootstrap()
    assert result.returncode != 0
    assert "equivalent of these Debian packages" in result.stderr
    assert machine.called("apt-get") == []


def test_a_derivative_of_debian_is_one(machine: Machine) -> None:
    machine.user(1000)
    machine.system('ID=linuxmint\nID_LIKE="ubuntu debian"')
    assert "sudo apt-get install" in machine.bootstrap().stderr


def test_a_person_whose_engine_is_stopped_is_told_to_start_it(machine: Machine) -> None:
    machine.user(1000)
    machine.program("docker", "exit 1")
    result = machine.bootstrap()
    assert result.returncode != 0
    assert re.search(r"sudo (systemctl enable --now docker|usermod)", result.stderr)


def test_root_gets_an_engine_and_is_told_what_is_done(machine: Machine) -> None:
    up = machine.clone / "engine-is-up"
    machine.program("apt-cache", "echo Package: docker-cli")
    machine.program("dockerd", f"echo yes >{up}; sleep 1")
    docker = machine.bin / "docker"
    machine.program("docker", f"[ -e {up} ]")
    docker.rename(machine.clone / "docker-package")
    machine.program(
        "apt-get",
        f'[ "$1" = update ] || {shutil.which("cp")} {machine.clone}/docker-package {docker}',
    )
    result = machine.bootstrap()
    assert result.returncode == 0, result.stderr
    assert (
        "installing a Docker engine from the system's package sources: docker.io" in result.stdout
    )
    assert any(
        "docker.io iptables docker-cli" in call for call in machine.called("apt-get install")
    )
    device = next(
        fields[0]
        for fields in map(str.split, Path("/proc/net/route").read_text().splitlines())
        if fields[1] == "00000000"
    )
    mtu = Path(f"/sys/class/net/{device}/mtu").read_text().strip()
    if not Path("/run/systemd/system").is_dir():
        assert machine.called("dockerd") == [f"dockerd --mtu {mtu} --bip 198.18.255.1/24"]


def test_a_failed_installation_ends_the_run_and_shows_why(machine: Machine) -> None:
    machine.program("apt-cache", "exit 0")
    machine.program("apt-get", '[ "$1" = update ] || { echo E: no space left; exit 100; }')
    result = machine.bootstrap()
    assert result.returncode == 1
    assert "E: no space left" in result.stderr


def test_missing_tools_are_installed_once_each(machine: Machine) -> None:
    machine.program("docker", "exit 0")
    machine.program("apt-get", "exit 0")
    for name in ("ssh", "ssh-keygen", "mmdebstrap"):
        (machine.bin / name).unlink()
    assert machine.bootstrap().returncode == 0
    (call,) = machine.called("apt-get install")
    assert call.endswith(" mmdebstrap openssh-client")


@pytest.mark.parametrize(
    ("mode", "packages"),
    [([], []), (["--no-engine"], ["shellcheck"]), (["--tests"], ["shellcheck", "gnupg"])],
)
def test_only_who_checks_gets_what_checks(
    machine: Machine, mode: list[str], packages: list[str]
) -> None:
    machine.program("docker", "exit 0")
    machine.program("apt-get", "exit 0")
    for name in ("shellcheck", "gpg"):
        (machine.bin / name).unlink()
    assert machine.bootstrap(*mode).returncode == 0
    installed = [call.rpartition(" ")[2] for call in machine.called("apt-get install")]
    assert installed == packages


def test_other_requirements_mean_another_environment(machine: Machine) -> None:
    machine.program("docker", "exit 0")
    with (machine.clone / "requirements.txt").open("a") as stream:
        stream.write("# a change\n")
    result = machine.bootstrap()
    assert result.returncode == 0
    assert any("-m pip install" in call for call in machine.called("python"))
    assert len(list((machine.clone / ".venv").glob(".requirements-*"))) == 1
    machine.calls.write_text("")
    machine.bootstrap()
    assert not any("pip" in call for call in machine.called("python"))


def test_every_target_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\S+)$", text, re.MULTILINE))
    explained = set(re.findall(r"^(\S+):.* ## \S.*\.$", text, re.MULTILINE))
    assert targets == explained
    shown = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {target for target in targets if f"  make {target} " in shown} == targets
