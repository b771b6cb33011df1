# `make help` lists the targets. Everything is made below .venv, .cache and build. PYTHON=python3.12 names the Python.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two at a time: a cell of the release table is a process or two.
PYTEST := $(BIN)/python -m pytest -n 2
# The module's own tests run where the module is: beside a DEEPaaS release, which comes after this.
VOICE := tests/unit/voice_activity/run $(BIN)/python

# What is given on the command line reaches the programs through the environment, as it was typed. Left alone, make
# expands such a value where it hands it on: `$5` becomes nothing, and `$(shell …)` is run.
GIVEN := $(strip $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
$(foreach name,$(GIVEN),$(eval override $(name) := $$(value $(name)))$(eval export $(name)))
GOALS := $(MAKECMDGOALS)
export GIVEN GOALS

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Looked at each time: PYTHON may name another Python, and the one that it was made with may be gone.
$(READY): FORCE
	@scripts/make_venv $(VENV) "$$PYTHON"

demo: $(READY) ## run the main job on a bundled recording: S3, DEEPaaS, a real model (FILE= for another)
	@$(BIN)/python -m scripts.demo $${FILE:+-- "$$FILE"}

test: $(READY) ## pass the tests that need no Docker engine, with an old and the newest DEEPaaS
	@$(BIN)/python scripts/environments.py 1.3.0 2.6.0 >/dev/null
	$(PYTEST) -m 'not releases and not containers and not slow' --junitxml=build/test.xml
	@$(VOICE) 2.6.0
	@echo "Left out here, and run by make test-all: the other DEEPaaS releases, containers, and the slow tests (2 GiB)."

unit: $(READY) ## pass the unit tests alone
	$(PYTEST) tests/unit -m 'not slow' --junitxml=build/unit.xml
	@$(VOICE) 2.6.0

test-all: test ## then the rest: every DEEPaaS release, Python 3.6, 2 GiB objects, containers
	@$(BIN)/python scripts/environments.py 1.2.1 2.1.0 2.2.0 2.3.1 2.3.2 2.5.1 2.5.2 >/dev/null
	-@$(BIN)/python scripts/environments.py --python python3.6 1.3.0 2.6.0 >/dev/null
	@$(VOICE) 1.3.0
	$(PYTEST) -m 'releases or slow or containers' --junitxml=build/test-all.xml

lint: $(READY) ## ruff and mypy --strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m scripts.cli catalogue --check

# Aliases of `deepaas-batch`, whose flags and arguments are variables here (scripts/make_target.py).
audit: $(READY) ## known vulnerabilities of the runtime layer: [OSV_URL=…] [DEBIAN_TRACKER=url or file] [IGNORE="CVE-…"]; needs the internet
runtime: $(READY) ## build the private runtime, build/runtime/runtime.tar, in a container: [NETWORK=…] [NO_CACHE=1]
images: $(READY) ## bake the supervisor on catalogue images: MODEL=… [VARIANT=cpu|gpu|all] [REGISTRY=…] [TAG=…] [BASE=…] [PUSH=1] [JOBS=n] [CHECK=load]
run: $(READY) ## run a derived image on a file: MODEL=… FILE=… [OUT=dir] [VARIANT=gpu] [ARGS='{"threshold": 0.6}']
job-definitions: $(READY) ## render Batch job definitions: MODEL=… REGISTRY=… [VARIANT=…] [TAG=…] [ROLE=…] [EXECUTION_ROLE=…] [DROP=…] [DIFF=1] [REGISTER=1]
submit-one: $(READY) ## submit one Batch job: MODEL=… INPUT=s3://… OUTPUT=s3://… [TAG=…] [QUEUE=…] [ARGS=…] [WAIT=1]
report: $(READY) ## merge status documents into one page: STATUS=folder or s3://bucket/results/_status/ [OUT=report.html] [PARQUET=results.parquet [RESULTS=…]]
catalogue: $(READY) ## print what is known of each module with a file input: [MODEL=…]
audit runtime images run job-definitions submit-one report catalogue:
	@$(BIN)/python -m scripts.make_target $@

bench: $(READY) runtime ## measure the README's figures anew, each against its yardstick
	$(BIN)/python -m benchmarks
	$(BIN)/python -m scripts.docs.tables

reliability: $(READY) ## make everything go wrong that can, and write what came of it to docs/reliability.md (5 minutes)
	@$(BIN)/python scripts/environments.py 2.6.0 >/dev/null
	$(BIN)/python -m benchmarks.reliability

docs: $(READY) ## write the generated tables into README.md and docs/
	$(BIN)/python -m scripts.docs.tables

deepaas-table: $(READY) ## write docs/deepaas.md's table from the last make test-all
	$(BIN)/python -m scripts.docs.deepaas_table build/test.xml build/test-all.xml --update docs/deepaas.md

clean: ## remove what was made
	rm -rf $(VENV) .cache build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.PHONY: FORCE help demo test unit test-all lint audit runtime images run job-definitions submit-one report bench reliability catalogue docs deepaas-table clean
