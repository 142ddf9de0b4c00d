# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses of the drill are written in several places; here they agree."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]


def load(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


IMAGES = load("roles/images/defaults/main.yml")
HOST = load("roles/drill_host/defaults/main.yml")
DRILL = load("inventory/drill/group_vars/phoenix.yml")
SUBNET = ipaddress.IPv4Network(HOST["drill_host_subnet"])


def scenarios() -> list[dict[str, Any]]:
    return [
        platform
        for file in sorted((ROOT / "molecule").glob("*/molecule.yml"))
        for platform in yaml.safe_load(file.read_text(encoding="utf-8")).get("platforms", [])
    ]


def test_invented_people_are_in_the_drill_alone() -> None:
    """An operator's own databases get none unless he asks for it."""
    defaults, example = load("roles/estate/defaults/main.yml"), load("inventory/example/hosts.yml")
    assert not any(database.get("sample_data") for database in defaults["estate_databases"])
    assert "estate_databases" not in example["phoenix"]["vars"]
    plain = [{**database, "sample_data": True} for database in defaults["estate_databases"]]
    assert DRILL["estate_databases"] == plain


def test_the_network_is_one() -> None:
    assert IMAGES["images_build_network"] == HOST["drill_host_network"]


def test_hosts_pull_from_the_registry_that_is_served() -> None:
    registry = f"{IMAGES['images_registry_address']}:{IMAGES['images_registry_port']}"
    assert DRILL["host_docker_insecure_registries"] == [registry]


def test_every_address_is_in_the_network_and_nobody_elses() -> None:
    taken = [
        str(next(SUBNET.hosts())),  # the machine
        IMAGES["images_registry_address"],
        HOST["drill_host_becoming_address"],
        load("inventory/drill/hosts.yml")["phoenix"]["hosts"]["drill"]["ansible_host"],
        *(platform["drill_host_ip"] for platform in scenarios()),
    ]
    assert len(taken) == len(set(taken))
    assert all(ipaddress.IPv4Address(address) in SUBNET for address in taken)


def test_names_of_scenario_hosts_are_unique() -> None:
    names = [platform["name"] for platform in scenarios()]
    assert names
    assert len(names) == len(set(names))


def test_the_inventory_has_the_default_host() -> None:
    hosts = load("inventory/drill/hosts.yml")["phoenix"]["hosts"]
    assert list(hosts) == [HOST["drill_host_name"]]
    assert hosts[HOST["drill_host_name"]]["ansible_host"] == HOST["drill_host_address"]


def test_nested_networks_are_never_routed_and_not_the_drills_own() -> None:
    reserved = ipaddress.IPv4Network("198.18.0.0/15")  # RFC 2544
    assert SUBNET.subnet_of(reserved)
    for pool in DRILL["host_docker_address_pools"]:
        network = ipaddress.IPv4Network(pool["base"])
        assert network.subnet_of(reserved)
        assert not network.overlaps(SUBNET)


def test_nobody_but_the_drill_network_administers_a_drill_host() -> None:
    assert DRILL["host_ssh_allowed"] == [HOST["drill_host_subnet"]]


def test_a_host_key_is_never_taken_on_trust() -> None:
    assert "-o StrictHostKeyChecking=yes" in DRILL["ansible_ssh_common_args"]
    shared = [ROOT / ".config" / "molecule" / "config.yml"]
    shared += [*(ROOT / "inventory").rglob("*.yml"), *(ROOT / "molecule" / "_shared").iterdir()]
    for file in shared:
        text = file.read_text(encoding="utf-8")
        assert "StrictHostKeyChecking=no" not in text
        assert "UserKnownHostsFile=/dev/null" not in text
