# Every target that a person calls has a "##" comment: `make` alone lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Where it is set, each of the hundreds of processes that tests start would compile all of Souk before it begins.
unexport PYTHONDONTWRITEBYTECODE

PYTHONS := python3.13 python3.12 python3.11 python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
LOCKED := --require-hashes --no-deps --only-binary :all:
PIP_COMPILE := $(BIN)/python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-trusted-host --no-emit-options --annotation-style line $(ARGS)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: setup ## start the shop (ARGS="..." are passed on)
	@exec $(BIN)/souk up $(ARGS)

.PHONY: setup
setup: .venv/.installed ## install what the shop needs into .venv
	@:

.PHONY: setup-dev
setup-dev: .venv/.installed-dev ## install what developers need, too
	@:

.PHONY: test
test: check ## run check, then the tests, on several cores (ARGS="..." are passed to pytest instead)
	@$(BIN)/python -m tests.engines get
	@$(BIN)/python -m pytest $(or $(ARGS),-n auto --maxprocesses 4 --dist loadfile)

.PHONY: engines
engines: setup-dev ## get and start RabbitMQ and Kafka for the tests (ARGS=--stay leaves them running)
	@exec $(BIN)/python -m tests.engines $(ARGS)

.PHONY: torture
torture: setup-dev ## run the tests of crashes and races with their full counts (ARGS="..." are passed to pytest)
	@TORTURE=1 $(BIN)/python -m pytest -s --timeout 7200 $(or $(ARGS),tests/crashes tests/payments/test_behaviours.py tests/journeys/known_failures)
	@$(if $(ARGS),:,TORTURE=1 $(BIN)/python -m pytest -n 8 tests/journeys/test_shop_machine.py)

.PHONY: mutants
mutants: setup-dev ## see that the tests find each of the bugs in mutants/ (ARGS="--only 07")
	@$(BIN)/python mutants/run.py $(ARGS)

.PHONY: check
check: setup-dev ## lint and check the types
	@$(BIN)/ruff check .
	@$(BIN)/mypy

.PHONY: calls
calls: setup-dev ## with a release: write down in docs/contracts/calls what processes ask of each other (ARGS=--anyway)
	@$(BIN)/python deploy/write_calls.py $(ARGS)

.PHONY: compose
compose: setup-dev ## write compose.yaml and the examples in deploy/env anew
	@$(BIN)/python -m deploy.write

.PHONY: bench
bench: setup-dev ## run the measurements (ARGS="..." are passed on)
	@exec $(BIN)/python -m bench $(ARGS)

.PHONY: contracts
contracts: setup-dev ## write down what events carry (docs/contracts), unless another release could not read it
	@$(BIN)/python -m tests.architecture.contracts

.PHONY: lock
lock: setup-dev ## pin the dependencies anew (ARGS=--upgrade for the newest ones)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "The locks are made with the oldest Python we support: run 'make clean lock PYTHONS=python3.11'." >&2; exit 1; }
	@$(PIP_COMPILE) --build-deps-for editable -o requirements.lock pyproject.toml
	@$(PIP_COMPILE) --build-deps-for editable --extra dev --extra parquet -c requirements.lock -o requirements-dev.lock pyproject.toml

.PHONY: clean
clean: ## remove .venv and every cache (never a shop's data)
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	@find src tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# A candidate is run and not only looked up: a version manager's shim exists even for a version that is not installed.
$(BIN)/python:
	@for python in $(PYTHONS); do \
		"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		"$$python" -c 'import ensurepip, venv' 2>/dev/null || { lacking=$$python; continue; }; \
		echo "Creating .venv with $$("$$python" --version)"; \
		"$$python" -m venv --clear .venv || { rm -rf .venv; exit 1; }; \
		exit 0; \
	done; \
	if [ -n "$$lacking" ]; then \
		echo "$$lacking has no venv module: install it (on Debian and Ubuntu: apt install python3-venv), then run make again." >&2; \
	else \
		echo "Souk needs Python 3.11 or newer, and none of these is one: $(PYTHONS)." >&2; \
	fi; \
	exit 1

.venv/.installed: $(BIN)/python requirements.lock pyproject.toml
	@echo "Installing the packages of requirements.lock"
	@$(PIP_INSTALL) $(LOCKED) -r requirements.lock
	@$(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

# localstripe and dkimpy have no wheels. They are built with the setuptools of the lock, which has to be there before.
.venv/.installed-dev: .venv/.installed requirements-dev.lock
	@echo "Installing the packages of requirements-dev.lock"
	@sed -n '/^setuptools==/,/# via/p' requirements-dev.lock | $(PIP_INSTALL) $(LOCKED) -r /dev/stdin
	@$(PIP_INSTALL) $(LOCKED) --no-binary localstripe,dkimpy --no-build-isolation -r requirements-dev.lock
	@touch $@
