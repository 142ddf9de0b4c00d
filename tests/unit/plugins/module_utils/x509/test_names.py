# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and name constraints, as pure functions."""

from __future__ import annotations

import contextlib
import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509 import names
from ansible_collections.tamshai.phoenix.plugins.module_utils._x509.names import Constraints

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)


@given(NAME)
def test_a_name_is_itself(name: str) -> None:
    assert names.dns_name(name) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "a.",
        ".a",
        "*.a",
        "a_b",
        "A.b",
        "-a",
        "a-",
        "a b",
        "a\n",
        "ä.test",
        "a" * 64,
    ],
)
def test_what_is_no_name_is_refused_in_words(text: str) -> None:
    with pytest.raises(PhoenixError, match="not a DNS name"):
        names.dns_name(text)


def test_a_name_of_254_characters_is_refused() -> None:
    assert len(names.dns_name("a." * 126 + "a")) == 253
    with pytest.raises(PhoenixError, match="253"):
        names.dns_name("a." * 126 + "aa")


@given(st.text(max_size=40))
def test_parsers_only_ever_raise_our_error(text: str) -> None:
    for parse in (names.dns_name, names.ip_address, names.uri):
        with contextlib.suppress(PhoenixError):
            assert parse(text)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_addresses_are_canonical(address: Any) -> None:
    assert ipaddress.ip_address(names.ip_address(str(address))) == address


@pytest.mark.parametrize("text", ["10.0.0.0/8", "fe80::1%eth0", "localhost", "1.2.3", "01.2.3.4"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(PhoenixError, match="not an IP address"):
        names.ip_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "estate.test/x",
        "spiffe:///x",
        "spiffe://127.0.0.1/x",
        "spiffe://[::1]/x",
        "spiffe://user@estate.test/x",
        "spiffe://ESTATE_x/x",
        "spiffe://estate.test/x?y",
        "spiffe://estate.test/x#y",
        "spiffe://estate.test:port/x",
        "spiffe://estate.test/ü",
        "urn:x:y",
    ],
)
def test_uris_that_no_constraint_could_allow_are_refused(text: str) -> None:
    with pytest.raises(PhoenixError, match="not a URI"):
        names.uri(text)


@given(NAME, st.lists(LABEL, max_size=2))
def test_a_permitted_name_permits_itself_and_below(base: str, more: list[str]) -> None:
    assert Constraints.parse([base]).permits_dns(".".join([*more, base]))


@given(NAME, LABEL)
def test_a_suffix_that_is_no_label_is_outside(base: str, prefix: str) -> None:
    permitted = Constraints.parse([base])
    assert not permitted.permits_dns(prefix + base) or prefix.endswith(".") or base == prefix + base
    assert not permitted.permits_dns(f"{base}.evil")


@given(
    st.ip_addresses(v=4),
    st.integers(min_value=0, max_value=32),
    st.ip_addresses(v=4),
)
def test_networks_permit_what_is_in_them(base: Any, prefix: int, address: Any) -> None:
    network = ipaddress.ip_network((base, prefix), strict=False)
    permitted = Constraints.parse(ips=[str(network)])
    assert permitted.permits_ip(str(address)) == (address in network)
    assert not permitted.permits_ip("::1")


def test_a_uri_needs_exactly_the_host() -> None:
    permitted = Constraints.parse(uri_hosts=["estate.test"])
    assert permitted.permits_uri("spiffe://estate.test/service/a")
    assert not permitted.permits_uri("spiffe://a.estate.test/service/a")
    assert not permitted.permits_uri("spiffe://evil.test/estate.test")


def test_what_is_outside_is_named_with_its_kind() -> None:
    permitted = Constraints.parse(["estate.test"], ["10.0.0.0/8"], ["estate.test"])
    assert permitted.outside(
        ["a.estate.test", "evil.test"], ["10.1.1.1", "11.1.1.1"], ["spiffe://evil.test/x"]
    ) == ["DNS name evil.test", "IP address 11.1.1.1", "URI spiffe://evil.test/x"]


def test_nothing_given_permits_nothing() -> None:
    assert len(Constraints().outside(["a.b"], ["127.0.0.1"], ["spiffe://a.b/x"])) == 3


def test_constraints_compare_whatever_their_order() -> None:
    one = Constraints.parse(["b.c", "a.b"], ["10.0.0.0/8", "127.0.0.1/32"])
    assert one == Constraints.parse(["a.b", "b.c"], ["127.0.0.1", "10.0.0.0/8"])
    assert one.public()["ips"] == ["10.0.0.0/8", "127.0.0.1/32"]


def test_narrower_is_within_wider() -> None:
    wide = Constraints.parse(["estate.test"], ["10.0.0.0/8"], ["estate.test"])
    narrow = Constraints.parse(["a.estate.test"], ["10.1.0.0/16"])
    assert narrow.within(wide)
    assert not wide.within(narrow)
    assert not Constraints.parse(ips=["::/0"]).within(wide)


@pytest.mark.parametrize("text", ["10.0.0.1/8", "x", "10.0.0.0/33"])
def test_a_network_with_host_bits_is_refused(text: str) -> None:
    with pytest.raises(PhoenixError, match="not a network to permit"):
        Constraints.parse(ips=[text])
