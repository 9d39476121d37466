# Everything runs in .venv, which make creates; nothing here needs root (only `make phone` may ask for it).
#
#   make demo        text, a prune, a compilation, and one table: at most 3 minutes on two cores
#   make demo-full   prune the bundled model eight ways: one table, 6 to 15 minutes on two cores
#   make test        the quick tests        make test-slow   all tests
#   make lint        ruff, mypy, layers     make bench       measure the bundled models
#   make docs        the documents as a site, in build/site
#   make dist        wheel and sdist in dist/, checked, and run without torch in an empty environment
#   make runner  c4n_run for arm64 Linux and Android's kernel, packed into dist/
#   make phone       build the emulated phone that some tests need      make clean
#   make bench-llama build llama.cpp into build/llama.cpp and measure it beside ours (LLAMA_CPP=FOLDER: elsewhere)

PYTHON ?= python3
VENV ?= .venv
# Pinned: where pip finds a CPU build of this version, it takes it; the newest torch on Linux comes with gigabytes
# of CUDA packages that nothing here uses. Another one: make demo TORCH='torch>=2.6'
TORCH ?= torch==2.13.0
# Tests run in two processes. TVM's and torch's own threads would only get in each other's way then.
WORKERS ?= 2
LLAMA_CPP ?= build/llama.cpp
export LLAMA_CPP
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo demo-full test test-slow lint docs dist runner bench bench-llama phone clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed-demo
	$(BIN)/python -m benchmarks demo $(DEMO)

demo-full: $(VENV)/installed-demo
	$(BIN)/python -m benchmarks demo-full $(DEMO)

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadscope --durations=20 $(ARGS)

test-slow: $(VENV)/installed-dev
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/installed-dev
	$(PIP) -e '.[docs]'
	$(BIN)/mkdocs build --strict --quiet

dist: $(VENV)/installed-dev
	$(PIP) -e '.[dist]'
	$(BIN)/python tools/dist.py $(ARGS)

runner: $(VENV)/installed-dev
	$(BIN)/python tools/runner_archive.py $(ARGS)

bench: $(VENV)/installed-demo
	$(BIN)/tvm-c4n bench mamba-19m mamba-19m-s30-int4 mamba-19m-mixed mamba-19m-n2-int4 mamba-19m-n3-int4 --threads 1,2 $(ARGS)

bench-llama: $(VENV)/installed-demo
	$(PIP) -e '.[prune,bench]'
	@test -x $(LLAMA_CPP)/build/bin/llama-bench || \
	  PYTHON=$(abspath $(BIN)/python) bash benchmarks/llama_cpp/install.sh $(LLAMA_CPP)
	$(BIN)/python -m benchmarks decode $(ARGS)

phone: $(VENV)/installed-dev
	PYTHON=$(BIN)/python bash tests/phone/setup.sh --install

clean:
	rm -rf build dist $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than Python 3.11: make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) cannot make a virtual environment; on Debian: apt-get install python3-venv" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# torch goes first: with it in place, the extra [prune] is content and does not look for a newer one.
$(VENV)/installed-demo: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) (once; TVM, torch and a linker are some 400 MB)"
	$(PIP) "$(TORCH)"
	$(PIP) -e '.[prune,link]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV) (once; TVM, torch and a linker are some 400 MB)"
	$(PIP) "$(TORCH)"
	$(PIP) -e '.[dev,link]'
	@touch $@ $(VENV)/installed-demo
