# Two commands matter: `make run` and `make test`. The rest is for people who work on Settle.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
# pip's own configuration may name a folder of wheels (a CPU build of torch, say); uv does not read it.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
# Where nothing compiled may be kept, every process of the tests compiles everything again: half of the unit suite's time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

.tools/bin/uv:
	@echo "uv is missing: installing it into .tools" >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv .tools && .tools/bin/python -m pip install --quiet uv

.PHONY: setup
setup: $(filter .tools/bin/uv,$(UV)) ## locked dependencies into .venv
	@UV_FIND_LINKS= $(UV) sync --quiet --locked

.PHONY: run
run: setup ## set up, probe the built-in catalogue once, print the matrix
	@.venv/bin/settle run --once

.PHONY: engine
engine: ## install and start Docker (Debian, as root)
	@deploy/engine install

.PHONY: test
test: setup gates ## set up, all gates, all tests
	@deploy/engine for-tests
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target quick contract worlds specimens

# Each has its one home, with a session that mostly waits for its one container: side by side they take half of the time.
.PHONY: quick contract worlds specimens
quick:
	@.venv/bin/python -m pytest -n 2 --dist loadfile tests/unit
	@.venv/bin/python -m pytest -n 2 --dist loadgroup tests/local
contract worlds specimens:
	@.venv/bin/python -m pytest -m 'not soak' --durations=12 tests/$@

.PHONY: unit
unit: setup ## the quick tests: no engine, no index, no process or server
	@.venv/bin/python -m pytest -n 2 --dist loadfile tests/unit

.PHONY: local
local: setup ## the tests with servers and processes of this machine, without engine or index
	@.venv/bin/python -m pytest -n 2 --dist loadgroup tests/local

.PHONY: gates
gates: setup ## style, types, rooms, words, dead code, dependencies
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/vulture
	@.venv/bin/deptry .
	@.venv/bin/python -m pytest -q tests/gates

.PHONY: docs
docs: setup ## write the pages that come from the code
	@.venv/bin/python -m tools.manual docs

.PHONY: soak
soak: setup ## the full counts of examples, kills and faults, the museum, and vLLM (by hand; long)
	@deploy/engine for-tests
	@.venv/bin/python -m pytest -n 2 --dist worksteal --hypothesis-profile=thorough tests/unit
	@.venv/bin/python -m pytest -m soak -s tests/contract tests/specimens tests/worlds tests/museum

.PHONY: bench
bench: setup ## measured claims, each with its ratio to the naive way
	@deploy/engine for-tests
	@.venv/bin/python -m tests.bench
