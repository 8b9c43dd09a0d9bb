.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true
export DVC_NO_ANALYTICS := 1
# the extras that the pipeline needs; what was installed beside them stays
EXTRAS := --extra drift --extra dvc --extra formats
SYNC := $(BIN)/uv sync --quiet --frozen --inexact --compile-bytecode $(EXTRAS)
EXPORT := uv export --quiet --frozen --no-hashes --no-annotate $(EXTRAS)

.PHONY: help
help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/.installed: uv.lock
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; try: make PYTHON=python3.12 pipeline")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.txt uv
	$(SYNC)
	@touch $@

$(BIN)/.installed-scale: $(BIN)/.installed
	$(SYNC) --extra scale
	@touch $@

$(BIN)/.installed-boost: $(BIN)/.installed
	$(SYNC) --extra boost
	@touch $@

$(BIN)/.installed-explain: $(BIN)/.installed
	$(SYNC) --extra explain
	@touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	$(SYNC) --extra boost --extra explain --extra scale --group dev
	@touch $@

.PHONY: pipeline
pipeline: $(BIN)/.installed ## Set up what is needed and run every stage that is out of date
	@python -m pipeline.repro

.PHONY: scale
scale: $(BIN)/.installed-scale ## Set up what work on more than one machine needs

.PHONY: boost
boost: $(BIN)/.installed-boost ## Set up LightGBM and CatBoost

.PHONY: explain
explain: $(BIN)/.installed-explain ## Set up what explains single rows on the comparison page

.PHONY: test
test: $(BIN)/.installed-dev ## Run the tests
	pytest -n 2

.PHONY: test-slow
test-slow: $(BIN)/.installed-dev ## Run the long tests
	pytest -n 2 -m slow

.PHONY: lint
lint: $(BIN)/.installed-dev ## Check style, types and the workflow
	ruff check .
	ruff format --check .
	mypy
	actionlint
	uv lock --quiet --check --offline
	$(EXPORT) | diff requirements.txt - || { echo "requirements.txt differs from uv.lock: run make docs"; exit 1; }
	zizmor --offline --quiet --persona auditor .github

.PHONY: docs
docs: $(BIN)/.installed-dev ## Write the generated parts of the pages again, the schema of params.yaml and requirements.txt
	python -m pipeline.settings > params.schema.json
	$(EXPORT) > requirements.txt
	cog -r -I . *.md docs/*.md .github/*.md

.PHONY: ui
ui: $(BIN)/.installed ## Open MLflow on http://127.0.0.1:5000
	@echo "choose \"Model training\" at the top left of the page, once: the browser remembers it"
	mlflow ui --backend-store-uri sqlite:///mlruns/db.sqlite --port 5000

.PHONY: clean
clean: ## Remove what the pipeline made (committed metrics stay)
	rm -rf data/*.csv data/*.parquet data/*.schema.json mlruns reports logs .dvc/cache .dvc/tmp
