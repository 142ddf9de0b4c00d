# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""For any valid estate, what is derived allows exactly the declared calls."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from estate_strategies import default, valid
from hypothesis import given, settings

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.compose import document
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build

IMAGES = dict.fromkeys(("app", "openbao", "postgres", "mcp-hr", "mcp-gateway"), "image:1")
PRINCIPALS = ("host", "operator")

quick = settings(max_examples=60)


def declared(estate: dict[str, Any]) -> set[tuple[str, str]]:
    """The calls of a declaration, read independently of the model."""
    return {(c, s["name"]) for s in estate["services"] for c in s.get("callers", [])}


def uses(estate: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Service, database and login of each declared use; two logins where they take turns."""
    return {
        (s["name"], use["name"], login)
        for s in estate["services"]
        for use in s.get("databases", [])
        for login in [use["login"]]
        + ([f"{use['login']}_b"] if use.get("rotation") != "single" else [])
    }


@given(valid())
@quick
def test_calls_and_probes_are_the_declared_ones(estate: dict[str, Any]) -> None:
    model, calls = build(estate), declared(estate)
    assert {(c["caller"], c["callee"]) for c in model["calls"]} == calls
    allowed = {(p["from"], p["to"]) for p in model["probes"] if p["expect"] == "allow"}
    refused = {(p["from"], p["to"]) for p in model["probes"] if p["expect"] == "refuse"}
    assert allowed == calls
    names = {s["name"] for s in estate["services"]}
    assert allowed | refused == {(a, b) for a in (*names, *PRINCIPALS) for b in names if a != b}, (
        "every pair is probed"
    )
    assert not allowed & refused


@given(valid())
@quick
def test_a_service_is_told_exactly_its_callers(estate: dict[str, Any]) -> None:
    model = build(estate)
    identity = {name: s["spiffe"] for name, s in model["services"].items()}
    identity |= {name: p["spiffe"] for name, p in model["principals"].items()}
    for name, service in model["services"].items():
        if service["kind"] != "application":
            continue
        admitted = [a for a in service["environment"]["MCP_ALLOWED_CALLERS"].split(",") if a]
        callers = {caller for caller, callee in declared(estate) if callee == name}
        assert sorted(admitted) == sorted(identity[caller] for caller in callers)


@given(valid())
@quick
def test_a_network_has_the_service_and_its_callers(estate: dict[str, Any]) -> None:
    model = build(estate)
    compose = document(model, IMAGES)
    for network in model["networks"]:
        name = network["name"]
        callers = {caller for caller, callee in declared(estate) if callee == name}
        expected = {name, *callers} - set(PRINCIPALS)
        assert set(network["members"]) == expected
        joined = {n for n, c in compose["services"].items() if name in c["networks"]}
        assert joined == expected
        # Only those who may call it can resolve the name that its certificate has.
        aliases = [
            n
            for n, c in compose["services"].items()
            for entry in [c["networks"].get(name)]
            if entry and "aliases" in entry
        ]
        assert aliases == [name]
        assert compose["networks"][name] == {"internal": True}


@given(valid())
@quick
def test_only_declared_services_reach_the_outside_or_are_published(estate: dict[str, Any]) -> None:
    model = build(estate)
    compose = document(model, IMAGES)
    wide = {n for n, network in compose["networks"].items() if not network.get("internal")}
    for service in estate["services"]:
        container = compose["services"][service["name"]]
        outside = wide & container["networks"].keys()
        may = service.get("egress", False) or service.get("publish", False)
        assert bool(outside) == may
        assert all(network.startswith(f"{service['name']}-") for network in outside)
        published = [port["host_ip"] for port in container.get("ports", [])]
        assert published == (["127.0.0.1"] if service.get("publish") else [])


@given(valid())
@quick
def test_postgresql_admits_exactly_the_declared_logins(estate: dict[str, Any]) -> None:
    model = build(estate)
    first, *rest = model["hba"]
    assert (first["type"], first["user"], first["method"]) == ("local", "postgres", "peer")
    rotated = {database for _service, database, _login in uses(estate)}
    expected = {(database, login) for _service, database, login in uses(estate)}
    expected |= {(database, "vault_rotator") for database in rotated}
    assert {(line["database"], line["user"]) for line in rest} == expected
    for line in rest:
        assert line["type"] == "hostssl"
        assert line["method"] == "scram-sha-256"
        assert line["options"] == ["clientcert=verify-full"]


@given(valid())
@quick
def test_a_login_has_a_certificate_where_it_is_used_only(estate: dict[str, Any]) -> None:
    model = build(estate)
    leafs = {
        (c["service"], c["common_name"])
        for c in model["certificates"]
        if c["usages"] == ["client"] and c["service"] is not None
    }
    expected = {(service, login) for service, _database, login in uses(estate)}
    if expected:
        vault = next(s["name"] for s in estate["services"] if s.get("kind") == "vault")
        expected.add((vault, "vault_rotator"))
    assert leafs == expected


@given(valid())
@quick
def test_identities_are_unique_and_below_the_domain(estate: dict[str, Any]) -> None:
    model = build(estate)
    uris = [uri for c in model["certificates"] for uri in c["uris"]]
    uris.append(model["principals"]["operator"]["spiffe"])
    assert len(uris) == len(set(uris))
    assert all(uri.startswith(f"spiffe://{estate['domain']}/") for uri in uris)
    for certificate in model["certificates"]:
        assert all(name.endswith(f".{estate['domain']}") for name in certificate["dns"])
        assert len(certificate["common_name"]) <= 64
    names = [c["name"] for c in model["certificates"]]
    assert len(names) == len(set(names))


@given(valid())
@quick
def test_a_policy_grants_reading_what_is_declared_and_nothing_else(estate: dict[str, Any]) -> None:
    model = build(estate)
    policies = {policy["name"]: policy["text"] for policy in model["policies"]}
    applications = [s for s in estate["services"] if s.get("kind", "application") == "application"]
    assert set(policies) == {s["name"] for s in applications}
    for service in applications:
        paths = set(re.findall(r'^path "([^"]+)" \{$', policies[service["name"]], re.MULTILINE))
        expected = {f"tamshai/data/{path}" for path in service.get("kv", [])}
        expected |= {
            f"database/static-creds/{login.replace('_', '-')}"
            for name, _database, login in uses(estate)
            if name == service["name"]
        }
        assert paths == expected
        granted = re.findall(r"capabilities = (.*)$", policies[service["name"]], re.MULTILINE)
        assert set(granted) <= {'["read"]'}
        assert not any(mark in path for path in paths for mark in "*+")
    for role in model["approles"]:
        assert role["token_policies"] == [role["name"]]
        # Said, so that a role that was made periodic, or to need no SecretID, is set right.
        assert role["bind_secret_id"] is True
        for name in ("token_period", "token_explicit_max_ttl", "token_num_uses"):
            assert role[name] == 0


@given(valid())
@quick
def test_an_agent_fetches_exactly_what_its_policy_grants(estate: dict[str, Any]) -> None:
    model = build(estate)
    policies = {policy["name"]: policy["text"] for policy in model["policies"]}
    for agent in model["agents"]:
        read = {
            f"tamshai/data/{secret['kv']}"
            if "kv" in secret
            else f"database/static-creds/{secret[key]}"
            for secret in agent["secrets"].values()
            for key in ("kv", "static_role", "turns_with")
            if key in secret
        }
        granted = set(re.findall(r'^path "([^"]+)"', policies[agent["service"]], re.MULTILINE))
        assert read == granted
        brought = {
            s["key"]
            for s in estate["secrets"]
            if s["path"] in model["services"][agent["service"]]["kv"]
        }
        assert brought <= agent["secrets"].keys()


@given(valid())
@quick
def test_no_value_of_a_secret_gets_into_model_or_compose(estate: dict[str, Any]) -> None:
    model = build(estate)
    assert "not-looked-at" not in json.dumps([model, document(model, IMAGES)])


@given(valid())
@quick
def test_every_container_is_confined(estate: dict[str, Any]) -> None:
    for container in document(build(estate), IMAGES)["services"].values():
        assert container["cap_drop"] == ["ALL"]
        assert "cap_add" not in container
        assert "privileged" not in container
        assert container["security_opt"] == ["no-new-privileges:true"]
        assert container["read_only"] is True
        assert not container["user"].startswith("0:")
        assert container["mem_limit"]
        assert container["memswap_limit"] == container["mem_limit"], "it may swap"
        assert container["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        writable = [m["target"] for m in container["volumes"] if not m.get("read_only")]
        assert "/tls" not in writable


@given(valid())
@quick
def test_each_service_starts_after_those_it_needs(estate: dict[str, Any]) -> None:
    model = build(estate)
    order = model["start_order"]
    assert sorted(order) == sorted(s["name"] for s in estate["services"])
    vault = next(s["name"] for s in estate["services"] if s.get("kind") == "vault")
    for caller, callee in declared(estate):
        if caller not in PRINCIPALS and caller != vault:
            assert order.index(callee) < order.index(caller)


def test_the_default_model_is_the_slice() -> None:
    model = build(default())
    assert [c["name"] for c in model["certificates"]] == [
        "vault",
        "vault.vault_rotator",
        "postgres",
        "mcp-gateway",
        "mcp-hr",
        "mcp-hr.tamshai_app",
        "mcp-hr.tamshai_app_b",
        "host",
    ]
    assert model["services"]["mcp-hr"]["url"] == "https://mcp-hr.tamshai.internal:3101"
    assert model["services"]["mcp-gateway"]["environment"]["MCP_HR_URL"] == (
        "https://mcp-hr.tamshai.internal:3101"
    )
    assert model["kv_paths"] == ["mcp-gateway", "mcp-hr"]
    assert [r["role_id"] for r in model["approles"]] == [
        "mcp-gateway-role-id-tamshai-v1",
        "mcp-hr-role-id-tamshai-v1",
    ]
    assert model["logins"] == [
        {
            "name": "tamshai_app",
            "databases": ["tamshai_hr"],
            "services": ["mcp-hr"],
            "static_role": "tamshai-app",
            "connection": "postgresql-tamshai_hr",
            "shared": False,
            "second_of": None,
        },
        {
            "name": "tamshai_app_b",
            "databases": ["tamshai_hr"],
            "services": ["mcp-hr"],
            "static_role": "tamshai-app-b",
            "connection": "postgresql-tamshai_hr",
            "shared": False,
            "second_of": "tamshai_app",
        },
    ]


def test_a_second_login_changes_nothing_of_what_is_there() -> None:
    """What runs goes on as it is while the second login is added: nothing is taken away."""
    estate = default()
    estate["services"][3]["databases"][0]["rotation"] = "single"
    single = build(estate)
    estate["services"][3]["databases"][0]["rotation"] = "alternating"
    both = build(estate)
    for key in ("certificates", "approles", "hba", "logins", "networks"):
        assert [row for row in single[key] if row not in both[key]] == [], key
    # The container is the same one; it is told by its secrets which certificate to use.
    assert document(single, IMAGES) == document(both, IMAGES)
    (before,) = [a["secrets"] for a in single["agents"] if a["service"] == "mcp-hr"]
    (after,) = [a["secrets"] for a in both["agents"] if a["service"] == "mcp-hr"]
    assert {k: s for k, s in before.items() if "kv" in s} == {
        k: s for k, s in after.items() if "kv" in s
    }
    assert after["POSTGRES_SSL_CERT"] == {
        "static_role": "tamshai-app",
        "turns_with": "tamshai-app-b",
        "field": "username",
        "format": "/tls/clients/%s/current/tls.crt",
    }
    assert "POSTGRES_SSL_CERT" not in before


def test_every_image_without_a_reference_is_named() -> None:
    with pytest.raises(PhoenixError, match=r'"mcp-gateway".*; .*"mcp-hr"') as caught:
        document(build(default()), {"openbao": "a:1", "postgres": "b:1", "mcp-hr": ""})
    assert "openbao" not in str(caught.value)


def test_a_dollar_sign_reaches_the_container() -> None:
    estate = default()
    estate["services"][3]["environment"] = {"GREETING": "${HOME} costs $5"}
    container = document(build(estate), IMAGES)["services"]["mcp-hr"]
    assert container["environment"]["GREETING"] == "$${HOME} costs $$5"


def test_more_services_join_by_declaration_alone() -> None:
    """The reference estate's MCP servers that speak TLS themselves, with their one shared login."""
    estate = default()
    small = build(default())
    hr = estate["services"][3]
    hr["databases"][0]["shared"] = True
    for number, name in enumerate(("finance", "payroll", "tax"), start=2):
        database = f"tamshai_{name}"
        estate["databases"].append({"name": database, "owner": "tamshai", "schema": name})
        estate["services"].append(
            {
                **hr,
                "name": f"mcp-{name}",
                "port": 3100 + number,
                "kv": [f"mcp-{name}"],
                "databases": [{"name": database, "login": "tamshai_app", "shared": True}],
            }
        )
        for server in estate["services"][:2]:
            server["callers"].append(f"mcp-{name}")
    model = build(estate)
    login, second = model["logins"]
    assert login["shared"] is True
    assert login["databases"] == [f"tamshai_{n}" for n in ("hr", "finance", "payroll", "tax")]
    assert login["static_role"] == "tamshai-app"
    assert second["databases"] == login["databases"]
    assert len(model["hba"]) == 1 + 3 * 4
    assert len(model["approles"]) == 5
    # What was there before is as it was: nothing of it has to be made anew.
    for key in ("certificates", "approles", "policies", "agents", "hba"):
        assert [row for row in small[key] if row not in model[key]] == [], key
    assert model["services"]["mcp-hr"]["environment"] == small["services"]["mcp-hr"]["environment"]
