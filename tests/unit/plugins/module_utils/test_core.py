# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What every module relies on: errors, plans, files, waits, redaction."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils import _files, _module
from ansible_collections.tamshai.phoenix.plugins.module_utils._duration import human, seconds
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import (
    MASK,
    fingerprint,
    redact,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._wait import wait_until

HOSTILE = "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"


def run_module(capsys: pytest.CaptureFixture[str], main: Any, **args: Any) -> dict[str, Any]:
    spec = {"secret": {"type": "str", "no_log": True}}
    with patch_module_args(args), pytest.raises(SystemExit):
        _module.run(spec, main)
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


class TestModuleFrame:
    def test_changed_and_diff_come_from_the_plan(self, capsys: pytest.CaptureFixture[str]) -> None:
        def main(_module_: basic.AnsibleModule) -> _module.Result:
            plan = Plan()
            plan.add("role", "a", "update", {"ttl": 1, "uses": 1}, {"ttl": 2, "uses": 1})
            return _module.Result(plan, objects=plan.summary())

        result = run_module(capsys, main, _ansible_diff=True)
        assert result["changed"] is True
        assert result["objects"][0]["fields"] == ["ttl"]
        assert json.loads(result["diff"]["after"]) == {"role a": {"ttl": 2, "uses": 1}}

    def test_nothing_planned_is_not_a_change(self, capsys: pytest.CaptureFixture[str]) -> None:
        result = run_module(capsys, lambda m: _module.Result(Plan()), _ansible_diff=True)
        assert result["changed"] is False
        assert "diff" not in result

    def test_an_error_carries_hint_and_facts(self, capsys: pytest.CaptureFixture[str]) -> None:
        def main(_module_: basic.AnsibleModule) -> _module.Result:
            raise PhoenixError("the server is sealed", hint="Unseal it.", state="sealed")

        result = run_module(capsys, main)
        assert result["failed"] is True
        assert result["msg"] == "the server is sealed. Unseal it."
        assert result["state"] == "sealed"

    @pytest.mark.parametrize("canary", [HOSTILE, "two\nlines", "plain-canary"])
    def test_a_defect_shows_no_secret_in_message_or_traceback(
        self, capsys: pytest.CaptureFixture[str], canary: str
    ) -> None:
        def main(module: basic.AnsibleModule) -> _module.Result:
            raise ValueError(f"cannot use {module.params['secret']} here")

        result = run_module(capsys, main, secret=canary)
        assert result["failed"] is True
        assert "ValueError" in result["msg"]
        assert canary not in json.dumps(result, ensure_ascii=False)
        assert canary not in str(result.get("exception", ""))
        assert canary not in result["msg"]

    def test_a_protected_value_is_masked_in_the_result(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def main(module: basic.AnsibleModule) -> _module.Result:
            _module.protect(module, "served-by-the-server", None, "abc")
            return _module.Result(Plan(), text="it is served-by-the-server, abc")

        assert "served-by-the-server" not in run_module(capsys, main)["text"]

    @pytest.mark.parametrize("secret", ['it\'s "it" s3cret', "s3cret\nlines", HOSTILE])
    def test_a_secret_below_an_option_stays_out_of_the_log(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, secret: str
    ) -> None:
        logged: list[str] = []
        monkeypatch.setattr(basic, "has_journal", False)
        monkeypatch.setattr(
            basic.AnsibleModule, "_log_to_syslog", lambda _module, text: logged.append(text)
        )
        data = {"type": "dict", "no_log": True}
        entries = {"type": "list", "elements": "dict", "options": {"data": data}, "no_log": False}
        arguments = {"entries": [{"data": {"key": secret}}]}

        def main(module: basic.AnsibleModule) -> _module.Result:
            return _module.Result(Plan(), seen=module.params["entries"] == arguments["entries"])

        with patch_module_args(arguments), pytest.raises(SystemExit):
            _module.run({"entries": entries}, main)
        assert json.loads(capsys.readouterr().out)["seen"] is True
        assert logged
        for part in secret.splitlines():
            assert part[-6:] not in logged[0]


class TestRedact:
    def test_a_secret_that_contains_another_goes_whole(self) -> None:
        assert redact("pass-word-long and pass-word", ["pass-word", "pass-word-long"]) == (
            f"{MASK} and {MASK}"
        )

    @given(st.text(min_size=4), st.text(), st.text())
    def test_no_secret_survives(self, secret: str, before: str, after: str) -> None:
        if secret not in MASK and not set(secret) & set(MASK):
            assert secret not in redact(before + secret + after, [secret])

    @pytest.mark.parametrize(
        "secret", [HOSTILE, "it's", 'say "it"', 'it\'s "it"', "two\nlines", "\\ü\\ü"]
    )
    def test_no_secret_survives_as_it_is_quoted(self, secret: str) -> None:
        for text in (repr({"key": [secret]}), json.dumps(secret), f"{KeyError(secret)}"):
            assert redact(text, [secret]).replace(MASK, "").strip("{}[]'\": key") == ""

    def test_a_fingerprint_needs_its_key(self) -> None:
        assert fingerprint(b"k1", HOSTILE) != fingerprint(b"k2", HOSTILE)
        assert fingerprint(b"k1", HOSTILE) == fingerprint(b"k1", HOSTILE.encode())


class TestDuration:
    @given(st.integers(min_value=0, max_value=10**9))
    def test_what_is_written_is_read_back(self, value: int) -> None:
        assert seconds(human(value)) == value

    @pytest.mark.parametrize("text", ["", "-1", "1x", "h", "1h 2m", "1.5h", "١", None, True])
    def test_anything_else_is_refused(self, text: Any) -> None:
        with pytest.raises(PhoenixError, match="not a duration"):
            seconds(text)

    def test_the_forms_of_servers(self) -> None:
        assert seconds("1h30m") == 5400
        assert seconds("648h") == 2332800
        assert seconds("90") == 90


class TestFiles:
    def test_mode_is_right_before_content_is_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[int] = []
        real = os.fsync

        def spy(handle: int) -> None:
            if stat.S_ISREG(os.fstat(handle).st_mode):
                seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
            real(handle)

        monkeypatch.setattr(os, "fsync", spy)
        _files.write_atomic(tmp_path / "key", b"secret", mode=0o400)
        assert seen == [0o400]
        assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o400

    def test_an_interrupted_write_leaves_the_old_file_and_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "key").write_bytes(b"old")

        def full(*_args: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            _files.write_atomic(tmp_path / "key", b"new", mode=0o400)
        assert [p.name for p in tmp_path.iterdir()] == ["key"]
        assert (tmp_path / "key").read_bytes() == b"old"

    def test_a_link_is_swapped_in_place(self, tmp_path: Path) -> None:
        _files.symlink_atomic("versions/1", tmp_path / "current")
        _files.symlink_atomic("versions/2", tmp_path / "current")
        assert (tmp_path / "current").readlink() == Path("versions/2")
        assert [p.name for p in tmp_path.iterdir()] == ["current"]

    def test_a_missing_file_is_none(self, tmp_path: Path) -> None:
        assert _files.read_bytes_or_none(tmp_path / "none") is None


class TestWait:
    def test_the_answer_is_returned(self) -> None:
        answers = iter([None, 0, "ready"])
        assert wait_until(lambda: next(answers), timeout=5, what="it", interval=0.001) == "ready"

    def test_a_time_out_says_what_and_why(self) -> None:
        def probe() -> None:
            raise PhoenixError("it is sealed")

        with pytest.raises(PhoenixError, match=r"waited 0.02 s for the server: it is sealed"):
            wait_until(probe, timeout=0.02, what="the server", interval=0.001)

    def test_a_mistake_is_not_waited_out(self) -> None:
        with pytest.raises(ZeroDivisionError):
            wait_until(lambda: 1 // 0, timeout=60, what="nothing")
