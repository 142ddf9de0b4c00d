# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One JSON object a line on standard output, with no secret in it."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

__all__ = ["JsonFormatter", "event", "setup"]

MASK = "********"
# A shorter value stands in ordinary words: masking it would garble text and hide nothing.
MIN_LENGTH = 4


class JsonFormatter(logging.Formatter):
    """Formats records and masks every secret that the process holds, wherever it turns up.

    Also in tracebacks and in the messages of libraries, which quote what they were given.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service
        self._secrets: list[str] = []

    def protect(self, values: list[str]) -> None:
        """Mask these values from now on, and the earlier ones still."""
        known = {*self._secrets, *(v for v in values if len(v) >= MIN_LENGTH)}
        # The longest first, so that none shows in part.
        self._secrets = sorted(known, key=len, reverse=True)

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self.service,
            "logger": record.name,
            "message": self._mask(record.getMessage()),
        }
        fields = getattr(record, "fields", None)
        if isinstance(fields, dict):
            entry.update({k: self._mask(v) for k, v in fields.items() if k not in entry})
        if record.exc_info:
            entry["exception"] = self._mask(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)

    def _mask(self, value: object) -> object:
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, MASK)
        return value


def setup(service: str, level: str = "INFO") -> JsonFormatter:
    """Send every logger of the process through one formatter. Call before libraries log."""
    formatter = JsonFormatter(service)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # One line for each request is ours to write (with the caller); theirs would double it.
    for name in ("httpx2", "httpcore2", "mcp", "psycopg.pool", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return formatter


def event(logger: logging.Logger, level: int, message: str, **fields: object) -> None:
    """Log a message with fields of its own in the JSON object."""
    logger.log(level, message, extra={"fields": fields})
