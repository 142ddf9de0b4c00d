# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What follows from an estate for its agents."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.filter.estate_agents import FilterModule
from ansible_collections.tamshai.phoenix.plugins.module_utils._agents.layout import (
    Options,
    agent_config,
    layout,
    template_text,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build

SERVICES: list[dict[str, Any]] = [
    {
        "name": "vault",
        "kind": "vault",
        "image": "openbao",
        "port": 8200,
        "uid": 10001,
        "publish": True,
        "callers": ["host", "operator", "alpha", "beta"],
    },
    {"name": "alpha", "image": "a", "port": 3100, "uid": 1001, "kv": ["alpha"]},
    {"name": "beta", "image": "b", "port": 3101, "uid": 1001, "kv": ["beta"], "reload": "restart"},
]


@pytest.fixture
def model() -> dict[str, Any]:
    return build(
        {
            "name": "test",
            "domain": "test.internal",
            "root": "/opt/test",
            "run": "/run/test",
            "project": "test",
            "owner": "root",
            "host": "h1",
            "services": SERVICES,
            "secrets": [{"path": "alpha", "key": "API_KEY", "value": "canary-value"}],
        }
    )


def test_every_agent_has_its_own_directories_user_and_files(model: dict[str, Any]) -> None:
    made = layout(model, Options())
    owned = {d["path"]: (d["mode"], d["owner"]) for d in made["directories"] if "owner" in d}
    assert owned == {
        f"/run/{where}/{name}": ("0700", "1001")
        for where in ("test", "test-agents")
        for name in ("alpha", "beta")
    }
    files = {f["path"]: f["content"] for f in made["files"]}
    assert files["/opt/test/agents/alpha/role_id"] == "alpha-role-id-test-v1"
    drop_in = files["/etc/systemd/system/tamshai-agent@beta.service.d/user.conf"]
    assert drop_in == "[Service]\nUser=1001\nGroup=1001\n"
    settings = json.loads(files["/opt/test/agents/beta/service.json"])
    assert (settings["reload"], settings["approle"], settings["auth_role"]) == (
        "restart",
        "beta",
        "host",
    )


def test_parents_come_before_their_children(model: dict[str, Any]) -> None:
    paths = [d["path"] for d in layout(model, Options())["directories"]]
    for position, path in enumerate(paths):
        parent = path.rpartition("/")[0]
        assert parent not in paths[position:], path
    assert len(paths) == len(set(paths))


def test_units_are_watchers_that_run_and_agents_that_start_at_boot(model: dict[str, Any]) -> None:
    assert layout(model, Options())["units"] == [
        {"name": "tamshai-reload@alpha.path", "started": True, "enabled": True},
        {"name": "tamshai-reload@beta.path", "started": True, "enabled": True},
        {"name": "tamshai-agent@alpha.service", "enabled": True},
        {"name": "tamshai-agent@beta.service", "enabled": True},
        {"name": "tamshai-overdue.timer", "started": True, "enabled": True},
    ]


def test_no_brought_value_is_in_it(model: dict[str, Any]) -> None:
    assert "canary-value" not in json.dumps(layout(model, Options()))


def test_wrap_is_outside_of_what_the_container_sees(model: dict[str, Any]) -> None:
    for agent, fact in zip(model["agents"], layout(model, Options())["agents"], strict=True):
        assert not fact["wrap_file"].startswith(agent["run"] + "/")
        assert fact["secrets_file"].startswith(agent["run"] + "/")


def test_agent_refuses_another_roles_wrap_and_ends_at_a_failed_login(
    model: dict[str, Any],
) -> None:
    config = agent_config(
        model["agents"][0],
        mount="kv",
        port=8200,
        home="/h",
        wrap="/w/wrap",
        options=Options(render_interval=90),
    )
    (method,) = config["auto_auth"]["method"]
    assert method["exit_on_err"] is True
    assert method["config"]["secret_id_response_wrapping_path"] == (
        "auth/approle/role/alpha/secret-id"
    )
    assert method["config"]["remove_secret_id_file_after_reading"] is True
    assert config["template_config"] == {
        "static_secret_render_interval": "1m30s",
        "exit_on_retry_failure": False,
    }
    (template,) = config["template"]
    assert (template["perms"], template["error_on_missing_key"]) == ("0400", True)


def test_template_reads_each_path_once() -> None:
    text = template_text(
        {
            "POSTGRES_USER": {"static_role": "app", "field": "username"},
            "API_KEY": {"kv": "hr", "key": "api_key"},
            "POSTGRES_PASSWORD": {"static_role": "app", "field": "password"},
            "CANARY": {"kv": "hr", "key": "CANARY"},
        },
        "kv",
    )
    assert re.findall(r'secret "([^"]+)"', text) == ["database/static-creds/app", "kv/data/hr"]
    assert text.count("toUnescapedJSON") == 4


def test_of_two_static_roles_the_later_rotated_is_rendered_with_its_certificate() -> None:
    source = {"static_role": "app", "turns_with": "app-b"}
    text = template_text(
        {
            "POSTGRES_USER": {**source, "field": "username"},
            "CERT": {**source, "field": "username", "format": "/tls/%s/tls.crt"},
            "CANARY": {"kv": "hr", "key": "CANARY"},
        },
        "kv",
    )
    assert re.findall(r'secret "([^"]+)"', text) == [
        "database/static-creds/app",
        "database/static-creds/app-b",
        "kv/data/hr",
    ]
    assert '"CERT": {{ printf "/tls/%s/tls.crt" $from.username | toUnescapedJSON }}' in text


SECRETS = st.dictionaries(
    st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True),
    st.one_of(
        st.builds(
            lambda path, key: {"kv": path, "key": key},
            st.sampled_from(["hr", "gateway", "a/b"]),
            st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
        ),
        st.builds(
            lambda role, field, more: {"static_role": role, "field": field, **more},
            st.sampled_from(["app", "other-app"]),
            st.sampled_from(["username", "password"]),
            st.sampled_from([{}, {"turns_with": "app-b"}, {"format": "/x/%s"}]),
        ),
    ),
    max_size=8,
)


@given(SECRETS)
def test_rendered_template_is_a_json_object_of_exactly_the_names(
    secrets: dict[str, dict[str, str]],
) -> None:
    text = template_text(secrets, "kv")
    value = r'\{\{ (?:printf "/x/%s" )?\$from\.[\w.]+ \| toUnescapedJSON \}\}'
    rendered = re.sub(value, '"x"', text)
    rendered = re.sub(r"\{\{.*?\}\}", "", rendered)
    assert json.loads(rendered) == dict.fromkeys(secrets, "x")


@pytest.mark.parametrize(
    "source",
    [
        {"kv": "hr", "key": "with-dash"},
        {"kv": "hr", "key": 'x"}}{{'},
        {"kv": 'hr" }}', "key": "x"},
        {"static_role": "a b", "field": "username"},
        {"static_role": "a", "turns_with": "a b", "field": "username"},
        {"static_role": "a", "field": "username", "format": '%s" }}'},
        {"static_role": "a", "field": "username", "format": "no place"},
    ],
)
def test_name_that_a_template_cannot_hold_is_refused(source: dict[str, str]) -> None:
    with pytest.raises(PhoenixError, match="cannot refer to secret NAME"):
        template_text({"NAME": source}, "kv")


def test_estate_without_vault_has_no_agents(model: dict[str, Any]) -> None:
    del model["services"]["vault"]
    with pytest.raises(PhoenixError, match="no service of kind vault"):
        layout(model, Options())


def test_options_are_durations_and_unknown_ones_are_refused() -> None:
    assert Options.of({"wrap_ttl": "10m", "wait": 5}) == Options(wrap_ttl=600, wait=5)
    with pytest.raises(PhoenixError, match="no option wrap"):
        Options.of({"wrap": 5})
    with pytest.raises(PhoenixError, match="not a duration"):
        Options.of({"wait": "soon"})


def test_filter_gives_the_layout_and_ansibles_error(model: dict[str, Any]) -> None:
    from ansible.errors import AnsibleFilterError

    estate_agents = FilterModule().filters()["estate_agents"]
    assert estate_agents(model) == layout(model, Options())
    with pytest.raises(AnsibleFilterError, match="not a duration"):
        estate_agents(model, {"wait": "soon"})
