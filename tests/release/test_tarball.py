# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Galaxy tarball holds what a user needs and nothing else, and runs where it is installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

# Everything at the top of the tarball. A name that is new in the repository fails here until
# somebody decides whether it ships (add it here) or not (build_ignore in galaxy.yml).
SHIPPED = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSE",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "inventory",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
}
NEEDED = {
    "LICENSE",
    "README.md",
    "inventory/example/hosts.yml",
    "meta/runtime.yml",
    "playbooks/phoenix.yml",
    "playbooks/verify.yml",
    "plugins/callback/phase_clock.py",
    "roles/estate/defaults/main.yml",
}


def clean_environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    return kept | {"HOME": str(home), "PATH": f"{BIN}:{kept['PATH']}"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("release")


@pytest.fixture(scope="module")
def tarball(work: Path) -> Path:
    """Built from the tree as it is, with what runs and tests leave behind still in it."""
    traces = [
        ROOT / "build" / "drill" / "release-test" / "id_ed25519",
        ROOT / "molecule" / ".release-test",
    ]
    for trace in traces:
        trace.parent.mkdir(parents=True, exist_ok=True)
        trace.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    try:
        subprocess.run(
            [BIN / "ansible-galaxy", "collection", "build", "--output-path", work, ROOT],
            cwd=work,
            env=clean_environment(work),
            check=True,
            capture_output=True,
            text=True,
        )
    finally:
        for trace in traces:
            trace.unlink()
        traces[0].parent.rmdir()
    (built,) = work.glob("tamshai-phoenix-*.tar.gz")
    return built


@pytest.fixture(scope="module")
def names(tarball: Path) -> set[str]:
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive.getmembers() if member.isfile()}


def test_nothing_unexpected_ships(names: set[str]) -> None:
    assert {name.split("/")[0] for name in names} <= SHIPPED
    assert {name.split("/")[1] for name in names if name.startswith("inventory/")} == {
        "awx",
        "example",
    }


def test_what_is_needed_ships(names: set[str]) -> None:
    assert names >= NEEDED


def test_every_plugin_role_and_playbook_of_the_repository_ships(names: set[str]) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--", "plugins", "roles", "playbooks", "meta"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    expected = {name for name in listed if name and (ROOT / name).is_file()}
    assert expected - names == set()


def test_no_secret_cache_or_test_ships(tarball: Path, names: set[str]) -> None:
    forbidden = re.compile(
        r"(^|/)(tests?|molecule|build|\.[a-z].*|__pycache__|id_[a-z0-9]+|known_hosts)(/|$)"
        r"|\.(pem|key|crt|p12|pyc|retry|log)$"
    )
    assert {name for name in names if forbidden.search(name)} == set()
    with tarfile.open(tarball) as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            if content is not None:
                assert b"PRIVATE KEY-----\n" not in content.read(), member.name


def test_the_tarball_carries_the_version_of_galaxy_yml(tarball: Path) -> None:
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    assert tarball.name == f"tamshai-phoenix-{galaxy['version']}.tar.gz"


@pytest.fixture(scope="module")
def installed(tarball: Path, work: Path) -> Path:
    home = work / "home"
    home.mkdir()
    subprocess.run(
        [BIN / "ansible-galaxy", "collection", "install", "--no-deps", "--offline", tarball],
        cwd=home,
        env=clean_environment(home),
        check=True,
        capture_output=True,
        text=True,
    )
    return home / ".ansible" / "collections" / "ansible_collections" / "tamshai" / "phoenix"


def run_installed(
    installed: Path, *command: str, passphrase: str = "only for a syntax check"
) -> subprocess.CompletedProcess[str]:
    home = installed.parents[4]
    environment = clean_environment(home)
    environment["PHOENIX_STATE_PASSPHRASE"] = passphrase
    return subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=home,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("playbook", sorted(p.stem for p in (ROOT / "playbooks").glob("*.yml")))
def test_each_playbook_runs_by_name_where_it_is_installed(installed: Path, playbook: str) -> None:
    inventory = str(installed / "inventory" / "example")
    result = run_installed(
        installed,
        "ansible-playbook",
        f"tamshai.phoenix.{playbook}",
        "--syntax-check",
        "-i",
        inventory,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert str(installed) in result.stdout


def test_a_run_of_what_is_installed_names_all_that_is_wrong(installed: Path) -> None:
    """Without the repository. That one succeeds as well is a second run in the tests end to end."""
    mistakes = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "host_ssh_allowed": ["203.0.113.1/24"],
        "images_references": {"openbao": "docker.io/openbao/openbao:2.7.2"},
    }
    arguments = ("-i", str(installed / "inventory" / "example"), "-e", json.dumps(mistakes))
    result = run_installed(
        installed,
        *("ansible-playbook", "-vv", "tamshai.phoenix.phoenix", "--tags", "preflight", *arguments),
        passphrase="",
    )
    assert result.returncode == 2, result.stdout + result.stderr
    for text in (
        "phoenix_state_passphrase: empty",
        "(mcp-gateway CLAUDE_API_KEY): empty",
        "host_ssh_allowed[0]: must be a network",
        *(f"images_references.{name}: a service uses it" for name in ("postgres", "mcp-hr")),
    ):
        assert text in result.stdout, result.stdout
    places = re.findall(r"^task path: (.*):\d+$", result.stdout, re.MULTILINE)
    assert places
    assert all(place.startswith(f"{installed}/") for place in places), places


def test_the_plugins_are_found_where_they_are_installed(installed: Path) -> None:
    result = run_installed(installed, "ansible-doc", "-t", "module", "-l", "tamshai.phoenix")
    assert result.returncode == 0, result.stderr
    listed = {line.split()[0].rpartition(".")[2] for line in result.stdout.splitlines()}
    modules = {path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py")}
    assert listed == modules
