# `make repro` runs the pipeline, `make test` the tests; both set up .venv first, once.
# Needs Python >= 3.11 (PYTHON=python3.12 names another than python3), git and make.
PYTHON ?= python3
PORT ?= 4200
# Tests that take minutes are run by .ci/run: `make test MARK=slow`.
MARK ?= not slow
BIN := .venv/bin
STAMP := .venv/.installed
# A home that cannot be written has no room for uv's cache.
UV = kept="$$($(BIN)/uv cache dir)"; mkdir -p "$$kept" 2>/dev/null && test -w "$$kept" || export UV_NO_CACHE=1; $(BIN)/uv
# dvc.yaml says `python`; it has to be the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install repro test lint docs lock ui ui-stop clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' Makefile

install: $(STAMP) ## set up .venv from requirements.lock

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: db3 needs Python >= 3.11, but $(PYTHON) is $$($(PYTHON) --version 2>&1 || true); name another: make PYTHON=python3.12 ..." >&2; \
	  exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(UV) pip install --quiet --python .venv --constraint requirements.lock --compile-bytecode -e '.[http,pipeline,test]'
	@touch $@

repro: $(STAMP) ## run the pipeline: data/report/index.html
	$(BIN)/dvc repro

test: $(STAMP) ## run the tests; ARGS='tests/flows -x' chooses
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m '$(MARK)' $(ARGS)

lint: $(STAMP) ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(STAMP) ## build the documentation into site/; a warning is an error
	@$(UV) pip install --quiet --python .venv --constraint requirements.lock -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

lock: $(STAMP) ## compile requirements.lock anew; UPGRADE=--upgrade takes newer versions
	@$(UV) pip compile --quiet --universal --python-version 3.11 --all-extras $(UPGRADE) \
	  --no-header --no-annotate pyproject.toml --output-file requirements.lock

ui: $(STAMP) ## Prefect's UI and the nightly deployment on 127.0.0.1; PORT=4300 for another port
	@$(BIN)/python -m flows.ui start --port $(PORT)

ui-stop: $(STAMP) ## end what `make ui` began
	@$(BIN)/python -m flows.ui stop

clean: ## remove .venv and caches; keeps data/, DVC's cache and the finished shards in .db3/
	rm -rf .venv site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
