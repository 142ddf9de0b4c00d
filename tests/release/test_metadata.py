# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says about itself is true."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
OWN = "tamshai.phoenix"


def load(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def modules() -> set[str]:
    return {path.stem for path in (ROOT / "plugins" / "modules").glob("[!_]*.py")}


def test_the_vault_group_is_every_module_that_shares_its_options() -> None:
    sharing = {
        name
        for name in modules()
        if f"{OWN}.vault" in (ROOT / "plugins" / "modules" / f"{name}.py").read_text("utf-8")
        and re.search(
            rf"^ *- {OWN}\.vault$",
            (ROOT / "plugins" / "modules" / f"{name}.py").read_text("utf-8"),
            re.MULTILINE,
        )
    }
    group = set(load("meta/runtime.yml")["action_groups"]["vault"])
    assert group == sharing


def used_collections() -> set[str]:
    """Collections whose plugins or roles are named in roles and playbooks."""
    pattern = re.compile(r"\b((?:community|ansible|containers|amazon)\.[a-z_]+)\.[a-z_]+\b")
    found: set[str] = set()
    for folder in ("roles", "playbooks"):
        for path in (ROOT / folder).rglob("*.y*ml"):
            found.update(pattern.findall(path.read_text(encoding="utf-8")))
    return found - {"ansible.builtin", "ansible.legacy"}


def test_every_collection_that_is_used_is_declared_and_no_other() -> None:
    assert set(load("galaxy.yml")["dependencies"]) == used_collections()


def test_what_is_declared_is_what_the_pinned_ansible_brings() -> None:
    place = Path(str(metadata.distribution("ansible").locate_file("ansible_collections")))
    for name, wanted in load("galaxy.yml")["dependencies"].items():
        manifest = yaml.safe_load((place / name.replace(".", "/") / "MANIFEST.json").read_text())
        assert SpecifierSet(wanted).contains(manifest["collection_info"]["version"]), name


def requirements(name: str) -> dict[str, Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    parsed = [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]
    return {requirement.name.lower().replace("_", "-"): requirement for requirement in parsed}


def test_every_requirement_is_pinned_and_agrees_with_the_constraints() -> None:
    constraints = requirements("requirements-constraints.txt")
    for name in ("requirements.txt", "requirements-dev.txt"):
        for package, requirement in requirements(name).items():
            assert str(requirement.specifier).startswith("=="), package
            assert constraints[package].specifier == requirement.specifier, package


def test_every_change_for_users_has_a_fragment_that_says_something() -> None:
    for path in (ROOT / "changelogs" / "fragments").glob("*.yml"):
        sections = load(f"changelogs/fragments/{path.name}")
        assert sections, path.name
        assert all(str(entry).strip() for entries in sections.values() for entry in entries)


def test_nothing_was_added_in_a_version_that_does_not_exist_yet() -> None:
    ours = Version(load("galaxy.yml")["version"])
    for path in sorted((ROOT / "plugins").rglob("*.py")) + sorted(
        (ROOT / "plugins").rglob("*.yml")
    ):
        for found in re.findall(
            r"^ *version_added: *\"?([0-9.]+)", path.read_text("utf-8"), re.MULTILINE
        ):
            assert Version(found) <= ours, f"{path.name}: version_added {found}"


def test_every_role_names_the_systems_that_preflight_admits() -> None:
    codenames = {"bookworm": "12", "trixie": "13", "noble": "24.04"}
    admitted = load("roles/preflight/defaults/main.yml")["preflight_systems"]
    for path in sorted((ROOT / "roles").glob("*/meta/main.yml")):
        platforms = yaml.safe_load(path.read_text("utf-8"))["galaxy_info"]["platforms"]
        named = {p["name"].lower(): sorted(codenames[v] for v in p["versions"]) for p in platforms}
        assert named == admitted, path.parent.parent.name
