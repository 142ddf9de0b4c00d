# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What role host declares for servers that no test can have: machines of their own, with swap.

Ansible itself derives it, from the role's own variables, for hosts that are made up.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles/host"

FOUND = {
    "distribution": "debian",
    "version": "13",
    "codename": "trixie",
    "container": "",
    "mtu": 1500,
    "packages": [],
    "users": {},
    "docker": "",
    "python_apt": True,
    "paths": [],
    "plain_swap": [],
    "reboot_required": False,
    "ssh_port": 22,
    "ssh_user": "root",
}
KEY = "/etc/apt/keyrings/docker.asc"
STAYS = {"refused": "", "stranger": ""}
HOSTS: dict[str, dict[str, Any]] = {
    "server": {"phoenix_host": FOUND},
    "named": {"phoenix_host": FOUND, "estate_run": "/run/my-own/estate"},
    "small": {"phoenix_host": FOUND, "host_swap_size": 0},
    "container": {"phoenix_host": {**FOUND, "container": "docker"}},
    "old": {
        "phoenix_host": {
            **FOUND,
            "plain_swap": ["/swapfile", "/dev/vda2"],
            "paths": ["/etc/systemd/system/swapfile.swap"],
            "reboot_required": True,
        }
    },
    "bookworm": {"phoenix_host": {**FOUND, "version": "12", "codename": "bookworm"}},
    "upstream": {
        "phoenix_host": {**FOUND, "docker": "29.0.0", "paths": [KEY]},
        "host_docker_source": "upstream",
    },
    "everywhere": {"phoenix_host": FOUND, "host_ssh_allowed": ["0.0.0.0/0", "10.0.0.0/8", "::/0"]},
    "owner": {
        "phoenix_host": {**FOUND, "ssh_user": "tamshai"},
        "host_authorized_keys": ["ssh-ed25519 AAAA me"],
        "__host_by_key": STAYS,
    },
    "stranger": {
        "phoenix_host": {**FOUND, "ssh_user": "tamshai"},
        "host_authorized_keys": ["ssh-ed25519 AAAA me"],
        "__host_by_key": {**STAYS, "stranger": "SHA256:abc"},
    },
    "keyless": {"phoenix_host": {**FOUND, "ssh_user": "tamshai"}},
    "wrong": {"phoenix_host": FOUND, "host_ssh_allowed": [], "host_journal_max_size": "much"},
}
WANTED = {
    "files": "__host_files + (__host_swap_files if __host_swap else [])"
    " + (__host_upstream_files if __host_docker_source == 'upstream' else [])",
    "apply": "__host_apply",
    "units": "__host_units_wanted",
    "packages": "__host_packages",
    "unknown": "__host_packages_unknown",
    "mistakes": "__host_mistakes",
    "remarks": "__host_remarks",
}


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the role would have, for each host, in check mode."""
    folder = tmp_path_factory.mktemp("role-host")
    wanted = ", ".join(f"'{name}': {value}" for name, value in WANTED.items())
    defaults = [ROOT / f"roles/{name}/defaults/main.yml" for name in ("estate", "host")]
    play = {
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "vars": {
            # As from a task that has changed nothing; the role's files are looked up beside it.
            "__host_configured": {"conditions": [], "missing": [], "unpredictable": []},
            "__host_started": {"skipped": True},
            "estate_model": {"services": {"vault": {"uid": 10001}}},
        },
        "vars_files": [str(ROLE / "vars/main.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": f"{{{{ {{ {wanted} }} | to_json }}}}",
                    "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
                    "mode": "0600",
                },
                "check_mode": False,
            }
        ],
    }
    group = {
        "__host_by_key": {"skipped": True},
        "ansible_python_interpreter": sys.executable,
        "host_ssh_allowed": ["203.0.113.0/24"],
    }
    hosts = {name: {**variables} for name, variables in HOSTS.items()}
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": group}}))
    (folder / "play.yml").write_text(json.dumps([play]))
    (folder / "templates").symlink_to(ROLE / "templates")
    # The defaults come first: an inventory's variables are stronger than those of group all here.
    (folder / "group_vars").mkdir()
    (folder / "group_vars/all").mkdir()
    for number, file in enumerate(defaults):
        text = file.read_text().replace("host_ssh_allowed: []", "")
        (folder / f"group_vars/all/{number}.yml").write_text(text)
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), "--check"),
            *("-i", str(folder / "inventory.json"), str(folder / "play.yml")),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: json.loads((folder / f"{name}.json").read_text()) for name in HOSTS}


def contents(host: dict[str, Any]) -> dict[str, str]:
    return {file["path"]: file["content"] for file in host["files"]}


def units(host: dict[str, Any]) -> dict[str, Any]:
    return {unit["name"]: unit.get("started") for unit in host["units"]}


def test_swap_is_encrypted_under_a_key_of_chance(declared: dict[str, Any]) -> None:
    server = declared["server"]
    files = contents(server)
    assert files["/etc/tamshai/swap"] == "SWAP_MIB=4096\n"
    unit = files["/etc/systemd/system/tamshai-swap.service"]
    lines = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    # What is still swapped to is not deleted: it is seen to be gone before that.
    assert lines[:3] == [
        "-/usr/sbin/swapoff /dev/mapper/tamshai-swap",
        "-/usr/sbin/cryptsetup close tamshai-swap",
        "/usr/bin/test ! -e /dev/mapper/tamshai-swap",
    ]
    steps = lines[3:]
    assert [step.split()[0].rpartition("/")[2] for step in steps] == [
        *("rm", "fallocate", "cryptsetup", "mkswap", "swapon")
    ]
    assert "--key-file /dev/random /var/lib/tamshai/swap tamshai-swap" in steps[2]
    # Neither is the plain file ever what is swapped to.
    assert steps[3].endswith(" /dev/mapper/tamshai-swap")
    assert steps[4].endswith(" /dev/mapper/tamshai-swap")
    assert units(server)["tamshai-swap.service"] is True
    assert "cryptsetup-bin" in server["packages"]


def test_who_waits_for_the_swap_has_more_patience_than_its_unit(declared: dict[str, Any]) -> None:
    unit = contents(declared["server"])["/etc/systemd/system/tamshai-swap.service"]
    (minutes,) = re.findall(r"^TimeoutSec=(\d+)min$", unit, re.MULTILINE)
    for name in ("server", "small"):
        (swap,) = [u for u in declared[name]["units"] if u["name"] == "tamshai-swap.service"]
        assert swap["timeout"] > 60 * int(minutes)
    # A stop and a start.
    (restart,) = [apply for apply in declared["server"]["apply"] if apply["name"] == "swap"]
    assert restart["timeout"] > 2 * 60 * int(minutes)


def test_secrets_are_in_memory_that_is_not_swapped(declared: dict[str, Any]) -> None:
    for name, unit in {
        "server": "run-tamshai.mount",
        "named": subprocess.run(
            ["systemd-escape", "--path", "--suffix=mount", "/run/my-own/estate"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip(),
    }.items():
        (option,) = [
            line
            for line in contents(declared[name])[f"/etc/systemd/system/{unit}"].splitlines()
            if line.startswith("Options=")
        ]
        assert "noswap" in option.split(",")
        assert units(declared[name])[unit] is True


@pytest.mark.parametrize("name", ["small", "container"])
def test_no_swap_where_there_is_to_be_none(declared: dict[str, Any], name: str) -> None:
    assert not [path for path in contents(declared[name]) if "swap" in path]
    assert units(declared[name])["tamshai-swap.service"] is False
    assert "cryptsetup-bin" not in declared[name]["packages"]


def test_plain_swap_is_told_but_for_what_the_role_removes(declared: dict[str, Any]) -> None:
    (told,) = [remark for remark in declared["old"]["remarks"] if "not encrypted" in remark]
    assert told.startswith("swap: /dev/vda2 is not encrypted")
    assert not any("not encrypted" in remark for remark in declared["server"]["remarks"])


def test_a_reboot_that_is_due_is_told(declared: dict[str, Any]) -> None:
    assert any("reboot is due" in remark for remark in declared["old"]["remarks"])
    assert not any("reboot is due" in remark for remark in declared["server"]["remarks"])


@pytest.mark.parametrize("name", ["bookworm", "upstream"])
def test_dockers_own_packages_are_upgraded_too(declared: dict[str, Any], name: str) -> None:
    files = contents(declared[name])
    assert "docker-ce" in declared[name]["packages"]
    assert f"Signed-By: {KEY}" in files["/etc/apt/sources.list.d/docker.sources"]
    pattern = 'Unattended-Upgrade::Origins-Pattern { "origin=Docker"; };'
    assert pattern in files["/etc/apt/apt.conf.d/52tamshai"].splitlines()
    assert pattern not in contents(declared["server"])["/etc/apt/apt.conf.d/52tamshai"]


def test_what_cannot_be_foretold_is_told(declared: dict[str, Any]) -> None:
    assert declared["bookworm"]["unknown"] is True
    assert any("is not asked for" in remark for remark in declared["bookworm"]["remarks"])
    assert declared["upstream"]["unknown"] is False
    assert not any(remark.startswith("packages:") for remark in declared["upstream"]["remarks"])


def test_who_administers_is_not_banned_unless_that_is_everybody(declared: dict[str, Any]) -> None:
    path = "/etc/fail2ban/jail.d/tamshai.local"
    ignored = {
        name: line.split()[2:]
        for name in ("server", "everywhere")
        for line in contents(declared[name])[path].splitlines()
        if line.startswith("ignoreip")
    }
    assert ignored["server"] == ["127.0.0.1/8", "::1", "203.0.113.0/24"]
    assert ignored["everywhere"] == ["127.0.0.1/8", "::1", "10.0.0.0/8"]


def test_every_mistake_is_named_at_once(declared: dict[str, Any]) -> None:
    assert declared["server"]["mistakes"] == []
    assert [mistake.split(":")[0] for mistake in declared["wrong"]["mistakes"]] == [
        "host_ssh_allowed",
        "host_journal_max_size",
    ]


def test_an_owner_without_a_key_that_stays_is_refused(declared: dict[str, Any]) -> None:
    assert declared["owner"]["mistakes"] == []
    (mistake,) = declared["keyless"]["mistakes"]
    assert mistake.startswith("host_authorized_keys: empty, and you come as tamshai")
    (mistake,) = declared["stranger"]["mistakes"]
    assert "by a key that is seen to be one of these (SHA256:abc)" in mistake
