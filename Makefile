# `make parity` and `make test` do all the set-up they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: browser browser-test cluster environments executorch interop parity test slow pages docs docs-build check format bench demo-model mini-model
.PHONY: pictures transfer-study release-check clean

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

# An environment of its own, .venv-NAME, for each extra NAME that is large or does not fit the rest.
.venv-%/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --constraint constraints.txt --editable '.[$*]' pytest pytest-xdist
	touch $@

environments: $(foreach name,interop docs browser executorch cluster,.venv-$(name)/.installed)

# The tools around PyTorch's models.
interop: .venv-interop/.installed
	.venv-interop/bin/python -m pytest -q -n $(JOBS) --dist loadfile -m interop tests/interop

# A page that runs a model in the browser: what examples/browser needs is laid beside it.
NPM := build/npm
PAGE := examples/browser
TRANSFORMERS_JS := 4.3.2
BROWSER_MODEL ?= mobilebert_core/data/demo_model
$(NPM)/.installed-$(TRANSFORMERS_JS):
	npm install --prefix $(NPM) --no-audit --no-fund --ignore-scripts @huggingface/transformers@$(TRANSFORMERS_JS)
	touch $@

# It brings the ONNX Runtime that it was built with: plain, and with WebGPU.
$(PAGE)/library/.installed: $(NPM)/.installed-$(TRANSFORMERS_JS)
	mkdir -p $(PAGE)/library
	cp $(NPM)/node_modules/@huggingface/transformers/dist/transformers.min.js $(PAGE)/library
	cp $(foreach kind,threaded threaded.asyncify,$(addprefix $(NPM)/node_modules/onnxruntime-web/dist/ort-wasm-simd-$(kind),.mjs .wasm)) $(PAGE)/library
	touch $@

$(PAGE)/model/%/export.json: $(VENV)/.installed $(wildcard $(BROWSER_MODEL)/*)
	$(BIN)/mobilebert export $(BROWSER_MODEL) $(@D) --format onnx --precision $* --input-dtype int64 --overwrite

browser: $(PAGE)/library/.installed $(PAGE)/model/int8/export.json $(PAGE)/model/fp32/export.json
	@echo "Serve it: python -m http.server --directory $(PAGE), and open http://localhost:8000"

# The page in headless Chromium, and the exported files in Node, beside Python's answers.
browser-test: browser .venv-browser/.installed
	.venv-browser/bin/python -m pytest -q -m browser tests/browser

# ExecuTorch brings two dozen packages that nothing else here needs.
executorch: .venv-executorch/.installed
	.venv-executorch/bin/python -m pytest -q -m executorch tests/executorch

# Prediction with Ray and Spark, in an environment of their own; Spark needs Java.
cluster: .venv-cluster/.installed
	.venv-cluster/bin/python -m pytest -q -m cluster tests/cluster

# What the documentation shows, run.
pages: $(VENV)/.installed
	$(BIN)/python -m pytest -q -n $(JOBS) -m pages tests/test_pages.py tests/test_notebooks.py

# The documentation: built strictly, and served on this machine.
MKDOCS := NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs
docs-build: .venv-docs/.installed
	$(MKDOCS) build --strict

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
	$(BIN)/python -m tests.benchmarks.bench_transfer
	$(BIN)/python -m tests.benchmarks.bench_devices

# GOEMOTIONS is a directory with train.tsv and dev.tsv of the data set; see scripts/demo_model.py.
GOEMOTIONS ?= goemotions
demo-model: $(VENV)/.installed
	$(BIN)/python -m scripts.demo_model $(GOEMOTIONS) build/demo_model

# DATA is a directory with corpus, tasks and goemotions; see scripts/mini_model.py and scripts/transfer_study.py.
DATA ?= data
mini-model: $(VENV)/.installed
	$(BIN)/python -m scripts.mini_model $(DATA) build/mini_model

# The documentation's pictures of measurements, drawn anew where they are shown.
pictures: $(VENV)/.installed
	$(BIN)/python -m scripts.pictures $(DATA) build/pictures docs

# TOKENS is the budget of each run; what was interrupted goes on, and what is done is not done again.
TOKENS ?= 5000000
transfer-study: $(VENV)/.installed
	$(BIN)/python -m scripts.transfer_study $(DATA) build/transfer_study --tokens $(TOKENS)

clean:
	rm -rf $(VENV) .venv-* $(PAGE)/library $(PAGE)/model build *.egg-info .pytest_cache .ruff_cache .mypy_cache
