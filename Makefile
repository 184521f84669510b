# The only doorway. `make` alone lists the targets; each is a line one could type by hand.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed
RING ?= tests
export PYTHONUNBUFFERED := 1

.PHONY: help setup demo test lint types bench docs lock up down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) ## make .venv with exactly what the lock file says

$(INSTALLED): bootstrap.lock requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: $(PYTHON) is $$($(PYTHON) -V 2>&1). Try make PYTHON=python3.12"; exit 1; }
	@echo "== installing into $(VENV) (once; about 1 GB)"
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing: on Debian or Ubuntu, apt install python3-venv"; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(VENV)/bin/uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes requirements.lock
	@$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python --no-deps --no-build-isolation -e .
	@touch $@

demo: $(INSTALLED) ## a file of people into an audience, end to end, with every sum checked (FILE=people.ndjson, KEEP=1)
	@$(VENV)/bin/fbc demo $(if $(FILE),--file "$(FILE)") $(if $(filter 1,$(KEEP)),--keep)

test: $(INSTALLED) ## all tests, or one ring: make test RING=tests/unit
	@$(VENV)/bin/pytest -q $(RING)

lint: $(INSTALLED) ## taste, laws, and the drift of everything generated
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports
	@$(VENV)/bin/fbc schemas check
	@$(VENV)/bin/fbc docs check

types: $(INSTALLED) ## mypy, strict
	@$(VENV)/bin/mypy

bench: $(INSTALLED) ## side by side, in one run: ours and its peers
	@$(VENV)/bin/python -m bench

docs: $(INSTALLED) ## write the generated contract files and references
	@$(VENV)/bin/fbc schemas export
	@$(VENV)/bin/fbc docs export

lock: $(INSTALLED) ## resolve the dependencies again (versions and hashes, no addresses)
	@$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-header --python-version 3.11 --all-extras \
		pyproject.toml -o requirements.lock

up: $(INSTALLED) ## start the whole connector on this machine
	@$(VENV)/bin/fbc dev up

down: $(INSTALLED) ## stop it
	@$(VENV)/bin/fbc dev down

clean: ## remove the virtual environment and the local state (stop the stack first)
	@rm -rf $(VENV) .fbc
