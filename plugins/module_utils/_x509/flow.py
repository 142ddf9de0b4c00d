# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``pki_cert`` does: look, plan, act.

Each function adds to a plan what it is about to do and then, unless it is to check only, does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import (
    PhoenixError,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._files import (
    symlink_atomic,
    write_atomic,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import (
    issue,
    keys,
    verify,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509._lib import (
    not_after,
    not_before,
    serialization,
    utc,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.authority import (
    Authority,
    Index,
    moment,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.bundle import (
    Bundle,
    Tree,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
    Lifetime,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import (
    Constraints,
)

__all__ = [
    "Assessment",
    "AuthoritySettings",
    "assess",
    "ensure_authority",
    "ensure_leaves",
    "ensure_revocation_lists",
    "install",
    "link_leaves",
    "plan_leaf",
    "request",
    "sign",
    "states",
]

# The two keys that sign for years; twice the leaves' strength costs nothing at their pace.
_AUTHORITY_KEY = "ecdsa-p384"

_SHORTEST_PASSPHRASE = 12


@dataclass(frozen=True)
class AuthoritySettings:
    """How the authorities are declared; lifetimes in seconds.

    :arg organization: The estate's name, the ``O`` of both authorities.
    """

    organization: str
    constraints: Constraints
    root_lifetime: int
    issuing: Lifetime
    crl_lifetime: int


@dataclass(frozen=True)
class Assessment:
    """What one declared certificate needs.

    :arg due: Why a new one has to be made; empty where the one there is right.
    :arg drift: Files whose owner or mode is to be set.
    """

    declared: Declaration
    bundle: Bundle | None
    due: str = ""
    drift: tuple[str, ...] = ()

    def public(self) -> dict[str, Any] | None:
        if self.bundle is None:
            return None
        leaf = self.bundle.leaf
        return {
            **issue.describe(leaf),
            "serial": self.bundle.serial,
            "not_before": moment(not_before(leaf)),
            "not_after": moment(not_after(leaf)),
        }


def assess(
    tree: Tree,
    declared: Declaration,
    root: Any | None,
    now: datetime,
    lifetime: Lifetime,
    renew: bool = False,
) -> Assessment:
    """Compare a declaration with the bundle on disk.

    :arg root: The authority that it must come from; ``None`` where that is yet to be made.
    :arg renew: A new certificate is wanted whatever there is.
    """
    try:
        bundle = tree.read(declared)
    except PhoenixError as error:
        return Assessment(declared, None, error.message)
    if bundle is None:
        return Assessment(declared, None, "there is none yet")
    if renew:
        return Assessment(declared, bundle, "renewal was asked for")
    if root is None:
        return Assessment(declared, bundle, "its authority is yet to be made")
    if bundle.root != root:
        return Assessment(declared, bundle, "it comes from another root")
    try:
        verify.check_chain(bundle.leaf, bundle.chain, root, now, "it")
    except PhoenixError as error:
        return Assessment(declared, bundle, error.message)
    stated, wanted = issue.describe(bundle.leaf), declared.public()
    differing = sorted(key for key in {*stated, *wanted} if stated.get(key) != wanted.get(key))
    if differing:
        return Assessment(declared, bundle, f"it is declared with other {', '.join(differing)}")
    end = not_after(bundle.leaf)
    if now >= end - timedelta(seconds=lifetime.renew_before):
        return Assessment(declared, bundle, f"it ends on {moment(end)}, the time to renew has come")
    if end > now + timedelta(seconds=lifetime.seconds) + issue.BACKDATE:
        # A lifetime that was made shorter is to hold now, and not when the longer one is over.
        return Assessment(declared, bundle, f"it ends on {moment(end)}, later than a new one would")
    return Assessment(declared, bundle, "", tuple(tree.drift(declared)))


def _plan_removals(
    tree: Tree, declared: Mapping[str, Declaration], root: Any | None, plan: Plan
) -> list[str]:
    """What was left in the making; and bundles of a root that are no longer declared.

    :return: These, those inside of another one first.
    """
    for name in tree.staged():
        plan.add("staged key", name, "delete", note="left by a run that did not finish")
    gone = {} if root is None else tree.undeclared(declared, root)
    for name, bundle in sorted(gone.items()):
        before = {"serial": bundle.serial, "not_after": moment(not_after(bundle.leaf))}
        plan.add("bundle", name, "delete", before, note="it is no longer declared")
    return sorted(gone, reverse=True)


def states(tree: Tree, found: list[Assessment]) -> list[dict[str, str]]:
    """The certificates as a result shows them: name, path, serial, end, why one is due."""
    return [
        {
            "name": item.declared.name,
            "path": str(tree.current(item.declared)),
            "serial": item.bundle.serial if item.bundle else "",
            "not_after": moment(not_after(item.bundle.leaf)) if item.bundle else "",
            "due": item.due,
        }
        for item in found
    ]


def request(
    tree: Tree,
    declared: Mapping[str, Declaration],
    root: Any | None,
    now: datetime,
    lifetime: Lifetime,
    plan: Plan,
    *,
    renew: bool = False,
    remove_undeclared: bool = False,
    check: bool = False,
) -> tuple[list[Assessment], list[dict[str, str]]]:
    """Find what is due, and stage a key and make a request for each of that.

    Repairs owners and modes, and removes what runs that did not finish have left.

    :arg remove_undeclared: Bundles of the root under other names go.
    """
    found = [assess(tree, entry, root, now, lifetime, renew) for entry in declared.values()]
    for item in found:
        name = item.declared.name
        if item.due:
            plan_leaf(plan, item)
        elif item.drift:
            plan.add("bundle", name, "update", note=f"owner or mode of {', '.join(item.drift)}")
        for serial in tree.surplus(item.declared):
            plan.add("version", f"{name}/{serial}", "delete", note="superseded")
    gone = _plan_removals(tree, declared, root if remove_undeclared else None, plan)
    if check:
        return found, []
    tree.clear_staging()
    for name in gone:
        tree.remove(name)
    requests = []
    for item in found:
        tree.prune(item.declared)
        if item.due:
            key = keys.make_key(item.declared.key_type)
            tree.stage_key(item.declared.name, keys.key_pem(key))
            requests.append(
                {
                    "name": item.declared.name,
                    "csr": issue.make_request(key, item.declared).decode("ascii"),
                    "time": moment(now),
                }
            )
        elif item.drift:
            tree.repair(item.declared)
    return found, requests


def sign(
    authority: Authority,
    requests: list[dict[str, str]],
    declared: Mapping[str, Declaration],
    now: datetime,
    lifetime: Lifetime,
    plan: Plan,
    *,
    host: str = "",
    check: bool = False,
) -> list[dict[str, str]]:
    """Issue a certificate for each request, as declared.

    The index knows a certificate before anybody else does.

    :raises PhoenixError: nothing is issued then, to none of the requests.
    """
    with authority.lock():
        issuer = authority.signer("issuing")
        root = authority.certificate("root")
        if root is None:
            raise PhoenixError(f"there is no root authority in {authority.directory}")
        index = authority.index()
        made = []
        for entry in requests:
            name = entry.get("name", "")
            if name not in declared:
                raise PhoenixError(f"a certificate is requested that is not declared: {name!r}")
            _check_time(name, entry.get("time"), now)
            leaf = issue.make_leaf(
                public_key=issue.check_request(entry.get("csr", ""), declared[name]),
                declared=declared[name],
                issuer=issuer,
                now=now,
                lifetime=timedelta(seconds=lifetime.seconds),
            )
            verify.check_chain(leaf, [issuer[0]], root, now, f"certificate {name}")
            index.record(name, leaf, issuer[0], now, host=host, csr=True)
            made.append((name, leaf))
        for name, leaf in made:
            plan.add(
                "certificate",
                name,
                "issue",
                after={**issue.describe(leaf), "not_after": moment(not_after(leaf))},
            )
        if check:
            return []
        index.forget_expired(now)
        authority.save_index(index)
    return [
        {
            "name": name,
            "serial": issue.serial_text(leaf.serial_number),
            "certificate": (keys.certificate_pem(leaf) + keys.certificate_pem(issuer[0])).decode(),
            "root": keys.certificate_pem(root).decode(),
        }
        for name, leaf in made
    ]


def install(
    tree: Tree,
    bundles: list[dict[str, str]],
    declared: Mapping[str, Declaration],
    now: datetime,
    plan: Plan,
    *,
    trusted: Any | None = None,
    check: bool = False,
) -> list[dict[str, Any]]:
    """Join signed certificates with their staged keys and swap them in.

    All are checked before the first is swapped.

    :arg trusted: The root that they must come from; ``None`` trusts what comes with each.
    :return: The names swapped, each with how its consumer takes it up.
    """
    ready = []
    for entry in bundles:
        name = entry.get("name", "")
        if name not in declared:
            raise PhoenixError(f"a certificate is to be installed that is not declared: {name!r}")
        ready.append((declared[name], *_checked(tree, declared[name], entry, trusted, now)))
    for wanted, _key, chain, _root in ready:
        plan.add("bundle", wanted.name, "swap", *_before_after(tree, wanted, chain))
    if check:
        return []
    swapped = []
    for wanted, key, chain, root in ready:
        before = tree.place(wanted, key, chain, root)
        bundle = tree.read(wanted)
        leaf = keys.load_certificates(chain, "tls.crt")[0]
        if bundle is None or bundle.leaf != leaf:
            raise PhoenixError(f"certificate {wanted.name}: it is not the current one after a swap")
        swapped.append(
            {
                "name": wanted.name,
                "serial": bundle.serial,
                "before": before or "",
                "service": wanted.service or "",
                "reload": wanted.reload,
                "reload_signal": wanted.reload_signal,
            }
        )
        tree.prune(wanted)
    return swapped


def ensure_leaves(
    authority: Authority,
    tree: Tree,
    declared: Mapping[str, Declaration],
    now: datetime,
    lifetime: Lifetime,
    plan: Plan,
    *,
    renew: bool = False,
    host: str = "",
    check: bool = False,
) -> list[Assessment]:
    """Request, sign and install in one process: for certificates of the authority's own machine."""
    inner = Plan()
    root = authority.certificate("root")
    if not check:
        tree.root.mkdir(parents=True, exist_ok=True)
    found, requests = request(tree, declared, root, now, lifetime, inner, renew=renew, check=check)
    plan.changes.extend(inner)
    if requests:
        bundles = sign(authority, requests, declared, now, lifetime, Plan(), host=host)
        install(tree, bundles, declared, now, Plan())
        # Nobody on this machine holds the old one open: the next command reads the new files.
        tree.clear_pending(declared)
        found = [assess(tree, entry, root, now, lifetime) for entry in declared.values()]
    return found


def link_leaves(
    tree: Tree,
    directory: Path,
    names: Mapping[str, Declaration],
    plan: Plan,
    *,
    check: bool = False,
) -> None:
    """Offer each bundle as ``<directory>/<name>``, without the way through its versions."""
    for name, wanted in names.items():
        link = directory / name
        target = str(tree.current(wanted).relative_to(directory))
        if link.is_symlink() and str(link.readlink()) == target:
            continue
        plan.add("link", name, "create", after=target)
        if not check:
            symlink_atomic(target, link)


def ensure_authority(
    authority: Authority,
    settings: AuthoritySettings,
    now: datetime,
    plan: Plan,
    *,
    steps: tuple[str, ...] = ("root", "issuing"),
    check: bool = False,
) -> None:
    """Make the root and the issuing authority where they are missing or, the latter, too old.

    :raises PhoenixError: for what must not be repaired by making a new one: a lost or unreadable
        root, other name constraints than declared, a wrong passphrase.
    """
    if len(authority.passphrase) < _SHORTEST_PASSPHRASE:
        raise PhoenixError(
            "the passphrase of the authority's keys is missing or shorter than "
            f"{_SHORTEST_PASSPHRASE} characters",
            hint="Set phoenix_state_passphrase.",
        )
    root, issuing = authority.certificate("root"), authority.certificate("issuing")
    make_root = "root" in steps and root is None
    _plan_root(authority, settings, make_root, now, plan)
    why = _issuing_due(root, issuing, settings, now) if "issuing" in steps else ""
    if why:
        plan.add(
            "authority",
            "issuing",
            "create" if issuing is None else "rotate",
            before=None if issuing is None else _public(issuing),
            after={"lifetime": settings.issuing.seconds, **settings.constraints.public()},
            note=why,
        )
    if not make_root:
        # The one whose key is needed next. A wrong passphrase shows now, not at a renewal.
        authority.signer("root" if why or issuing is None else "issuing")
    stale = [which for which in ("root", "issuing") if not authority.published(which)]
    for which in stale:
        plan.add("file", f"{which}.crt", "update", note="not the certificate of the key")
    if check:
        return
    authority.prepare()
    with authority.lock():
        if make_root:
            _make_root(authority, settings, now)
        if why:
            _make_issuing(authority, settings, now)
        for which in stale:
            authority.publish(which)


def ensure_revocation_lists(
    authority: Authority,
    lifetime: int,
    now: datetime,
    plan: Plan,
    *,
    revoke: list[str] | None = None,
    check: bool = False,
) -> None:
    """Revoke certificates, and see to it that both revocation lists are complete and not too old.

    A list is remade when two thirds of its lifetime are over.
    """
    issuing = authority.certificate("issuing")
    if issuing is None:
        for name in ("crl.pem", "root-crl.pem"):
            plan.add("revocation list", name, "create")
        return
    with authority.lock():
        index = authority.index()
        index.adopt(revoke or [], issuing, now)
        chosen = index.to_revoke(revoke or [])
        for record in chosen:
            plan.add(
                "certificate",
                record["name"],
                "revoke",
                before={"serial": record["serial"], "revoked": False},
                after={"serial": record["serial"], "revoked": True},
            )
            record["revoked"] = moment(now)
        due = [
            (name, which)
            for name, which in (("crl.pem", "issuing"), ("root-crl.pem", "root"))
            if _list_due(authority, index, name, which, lifetime, now)
        ]
        for name, _which in due:
            action = "update" if authority.revocation_list(name) is not None else "create"
            plan.add("revocation list", name, action)
        if check or not (due or chosen):
            return
        for name, which in due:
            issuer = authority.signer(which)
            index.crl_number += 1
            made = issue.make_revocation_list(
                issuer=issuer,
                revoked=_revoked(authority, index, which, now),
                number=index.crl_number,
                now=now,
                lifetime=timedelta(seconds=lifetime),
            )
            # The index first: what it says is revoked comes onto a list, not the other way round.
            authority.save_index(index)
            write_atomic(
                authority.directory / name,
                made.public_bytes(serialization.Encoding.PEM),
                mode=0o600,
            )
        authority.save_index(index)


def _revoked(
    authority: Authority, index: Index, which: str, now: datetime
) -> list[tuple[int, datetime]]:
    root = authority.certificate("root")
    return index.revoked(which, issue.serial_text(root.serial_number) if root else "", now)


def _list_due(
    authority: Authority, index: Index, name: str, which: str, lifetime: int, now: datetime
) -> bool:
    certificate = authority.certificate(which)
    found = authority.revocation_list(name)
    if found is None or certificate is None or not verify.signed_by(found, certificate):
        return True
    ends = getattr(found, "next_update_utc", None) or utc(found.next_update)
    wanted = {serial for serial, _at in _revoked(authority, index, which, now)}
    listed = {entry.serial_number for entry in found}
    return now > ends - timedelta(seconds=lifetime // 3) or not wanted <= listed


def _plan_root(
    authority: Authority, settings: AuthoritySettings, make: bool, now: datetime, plan: Plan
) -> None:
    root = authority.certificate("root")
    if root is not None:
        _check_root(root, settings.constraints, now)
    elif not make:
        raise PhoenixError(f"there is no root authority in {authority.directory}")
    elif authority.certificate("issuing") is not None or authority.index().certificates:
        raise PhoenixError(
            f"{authority.directory}/root.key is missing, and certificates of it have been issued",
            hint="Restore it; or move the directory away for a new root that nobody trusts yet.",
        )
    else:
        after = {"lifetime": settings.root_lifetime, **settings.constraints.public()}
        plan.add("authority", "root", "create", after=after)


def _check_root(root: Any, constraints: Constraints, now: datetime) -> None:
    verify.check_clock(root, now, "the root authority")
    if not verify.signed_by(root, root):
        raise PhoenixError("the root authority's certificate is not signed by itself")
    permitted = issue.read_constraints(root)
    if permitted != constraints:
        raise PhoenixError(
            f"the root authority is constrained to {permitted.public()}, "
            f"but {constraints.public()} is declared",
            hint="A certificate cannot be edited: a root for other names is a new root, "
            "in another state directory.",
        )


def _issuing_due(
    root: Any | None, issuing: Any | None, settings: AuthoritySettings, now: datetime
) -> str:
    if issuing is None:
        return "there is none yet"
    if root is None or not verify.signed_by(issuing, root):
        return "it is not signed by the root"
    if issue.read_constraints(issuing) != settings.constraints:
        return "it is constrained to other names than declared"
    if now < not_before(issuing):
        verify.check_clock(issuing, now, "the issuing authority")
    if now >= not_after(issuing) - timedelta(seconds=settings.issuing.renew_before):
        return f"it ends on {moment(not_after(issuing))}, the time to renew has come"
    return ""


def _make_root(authority: Authority, settings: AuthoritySettings, now: datetime) -> None:
    key = keys.make_key(_AUTHORITY_KEY)
    root = issue.make_authority(
        key=key,
        common_name=f"{settings.organization} root",
        organization=settings.organization,
        constraints=settings.constraints,
        path_length=1,
        now=now,
        lifetime=timedelta(seconds=settings.root_lifetime),
    )
    authority.save("root", root, key)


def _make_issuing(authority: Authority, settings: AuthoritySettings, now: datetime) -> None:
    root = authority.signer("root")
    key = keys.make_key(_AUTHORITY_KEY)
    made = issue.make_authority(
        key=key,
        # Two of the same name and different keys would confuse those who look up by name.
        common_name=f"{settings.organization} issuing {secrets.token_hex(4)}",
        organization=settings.organization,
        constraints=settings.constraints,
        path_length=0,
        now=now,
        lifetime=timedelta(seconds=settings.issuing.seconds),
        issuer=root,
    )
    index = authority.index()
    index.record("issuing", made, root[0], now)
    authority.save_index(index)
    authority.save("issuing", made, key)


def plan_leaf(plan: Plan, item: Assessment) -> None:
    """Plan a new certificate for one that is due."""
    plan.add(
        "certificate",
        item.declared.name,
        "create" if item.bundle is None else "rotate",
        before=item.public(),
        after={**item.declared.public(), "serial": "(new)"},
        note=item.due,
    )


def _check_time(name: str, text: str | None, now: datetime) -> None:
    try:
        there = datetime.strptime(text or "", "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise PhoenixError(f"certificate {name}: the request does not say its time") from None
    if abs(now - there) > issue.BACKDATE:
        raise PhoenixError(
            f"certificate {name}: it was requested at {moment(there)} by the clock there, "
            f"and it is {moment(now)} here",
            hint="Set the clock that is wrong; a certificate would be valid on one side only.",
        )


def _checked(
    tree: Tree, wanted: Declaration, entry: dict[str, str], trusted: Any | None, now: datetime
) -> tuple[bytes, bytes, bytes]:
    """Key, chain and root of one bundle, after everything that a verifier would find."""
    what = f"certificate {wanted.name}"
    chain = entry.get("certificate", "").encode("ascii", "replace")
    root = entry.get("root", "").encode("ascii", "replace")
    leaf, *issuers = keys.load_certificates(chain, what)
    key = tree.staged_key(wanted.name)
    if not keys.same_key(keys.load_key(key, what).public_key(), leaf.public_key()):
        raise PhoenixError(f"{what}: the staged private key does not match it")
    authority = keys.load_certificate(root, f"{what}: root")
    if trusted is not None and authority != trusted:
        raise PhoenixError(f"{what}: it comes from another root than the one that is trusted")
    verify.check_chain(leaf, issuers, authority, now, what)
    stated, declared = issue.describe(leaf), wanted.public()
    if stated != declared:
        wrong = sorted(k for k in {*stated, *declared} if stated.get(k) != declared.get(k))
        raise PhoenixError(f"{what}: it was issued with other {', '.join(wrong)} than declared")
    return key, chain, root


def _before_after(tree: Tree, wanted: Declaration, chain: bytes) -> tuple[Any, Any]:
    before = tree.current_serial(wanted)
    leaf = keys.load_certificates(chain, "tls.crt")[0]
    return (
        {"serial": before} if before else None,
        {"serial": issue.serial_text(leaf.serial_number), "not_after": moment(not_after(leaf))},
    )


def _public(certificate: Any) -> dict[str, str]:
    return {
        "serial": issue.serial_text(certificate.serial_number),
        "not_after": moment(not_after(certificate)),
    }
