# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make this collection and the community collections importable side by side.

The `ansible` package owns the top-level package `ansible_collections`; this repository is linked
below build/collections. Both directories have to be on the package's path.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / "build" / "collections"
LINK = COLLECTIONS / "ansible_collections" / "tamshai" / "phoenix"


def _link_repository() -> None:
    """Link the repository into a collection tree, as scripts/bootstrap does."""
    if LINK.exists():
        return
    LINK.parent.mkdir(parents=True, exist_ok=True)
    LINK.unlink(missing_ok=True)
    LINK.symlink_to("../../../..", target_is_directory=True)


def _extend_namespace() -> None:
    """Let `ansible_collections` find packages both here and in site-packages."""
    if str(COLLECTIONS) not in sys.path:
        sys.path.insert(0, str(COLLECTIONS))
    package = importlib.import_module("ansible_collections")
    ours = str(COLLECTIONS / "ansible_collections")
    if ours not in package.__path__:
        package.__path__.append(ours)


@pytest.fixture(scope="session", autouse=True)
def _notes_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a module notes on its machine is of no run but this one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where PHOENIX_NO_SKIPS says that everything is at hand, a skipped test fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("PHOENIX_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("here")

_link_repository()
_extend_namespace()
