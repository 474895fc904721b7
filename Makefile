# The vocabulary of the project. `make run` and `make test` work on a fresh machine with Python 3.11, pip and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup data run test check format serve bench docs lock clean

help:             ## show what there is
	@grep -E '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(VENV)/.runtime: requirements.lock setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime  ## make .venv with locked versions and the offerwright command in it

data: setup       ## fetch the two optional data sets (orange_juice, ta_feng) into .offerwright/data
	$(BIN)/python -m engine.sources.fetch

run: setup        ## one whole cycle on the default data: a proposal in ./out (more: make run ARGS="--data simulated")
	$(BIN)/offerwright run --out out $(ARGS)

test: $(VENV)/.dev  ## all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: $(VENV)/.dev  ## lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

serve: setup      ## web pages, JSON API and scheduled jobs on http://127.0.0.1:8000
	$(BIN)/offerwright serve $(ARGS)

bench: $(VENV)/.dev  ## measure stages, accuracy and known truth; results in benchmarks/results
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.dev  ## bring the Chinese catalogue up to date and list what is not translated
	$(BIN)/python -m docs.messages

lock: $(VENV)/.dev  ## resolve the dependencies anew
	$(BIN)/uv pip compile -q pyproject.toml --extra postgresql --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --all-extras --python-version 3.11 --no-emit-index-url --custom-compile-command "make lock" -c requirements.lock -o requirements-dev.lock

clean:            ## remove what the tools left behind (not the data)
	rm -rf build dist *.egg-info .coverage htmlcov .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find engine optimizers experiments api -name '*.nb[ci]' -delete  # compiled kernels
