# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every mistake that an operator can make in a declaration, and none that is no mistake."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from estate_strategies import default, valid
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import (
    EstateError,
    build,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.validate import problems

SERVICES = {"vault": 0, "postgres": 1, "mcp-gateway": 2, "mcp-hr": 3}


def service(estate: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = estate["services"][SERVICES[name]]
    return found


def changed(which: str, /, **values: Any) -> dict[str, Any]:
    """The default estate with other values in one service."""
    estate = default()
    service(estate, which).update(values)
    return estate


def test_the_default_estate_is_sound() -> None:
    assert problems(default()) == []


@pytest.mark.parametrize(
    ("estate", "expected"),
    [
        pytest.param(
            changed("mcp-hr", callers=["mcp-gatewya"]),
            'estate_services[3].callers[0]: unknown caller "mcp-gatewya" '
            '(did you mean "mcp-gateway"?)',
            id="unknown caller",
        ),
        pytest.param(
            changed("mcp-hr", callers=["mcp-gateway", "mcp-gateway"]),
            'estate_services[3].callers[1]: "mcp-gateway" is listed twice',
            id="caller twice",
        ),
        pytest.param(
            changed("mcp-hr", callers=["mcp-hr"]),
            "estate_services[3].callers[0]: a service does not call itself",
            id="calls itself",
        ),
        pytest.param(
            changed("mcp-hr", port=3100),
            "estate_services[3].port: 3100 clashes with estate_services[2].port",
            id="port clash of applications",
        ),
        pytest.param(
            changed("postgres", port=8200, publish=True),
            "estate_services[1].port: 8200 clashes with estate_services[0].port",
            id="port clash on loopback",
        ),
        pytest.param(
            changed("mcp-hr", port=443, publish=True),
            "estate_services[3].port: 443 is a port of the host itself",
            id="port of the host",
        ),
        pytest.param(
            changed("mcp-hr", port=0),
            "estate_services[3].port: must be a whole number from 1 to 65535, found 0",
            id="port out of range",
        ),
        pytest.param(
            changed("mcp-hr", port=True),
            "estate_services[3].port: must be a whole number from 1 to 65535, found true",
            id="a truth value is no number",
        ),
        pytest.param(
            changed("mcp-hr", uid=0),
            "estate_services[3].uid: must be a whole number from 1 to 65533, found 0",
            id="root",
        ),
        pytest.param(
            changed("mcp-hr", memroy="1G"),
            'estate_services[3]: unknown key "memroy" (did you mean "memory"?)',
            id="unknown key",
        ),
        pytest.param(
            changed("mcp-hr", memory="lots"),
            "estate_services[3].memory: must be a size such as 256M: a whole number and K, M or G,"
            ' found "lots"',
            id="memory",
        ),
        pytest.param(
            changed("mcp-hr", tls="sidecar"),
            'estate_services[3].tls: must be one of native, found "sidecar"',
            id="sidecar is not there yet",
        ),
        pytest.param(
            changed("mcp-hr", kind="postgresql", databases=[], kv=[]),
            'estate_services[3].kind: one "postgresql" is supported '
            "(estate_services[1] is the first)",
            id="second server of a kind",
        ),
        pytest.param(
            changed("vault", kv=["mcp-hr"]),
            'estate_services[0].kv: a service of kind "vault" reads none',
            id="a server reads no secrets",
        ),
        pytest.param(
            changed("vault", callers=["host", "operator", "mcp-gateway"]),
            'estate_services[3]: "mcp-hr" uses "vault" and is none of its callers',
            id="reads secrets without calling Vault",
        ),
        pytest.param(
            changed("postgres", callers=["vault"]),
            'estate_services[3]: "mcp-hr" uses "postgres" and is none of its callers',
            id="uses a database without calling its server",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_rh", "login": "tamshai_app"}]),
            'estate_services[3].databases[0].name: unknown database "tamshai_rh" '
            '(did you mean "tamshai_hr"?)',
            id="unknown database",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_hr", "login": "tamshai"}]),
            'estate_services[3].databases[0].login: "tamshai" owns a database; '
            "an owner bypasses row level security",
            id="the owner as login",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_hr", "login": "healthcheck"}]),
            'estate_services[3].databases[0].login: "healthcheck" is reserved',
            id="the healthcheck as login",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_hr", "login": "postgres"}]),
            'estate_services[3].databases[0].login: "postgres" is reserved',
            id="the superuser as login",
        ),
        pytest.param(
            changed("mcp-gateway", databases=[{"name": "tamshai_hr", "login": "tamshai_app"}]),
            'estate_services[3].databases[0].login: "tamshai_app" is the login of "mcp-gateway" '
            "too; say shared: true at both, or give each its own",
            id="shared login",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_hr", "login": "a" * 62}]),
            f'estate_services[3].databases[0].login: "{"a" * 62}_b" takes turns with it and is too '
            "long; choose another name, or rotation: single",
            id="no room for the second login",
        ),
        pytest.param(
            changed("mcp-hr", databases=[{"name": "tamshai_hr", "login": "a", "rotation": "ab"}]),
            "estate_services[3].databases[0].rotation: must be one of alternating, single, "
            'found "ab"',
            id="unknown rotation",
        ),
        pytest.param(
            changed("mcp-hr", environment={"HR_API_KEY": "x"}),
            "estate_services[3].environment.HR_API_KEY: looks like a secret; "
            "declare it in estate_secrets",
            id="secret in the environment",
        ),
        pytest.param(
            changed("mcp-hr", environment={"MCP_ALLOWED_CALLERS": "*"}),
            "estate_services[3].environment.MCP_ALLOWED_CALLERS: "
            "names with this beginning are derived from the estate",
            id="derived variable",
        ),
        pytest.param(
            changed("mcp-gateway", callers=["mcp-hr"]),
            "estate_services[2]: mcp-gateway -> mcp-hr -> mcp-gateway is a cycle in which none can "
            "start first; name a callee that is called later only in starts_without",
            id="cycle",
        ),
        pytest.param(
            changed("mcp-gateway", starts_without=["postgres"]),
            'estate_services[2].starts_without[0]: "mcp-gateway" is no caller of "postgres"',
            id="starts without what it does not call",
        ),
        pytest.param(
            {**default(), "network_pool": "198.18.0.1/16"},
            "estate_network_pool: must be an IPv4 network with its prefix, /24 or wider, "
            'host bits zero (198.18.0.0/16), found "198.18.0.1/16"',
            id="pool with host bits",
        ),
        pytest.param(
            {**default(), "domain": "Tamshai.internal"},
            "estate_domain: must be a DNS name in lower case with at least two labels "
            '(tamshai.internal), found "Tamshai.internal"',
            id="domain in upper case",
        ),
        pytest.param(
            {**default(), "domian": "x"},
            'the estate: unknown key "domian" (did you mean "domain"?)',
            id="unknown key of the estate",
        ),
        pytest.param(
            {**default(), "root": "/opt/../etc"},
            "estate_root: must be an absolute path of letters, digits, . _ and -, "
            'found "/opt/../etc"',
            id="path that climbs",
        ),
        pytest.param(
            {**default(), "secrets": [{"path": "mcp-fr", "key": "KEY"}]},
            'estate_secrets[0].path: no service reads "mcp-fr" (did you mean "mcp-hr"?)',
            id="secret for nobody",
        ),
        pytest.param(
            {**default(), "secrets": [{"path": "mcp-hr", "key": "CANARY"}]},
            "estate_secrets[0].key: CANARY is made by the estate",
            id="the canary is not brought",
        ),
        pytest.param(
            {**default(), "secrets": [{"path": "mcp-hr", "key": "POSTGRES_PASSWORD"}]},
            'estate_services[3].kv: "mcp-hr" brings POSTGRES_PASSWORD, '
            "which the database tamshai_hr brings as well",
            id="secret that hides a database password",
        ),
        pytest.param(
            {**default(), "databases": [*default()["databases"], *default()["databases"]]},
            'estate_databases[1].name: database "tamshai_hr" is declared twice '
            "(estate_databases[0])",
            id="database twice",
        ),
        pytest.param(
            changed("mcp-hr", name="gateway"),
            'estate_services[3].name: "gateway" and "mcp-gateway" both give callers '
            "MCP_GATEWAY_URL",
            id="one variable for two services",
        ),
        pytest.param(
            changed("vault", publish=False),
            "estate_services[0].publish: must be true: roles reach Vault on the host's 127.0.0.1",
            id="Vault out of reach",
        ),
        pytest.param(
            changed("vault", callers=["operator", "mcp-gateway", "mcp-hr"]),
            'estate_services[0].callers: "host" is missing; roles and agents are it',
            id="Vault refuses the host",
        ),
        pytest.param(
            changed("postgres", callers=["mcp-hr"]),
            'estate_services[1].callers: "vault" is missing; '
            "it rotates the passwords of database logins",
            id="Vault cannot rotate",
        ),
        pytest.param(
            {
                **default(),
                "secrets": [
                    {
                        "path": "mcp-hr",
                        "key": "KEY",
                        "authenticate": {"url": "http://x", "heder": ""},
                    }
                ],
            },
            'estate_secrets[0].authenticate: unknown key "heder" (did you mean "header"?)',
            id="unknown key of a way to authenticate",
        ),
        pytest.param(
            {**default(), "services": []},
            "estate_services: declare at least one service",
            id="nothing declared",
        ),
    ],
)
def test_a_mistake_is_named_with_its_path(estate: dict[str, Any], expected: str) -> None:
    assert expected in problems(estate)


@pytest.mark.parametrize("name", ["mcp_hr", "-hr", "hr-", "HR", "h" * 64, "", "h.r", "hr\n", 7])
def test_a_name_is_a_dns_label(name: Any) -> None:
    estate = changed("mcp-hr", name=name)
    wrong = "estate_services[3].name: must be a DNS label"
    assert any(problem.startswith(wrong) for problem in problems(estate))


@pytest.mark.parametrize("name", ["host", "operator", "vault-publish", "hr-egress", "db-socket"])
def test_a_name_of_the_estate_itself_is_no_service(name: str) -> None:
    wrong = f'estate_services[3].name: "{name}" is reserved by the estate itself'
    assert wrong in problems(changed("mcp-hr", name=name))


def test_a_service_is_declared_once() -> None:
    estate = default()
    estate["services"].append({**service(estate, "mcp-hr"), "port": 3102, "databases": []})
    wrong = 'estate_services[4].name: service "mcp-hr" is declared twice (estate_services[3])'
    assert wrong in problems(estate)


def test_all_mistakes_are_named_at_once() -> None:
    estate = default()
    service(estate, "mcp-hr").update(port="3101", callers=["nobody"], colour="red")
    service(estate, "postgres").update(uid=None)
    estate["databases"] = "tamshai_hr"
    estate["host"] = "vps 1"
    starts = [problem.split(":")[0] for problem in problems(estate)]
    assert starts == [
        "inventory_hostname",
        "estate_services[1].uid",
        "estate_services[3]",
        "estate_services[3].port",
        "estate_databases",
        "estate_services[3].callers[0]",
        "estate_services[3].databases[0].name",
    ]


def test_a_cycle_is_none_where_one_starts_without_the_other() -> None:
    estate = changed("mcp-gateway", callers=["mcp-hr"], starts_without=["mcp-hr"])
    assert problems(estate) == []
    order = build(estate)["start_order"]
    assert order.index("mcp-gateway") < order.index("mcp-hr")


def test_a_login_may_be_shared_where_all_say_so() -> None:
    use = {"name": "tamshai_hr", "login": "tamshai_app", "shared": True}
    estate = changed("mcp-gateway", databases=[use])
    service(estate, "mcp-hr")["databases"] = [use]
    service(estate, "postgres")["callers"].append("mcp-gateway")
    assert problems(estate) == []
    service(estate, "mcp-gateway")["databases"] = [{**use, "shared": False}]
    assert len(problems(estate)) == 1


def test_a_login_is_rotated_in_one_way() -> None:
    use = {"name": "tamshai_hr", "login": "tamshai_app", "shared": True}
    estate = changed("mcp-gateway", databases=[use])
    service(estate, "mcp-hr")["databases"] = [{**use, "rotation": "single"}]
    service(estate, "postgres")["callers"].append("mcp-gateway")
    (problem,) = problems(estate)
    assert problem == (
        'estate_services[3].databases[0].rotation: "tamshai_app" is rotated as "alternating" '
        "elsewhere (estate_services[2].databases[0].login)"
    )
    service(estate, "mcp-gateway")["databases"] = [{**use, "rotation": "single"}]
    assert problems(estate) == []


@pytest.mark.parametrize("taken", ["login", "owner"])
def test_the_second_login_is_nobody_elses(taken: str) -> None:
    estate = changed("mcp-hr")
    if taken == "login":
        service(estate, "mcp-gateway")["databases"] = [
            {"name": "tamshai_hr", "login": "tamshai_app_b", "rotation": "single"}
        ]
        service(estate, "postgres")["callers"].append("mcp-gateway")
    else:
        estate["databases"][0]["owner"] = "tamshai_app_b"
    (problem,) = problems(estate)
    assert problem == (
        'estate_services[3].databases[0].login: "tamshai_app_b" takes turns with it and is taken; '
        "choose another name, or rotation: single"
    )
    service(estate, "mcp-hr")["databases"][0]["rotation"] = "single"
    assert problems(estate) == []


def test_unpublished_servers_may_have_one_port() -> None:
    assert problems(changed("postgres", port=3100)) == []


def test_a_message_is_bounded_and_printable() -> None:
    estate = changed("mcp-hr", name="\x1b[31m\n" + "x" * 10_000)
    (problem, *_rest) = [p for p in problems(estate) if p.startswith("estate_services[3].name")]
    assert len(problem) < 300
    assert problem.isprintable()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["mcp-hr", "vault", "postgresql", "host", "tamshai_hr", "256M", "/a"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=100)
def test_anything_is_answered(inputs: Any) -> None:
    found = problems(inputs)
    assert found
    assert all(isinstance(problem, str) for problem in found)


def places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of each value in a tree."""
    found = [path] if path else []
    if isinstance(node, (dict, list)):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            found += places(value, (*path, key))
    return found


@given(st.data())
@settings(max_examples=150)
def test_a_value_replaced_by_anything_never_crashes(data: st.DataObject) -> None:
    """And the model exists exactly where no problem is named."""
    estate = default()
    for _round in range(data.draw(st.integers(1, 3))):
        all_places = places(estate)
        if not all_places:
            break
        *way, last = data.draw(st.sampled_from(all_places))
        holder: Any = estate
        for key in way:
            holder = holder[key]
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = data.draw(JSON)
    before = copy.deepcopy(estate)
    found = problems(estate)
    assert repr(estate) == repr(before), "the declaration is not touched"
    if found:
        with pytest.raises(EstateError) as caught:
            build(estate)
        assert caught.value.facts["problems"] == found
    else:
        assert build(estate)["services"]


@given(valid())
@settings(max_examples=60)
def test_a_sound_estate_has_no_problems(estate: dict[str, Any]) -> None:
    assert problems(estate) == []
