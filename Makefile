# Everything a developer or a first-time user needs: `make help`.
# Each target makes .venv where it is missing or older than the lock files. Needs Python 3.11 or newer, nothing else;
# the tests against Apache Kafka also need Java 17.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
RUN_STAMP := $(VENV)/.run.stamp
DEV_STAMP := $(VENV)/.dev.stamp
KAFKA_PORT ?= 9092
SEEDS ?= 200
WORKERS ?= auto
SEARCHES ?= 20
KAFKA_DATA_DIR ?= .cache/kafka-data

.PHONY: help demo search simulate test lint types bench bench-scale bench-webhooks kafka dev lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(RUN_STAMP) ## run the whole path once: usage events in, signed webhooks out (TRACE=file.csv replays a trace)
	$(BIN)/tidemark demo $(if $(TRACE),--trace "$(TRACE)") $(DEMO_ARGS)

test: lint types ## every check and every test, on all cores (WORKERS=auto); what is skipped says why
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

search: $(DEV_STAMP) ## the property tests under other examples: SEARCHES=20 times as many (two minutes each)
	for seed in $$(seq 1 $(SEARCHES)); do TIDEMARK_TEST_SEARCH=1 $(BIN)/python -m pytest -n $(WORKERS) tests/property --hypothesis-seed=$$seed $(PYTEST_ARGS); done

simulate: $(DEV_STAMP) ## dispatchers that die at every await: SEEDS=200 runs (a test has few)
	TIDEMARK_SIMULATE_SEEDS=$(SEEDS) TIDEMARK_SIMULATE_STEP=1 $(BIN)/python -m pytest tests/simulation $(PYTEST_ARGS)

lint: $(DEV_STAMP) ## ruff and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(DEV_STAMP) ## mypy
	$(BIN)/mypy

bench: $(DEV_STAMP) ## throughput and latency on a real Apache Kafka (Java 17)
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-scale: $(DEV_STAMP) ## one customer with 1,200 alerts or 15,000 group values, against one with a single alert (Java 17)
	$(BIN)/python -m benchmarks.scale $(BENCH_ARGS)

bench-webhooks: $(DEV_STAMP) ## the dispatcher alone: rate, latency, isolation, memory
	$(BIN)/python -m benchmarks.webhooks $(BENCH_ARGS)

kafka: $(DEV_STAMP) ## a real Apache Kafka in the foreground (Java 17), KAFKA_PORT=9092
	$(BIN)/python -m tests.support.kafka_server --port $(KAFKA_PORT) --data-dir $(KAFKA_DATA_DIR)

dev: $(DEV_STAMP) ## only make .venv, with the tools for development

lock: $(DEV_STAMP) ## resolve the dependencies anew into the lock files (needs uv on the PATH)
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --group build --output-file requirements.txt
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--custom-compile-command "make lock" pyproject.toml --group build --group dev --constraints requirements.txt \
		--output-file requirements-dev.txt

clean: ## remove .venv and everything that tools left behind
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "tidemark needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) --version) (once)"
	$(PYTHON) -m venv $(VENV)

# Two locks: what runs needs, and what development needs besides; the second contains the first.
$(RUN_STAMP): requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what requirements.txt pins"
	$(PIP) install --require-hashes --no-deps -r requirements.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements-dev.txt requirements.txt pyproject.toml | $(BIN)/python
	@echo "Installing what requirements-dev.txt pins"
	$(PIP) install --require-hashes --no-deps -r requirements-dev.txt
	$(PIP) install --no-deps --no-build-isolation -e .
	@touch $(RUN_STAMP) $@
