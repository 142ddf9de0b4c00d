# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text for PostgreSQL's files and statements, and SCRAM verifiers."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres import scram, text
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.errors import PostgresError

NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
RULE = {"type": "hostssl", "database": "d", "user": "u", "address": "samenet", "method": "cert"}


def lines(content: str) -> list[str]:
    assert content.startswith("#")
    return content.splitlines()[1:]


@given(NAMES)
def test_an_identifier_is_read_back_as_the_name(name: str) -> None:
    quoted = text.identifier(name)
    assert quoted[0] == quoted[-1] == '"'
    assert '"' not in quoted[1:-1].replace('""', "")
    assert quoted[1:-1].replace('""', '"') == name


@given(NAMES)
def test_a_literal_is_read_back_as_the_text(value: str) -> None:
    quoted = text.literal(value)
    if "\\" in value:
        assert quoted.startswith(" E'")
        assert quoted[3:-1].replace("\\\\", "\\").replace("''", "'") == value
    else:
        assert quoted[1:-1].replace("''", "'") == value


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(PostgresError):
        text.identifier(name)


def test_settings() -> None:
    written = lines(text.conf_text({"ssl": True, "port": 5432, "log_line_prefix": "it's %m\\"}))
    assert written == ["ssl = on", "port = 5432", "log_line_prefix = 'it''s %m\\\\'"]


@pytest.mark.parametrize("settings", [{"a b": 1}, {"a": "x\ny"}, {"a'": 1}])
def test_settings_that_would_become_another_line_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(PostgresError):
        text.conf_text(settings)


def test_rules_keep_their_order_and_quote_names() -> None:
    rules = [
        {"type": "local", "database": "all", "user": "postgres", "method": "peer"},
        {**RULE, "database": ["a", "all the rest"], "options": ["map=m"]},
        {**RULE, "user": "all", "method": "reject", "options": {}},
        {**RULE, "options": {"map": "a b", "clientname": "DN"}},
        {**RULE, "options": "map=m clientname=DN"},
    ]
    assert lines(text.hba_text(rules)) == [
        'local all "postgres" peer',
        'hostssl "a","all the rest" "u" samenet cert map=m',
        'hostssl "d" all samenet reject',
        'hostssl "d" "u" samenet cert map="a b" clientname=DN',
        'hostssl "d" "u" samenet cert map=m clientname=DN',
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "hostsl"}, "unknown type"),
        ({"address": ""}, "needs an address"),
        ({"type": "local"}, "takes no address"),
        ({"database": []}, "names no database"),
        ({"user": 'a"b'}, "cannot hold"),
        ({"user": "a\nhost all all all trust"}, "cannot hold"),
        ({"address": "all trust"}, "not a word"),
        ({"method": "cert #"}, "not a word"),
        ({"method": ""}, "not a word"),
    ],
)
def test_a_rule_that_would_mean_something_else_is_refused(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(PostgresError, match=words):
        text.hba_text([{**RULE, **change}])


def test_maps() -> None:
    row = {"map": "m", "system_user": "a.example", "database_user": "b"}
    assert lines(text.ident_text([row])) == ['"m" "a.example" "b"']


class TestScram:
    def test_the_example_of_rfc_7677(self) -> None:
        salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
        stored = scram.verifier("pencil", salt=salt)
        method, parameters, keys = stored.split("$")
        assert (method, parameters) == ("SCRAM-SHA-256", "4096:W22ZaJ0SNY7soEsUEjb6gQ==")
        messages = (
            b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
        )
        stored_key, server_key = (base64.b64decode(part) for part in keys.split(":"))
        signature = hmac.new(server_key, messages, hashlib.sha256).digest()
        assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        client_signature = hmac.new(stored_key, messages, hashlib.sha256).digest()
        client_key = bytes(a ^ b for a, b in zip(proof, client_signature, strict=True))
        assert hashlib.sha256(client_key).digest() == stored_key

    @pytest.mark.parametrize("password", ["x", "a'b\"c$d`e\\f#g%h{{i}}<j>&k!:/@ ü"])
    def test_a_verifier_matches_its_password_and_no_other(self, password: str) -> None:
        stored = scram.verifier(password)
        assert stored != scram.verifier(password)
        assert scram.matches(password, stored)
        assert not scram.matches(password + "x", stored)

    @pytest.mark.parametrize("stored", ["", "x", "md5abc", "a$b$c", "SCRAM-SHA-1$4096:AA==$a:b"])
    def test_what_is_no_verifier_matches_nothing(self, stored: str) -> None:
        assert not scram.matches("x", stored)

    def test_new_passwords_are_long_and_differ(self) -> None:
        made = {scram.new_password() for _unused in range(20)}
        assert len(made) == 20
        assert all(len(password) == 40 and password.isalnum() for password in made)
