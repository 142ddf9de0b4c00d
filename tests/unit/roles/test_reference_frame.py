# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The reference services' frame: a hangup that comes while a service starts is not lost."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("uvicorn")
SERVICES = Path(__file__).resolve().parents[3] / "roles" / "images" / "files" / "services"


class Tls:
    """Remembers at which moment the certificate was read."""

    listener = None

    def __init__(self, problem: Exception | None = None) -> None:
        self.problem = problem
        self.heard: list[bool] = []

    def reload(self) -> None:
        ignored = (signal.SIG_DFL, signal.SIG_IGN)
        self.heard.append(signal.getsignal(signal.SIGHUP) not in ignored)
        if self.problem:
            raise self.problem


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(SERVICES))
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    from common import server as module

    return module


class World:
    """A runtime whose port is never opened, and what it says."""

    def __init__(self, server: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server = server
        self.tls = Tls()
        self.said: list[str] = []
        self.secrets_file = folder / "secrets.json"
        self.secrets_file.write_text('{"KEY": "old"}')
        self.used: list[str] = []
        self.starting = lambda: None
        monkeypatch.setattr(server, "fingerprint", lambda _path: "fingerprint")

        def event(_logger: Any, _level: int, text: str, **_more: Any) -> None:
            self.said.append(text)
            if text == "ready":
                self.ready.set()

        monkeypatch.setattr(server.logs, "event", event)

        async def serve(_server: Any) -> None:
            await asyncio.wait_for(self.ready.wait(), 10)
            await asyncio.gather(*self.runtime._tasks)

        monkeypatch.setattr(server.uvicorn.Server, "serve", serve)

    def run(self) -> None:
        from common.secret_file import SecretFile

        secrets = SecretFile(self.secrets_file)

        async def start() -> None:
            self.used.append(secrets.get("KEY"))
            self.starting()
            await asyncio.sleep(0.05)

        async def reload() -> None:
            self.used.append(secrets.get("KEY"))

        async def stop() -> None: ...

        settings = SimpleNamespace(
            allowed_callers=frozenset(),
            spiffe_id="spiffe://test/service/hr",
            host="127.0.0.1",
            port=1,
            wait_seconds=1,
            server_tls=SimpleNamespace(cert=Path("tls.crt")),
        )
        service = SimpleNamespace(
            app=None, settings=settings, secrets=secrets, start=start, reload=reload, stop=stop
        )
        formatter = SimpleNamespace(protect=lambda _values: None)

        async def run() -> None:
            self.ready = asyncio.Event()
            self.runtime = self.server.Runtime(service, formatter, self.tls)
            await self.runtime.serve()

        asyncio.run(run())


@pytest.fixture
def world(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(server, tmp_path, monkeypatch)


def test_certificate_is_read_again_once_hangups_are_heard(world: World) -> None:
    world.run()
    assert world.tls.heard == [True]
    assert world.said == ["certificate reloaded", "ready"]


def test_pair_that_became_unusable_meanwhile_is_said_and_the_service_starts(world: World) -> None:
    from common.tls import TlsError

    world.tls.problem = TlsError("does not match")
    world.run()
    assert world.said == ["certificate kept, not reloaded", "ready"]


def test_secrets_that_change_while_the_service_opens_are_taken_up(world: World) -> None:
    def change() -> None:
        world.secrets_file.write_text(json.dumps({"KEY": "new"}))
        signal.raise_signal(signal.SIGHUP)

    world.starting = change
    world.run()
    assert world.used == ["old", "new"]
