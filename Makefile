# `make help` lists the targets. Everything is made below .venv, .cache and build. PYTHON=python3.12 names the Python.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
# Two at a time: a cell of the release table is a process or two.
PYTEST := $(BIN)/python -m pytest -n 2
# The module's own tests run where the module is: beside a DEEPaaS release, which comes after this.
VOICE := tests/unit/voice_activity/run $(BIN)/python

# Given on the command line (make images MODEL=…), they reach the scripts through the environment, whatever is in them.
export CHECK PYTHON STATUS PARQUET RESULTS OSV_URL DEBIAN_TRACKER MODEL VARIANT REGISTRY TAG BASE JOBS FILE OUT ARGS INPUT OUTPUT NETWORK QUEUE ROLE EXECUTION_ROLE LOG_GROUP TIMEOUT
on = $(if $(filter 1 yes true,$(1)),$(2))
named = $${VARIANT:+--variant "$$VARIANT"} $${REGISTRY:+--registry "$$REGISTRY"} $${TAG:+--tag "$$TAG"}

.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Looked at each time: PYTHON may name another Python, and the one that it was made with may be gone.
$(READY): FORCE
	@scripts/make_venv $(VENV) "$$PYTHON"

demo: $(READY) ## run the main job on a bundled recording: S3, DEEPaaS, a real model (FILE= for another)
	@$(BIN)/python -m scripts.demo $${FILE:+"$$FILE"}

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
	$(BIN)/python -m scripts.images.catalogue --check

audit: $(READY) ## known vulnerabilities of the runtime layer: [OSV_URL=…] [DEBIAN_TRACKER=url or file] [IGNORE="CVE-…"]; needs the internet
	@$(BIN)/python -m scripts.images.audit $${OSV_URL:+--osv-url "$$OSV_URL"} $${DEBIAN_TRACKER:+--debian-tracker "$$DEBIAN_TRACKER"} \
	  $(addprefix --ignore ,$(IGNORE))

runtime: ## build the private runtime, build/runtime/runtime.tar, in a container
	@images/runtime/build

images: $(READY) runtime ## bake the supervisor on catalogue images: MODEL=… [VARIANT=cpu|gpu|all] [REGISTRY=…] [TAG=…] [BASE=…] [PUSH=1] [JOBS=n] [CHECK=load]
	@$(BIN)/python -m scripts.images.builder "$${MODEL:?say which: MODEL=voice-activity}" $(named) $${BASE:+--base "$$BASE"} \
	  $${JOBS:+--jobs "$$JOBS"} $${CHECK:+--check "$$CHECK"} $(call on,$(PUSH),--push)

run: $(READY) ## run a derived image on a file: MODEL=… FILE=… [OUT=dir] [VARIANT=gpu] [ARGS='{"threshold": 0.6}']
	@$(BIN)/python -m scripts.images.run "$${MODEL:?say which: MODEL=voice-activity}" "$${FILE:?name the file: FILE=x.wav}" $(named) \
	  $${OUT:+--out "$$OUT"} $${ARGS:+--args "$$ARGS"} $${NETWORK:+--network "$$NETWORK"}

job-definitions: $(READY) ## render Batch job definitions: MODEL=… REGISTRY=… [VARIANT=…] [ROLE=…] [EXECUTION_ROLE=…] [REGISTER=1]
	@$(BIN)/python -m scripts.batch.definitions "$${MODEL:?say which: MODEL=voice-activity}" $(named) $${ROLE:+--role "$$ROLE"} \
	  $${EXECUTION_ROLE:+--execution-role "$$EXECUTION_ROLE"} $${LOG_GROUP:+--log-group "$$LOG_GROUP"} \
	  $${TIMEOUT:+--timeout "$$TIMEOUT"} $(call on,$(PUBLIC_IP),--public-ip) $(call on,$(REGISTER),--register)

submit-one: $(READY) ## submit one Batch job: MODEL=… INPUT=s3://… OUTPUT=s3://… [QUEUE=…] [ARGS=…] [WAIT=1]
	@$(BIN)/python -m scripts.batch.submit "$${MODEL:?say which: MODEL=voice-activity}" "$${INPUT:?name it: INPUT=s3://bucket/key}" \
	  "$${OUTPUT:?name it: OUTPUT=s3://bucket/results/}" $${VARIANT:+--variant "$$VARIANT"} $${QUEUE:+--queue "$$QUEUE"} \
	  $(call on,$(FARGATE),--fargate) $${ARGS:+--args "$$ARGS"} $(call on,$(WAIT),--wait)

report: $(READY) ## merge status documents into one page: STATUS=folder or s3://bucket/results/_status/ [OUT=report.html] [PARQUET=results.parquet [RESULTS=…]]
	@$(BIN)/python -m scripts.report "$${STATUS:?name it: STATUS=s3://bucket/results/_status/}" $${OUT:+--output "$$OUT"} \
	  $${PARQUET:+--parquet "$$PARQUET"} $${RESULTS:+--results "$$RESULTS"}

bench: $(READY) runtime ## measure the README's figures anew, each against its yardstick
	$(BIN)/python -m benchmarks
	$(BIN)/python -m scripts.docs.tables

reliability: $(READY) ## make everything go wrong that can, and write what came of it to docs/reliability.md (5 minutes)
	@$(BIN)/python scripts/environments.py 2.6.0 >/dev/null
	$(BIN)/python -m benchmarks.reliability

catalogue: $(READY) ## print what is known of each module with a file input
	@$(BIN)/python -m scripts.images.catalogue $(MODEL)

docs: $(READY) ## write the generated tables into README.md and docs/
	$(BIN)/python -m scripts.docs.tables

deepaas-table: $(READY) ## write docs/deepaas.md's table from the last make test-all
	$(BIN)/python -m scripts.docs.deepaas_table build/test.xml build/test-all.xml --update docs/deepaas.md

clean: ## remove what was made
	rm -rf $(VENV) .cache build .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

.PHONY: FORCE help demo test unit test-all lint audit runtime images run job-definitions submit-one report bench reliability catalogue docs deepaas-table clean
