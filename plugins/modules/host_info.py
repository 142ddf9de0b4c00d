#!/usr/bin/python
# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Module host_info."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_info
author: tamshai.phoenix contributors (@tamshai)
version_added: 0.1.0
short_description: Tell what a rebuild needs to know about a host
description:
  - Reads a few files of the kernel and the distribution, and so takes a tenth of the time of
    M(ansible.builtin.setup).
options:
  disks:
    description: Paths of which the free space is wanted; they need not exist yet.
    type: list
    elements: path
    default: [/]
  control_time:
    description: The clock of the control node, in seconds since the epoch, right before the call.
    type: float
  users:
    description: Names of users that are of interest.
    type: list
    elements: str
    default: []
  compose_file:
    description: The compose file whose containers are of interest; it need not exist yet.
    type: path
  paths:
    description: Paths of which it is wanted whether they exist.
    type: list
    elements: path
    default: []
  folders:
    description: Directories of which it is wanted what is in them; they need not exist.
    type: list
    elements: path
    default: []
  authority:
    description: File with the certificate of the authority that the host trusts; it need not exist.
    type: path
extends_documentation_fragment: tamshai.phoenix.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
  idempotent:
    support: full
"""

EXAMPLES = r"""
- name: Look at the host
  tamshai.phoenix.host_info:
    disks: [/var/lib/docker]
    control_time: "{{ now(utc=true).timestamp() }}"
  register: found

- name: Show the distance between the two clocks
  ansible.builtin.debug:
    var: found.host.skew
"""

RETURN = r"""
host:
  description: What was found; what the host does not tell is empty, zero or none.
  type: dict
  returned: success
  contains:
    distribution:
      description: Name of the distribution as in C(/etc/os-release), such as C(debian).
      type: str
    version:
      description: Version of the distribution, such as C(13).
      type: str
    pretty:
      description: Name and version of the distribution for people.
      type: str
    codename:
      description: Code name of the version.
      type: str
    machine:
      description: Architecture in the kernel's words.
      type: str
    python:
      description: Version of the Python that runs modules.
      type: str
    container:
      description: Container manager that the host runs under, empty for a machine of its own.
      type: str
    systemd:
      description: Whether systemd is the init of the host.
      type: bool
    uid:
      description: User that modules run as.
      type: int
    memory_mib:
      description: Memory.
      type: int
    swap_mib:
      description: Swap.
      type: int
    plain_swap:
      description:
        - Swap areas that may leave what was in memory on a disk as it was, since they are not
          encrypted. In a container, those of the machine that it runs on.
      type: list
      elements: str
    cpus:
      description: Number of processors.
      type: int
    disks:
      description: For each path asked for, C(path), C(free_mib) and the number of its C(device).
      type: list
      elements: dict
    cgroup_controllers:
      description: Resource controllers that the host may hand to containers.
      type: list
      elements: str
    mtu:
      description: MTU of the interface of the default route.
      type: int
    ssh_client:
      description: Address that the SSH session comes from.
      type: str
    ssh_port:
      description: Port of the host that the SSH session came to, zero where it is none.
      type: int
    ssh_user:
      description: Name of the user who logged in by SSH, before any change of privileges.
      type: str
    ssh_socket:
      description: Whether systemd listens for the SSH server, which then has no say in the port.
      type: bool
    reboot_required:
      description: Whether an upgrade waits for a reboot, as Debian notes it.
      type: bool
    skew:
      description: Seconds by which the host's clock is ahead, less than zero where it is behind.
      type: float
    docker:
      description: Version of the Docker client.
      type: str
    python_apt:
      description: Whether Python's library for APT is there.
      type: bool
    compose:
      description: Version of the compose plugin.
      type: str
    packages:
      description: Names of the Debian packages that are installed and configured.
      type: list
      elements: str
    users:
      description:
        - For each user asked for who exists, C(uid), C(shell), and whether the password is
          C(locked).
      type: dict
    images:
      description: The id of each image of the engine, by each of its references.
      type: dict
    running:
      description:
        - Services of the compose file with a single container, which runs, is healthy where there
          is a health check, has the declared configuration and networks, and the image that its
          reference names now.
        - None while the project has a container that the file does not declare.
      type: list
      elements: str
    service_images:
      description: The reference of the image that each service's container was made from.
      type: dict
    paths:
      description: Those of O(paths) that exist.
      type: list
      elements: str
    folders:
      description: For each of O(folders) the names of the directories in it.
      type: dict
    authority:
      description: The text of O(authority), empty where there is none.
      type: str
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._files import read_bytes_or_none
from ansible_collections.tamshai.phoenix.plugins.module_utils._host import state
from ansible_collections.tamshai.phoenix.plugins.module_utils._host.facts import gather
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import Result, run
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan

ARGUMENT_SPEC: dict[str, Any] = {
    "disks": {"type": "list", "elements": "path", "default": ["/"]},
    "control_time": {"type": "float"},
    "users": {"type": "list", "elements": "str", "default": []},
    "compose_file": {"type": "path"},
    "paths": {"type": "list", "elements": "path", "default": []},
    "folders": {"type": "list", "elements": "path", "default": []},
    "authority": {"type": "path"},
}


def work(module: AnsibleModule) -> Result:
    """Read; there is nothing to plan."""
    params = module.params
    host = gather(params["disks"], params["control_time"])
    images = state.images() if host["docker"] else {}
    file = params["compose_file"] if host["compose"] else None
    authority = read_bytes_or_none(params["authority"]) if params["authority"] else None
    host |= {
        "packages": state.packages(),
        "users": state.users(params["users"]),
        "images": images,
        "running": state.running(file, images) if file else [],
        "service_images": state.service_images(file) if file else {},
        "paths": [path for path in params["paths"] if Path(path).exists()],
        "folders": {path: state.folders(Path(path)) for path in params["folders"]},
        "authority": (authority or b"").decode(errors="replace"),
    }
    return Result(Plan(), host=host)


def main() -> None:
    """Entry point."""
    run(ARGUMENT_SPEC, work)


if __name__ == "__main__":
    main()
