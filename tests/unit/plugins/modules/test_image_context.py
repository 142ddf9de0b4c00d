# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as Ansible runs it: result, diff, check mode, refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.modules import image_context

Call = Callable[..., dict[str, Any]]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "app.py").write_text("")

    def _call(*, check: bool = False, **more: Any) -> dict[str, Any]:
        options = {
            "path": str(tmp_path / "context"),
            "dockerfile": "FROM x\n",
            "source": str(tmp_path / "source"),
            "files": [{"src": "app.py"}],
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        with patch_module_args(options | more), pytest.raises(SystemExit):
            image_context.main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return _call


def test_writes(call: Call, tmp_path: Path) -> None:
    result = call()
    assert result["changed"] is True
    assert result["files"] == ["app.py"]
    assert "app.py" in result["diff"]["after"]
    assert (tmp_path / "context" / "files" / "app.py").is_file()


def test_check_mode_predicts_and_writes_nothing(call: Call, tmp_path: Path) -> None:
    assert call(check=True)["changed"] is True
    assert not (tmp_path / "context").exists()


@pytest.mark.parametrize("check", [True, False])
def test_names_all_that_is_missing_and_leaves_what_is_there(
    call: Call, tmp_path: Path, check: bool
) -> None:
    call()
    result = call(check=check, files=[{"src": "app.py"}, {"src": "gone"}, {"src": "../away"}])
    assert result["failed"] is True
    assert "There is no gone, ../away in" in result["msg"]
    assert (tmp_path / "context" / "files" / "app.py").is_file()
