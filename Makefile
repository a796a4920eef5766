# `make parity` and `make test` do all the set-up they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: interop parity test slow pages docs docs-build check format bench demo-model release-check clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

parity: $(VENV)/.installed
	$(BIN)/mobilebert parity --dtype float64 float32

test: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile

# Processes that are killed, whole trainings, copies of the code: what takes more than five seconds.
slow: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(JOBS) --dist loadgroup -m slow

# The tools around PyTorch's models, in an environment of their own: they are large.
INTEROP_VENV ?= .venv-interop
$(INTEROP_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(INTEROP_VENV)
	$(INTEROP_VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[interop]'
	touch $@

interop: $(INTEROP_VENV)/.installed
	$(INTEROP_VENV)/bin/python -m pytest -q -m interop tests/interop

# What the documentation shows, run.
pages: $(VENV)/.installed
	$(BIN)/python -m pytest -q -m pages tests/test_pages.py tests/test_notebooks.py

# The documentation: built strictly, and served on this machine.
DOCS_VENV ?= .venv-docs
MKDOCS := NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs
$(DOCS_VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

docs-build: $(DOCS_VENV)/.installed
	$(MKDOCS) build --strict --quiet

docs: docs-build
	$(MKDOCS) serve --strict

# Builds the archives of a release and tries them in environments that have nothing else.
release-check:
	$(PYTHON) -m scripts.release_check $(ENVIRONMENTS)

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.bench_forward
	$(BIN)/python -m tests.benchmarks.bench_training
	$(BIN)/python -m tests.benchmarks.bench_devices

# GOEMOTIONS is a directory with train.tsv and dev.tsv of the data set; see scripts/demo_model.py.
GOEMOTIONS ?= goemotions
demo-model: $(VENV)/.installed
	$(BIN)/python -m scripts.demo_model $(GOEMOTIONS) build/demo_model

clean:
	rm -rf $(VENV) $(INTEROP_VENV) $(DOCS_VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
