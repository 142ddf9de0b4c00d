# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What counts as declared, and that everything doubtful does not."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tamshai.phoenix.plugins.module_utils._host import state

REFERENCE = "registry.example/app@sha256:aa"
IMAGES = {REFERENCE: "sha256:01"}
DOCUMENT = {
    "name": "estate",
    "services": {"app": {"networks": {"app": {}}}},
    "networks": {"app": {"name": "estate_app"}, "other": {"name": "estate_other"}},
}


def container(**changes: Any) -> dict[str, Any]:
    return {
        "State": "running",
        "Status": "Up 2 minutes (healthy)",
        "Image": REFERENCE,
        "ImageID": "sha256:01",
        "Labels": {
            "com.docker.compose.service": "app",
            "com.docker.compose.config-hash": "h1",
        },
        "NetworkSettings": {"Networks": {"estate_app": {}}},
    } | changes


def look(
    tmp_path: Path,
    containers: list[dict[str, Any]] | None,
    *,
    known: dict[str, str] | None = None,
    hashes: str = "app h1\n",
) -> list[str]:
    file = tmp_path / "compose.yaml"
    file.touch()

    def read(command: Sequence[str]) -> str:
        return hashes if "--hash" in command else json.dumps(DOCUMENT)

    def ask(path: str) -> Any:
        assert "all=1" in path
        assert "project%3Destate" in path
        return containers

    return state.running(str(file), IMAGES if known is None else known, read, ask)


@pytest.mark.parametrize("status", ["Up 2 minutes (healthy)", "Up 2 minutes"])
def test_a_container_as_declared(tmp_path: Path, status: str) -> None:
    assert look(tmp_path, [container(Status=status)]) == ["app"]


@pytest.mark.parametrize(
    "changes",
    [
        {"State": "exited", "Status": "Exited (0) 2 seconds ago"},
        {"State": "paused", "Status": "Up 2 minutes (Paused)"},
        {"Status": "Up 2 minutes (unhealthy)"},
        {"Status": "Up 2 seconds (health: starting)"},
        {"ImageID": "sha256:02"},
        {"Image": "sha256:01"},
        {"NetworkSettings": {"Networks": {}}},
        {"NetworkSettings": {"Networks": {"estate_app": {}, "bridge": {}}}},
        {
            "Labels": {
                "com.docker.compose.service": "app",
                "com.docker.compose.config-hash": "h0",
            }
        },
    ],
)
def test_a_container_that_differs(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert look(tmp_path, [container(**changes)]) == []


def test_containers_that_are_too_few_or_too_many(tmp_path: Path) -> None:
    stray = container(
        Labels={"com.docker.compose.service": "gone", "com.docker.compose.config-hash": "h"}
    )
    assert look(tmp_path, []) == []
    assert look(tmp_path, None) == []
    assert look(tmp_path, [container(), container()]) == []
    assert look(tmp_path, [container(), stray]) == []


def test_what_cannot_be_known_counts_as_missing(tmp_path: Path) -> None:
    assert look(tmp_path, [container()], hashes="") == []
    assert look(tmp_path, [container()], known={}) == []
    assert state.running(str(tmp_path / "none"), IMAGES) == []


def test_a_file_that_compose_refuses(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.touch()
    assert state.running(str(file), IMAGES, lambda _command: "", lambda _path: []) == []


def test_packages_that_are_configured() -> None:
    said = "ii \ta\nhi \tb\nrc \tc\niU \td\niF \te\nii \ta\n"
    assert state.packages(lambda _command: said) == ["a", "b"]
    assert state.packages(lambda _command: "") == []


def test_a_command_that_fails_says_nothing() -> None:
    assert state.read_command(["false"]) == ""
    assert state.read_command(["/no/such/command"]) == ""
    assert state.read_command(["echo", "x"]) == "x\n"


def test_images_by_tag_and_digest() -> None:
    answer = [
        {"Id": "sha256:01", "RepoTags": ["a:1"], "RepoDigests": ["a@sha256:ff"]},
        {"Id": "sha256:02", "RepoTags": None, "RepoDigests": None},
    ]
    ask: Callable[[str], Any] = lambda _path: answer  # noqa: E731
    assert state.images(ask) == {"a:1": "sha256:01", "a@sha256:ff": "sha256:01"}
    assert state.images(lambda _path: None) == {}


def test_no_engine_is_no_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(state, "SOCKET", str(tmp_path / "none"))
    assert state.ask_engine("/images/json") is None


def test_users(tmp_path: Path) -> None:
    me = pwd.getpwuid(os.getuid())
    shadow = tmp_path / "shadow"
    shadow.write_text(f"{me.pw_name}:!:1::::::\nother:$y$x:1::::::\n")
    found = state.users([me.pw_name, "no-such-user"], shadow)
    assert found == {me.pw_name: {"uid": me.pw_uid, "shell": me.pw_shell, "locked": True}}
    assert not state.users([me.pw_name], tmp_path / "none")[me.pw_name]["locked"]


def test_the_image_of_each_service_is_told_whatever_its_state() -> None:
    asked = []

    def ask(path: str) -> Any:
        asked.append(path)
        return [
            {"Labels": {"com.docker.compose.service": "vault"}, "Image": "bao:1", "State": "exited"}
        ]

    assert state.service_images("/opt/compose.yaml", ask) == {"vault": "bao:1"}
    assert "config_files%3D/opt/compose.yaml" in asked[0]
    assert state.service_images("/opt/compose.yaml", lambda _path: None) == {}


def test_folders_are_directories_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("a")
    assert state.folders(tmp_path) == ["a", "b"]
    assert state.folders(tmp_path / "none") == []
