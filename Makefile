# Driftbook. Every target sets up what it needs and then calls the command line.
# SETTINGS=other.yaml ARTIFACTS=other/ choose another model; ARGS="..." is passed on as it stands.

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
COMMAND = .venv/bin/driftbook
OPTIONS = $(if $(SETTINGS),--settings "$(SETTINGS)") $(if $(ARTIFACTS),--artifacts "$(ARTIFACTS)") $(ARGS)
AT = $(if $(WINDOW),--window "$(WINDOW)")
ON = .venv/.ready-

# Under cron Python would read this folder's own path as ASCII.
ifneq ($(filter C POSIX,$(LC_ALL)),)
export LC_ALL := C.UTF-8
endif

export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run smoke run-drift backtest verify report promote rollback serve lab sync sync-tracking \
	sync-alerts sync-quarto run-tracking test torture lint ruff mypy audit check bench bench-peers bench-page \
	lock clean

help:
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile
	@printf '\nOptions: SETTINGS=file.yaml ARTIFACTS=folder WINDOW=2013-06 ARGS="--any --option"\n'

##@ Runbook
run: $(ON)core ## notebooks 01 to 04, the pages and the manifest
	@$(COMMAND) run $(AT) $(OPTIONS)

smoke: $(ON)core ## the same on a tenth of the rows, in a folder of its own
	@$(COMMAND) run --quick $(AT) $(OPTIONS)

run-drift: $(ON)core ## 02 to 04 for one window (WINDOW=2013-06) against today's champion
	@$(COMMAND) run --from drift $(AT) $(OPTIONS)

backtest: $(ON)core ## replay every window of the data
	@$(COMMAND) backtest $(OPTIONS)

verify: $(ON)core ## re-hash every artifact, check completeness and lineage
	@$(COMMAND) verify $(OPTIONS)

report: $(ON)core ## render the pages again
	@$(COMMAND) report $(OPTIONS)

##@ Model
promote: $(ON)core ## make the challenger champion
	@$(COMMAND) promote $(OPTIONS)

rollback: $(ON)core ## make an earlier champion (TO=version) champion again
	@$(COMMAND) rollback $(if $(TO),--to "$(TO)") $(OPTIONS)

serve: $(ON)core ## the API on 127.0.0.1:8000
	@$(COMMAND) serve $(OPTIONS)

##@ Set-up and extras
sync: $(ON)core ## set-up alone
	@echo "set-up: complete"

sync-tracking: $(ON)tracking ## MLflow
	@echo "set-up: complete, with MLflow"

sync-alerts: $(ON)alerts ## alerts by chat, mail or webhook (apprise)
	@echo "set-up: complete, with apprise"

sync-quarto: $(ON)core ## try to install Quarto again
	@$(PYTHON) scripts/bootstrap.py quarto

run-tracking: $(ON)tracking ## a run that is also logged to MLflow
	@$(COMMAND) run --tracking $(AT) $(OPTIONS)

lab: $(ON)lab ## JupyterLab on copies of the notebooks, yours to change
	@$(COMMAND) lab $(OPTIONS)

##@ Development
test: $(ON)dev ## tests, on all cores, with their coverage
	@.venv/bin/python -m pytest -n auto --dist worksteal --cov $(ARGS)

torture: $(ON)dev ## kills, damages, nasty tables, hostile requests, load: all of what `make test` samples
	@DRIFTBOOK_TORTURE=long .venv/bin/python -m pytest -q tests/torture $(ARGS)

lint: ruff mypy ## ruff and mypy

ruff: $(ON)dev ## style and format
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .

mypy: $(ON)dev ## types
	@.venv/bin/mypy

audit: $(ON)dev ## known vulnerabilities of the locked packages, and licences (ARGS=--all: by name)
	@.venv/bin/python scripts/audit.py $(ARGS)

check: lint audit test ## lint, types, known vulnerabilities, licences and tests

bench: $(ON)dev ## benchmarks (PART=decision or one file's name; SIZE=small or full)
	@.venv/bin/python bench/_run.py $(if $(PART),--part "$(PART)") $(if $(SIZE),--size "$(SIZE)") $(ARGS)

bench-peers: $(ON)core ## other libraries to measure beside, each in an environment of its own
	@.venv/bin/python bench/_peers.py

bench-page: $(ON)core ## the page of the benchmarks' results again
	@.venv/bin/python bench/_page.py

lock: $(ON)core ## write requirements.lock again (UPGRADE=1: newest versions)
	@uv pip compile pyproject.toml --quiet --all-extras --group bootstrap --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
		--no-emit-find-links --custom-compile-command "make lock" \
		$(if $(UPGRADE),--upgrade) --output-file requirements.lock >/dev/null

clean: ## remove .venv, peers, caches and rendered pages; artifacts stay
	@rm -rf .venv .venv-peers build .mypy_cache .pytest_cache .ruff_cache .hypothesis reports/executed reports/html

# A stamp a set-up level: a second run finds it newer than its inputs and does nothing.
$(ON)core: pyproject.toml requirements.lock scripts/bootstrap.py
	@[ -n "$(PYTHON)" ] || { echo "Driftbook needs Python 3.11 or newer and found none on PATH;" \
		"install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) scripts/bootstrap.py core
	@touch $@

$(ON)%: $(ON)core
	@$(PYTHON) scripts/bootstrap.py $*
	@touch $@
