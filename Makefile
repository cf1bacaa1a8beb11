# Everything sets itself up in .venv. The first command on a fresh machine takes as long as pip needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BROWSER_READY := $(VENV)/.ready-browser
COLAB := .venv-colab
COLAB_PINS := tests/kernel/colab.txt
COLAB_STACK := tests/kernel/colab-stack.txt
COLAB_READY := $(COLAB)/.ready
UNSLOTH := .venv-unsloth
UNSLOTH_READY := $(UNSLOTH)/.ready
CHROMIUM := /usr/bin/chromium
PIP := -m pip install --quiet --disable-pip-version-check
PACKAGES := -c "import sysconfig; print(sysconfig.get_path('purelib'))"
# Two processes, a file's tests in one of them; more threads in each would only wait for each other.
TWO := -n 2 --dist loadfile
ONE_THREAD := OMP_NUM_THREADS=1
# What depends on Jupyter's versions: the shell's tests, the kernel's, and what is shown in them.
JUPYTER_TESTS := tests/magics tests/kernel tests/display tests/doctor tests/colab $(wildcard tests/forms)

.PHONY: demo notebooks test test-colab test-notebooks test-unsloth test-browser test-all lint format clean

demo: $(READY)
	$(BIN)/python notebooks/run_demo.py

# Badges and install cells of all notebooks, from the repository's address in pyproject.toml.
notebooks: $(READY)
	$(BIN)/python colab/write.py

test: $(READY)
	$(ONE_THREAD) $(BIN)/python -m pytest -q $(TWO) -m "not slow and not gpu"

test-colab: $(COLAB_READY)
	$(ONE_THREAD) LORA_MAGIC_STACK=colab $(COLAB)/bin/python -m pytest -q $(TWO) -m "not slow and not gpu" $(JUPYTER_TESTS)

# The templates to their end on Colab's Jupyter, and what an installation changes on a stock runtime, as a table. On
# today's Jupyter `make demo` runs the quickstart.
test-notebooks: $(COLAB_READY)
	$(ONE_THREAD) LORA_MAGIC_STACK=colab $(COLAB)/bin/python -m pytest -q tests/colab/test_templates.py -m slow
	$(ONE_THREAD) $(BIN)/python -m pytest -q -s tests/colab -m slow -k "not quickstart"

test-unsloth: $(UNSLOTH_READY)
	LORA_MAGIC_BACKEND=unsloth $(UNSLOTH)/bin/python -m pytest -q tests/backends/test_contract.py tests/dataset/test_templates.py \
		tests/evaluation/test_compare_exact.py

# In JupyterLab with today's kernel, and in Notebook 6.5 with Colab's.
test-browser: $(BROWSER_READY) $(COLAB_READY)
	@test -x $(CHROMIUM) || { echo "$(CHROMIUM) is missing: apt-get install chromium" >&2; exit 1; }
	$(ONE_THREAD) $(BIN)/python -m pytest -q $(TWO) tests/browser

test-all: $(BROWSER_READY) $(COLAB_READY) $(UNSLOTH_READY)
	$(BIN)/python -m pytest -q -m "not gpu"
	$(MAKE) test-colab test-notebooks test-unsloth

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
	$(BIN)/python $(PIP) torch==2.13.0
	$(BIN)/python $(PIP) --editable ".[dev]"
	touch $@

$(BROWSER_READY): $(READY)
	$(BIN)/python $(PIP) --editable ".[dev,browser]"
	touch $@

# Colab's Jupyter, transformers and peft lie in an environment of their own; the rest, torch first, comes from .venv.
$(COLAB_READY): $(COLAB_PINS) $(COLAB_STACK) $(READY)
	rm -rf $(COLAB)
	$(BIN)/python -m venv $(COLAB)
	$(COLAB)/bin/python $(PIP) --requirement $(COLAB_PINS)
	$(COLAB)/bin/python $(PIP) --no-deps --requirement $(COLAB_STACK)
	{ $(BIN)/python $(PACKAGES); pwd; } > "$$($(COLAB)/bin/python $(PACKAGES))/rest.pth"
	touch $@

# Unsloth's declared needs do not resolve everywhere; what it needs to import is in .venv already.
$(UNSLOTH_READY): $(READY)
	rm -rf $(UNSLOTH)
	$(BIN)/python -m venv $(UNSLOTH)
	$(UNSLOTH)/bin/python $(PIP) --no-deps unsloth==2026.10.9 unsloth_zoo==2026.10.9
	{ $(BIN)/python $(PACKAGES); pwd; } > "$$($(UNSLOTH)/bin/python $(PACKAGES))/rest.pth"
	touch $@

clean:
	rm -rf $(VENV) $(COLAB) $(UNSLOTH) out .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
