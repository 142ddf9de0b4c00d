# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service's secrets, as its agent rendered them into memory-backed storage."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["SecretFile", "SecretsError"]


class SecretsError(Exception):
    """The file cannot be used; the text never quotes it."""


class SecretFile:
    """A JSON object of strings that is replaced as a whole by a rename.

    The values of the last good read stay in force when a later one fails.
    """

    def __init__(self, path: Path, required: frozenset[str] = frozenset()) -> None:
        self.path = path
        self.required = required
        self._values: dict[str, str] = {}

    @property
    def loaded(self) -> bool:
        return bool(self._values)

    def load(self) -> None:
        """Read the file.

        :raises SecretsError: if it is not there, no JSON object of strings, or incomplete.
        """
        try:
            document = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            raise SecretsError(f"{self.path} is not there yet") from None
        except OSError as error:
            raise SecretsError(f"{self.path} cannot be read: {error.strerror}") from None
        except ValueError:
            # Not chained: the decoder's message and traceback quote the content.
            raise SecretsError(f"{self.path} is not valid JSON") from None
        if not isinstance(document, dict) or not all(
            isinstance(value, str) for value in document.values()
        ):
            raise SecretsError(f"{self.path} is not an object of strings")
        missing = sorted(key for key in self.required if not document.get(key))
        if missing:
            raise SecretsError(f"{self.path} lacks {', '.join(missing)}")
        self._values = document

    def get(self, name: str, default: str | None = None) -> str:
        """One secret.

        :raises SecretsError: if there is none of that name, and no default.
        """
        value = self._values.get(name, default)
        if value is None:
            raise SecretsError(f"there is no secret {name}")
        return value

    def values(self) -> list[str]:
        return list(self._values.values())

    def __repr__(self) -> str:
        return f"SecretFile({str(self.path)!r}, {len(self._values)} values)"
