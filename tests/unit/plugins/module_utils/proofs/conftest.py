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

from ansible_collections.tamshai.phoenix.plugins.module_utils._estate.model import build
from ansible_collections.tamshai.phoenix.plugins.module_utils._proofs.catalogue import CATALOGUE

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
    *("H1.a", "H1.b", "H1.c", "H1.d", "H3.a", "H3.b", "H3.c", "H5.c"),
    *("F1.a", "F1.b", "F2.a", "F2.c", "F2.d", "W.b"),
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
