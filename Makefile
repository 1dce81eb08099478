# make run: install, build, and serve Medhub with its demonstration.  make test: the same checks as CI.
PYTHON ?= python3
DATA ?=
BIN := .venv/bin
WEB_SOURCES := $(shell find web/src web/public -type f 2>/dev/null) web/index.html web/vite.config.ts web/tsconfig.json

.PHONY: install run test lint vocabulary check-web check-python api deid-bench fuzz clean

install: .make/python .make/web

.make/venv:
	@mkdir -p .make
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Medhub needs Python 3.11 or newer; set PYTHON=... to its command"; exit 1; }
	@$(PYTHON) -m venv .venv || { echo "The module venv is missing. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@touch $@

.make/python: .make/venv pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e . -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps rapidocr-onnxruntime -c constraints.txt
	@touch $@

.make/node_modules: web/package.json web/package-lock.json
	@mkdir -p .make
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' || { echo "Medhub needs Node 20 or newer."; exit 1; }
	cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.make/web: .make/node_modules $(WEB_SOURCES)
	cd web && npm run --silent build
	@touch $@

# DATA=... selects another data folder than that of the user.
run: install
	@exec $(BIN)/medhub serve --demo $(if $(DATA),--data $(DATA))

# Additional packages for the tests: tools, and torch for the training tests.
.make/dev: .make/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev,train]' -c constraints.txt
	@touch $@

lint: .make/dev
	$(BIN)/ruff check src tests bench tools
	$(BIN)/ruff format --check src tests bench tools
	$(BIN)/mypy
	$(BIN)/lint-imports

# Counts names and sizes that make code hard to read; fails when a count rises. --list PATH and --update: see the script.
vocabulary: .make/dev .make/node_modules
	$(BIN)/python tools/vocabulary.py

check-web: .make/node_modules
	cd web && npm run --silent check
	cd web && npm test --silent

# MEDHUB_TEST_STRICT=1: a missing tool fails a test instead of skipping it.
# TESTS=...: run only these tests. PROCESSES=...: number of processes.
PROCESSES ?= 2
test: install lint vocabulary check-web
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder $(TESTS)

# The complete de-identification benchmarks; make test runs a sample of each.
deid-bench: .make/dev
	PYTHONPATH=. $(BIN)/python bench/names.py
	PYTHONPATH=. $(BIN)/python bench/deid.py
	PYTHONPATH=. $(BIN)/python bench/burned_in.py

# Ten thousand mutated files through the receive path; make test runs a sample.
fuzz: .make/dev
	$(BIN)/python -m tests.fuzz.receiving --count 10000

# The OpenAPI document, and the web client that is generated from it.
api: .make/dev .make/node_modules
	$(BIN)/python -m medhub.entrypoints.openapi > web/openapi.json
	cd web && npm run --silent api

clean:
	rm -rf .make .venv web/node_modules web/dist
