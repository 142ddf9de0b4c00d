# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The option ``secrets`` of modules: what it takes, looked at, described and written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._plan import Plan
from ansible_collections.tamshai.phoenix.plugins.module_utils._redact import MASK, MIN_LENGTH
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.client import VaultClient
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.errors import ForbiddenError
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.fields import texts
from ansible_collections.tamshai.phoenix.plugins.module_utils._vault.kv import (
    Generate,
    Secret,
    Verdict,
)

__all__ = ["SUBOPTIONS", "declared", "describe", "survey", "write"]

SUBOPTIONS: dict[str, Any] = {
    "path": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "data": {"type": "dict", "default": {}, "no_log": True},
    "generate": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "key": {"type": "str", "required": True, "no_log": False},
            "length": {"type": "int", "default": 32},
            "alphabet": {
                "type": "str",
                "choices": ["alphanumeric", "hex", "printable"],
                "default": "alphanumeric",
            },
        },
    },
    "only": {"type": "bool", "default": False},
    "custom_metadata": {"type": "dict", "default": {}},
}


def declared(module: AnsibleModule, mount: str = "") -> list[Secret]:
    """What ``secrets`` and ``fingerprint_key`` say; takes the values out of the parameters.

    :arg mount: Where the secrets are that do not say it themselves.
    :raises PhoenixError: names all mistakes.
    """
    options = module.params
    key = (options["fingerprint_key"] or "").encode()
    given = [{"mount": mount, **entry} for entry in options["secrets"]]
    # Ansible masks every value of `data` wherever it occurs in the result, so a value such as 1
    # would hide version numbers. Short values are kept out of the result altogether instead.
    options["secrets"] = [{**entry, "data": dict.fromkeys(entry["data"], MASK)} for entry in given]
    module.no_log_values = {v for v in module.no_log_values if len(str(v)) >= MIN_LENGTH}
    secrets, mistakes = [], []
    for entry in given:
        try:
            secrets.append(_secret_of(entry, key))
        except PhoenixError as error:
            mistakes.append(error.message)
    places = Counter((entry["mount"].strip("/"), entry["path"].strip("/")) for entry in given)
    mistakes += [
        f"declared twice: {path}" for (_mount, path), times in sorted(places.items()) if times > 1
    ]
    if mistakes:
        raise PhoenixError("; ".join(mistakes))
    return secrets


def _secret_of(entry: dict[str, Any], key: bytes) -> Secret:
    made = Counter(item["key"] for item in entry["generate"])
    twice = sorted(name for name, times in made.items() if times > 1)
    if twice:
        raise PhoenixError(f"{entry['path']}: generated twice: {', '.join(twice)}")
    return Secret(
        mount=entry["mount"].strip("/"),
        path=entry["path"].strip("/"),
        data=entry["data"],
        generate={
            item["key"]: Generate(item["length"], item["alphabet"]) for item in entry["generate"]
        },
        only=entry["only"],
        metadata=texts(entry["custom_metadata"]),
        key=key,
        gone=entry["state"] == "absent",
    )


def survey(
    client: VaultClient, secrets: Sequence[Secret], coming: Collection[str] = ()
) -> list[Verdict]:
    """Find out what each needs; changes nothing.

    :arg coming: Engines that are still to be mounted, so that nothing is in them.
    :raises PhoenixError: if something would go into an engine that is not of version 2.
    """

    def look(secret: Secret) -> Verdict:
        return secret.absent() if secret.mount in coming else secret.inspect(client)

    verdicts = client.map(look, secrets)
    new = {
        secret.mount
        for secret, verdict in zip(secrets, verdicts, strict=True)
        if (verdict.changed or secret.gone) and not verdict.version and secret.mount not in coming
    }
    for mount in sorted(new):
        _refuse_other_engine(client, mount)
    return verdicts


def _refuse_other_engine(client: VaultClient, mount: str) -> None:
    """Refuse a mount that would take a write to ``data/`` for a secret of that name."""
    try:
        about = client.call("GET", f"sys/internal/ui/mounts/{mount}").data
    except ForbiddenError:
        return  # Nothing in it is allowed either, which the next request says.
    version = str((about.get("options") or {}).get("version") or "1")
    if about.get("type") != "kv" or version != "2":
        what = f"version {version}" if about.get("type") == "kv" else f"type {about.get('type')}"
        raise PhoenixError(
            f"{mount} is an engine of {what}, not a key-value engine of version 2",
            hint="Nothing was written.",
        )


def describe(plan: Plan, secret: Secret, verdict: Verdict) -> str:
    """Add a secret's change to the plan, without any value; returns the verdict in a word."""
    if not verdict.changed:
        return "unchanged"
    after: dict[str, Any] = {
        name: list(keys)
        for name, keys in (
            ("written", verdict.changed_keys),
            ("made", verdict.made_keys),
            ("removed", verdict.removed_keys),
        )
        if keys
    }
    if verdict.metadata:
        after["custom_metadata"] = dict(verdict.metadata)
    name = f"{secret.mount}/{secret.path}"
    if verdict.doomed:
        plan.add("secret", name, "delete", {"version": verdict.version}, {"deleted": True})
        return "deleted"
    action = "update" if verdict.exists else "create"
    before = {"version": verdict.version} if verdict.exists else None
    plan.add("secret", name, action, before, after)
    return f"{action}d"


def write(client: VaultClient, secrets: Sequence[Secret], verdicts: Sequence[Verdict]) -> list[int]:
    """Do what the verdicts say; returns the newest version of each."""

    def one(pair: tuple[Secret, Verdict]) -> int:
        secret, verdict = pair
        return secret.write(client, verdict) if verdict.changed else verdict.version

    return client.map(one, list(zip(secrets, verdicts, strict=True)))
