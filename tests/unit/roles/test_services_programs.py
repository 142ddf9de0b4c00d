# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""tamshai-wrap and tamshai-reload where nothing is as it should be."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[3] / "roles" / "services" / "files"


def load(name: str) -> ModuleType:
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(FILES / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = written
    return module


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "hr").mkdir()
    return tmp_path


def settings(home: Path, **changes: Any) -> dict[str, Any]:
    values = {
        "service": "hr",
        "project": "test",
        "reload": "signal",
        "reload_signal": "HUP",
        "url": "https://127.0.0.1:1",
        "ca": "/nowhere/ca.crt",
        "cert": "/nowhere/tls.crt",
        "key": "/nowhere/tls.key",
        "auth_role": "host",
        "wrap_ttl": 60,
        "wait": 0,
        "uid": os.geteuid(),
        "gid": os.getegid(),
        "approle": "hr",
        "wrap_file": str(home / "wrap"),
        "state_file": str(home / "hr.json"),
        **changes,
    }
    (home / "hr" / "service.json").write_text(json.dumps(values))
    return values


def wrap(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FILES / "tamshai-wrap"), *arguments],
        env={"TAMSHAI_AGENTS": str(home), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("arguments", [[], ["../etc"], ["a/b"], [".."], ["a", "b"]])
def test_wrap_takes_one_plain_name(home: Path, arguments: list[str]) -> None:
    done = wrap(home, *arguments)
    assert (done.returncode, done.stderr) == (78, "usage: tamshai-wrap SERVICE\n")


def test_wrap_without_configuration_says_so(home: Path) -> None:
    done = wrap(home, "hr")
    assert done.returncode == 78
    assert "service=hr event=broken" in done.stderr


def test_wrap_ends_for_a_later_try_where_vault_is_away(home: Path) -> None:
    settings(home)
    done = wrap(home, "hr")
    assert done.returncode == 75
    assert "event=gave-up" in done.stderr
    assert not (home / "wrap").exists()


def test_log_lines_quote_what_has_spaces(capsys: pytest.CaptureFixture[str]) -> None:
    log = load("tamshai-wrap").Log("hr")
    log("info", event="x", reason='two "words"')
    assert capsys.readouterr().err == 'service=hr event=x reason="two \\"words\\""\n'


class FakeEngine:
    def __init__(self, containers: list[str], error: str = "") -> None:
        self.containers = containers
        self.error = error
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str], **_options: Any) -> subprocess.CompletedProcess[str]:
        self.calls.append(command[1:])
        output = "\n".join(self.containers) if command[1] == "ps" else ""
        if command[1] == "inspect":
            output = "\n".join(str(4000 + len(name)) for name in command[3:])
        return subprocess.CompletedProcess(command, bool(self.error), output, self.error)


@pytest.mark.parametrize(
    ("how", "containers", "call", "signalled"),
    [
        ({}, ["c"], "inspect", [(4001, signal.SIGHUP)]),
        (
            {"reload_signal": "USR1"},
            ["c", "cc"],
            "inspect",
            [(4001, signal.SIGUSR1), (4002, signal.SIGUSR1)],
        ),
        ({"reload": "restart"}, ["c"], "restart", []),
        ({"reload": "none"}, ["c"], None, []),
        ({}, [], None, []),
    ],
)
def test_reload_does_what_the_estate_declares(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: dict[str, str],
    containers: list[str],
    call: str | None,
    signalled: list[tuple[int, int]],
) -> None:
    program = load("tamshai-reload")
    engine = FakeEngine(containers)
    monkeypatch.setattr(program, "AGENTS", home)
    monkeypatch.setattr(program.subprocess, "run", engine)
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(program.os, "kill", lambda process, number: sent.append((process, number)))
    settings(home, **how)
    assert program.main(["hr"]) == 0
    assert engine.calls[0][0] == "ps"
    assert "--filter=label=com.docker.compose.project=test" in engine.calls[0]
    assert [verb for verb, *_rest in engine.calls[1:]] == ([call] if call else [])
    assert sent == signalled
    # Whatever the signal, it would mark the container as stopped by hand.
    assert not [c for c in engine.calls if c[0] == "kill"]


def test_reload_that_failed_is_tried_again_by_systemd(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = load("tamshai-reload")
    monkeypatch.setattr(program, "AGENTS", home)
    monkeypatch.setattr(program.subprocess, "run", FakeEngine([], "Cannot connect"))
    settings(home)
    assert program.main(["hr"]) == 75
    assert capsys.readouterr().err == "hr: Cannot connect\n"
    assert program.main(["../hr"]) == 78
