#!/usr/bin/env python
# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that what is documented is what is there.

Roles: meta/argument_specs.yml, defaults/main.yml and the table in README.md name the same variables
with the same types and defaults. Plugins: the documentation builds, each option is described by a
sentence, and the examples use only options that exist.

    scripts/check_docs.py           report what disagrees
    scripts/check_docs.py --write   make the README tables anew from the argument specs
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COLLECTION = "tamshai.phoenix"
HEADER = "| variable | type | default | meaning |"
RULE = "| --- | --- | --- | --- |"
# A longer default is not written out in a table.
WIDEST_DEFAULT = 72
ELSEWHERE = "see `defaults/main.yml`"
# Directories below plugins/ that hold documented plugins, and their names for ansible-doc.
KINDS = {
    "modules": "module",
    "filter": "filter",
    "test": "test",
    "lookup": "lookup",
    "callback": "callback",
    "inventory": "inventory",
    "connection": "connection",
}

_ROW = re.compile(
    r"^\| `(?P<name>[^`]+)` \| (?P<type>[^|]*?) \| (?P<default>.*?) \| (?P<meaning>.*) \|$"
)


# --- Roles ---------------------------------------------------------------------------------------


def load(path: Path) -> Any:
    """A YAML file's content; nothing where there is no file."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None


def role_options(role: Path) -> dict[str, dict[str, Any]]:
    """The options of all entry points of a role; the first description of one counts."""
    specs = (load(role / "meta" / "argument_specs.yml") or {}).get("argument_specs") or {}
    options: dict[str, dict[str, Any]] = {}
    for spec in specs.values():
        for name, option in (spec.get("options") or {}).items():
            options.setdefault(name, option)
    return options


def type_name(option: dict[str, Any]) -> str:
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if option.get("elements") else kind


def default_cell(option: dict[str, Any]) -> str:
    """How a default is written in a README table."""
    if option.get("required"):
        return "required"
    if "default" not in option or option["default"] is None:
        return "-"
    value = option["default"]
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    text = " ".join(text.split())
    if len(text) > WIDEST_DEFAULT:
        return ELSEWHERE
    return "`" + text.replace("|", r"\|") + "`"


def meaning_cell(option: dict[str, Any]) -> str:
    """A description as one line of Markdown."""
    text = " ".join(" ".join(sentences(option)).split())
    text = re.sub(r"\b[VCOE]\(([^)]*)\)", r"`\1`", text)
    return text.replace("|", r"\|")


def sentences(option: dict[str, Any]) -> list[str]:
    described = option.get("description") or []
    return [described] if isinstance(described, str) else [str(part) for part in described]


def table(role: Path) -> list[str]:
    """The README table that the argument spec stands for."""
    rows = [
        f"| `{name}` | {type_name(option)} | {default_cell(option)} | {meaning_cell(option)} |"
        for name, option in role_options(role).items()
    ]
    return [HEADER, RULE, *rows]


def documented(readme: str) -> dict[str, tuple[str, str, str]]:
    """The rows of all such tables in a README: type, default and meaning of each variable."""
    rows: dict[str, tuple[str, str, str]] = {}
    inside = False
    for line in readme.splitlines():
        if line.strip() == HEADER:
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and (match := _ROW.match(line)):
            rows[match["name"]] = (match["type"], match["default"], match["meaning"])
    return rows


def check_role(role: Path) -> Iterator[str]:
    """All that disagrees in one role, each as a line for a person."""
    required = ["README.md", "meta/main.yml", "meta/argument_specs.yml"]
    for name in required:
        if not (role / name).is_file():
            yield f"{name} is missing"
    options = role_options(role)
    yield from check_options(options)
    yield from check_defaults(options, load(role / "defaults" / "main.yml") or {})
    if (role / "README.md").is_file():
        yield from check_readme(options, (role / "README.md").read_text(encoding="utf-8"))


def check_options(options: dict[str, dict[str, Any]]) -> Iterator[str]:
    for name, option in options.items():
        described = sentences(option)
        if not described or any(not part.strip().endswith((".", ":")) for part in described):
            yield f"{name}: its description is not made of full sentences"
        if name.startswith("_"):
            yield f"{name}: internal variables do not belong in the argument spec"


def check_defaults(options: dict[str, dict[str, Any]], defaults: dict[str, Any]) -> Iterator[str]:
    for name, value in defaults.items():
        if name.startswith("_"):
            continue
        if name not in options:
            yield f"{name}: in defaults/main.yml, but not in the argument spec"
        elif options[name].get("required"):
            yield f"{name}: required in the argument spec, but defaults/main.yml has a value"
        elif value is not None and options[name].get("default") != value:
            spec = options[name].get("default")
            yield f"{name}: defaults/main.yml says {value!r}, the argument spec {spec!r}"
    for name, option in options.items():
        if option.get("default") is not None and name not in defaults:
            yield f"{name}: the argument spec has a default, but defaults/main.yml does not"


def check_readme(options: dict[str, dict[str, Any]], readme: str) -> Iterator[str]:
    rows = documented(readme)
    for name, option in options.items():
        if name not in rows:
            yield f"{name}: not in the README's table"
            continue
        kind, default, meaning = rows[name]
        if kind != type_name(option):
            yield f"{name}: the README says type {kind!r}, the argument spec {type_name(option)!r}"
        if default != default_cell(option):
            yield f"{name}: the README says default {default}, the spec {default_cell(option)}"
        if not meaning.strip():
            yield f"{name}: the README does not say what it means"
    for name in rows.keys() - options.keys():
        yield f"{name}: in the README's table, but not in the argument spec"


def write_table(role: Path) -> bool:
    """Put the spec's table into the README; true where that changed something."""
    path = role / "README.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [f"# {role.name}"]
    fresh = table(role)
    if HEADER in lines:
        first = last = lines.index(HEADER)
        while last < len(lines) and lines[last].startswith("|"):
            last += 1
        lines[first:last] = fresh
    else:
        lines += ["", "## Variables", "", *fresh]
    text = "\n".join(lines) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True


# --- Plugins -------------------------------------------------------------------------------------


def plugins(root: Path) -> Iterator[tuple[str, str]]:
    """Kind and name of each public plugin."""
    for folder, kind in KINDS.items():
        for path in sorted((root / "plugins" / folder).glob("*")):
            if path.suffix in (".py", ".yml", ".yaml") and not path.stem.startswith("_"):
                yield kind, path.stem


def ansible_doc(kind: str, names: list[str]) -> dict[str, Any]:
    """What ansible-doc makes of plugins; raises CalledProcessError where it cannot."""
    command = [str(Path(sys.executable).with_name("ansible-doc")), "--json", "-t", kind]
    result = subprocess.run(
        [*command, *(f"{COLLECTION}.{name}" for name in names)],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(ROOT / "build" / "collections")},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(result.stdout))


def check_plugin(name: str, built: dict[str, Any] | None) -> Iterator[str]:
    """What is wrong with the documentation that ansible-doc built for one plugin."""
    if not built or not built.get("doc"):
        yield "has no documentation that builds"
        return
    options = built["doc"].get("options") or {}
    yield from check_sentences(options)
    examples = built.get("examples")
    if not examples:
        yield "has no EXAMPLES"
        return
    try:
        loaded = yaml.safe_load(examples)
    except yaml.YAMLError as error:
        yield f"EXAMPLES is no YAML: {error}"
        return
    yield from check_examples(f"{COLLECTION}.{name}", options, loaded)


def check_sentences(options: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, option in options.items():
        described = sentences(option)
        if not described or any(not part.strip().endswith((".", ":")) for part in described):
            yield f"{path}{name}: its description is not made of full sentences"
        yield from check_sentences(option.get("suboptions") or {}, f"{path}{name}.")


def check_examples(module: str, options: dict[str, Any], examples: Any) -> Iterator[str]:
    """Options that an example uses and the module does not have, and values it would refuse."""
    known = set(options)
    for option in options.values():
        known.update(option.get("aliases") or [])
    for arguments in find_tasks(module, examples):
        for name, value in arguments.items():
            if name not in known:
                yield f"EXAMPLES: {name} is no option"
                continue
            choices = (options.get(name) or {}).get("choices")
            templated = isinstance(value, str) and "{{" in value
            if choices and not templated and value not in choices and not isinstance(value, list):
                yield f"EXAMPLES: {name}: {value!r} is not one of {list(choices)}"


def find_tasks(module: str, node: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each task in the examples that runs the module."""
    if isinstance(node, list):
        for item in node:
            yield from find_tasks(module, item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == module and isinstance(value, dict):
                yield value
            else:
                yield from find_tasks(module, value)


def check_plugins(root: Path) -> Iterator[str]:
    by_kind: dict[str, list[str]] = {}
    for kind, name in plugins(root):
        by_kind.setdefault(kind, []).append(name)
    for kind, names in by_kind.items():
        try:
            built = ansible_doc(kind, names)
        except subprocess.CalledProcessError as error:
            yield f"{kind} plugins: ansible-doc fails: {error.stderr.strip()}"
            continue
        for name in names:
            for problem in check_plugin(name, built.get(f"{COLLECTION}.{name}")):
                yield f"{kind} {name}: {problem}"


# --- Both ----------------------------------------------------------------------------------------


def roles(root: Path) -> list[Path]:
    return sorted(path for path in (root / "roles").iterdir() if path.is_dir())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check that documentation and code agree.")
    parser.add_argument("--write", action="store_true", help="make the README tables anew")
    parser.add_argument("role", nargs="*", help="only these roles, and no plugins")
    given = parser.parse_args(arguments)
    chosen = [role for role in roles(ROOT) if not given.role or role.name in given.role]
    if given.write:
        for role in chosen:
            if write_table(role):
                print(f"written: roles/{role.name}/README.md")
    problems = [f"role {role.name}: {text}" for role in chosen for text in check_role(role)]
    if not given.role:
        problems += check_plugins(ROOT)
    for problem in problems:
        print(problem)
    print(f"{len(chosen)} roles checked, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
