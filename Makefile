# The habits of this project; `make` alone lists them.

# The Python that makes the environment (3.11 or later), and where the environment goes.
PYTHON ?= python3
VENV ?= .venv
# How many processes run the tests: one for each processor unless you say otherwise (one more was no faster).
WORKERS ?= logical
# More words for the command that is run: make study ARGS=--quick, make test ARGS="tests/runs -x".
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help study gallery pictures test thorough lint types check memory clean

help: ## List these habits.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1@/' | awk -F@ '{ printf "%-14s %s\n", $$1, $$2 }'

study: $(VENV)/installed ## Install gradscope, train the study "vanishing" and write reports/vanishing.html.
	$(BIN)/gradscope study vanishing $(ARGS)

gallery: $(VENV)/installed-data ## Run every built-in study and write its page and README.md into reports.
	$(BIN)/gradscope gallery $(ARGS)

pictures: $(VENV)/installed-dev ## Take the pictures in README.md out of reports/vanishing.html.
	$(BIN)/python reports/pictures.py

test: $(VENV)/installed-dev ## Install what the tests need and run them.
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 $(ARGS)

thorough: export GRADSCOPE_EXAMPLES = 10
thorough: test ## The same with ten times as many drawn cases.

lint: $(VENV)/installed-dev ## Check style, formatting and which package imports which.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/installed-dev ## Check the types.
	$(BIN)/mypy

check: lint types test ## All three.

memory: $(VENV)/installed ## Measure how memory grows over 5,000 watched iterations; it takes ten minutes.
	$(BIN)/gradscope overhead --memory $(ARGS)

bench: $(VENV)/installed-dev ## Measure what the engine of a study costs: ARGS="overhead", "shares" or "scaling".
	$(BIN)/python -m benchmarks.engine $(ARGS)

clean: ## Remove the environment and what the tools left; reports and their runs stay.
	rm -rf .venv build dist .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are touched last: an installation that broke off is begun again, one that is whole is left alone.
$(VENV)/installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-data: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[data]'
	@touch $(VENV)/installed $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev,data]'
	@touch $(VENV)/installed $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("gradscope needs Python 3.11 or later; $(PYTHON) is %d.%d. Name another: make study PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
