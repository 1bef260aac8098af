# Every target sets up what it needs, in .venv, from Python 3.11 or newer and make alone: try `make demo`.
# Another Python: make test PYTHON=python3.12

ifeq ($(OS),Windows_NT)
PYTHON ?= python
BIN = Scripts
else
PYTHON ?= python3
BIN = bin
endif
VENV ?= .venv
CONFORMANCE_VENV ?= .venv-conformance
BENCH_VENV ?= .venv-bench
PEERS_VENV ?= .venv-peers
# Parts of coremltools' own tests: what `make test` runs as a whole, and what is too long for that.
WHOLE = coremltools.test.neural_network coremltools.test.api coremltools.test.modelpackage coremltools.test.pipeline
CLASSICAL = coremltools.test.sklearn_tests coremltools.test.xgboost_tests
SAMPLED = coremltools.converters.mil.mil.ops.tests coremltools.test.ml_program
# make conformance TESTS=coremltools.test.pipeline
TESTS ?= $(WHOLE) $(CLASSICAL) $(SAMPLED)
# make unit ARGS="-k activation"
ARGS ?=

PY = $(VENV)/$(BIN)/python
PIP = -m pip install --quiet --disable-pip-version-check
PYTEST = $(PY) -m pytest
# One thread for each of the two processes. Some tests expect equal numbers in the order in which NumPy's argsort leaves
# them, which is another with AVX.
CONFORMANCE = OMP_NUM_THREADS=1 WINDFALL_CACHE=off NPY_DISABLE_CPU_FEATURES="AVX2 AVX512F" PYTHONPATH=. \
	$(CONFORMANCE_VENV)/$(BIN)/python -m pytest -c tests/conformance/conformance.ini \
	--rootdir=$(CONFORMANCE_VENV) -n 2 --pyargs

.PHONY: help demo test unit check format docs bench conformance conformance-sample build clean
.DEFAULT_GOAL := help

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-19s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## Repaint a photo in four styles
	$(PY) examples/style_transfer/demo.py

test: unit conformance-sample ## Run all tests: our own and a part of coremltools'

unit: $(VENV)/.develop ## Run our own tests alone, those in docstrings too
	$(PYTEST) -n auto --doctest-modules src tests $(ARGS)

check: $(VENV)/.develop ## Format, lint, types, documentation, version: without changing anything
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy
	$(PY) scripts/generate_docs.py --check
	$(PY) scripts/check_version.py
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html

format: $(VENV)/.develop ## Format the code and mend what the linter can
	$(PY) -m ruff format
	$(PY) -m ruff check --fix

docs: $(VENV)/.develop ## Generate the reference pages and build docs/_build/html
	$(PY) scripts/generate_docs.py
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: $(VENV)/.develop $(BENCH_VENV)/.ready $(PEERS_VENV)/.ready ## Measure: latency, loading, memory, states, classical models
	$(PY) benchmarks/latency.py $(ARGS)
	$(PY) benchmarks/performance.py --peers $(PEERS_VENV)/$(BIN)/python
	$(PY) benchmarks/engines.py
	$(PY) benchmarks/loading.py
	$(PY) benchmarks/states.py
	$(PY) benchmarks/packages.py
	$(PY) benchmarks/shapes.py
	$(PY) benchmarks/custom.py
	$(BENCH_VENV)/$(BIN)/python benchmarks/classical.py

conformance: $(CONFORMANCE_VENV)/.ready ## Run coremltools' own tests on windfall
	$(CONFORMANCE) $(TESTS) $(ARGS)

conformance-sample: $(CONFORMANCE_VENV)/.ready ## Run a fixed part of them, and convert models of other libraries
	$(CONFORMANCE) $(WHOLE)
	$(CONFORMANCE) $(CLASSICAL) --sample 3
	$(CONFORMANCE) $(SAMPLED) --sample 20
	PYTHONPATH=. $(CONFORMANCE_VENV)/$(BIN)/python -m pytest -c tests/conversion/conversion.ini --rootdir=. tests/conversion

build: $(VENV)/.develop ## Build the wheel into dist/
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .

clean: ## Remove what the other targets made
	rm -rf $(VENV) $(CONFORMANCE_VENV) $(BENCH_VENV) $(PEERS_VENV) build dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.runtime: pyproject.toml
	@echo "setting up $(VENV)"
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'windfall needs Python 3.11 or newer; try make PYTHON=python3.11')"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) $(PIP) --editable .
	@touch $@

$(VENV)/.develop: $(VENV)/.runtime requirements/develop.txt requirements/constraints.txt
	@echo "setting up $(VENV) for development; PyTorch is large, the first time takes a few minutes"
	@$(PY) $(PIP) --requirement requirements/develop.txt --constraint requirements/constraints.txt --editable .
	@touch $@

$(CONFORMANCE_VENV)/.ready: pyproject.toml tests/conformance/requirements.txt
	@echo "setting up $(CONFORMANCE_VENV); PyTorch is large, the first time takes a few minutes"
	@$(PYTHON) -m venv $(CONFORMANCE_VENV)
	@$(CONFORMANCE_VENV)/$(BIN)/python $(PIP) --requirement tests/conformance/requirements.txt --editable .
	@touch $@

$(BENCH_VENV)/.ready: pyproject.toml requirements/benchmarks.txt
	@echo "setting up $(BENCH_VENV)"
	@$(PYTHON) -m venv $(BENCH_VENV)
	@$(BENCH_VENV)/$(BIN)/python $(PIP) --requirement requirements/benchmarks.txt --editable .
	@touch $@

$(PEERS_VENV)/.ready: requirements/peers.txt
	@echo "setting up $(PEERS_VENV); PyTorch is large, this takes a few minutes"
	@$(PYTHON) -m venv $(PEERS_VENV)
	@$(PEERS_VENV)/$(BIN)/python $(PIP) --requirement requirements/peers.txt
	@touch $@
