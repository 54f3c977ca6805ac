# make demo    a small GPT, trained on this machine in three minutes
# make test    all tests
# make faults  each fault many times, and the matrix of what came of it (hours)
# make lint    style, types
# make bars-gpu  what a GPU here reaches (skipped, with a reason, without one)
# make bars-tpu  what a step costs on TPUs that are not here: half an hour of compiling
# make clean   takes away the environment and the caches; runs stay
#
# PYTHON=python3.12 chooses the interpreter; it is used to make .venv, once.

PYTHON ?= python3
WORKDIR ?= runs/tiny
PROMPT ?= The list
# Config overrides for the demo: DEMO_FLAGS='--config.train.steps=60'
DEMO_FLAGS ?=
# Test flags: TEST_FLAGS='-n 0 tests/config/test_schema.py' runs one file in one process.
TEST_FLAGS ?= -n 2
# The fault lane: FAULT_FLAGS='--scale=0.05 --only=kills,soak --json=faults.json'
FAULT_FLAGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test faults lint bars-gpu bars-tpu clean

demo: .venv/base.stamp
	$(BIN)/gpt-jax train --config=configs/tiny.py --workdir=$(WORKDIR) $(DEMO_FLAGS)
	$(BIN)/gpt-jax eval --workdir=$(WORKDIR) --baselines
	$(BIN)/gpt-jax generate --workdir=$(WORKDIR) --prompt="$(PROMPT)"
	@printf '\nThe loss curve:   %s\n' $(WORKDIR)/figures/loss.png
	@printf 'What to try next:\n'
	@printf '  %s\n' \
	  '. .venv/bin/activate' \
	  'gpt-jax generate --workdir=$(WORKDIR) --prompt="class" --temperature=0.5' \
	  'gpt-jax train --config=configs/tiny.py --config.model.num_layers=6 --workdir=runs/deeper' \
	  'gpt-jax train --help'

test: .venv/test.stamp
	$(BIN)/python -m pytest $(TEST_FLAGS)

faults: .venv/test.stamp
	$(BIN)/python tests/faults/__main__.py $(FAULT_FLAGS)

lint: .venv/lint.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright gpt_jax

bars-gpu: .venv/base.stamp
	$(BIN)/python -m gpt_jax.benchmarks.targets_gpu

bars-tpu: .venv/plan.stamp
	$(BIN)/python -m gpt_jax.benchmarks.targets_tpu

clean:
	rm -rf .venv .cache .pytest_cache .ruff_cache build gpt_jax.egg-info

# One environment; a stamp per set of packages, older than setup.py when to be renewed.
.venv/base.stamp: setup.py | $(BIN)/python
	@echo 'Installing gpt_jax into .venv (a few minutes the first time)'
	@$(PIP) install --editable . && touch $@

.venv/test.stamp .venv/lint.stamp .venv/plan.stamp: .venv/%.stamp: setup.py | $(BIN)/python
	@echo 'Installing gpt_jax[$*] into .venv (a few minutes the first time)'
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
	@$(PYTHON) -m venv .venv
