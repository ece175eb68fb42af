# `make demo` and `make test` are all a newcomer needs; both set up .venv first.
PYTHON ?= python3
# A CPU build of torch is enough for everything; on a GPU machine choose your own, such as TORCH=torch.
TORCH ?= torch==2.13.0
VENV := .venv
# Processes that share the tests out, file by file, as the tests of a file share the runs that they train. Each has one
# thread, so that the cores are not oversubscribed; each takes about 1 GB of memory.
SHARED := OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n logical --maxprocesses 8 --dist loadfile --no-loadscope-reorder
BIN := $(VENV)/bin

.PHONY: demo test test-bare test-skipped test-slow test-triton test-extras lint cluster clean help

help:
	@echo "make demo       train a detector on procedural chairs and draw what it finds (about a minute on two cores)"
	@echo "make test       run the test suite, in as many processes as there are cores, up to 8"
	@echo "make test-bare  run the test suite and the demo as where Open3D cannot be loaded"
	@echo "make test-skipped  run the tests that were skipped by the last run"
	@echo "make test-slow  run the long proofs"
	@echo "make test-triton  test the GPU kernels, in Triton's interpreter where there is no GPU (installs Triton)"
	@echo "make test-extras  test what needs the extra ray, which is large (installs Ray)"
	@echo "make lint       ruff, mypy, and the layers of imports"
	@echo "make cluster    build torch-cluster, the faster neighbour engine (needs a compiler, about 15 minutes)"

$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "$(TORCH)"
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@

demo: $(VENV)/ready
	$(BIN)/pcsargmax demo

test: $(VENV)/ready
	$(SHARED) -m "not slow"

test-bare: export PYTHONPATH := $(CURDIR)/build/bare
test-bare: $(VENV)/ready
	mkdir -p build/bare/open3d
	echo 'raise ImportError("kept out by make test-bare")' >build/bare/open3d/__init__.py
	$(SHARED) -m "not slow"
	$(BIN)/pcsargmax demo

# One after the other: windows and browsers share the screen's driver, which is slow.
test-skipped: $(VENV)/ready
	$(BIN)/python -m pytest -m "not slow" --only-skipped

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -m slow

test-triton: $(VENV)/ready
	$(BIN)/pip install --quiet "triton>=3.5"
	$(BIN)/python -m pytest tests/core/engine/test_triton_moments.py

test-extras: $(VENV)/ready
	$(BIN)/pip install --quiet --editable ".[ray]"
	$(BIN)/python -m pytest tests/benchmark/test_ray_engine.py

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

cluster: $(VENV)/ready
	$(BIN)/pip install --quiet setuptools wheel
	$(BIN)/pip install --no-build-isolation "torch-cluster>=1.6.3"

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
