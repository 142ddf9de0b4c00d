# Copyright: (c) 2026, tamshai.phoenix contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an estate means for its database server."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.estate import (
    allowed,
    credentials,
    server,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.privileges import (
    Finding,
    findings,
    rule,
    table,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._postgres.wire import (
    namespace_addresses,
)

SAMPLES = {"hr": {"seed": {"table": "t", "sql": "x"}, "tables": [{"name": "t"}]}}


def estate(**changes: Any) -> dict[str, Any]:
    services = [
        {"name": "vault", "kind": "vault", "image": "openbao", "port": 8200, "uid": 10001}
        | {"publish": True, "callers": ["host", "operator", "hr", "pay"]},
        {"name": "postgres", "kind": "postgresql", "image": "postgres", "port": 5432, "uid": 999}
        | {"callers": ["hr", "pay", "vault"]},
        {"name": "hr", "image": "hr", "port": 3101, "uid": 1001, "callers": ["operator"]}
        | {"databases": [{"name": "d_hr", "login": "hr_app"}]},
        {"name": "pay", "image": "pay", "port": 3102, "uid": 1001, "callers": ["operator"]}
        | {"databases": [{"name": "d_pay", "login": "pay_app", "rotation": "single"}]},
    ]
    databases = [
        {"name": "d_hr", "owner": "o_hr", "schema": "hr", "sample_data": True},
        {"name": "d_pay", "owner": "o_pay", "schema": "pay"},
    ]
    inputs = {"name": "t", "domain": "t.internal", "host": "h", "project": "t"}
    return {**inputs, "services": services, "databases": databases, **changes}


MODEL = build(estate())


class TestServer:
    def test_owners_cannot_log_in_and_logins_can(self) -> None:
        roles = {row["name"]: row["login"] for row in server(MODEL, SAMPLES, {})["roles"]}
        assert roles == {
            "o_hr": False,
            "o_pay": False,
            "hr_app": True,
            "hr_app_b": True,
            "pay_app": True,
            "healthcheck": True,
        }

    def test_a_login_gets_its_own_schema_and_no_other(self) -> None:
        for database in server(MODEL, SAMPLES, {})["databases"]:
            for schema in database["schemas"]:
                assert [grant["to"] for grant in schema["grants"]] == database["connect"]
                assert all("TRUNCATE" not in grant["tables"] for grant in schema["grants"])

    def test_a_second_login_has_what_the_first_has_and_nothing_of_its_own(self) -> None:
        made = server(MODEL, SAMPLES, {})
        assert {row["name"]: row.get("inherits") for row in made["roles"] if row["login"]} == {
            "hr_app": [],
            "hr_app_b": ["hr_app"],
            "pay_app": [],
            "healthcheck": None,
        }
        assert made["databases"][0]["connect"] == ["hr_app"]
        assert "hr_app_b" in [row["user"] for row in made["hba"]]

    def test_sample_data_come_only_where_they_are_declared(self) -> None:
        made = {row["name"]: row for row in server(MODEL, SAMPLES, {})["databases"]}
        assert made["d_hr"]["schemas"][0]["seed"] == SAMPLES["hr"]["seed"]
        assert "seed" not in made["d_pay"]["schemas"][0]

    def test_sample_data_that_do_not_exist_are_refused(self) -> None:
        with pytest.raises(PhoenixError, match="no sample data for schema hr"):
            server(MODEL, {}, {})

    def test_tables_of_the_operator_are_added(self) -> None:
        made = server(MODEL, SAMPLES, {"pay": [{"name": "slips"}]})["databases"]
        assert made[1]["schemas"][0]["tables"] == [{"name": "slips"}]

    def test_no_network_rule_admits_plaintext_or_trust(self) -> None:
        rules = server(MODEL, SAMPLES, {})["hba"]
        network = [row for row in rules if row["type"] != "local"]
        assert {row["type"] for row in network if row["method"] != "reject"} == {"hostssl"}
        assert {row["method"] for row in rules} == {"peer", "scram-sha-256", "cert", "reject"}
        assert all(row["method"] == "reject" for row in rules if row["user"] == "all")
        assert [row["method"] for row in rules[-2:]] == ["reject", "reject"]

    def test_an_estate_without_a_server_is_refused(self) -> None:
        with pytest.raises(PhoenixError, match="no service of kind postgresql"):
            server({**MODEL, "services": {}}, {}, {})


class TestCredentials:
    def test_one_connection_however_many_databases(self) -> None:
        made = credentials(MODEL, "vault_rotator", "vault_rotation")
        assert made["connection"]["name"] == "postgresql-d_hr"
        assert made["connection"]["connection_url"].startswith(
            "postgresql://{{username}}:{{password}}@postgres.t.internal:5432/d_hr?sslmode=verify-full&"
        )
        assert [(row["name"], row.get("turns_with")) for row in made["static_roles"]] == [
            ("hr-app", None),
            ("hr-app-b", "hr-app"),
            ("pay-app", None),
        ]

    def test_nothing_to_rotate_without_logins(self) -> None:
        model = {**MODEL, "logins": []}
        assert credentials(model, "r", "s")["static_roles"] == []

    def test_nothing_to_rotate_for_a_vault_that_is_no_caller(self) -> None:
        postgres = {**MODEL["services"]["postgres"], "callers": ["hr"]}
        model = {**MODEL, "services": {**MODEL["services"], "postgres": postgres}}
        assert credentials(model, "r", "s")["static_roles"] == []

    def test_the_allow_list_covers_what_the_server_is_given_and_no_other_schema(self) -> None:
        rules = [rule(row) for row in allowed(MODEL, {}, [])]
        for login, schema, ok in (
            ("hr_app", "hr", True),
            ("hr_app", "pay", False),
            ("pay_app", "hr", False),
        ):
            right = Finding(login, "SELECT", "table", f"{schema}.t", f"d_{schema}", "", "")
            assert (findings([right], rules) == []) is ok

    def test_what_the_operator_allows_the_first_the_second_has_as_well(self) -> None:
        row = {"kind": "table", "database": "d_hr", "name": "hr.queue", "rights": ["TRUNCATE"]}
        extra = [{**row, "login": "hr_app", "reason": "The import empties it."}]
        rules = [rule(row) for row in allowed(MODEL, {}, extra)]
        for login, ok in (("hr_app", True), ("hr_app_b", True), ("pay_app", False)):
            right = Finding(login, "TRUNCATE", "table", "hr.queue", "d_hr", "", "")
            assert (findings([right], rules) == []) is ok
        rules = [rule(row) for row in allowed(MODEL, {}, [{**extra[0], "login": "hr_app_b"}])]
        right = Finding("hr_app", "TRUNCATE", "table", "hr.queue", "d_hr", "", "")
        assert findings([right], rules) == [right]

    @pytest.mark.parametrize(
        ("login", "right", "ok"),
        [
            ("hr_app_b", "MEMBER WITH INHERIT", True),
            ("hr_app_b", "MEMBER WITH INHERIT, SET", False),
            ("hr_app_b", "MEMBER WITH ADMIN, INHERIT", False),
            ("hr_app", "MEMBER WITH INHERIT", False),
            ("pay_app", "MEMBER WITH INHERIT", False),
        ],
    )
    def test_a_second_login_may_inherit_and_no_more(self, login: str, right: str, ok: bool) -> None:
        rules = [rule(row) for row in allowed(MODEL, {}, [])]
        found = Finding(login, right, "role", "hr_app", "*", "direct", "")
        assert (findings([found], rules) == []) is ok
        other = Finding(login, right, "role", "o_hr", "*", "direct", "")
        assert findings([other], rules) == [other]


@given(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["table", "schema"]),
    st.text("xy.*", max_size=4),
    st.sampled_from(["SELECT", "CREATE", "*"]),
)
def test_a_rule_allows_exactly_what_it_matches(
    login: str, kind: str, name: str, right: str
) -> None:
    made = rule({"login": login, "kind": kind, "name": name, "rights": [right]})
    for other in ("a", "b"):
        for what in ("table", "schema"):
            for word in ("SELECT", "CREATE"):
                seen = Finding(other, word, what, "x.y", "d", "", "")
                matches = fnmatchcase("x.y", name or "*") and right in (word, "*")
                assert made.allows(seen) == (login == other and kind == what and matches)


def test_a_table_of_findings_has_columns() -> None:
    rows = [
        Finding("app", "SELECT", "table", "hr.t", "d", "granted to the login", "REVOKE x"),
        Finding("longer_name", "BYPASSRLS", "attribute", "BYPASSRLS", "*", "its own", "ALTER y"),
    ]
    assert table(rows).splitlines() == [
        "login        right                      how it got it         what would revoke it",
        "app          SELECT on table hr.t in d  granted to the login  in d: REVOKE x",
        "longer_name  BYPASSRLS                  its own               ALTER y",
    ]


class TestNamespace:
    TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 198.18.0.16/28 2 0 2
        |-- 198.18.0.16
           /28 link UNICAST
        |-- 198.18.0.18
           /32 host LOCAL
        |-- 198.18.0.31
           /32 link BROADCAST
Local:
        |-- 198.18.0.18
           /32 host LOCAL
"""

    def process(self, root: Path, pid: str, namespace: Path) -> None:
        (root / pid / "ns").mkdir(parents=True)
        (root / pid / "net").mkdir()
        (root / pid / "net" / "fib_trie").write_text(self.TRIE)
        (root / pid / "ns" / "net").hardlink_to(namespace)

    def test_the_addresses_of_another_namespace(self, tmp_path: Path) -> None:
        for name in ("ours", "theirs"):
            (tmp_path / name).touch()
        self.process(tmp_path, "self", tmp_path / "ours")
        self.process(tmp_path, "42", tmp_path / "theirs")
        assert namespace_addresses(42, tmp_path) == ["198.18.0.18"]

    def test_our_own_namespace_is_reached_by_loopback(self, tmp_path: Path) -> None:
        (tmp_path / "ours").touch()
        self.process(tmp_path, "self", tmp_path / "ours")
        self.process(tmp_path, "42", tmp_path / "ours")
        assert namespace_addresses(42, tmp_path) == ["127.0.0.1"]
