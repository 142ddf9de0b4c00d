# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a table of image recipes to an ordered list of builds, each tagged by its content.

A tag is a digest over everything that goes into an image: its Dockerfile, the files that it
copies, the lock files of what it fetches, how that is fetched, and the tag of its base. Two trees
with the same inputs name the same image, so an image that exists under its tag need not be built,
and a change anywhere in the chain renames all that stands on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError

__all__ = ["RecipeError", "dockerfile", "files_below", "plan_images"]

TAG_LENGTH = 16

_DEFAULTS: dict[str, Any] = {
    "base": "",
    "fetch": [],
    "setup": [],
    "apt": [],
    "cleanup": [],
    "env": {},
    "files": [],
    "run": [],
    "user": "",
    "workdir": "",
    "entrypoint": [],
    "command": [],
    "stop_signal": "",
    "volumes": [],
    "ports": [],
    "alias": "",
    "push": False,
}
_FETCH_KEYS: dict[str, frozenset[str]] = {
    "mmdebstrap": frozenset({"kind", "dest", "suite", "security", "include", "hooks"}),
    "pypi": frozenset({"kind", "dest", "lock", "python"}),
}
# Kinds of source that are a whole root file system.
_ROOTS = frozenset({"mmdebstrap"})
_APT = """\
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -qy -o Dpkg::Options::=--force-unsafe-io install --no-install-recommends {packages}
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/log/apt /var/log/dpkg.log
rm -f /var/cache/ldconfig/aux-cache
"""
_FILE_KEYS = frozenset({"src", "dest", "mode", "owner", "fetched"})


class RecipeError(PhoenixError):
    """A recipe that cannot be built as it is written."""


def plan_images(
    recipes: Mapping[str, Mapping[str, Any]],
    files: str | Path,
    *,
    wanted: Iterable[str] | None = None,
    repository: str = "tamshai",
    builders: Mapping[str, str] | None = None,
    refresh: str = "",
) -> list[dict[str, Any]]:
    """Return the builds that ``wanted`` needs, bases before what stands on them.

    :arg recipes: Name of image to recipe; the keys of a recipe are those of role ``images``.
    :arg files: Folder that ``files`` and ``lock`` paths are relative to.
    :arg wanted: Names to build; all of the table if it is left out.
    :arg repository: What the local names of the images start with.
    :arg builders: Kind of ``fetch`` to a text that changes when its builder does.
    :arg refresh: Any text; a new one renames (so rebuilds) everything, for fresh packages.
    :raises RecipeError: names the recipe and key of what is wrong.
    """
    root = Path(files)
    builds: dict[str, dict[str, Any]] = {}

    def add(name: str, path: tuple[str, ...], where: str) -> dict[str, Any]:
        if name in builds:
            return builds[name]
        if name in path:
            raise RecipeError(f"{where}: bases form a circle: {' -> '.join([*path, name])}")
        if name not in recipes:
            raise RecipeError(
                f"{where}: there is no recipe named {name!r}",
                hint=f"Known are: {', '.join(sorted(recipes))}.",
            )
        recipe = _normalise(name, recipes[name])
        base = add(recipe["base"], (*path, name), f"{name}.base") if recipe["base"] else None
        text = dockerfile(recipe, base["reference"] if base else "")
        subject = {
            "dockerfile": text,
            "fetch": [
                [fetch, (builders or {}).get(fetch["kind"], "")] for fetch in recipe["fetch"]
            ],
            "files": _inputs(name, recipe, root),
            "modes": [copy.get("mode", "") for copy in recipe["files"]],
            "refresh": refresh,
        }
        tag = hashlib.sha256(_canonical(subject)).hexdigest()[:TAG_LENGTH]
        builds[name] = {
            "name": name,
            "tag": tag,
            "repository": f"{repository}/{name}",
            "reference": f"{repository}/{name}:{tag}",
            "base": base["reference"] if base else "",
            "dockerfile": text,
            "recipe": recipe,
        }
        return builds[name]

    for name in recipes if wanted is None else wanted:
        add(name, (), "images_wanted")
    return list(builds.values())


def dockerfile(recipe: Mapping[str, Any], base: str) -> str:
    """Return the Dockerfile of a recipe whose keys are all filled in.

    What ``fetch`` brings lies in ``fetched/`` of the build context, the role's own files in
    ``files/``. Secrets and host keys that a package makes when it is installed go in the same
    layer (``cleanup``), so that they are in none.
    """
    lines: list[str] = [f"FROM {base or 'scratch'}"]
    if not base:
        lines += [f"ADD fetched/{f['dest']} /" for f in recipe["fetch"] if f["kind"] in _ROOTS]
        lines += ["ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    packages = _APT.format(packages=" ".join(recipe["apt"])).splitlines() if recipe["apt"] else []
    lines += _run([*recipe["setup"], *packages, *recipe["cleanup"]])
    for copy in recipe["files"]:
        owner = f"--chown={copy['owner']} " if copy.get("owner") else ""
        folder = "fetched" if copy.get("fetched", False) else "files"
        lines.append(f"COPY {owner}{folder}/{copy['src']} {copy['dest']}")
    lines += _run(recipe["run"])
    lines += [f"ENV {key}={json.dumps(str(value))}" for key, value in sorted(recipe["env"].items())]
    for instruction, key in (("WORKDIR", "workdir"), ("STOPSIGNAL", "stop_signal")):
        lines += [f"{instruction} {recipe[key]}"] if recipe[key] else []
    lines += [f"VOLUME {json.dumps(recipe['volumes'])}"] if recipe["volumes"] else []
    lines += [f"EXPOSE {' '.join(recipe['ports'])}"] if recipe["ports"] else []
    lines += [f"USER {recipe['user']}"] if recipe["user"] else []
    lines += [f"ENTRYPOINT {json.dumps(recipe['entrypoint'])}"] if recipe["entrypoint"] else []
    lines += [f"CMD {json.dumps(recipe['command'])}"] if recipe["command"] else []
    return "\n".join(lines) + "\n"


def _run(commands: list[str]) -> list[str]:
    return ["RUN " + " \\\n && ".join(commands)] if commands else []


def _normalise(name: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    for key in recipe:
        if key not in _DEFAULTS:
            raise RecipeError(
                f"{name}.{key}: unknown key", hint=f"Known are: {', '.join(_DEFAULTS)}."
            )
    result = {key: recipe.get(key, default) for key, default in _DEFAULTS.items()}
    _check_fetch(name, result["fetch"])
    _check_files(name, result["files"])
    if not result["base"] and not result["fetch"]:
        raise RecipeError(f"{name}: needs a base or something to fetch")
    return result


def _check_fetch(name: str, items: list[Mapping[str, Any]]) -> None:
    for index, fetch in enumerate(items):
        kind = fetch.get("kind")
        if kind not in _FETCH_KEYS:
            raise RecipeError(
                f"{name}.fetch[{index}].kind: no builder for {kind!r}",
                hint=f"Known are: {', '.join(sorted(_FETCH_KEYS))}.",
            )
        unknown = sorted(set(fetch) - _FETCH_KEYS[kind])
        if unknown:
            raise RecipeError(f"{name}.fetch[{index}].{unknown[0]}: unknown key for {kind}")
        if not fetch.get("dest"):
            raise RecipeError(f"{name}.fetch[{index}].dest: missing")


def _check_files(name: str, items: list[Mapping[str, Any]]) -> None:
    for index, copy in enumerate(items):
        unknown = sorted(set(copy) - _FILE_KEYS)
        if unknown:
            raise RecipeError(f"{name}.files[{index}].{unknown[0]}: unknown key")
        if not str(copy.get("dest", "")).startswith("/"):
            raise RecipeError(f"{name}.files[{index}].dest: must be an absolute path")


def _inputs(name: str, recipe: Mapping[str, Any], root: Path) -> dict[str, str]:
    """Every file that the recipe reads, relative to the folder, with its digest."""
    paths: list[tuple[str, str]] = []
    for index, copy in enumerate(recipe["files"]):
        if not copy.get("fetched", False):
            paths.append((f"{name}.files[{index}].src", copy["src"]))
    for index, fetch in enumerate(recipe["fetch"]):
        if fetch.get("lock"):
            paths.append((f"{name}.fetch[{index}].lock", fetch["lock"]))
    result: dict[str, str] = {}
    for where, path in paths:
        source = root / path
        if not source.exists():
            raise RecipeError(f"{where}: there is no {path} in {root}")
        result |= {str(file.relative_to(root)): _digest(file) for file in files_below(source)}
    return result


def files_below(source: Path) -> list[Path]:
    """The files that count of a file or folder: not what Python leaves behind."""
    if source.is_file():
        return [source]
    return sorted(
        file
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
    )


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str).encode()
