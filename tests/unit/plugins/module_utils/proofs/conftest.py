# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a finished estate gives to a report, and a small estate to make proofs on."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.tamshai.phoenix.plugins.module_utils._errors import PhoenixError
from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs import every, framework
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import CATALOGUE
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.engine import Container
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.framework import (
    Once,
    Vocabulary,
)
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.site import Inputs, Site
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.vaultapi import Answer

NAMES = ["preflight", "host", "images", "trust", "vault", "data", "services", "verify"]
SECONDS = [3.1, 41.7, 12.4, 5.9, 27.3, 14.2, 16.8, 6.4]
BUDGETS = [10, 60, 20, 10, 25, 20, 25, 10]

PHASES: dict[str, Any] = {
    "schema": 1,
    "playbook": "phoenix.yml",
    "started": "2026-11-26T14:27:00Z",
    "seconds": 128.9,
    "status": "ok",
    "phases": [
        {
            "name": name,
            "seconds": seconds,
            "budget": budget,
            "changed": 4,
            "status": "ok",
            "over_budget": seconds > budget,
        }
        for name, seconds, budget in zip(NAMES, SECONDS, BUDGETS, strict=True)
    ],
}

EVIDENCE: dict[str, dict[str, Any]] = {
    "H1.a": {
        "policies": {"default": "built in", "mcp-hr": "declared", "operator": "staff"},
        "approles": {
            "mcp-gateway": {"token_ttl": 3600, "token_max_ttl": 14400, "secret_id_num_uses": 1},
            "mcp-hr": {"token_ttl": 3600, "token_max_ttl": 14400, "secret_id_num_uses": 1},
        },
    },
    "H1.b": {
        "looked_for": ["mcp-gateway/CANARY", "mcp-gateway/CLAUDE_API_KEY", "mcp-hr/CANARY"],
        "files_read": 18211,
        "memory_limits": {
            "enforced": False,
            "note": "not enforced: the kernel gives this host no memory controller",
            "declared": {"vault": "256M", "postgres": "512M"},
        },
    },
    "H3.a": {
        "hops": {
            "mcp-gateway -> mcp-hr": {
                "outcome": "admitted",
                "answer": "HTTP 200 to GET /health",
                "tls": "TLSv1.3",
                "cipher": "TLS_AES_256_GCM_SHA384",
                "server_serial": "5f1a7f0d3b9c4e2266a1b0c9d8e7f60512345678",
            },
            "operator -> mcp-hr": {
                "outcome": "refused",
                "answer": "HTTP 403 to GET /health",
                "tls": "TLSv1.3",
                "cipher": "TLS_AES_256_GCM_SHA384",
                "server_serial": "5f1a7f0d3b9c4e2266a1b0c9d8e7f60512345678",
            },
            "caller without a certificate -> mcp-hr": {
                "outcome": "refused",
                "answer": "TLS: tlsv13 alert certificate required",
                "tls": "TLSv1.3",
            },
        },
        "tls_1_1": {"mcp-hr": "alert protocol_version", "vault": "alert protocol_version"},
    },
    "H3.b": {"answers": {"mcp-hr port 3101 (198.18.0.34:3101)": "connection closed"}},
}

MADE = {
    *("H1.a", "H1.b", "H1.c", "H1.d", "H3.a", "H3.b", "H3.c", "H4.d", "H5.c"),
    *("F1.a", "F1.b", "F2.a", "F2.b", "F2.c", "F2.d", "F2.f", "W.b"),
}


def _results(**broken: str) -> dict[str, Any]:
    """What one host returns; ``broken`` maps an id (dots as underscores) to the reason."""
    faults = {name.replace("_", "."): reason for name, reason in broken.items()}
    proofs = []
    for entry in CATALOGUE:
        made = entry.id in MADE
        status = "fail" if entry.id in faults else "pass" if made else "not run"
        proofs.append(
            {
                "id": entry.id,
                "title": entry.title,
                "status": status,
                "reason": faults.get(entry.id, "" if made else entry.absent),
                "seconds": 0.412 if made else 0.0,
                "evidence": EVIDENCE.get(entry.id, {}) if made else {},
            }
        )
    return {
        "proofs": proofs,
        "started": "2026-11-26T14:29:02Z",
        "finished": "2026-11-26T14:29:06Z",
        "born": "2026-11-26T14:27:21+00:00",
    }


@pytest.fixture
def results() -> Callable[..., dict[str, Any]]:
    """What one host returns; keywords (id with underscores) break proofs for a reason."""
    return _results


@pytest.fixture
def phases() -> dict[str, Any]:
    """The report of a rebuild's phases."""
    return copy.deepcopy(PHASES)


@pytest.fixture(scope="session")
def _model() -> dict[str, Any]:
    root = Path(__file__).resolve().parents[5]
    defaults = yaml.safe_load((root / "roles/estate/defaults/main.yml").read_text())
    inputs = {
        name.removeprefix("estate_"): value
        for name, value in defaults.items()
        if name.startswith("estate_") and name != "estate_model"
    }
    inputs |= {"host": "vps1"}
    for secret in inputs["secrets"]:
        secret["value"] = "sk-ant-0123456789abcdef0123456789"
    return build(inputs)


@pytest.fixture
def estate(_model: dict[str, Any]) -> dict[str, Any]:
    """The model of the default estate."""
    return copy.deepcopy(_model)


class FakeVault:
    """A Vault as an estate leaves it, answering what proofs ask. Tests spoil its state."""

    def __init__(self, estate: dict[str, Any]) -> None:
        self.policies = {p["name"]: p["text"] for p in estate["policies"]}
        self.policies |= {"default": "x", "root": "", "operator": "x", "host": "x"}
        self.roles = {r["name"]: copy.deepcopy(r) for r in estate["approles"]}
        self.alive: dict[str, list[str]] = {name: [] for name in self.roles}
        self.granted = {
            "mcp-gateway": {"tamshai/data/mcp-gateway"},
            "mcp-hr": {
                "tamshai/data/mcp-hr",
                "database/static-creds/tamshai-app",
                "database/static-creds/tamshai-app-b",
            },
        }
        self.rights: dict[str, list[str]] = {}
        self.knows_rights = True
        self.host_granted: set[str] = set()
        self.gives_clear = False
        self.destroyed: list[str] = []
        self.uses = 1
        self.keep_accessor = False
        self.seal: dict[str, Any] = {
            "type": "shamir",
            "storage_type": "raft",
            "initialized": True,
            "sealed": False,
        }
        self.audit: dict[str, Any] = {
            "file/": {"type": "file", "options": {"file_path": "/bao/audit/audit.json"}},
            "stdout/": {"type": "file", "options": {"file_path": "stdout"}},
        }
        self.secret = "v1"
        self.good_tokens: dict[str, list[str]] = {"operator-token": ["operator"]}
        self.revoked: list[str] = []
        self.tokens: dict[str, Any] = {
            "acc-1": {"path": "auth/approle/login", "policies": ["mcp-hr"], "ttl": 3000},
            "acc-2": {"path": "auth/cert/login", "policies": ["operator"], "ttl": 900},
        }
        self.methods: dict[str, Any] = {"approle/": {}, "cert/": {}, "token/": {}}
        self.certificates = ["host", "operator"]
        self.cert_roles = {
            name: {
                "certificate": "-----BEGIN CERTIFICATE-----\nroot\n",
                "allowed_uri_sans": [estate["principals"][name]["spiffe"]],
                "allowed_names": None,
                "token_policies": [name],
                "token_no_default_policy": True,
                "token_ttl": 120,
                "token_max_ttl": 120,
                "token_bound_cidrs": [],
            }
            for name in self.certificates
        }
        self.lists: dict[str, list[str]] = {
            "tamshai/metadata": ["mcp-gateway", "mcp-hr", "nobodys", "folder/"],
            "database/static-roles": ["tamshai-app", "tamshai-app-b"],
            "database/config": ["tamshai"],
        }
        self._used: dict[str, int] = {}

    def active(self) -> bool:
        return not self.seal_status()["sealed"]

    def seal_status(self) -> dict[str, Any]:
        return self.seal

    def read(self, path: str, token: str = "") -> dict[str, Any]:
        answer = self.request("GET", path, token=token)
        if not answer.ok:
            raise PhoenixError(f"Vault answered {answer.text} to read {path}")
        return answer.data or answer.body

    def listing(self, path: str, token: str = "") -> list[str]:
        if path == "sys/policies/acl":
            return list(self.policies)
        if path == "auth/approle/role":
            return list(self.roles)
        if path == "auth/token/accessors":
            return list(self.tokens)
        if path == "auth/cert/certs":
            return self.certificates
        if path in self.lists:
            return self.lists[path]
        return self.alive[path.split("/")[3]]

    def request(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        token: str = "",
        wrap_ttl: str = "",
    ) -> Answer:
        if token.startswith("service-token-") and path != "auth/token/revoke-self":
            return self._as_service(path, token.removeprefix("service-token-"), body or {})
        if token == "host-token" and path in self.host_granted:
            return Answer(200, {"data": {"data": {"value": self.secret}}})
        if path.endswith("/secret-id"):
            return self._issue(path.split("/")[3], wrap_ttl)
        return self._entrance(path, body or {}, token) or self._as_operator(path, token)

    def _issue(self, name: str, wrap_ttl: str) -> Answer:
        if wrap_ttl:
            wrap = {"token": f"wrap-{name}", "wrapped_accessor": f"accessor-{name}"}
            return Answer(200, {"wrap_info": wrap})
        if not self.gives_clear:
            return Answer(403, {"errors": ["permission denied"]})
        given = {"secret_id": f"clear-secret-{name}", "secret_id_accessor": f"clear-{name}"}
        return Answer(200, {"data": given})

    def _entrance(self, path: str, body: dict[str, Any], token: str) -> Answer | None:
        """What needs no more than what it is given."""
        parts = path.split("/")
        if path == "auth/cert/login":
            return Answer(200, {"auth": {"client_token": "host-token"}})
        if path == "auth/token/revoke-self":
            self.revoked.append(token)
            return Answer(204)
        if path == "auth/token/lookup-self":
            known = self.good_tokens.get(token)
            return Answer(403) if known is None else Answer(200, {"data": {"policies": known}})
        if path == "auth/token/lookup-accessor":
            about = self.tokens.get(body["accessor"])
            if about == "ending":
                self.tokens.pop(body["accessor"])
                return Answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
            if about == "forbidden":
                return Answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
            ended = Answer(403, {"errors": ["1 error occurred:\n\t* invalid accessor\n\n"]})
            return ended if about is None else Answer(200, {"data": about})
        if parts[-1] == "destroy":
            self.destroyed.append(body["secret_id_accessor"])
            return Answer(204)
        if path == "sys/wrapping/unwrap":
            return Answer(200, {"data": {"secret_id": token.replace("wrap-", "secret-")}})
        if path == "auth/approle/login":
            return self._login(body["secret_id"].removeprefix("secret-"))
        return self._lookup(body["secret_id_accessor"]) if parts[-1] == "lookup" else None

    def _lookup(self, accessor: str) -> Answer:
        name = accessor.removeprefix("accessor-")
        spent = self._used.get(name, 0) >= 1 or accessor.startswith("old-")
        return Answer(404 if spent and not self.keep_accessor else 200)

    def _login(self, name: str) -> Answer:
        self._used[name] = self._used.get(name, 0) + 1
        if self._used[name] > self.uses:
            return Answer(400, {"errors": ["invalid role or secret ID"]})
        return Answer(200, {"auth": {"client_token": f"service-token-{name}"}})

    def _as_service(self, path: str, name: str, body: dict[str, Any]) -> Answer:
        if path == "sys/capabilities-self" and self.knows_rights:
            own = {p: ["read" if p in self.granted[name] else "deny"] for p in body["paths"]}
            return Answer(200, {"data": {**own, **self.rights}})
        if path in self.granted[name]:
            return Answer(200, {"data": {"data": {"value": self.secret}, "ttl": 7}})
        return Answer(403, {"errors": ["permission denied"]})

    def _as_operator(self, path: str, token: str) -> Answer:
        parts = path.split("/")
        if token != "operator-token":
            return Answer(403, {"errors": ["permission denied"]})
        if path == "sys/auth":
            return Answer(200, {"data": self.methods})
        if path == "sys/audit":
            return Answer(200, {"data": self.audit})
        if path.startswith("sys/policies/acl/"):
            return Answer(200, {"data": {"policy": self.policies[parts[3]]}})
        if path.startswith("auth/cert/certs/"):
            return Answer(200, {"data": self.cert_roles[parts[3]]})
        role = self.roles.get(parts[3])
        if role is None:
            return Answer(404)
        if parts[-1] == "role-id":
            return Answer(200, {"data": {"role_id": role["role_id"]}})
        return Answer(200, {"data": {k: v for k, v in role.items() if k != "role_id"}})


def container(service: str, **changes: Any) -> Container:
    """A running container of the project."""
    inspected: dict[str, Any] = {
        "Id": service.encode().hex().ljust(64, "0"),
        "Name": f"/tamshai-{service}-1",
        "Path": "bao",
        "Args": ["server", "-config=/config/server.hcl"],
        "State": {
            "Running": True,
            "Pid": 4242,
            "StartedAt": "2026-11-26T14:27:31Z",
            "Health": {"Status": "healthy"},
        },
        "Config": {
            "Env": ["PATH=/bin"],
            "Labels": {
                "com.docker.compose.project": "tamshai",
                "com.docker.compose.service": service,
            },
        },
        "HostConfig": {"Memory": 268435456},
        "NetworkSettings": {
            "Networks": {f"tamshai_{service}": {"IPAddress": "198.18.0.2"}},
            "Ports": {},
        },
        "Mounts": [],
    }
    for key, value in changes.items():
        inspected[key] = {**inspected[key], **value} if isinstance(value, dict) else value
    return Container(inspected)


class Stage:
    """A site whose edges are fakes: Vault, engine, secrets."""

    def __init__(self, estate: dict[str, Any], folder: Path, **inputs: Any) -> None:
        estate["root"] = str(folder / "opt")
        self.estate = estate
        self.vocabulary = Vocabulary()
        given = {"token": "operator-token", "fingerprint_key": "k" * 32, **inputs}
        self.site = Site(Inputs(estate=estate, **given), self.vocabulary)
        self.vault = FakeVault(estate)
        self.boxes = [container(name) for name in estate["services"]]
        for box in self.boxes:
            environment = estate["services"][box.service]["environment"]
            box.inspected["Config"]["Env"] += [f"{k}={v}" for k, v in environment.items()]
        self.site.vault = Once(lambda: self.vault)  # type: ignore[assignment]
        self.site.containers = Once(lambda: self.boxes)
        self.site.info = Once(lambda: {"MemoryLimit": False})
        self.site.born = Once(lambda: 1000.0)
        for agent in estate["agents"]:
            agent["run"] = str(folder / "run" / agent["service"])
            Path(agent["run"]).mkdir(parents=True)

    def prove(self, proof_id: str) -> dict[str, Any]:
        found = framework.run(self.site, every.PROOFS, self.vocabulary, only=[proof_id])
        return next(result for result in found if result["id"] == proof_id)


@pytest.fixture
def stage(estate: dict[str, Any], tmp_path: Path) -> Stage:
    return Stage(estate, tmp_path)


@pytest.fixture
def restaged(estate: dict[str, Any], tmp_path: Path) -> Callable[..., Stage]:
    """A stage with inputs, such as ``disturbed=disruption.KINDS, observed={...}``."""
    return lambda **inputs: Stage(estate, tmp_path, **inputs)
