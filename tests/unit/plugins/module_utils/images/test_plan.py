# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image recipes: order, tags by content, Dockerfiles, refusals."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.tamshai.phoenix.plugins.filter.images_plan import FilterModule
from ansible_collections.tamshai.phoenix.plugins.module_utils._images.plan import (
    RecipeError,
    plan_images,
)

ROLE = Path(__file__).parents[5] / "roles" / "images"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print(1)\n")
    (tmp_path / "lock.txt").write_text("a==1 --hash=sha256:00\n")
    return tmp_path


@pytest.fixture
def recipes() -> dict[str, Any]:
    return {
        "app": {
            "base": "python",
            "files": [{"src": "app", "dest": "/app", "mode": "0755"}],
            "push": True,
        },
        "python": {
            "base": "root",
            "apt": ["python3"],
            "fetch": [{"kind": "pypi", "dest": "site", "lock": "lock.txt", "python": "3.13"}],
        },
        "root": {"fetch": [{"kind": "mmdebstrap", "dest": "root.tar", "suite": "trixie"}]},
        "other": {"base": "root", "run": ["true"]},
    }


def tags(builds: list[dict[str, Any]]) -> dict[str, str]:
    return {build["name"]: build["tag"] for build in builds}


def changed(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> set[str]:
    return {name for name, tag in tags(after).items() if tags(before)[name] != tag}


def test_bases_come_before_what_stands_on_them(recipes: dict[str, Any], files: Path) -> None:
    builds = plan_images(recipes, files)
    assert [build["name"] for build in builds] == ["root", "python", "app", "other"]
    references = {build["name"]: build["reference"] for build in builds}
    assert [build["base"] for build in builds] == [
        "",
        references["root"],
        references["python"],
        references["root"],
    ]
    assert re.fullmatch(r"tamshai/app:[0-9a-f]{16}", references["app"])


def test_only_what_is_wanted_and_its_bases(recipes: dict[str, Any], files: Path) -> None:
    builds = plan_images(recipes, files, wanted=["other"], repository="x")
    assert [build["repository"] for build in builds] == ["x/root", "x/other"]


def test_the_same_inputs_give_the_same_tags(recipes: dict[str, Any], files: Path) -> None:
    before = plan_images(recipes, files)
    (files / "app" / "__pycache__").mkdir()
    (files / "app" / "__pycache__" / "main.cpython-313.pyc").write_bytes(b"x")
    (files / "app" / "main.py").touch()
    shuffled = dict(reversed(list(copy.deepcopy(recipes).items())))
    assert changed(before, plan_images(shuffled, files)) == set()


def test_where_an_image_goes_is_no_part_of_what_it_is(recipes: dict[str, Any], files: Path) -> None:
    before = plan_images(recipes, files)
    recipes["root"] |= {"alias": "current", "push": True}
    assert changed(before, plan_images(recipes, files)) == set()


@pytest.mark.parametrize(
    ("change", "renamed"),
    [
        (lambda r, f: (f / "app" / "main.py").write_text("print(2)\n"), {"app"}),
        (lambda r, f: (f / "app" / "new.py").write_text(""), {"app"}),
        (lambda r, f: (f / "app" / "main.py").rename(f / "app" / "old.py"), {"app"}),
        (lambda r, f: r["app"]["files"][0].update(mode="0644"), {"app"}),
        (lambda r, f: (f / "lock.txt").write_text("a==2\n"), {"python", "app"}),
        (lambda r, f: r["python"]["apt"].append("less"), {"python", "app"}),
        (lambda r, f: r["python"]["fetch"][0].update(python="3.14"), {"python", "app"}),
        (lambda r, f: r["other"].update(user="1"), {"other"}),
        (
            lambda r, f: r["root"]["fetch"][0].update(suite="bookworm"),
            {"root", "python", "app", "other"},
        ),
    ],
)
def test_a_change_renames_what_stands_on_it_and_nothing_else(
    recipes: dict[str, Any], files: Path, change: Any, renamed: set[str]
) -> None:
    before = plan_images(recipes, files)
    change(recipes, files)
    assert changed(before, plan_images(recipes, files)) == renamed


def test_another_builder_renames_what_it_builds(recipes: dict[str, Any], files: Path) -> None:
    before = plan_images(recipes, files, builders={"pypi": "1", "mmdebstrap": "1"})
    after = plan_images(recipes, files, builders={"pypi": "2", "mmdebstrap": "1"})
    assert changed(before, after) == {"python", "app"}


def test_refresh_renames_all(recipes: dict[str, Any], files: Path) -> None:
    before = plan_images(recipes, files)
    assert len(changed(before, plan_images(recipes, files, refresh="2026-11"))) == 4


def test_dockerfile(files: Path) -> None:
    recipe = {
        "fetch": [
            {"kind": "mmdebstrap", "dest": "root.tar", "suite": "trixie"},
            {"kind": "pypi", "dest": "site", "lock": "lock.txt", "python": "3.13"},
        ],
        "setup": ["groupadd x"],
        "apt": ["a", "b"],
        "cleanup": ["rm -f /key"],
        "files": [
            {"src": "app", "dest": "/app", "owner": "1:1"},
            {"src": "site/x", "dest": "/x", "fetched": True},
        ],
        "run": ["one", "two"],
        "env": {"B": 'say "hi"', "A": 1},
        "workdir": "/w",
        "volumes": ["/v"],
        "ports": ["1/tcp", "2/tcp"],
        "stop_signal": "SIGINT",
        "user": "1:1",
        "entrypoint": ["e"],
        "command": ["c", "d e"],
    }
    lines = plan_images({"x": recipe}, files)[0]["dockerfile"].splitlines()
    assert lines[:3] == [
        "FROM scratch",
        "ADD fetched/root.tar /",
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]
    system = lines.index("RUN groupadd x \\")
    cleanup = lines.index(" && rm -f /key")
    # One layer: what a package makes and `cleanup` removes is in none.
    assert all(line.endswith("\\") for line in lines[system:cleanup])
    assert any("--no-install-recommends a b " in line for line in lines[system:cleanup])
    assert lines[cleanup + 1 :] == [
        "COPY --chown=1:1 files/app /app",
        "COPY fetched/site/x /x",
        "RUN one \\",
        " && two",
        'ENV A="1"',
        'ENV B="say \\"hi\\""',
        "WORKDIR /w",
        "STOPSIGNAL SIGINT",
        'VOLUME ["/v"]',
        "EXPOSE 1/tcp 2/tcp",
        "USER 1:1",
        'ENTRYPOINT ["e"]',
        'CMD ["c", "d e"]',
    ]


def test_a_small_dockerfile_has_nothing_superfluous(recipes: dict[str, Any], files: Path) -> None:
    other = plan_images(recipes, files, wanted=["other"])[-1]
    assert other["dockerfile"] == f"FROM {other['base']}\nRUN true\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bse": "root"}, "app.bse: unknown key"),
        ({"base": "rot"}, "app.base: there is no recipe named 'rot'"),
        ({"base": "app"}, "bases form a circle: app -> app"),
        ({"base": ""}, "app: needs a base or something to fetch"),
        ({"fetch": [{"kind": "npm", "dest": "x"}]}, r"app.fetch\[0\].kind: no builder for 'npm'"),
        (
            {"fetch": [{"kind": "pypi", "dest": "x", "suite": "y"}]},
            r"app.fetch\[0\].suite: unknown",
        ),
        ({"fetch": [{"kind": "pypi"}]}, r"app.fetch\[0\].dest: missing"),
        (
            {"fetch": [{"kind": "pypi", "dest": "x", "lock": "no.txt"}]},
            r"app.fetch\[0\].lock: there is no no.txt",
        ),
        ({"files": [{"src": "gone", "dest": "/x"}]}, r"app.files\[0\].src: there is no gone"),
        ({"files": [{"src": "app", "dest": "x"}]}, r"app.files\[0\].dest: must be an absolute"),
        ({"files": [{"src": "app", "dest": "/x", "own": 1}]}, r"app.files\[0\].own: unknown key"),
    ],
)
def test_refusals_name_the_place(
    recipes: dict[str, Any], files: Path, change: dict[str, Any], message: str
) -> None:
    recipes["app"] |= change
    with pytest.raises(RecipeError, match=message):
        plan_images(recipes, files)
    with pytest.raises(AnsibleFilterError, match=message):
        FilterModule().filters()["images_plan"](recipes, str(files))


def test_a_wanted_image_without_recipe(recipes: dict[str, Any], files: Path) -> None:
    with pytest.raises(RecipeError, match="images_wanted: there is no recipe named 'nginx'"):
        plan_images(recipes, files, wanted=["nginx"])


def own_recipes() -> dict[str, Any]:
    text = (ROLE / "vars" / "main" / "recipes.yml").read_text(encoding="utf-8")
    recipes: dict[str, Any] = yaml.safe_load(text)["__images_recipes"]
    return recipes


def test_the_recipes_of_the_role_are_valid() -> None:
    builds = {build["name"]: build for build in plan_images(own_recipes(), ROLE / "files")}
    assert {name for name, build in builds.items() if build["recipe"]["push"]} == {
        "openbao",
        "openbao-previous",
        "postgres",
        "mcp-gateway",
        "mcp-hr",
    }
    for name, build in builds.items():
        if build["recipe"]["push"]:
            assert build["recipe"]["user"] not in ("root", "0") or name == "postgres"
        for fetch in build["recipe"]["fetch"]:
            assert (ROLE / "tasks" / f"fetch_{fetch['kind']}.yml").is_file()


def test_what_is_fetched_from_pypi_is_pinned_by_hash() -> None:
    locks = {
        fetch["lock"]
        for recipe in own_recipes().values()
        for fetch in recipe.get("fetch", [])
        if fetch["kind"] == "pypi"
    }
    assert locks
    for lock in locks:
        text = (ROLE / "files" / lock).read_text(encoding="utf-8").replace("\\\n", " ")
        pins = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert pins
        assert all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)


def test_the_lock_agrees_with_what_the_services_ask_for() -> None:
    def pins(name: str) -> set[str]:
        text = (ROLE / "files" / "services" / name).read_text(encoding="utf-8")
        found = re.findall(r"^([\w.-]+)(?:\[[\w,]+\])?==([\w.]+)", text, re.MULTILINE)
        return {
            f"{re.sub(r'[-_.]+', '-', package).lower()}=={version}" for package, version in found
        }

    assert pins("requirements.txt") | pins("constraints.txt") == pins("lock.txt")
