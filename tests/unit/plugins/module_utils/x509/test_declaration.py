# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Declarations and lifetimes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.declaration import (
    Declaration,
    Lifetime,
    parse_all,
)

MINIMAL = {"name": "api", "common_name": "api", "usages": ["client"]}


def test_defaults_of_an_entry() -> None:
    made = Declaration.parse(MINIMAL)
    assert (made.key_type, made.reload, made.reload_signal) == ("ecdsa-p256", "none", "HUP")
    assert (made.uid, made.gid, made.service) == (None, None, None)
    assert str(made.directory) == "api"


def test_a_login_lives_inside_its_service() -> None:
    made = Declaration.parse({**MINIMAL, "name": "mcp-hr.tamshai_app"})
    assert str(made.directory) == "mcp-hr/clients/tamshai_app"


def test_null_values_of_the_estate_count_as_absent() -> None:
    empty = dict.fromkeys(("dns", "ips", "uris", "uid", "gid", "service", "reload", "key_type"))
    assert Declaration.parse({**MINIMAL, **empty, "reload_signal": None}) == Declaration.parse(
        MINIMAL
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "../x"}, "not a name for a certificate"),
        ({"name": ".staging"}, "not a name for a certificate"),
        ({"name": "a.b.c"}, "not a name for a certificate"),
        ({"name": "a/b"}, "not a name for a certificate"),
        ({"name": None}, "not a name for a certificate"),
        ({"common_name": "a\nb"}, "certificate api: common_name"),
        ({"common_name": "x" * 65}, "certificate api: common_name"),
        ({"dns": ["*.x"]}, "certificate api: not a DNS name"),
        ({"ips": ["x"]}, "certificate api: not an IP address"),
        ({"uris": ["x"]}, "certificate api: not a URI"),
        ({"usages": []}, "certificate api: usages"),
        ({"usages": ["code"]}, "certificate api: usages"),
        ({"key_type": "rsa-1024"}, "certificate api: key_type"),
        ({"uid": -1}, "certificate api: uid"),
        ({"uid": "root"}, "certificate api: uid"),
        ({"gid": 2**32 - 1}, "certificate api: gid"),
        ({"reload": "hope"}, "certificate api: reload"),
        ({"reload_signal": "HUP; rm"}, "certificate api: reload_signal"),
    ],
)
def test_a_wrong_value_is_named(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PhoenixError, match=words):
        Declaration.parse({**MINIMAL, **change})


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(PhoenixError, match="declared twice"):
        parse_all([MINIMAL, MINIMAL])


def test_order_of_names_and_usages_does_not_matter() -> None:
    one = Declaration.parse({**MINIMAL, "dns": ["b.x", "a.x"], "usages": ["client", "server"]})
    other = Declaration.parse({**MINIMAL, "dns": ["a.x", "b.x"], "usages": ["server", "client"]})
    assert one == other
    assert one.usages == ("server", "client")


KEYS = st.sampled_from([*MINIMAL, "dns", "ips", "uris", "uid", "gid", "reload", "reload_signal"])
VALUES = st.one_of(
    st.none(), st.text(max_size=8), st.integers(), st.lists(st.text(max_size=6), max_size=3)
)


@given(st.dictionaries(KEYS, VALUES))
def test_nonsense_is_refused_with_our_error(change: dict[str, Any]) -> None:
    try:
        made = Declaration.parse({**MINIMAL, **change})
    except PhoenixError:
        return
    assert ".." not in made.directory.parts
    assert not made.directory.is_absolute()


def test_a_third_of_the_lifetime_is_the_window() -> None:
    assert Lifetime.parse("90d", None) == Lifetime(90 * 86400, 30 * 86400)
    assert Lifetime.parse("90d", "14d").renew_before == 14 * 86400


@pytest.mark.parametrize(("total", "window"), [("60s", None), ("90d", "90d"), ("1h", "2h")])
def test_a_window_that_never_closes_is_refused(total: str, window: str | None) -> None:
    with pytest.raises(PhoenixError):
        Lifetime.parse(total, window)
