# `make help` lists the targets. Everything is made below .venv, .cache and build.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two at a time: a cell of the release table is a process or two.
PYTEST := $(BIN)/python -m pytest -n 2
# The module's own tests run where the module is: beside a DEEPaaS release, which comes after this.
VOICE := tests/unit/voice_activity/run $(BIN)/python

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
	@$(VOICE) 2.6.0
	@echo "Left out here, and run by make test-all: the other DEEPaaS releases, containers, and the slow tests (2 GiB)."

test-all: test ## then the rest: every DEEPaaS release, Python 3.6, 2 GiB objects
	@$(BIN)/python scripts/environments.py 1.2.1 2.1.0 2.2.0 2.3.1 2.3.2 2.5.1 2.5.2 >/dev/null
	@$(BIN)/python scripts/environments.py --python python3.6 1.3.0 2.6.0 >/dev/null
	@$(VOICE) 1.3.0
	$(PYTEST) -m 'releases or slow'

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m scripts.catalogue --check

runtime: ## build the private runtime, build/runtime/runtime.tar, in a container
	@images/runtime/build

bench: $(READY) ## measure the README's figures anew, each against its yardstick
	$(BIN)/python -m benchmarks
	$(BIN)/python -m scripts.tables

catalogue: $(READY) ## print what is known of each module with a file input
	@$(BIN)/python -m scripts.catalogue $(MODEL)

docs: $(READY) ## write the generated tables into README.md and docs/
	$(BIN)/python -m scripts.tables

clean: ## remove what was made
	rm -rf $(VENV) .cache build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.PHONY: help demo test test-all lint runtime bench catalogue docs clean
