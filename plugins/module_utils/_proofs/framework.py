# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How proofs are registered, run side by side and turned into results.

A proof is a function of the running estate. It collects what it saw in a :class:`Record`; whatever
it saw that contradicts the claim is a *fault*. No fault is a pass, any fault is a fail, a
:class:`NotRunError` says that the question could not be asked, and any other exception is a fail
too: what is not known does not pass.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import (
    CATALOGUE,
    title_of,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.limit import VARIABLE
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import redact

__all__ = [
    "FAIL",
    "NOT_RUN",
    "PASS",
    "NotRunError",
    "Once",
    "Proof",
    "Record",
    "Result",
    "Vocabulary",
    "not_run",
    "proof",
    "registered",
    "run",
    "worst",
]

PASS = "pass"
FAIL = "fail"
NOT_RUN = "not run"

# A report is read by people: of a hundred equal faults the first dozen says it all.
_SHOWN_FAULTS = 12

T = TypeVar("T")
Result = dict[str, Any]


class NotRunError(Exception):
    """The question of a proof cannot be asked here, and this is why.

    :arg evidence: What was seen all the same.
    """

    def __init__(self, reason: str, evidence: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.evidence = dict(evidence or {})


@dataclass
class Record:
    """What one proof saw.

    :arg evidence: JSON values, specific (peer, serial, answer), never a secret.
    :arg faults: Sentences, each of which contradicts the claim.
    """

    evidence: dict[str, Any] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def expect(self, holds: object, fault: str) -> bool:
        """Note a fault unless something holds; returns whether it did."""
        if not holds:
            self.faults.append(fault)
        return bool(holds)

    def note(self, **values: Any) -> None:
        self.evidence.update(values)

    @property
    def reason(self) -> str:
        shown = self.faults[:_SHOWN_FAULTS]
        more = len(self.faults) - len(shown)
        return "; ".join(shown) + (f"; and {more} more" if more else "")


class Vocabulary:
    """The secrets that proofs have come across, so that none of them gets into a result."""

    def __init__(self, *secrets: str) -> None:
        self._lock = threading.Lock()
        self._secrets: set[str] = {secret for secret in secrets if secret}

    def add(self, *secrets: str) -> None:
        with self._lock:
            self._secrets.update(secret for secret in secrets if secret)

    def __iter__(self) -> Any:
        with self._lock:
            return iter(tuple(self._secrets))

    def clean(self, value: Any) -> Any:
        """A JSON value with every secret masked, in keys as well."""
        if isinstance(value, str):
            return redact(value, self)
        if isinstance(value, Mapping):
            return {self.clean(str(key)): self.clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.clean(item) for item in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self.clean(str(value))


class Once(Generic[T]):
    """Something that several proofs need and the first of them makes.

    An exception is remembered like a value: all who ask get the same one.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._value: T | None = None
        self._error: Exception | None = None
        self._done = False

    def __call__(self) -> T:
        with self._lock:
            if not self._done:
                try:
                    self._value = self._make()
                except Exception as error:  # noqa: BLE001  # pylint: disable=broad-except
                    self._error = error
                self._done = True
            if self._error is not None:
                raise self._error
            return self._value  # type: ignore[return-value]


@dataclass(frozen=True)
class Proof:
    """A registered proof.

    :arg bound: Seconds after which it is given up as failed.
    :arg searches: How many searches of the host it waits for, each with a time of its own.
    """

    id: str
    prove: Callable[[Any], Record]
    bound: float
    searches: int = 0


_REGISTER: dict[str, Proof] = {}


def proof(
    proof_id: str, *, bound: float = 90, searches: int = 0
) -> Callable[[Callable[[Any], Record]], Callable[[Any], Record]]:
    """Register a function as the proof of an id of the catalogue.

    :arg bound: Seconds. One that waits for what another one makes (:class:`Once`) has to have the
        time that takes, on a host whose disk is busy: dozens of writes of the Vault, one by one.
    :arg searches: How many times the site's ``search_timeout`` it has besides.
    """
    title_of(proof_id)

    def register(function: Callable[[Any], Record]) -> Callable[[Any], Record]:
        if proof_id in _REGISTER:
            raise ValueError(f"two proofs of {proof_id}")
        _REGISTER[proof_id] = Proof(proof_id, function, bound, searches)
        return function

    return register


def registered() -> dict[str, Proof]:
    """All registered proofs by id."""
    return dict(_REGISTER)


def run(
    site: Any,
    proofs: Mapping[str, Proof],
    vocabulary: Vocabulary,
    *,
    only: Sequence[str] = (),
) -> list[Result]:
    """Run proofs side by side and return a result for every entry of the catalogue.

    :arg only: Ids to run; the others are listed as not run. Empty means all.
    :raises PhoenixError: for an id that the catalogue does not have.
    """
    known = [entry.id for entry in CATALOGUE]
    unknown = [name for name in only if name not in known]
    if unknown:
        raise PhoenixError(
            f"no such proof: {', '.join(unknown)}", hint=f"There are {', '.join(known)}."
        )
    chosen = [proofs[name] for name in known if name in proofs and (not only or name in only)]
    runs = {item.id: _Run(item, site, vocabulary) for item in chosen}
    for item in runs.values():
        item.thread.start()
    results = {name: item.result() for name, item in runs.items()}
    return [
        results.get(entry.id)
        or _result(
            entry.id,
            NOT_RUN,
            "not asked for" if entry.id in proofs else entry.absent,
        )
        for entry in CATALOGUE
    ]


class _Run:
    """One proof in a thread of its own, which is abandoned when its bound has passed."""

    def __init__(self, item: Proof, site: Any, vocabulary: Vocabulary) -> None:
        self.item = item
        self.site = site
        self.vocabulary = vocabulary
        self.outcome: Result | None = None
        self.started = time.monotonic()
        own = item.searches * site.inputs.search_timeout if item.searches else 0
        self.bound = item.bound + own
        # A daemon, so that a proof that hangs does not keep the process.
        self.thread = threading.Thread(target=self._prove, name=item.id, daemon=True)

    def _prove(self) -> None:
        self.started = time.monotonic()
        status, reason, evidence = self._attempt()
        self.outcome = _result(
            self.item.id,
            status,
            self.vocabulary.clean(reason),
            seconds=time.monotonic() - self.started,
            evidence=self.vocabulary.clean(evidence),
        )

    def _attempt(self) -> tuple[str, str, dict[str, Any]]:
        try:
            record = self.item.prove(self.site)
        except NotRunError as error:
            return NOT_RUN, error.reason, error.evidence
        except Exception as error:  # noqa: BLE001  # pylint: disable=broad-except
            # Whatever kept a proof from its answer: it has not passed.
            return FAIL, f"{type(error).__name__}: {error}", {}
        return (FAIL if record.faults else PASS), record.reason, record.evidence

    def result(self) -> Result:
        left = self.bound - (time.monotonic() - self.started)
        self.thread.join(max(left, 0.0))
        return self.outcome or _result(
            self.item.id,
            FAIL,
            f"gave no answer within {self.bound:g} s"
            + (
                f", so nobody knows what its search found ({VARIABLE})"
                if self.item.searches
                else ""
            ),
            seconds=time.monotonic() - self.started,
        )


def _result(
    proof_id: str,
    status: str,
    reason: str,
    *,
    seconds: float = 0.0,
    evidence: dict[str, Any] | None = None,
) -> Result:
    return {
        "id": proof_id,
        "title": title_of(proof_id),
        "status": status,
        "reason": reason,
        "seconds": round(seconds, 3),
        "evidence": evidence or {},
    }


def not_run(reasons: Iterable[tuple[str, str]]) -> list[Result]:
    """Results for proofs that nobody tries, from pairs of id and reason."""
    return [_result(proof_id, NOT_RUN, reason) for proof_id, reason in reasons]


def worst(statuses: Iterable[str]) -> str:
    """The status of several hosts together: a fail anywhere is a fail, then not run, then pass."""
    present = set(statuses)
    for status in (FAIL, NOT_RUN):
        if status in present:
            return status
    return PASS if present else NOT_RUN
