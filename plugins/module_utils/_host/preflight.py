# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""All that stands against a rebuild, found before anything is changed.

Pure: what was seen goes in, sentences come out. Each names the host, the option, what was expected
and what to do. None holds the value of a secret.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.schema import (
    AUTHENTICATE,
    ESTATE,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import (
    nearest,
    problems,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.seals import SealConfig
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.seals import (
    problems as seal_problems,
)

__all__ = ["attempts", "find", "shape_of_secret"]

_PLACEHOLDER = re.compile(
    r"(?i)(?:<.*>|\{\{.*\}\}|change[-_ ]?me|replace[-_ ]?me|todo|tbd|dummy|example|none|null|x{3,})"
)
_DIGEST = r"@sha256:[0-9a-f]{64}"
_REFERENCE = re.compile(
    rf"(?P<name>[a-z0-9][^\s@]*?)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>{_DIGEST})?"
)
# Registries in the domains that RFC 2606 keeps for examples.
_EXAMPLE = re.compile(r"(?:[^/]+\.)?example\.(?:com|org|net)(?::\d+)?/")

# The swap file that earlier releases made, and its unit.
_PLAIN_SWAP = "/swapfile"
_PLAIN_SWAP_UNIT = "/etc/systemd/system/swapfile.swap"

# The phases in their order, each with the fact of a host that has been through it, if one shows it.
_PHASES = {
    "host": "docker",
    "images": "",
    "trust": "authority",
    "vault": "",
    "data": "",
    "services": "",
    "verify": "",
}

Problems = Iterator[str]


def find(host: str, seen: Mapping[str, Any]) -> list[str]:
    """Every problem of one host.

    :arg host: The name of the host in the inventory.
    :arg seen: ``estate`` (as for estate_problems), ``variables`` (names of all variables that begin
        with ``estate_``), ``secrets``, ``images``, ``passphrase``,
        ``state_dir``, ``control`` (facts of the control node), ``tried`` (``index``, ``url``,
        ``wanted`` and ``status`` of each attempt with a secret), ``found`` (facts of the host,
        ``None`` where it did not answer), ``unreachable`` (why), ``ssh``, ``seal`` (what is
        declared about the seal of the vault), ``tags`` (``run`` and ``skipped`` ones) and
        ``limits``.
    """
    checks: tuple[Callable[[Mapping[str, Any]], Problems], ...] = (
        _variables,
        _estate,
        _images,
        _seal,
        _secrets,
        _authentication,
        _passphrase,
        _state_dir,
        _control,
        _host,
        _order,
        _system,
        _capacity,
        _clock,
        _ssh,
        _swap,
    )
    return [f"{host}: {problem}" for check in checks for problem in check(seen)]


def _variables(seen: Mapping[str, Any]) -> Problems:
    """A misspelt variable would leave its default in force, and nobody would know."""
    known = {f"estate_{key}" for key in ESTATE if key != "host"}
    for name in seen["variables"]:
        if name not in known | {"estate_model"}:
            yield f"{name}: no variable of role estate has this name{nearest(name, known)}"


def _estate(seen: Mapping[str, Any]) -> Problems:
    yield from problems(seen["estate"])


def _images(seen: Mapping[str, Any]) -> Problems:
    references = seen["images"]
    if not isinstance(references, Mapping):
        yield "images_references: must be a mapping of names to references; see role estate"
        return
    names = dict.fromkeys(_image_names(seen["estate"]))
    for name in names:
        reference = references.get(name)
        if not reference:
            yield (
                f"images_references.{name}: a service uses it and there is no reference"
                f"{nearest(name, set(references) - {name})}; name an image by digest or exact tag"
            )
            continue
        match = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
        if match is None:
            yield f"images_references.{name}: must be an image reference such as host/name:1.2.3"
        elif _EXAMPLE.match(match["name"]):
            yield f"images_references.{name}: still the example; name your registry"
        elif not match["digest"] and match["tag"] in (None, "latest"):
            yield (
                f"images_references.{name}: must have a digest or an exact tag, "
                "or two hosts run different things"
            )


def _image_names(estate: Any) -> Iterator[str]:
    services = estate.get("services") if isinstance(estate, Mapping) else None
    for service in services if isinstance(services, list) else []:
        if isinstance(service, Mapping) and isinstance(service.get("image"), str):
            yield service["image"]


def _seal(seen: Mapping[str, Any]) -> Problems:
    estate = seen["estate"]
    services = estate.get("services") if isinstance(estate, Mapping) else None
    if not isinstance(services, list):
        return  # said by _estate
    for service in services:
        if isinstance(service, Mapping) and service.get("kind") == "vault":
            product = "vault" if service.get("image") == "vault" else "openbao"
            here: dict[str, Any] = {**seen["seal"], "product": product, "former": ""}
            here["egress"] = bool(service.get("egress"))
            yield from seal_problems(SealConfig(**here, folder="", place=""))


def _secrets(seen: Mapping[str, Any]) -> Problems:
    secrets = seen["secrets"]
    if not isinstance(secrets, list):
        return  # said by _estate
    for index, secret in enumerate(secrets):
        if not isinstance(secret, Mapping):
            continue
        where = f"estate_secrets[{index}] ({secret.get('path')} {secret.get('key')})"
        if "error" in secret:
            yield f"{where}: its value cannot be evaluated; {secret['error']}"
            continue
        wrong = shape_of_secret(secret.get("value"), str(secret.get("kind") or "opaque"))
        if wrong:
            yield f"{where}: {wrong}; bring it by Ansible Vault or the environment"


def shape_of_secret(value: Any, kind: str) -> str:
    """What is wrong with a secret by the look of it, in words that do not quote it."""
    if value is None:
        return "missing"
    if not isinstance(value, str):
        return "must be a string; put quotes around it"
    if not value.strip():
        return "empty"
    if _PLACEHOLDER.fullmatch(value.strip()):
        return "looks like a placeholder"
    if kind == "pem":
        return _shape_of_pem(value)
    if value != value.strip():
        return "has white space at an end"
    if any(ord(character) < 32 or ord(character) == 127 for character in value):
        return "has a line break or another control character in it"
    if kind == "token" and not re.fullmatch(r"[!-~]{8,}", value):
        return "must be a token: at least 8 printable ASCII characters without a space"
    if kind == "url" and not re.fullmatch(r"https://[^\s/]+(?:/\S*)?", value):
        return "must be an https:// URL"
    return ""


def _shape_of_pem(value: str) -> str:
    blocks = r"(?:-----BEGIN ([A-Z ]+)-----\n[A-Za-z0-9+/=\n]+\n-----END \1-----\n?)+"
    return "" if re.fullmatch(blocks, value) else "must be PEM, whole and without other text"


def attempts(secrets: Any) -> list[dict[str, Any]]:
    """How each secret that says so is tried where it was issued: one request with it in a header.

    Those that cannot be right by the look of them are left out; they are named without that.

    :returns: ``index``, ``url``, ``headers`` (the secret is in them), ``status``, ``ca_path``.
    """
    found = []
    for index, secret in enumerate(secrets if isinstance(secrets, list) else []):
        if not isinstance(secret, Mapping) or not isinstance(secret.get("authenticate"), Mapping):
            continue
        how = {key: field.default for key, field in AUTHENTICATE.items()} | secret["authenticate"]
        value = secret.get("value")
        sound = all(
            not field.check(how[key]) for key, field in AUTHENTICATE.items() if how[key] is not None
        )
        wrong = shape_of_secret(value, str(secret.get("kind") or "opaque"))
        if not sound or how["url"] is None or wrong or not str(value).isascii():
            continue
        found.append(
            {
                "index": index,
                "url": how["url"],
                "headers": {**how["headers"], how["header"]: f"{how['prefix']}{value}"},
                "status": how["status"],
                "ca_path": how["ca_path"],
            }
        )
    return found


def _authentication(seen: Mapping[str, Any]) -> Problems:
    for tried in seen["tried"]:
        wanted, status = tried["wanted"], tried["status"]
        if status == wanted:
            continue
        secret = seen["secrets"][tried["index"]]
        where = f"estate_secrets[{tried['index']}] ({secret.get('path')} {secret.get('key')})"
        if status > 0:
            yield (
                f"{where}: {tried['url']} answered {status}, a secret that is good gets {wanted}; "
                "bring one that is"
            )
        else:
            yield (
                f"{where}: could not be tried, since {tried['url']} does not answer; "
                "see that the control node reaches it, or leave authenticate out"
            )


def _passphrase(seen: Mapping[str, Any]) -> Problems:
    wrong = shape_of_secret(seen["passphrase"], "opaque")
    if not wrong and len(seen["passphrase"]) < 12:
        wrong = "shorter than 12 characters"
    if wrong:
        yield (
            f"phoenix_state_passphrase: {wrong}; set PHOENIX_STATE_PASSPHRASE or bring it by "
            "Ansible Vault, since keys and unseal shares are encrypted with it"
        )


def _state_dir(seen: Mapping[str, Any]) -> Problems:
    path, state = seen["state_dir"], seen["control"]["state_dir"]
    if not isinstance(path, str) or not path.startswith("/"):
        yield "phoenix_state_dir: must be an absolute path on the control node"
    elif not state["writable"]:
        yield f"phoenix_state_dir: {path} cannot be written; choose a directory of your own"
    elif state["exists"] and not state["directory"]:
        yield f"phoenix_state_dir: {path} is no directory; move it away"
    elif state["exists"] and state["open"]:
        yield (
            f"phoenix_state_dir: others may look into {path} (mode {state['mode']}); "
            f"chmod 0700 {path}"
        )
    # Certificates of another authority would cut the services off from each other and from the
    # Vault, and only then would the operator be refused.
    trusted = (seen["found"] or {}).get("authority", "")
    if trusted and (not state["root"] or state["root"].strip() not in trusted):
        yield (
            f"phoenix_state_dir: the estate on the host has another authority than {path}; "
            "bring the directory that it was built with (is the host's name in the inventory the "
            "same?); installing the host anew would help as well and destroy its databases, so "
            "dump them first, as the guide says under 'Databases', and take that off the host"
        )


def _control(seen: Mapping[str, Any]) -> Problems:
    control = seen["control"]
    for name, least in seen["limits"]["control"].items():
        found = control["versions"].get(name, "")
        if not found:
            yield f"control node: {name} is missing; install it, at least {least}"
        elif _version(found) < _version(least):
            yield f"control node: {name} is {found}; at least {least} is needed"


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _host(seen: Mapping[str, Any]) -> Problems:
    found = seen["found"]
    if found is None:
        yield f"ansible_host: no answer ({seen['unreachable']}); see that SSH gets in"
    elif found["uid"] != 0:
        yield "ansible_become: modules run without root's rights; set it to true"


def _order(seen: Mapping[str, Any]) -> Problems:
    """Some phases alone need a host that has been through those before them."""
    found, tags = seen["found"], seen["tags"]
    if found is None:
        return
    everything = "all" in tags["run"]
    chosen = [
        phase
        for phase in _PHASES
        if (everything or phase in tags["run"]) and phase not in tags["skipped"]
    ]
    order = list(_PHASES)
    for phase, fact in _PHASES.items():
        later = [name for name in chosen if order.index(name) > order.index(phase)]
        if fact and not found[fact] and later and phase not in chosen:
            yield (
                f"--tags: phase {later[0]} needs a host that has been through phase {phase}, and "
                f"this one has not; run all phases, or name {phase} as well"
            )


def _system(seen: Mapping[str, Any]) -> Problems:
    found, limits = seen["found"], seen["limits"]
    if found is None:
        return
    supported = limits["systems"]
    if str(found["version"]) not in [str(v) for v in supported.get(found["distribution"], [])]:
        names = ", ".join(f"{name} {version}" for name in supported for version in supported[name])
        yield (
            f"preflight_systems: the host runs {found['pretty'] or 'an unknown system'}; "
            f"supported are {names}"
        )
    if _version(found["python"]) < _version(limits["python"]):
        yield (
            f"ansible_python_interpreter: Python on the host is {found['python']}; "
            f"at least {limits['python']} is needed"
        )
    if not found["systemd"]:
        yield "the host does not run systemd, which keeps agents and certificates going"


def _capacity(seen: Mapping[str, Any]) -> Problems:
    found, limits = seen["found"], seen["limits"]
    if found is None:
        return
    if found["memory_mib"] < limits["memory_mib"]:
        yield (
            f"preflight_memory_mib: the host has {found['memory_mib']} MiB of memory, "
            f"{limits['memory_mib']} are wanted; take a larger one or lower the limit"
        )
    for disk in found["disks"]:
        if disk["free_mib"] < limits["disk_mib"]:
            yield (
                f"preflight_disk_mib: {disk['free_mib']} MiB are free for {disk['path']}, "
                f"{limits['disk_mib']} are wanted; make room or lower the limit"
            )


def _clock(seen: Mapping[str, Any]) -> Problems:
    found, limit = seen["found"], seen["limits"]["skew"]
    if found is None or found["skew"] is None or abs(found["skew"]) <= limit:
        return
    way = "ahead of" if found["skew"] > 0 else "behind"
    yield (
        f"preflight_skew: the host's clock is {abs(found['skew']):.0f} s {way} this one, "
        f"{limit} s are allowed, or certificates are not valid yet; set the clocks"
    )


def _ssh(seen: Mapping[str, Any]) -> Problems:
    """Whether the host will still let its operator in once it is hardened."""
    ssh, found = seen["ssh"], seen["found"]
    if found is not None:
        yield from _ways_in(ssh, found)
    if not ssh["pipelining"]:
        yield (
            "ansible_pipelining: off, so modules with secrets in them would be files on the "
            "host's disk; set it to true for the host or the play, or [connection] pipelining "
            "in ansible.cfg"
        )
    networks = []
    for index, text in enumerate(ssh["allowed"] if isinstance(ssh["allowed"], list) else []):
        try:
            networks.append(ipaddress.ip_network(str(text)))
        except ValueError:
            yield (
                f"host_ssh_allowed[{index}]: must be a network such as 203.0.113.0/24 "
                "or 2001:db8::/48, host bits zero"
            )
    if not ssh["allowed"]:
        yield (
            "host_ssh_allowed: empty; name the networks that the host is administered from, "
            "since nobody else will get in"
        )
    elif found is not None and found["ssh_client"] and networks:
        yield from _locked_out(found["ssh_client"], networks)


def _ways_in(ssh: Mapping[str, Any], found: Mapping[str, Any]) -> Problems:
    """Whether this user still gets in by this way of authenticating, at this port."""
    if ssh["by_key"]:
        yield (
            f"ansible_connection: a login by key alone was not seen to work ({ssh['by_key']}), and "
            "role host turns every other way off; bring a key to the host and connect by that"
        )
    if found["ssh_user"] == "root" and ssh["permit_root"] != "prohibit-password":
        yield (
            f"host_ssh_permit_root: {ssh['permit_root']}, and you come as root; connect as "
            "another user who may become root (ansible_user, ansible_become: true), or leave it at "
            "prohibit-password"
        )
    if found["ssh_user"] == ssh["owner"] and not ssh["keys"]:
        yield (
            f"host_authorized_keys: empty, and you come as {ssh['owner']}, whose keys these are; "
            "name yours"
        )
    elif ssh["stranger"]:
        yield (
            f"host_authorized_keys: you come as {ssh['owner']} by a key that is none of these "
            f"({ssh['stranger']}), and they are all that will be left; name it too, and take it "
            "out only once you come by another"
        )
    if found["ssh_socket"] and found["ssh_port"] not in (0, ssh["port"]):
        yield (
            f"host_ssh_port: {ssh['port']}, but systemd's ssh.socket listens for the SSH server, "
            f"at port {found['ssh_port']}, and takes no port from it; have the server listen by "
            "itself (systemctl disable --now ssh.socket; systemctl enable --now ssh.service), or "
            f"leave the port at {found['ssh_port']}"
        )


def _swap(seen: Mapping[str, Any]) -> Problems:
    """What is in memory must not get to a disk as it is."""
    found = seen["found"]
    if found is None or found["container"]:
        return  # its machine's swap is not its own
    # The file of an earlier release is role host's to replace.
    ours = {_PLAIN_SWAP} if _PLAIN_SWAP_UNIT in found["paths"] else set()
    for name in found["plain_swap"]:
        if name not in ours:
            yield (
                f"host_swap_size: the host swaps to {name}, which is not encrypted, so secrets in "
                f"memory could get to its disk; turn that off (swapoff {name}, and its line out of "
                "/etc/fstab), role host makes encrypted swap"
            )


def _locked_out(
    client: str, networks: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network]
) -> Problems:
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    if not any(address in network for network in networks):
        yield (
            f"host_ssh_allowed: you come from {address}, which is in none of them; "
            "add it, or you are locked out"
        )
