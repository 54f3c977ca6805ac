"""How long a run is: what step N has consumed, in samples and tokens, by arithmetic.

A run that went on with other batches (--allow_changes) has a `Past`: its stages up to
the step of the change, where the new ones begin.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from gpt_jax.core.errors import ConfigError, Problem, require_none

# Batch sizes below the full one that a ramp may use: each compiles its own step.
MAX_RAMP_SIZES = 8


@dataclasses.dataclass(frozen=True)
class BatchStage:
  """Consecutive steps with one batch size, in sequences of `seq_len` tokens."""

  first_step: int
  first_sample: int
  first_token: int
  batch_size: int
  seq_len: int

  @property
  def step_tokens(self):
    return self.batch_size * self.seq_len


@dataclasses.dataclass(frozen=True)
class Past:
  """What a run had consumed when its batches changed, before `step`."""

  step: int
  sample: int
  token: int
  stages: tuple[BatchStage, ...]  # of the steps before


START = Past(0, 0, 0, ())


@dataclasses.dataclass(frozen=True)
class Horizon:
  """The whole run in exact ints; steps after its end belong to the last stage."""

  total_steps: int
  stages: tuple[BatchStage, ...]
  ramps: bool  # whether the config has a batch-size ramp of more than one size
  first_step: int = 0  # of the stages that the present config made

  @property
  def present(self):
    """Returns the stages that the present config made: the others are past."""
    return tuple(stage for stage in self.stages if stage.first_step >= self.first_step)

  @property
  def total_tokens(self):
    return self.tokens_at(self.total_steps)

  def stage_at(self, step):
    """Returns the `BatchStage` that `step` belongs to."""
    return next(s for s in reversed(self.stages) if s.first_step <= step)

  def batch_size_at(self, step):
    """Returns the sequences that `step` consumes, over all hosts."""
    return self.stage_at(step).batch_size

  def samples_at(self, step):
    """Returns the sequences consumed before `step`: the position in the data."""
    stage = self.stage_at(step)
    return stage.first_sample + (step - stage.first_step) * stage.batch_size

  def tokens_at(self, step):
    """Returns the tokens consumed before `step`, exact; `step` is a python int."""
    stage = self.stage_at(step)
    return stage.first_token + (step - stage.first_step) * stage.step_tokens

  def traced_tokens_at(self, step):
    """Returns `tokens_at` for a traced int32 `step`, float32, to 1e-7 of its value."""
    # A 32-bit int would overflow at 2.1e9 tokens.
    first_step = np.array([s.first_step for s in self.stages], np.int32)
    first_token = [float(s.first_token) for s in self.stages]
    tokens_per_step = [float(s.step_tokens) for s in self.stages]
    i = jnp.searchsorted(first_step, step, side='right') - 1
    steps = (step - jnp.asarray(first_step)[i]).astype(jnp.float32)
    return jnp.asarray(first_token)[i] + steps * jnp.asarray(tokens_per_step)[i]

  def step_at_tokens(self, tokens):
    """Returns the first step before which at least `tokens` have been consumed."""
    return _step_at(self.stages, tokens)

  def past_at(self, step):
    """Returns the Past of a run that leaves this horizon before `step`."""
    stages = tuple(stage for stage in self.stages if stage.first_step < step)
    return Past(step, self.samples_at(step), self.tokens_at(step), stages)


def make_horizon(train, seq_len, past=START):
  """Returns the `Horizon` of a TrainConfig; tokens are rounded up to whole steps.

  Steps, tokens and the tokens of a ramp count from the start of the run, whatever its
  `past` is.
  """
  require_none(problems(train))
  if train.steps is None and train.tokens is None:
    raise ConfigError(
      f'train.epochs={train.epochs:g}: the steps of an epoch are known once its data'
      ' is open, as in training; here, give --config.train.steps=N.'
    )
  stages = [*past.stages, *_stages(train, seq_len, past)]
  ramps = len(_stages(train, seq_len, START)) > 1
  steps = train.steps or _step_at(stages, train.tokens)
  return Horizon(steps, tuple(stages), ramps, past.step)


def problems(train):
  """Returns the Problems of the budget and the batch sizes of a TrainConfig."""
  start, full, parts = train.ramp_start_batch_size, train.batch_size, train.grad_accum
  found = []
  # With epochs, steps are filled in once the data is open: `epochs.py`.
  lengths = [train.tokens, train.steps if train.epochs is None else train.epochs]
  if lengths.count(None) != 1:
    text = f'={train.steps}, train.tokens={train.tokens}'
    text += f', train.epochs={train.epochs}: give exactly one, the others None'
    found.append(Problem('train.steps', text))
  if full % parts:
    text = f'={parts}: expected a divisor of train.batch_size={full}'
    found.append(Problem('train.grad_accum', text))
  if (start is None) != (train.ramp_tokens is None):
    text = (
      f'={start}, train.ramp_tokens={train.ramp_tokens}: a batch-size ramp needs both'
    )
    found.append(Problem('train.ramp_start_batch_size', text))
  if start and (full % start or start % parts):
    text = (
      f'={start}: expected a divisor of train.batch_size={full} and a multiple of'
      f' train.grad_accum={parts}'
    )
    found.append(Problem('train.ramp_start_batch_size', text))
  return found


def _stages(train, seq_len, past):
  """Returns the stages of the batch-size ramp from `past` on; one without a ramp.

  The size rises in steps below the line from `ramp_start_batch_size` to `batch_size`
  over `ramp_tokens`, through at most MAX_RAMP_SIZES multiples of the first: what
  divides the first (microbatches, hosts, mesh axes) divides all.
  """
  start, full = train.ramp_start_batch_size, train.batch_size
  begin = (past.step, past.sample, past.token)
  if start is None:
    return [BatchStage(*begin, full, seq_len)]
  ratio = full // start
  num_sizes = min(ratio - 1, MAX_RAMP_SIZES)
  stages = []
  for i in range(num_sizes + 1):
    multiple = ratio if i == num_sizes else 1 + (ratio - 1) * i // num_sizes
    from_token = train.ramp_tokens * i // max(num_sizes, 1)
    if stages:
      last, step = stages[-1], _step_at(stages, from_token)
      steps = step - last.first_step
      begin = (
        step,
        last.first_sample + steps * last.batch_size,
        last.first_token + steps * last.step_tokens,
      )
      if not steps:  # the ramp is shorter than a step of this size, or past it
        stages.pop()
    stages.append(BatchStage(*begin, start * multiple, seq_len))
  return stages


def _step_at(stages, tokens):
  stage = next((s for s in reversed(stages) if s.first_token < tokens), stages[0])
  missing = max(0, tokens - stage.first_token)
  return stage.first_step - (-missing // stage.step_tokens)
