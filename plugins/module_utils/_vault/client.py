# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One client for one module run: connection, identity, retries, and errors that name the cause.

:class:`VaultClient` offers the generic verbs (``read``, ``keys``, ``write``, ``delete``) and, as
``client.hvac``, an :class:`hvac.Client` that sends through the very same connections and raises
the very same errors.
"""

from __future__ import annotations

import base64
import itertools
import json
import random
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._module import protect
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import errors
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.answers import (
    Reply,
    decode,
    not_ready,
    retry_after,
    tls_error,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.options import (
    Connection,
    connection_from,
    connection_spec,
    unheard,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.quorum import (
    generate_root,
    revoke_forgotten,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.transport import (
    Pool,
    Target,
    TransportError,
    tls_context,
)

__all__ = ["Connection", "Reply", "VaultClient", "client_from", "connection_spec"]

T = TypeVar("T")
R = TypeVar("R")

WORKERS = 8

# 412: the node has not caught up with the token's write yet. 429: quota. 473: performance standby.
_TRANSIENT = frozenset({412, 429, 473, 500, 502, 503, 504})
# What a node says that has nobody to pass a request to: nothing of it was carried out.
_NO_ACTIVE_NODE = ("active cluster node not found", "is in standby mode")
# The same of one without its keys. Nobody but the server says so: a gateway has other words.
_NOT_SERVED = (*_NO_ACTIVE_NODE, "Vault is sealed", "Vault is not initialized")
# Statuses of which a gateway before the server has some for what the server goes on carrying out.
_PERHAPS_DONE = frozenset({500, 502, 503, 504})
# What a request gets when no audit device takes it, or takes its answer.
_NOT_AUDITED = ("internal error", "failed to audit")
_CAPABILITIES = {
    "GET": ("read",),
    "HEAD": ("read",),
    "LIST": ("list",),
    "POST": ("create", "update"),
    "PUT": ("create", "update"),
    "PATCH": ("patch",),
    "DELETE": ("delete",),
}
# What a server says with status 500 although it is the request that is wrong.
_REFUSALS = (
    *("already in use", "invalid CIDR", "at least one constraint should be enabled"),
    *("failed to find entry for connection", "being too large"),
)
_NOT_READY = (
    errors.UnreachableError,
    errors.SealedError,
    errors.UninitialisedError,
    errors.StandbyError,
)


class VaultClient:
    """A server, seen as one identity.

    :arg connection: Where it is, how to trust it, who to be.
    :arg workers: The most requests that :meth:`map` has under way at a time.
    :arg pause: Waits some seconds between two attempts; tests replace it.
    :arg on_login: Is told each token that the client logs in for.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        workers: int = WORKERS,
        pause: Callable[[float], object] = time.sleep,
        on_login: Callable[[str], None] = lambda _token: None,
    ) -> None:
        self.connection = connection
        self.workers = workers
        self.token = connection.token
        self._pause = pause
        self._tls = (
            tls_context(
                ca_file=connection.ca_cert,
                ca_text=connection.ca_cert_content,
                cert_file=connection.client_cert,
                key_file=connection.client_key,
                cert_text=connection.client_cert_content,
                key_text=connection.client_key_content,
            )
            if connection.url.startswith("https:")
            else None
        )
        self._pools: dict[str, Pool] = {}
        self._home = self._pool = self._pool_to(connection.url)
        self._index_lock = threading.Lock()
        self._index, self._place = "", 0
        self._wrote = False
        self._login_lock = threading.Lock()
        self._logged_in = False
        self._below_root: str | None = None
        self._seal_status: dict[str, Any] | None = None
        self._on_login = on_login
        self._hvac: Any = None

    def _pool_to(self, url: str) -> Pool:
        if url not in self._pools:
            target = Target.from_url(url, self._tls, self.connection.tls_server_name or "")
            made = Pool(target, size=max(self.workers, 1), timeout=self.connection.timeout)
            return self._pools.setdefault(url, made)
        return self._pools[url]

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> VaultClient:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the tokens that were made for this client, then hang up.

        :raises PhoenixError: if a root token could not be revoked.
        """
        try:
            self.lower()
            if self._wrote and not self._logged_in:
                self._settle()
            if self._logged_in:
                self._logged_in = False
                # It ends by itself in minutes; that a server in trouble cannot revoke it now is no
                # reason to report something else than what went wrong before.
                headers = self._headers(None, True)
                self._attempt_quietly("POST", "auth/token/revoke-self", b"", headers)
                self.token = ""
        finally:
            for pool in self._pools.values():
                pool.close()

    # -- root, by a quorum --------------------------------------------------------------------

    def elevate(self, shares: Sequence[str]) -> None:
        """Work as root from now on, by a token that the shares make and :meth:`close` revokes."""

        def ask(method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
            # Where nobody is to log in, the server may serve the endpoints to anybody.
            known = bool(self.token) or self.connection.auth_method != "none"
            repeatable = method in ("GET", "LIST")
            return self.call(
                method, path, body=body, repeatable=repeatable, authenticated=known
            ).body

        token = generate_root(ask, shares)
        self._on_login(token)
        self._below_root, self.token = self.token, token
        try:
            revoke_forgotten(self)
        except BaseException:
            self.close()
            raise

    def lower(self, *, gone: bool = False) -> None:
        """Be no longer root; nothing happens where :meth:`elevate` was not called.

        :arg gone: The token went with the data that a restore has overwritten.
        :raises PhoenixError: if it could not be revoked.
        """
        if self._below_root is None:
            return
        below, self._below_root = self._below_root, None
        if not gone:
            self._revoke_root()
        self.token = below

    def _revoke_root(self) -> None:
        headers = self._headers(None, True)
        for _attempt in range(self.connection.retries + 1):
            self._attempt_quietly("POST", "auth/token/revoke-self", b"", headers)
            if not self.token_lives():
                return
            self._pause(0.5)
        raise PhoenixError(
            f"the root token that was made for this run could not be revoked at {self.url}",
            hint="The next run with shares revokes it; nobody knows it meanwhile.",
        )

    @property
    def url(self) -> str:
        return self.connection.url

    def identities(self) -> list[dict[str, Any]]:
        """What the server says of the caller's token, and of the one below root."""
        found = []
        for token in (self.token, self._below_root):
            if token is not None:
                headers = {"X-Vault-Token": token} if token else {}
                found.append(self.call("GET", "auth/token/lookup-self", headers=headers).data)
        return found

    def policies(self) -> set[str]:
        """Policies that the caller stands on, those of the token below root included."""
        found: set[str] = set()
        for about in self.identities():
            found |= {*(about.get("policies") or []), *(about.get("identity_policies") or [])}
        return found

    @property
    def token_is_new(self) -> bool:
        """Whether the token was made for this client, so that nothing older knows it."""
        return self._logged_in or self._below_root is not None

    @property
    def hvac(self) -> Any:
        """The same connection as an :class:`hvac.Client`.

        :raises ImportError: where that library is not installed.
        """
        if self._hvac is None:
            # Loading hvac takes a tenth of a second, which the verbs below need not pay for.
            from ansible_collections.tamshai.phoenix.plugins.module_utils._vault import hvac_adapter

            self._hvac = hvac_adapter.attached(self)
        return self._hvac

    # -- verbs --------------------------------------------------------------------------------

    def read(self, path: str, **params: str) -> dict[str, Any] | None:
        """The ``data`` at a path; ``None`` where there is no such object."""
        reply = self.call("GET", path, params=params or None, accept=(404,))
        if reply.status == 404:
            self._raise_if_no_route("GET", path, reply)
            return None
        return reply.data

    def keys(self, path: str) -> list[str]:
        """The keys below a path; empty where there are none, or no such path."""
        reply = self.call("LIST", path.rstrip("/"), accept=(404,))
        if reply.status == 404:
            self._raise_if_no_route("LIST", path, reply)
            return []
        return list(reply.data.get("keys") or [])

    def write(
        self,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        method: str = "POST",
        wrap_ttl: str | int | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Write and return the whole answer, ``{}`` where the server says nothing.

        :arg wrap_ttl: Have the answer wrapped; it is then under ``wrap_info``.
        :arg repeatable: ``False`` where a second request would make a second thing (a SecretID, a
            token): it is then not sent again if the first may have arrived.
        """
        return self.call(
            method, path, body=data or {}, wrap_ttl=wrap_ttl, repeatable=repeatable
        ).body

    def patch(self, path: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into what is there (RFC 7396)."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.call("PATCH", path, body=data, headers=headers).body

    def delete(self, path: str) -> None:
        """Delete; that nothing was there is fine."""
        reply = self.call("DELETE", path, accept=(404,))
        if reply.status == 404:
            self._raise_if_no_route("DELETE", path, reply)

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """Call ``function`` for each item, several at a time, and return the results in order.

        The first exception in the order of the items is raised after those under way have ended;
        what has not begun by then does not begin.
        """
        work = list(items)
        workers = min(self.workers, len(work))
        if workers <= 1:
            return [function(item) for item in work]
        # Threads that take the next item themselves cost a third of a future for each item.
        results: dict[int, R] = {}
        failures: dict[int, BaseException] = {}
        numbers = itertools.count()  # its next() is atomic

        def take() -> None:
            for number in numbers:
                if number >= len(work) or failures:
                    return
                try:
                    results[number] = function(work[number])
                except BaseException as error:  # noqa: BLE001 - raised below, in the caller's thread
                    failures[number] = error

        with ThreadPoolExecutor(workers) as executor:
            for _worker in range(workers):
                executor.submit(take)
        if failures:
            raise failures[min(failures)]
        return [results[number] for number in range(len(work))]

    # -- state of the server ------------------------------------------------------------------

    def seal_status(self) -> dict[str, Any]:
        """``initialized``, ``sealed``, ``t``, ``n``, ``progress``, ``type``, ``version``, ..."""
        self._seal_status = self.call("GET", "sys/seal-status", authenticated=False).body
        return self._seal_status

    @property
    def version(self) -> str:
        """The server's version, asked for once."""
        return str((self._seal_status or self.seal_status()).get("version", "unknown"))

    def not_ready(self) -> errors.VaultError | None:
        """Why the server cannot serve requests now: sealed or uninitialised, else ``None``."""
        return not_ready(self.url, self.seal_status())

    def expect(self, method: str, path: str) -> None:
        """Fail as a request would, for want of a server or a right, without making it.

        A token that may not ask for its rights is taken to have them.

        :raises errors.VaultError: the subclass says what is wrong.
        """
        not_ready = self.not_ready()
        if not_ready is not None:
            raise not_ready
        try:
            held = self.write("sys/capabilities-self", {"paths": [path]}).get("data") or {}
        except errors.ForbiddenError:
            return
        if {"root", *_CAPABILITIES[method]}.isdisjoint(held.get("capabilities") or ()):
            raise self._forbidden(method, path, {"path": path})

    # -- identity -----------------------------------------------------------------------------

    def login(self) -> dict[str, Any]:
        """Log in by the connection's method; returns the answer's ``auth`` and keeps the token.

        :raises errors.TokenMissingError: if the method is ``token``: there is nothing to log in by.
        """
        connection = self.connection
        mount = (connection.auth_mount or connection.auth_method).strip("/")
        if connection.auth_method == "cert":
            body = {"name": connection.auth_role} if connection.auth_role else {}
        elif connection.auth_method == "approle":
            body = {"role_id": connection.auth_role_id or ""}
            if connection.auth_secret_id:
                body["secret_id"] = connection.auth_secret_id
        else:
            raise errors.TokenMissingError(
                f"no token for {self.url}",
                hint="Give 'token' or 'token_file', or an 'auth_method' to log in by.",
            )
        path = f"auth/{mount}/login"
        # A SecretID may have one use only, so an AppRole login is not repeated blindly.
        reply = self.call(
            "POST",
            path,
            body=body,
            authenticated=False,
            repeatable=connection.auth_method != "approle",
        )
        auth: dict[str, Any] = reply.body.get("auth") or {}
        self.token = str(auth.get("client_token") or "")
        self._logged_in = bool(self.token)
        self._on_login(self.token)
        return auth

    def keep_token(self) -> str:
        """Let the token of :meth:`login` outlive this client."""
        self._logged_in = False
        return self.token

    def _relogin(self, stale: str) -> bool:
        if self.connection.auth_method not in ("cert", "approle"):
            return False
        with self._login_lock:
            if self.token == stale:
                self.login()
        return True

    # -- requests -----------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        payload: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wrap_ttl: str | int | None = None,
        accept: Sequence[int] = (),
        authenticated: bool = True,
        repeatable: bool = True,
        patient: bool = True,
    ) -> Reply:
        """Send one request, as often as it takes within the connection's limits.

        :arg path: Below ``/v1/``, not encoded.
        :arg body: Sent as JSON. :arg payload: Sent as it is instead.
        :arg accept: Statuses of 400 and above that the caller wants to see instead of an error.
        :arg patient: ``False`` sends it once, for a caller who wants to see each failure.
        :arg repeatable: As for :meth:`write`.
        :raises errors.VaultError: the subclass says what is wrong.
        """
        path = _checked(path)
        if authenticated and not self.token:
            with self._login_lock:
                if not self.token:
                    self.login()
        extra = dict(headers or {})
        if wrap_ttl:
            extra["X-Vault-Wrap-TTL"] = str(wrap_ttl)
        if payload is None:
            payload = b"" if body is None else json.dumps(body, ensure_ascii=False).encode("utf-8")
        target = quote(path, safe="/") + (f"?{urlencode(params)}" if params else "")
        patience = _Patience(self.connection.wait if patient else 0, self._pause, self.url)
        retries = self.connection.retries if patient else 0
        renewed = False
        while True:
            sent_as = self.token
            try:
                reply = self._with_retries(
                    method, target, payload, extra, authenticated, repeatable, accept, retries
                )
            except _NOT_READY as error:
                patience.wait(error)
                continue
            if reply.status < 400 or reply.status in accept:
                return reply
            if reply.status == 403 and authenticated and not renewed and not self.token_lives():
                renewed = True
                if self._relogin(sent_as):
                    continue
            raise self._error(method, path, reply, authenticated)

    def _with_retries(
        self,
        method: str,
        target: str,
        payload: bytes,
        extra: dict[str, str],
        authenticated: bool,
        repeatable: bool,
        accept: Sequence[int],
        retries: int,
    ) -> Reply:
        path = unquote(target.partition("?")[0])
        attempt = 0
        while True:
            failure: errors.VaultError | None = None
            delay = min(0.1 * 2**attempt, 3.0) * random.uniform(0.75, 1.25)  # noqa: S311
            try:
                reply = self._attempt(method, target, payload, self._headers(extra, authenticated))
            except _BrokenError as broken:
                failure = self._no_answer(path, broken)
                if broken.sent and not repeatable:
                    raise _perhaps_done(failure, method, path) from broken
            else:
                upgrading = reply.status == 400 and "Upgrading from non-versioned" in str(
                    reply.messages
                )
                if reply.status in accept or (reply.status not in _TRANSIENT and not upgrading):
                    return reply
                if reply.status == 500 and any(w in str(reply.messages) for w in _REFUSALS):
                    return reply
                failure = self._transient(path, reply)
                # What no node was there to carry out can be asked for again, whatever it is.
                served = not any(words in str(reply.messages) for words in _NOT_SERVED)
                if served and reply.status in _PERHAPS_DONE and not repeatable:
                    raise _perhaps_done(failure, method, path)
                delay = max(delay, retry_after(reply))
            if isinstance(failure, (errors.SealedError, errors.UninitialisedError)):
                raise failure
            if attempt >= retries:
                raise failure
            attempt += 1
            self._pause(delay)

    def _attempt(self, method: str, target: str, payload: bytes, headers: dict[str, str]) -> Reply:
        path, url = unquote(target.partition("?")[0]), f"/v1/{target}"
        pool = self._pool
        for _hop in range(4):
            try:
                answer = pool.request(method, url, headers, payload)
            except (ssl.SSLError, TransportError) as error:
                # Another node may have become active, and the one that was asked knows which.
                self._pool = self._home
                active = "" if pool is self._home else pool.target.authority
                if isinstance(error, ssl.SSLError):
                    raise tls_error(error, active or self.url, pool.target) from error
                raise _BrokenError(str(error), sent=error.sent, active=active) from error
            if answer.status not in (301, 302, 307, 308):
                self._remember(method, answer.headers.get("x-vault-index", ""))
                return decode(answer)
            # A standby node that does not forward names the active one.
            location = urljoin(self.url, answer.headers.get("location", ""))
            parts = urlsplit(location)
            if parts.scheme != urlsplit(self.url).scheme:
                raise errors.RefusedError(
                    f"{self.url} redirects to {parts.scheme or 'nowhere'}, which is not followed",
                    path=path,
                )
            pool = self._pool = self._pool_to(f"{parts.scheme}://{parts.netloc}")
        raise errors.StandbyError(f"{self.url} redirects in a circle", path=path)

    def _headers(self, extra: Mapping[str, str] | None, authenticated: bool) -> dict[str, str]:
        headers = {"X-Vault-Request": "true"}
        if authenticated and self.token:
            headers["X-Vault-Token"] = self.token
        if self.connection.namespace:
            headers["X-Vault-Namespace"] = self.connection.namespace
        if self._index:
            headers["X-Vault-Index"] = self._index
            headers["X-Vault-Inconsistent"] = "forward-active-node"
        headers.update(extra or {})
        return headers

    def _remember(self, method: str, index: str) -> None:
        """Have later requests see what this one wrote, whichever node answers them.

        A standby node serves reads itself, from a state that may be a moment old. A server that
        does so (OpenBao 2.7, Vault Enterprise) says by an index what state a write has made.
        """
        if index and index != self._index:
            place = _place(index)
            with self._index_lock:
                if place >= self._place:
                    self._index, self._place = index, place
                self._wrote = self._wrote or method not in ("GET", "LIST", "HEAD")

    def _settle(self) -> None:
        """Give the node a moment to catch up, for whoever comes next with the same token.

        One who logs in needs it not: a login is a write, and tells how far the cluster is.
        """
        headers = {**self._headers(None, True), "X-Vault-Inconsistent": "fail"}
        for _attempt in range(20):
            if self._attempt_quietly("GET", "auth/token/lookup-self", b"", headers) != 429:
                return
            self._pause(0.05)

    # -- what went wrong ----------------------------------------------------------------------

    def _no_answer(self, path: str, broken: _BrokenError) -> errors.VaultError:
        if broken.active:
            return errors.StandbyError(
                f"{self.url} is a standby, and the active node that it names, {broken.active}, "
                f"does not answer: {broken}",
                path=path,
            )
        return errors.UnreachableError(
            f"no answer from {self.url}: {broken}",
            path=path,
            hint="Is the server running, and is this its address?",
        )

    def _transient(self, path: str, reply: Reply) -> errors.VaultError:
        said = "; ".join(reply.messages) or f"status {reply.status}"
        common: dict[str, Any] = {
            "path": path,
            "status": reply.status,
            "messages": reply.messages,
        }
        if reply.status == 503:
            try:
                state = decode(
                    self._pool.request("GET", "/v1/sys/seal-status", self._headers(None, False))
                ).body
            except (ssl.SSLError, TransportError):
                state = {}
            reason = not_ready(self.url, state)
            if reason is not None:
                return reason
        if reply.status == 473 or any(words in said for words in _NO_ACTIVE_NODE):
            return errors.StandbyError(
                f"{self.url} is a standby without an active node: {said}", **common
            )
        if reply.status == 429:
            return errors.RateLimitedError(
                f"{self.url} limits the rate of requests: {said}", **common
            )
        hint = ""
        if reply.status == 500 and any(words in said for words in _NOT_AUDITED):
            hint = (
                "A server that answers so to everything, while its health is well, cannot write "
                "its audit log: look for a full disk. The last request may have been carried out."
            )
        return errors.ServerFailureError(
            f"{self.url} failed at {path}: {said}", hint=hint, **common
        )

    def _raise_if_no_route(self, method: str, path: str, reply: Reply) -> None:
        if any("no handler for route" in message for message in reply.messages):
            raise self._error(method, path, reply, True)

    def _error(
        self, method: str, path: str, reply: Reply, authenticated: bool
    ) -> errors.VaultError:
        said = "; ".join(message.strip() for message in reply.messages) or f"status {reply.status}"
        common: dict[str, Any] = {"path": path, "status": reply.status, "messages": reply.messages}
        if reply.status == 403 and authenticated:
            return self._forbidden(method, path, common)
        if reply.status == 403 and path.endswith("/login"):
            where = path.removesuffix("/login")
            return errors.RefusedError(
                f"{method} {path} was refused: {said}",
                hint=f"Is the method mounted at {where}, and does it know this identity?",
                **common,
            )
        if reply.status == 404:
            return errors.NoRouteError(f"{path}: {said}", **common)
        if "check-and-set" in said:
            return errors.ConflictError(f"{path}: {said}", **common)
        if reply.status == 400 and "HTTP request to an HTTPS server" in said:
            return errors.UnreachableError(f"{self.url} speaks HTTPS, not HTTP", **common)
        if reply.status == 400 and not reply.messages and not path.isprintable():
            return errors.RefusedError(
                f"{method} {path!r} was refused",
                hint="A path must not hold line breaks, control characters and the like.",
                **common,
            )
        return errors.RefusedError(f"{method} {path} was refused: {said}", **common)

    def token_lives(self) -> bool:
        """Whether the server takes the token; true as well where it gives no answer.

        Help needs a token and no policy. A token may well not be allowed to look itself up.
        """
        headers = self._headers(None, True)
        return self._attempt_quietly("GET", "sys/auth?help=1", b"", headers) != 403

    def _attempt_quietly(
        self, method: str, target: str, payload: bytes, headers: dict[str, str]
    ) -> int:
        try:
            return self._attempt(method, target, payload, headers).status
        except (_BrokenError, errors.VaultError):
            return 0

    def _forbidden(self, method: str, path: str, common: dict[str, Any]) -> errors.VaultError:
        if not self.token_lives():
            return errors.TokenExpiredError(
                f"the token for {self.url} is expired, revoked or not one of this server",
                hint="Log in again.",
                **common,
            )
        needed = _CAPABILITIES.get(method, ())
        body = json.dumps({"paths": [path]}).encode()
        try:
            held = self._attempt("POST", "sys/capabilities-self", body, self._headers(None, True))
            have = set(held.data.get("capabilities") or held.body.get("capabilities") or [])
        except (_BrokenError, errors.VaultError):
            have = set()
        if have & set(needed):
            return errors.ForbiddenError(
                f"{method} {path} is forbidden: the policies allow {' and '.join(sorted(have))} on "
                "this path, but not these parameters, or not without sudo",
                capabilities=["sudo"] if "sudo" not in have else [],
                **common,
            )
        return errors.ForbiddenError(
            f"{method} {path} is forbidden: the token's policies do not grant "
            f"{' or '.join(needed)} on this path",
            hint=f'The policy needs: path "{path}" {{ capabilities = {json.dumps(list(needed))} }}',
            capabilities=needed,
            **common,
        )


class _BrokenError(Exception):
    """No answer.

    :arg active: The node that did not give one, where that is another than the one asked first.
    """

    def __init__(self, message: str, *, sent: bool, active: str = "") -> None:
        super().__init__(message)
        self.sent = sent
        self.active = active


def _perhaps_done(error: errors.VaultError, method: str, path: str) -> errors.VaultError:
    """What went wrong with a request that must not be carried out twice, and may have been."""
    error.perhaps_done = True
    error.message += f"; {method} {path} may have been carried out"
    error.args = (error.message,)
    return error


def _checked(path: str) -> str:
    path = path.strip("/")
    if not {"", ".", ".."}.isdisjoint(path.split("/")):
        raise errors.RefusedError(
            f"no path of a server: {path!r}",
            hint="Its parts must not be empty, '.' or '..': servers resolve these as they like.",
            path=path,
        )
    return path


def _place(index: str) -> int:
    """How far in the log of its cluster an index is; 0 where it does not say."""
    try:
        return int(json.loads(base64.b64decode(index))["value"])
    except (KeyError, TypeError, ValueError):
        return 0


class _Patience:
    """Lets a request outlast a server that is sealed, starting or away, for a bounded time."""

    def __init__(self, limit: float, pause: Callable[[float], object], url: str) -> None:
        self._limit = limit
        self._pause = pause
        self._url = url
        self._begun: float | None = None
        self._step = 0.2

    def wait(self, error: errors.VaultError) -> None:
        now = time.monotonic()
        if self._begun is None:
            self._begun = now
        left = self._begun + self._limit - now
        if self._limit <= 0 or error.perhaps_done:
            raise error
        if left <= 0:
            error.message = f"waited {self._limit:g} s for {self._url}: {error.message}"
            error.args = (error.message,)
            raise error
        self._pause(min(self._step, left))
        self._step = min(self._step * 1.5, 1.0)


def client_from(
    module: AnsibleModule, *, workers: int = WORKERS, mask_login: bool = True
) -> VaultClient:
    """The client that a module's connection options describe.

    Its token is masked in the module's result.

    :arg mask_login: Mask a token that it logs in for, too. ``False`` where the token is the result.
    """
    connection = connection_from(module.params)
    protect(module, connection.token)
    for words in unheard(module.params):
        module.warn(words)
    if not mask_login:
        return VaultClient(connection, workers=workers)
    client = VaultClient(connection, workers=workers, on_login=lambda token: protect(module, token))
    if connection.root_shares and not module.check_mode:
        client.elevate(connection.root_shares)
    return client
