# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Estates for tests: the default one, and any valid one."""

from __future__ import annotations

import copy
import string
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[5]


def default() -> dict[str, Any]:
    """The inputs that role estate makes of its own defaults."""
    text = (ROOT / "roles/estate/defaults/main.yml").read_text(encoding="utf-8")
    values = yaml.safe_load(text)
    inputs = {
        key.removeprefix("estate_"): copy.deepcopy(value)
        for key, value in values.items()
        if key.startswith("estate_")
    }
    return {**inputs, "host": "vps1"}


LABEL = st.from_regex(r"[a-z][a-z0-9-]{0,10}[a-z0-9]", fullmatch=True)
LOGIN = st.from_regex(r"[a-z][a-z0-9_]{2,12}", fullmatch=True)
_RESERVED = {"host", "operator", "localhost", "default"}
NAME = LABEL.filter(
    lambda name: name not in _RESERVED and not name.endswith(("-publish", "-egress", "-socket"))
)
_LOGINS_OF_OTHERS = {"postgres", "public", "none", "vault_rotator", "vault_rotation_owner"}
KEY = st.text(string.ascii_uppercase, min_size=1, max_size=8).map(lambda text: f"X_{text}_Y")


@st.composite
def valid(draw: st.DrawFn) -> dict[str, Any]:
    """An estate without mistakes: a Vault, a PostgreSQL, applications that call later ones."""
    names = draw(
        st.lists(NAME, min_size=3, max_size=8, unique_by=lambda name: name.removeprefix("mcp-"))
    )
    vault, postgres, *applications = names
    users = LOGIN.filter(
        lambda login: (
            login not in _LOGINS_OF_OTHERS and login[:3] != "pg_" and login[-2:] != "_b"
        )  # may be the one that takes turns with another
    )
    logins = draw(
        st.lists(users, min_size=2 * len(applications), max_size=2 * len(applications), unique=True)
    )
    databases = [
        {"name": f"db_{index}", "owner": logins[-index - 1], "schema": f"s{index}"}
        for index in range(draw(st.integers(0, len(applications))))
    ]
    services: list[dict[str, Any]] = []
    shared = draw(st.booleans())
    rotation = draw(st.sampled_from([None, "single", "alternating"]))
    for index, name in enumerate(applications):
        service: dict[str, Any] = {
            "name": name,
            "image": "app",
            "port": 3000 + index,
            "uid": draw(st.integers(1, 65533)),
            "callers": draw(
                st.lists(st.sampled_from(["host", "operator", *applications[:index]]), unique=True)
                if index
                else st.lists(st.sampled_from(["host", "operator"]), unique=True)
            ),
            "kv": [name] if draw(st.booleans()) else [],
            "egress": draw(st.booleans()),
        }
        if databases and draw(st.booleans()):
            login = logins[0] if shared else logins[index]
            database = draw(st.sampled_from(databases))["name"]
            use = {"name": database, "login": login, "shared": shared}
            service["databases"] = [use | {"rotation": rotation} if rotation else use]
        services.append(service)
    readers = [s["name"] for s in services if s["kv"] or s.get("databases")]
    users_of_data = [s["name"] for s in services if s.get("databases")]
    servers = [
        {
            "name": vault,
            "kind": "vault",
            "image": "openbao",
            "port": 8200,
            "uid": 10001,
            "publish": True,
            "callers": ["host", "operator", *readers],
        },
        {
            "name": postgres,
            "kind": "postgresql",
            "image": "postgres",
            "port": 5432,
            "uid": 999,
            "callers": [*users_of_data, vault],
        },
    ]
    secrets = [
        {"path": path, "key": key, "value": "not-looked-at"}
        for service in services
        for path in service["kv"]
        for key in draw(st.lists(KEY, max_size=2, unique=True))
    ]
    return {
        "name": draw(LABEL),
        "domain": f"{draw(LABEL)}.internal",
        "project": "estate",
        "host": "vps1",
        "services": draw(st.permutations([*servers, *services])),
        "databases": databases,
        "secrets": secrets,
    }
