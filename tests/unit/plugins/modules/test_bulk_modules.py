# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bulk modules as Ansible runs them."""

from __future__ import annotations

import contextlib
import grp
import io
import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.module_utils._bulk.units import Units
from ansible_collections.tamshai.phoenix.plugins.modules import (
    files_bulk,
    host_info,
    units_bulk,
)

OWNER = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
SECRET = "canary-a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"


def call(module: Any, *, check: bool = False, **arguments: Any) -> tuple[dict[str, Any], str]:
    """The result of a module, and the very text that it printed."""
    output = io.StringIO()
    options = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
    with (
        patch_module_args(options),
        contextlib.redirect_stdout(output),
        pytest.raises(SystemExit),
    ):
        module.main()
    return json.loads(output.getvalue()), output.getvalue()


@pytest.fixture
def arguments(tmp_path: Path) -> dict[str, Any]:
    return {
        "pending": str(tmp_path / "pending"),
        "directories": [{"path": str(tmp_path / "d"), **OWNER}],
        "files": [
            {"path": str(tmp_path / "d/open"), "content": "shown\n", "apply": "tell", **OWNER},
            {"path": str(tmp_path / "d/shut"), "secret_content": SECRET, "mode": "0400", **OWNER},
        ],
        "apply": [{"name": "tell", "command": ["true"]}],
    }


def test_files_are_written_once(arguments: dict[str, Any], tmp_path: Path) -> None:
    foretold, _text = call(files_bulk, check=True, **arguments)
    assert not (tmp_path / "d").exists()
    done, _text = call(files_bulk, **arguments)
    assert done == foretold
    assert done["changed"] is True
    assert done["changed_paths"] == [f"{tmp_path}/d", f"{tmp_path}/d/open", f"{tmp_path}/d/shut"]
    assert done["applied"] == ["tell"]
    again, _text = call(files_bulk, **arguments)
    assert again["changed"] is False
    assert "diff" not in again


def test_a_secret_is_nowhere_but_in_its_file(arguments: dict[str, Any], tmp_path: Path) -> None:
    texts = [call(files_bulk, check=True, **arguments)[1], call(files_bulk, **arguments)[1]]
    assert (tmp_path / "d/shut").read_text() == SECRET
    arguments["files"][1]["secret_content"] = f"{SECRET}2"
    texts.append(call(files_bulk, **arguments)[1])
    # A validator and a command that fail, and a defect: each tells what it was about.
    arguments["files"][1] |= {"secret_content": f"{SECRET}3", "validate": ["grep", "-c", "x", "%s"]}
    texts.append(call(files_bulk, **arguments)[1])
    arguments["files"][1] |= {
        "secret_content": f"{SECRET}4",
        "validate": [],
        "owner": "nobody-here",
    }
    texts.append(call(files_bulk, **arguments)[1])
    assert "is refused by grep" in texts[3]
    assert "there is no user" in texts[4]
    assert not [text for text in texts if "canary" in text]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"secret_content": "sesame"},
            "state present wants exactly one of content and secret_content",
        ),
        ({"content": None}, "state present wants exactly one of content and secret_content"),
        ({"state": "absent"}, "state absent wants no content"),
        ({"mode": "rw"}, "mode must be an octal string such as 0644"),
    ],
)
def test_arguments_that_make_no_sense(
    arguments: dict[str, Any], change: dict[str, Any], expected: str
) -> None:
    arguments["files"][0] |= change
    failed, _text = call(files_bulk, **arguments)
    assert failed["failed"] is True
    assert expected in failed["msg"]


def test_units_are_compared_in_one_call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        "#!/bin/sh\n"
        'echo "$@" >> "$(dirname "$0")/asked"\n'
        "echo LoadState=loaded\necho ActiveState=active\necho UnitFileState=enabled\n"
        "echo NeedDaemonReload=no\necho ConditionResult=yes\necho ConditionTimestampMonotonic=1\n"
    )
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    same, _text = call(units_bulk, check=True, units=[{"name": "a.service", "started": True}])
    assert same["changed"] is False
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_host_info_tells_of_this_machine() -> None:
    found, _text = call(host_info, disks=["/"], control_time=0)
    assert found["changed"] is False
    assert found["host"]["uid"] == os.geteuid()
    assert found["host"]["skew"] > 1e9


def test_units_after_files(arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def show(self: Units, names: list[str]) -> dict[str, dict[str, str]]:
        seen.append(Path(arguments["files"][0]["path"]).exists())
        state = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "no",
            "ConditionResult": "yes",
            "ConditionTimestampMonotonic": "1",
        }
        return dict.fromkeys(names, state)

    monkeypatch.setattr(Units, "_show", show)
    units = [
        {"name": "a.service", "started": True, "enabled": True},
        {"name": "b.service", "enabled": False},
    ]
    monkeypatch.setattr(Units, "_systemctl", lambda _self, *words: stepped.append(words))
    stepped: list[tuple[str, ...]] = []
    done, _text = call(files_bulk, units=units, **arguments)
    assert all(seen)
    assert stepped == [("disable", "b.service")]
    assert {"kind": "unit", "name": "b.service", "action": "update", "fields": ["enabled"]} in done[
        "changes"
    ]
    again, _text = call(files_bulk, check=True, units=units[:1], **arguments)
    assert again["changed"] is False
