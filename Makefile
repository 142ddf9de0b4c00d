# Copyright: (c) 2026, tamshai.phoenix contributors
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
# A caller's own Ansible settings would make a run here differ from a run there.
unexport ANSIBLE_STDOUT_CALLBACK ANSIBLE_COLLECTIONS_PATH ANSIBLE_INVENTORY
# Each task is a process of its own: without kept byte code, each compiles Ansible anew.
unexport PYTHONDONTWRITEBYTECODE

STAGE := scripts/stage
DRILL := build/drill/drill
# Extra arguments for ansible-playbook, such as ARGS=-v
ARGS ?=

##@ Use
.PHONY: phoenix
phoenix: bootstrap ## From nothing to a proven estate on the drill host. ARGS=-v shows each task.
	ansible-playbook playbooks/drill.yml $(ARGS)
	ansible-playbook playbooks/phoenix.yml $(ARGS)
	ansible-playbook playbooks/verify.yml -e attest_disruptive=true $(ARGS)

.PHONY: verify
verify: bootstrap ## Prove the running estate again, disruptive proofs included; the report is in build/report.
	ansible-playbook playbooks/verify.yml -e attest_disruptive=true $(ARGS)

.PHONY: shell
shell: ## A root shell on the drill host. COMMAND='docker ps' runs one command.
	@test -e $(DRILL)/id_ed25519 || { echo "There is no drill host; make phoenix starts one." >&2; exit 1; }
	@ssh -i $(DRILL)/id_ed25519 -o IdentitiesOnly=yes -o UserKnownHostsFile=$(DRILL)/known_hosts \
	  -o StrictHostKeyChecking=yes -o LogLevel=ERROR root@198.19.255.10 $(COMMAND)

.PHONY: down
down: bootstrap ## Remove the drill host, its images, networks and volumes, and every secret made for it.
	scripts/down $(ARGS)

.PHONY: bench
bench: bootstrap-tests ## Measure against the baselines; results go to build/bench.
	pytest -q tests/benchmarks -m ""

##@ Check
.PHONY: test
test: ## Every check there is, the whole slice end to end included.
	@scripts/test

.PHONY: check
check: bootstrap-python ## The checks that need no Docker engine: lint, types, docs, sanity, unit, release.
	@scripts/test --static

.PHONY: lint
lint: bootstrap-python ## ruff, yamllint, shellcheck, ansible-lint (production profile).
	@$(STAGE) lint scripts/lint

.PHONY: types
types: bootstrap-python ## mypy, strict.
	@$(STAGE) types scripts/types

.PHONY: docs
docs: bootstrap-python ## Argument specs, defaults and README tables agree; every plugin's documentation builds.
	@$(STAGE) docs scripts/docs

.PHONY: sanity
sanity: bootstrap-python ## ansible-test sanity on a copy of the tree.
	@$(STAGE) sanity scripts/sanity

.PHONY: unit
unit: bootstrap-python ## Unit tests on all cores. ARGS='-k name' narrows.
	@$(STAGE) unit pytest -q -n auto tests/unit $(ARGS)

.PHONY: release
release: bootstrap-python ## The Galaxy tarball: built, its list asserted, installed elsewhere, run from there.
	@$(STAGE) release pytest -q tests/release $(ARGS)

.PHONY: integration
integration: bootstrap-tests ## Modules against real servers on loopback.
	@$(STAGE) integration pytest -q -n 3 --dist loadfile tests/integration $(ARGS)

.PHONY: molecule
molecule: bootstrap ## Every role on a host of its own. SCENARIO=pki runs one.
	@scripts/molecule $(SCENARIO)

.PHONY: e2e
e2e: bootstrap ## The whole slice end to end, with the estate broken on purpose.
	@$(STAGE) e2e pytest -q tests/e2e $(ARGS)

##@ Help
.PHONY: bootstrap
bootstrap: ## Virtual environment with pinned versions, collection link, Docker engine.
	@scripts/bootstrap

.PHONY: bootstrap-tests
bootstrap-tests: ## The same with what the integration tests compare with.
	@scripts/bootstrap --tests

.PHONY: bootstrap-python
bootstrap-python: ## The same without the Docker engine.
	@scripts/bootstrap --no-engine

.PHONY: help
help: ## This list.
	@awk 'BEGIN { FS = ":.*## " } \
	  /^##@ / { printf "%s%s\n", (n++ ? "\n" : ""), substr($$0, 5) } \
	  /^[a-z0-9-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
