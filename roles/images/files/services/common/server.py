# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an environment to a serving process: wait for certificates and secrets, serve, reload."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from common import logs
from common.admission import Door, Health, PeerProtocol
from common.secret_file import SecretFile, SecretsError
from common.settings import Settings, SettingsError
from common.tls import ServerTls, TlsError, fingerprint

__all__ = ["Service", "main"]

logger = logging.getLogger("tamshai.server")

# sysexits.h: the configuration is wrong; a try later may succeed.
EX_CONFIG = 78
EX_TEMPFAIL = 75
POLL = 0.5


class Service(ABC):
    """What a reference service adds to the frame.

    Its ``app`` sees only admitted callers, and only once :meth:`start` has returned.
    """

    def __init__(self, settings: Settings, secrets: SecretFile) -> None:
        self.settings = settings
        self.secrets = secrets

    @property
    @abstractmethod
    def app(self) -> ASGIApp: ...

    @abstractmethod
    async def start(self) -> None:
        """Open what the service needs; the secrets are there."""

    @abstractmethod
    async def reload(self) -> None:
        """Take up changed secrets and certificates without dropping a request."""

    @abstractmethod
    async def stop(self) -> None: ...

    @abstractmethod
    async def health(self) -> Health:
        """Whether a request made now would succeed."""


class Runtime:
    """One running service."""

    def __init__(self, service: Service, formatter: logs.JsonFormatter, tls: ServerTls) -> None:
        self.service = service
        self.settings = service.settings
        self.formatter = formatter
        self.tls = tls
        self.ready = False
        self.problem = "starting"
        self._reloading = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self) -> int:
        """Serve until a signal; the exit status."""
        door = Door(
            self.service.app,
            callers=self.settings.allowed_callers,
            own_identity=self.settings.spiffe_id,
            health=self._health,
            ready=lambda: self.ready,
        )
        server = uvicorn.Server(
            uvicorn.Config(
                door,
                host=self.settings.host,
                port=self.settings.port,
                http=PeerProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=8,  # the engine kills after ten
                ssl_context_factory=lambda _config, _default: self.tls.listener,
            )
        )
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hangup)
        # The first process of a container ignores a signal that comes before.
        self._reload_certificate()
        preparing = asyncio.create_task(self._prepare(server))
        await server.serve()
        preparing.cancel()
        (gave_up,) = await asyncio.gather(preparing, return_exceptions=True)
        if self.ready:
            await self.service.stop()
        return EX_TEMPFAIL if gave_up is False else 0

    async def _prepare(self, server: uvicorn.Server) -> bool:
        """Wait for the secrets and open the service, while the port already answers 503."""
        end = time.monotonic() + self.settings.wait_seconds
        said = ""
        while True:
            try:
                # What a hangup announces from here on is read after it.
                async with self._reloading:
                    self.service.secrets.load()
                    self.formatter.protect(self.service.secrets.values())
                    await self.service.start()
                    self.ready = True
                break
            except SecretsError as error:
                self.problem = str(error)
            if self.problem != said:
                logs.event(logger, logging.WARNING, "waiting", reason=self.problem)
                said = self.problem
            if time.monotonic() > end:
                logs.event(logger, logging.ERROR, "giving up", reason=self.problem)
                server.should_exit = True
                return False
            await asyncio.sleep(POLL)
        logs.event(
            logger,
            logging.INFO,
            "ready",
            port=self.settings.port,
            certificate=fingerprint(self.settings.server_tls.cert),
            callers=sorted(self.settings.allowed_callers),
        )
        return True

    async def _health(self) -> Health:
        if not self.ready:
            return Health(False, {"secrets": self.problem})
        return await self.service.health()

    def _hangup(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        """Certificates and secrets anew; of what cannot be used the old stays, with a log line."""
        async with self._reloading:
            self._reload_certificate()
            if not self.ready:
                return  # the waiting loop reads the secrets by itself
            try:
                self.service.secrets.load()
                self.formatter.protect(self.service.secrets.values())
                await self.service.reload()
                logs.event(logger, logging.INFO, "secrets reloaded")
            except (SecretsError, TlsError) as error:
                logs.event(logger, logging.ERROR, "secrets kept, not reloaded", reason=str(error))

    def _reload_certificate(self) -> None:
        try:
            self.tls.reload()
            shown = fingerprint(self.settings.server_tls.cert)
            logs.event(logger, logging.INFO, "certificate reloaded", certificate=shown)
        except (TlsError, OSError, ValueError) as error:
            reason = str(error)
            logs.event(logger, logging.ERROR, "certificate kept, not reloaded", reason=reason)


def _await_tls(settings: Settings) -> ServerTls:
    """Wait, bounded, for a pair that works: before that there is no port to answer on."""
    end = time.monotonic() + settings.wait_seconds
    said = ""
    while True:
        try:
            return ServerTls(settings.server_tls)
        except TlsError as error:
            if str(error) != said:
                said = str(error)
                logs.event(logger, logging.WARNING, "waiting", reason=said)
            if time.monotonic() > end:
                raise
        time.sleep(POLL)


def main(name: str, port: int, build: Callable[[Settings, SecretFile], Service]) -> None:
    """Run a service of this name and usual port. Never returns."""
    formatter = logs.setup(name)
    try:
        settings = Settings.read(name, port, os.environ)
    except SettingsError as error:
        logs.event(logger, logging.CRITICAL, "bad environment", reason=str(error))
        # Nothing that waiting mends; but a restart policy must not spin on it.
        time.sleep(5)
        sys.exit(EX_CONFIG)
    logging.getLogger().setLevel(settings.log_level)
    try:
        tls = _await_tls(settings)
    except TlsError as error:
        logs.event(logger, logging.CRITICAL, "giving up", reason=str(error))
        sys.exit(EX_TEMPFAIL)
    service = build(settings, SecretFile(settings.secrets_file))
    # Uvicorn stops in order at a signal and then raises it once more, for whoever comes after it.
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)

    async def run() -> int:
        return await Runtime(service, formatter, tls).serve()

    sys.exit(asyncio.run(run()))
