# `make` alone lists what there is. Needs Python ≥ 3.11, make, git and a C compiler; everything else it installs itself.

SHELL := /bin/bash
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.uv/bin/uv)
export UV
export UV_PYTHON_DOWNLOADS := never
# Every command, and every process of the tests, would compile all its modules again.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE
RUN := $(UV) run --frozen

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast browser alertmanager screenshots check format docs schema openapi mutations bench bench-check bench-inbox bench-hostile bench-sync clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-13s %s\n", $$1, $$2 }'

demo: setup ## A real Airflow 3 with sample DAGs, mirrored by Windsock: prints the URL, a key and curl lines
	@$(RUN) python demo/demo.py

test: setup browser alertmanager ## Every test, also against a real Airflow 3, 2.11 and 3.4, which it installs and starts
	$(RUN) --group generators pytest -n 3 --no-loadscope-reorder

test-fast: setup browser alertmanager ## Every test that needs no Airflow
	$(RUN) --group generators pytest -n 3 --no-loadscope-reorder -m "not airflow"

browser: ## Install Chromium, with which the tests look at the pages, if it is missing (by apt-get, as root or by sudo)
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	  { SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq --no-install-recommends chromium >/dev/null; }

alertmanager: ## Install Debian's Alertmanager, to which the tests send alerts, if it is missing (by apt-get, as root or by sudo)
	@command -v prometheus-alertmanager >/dev/null || \
	  { SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); $$SUDO apt-get update -qq && $$SUDO apt-get install -y -qq --no-install-recommends prometheus-alertmanager >/dev/null; }

screenshots: setup browser ## Pictures of every page into docs/screenshots, of a demo that is running
	$(RUN) python demo/screenshots.py

check: setup ## Style, types, layers
	$(RUN) ruff format --check
	$(RUN) ruff check
	$(RUN) mypy
	$(RUN) lint-imports --no-cache

format: setup ## Put the code into its form, and mend what can be mended
	$(RUN) ruff format
	$(RUN) ruff check --fix

docs: setup ## Build the documentation into site/; a broken link fails
	$(RUN) --group docs zensical build --strict --clean

schema: setup ## Write docs/schema.sql from the migrations
	PYTHONPATH=tests $(RUN) python -m invariants.write_schema

setup: .venv/.is-current ## Install uv if it is missing, and the project with what it needs

.venv/.is-current: pyproject.toml uv.lock | $(UV)
	@echo "Setting up the project's environment (.venv)"
	@$(UV) sync --frozen --quiet
	@touch $@

# Only reached when no uv is on the PATH.
$(CURDIR)/.uv/bin/uv:
	@echo "Installing uv into .uv"
	@$(PYTHON) -m venv .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

openapi: setup ## Write docs/openapi.json, with examples recorded from real answers
	WINDSOCK_TEST_WRITE_OPENAPI=1 $(RUN) pytest -q tests/invariants/test_openapi.py -k "examples_are or in_docs"

mutations: setup ## Break the sync in many ways and see that the property test notices (an hour; ARGS="--of outbox": the outbox)
	PYTHONPATH=tests $(RUN) python -m mutation_testing.run $(ARGS)

bench: setup ## The API under load on a seeded fleet, against what it is compared with (needs wrk; ARGS="--size XS --rounds 1" is quick)
	$(RUN) python bench/api/run.py $(ARGS)

bench-check: setup ## Whether the API is still as fast as it was, by ratios and numbers of statements on a small fleet (a minute)
	$(RUN) python bench/api/regression_check.py $(ARGS)

bench-inbox: setup ## Latency of the inbox with 10,000 open incidents, against its budget (five minutes; ARGS="--rounds 1" is quicker)
	$(RUN) python bench/api/inbox.py $(ARGS)

bench-hostile: setup ## Latency, memory and sync intervals under hostile clients and connectors (ten minutes; ARGS="--seconds 5" is quicker)
	$(RUN) python bench/hostile/run.py $(ARGS)

bench-sync: setup ## The scale lab of the sync on a real, seeded Airflow 3 (an hour; ARGS="--runs 20000 --dags 100" is quicker)
	$(RUN) python bench/sync/run.py $(ARGS)

clean: ## Remove environments and the demo's data (asks nothing)
	rm -rf .venv .uv .airflow .demo
