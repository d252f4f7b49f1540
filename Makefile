# Every target makes its own environment in .venv; only Python 3.11+ and make are needed.
PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
DONE := $(VENV)/.installed

# What tune and compare work on; override any of them, such as make compare EXPERIMENT=experiments/scm.yaml MAPS=
EXPERIMENT ?= experiments/idrid_maps.yaml
MAPS ?= data/idrid_maps
# All but pair, which wants two pictures a case, and lp: without a file of embeddings of the classes it is a linear
# head like gap, on random directions, a control of nothing else in the table. With one:
# HEADS=lp OPTIONS="--model.head.class_embeddings FILE".
HEADS ?= gap csra mil_attention ep attentive_pool att_vib c_gmvae cal caam ida query2label ml_decoder c_tran ts_former glori lff gcn add_gcn ibca
SEEDS ?= 0 1 2 3 4
TRIALS ?= 12
OUT ?= runs/compare/$(basename $(notdir $(EXPERIMENT)))
FOLDS ?=
OPTIONS ?=
RECIPE = --config $(EXPERIMENT) $(if $(MAPS),--data.root $(MAPS)) $(OPTIONS)

.PHONY: help install demo tune compare results test test-slow mutate lint docs bench bench-gpu
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 18

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

# EXPERIMENT the recipe, MAPS its data (empty: as the YAML says), HEADS, TRIALS a head, OPTIONS further ones of ibca fit;
# FOLDS=5: a trial's score is the mean over five folds of training and validation, at five times the cost (empty: one
# split, the data's own). It is for tune alone: compare then trains and tests on the data's own split.
tune: $(DONE)  ## search every head's options, choice by validation: make tune EXPERIMENT=... MAPS=... HEADS="gap ibca"
	@for head in $(HEADS); do echo "== $$head"; \
	$(BIN)/ibca tune $(RECIPE) --head $$head \
	--trials $(TRIALS) $(if $(FOLDS),--folds $(FOLDS)) --output $(OUT)/tune/$$head || exit; done

# Goes on where it was stopped; SEEDS a head, everything below OUT.
compare: tune  ## tune, fit and test HEADS x SEEDS, one table with intervals: make compare EXPERIMENT=... MAPS=...
	@$(BIN)/ibca sweep $(RECIPE) --heads $(HEADS) --seeds $(SEEDS) --tuned $(OUT)/tune --output $(OUT)/runs
	@$(BIN)/ibca compare $(OUT)/runs --reference best --cost --output $(OUT)

# What is given here reaches the script: DATA, W, and HEADS, SEEDS, OUT for others, less or elsewhere; the head of each script
# lists what else it takes. TABLE: heads, without marks, of edd2020 and chula_rbc12 too; fine_tuned, the backbone trained too.
results: $(DONE)  ## the tables of a study again, from nothing: make results SET=scm W=FILE (idrid, edd2020, ...: DATA=DIR too)
	@PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 bash experiments/results/$(or $(TABLE),$(if $(filter scm idrid,$(SET)),heads,marks)).sh

# One thread a process: with all cores busy that is about three times faster than two.
test: $(DONE)  ## the test suite, but for its slow part (about 10 minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m "not slow"

test-slow: $(DONE)  ## the slow part: several processes, kills, long trainings, the notebooks (about 10 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m slow

# SAMPLE=40 draws so many a part; empty, all of them: hours.
SAMPLE ?= 40
mutate: $(DONE)  ## do the tests find faults put into heads, metrics, losses, splits, labels? (mutmut): make mutate SAMPLE=40
	OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES= $(BIN)/python -m tests.mutation --jobs $(JOBS) $(if $(SAMPLE),--sample $(SAMPLE)) $(OPTIONS)

lint: $(DONE)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Off line. A warning, such as a link that leads nowhere, is an error (with --quiet it would not be).
docs: $(DONE)  ## a site of the pages and the reference of all classes, in .docs/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .docs/mkdocs.yml
	@echo "open .docs/site/index.html"

bench: $(DONE)  ## speed on this machine: pictures a second, share of the head, start-up times
	$(BIN)/python -m tests.bench

bench-gpu: $(DONE)  ## the same on a GPU: heads in bf16 and compiled, pictures a second with each, memory, one real training
	$(BIN)/python -m tests.bench.gpu $(OPTIONS)
	$(BIN)/python -m tests.bench.step --device cuda --workers 8
	$(BIN)/python -m tests.bench.step --device cuda --workers 8 --backbone mobilenetv2_100 --batch 32 --labels 4
