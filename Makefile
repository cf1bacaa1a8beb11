# Everything sets itself up in .venv. The first command on a fresh machine takes as long as pip needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint format clean

demo: $(READY)
	$(BIN)/python notebooks/run_demo.py

test: $(READY)
	$(BIN)/python -m pytest -q -m "not slow and not gpu"

test-all: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,browser]"
	$(BIN)/python -m pytest -q -m "not gpu"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# torch goes first and pinned: asked for loosely, pip takes its newest CUDA build of several GB.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
