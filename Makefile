# What one does with a checkout. Everything is kept in .venv; nothing else on the machine changes.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
ADAPTER := $(VENV)/adapter
READY := $(VENV)/ready
INSTALL := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install --no-compile
SOURCES := src tests tools examples benchmarks
# Which tests: the quick ones; make test SELECT="not npu" runs them all.
SELECT ?= not slow and not npu and not browser

TORCH := torch==2.13.0
TORCH_NPU := torch-npu==2.13.0

# Tests start hundreds of processes: modules are compiled once, not by each of them.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup runtime demo test check fix docs clean

help:
	@echo "make demo    a GPT written for NVIDIA is ported, trained and served on virtual Ascends, of which some fail"
	@echo "make test    all tests"
	@echo "make check   format, lint, types, and who may import whom"
	@echo "make fix     put format and simple lint right"
	@echo "make docs    write the pages that are derived from code, and their site into build/site"
	@echo "make clean   remove what make made"

setup: $(READY)

# pip is asked for a CPU build first, where one is provided, then at PyTorch's own CPU index: either
# way no CUDA package is installed. torch-npu asks for nothing that the extra `emulator` does not.
# A newer pip than Python brings takes half the time. A module is compiled when it is first imported, which most never are.
$(ADAPTER): Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "cordee needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "==> virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip 2>/dev/null || true
	@echo "==> PyTorch, CPU build"
	@$(INSTALL) "$(TORCH)+cpu" 2>/dev/null \
		|| $(INSTALL) --extra-index-url https://download.pytorch.org/whl/cpu "$(TORCH)"
	@echo "==> torch-npu, the adapter for Ascend"
	@$(INSTALL) --no-deps "$(TORCH_NPU)"
	@touch $@

$(READY): $(ADAPTER) pyproject.toml
	@echo "==> cordee and its tools"
	@$(INSTALL) --editable ".[dev,emulator,serve,train]"
	@touch $@

# It needs nothing but the adapter: with -j it is compiled while the tools are fetched.
runtime: $(ADAPTER)
	@echo "==> runtime of the virtual chip"
	@PYTHONPATH=src $(BIN)/python -c 'from cordee.emulator.build import libraries; libraries()'

demo: setup runtime
	@echo "==> is anything in the way on this computer?"
	@$(BIN)/cordee doctor
	@$(BIN)/cordee demo $(ARGS)

# The runtime's own tests need a process in which torch_npu has not started it.
test: setup runtime
	@echo "==> tests of the runtime"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "$(SELECT)" tests/emulator/runtime
	@echo "==> tests of everything else"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 -m "$(SELECT)" \
		--ignore=tests/emulator/runtime $(ARGS)

check: setup
	@echo "==> format"
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "run: make fix"; exit 1; }
	@echo "==> lint"
	@$(BIN)/ruff check --quiet $(SOURCES)
	@echo "==> types"
	@$(BIN)/mypy
	@echo "==> imports"
	@$(BIN)/lint-imports --no-logo

fix: setup
	@$(BIN)/ruff check --fix --quiet $(SOURCES) || true
	@$(BIN)/ruff format --quiet $(SOURCES)

docs: setup
	@$(BIN)/python tools/docs.py
	@$(BIN)/python tools/measured.py
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) out build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
