# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Everything that preflight can find, and that it finds it without quoting a secret."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.filter.preflight_attempts import (
    preflight_attempts,
)
from ansible_collections.tamshai.phoenix.plugins.filter.preflight_problems import (
    preflight_problems,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.preflight import shape_of_secret

DIGEST = "sha256:" + "0" * 64
SECRET = "correct-horse-battery-staple"


def sound() -> dict[str, Any]:
    return {
        "estate": {
            "name": "t",
            "domain": "t.internal",
            "project": "t",
            "host": "vps1",
            "services": [
                {
                    "name": "vault",
                    "kind": "vault",
                    "image": "openbao",
                    "port": 8200,
                    "uid": 10001,
                    "publish": True,
                    "callers": ["host", "operator", "api"],
                },
                {"name": "api", "image": "api", "port": 3100, "uid": 1001, "kv": ["api"]},
            ],
            "secrets": [{"path": "api", "key": "API_KEY", "value": SECRET}],
        },
        "variables": ["estate_domain", "estate_model", "estate_services"],
        "secrets": [{"path": "api", "key": "API_KEY", "value": SECRET}],
        "images": {"openbao": f"registry:5000/bao@{DIGEST}", "api": "docker.io/me/api:1.2.3"},
        "passphrase": "a passphrase of many words",
        "state_dir": "/home/me/.local/state/t",
        "control": {
            "versions": {"python": "3.11.7", "ansible-core": "2.19.14", "cryptography": "43.0.0"},
            "state_dir": {
                "exists": True,
                "directory": True,
                "writable": True,
                "open": False,
                "mode": "0700",
                "root": "the root\n",
            },
        },
        "found": {
            "distribution": "debian",
            "version": "13",
            "pretty": "Debian 13",
            "python": "3.13.5",
            "systemd": True,
            "uid": 0,
            "memory_mib": 4000,
            "disks": [{"path": "/var/lib/docker", "free_mib": 50000, "device": 1}],
            "ssh_client": "203.0.113.9",
            "ssh_port": 22,
            "ssh_user": "root",
            "ssh_socket": False,
            "container": "",
            "plain_swap": [],
            "paths": [],
            "skew": 0.4,
            "docker": "26.1.5",
            "authority": "an old root\nthe root\n",
        },
        "tags": {"run": ["all"], "skipped": []},
        "tried": [],
        "unreachable": "",
        "ssh": {
            "allowed": ["203.0.113.0/24"],
            "by_key": "",
            "stranger": "",
            "permit_root": "prohibit-password",
            "port": 22,
            "keys": [],
            "owner": "tamshai",
            "pipelining": True,
        },
        "seal": {"seal": "shamir", "options": {}, "secrets": {}, "plugins": {}},
        "limits": {
            "systems": {"debian": ["12", "13"], "ubuntu": ["24.04"]},
            "python": "3.11",
            "memory_mib": 2000,
            "disk_mib": 6000,
            "skew": 30,
            "control": {"python": "3.11", "ansible-core": "2.17", "cryptography": "41.0"},
        },
    }


def find(path: str, value: Any) -> list[str]:
    """The problems where one value, found by its dotted path, is another."""
    seen = copy.deepcopy(sound())
    *way, last = path.split(".")
    holder: Any = seen
    for key in way:
        holder = holder[int(key) if isinstance(holder, list) else key]
    holder[int(last) if isinstance(holder, list) else last] = value
    return preflight_problems(seen, "vps1")


def test_nothing_stands_against_a_sound_estate() -> None:
    assert preflight_problems(sound(), "vps1") == []


def test_the_way_out_that_destroys_data_says_so() -> None:
    (problem,) = find("found.authority", "another")
    assert "destroy its databases, so dump them first" in problem


def test_nothing_stands_against_the_first_run() -> None:
    seen = sound()
    seen["found"]["authority"] = seen["control"]["state_dir"]["root"] = ""
    seen["found"]["docker"] = ""
    assert preflight_problems(seen, "vps1") == []


@pytest.mark.parametrize(
    ("docker", "run", "skipped", "missing"),
    [
        ("", ["trust", "services"], [], {"trust": "host"}),
        ("", ["data"], [], {"data": ["host", "trust"]}),
        ("", ["all"], ["host"], {"images": "host"}),
        ("", ["host", "images", "trust"], [], {}),
        ("", ["preflight"], [], {}),
        ("", ["some-tag-of-yours"], [], {}),
        ("26.1.5", ["images"], [], {}),
        ("26.1.5", ["verify"], [], {"verify": "trust"}),
    ],
)
def test_a_phase_alone_needs_those_before_it(
    docker: str, run: list[str], skipped: list[str], missing: dict[str, Any]
) -> None:
    seen = sound()
    seen["found"] |= {"docker": docker, "authority": ""}
    seen["control"]["state_dir"]["root"] = ""
    seen["tags"] = {"run": run, "skipped": skipped}
    expected = [
        f"vps1: --tags: phase {first} needs a host that has been through phase {phase}, and "
        f"this one has not; run all phases, or name {phase} as well"
        for first, phases in missing.items()
        for phase in ([phases] if isinstance(phases, str) else phases)
    ]
    assert preflight_problems(seen, "vps1") == expected


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("estate.services.1.kv", ["apj"], "vps1: estate_secrets[0].path: no service reads"),
        (
            "variables",
            ["estate_servises", "estate_name"],
            'vps1: estate_servises: no variable of role estate has this name (did you mean "estate',
        ),
        ("images.api", "", "vps1: images_references.api: a service uses it and there is no ref"),
        ("images.api", "me/api", "vps1: images_references.api: must have a digest or an exact tag"),
        ("images.api", "me/api:latest", "vps1: images_references.api: must have a digest or an"),
        ("images.api", "not an image", "vps1: images_references.api: must be an image reference"),
        (
            "images.api",
            "registry.example.com/me/api:1.2.3",
            "vps1: images_references.api: still the example; name your registry",
        ),
        (
            "images.api",
            f"example.org:5000/api@{DIGEST}",
            "vps1: images_references.api: still the example; name your registry",
        ),
        ("images", None, "vps1: images_references: must be a mapping"),
        ("seal.seal", "trasit", "vps1: vault_seal: unknown kind 'trasit' (did you mean \"transit"),
        (
            "seal.options",
            {"transit": {"adress": "x"}},
            'vps1: vault_seal_options.transit.adress: unknown option (did you mean "address"?)',
        ),
        ("passphrase", "", "vps1: phoenix_state_passphrase: empty; set PHOENIX_STATE_PASSPHRASE"),
        ("passphrase", "elevenchars", "vps1: phoenix_state_passphrase: shorter than 12"),
        ("passphrase", " twelve chars ", "vps1: phoenix_state_passphrase: has white space at an"),
        ("state_dir", "state", "vps1: phoenix_state_dir: must be an absolute path"),
        ("control.state_dir.open", True, "vps1: phoenix_state_dir: others may look into"),
        ("control.state_dir.writable", False, "vps1: phoenix_state_dir: /home/me/.local/state/t"),
        ("control.state_dir.directory", False, "vps1: phoenix_state_dir: /home/me/.local/state/t"),
        ("control.state_dir.root", "", "vps1: phoenix_state_dir: the estate on the host has ano"),
        ("found.authority", "another", "vps1: phoenix_state_dir: the estate on the host has ano"),
        ("control.versions.cryptography", "", "vps1: control node: cryptography is missing"),
        ("control.versions.ansible-core", "2.16.3", "vps1: control node: ansible-core is 2.16.3"),
        ("found", None, "vps1: ansible_host: no answer ("),
        ("found", "", "vps1: ansible_host: no answer ("),
        ("found.uid", 1000, "vps1: ansible_become: modules run without root's rights"),
        ("found.version", "11", "vps1: preflight_systems: the host runs Debian 13; supported are"),
        ("found.python", "3.9.2", "vps1: ansible_python_interpreter: Python on the host is 3.9.2"),
        ("found.systemd", False, "vps1: the host does not run systemd"),
        ("found.memory_mib", 900, "vps1: preflight_memory_mib: the host has 900 MiB of memory"),
        ("found.disks.0.free_mib", 10, "vps1: preflight_disk_mib: 10 MiB are free for /var/lib/d"),
        ("found.skew", 31.0, "vps1: preflight_skew: the host's clock is 31 s ahead of this one"),
        ("found.skew", -3600.0, "vps1: preflight_skew: the host's clock is 3600 s behind this one"),
        ("ssh.by_key", "denied", "vps1: ansible_connection: a login by key alone was not seen"),
        ("ssh.permit_root", "no", "vps1: host_ssh_permit_root: no, and you come as root; connect"),
        ("ssh.permit_root", "forced-commands-only", "vps1: host_ssh_permit_root: forced-"),
        ("found.ssh_user", "tamshai", "vps1: host_authorized_keys: empty, and you come as tamshai"),
        ("found.plain_swap", ["/dev/vda2"], "vps1: host_swap_size: the host swaps to /dev/vda2,"),
        ("found.plain_swap", ["/swapfile"], "vps1: host_swap_size: the host swaps to /swapfile,"),
        ("ssh.pipelining", False, "vps1: ansible_pipelining: off, so modules with secrets"),
        ("ssh.allowed", [], "vps1: host_ssh_allowed: empty; name the networks"),
        ("ssh.allowed", ["10.0.0.0/8"], "vps1: host_ssh_allowed: you come from 203.0.113.9"),
        ("ssh.allowed", ["203.0.113.9/24"], "vps1: host_ssh_allowed[0]: must be a network"),
        ("found.ssh_client", "2001:db8::1", "vps1: host_ssh_allowed: you come from 2001:db8::1"),
    ],
)
def test_a_problem_is_named_alone(path: str, value: Any, expected: str) -> None:
    problems = find(path, value)
    assert [problem for problem in problems if problem.startswith(expected)], problems
    assert len(problems) == 1


def test_a_port_that_the_server_has_no_say_in() -> None:
    seen = sound()
    seen["ssh"]["port"] = 2222
    assert preflight_problems(seen, "vps1") == []
    seen["found"]["ssh_socket"] = True
    (problem,) = preflight_problems(seen, "vps1")
    assert problem.startswith("vps1: host_ssh_port: 2222, but systemd's ssh.socket listens")
    seen["found"]["ssh_port"] = 2222
    assert preflight_problems(seen, "vps1") == []


def test_the_owner_comes_by_a_key_that_stays() -> None:
    seen = sound()
    seen["ssh"]["keys"] = ["ssh-ed25519 AAAA me"]
    seen["found"]["ssh_user"] = "tamshai"
    assert preflight_problems(seen, "vps1") == []
    seen["ssh"]["stranger"] = "SHA256:abc"
    (problem,) = preflight_problems(seen, "vps1")
    assert problem.startswith("vps1: host_authorized_keys: you come as tamshai by a key that is no")
    assert "SHA256:abc" in problem


def test_who_comes_by_no_ssh_is_locked_out_by_none_of_it() -> None:
    seen = sound()
    seen["ssh"] |= {"permit_root": "no", "port": 2222}
    seen["found"] |= {"ssh_client": "", "ssh_port": 0, "ssh_user": "", "ssh_socket": True}
    assert preflight_problems(seen, "vps1") == []


def test_swap_that_is_replaced_or_the_machines_is_no_problem() -> None:
    seen = sound()
    seen["found"] |= {
        "plain_swap": ["/swapfile"],
        "paths": ["/etc/systemd/system/swapfile.swap"],
    }
    assert preflight_problems(seen, "vps1") == []
    seen["found"] |= {"plain_swap": ["/dev/vda2"], "container": "docker"}
    assert preflight_problems(seen, "vps1") == []


@pytest.mark.parametrize("client", ["203.0.113.9", "::ffff:203.0.113.9", "", "unknown"])
def test_a_client_that_is_allowed_or_unknown_is_no_problem(client: str) -> None:
    assert find("found.ssh_client", client) == []


@pytest.mark.parametrize(
    "name", ["myexample.com/api", "docker.io/example.com/api", "r.example.io/a"]
)
def test_a_registry_with_a_name_like_the_example_is_none(name: str) -> None:
    assert find("images.api", f"{name}:1.2.3") == []


def test_all_problems_are_named_at_once() -> None:
    seen = sound()
    seen["found"]["uid"] = 1000
    seen["passphrase"] = ""
    seen["secrets"][0]["value"] = ""
    seen["images"] = {}
    seen["estate"]["services"][1]["callers"] = ["nobody"]
    assert len(preflight_problems(seen, "vps1")) == 6


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (SECRET, "opaque", ""),
        ("a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü", "opaque", ""),
        (None, "opaque", "missing"),
        ("", "opaque", "empty"),
        ("  \n", "opaque", "empty"),
        (12345678, "opaque", "must be a string; put quotes around it"),
        (f"{SECRET}\n", "opaque", "has white space at an end"),
        (f"\t{SECRET}", "token", "has white space at an end"),
        ("one\r\ntwo", "opaque", "has a line break or another control character in it"),
        ("changeme", "opaque", "looks like a placeholder"),
        ("CHANGE_ME", "token", "looks like a placeholder"),
        ("<your key>", "token", "looks like a placeholder"),
        (
            "with space",
            "token",
            "must be a token: at least 8 printable ASCII characters without a space",
        ),
        (
            "short",
            "token",
            "must be a token: at least 8 printable ASCII characters without a space",
        ),
        ("https://example.org/hook", "url", ""),
        ("http://example.org", "url", "must be an https:// URL"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "pem", ""),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "pem", "must be PEM, whole and without other text"),
        (
            "-----BEGIN A-----\nAAAA\n-----END B-----\n",
            "pem",
            "must be PEM, whole and without other text",
        ),
    ],
)
def test_the_shape_of_a_secret(value: Any, kind: str, expected: str) -> None:
    assert shape_of_secret(value, kind) == expected


@pytest.mark.parametrize("wrong", [f"{SECRET} ", f"{SECRET}\nx", f"\0{SECRET}"])
def test_no_message_quotes_a_secret(wrong: str) -> None:
    seen = sound()
    seen["secrets"][0]["value"] = seen["estate"]["secrets"][0]["value"] = wrong
    seen["passphrase"] = f"{wrong} "
    text = "\n".join(preflight_problems(seen, "vps1"))
    assert "estate_secrets[0] (api API_KEY): has" in text
    assert SECRET not in text


class Lazy(dict[str, Any]):
    """A mapping whose value cannot be evaluated, as a template with an undefined variable."""

    def get(self, key: Any, default: Any = None) -> Any:
        if key == "value":
            raise RuntimeError(f"undefined, and here is {SECRET}")
        return super().get(key, default)


def test_a_value_that_cannot_be_evaluated_hides_no_other() -> None:
    seen = sound()
    seen["secrets"] = [Lazy(path="api", key="BROKEN", value=""), {"path": "api", "key": "NEXT"}]
    problems = preflight_problems(seen, "vps1")
    broken, following = problems
    assert broken == (
        "vps1: estate_secrets[0] (api BROKEN): its value cannot be evaluated; "
        "look at its template (RuntimeError)"
    )
    assert following.startswith("vps1: estate_secrets[1] (api NEXT): missing")


AUTHENTICATE = {"url": "https://api.example.org/me", "header": "X-Key", "prefix": "Key "}


def outcome(**result: Any) -> list[dict[str, Any]]:
    return [{"attempt": {"index": 0, "url": AUTHENTICATE["url"], "status": 200}, **result}]


@pytest.mark.parametrize(
    ("tried", "expected"),
    [
        (outcome(status=200), []),
        (outcome(status=401), ["https://api.example.org/me answered 401, a secret that is good"]),
        (outcome(status=-1), ["could not be tried, since https://api.example.org/me does not"]),
        (outcome(failed=True, msg="no module"), ["could not be tried, since https://api.example"]),
    ],
)
def test_a_secret_that_does_not_authenticate_is_named(tried: Any, expected: list[str]) -> None:
    problems = find("tried", tried)
    starts = [f"vps1: estate_secrets[0] (api API_KEY): {text}" for text in expected]
    assert len(problems) == len(starts)
    assert all(p.startswith(start) for p, start in zip(problems, starts, strict=True))


def test_a_secret_is_tried_as_declared() -> None:
    secret = {"path": "api", "key": "API_KEY", "value": SECRET, "authenticate": AUTHENTICATE}
    assert preflight_attempts([{"path": "api", "key": "OTHER", "value": SECRET}, secret]) == [
        {
            "index": 1,
            "url": "https://api.example.org/me",
            "headers": {"X-Key": f"Key {SECRET}"},
            "status": 200,
            "ca_path": None,
        }
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"value": ""},
        {"value": f"{SECRET}\n"},
        {"value": f"{SECRET}\r\nX-Other: header"},
        {"value": "ü" * 8},
        {"authenticate": {**AUTHENTICATE, "url": "http://api.example.org"}},
        {"authenticate": {**AUTHENTICATE, "header": "X-Key: y\r\nZ"}},
        {"authenticate": {}},
        {"authenticate": "yes"},
    ],
)
def test_what_is_wrong_by_its_look_is_not_sent_anywhere(change: dict[str, Any]) -> None:
    secret = {"path": "api", "key": "K", "value": SECRET, "authenticate": AUTHENTICATE, **change}
    assert preflight_attempts([secret]) == []
