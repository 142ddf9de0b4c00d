# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation check finds what it is there to find."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "check_docs.py"


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_docs", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OPTIONS: dict[str, Any] = {
    "demo_port": {"type": "int", "default": 8200, "description": "The port."},
    "demo_names": {
        "type": "list",
        "elements": "str",
        "default": ["a", "b"],
        "description": ["Names | with a bar.", "Another sentence."],
    },
    "demo_url": {
        "type": "str",
        "default": "{{ demo_port | string }}",
        "description": "Where V(x) is.",
    },
    "demo_owner": {"type": "str", "required": True, "description": "Who owns it."},
    "demo_extra": {"type": "dict", "description": "What else there is."},
}
DEFAULTS: dict[str, Any] = {
    "demo_port": 8200,
    "demo_names": ["a", "b"],
    "demo_url": "{{ demo_port | string }}",
    "__demo_internal": 1,
}
README = r"""# Role demo

| variable | type | default | meaning |
| --- | --- | --- | --- |
| `demo_port` | int | `8200` | The port. |
| `demo_names` | list of str | `["a", "b"]` | Names \| with a bar. Another sentence. |
| `demo_url` | str | `{{ demo_port \| string }}` | Where `x` is. |
| `demo_owner` | str | required | Who owns it. |
| `demo_extra` | dict | - | What else there is. |

Text after the table.
"""


class Role:
    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("meta", "defaults"):
            (path / name).mkdir(parents=True)
        (path / "meta" / "main.yml").write_text("{}\n", encoding="utf-8")
        self.options = json.loads(json.dumps(OPTIONS))
        self.defaults = dict(DEFAULTS)
        self.readme = README

    def save(self) -> Path:
        spec = {"argument_specs": {"main": {"options": self.options}}}
        (self.path / "meta" / "argument_specs.yml").write_text(
            yaml.safe_dump(spec, sort_keys=False)
        )
        (self.path / "defaults" / "main.yml").write_text(yaml.safe_dump(self.defaults))
        (self.path / "README.md").write_text(self.readme)
        return self.path


@pytest.fixture
def role(tmp_path: Path) -> Role:
    return Role(tmp_path / "roles" / "demo")


def test_a_role_in_order_has_no_problem(docs: ModuleType, role: Role) -> None:
    assert list(docs.check_role(role.save())) == []


def test_the_table_that_is_written_is_the_table_that_is_checked(
    docs: ModuleType, role: Role
) -> None:
    role.readme = "# Role demo\n\nText.\n"
    path = role.save()
    assert docs.write_table(path)
    assert list(docs.check_role(path)) == []
    assert not docs.write_table(path)


def test_writing_replaces_only_the_table(docs: ModuleType, role: Role) -> None:
    role.readme = README.replace("8200", "1")
    path = role.save()
    docs.write_table(path)
    assert (path / "README.md").read_text() == README


def drop_option(role: Role) -> None:
    del role.options["demo_port"]


def drop_default(role: Role) -> None:
    del role.defaults["demo_port"]


def other_default(role: Role) -> None:
    role.defaults["demo_port"] = 8201


def other_template(role: Role) -> None:
    role.defaults["demo_url"] = "{{ demo_port }}"


def default_of_required(role: Role) -> None:
    role.defaults["demo_owner"] = "me"


def undocumented_default(role: Role) -> None:
    role.defaults["demo_new"] = 1


def no_sentence(role: Role) -> None:
    role.options["demo_port"]["description"] = "the port"


def no_description(role: Role) -> None:
    del role.options["demo_port"]["description"]


def readme_row_gone(role: Role) -> None:
    role.readme = role.readme.replace("| `demo_port` | int | `8200` | The port. |\n", "")


def readme_row_extra(role: Role) -> None:
    row = "| `demo_extra` | dict | - | What else there is. |\n"
    role.readme = role.readme.replace(row, row + row.replace("demo_extra", "demo_gone"))


def readme_type(role: Role) -> None:
    role.readme = role.readme.replace("| int |", "| str |")


def readme_default(role: Role) -> None:
    role.readme = role.readme.replace("`8200`", "`8201`")


def readme_meaning(role: Role) -> None:
    role.readme = role.readme.replace("| The port. |", "|  |")


def internal_option(role: Role) -> None:
    role.options["__demo_x"] = {"type": "int", "description": "Internal."}


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (drop_option, "demo_port: in defaults/main.yml, but not in the argument spec"),
        (drop_default, "demo_port: the argument spec has a default, but defaults/main.yml"),
        (other_default, "demo_port: defaults/main.yml says 8201, the argument spec 8200"),
        (other_template, "demo_url: defaults/main.yml says '{{ demo_port }}'"),
        (default_of_required, "demo_owner: required in the argument spec, but defaults"),
        (undocumented_default, "demo_new: in defaults/main.yml, but not in the argument spec"),
        (no_sentence, "demo_port: its description is not made of full sentences"),
        (no_description, "demo_port: its description is not made of full sentences"),
        (readme_row_gone, "demo_port: not in the README's table"),
        (readme_row_extra, "demo_gone: in the README's table, but not in the argument spec"),
        (readme_type, "demo_port: the README says type 'str', the argument spec 'int'"),
        (readme_default, "demo_port: the README says default `8201`, the spec `8200`"),
        (readme_meaning, "demo_port: the README does not say what it means"),
        (internal_option, "__demo_x: internal variables do not belong in the argument spec"),
    ],
)
def test_what_disagrees_is_named(
    docs: ModuleType, role: Role, break_it: Callable[[Role], None], problem: str
) -> None:
    break_it(role)
    problems = list(docs.check_role(role.save()))
    assert any(text.startswith(problem) for text in problems), problems


@pytest.mark.parametrize("name", ["README.md", "meta/main.yml", "meta/argument_specs.yml"])
def test_a_missing_file_is_named(docs: ModuleType, role: Role, name: str) -> None:
    path = role.save()
    (path / name).unlink()
    assert f"{name} is missing" in list(docs.check_role(path))


def test_a_long_default_is_told_elsewhere(docs: ModuleType) -> None:
    assert docs.default_cell({"default": ["x" * 80]}) == docs.ELSEWHERE
    assert docs.default_cell({"default": ""}) == '`""`'
    assert docs.default_cell({"default": False}) == "`false`"


def built(**changes: Any) -> dict[str, Any]:
    option = {"description": ["What it is."], "choices": ["x", "y"]}
    plugin = {
        "doc": {"options": {"kind": option, "name": {"description": "Its name."}}},
        "examples": "- tamshai.phoenix.demo: {kind: x, name: n}\n",
    }
    return plugin | changes


def test_a_plugin_in_order_has_no_problem(docs: ModuleType) -> None:
    assert list(docs.check_plugin("demo", built())) == []


@pytest.mark.parametrize(
    ("plugin", "problem"),
    [
        (None, "has no documentation that builds"),
        (built(examples=""), "has no EXAMPLES"),
        (built(examples="- a: ["), "EXAMPLES is no YAML"),
        (
            built(examples="- tamshai.phoenix.demo: {nmae: n}\n"),
            "EXAMPLES: nmae is no option",
        ),
        (
            built(examples="- block:\n    - tamshai.phoenix.demo: {kind: z}\n"),
            "EXAMPLES: kind: 'z' is not one of ['x', 'y']",
        ),
        (
            built(doc={"options": {"a": {"description": "no sentence"}}}),
            "a: its description is not made of full sentences",
        ),
        (
            built(
                doc={
                    "options": {
                        "a": {"description": "X.", "suboptions": {"b": {"description": ""}}}
                    }
                }
            ),
            "a.b: its description is not made of full sentences",
        ),
    ],
)
def test_what_is_wrong_with_a_plugin_is_named(
    docs: ModuleType, plugin: dict[str, Any] | None, problem: str
) -> None:
    problems = list(docs.check_plugin("demo", plugin))
    assert any(text.startswith(problem) for text in problems), problems


def test_every_kind_of_plugin_is_looked_at(docs: ModuleType, tmp_path: Path) -> None:
    for name in ("modules/a.py", "modules/_private.py", "filter/b.yml", "callback/c.py"):
        path = tmp_path / "plugins" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert sorted(docs.plugins(tmp_path)) == [("callback", "c"), ("filter", "b"), ("module", "a")]
