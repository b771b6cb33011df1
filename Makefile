# `make help` lists the targets. Everything is made below .venv, .cache and build.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two at a time: a cell of the release table is a process or two.
PYTEST := $(BIN)/pytest -n 2

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): setup.cfg
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is not on PATH; name another with PYTHON=" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(READY) ## run the main job on a bundled recording: S3, DEEPaaS, a real model (FILE= for another)
	@$(BIN)/python -m scripts.demo $(FILE)

test: $(READY) ## pass the tests that need no Docker engine, with an old and the newest DEEPaaS
	@$(BIN)/python scripts/environments.py 1.3.0 2.6.0 >/dev/null
	$(PYTEST) -m 'not releases and not containers and not slow'
	@echo "Left out here, and run by make test-all: the other DEEPaaS releases, containers, and the slow tests (2 GiB)."

test-all: $(READY) ## pass all tests: every DEEPaaS release, Python 3.6, 2 GiB objects
	$(PYTEST) -m 'not containers'

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m scripts.catalogue --check

docs: $(READY) ## write the generated tables into README.md and docs/
	$(BIN)/python -m scripts.tables

clean: ## remove what was made
	rm -rf $(VENV) .cache build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.PHONY: help demo test test-all lint docs clean
