# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module as Ansible runs it: results, check mode, what it never shows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import flow, keys
from ansible_collections.tamshai.phoenix.plugins.modules import pki_cert

# A passphrase with every character that a shell, a URL or a template would trip over.
CANARY = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"
API = {
    "name": "api",
    "common_name": "api.estate.test",
    "dns": ["api.estate.test"],
    "uris": ["spiffe://estate.test/service/api"],
    "usages": ["server", "client"],
    "service": "api",
    "path": "/opt/tamshai/certs/api",
    "reload": "signal",
    "reload_signal": None,
}
OPERATOR = {
    "name": "operator",
    "common_name": "admin",
    "uris": ["spiffe://estate.test/operator/admin"],
    "usages": ["client"],
}

Call = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "_SCRYPT_N", 2**4)
    monkeypatch.setattr(keys, "_SCRYPT_P", 1)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Run the module; its result, in which the passphrase is looked for each time."""

    def _call(state: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
        options = {
            "state": state,
            "certs_dir": str(tmp_path / "certs"),
            "state_dir": str(tmp_path / "state"),
            "passphrase": CANARY,
            "organization": "estate",
            "permitted": {"dns": ["estate.test"], "uri_hosts": ["estate.test"]},
            **more,
            "_ansible_check_mode": check,
            "_ansible_diff": True,
        }
        with patch_module_args(options), pytest.raises(SystemExit):
            pki_cert.main()
        shown = capsys.readouterr()
        for text in (shown.out, shown.err):
            assert CANARY not in text
            assert json.dumps(CANARY)[1:-1] not in text
            assert "PRIVATE KEY" not in text
        result: dict[str, Any] = json.loads(shown.out)
        return result

    return _call


def run_all(call: Call, tmp_path: Path, **more: Any) -> dict[str, Any]:
    """Authority, request, signature, installation."""
    (tmp_path / "certs").mkdir(exist_ok=True)
    authority = call("authority", certificates=[OPERATOR])
    root = authority["root_certificate"]
    requested = call("requested", certificates=[API], root_certificate=root, **more)
    signed = call("signed", certificates=[API], requests=requested["requests"], host="vps")
    return call("installed", certificates=[API], bundles=signed["bundles"], root_certificate=root)


def test_a_whole_run_and_then_nothing(call: Call, tmp_path: Path) -> None:
    installed = run_all(call, tmp_path)
    assert [entry["name"] for entry in installed["swapped"]] == ["api"]
    assert (tmp_path / "certs" / "api" / "current" / "tls.key").exists()
    assert (tmp_path / "state" / "operator" / "tls.key").exists()
    authority = call("authority", certificates=[OPERATOR])
    assert not authority["changed"]
    requested = call(
        "requested", certificates=[API], root_certificate=authority["root_certificate"]
    )
    assert (requested["changed"], requested["requests"], requested["pending"]) == (False, [], [])
    assert requested["certificates"][0]["serial"] == installed["swapped"][0]["serial"]
    assert requested["certificates"][0]["due"] == ""


def test_check_mode_on_nothing(call: Call, tmp_path: Path) -> None:
    authority = call("authority", check=True, certificates=[OPERATOR])
    assert authority["changed"]
    assert authority["root_certificate"] == ""
    assert [change["name"] for change in authority["changes"]] == [
        "root",
        "issuing",
        "operator",
        "operator",
        "crl.pem",
        "root-crl.pem",
    ]
    requested = call("requested", check=True, certificates=[API], in_memory=True)
    assert requested["changed"]
    assert requested["requests"] == []
    assert requested["certificates"][0]["due"] == "there is none yet"
    assert list(tmp_path.iterdir()) == []


def test_a_diff_shows_public_data(call: Call, tmp_path: Path) -> None:
    run_all(call, tmp_path)
    root = call("authority", certificates=[OPERATOR])["root_certificate"]
    again = call("requested", check=True, certificates=[API], root_certificate=root, renew=True)
    assert '"serial": "(new)"' in again["diff"]["after"]
    assert '"common_name": "api.estate.test"' in again["diff"]["before"]
    assert again["changes"][0]["note"] == "renewal was asked for"


def test_a_host_without_the_library(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ansible keeps warnings for the life of a process, which other tests share.
    warned: list[str] = []
    monkeypatch.setattr(pki_cert.AnsibleModule, "warn", lambda _self, text: warned.append(text))
    monkeypatch.setattr(pki_cert, "CRYPTOGRAPHY_ERROR", "ImportError")
    predicted = call("requested", check=True, certificates=[API])
    assert predicted["changed"]
    assert "cryptography is not there yet" in warned[0]
    refused = call("requested", certificates=[API])
    assert refused["failed"]
    assert "cryptography" in refused["msg"]


def test_a_wrong_passphrase(call: Call) -> None:
    call("authority")
    result = call("authority", passphrase="another passphrase")
    assert "the passphrase does not open" in result["msg"]


def test_a_defect_does_not_show_the_passphrase(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_args: Any, **_more: Any) -> None:
        raise RuntimeError(f"quoting {CANARY}")

    monkeypatch.setattr(flow, "ensure_authority", defect)
    result = call("authority")
    assert result["failed"]
    assert "quoting" in result["msg"]


def test_no_key_is_made_on_a_disk(call: Call, tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    result = call("requested", certificates=[API], in_memory=True)
    assert "is no memory file system" in result["msg"]
    assert list((tmp_path / "certs").iterdir()) == []


@pytest.mark.parametrize("state", ["authority", "ca", "intermediate", "crl", "leaf", "signed"])
def test_states_of_the_control_node_need_its_directory(call: Call, state: str) -> None:
    assert "state_dir" in call(state, state_dir=None)["msg"]


def test_the_states_of_the_parts(call: Call, tmp_path: Path) -> None:
    assert "there is no root authority" in call("intermediate")["msg"]
    assert [c["name"] for c in call("ca")["changes"]] == ["root"]
    assert [c["name"] for c in call("intermediate")["changes"]] == ["issuing"]
    assert [c["name"] for c in call("crl")["changes"]] == ["crl.pem", "root-crl.pem"]
    made = call("leaf", certificates=[API])
    assert made["certificates"][0]["path"] == str(tmp_path / "certs" / "api" / "current")
    assert (tmp_path / "certs" / "api" / "current" / "tls.pem").exists()
    assert not call("leaf", certificates=[API])["changed"]
    revoked = call("crl", revoke=["api"])
    assert [c["action"] for c in revoked["changes"]] == ["revoke", "update"]
    for state in ("ca", "intermediate", "crl"):
        assert not call(state)["changed"]


def _program(tmp_path: Path, check: int, save: int = 0) -> list[str]:
    path = tmp_path / "store"
    path.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n[ "$1" = check ] && exit {check}\nexit {save}\n'
    )
    path.chmod(0o755)
    return [str(path)]


def test_the_copy_is_renewed_when_it_is_behind(call: Call, tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    program = _program(tmp_path, 3)
    predicted = call("requested", check=True, save_command=program)
    assert [c["kind"] for c in predicted["changes"]] == ["copy"]
    assert call("requested", save_command=program)["changed"]
    assert (tmp_path / "calls").read_text() == "check\ncheck\nsave\n"


def test_a_copy_that_is_up_to_date_is_left_alone(call: Call, tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    assert not call("requested", save_command=_program(tmp_path, 0))["changed"]


@pytest.mark.parametrize(("check", "save"), [(1, 0), (3, 1)])
def test_a_failing_copy_fails(call: Call, tmp_path: Path, check: int, save: int) -> None:
    (tmp_path / "certs").mkdir()
    result = call("requested", save_command=_program(tmp_path, check, save))
    assert "the encrypted copy of the bundles" in result["msg"]


def test_check_mode_before_the_store_is_there(call: Call, tmp_path: Path) -> None:
    result = call("requested", check=True, save_command=[str(tmp_path / "absent")])
    assert not result["changed"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"lifetime": "soon"}, "not a duration"),
        ({"renew_before": "90d"}, "not less than the lifetime"),
        ({"certificates": [API, API]}, "declared twice"),
        ({"root_certificate": "x"}, "root_certificate holds no certificate"),
    ],
)
def test_wrong_options_are_said(call: Call, more: dict[str, Any], words: str) -> None:
    assert words in call("requested", **more)["msg"]


def test_revoking_what_was_never_issued(call: Call) -> None:
    call("authority")
    assert "was issued: ghost" in call("crl", revoke=["ghost"])["msg"]
