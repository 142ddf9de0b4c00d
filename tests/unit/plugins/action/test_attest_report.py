# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report, written in the playbook's own process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.tamshai.phoenix.plugins.action.attest_report import work


def options(directory: Path, results: dict[str, Any]) -> dict[str, Any]:
    return {"estate": "e", "results": results, "phases": [], "directory": str(directory)}


def test_check_mode_foretells_the_report(tmp_path: Path) -> None:
    results = {"h": {"problem": "the proofs did not get as far as a result"}}
    foretold = work(options(tmp_path / "r", results), check_mode=True)
    assert not (tmp_path / "r").exists()
    done = work(options(tmp_path / "r", results), check_mode=False)
    assert done == foretold
    assert "0 proven" in done["summary"][-1]
    assert (tmp_path / "r/attest.html").exists()


def test_errors_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="there is no host to report on"):
        work(options(tmp_path, {}), check_mode=False)
    (tmp_path / "file").touch()
    with pytest.raises(AnsibleActionFail, match="file"):
        work(options(tmp_path / "file/below", {"h": {"problem": "x"}}), check_mode=False)
