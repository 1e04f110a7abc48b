# Each target makes the virtual environment that it needs; python3 (3.11 or newer) and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
BENCH := .venv-bench
LOWEST := .venv-lowest
WORKERS ?= auto

.PHONY: demo test test-slow test-exhaustive test-lowest lint format bench clean

demo: $(VENV)/ready
	@echo "Training on handwritten digits, which come with scikit-learn: nothing more is downloaded."
	$(RUN) -m omokage demo

test: $(VENV)/ready-dev
	$(RUN) -m pytest -m "not slow and not exhaustive" -n $(WORKERS) --maxprocesses 4

# Tests are compiled without XLA's optimisations, unless XLA_FLAGS is set: see tests/conftest.py.
test-slow: $(VENV)/ready-dev
	$(RUN) -m pytest -m "slow and not optimised and not exhaustive" -n $(WORKERS) --maxprocesses 2
	XLA_FLAGS= $(RUN) -m pytest -m "optimised and not exhaustive" -n $(WORKERS) --maxprocesses 2

test-exhaustive: $(VENV)/ready-dev
	$(RUN) -m pytest -m exhaustive -n $(WORKERS) --maxprocesses 4
	XLA_FLAGS= $(RUN) -m pytest -m "exhaustive and optimised" -n $(WORKERS) --maxprocesses 4

# The tests of `make test` with the lowest version of each dependency that pyproject.toml allows.
test-lowest: $(LOWEST)/ready
	$(LOWEST)/bin/python -m pytest -m "not slow and not exhaustive" -n $(WORKERS) --maxprocesses 4

lint: $(VENV)/ready-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(VENV)/ready-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: $(BENCH)/ready
	$(BENCH)/bin/python benchmarks/speed.py
	$(BENCH)/bin/python benchmarks/startup.py
	$(BENCH)/bin/python benchmarks/memory.py
	$(BENCH)/bin/python benchmarks/mnist.py
	$(BENCH)/bin/python benchmarks/sequences.py
	$(BENCH)/bin/python benchmarks/convolution.py
	$(BENCH)/bin/python benchmarks/conformance.py
	$(BENCH)/bin/python benchmarks/samples.py
	$(BENCH)/bin/python benchmarks/detection_speed.py
	$(BENCH)/bin/python benchmarks/scoring.py

clean:
	rm -rf $(VENV) $(BENCH) $(LOWEST) omokage-demo omokage-reproduce dist

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "omokage needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { \
	  echo "Making a virtual environment failed. On Debian and Ubuntu: apt install python3-venv"; rm -rf $(VENV); exit 1; }

# Measured on Linux with Python 3.11 in November 2026: the sizes of the files that pip downloads, and of what they unpack to.
$(VENV)/ready: $(VENV)/bin/python pyproject.toml
	@echo "Installing omokage and what it needs into $(VENV): some 50 packages, about 240 MB to download (less what pip has"
	@echo "in its cache), about 1.0 GB on disk. JAX, Polars and SciPy are the largest. 'make clean' removes all of it."
	$(RUN) -m pip install --disable-pip-version-check --editable .
	@touch $@

$(VENV)/ready-dev: $(VENV)/ready
	@echo "Installing the tools of development: pytest, mypy, ruff, pandas and others."
	$(RUN) -m pip install --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(LOWEST)/ready: pyproject.toml
	$(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --disable-pip-version-check -c $(LOWEST)/constraints.txt --editable '.[dev]'
	@touch $@

$(BENCH)/ready: pyproject.toml benchmarks/requirements-peers.txt
	@echo "Installing the libraries that are compared into $(BENCH), PyTorch among them: benchmarks/requirements-peers.txt."
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --disable-pip-version-check -r benchmarks/requirements-peers.txt
	$(BENCH)/bin/python -m pip install --disable-pip-version-check --editable .
	@touch $@
