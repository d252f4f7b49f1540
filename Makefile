# Every target makes its own environment in .venv; only Python 3.11+ and make are needed.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed

.PHONY: help install demo test lint bench
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 18

install: $(DONE)  ## the package, editable, with its development tools, into .venv

$(DONE): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .ci/constraints.txt --editable ".[dev]"
	@touch $@

# One thread: two on two cores gain little on pictures this small, and lose much as soon as something else runs.
demo: export OMP_NUM_THREADS = 1
demo: $(DONE)  ## train IBCA on synthetic pictures, test it on three sets, print the figures (about 5 minutes)
	@run=runs/scm/demo-$$(date +%Y-%m-%d_%H-%M-%S) && \
	$(BIN)/ibca fit --config experiments/scm.yaml --run_dir $$run && \
	$(BIN)/ibca test --config $$run/config.yaml --ckpt_path $$run/checkpoints/best.ckpt && \
	echo "heat maps: $$run/attention"

# One thread a process: with all cores busy that is about three times faster than two.
test: $(DONE)  ## the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS)

lint: $(DONE)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(DONE)  ## speed on this machine: pictures a second, share of the head, start-up times
	$(BIN)/python -m tests.bench
