# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job of AWX gets from a credential of our type is what unsealing reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from jinja2 import sandbox

from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.custody import brought_shares

ROOT = Path(__file__).resolve().parents[5]
DEFINITION = ROOT / "inventory" / "awx" / "credential_types.yml"
DEFAULTS = ROOT / "roles" / "vault" / "defaults" / "main.yml"
SHARES = [f"{n:02x}" * 33 for n in range(1, 6)]


def credential_type() -> dict[str, Any]:
    loaded: dict[str, Any] = DataLoader().load_from_file(str(DEFINITION))
    (found,) = loaded["controller_credential_types"]
    return dict(found)


def inject(given: dict[str, str], place: Path) -> dict[str, str]:
    """As CredentialType.inject_credential of AWX does it: files first, then the environment."""
    injectors = credential_type()["injectors"]
    jinja = sandbox.ImmutableSandboxedEnvironment()
    names = SimpleNamespace()
    for number, (label, template) in enumerate(injectors["file"].items()):
        path = place / f"tmp{number}"
        path.write_text(jinja.from_string(str(template)).render(**given))
        setattr(names, label.split(".")[1], str(path))
    tower = SimpleNamespace(filename=names)
    return {
        name: jinja.from_string(str(template)).render(**given, tower=tower)
        for name, template in injectors["env"].items()
    }


@pytest.mark.parametrize("count", [1, 3, 5])
def test_shares_arrive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    given = {f"share_{n}": share for n, share in enumerate(SHARES[:count], 1)}
    environment = inject(given, tmp_path)
    assert not any(share in value for share in SHARES for value in environment.values())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    prefix = yaml.safe_load(DEFAULTS.read_text())["vault_unseal_environment"]
    assert brought_shares([], prefix, "") == SHARES[:count]


def test_every_field_is_a_secret_and_arrives_somewhere() -> None:
    found = credential_type()
    fields = found["inputs"]["fields"]
    assert all(field["secret"] for field in fields)
    injected = {name.split(".")[1] for name in found["injectors"]["file"]}
    assert injected == {field["id"] for field in fields}
    assert len(found["injectors"]["env"]) == len(fields)
