"""How long a run is, in steps, samples and tokens, and its learning rate at each step.

Budgets, warm-up and decay may each be given in steps or in tokens. The two differ while
the batch size ramps up: a length in tokens then follows the tokens seen.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError

MAX_RAMP_SIZES = 8
"""Batch sizes below the full one that a ramp may use: each compiles its own step."""


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stretch of steps with one batch size, in sequences."""

  first_step: int
  first_sample: int
  batch_size: int


@dataclasses.dataclass(frozen=True)
class Horizon:
  """The whole run by arithmetic: what step N has consumed. All counts are exact ints.

  Steps past the end go on with the last stage's batch size.
  """

  seq_len: int
  total_steps: int
  stages: tuple[Stage, ...]

  @property
  def total_tokens(self):
    return self.tokens_at(self.total_steps)

  def stage_at(self, step):
    """Returns the `Stage` that `step` belongs to."""
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
    return self.samples_at(step) * self.seq_len

  def traced_tokens_at(self, step):
    """Returns `tokens_at` for a traced int32 `step`, as float32.

    Off by at most 1e-7 of its value: a 32-bit int would overflow at 2.1e9 tokens.
    """
    first_step = np.array([s.first_step for s in self.stages], np.int32)
    first_token = [float(s.first_sample * self.seq_len) for s in self.stages]
    tokens_per_step = [float(s.batch_size * self.seq_len) for s in self.stages]
    i = jnp.searchsorted(first_step, step, side='right') - 1
    steps = (step - jnp.asarray(first_step)[i]).astype(jnp.float32)
    return jnp.asarray(first_token)[i] + steps * jnp.asarray(tokens_per_step)[i]

  def step_at_tokens(self, tokens):
    """Returns the first step before which at least `tokens` have been consumed."""
    return _step_at(self.stages, self.seq_len, tokens)


def make_horizon(train, seq_len):
  """Returns the `Horizon` of a TrainConfig on sequences of `seq_len` tokens.

  A budget in tokens is rounded up to whole steps. A batch-size ramp goes along a line
  from `ramp_start_batch_size` to `batch_size` over `ramp_tokens`, in stairs below that
  line: at most MAX_RAMP_SIZES of them, each a multiple of the first, so that what
  divides the first (microbatches, hosts, mesh axes) divides all.
  Raises ConfigError for a budget or ramp that is incomplete or does not divide.
  """
  if (train.steps is None) == (train.tokens is None):
    raise ConfigError(
      f'train.steps={train.steps}, train.tokens={train.tokens}: give exactly one, the'
      ' other None.'
    )
  stages = _ramp(train, seq_len)
  steps = train.steps or _step_at(stages, seq_len, train.tokens)
  return Horizon(seq_len, steps, tuple(stages))


def _ramp(train, seq_len):
  start, full = train.ramp_start_batch_size, train.batch_size
  if (start is None) != (train.ramp_tokens is None):
    raise ConfigError(
      f'train.ramp_start_batch_size={start}, train.ramp_tokens={train.ramp_tokens}: a'
      ' batch-size ramp needs both.'
    )
  if start is None:
    return [Stage(0, 0, full)]
  if full % start or start % train.grad_accum:
    raise ConfigError(
      f'train.ramp_start_batch_size={start}: expected a divisor of train.batch_size='
      f'{full} and a multiple of train.grad_accum={train.grad_accum}.'
    )
  ratio = full // start
  num_sizes = min(ratio - 1, MAX_RAMP_SIZES)
  stages = []
  for i in range(num_sizes + 1):
    multiple = ratio if i == num_sizes else 1 + (ratio - 1) * i // num_sizes
    begin = train.ramp_tokens * i // max(num_sizes, 1)
    step = _step_at(stages, seq_len, begin) if stages else 0
    sample = 0
    if stages:
      last = stages[-1]
      sample = last.first_sample + (step - last.first_step) * last.batch_size
      if step == last.first_step:  # the ramp is shorter than a step of this size
        stages.pop()
    stages.append(Stage(step, sample, start * multiple))
  return stages


def _step_at(stages, seq_len, tokens):
  stage = next(
    (s for s in reversed(stages) if s.first_sample * seq_len < tokens), stages[0]
  )
  missing = max(0, tokens - stage.first_sample * seq_len)
  return stage.first_step - (-missing // (stage.batch_size * seq_len))


def cosine(cfg, start, end):
  """Returns half a cosine from 1 to the floor. arXiv:1608.03983, without restarts."""
  _require_room(cfg, start, end)
  return optax.cosine_decay_schedule(1.0, end - start, alpha=cfg.final_fraction)


def linear(cfg, start, end):
  """Returns a straight line from 1 to the floor."""
  _require_room(cfg, start, end)
  return optax.linear_schedule(1.0, cfg.final_fraction, end - start)


def inverse_sqrt(cfg, start, end):
  """Returns sqrt(warm-up / elapsed), not below the floor. arXiv:1706.03762, eq. 3."""
  del end
  _refuse_decay(cfg)
  if not start:
    raise ConfigError(
      'schedule.name="inverse_sqrt": falls in units of its warm-up; give'
      ' schedule.warmup_steps or schedule.warmup_tokens.'
    )
  return lambda x: jnp.maximum(jnp.sqrt(start / (start + x)), cfg.final_fraction)


def wsd(cfg, start, end):
  """Returns 1, then a line to the floor over the last share. arXiv:2404.06395."""
  cooldown = cfg.cooldown_fraction * end
  if start > end - cooldown:
    raise ConfigError(
      f'schedule.cooldown_fraction={cfg.cooldown_fraction}: the cool-down would begin'
      f' before the warm-up ends; lower it, or {_given(cfg, "warmup")}.'
    )
  return optax.linear_schedule(
    1.0, cfg.final_fraction, cooldown, transition_begin=end - cooldown - start
  )


def constant(cfg, start, end):
  """Returns 1 after the warm-up."""
  del start, end
  _refuse_decay(cfg)
  return optax.constant_schedule(1.0)


SCHEDULES = {
  'cosine': cosine,
  'linear': linear,
  'inverse_sqrt': inverse_sqrt,
  'wsd': wsd,
  'constant': constant,
}
"""Each entry: `(cfg, start, end) -> (x -> share of the peak)`, where the warm-up ends
at `start`, the decay at `end`, and x counts from `start`: floats, all in steps or all
in tokens. The share is 1 at x = 0 and never rises."""


def make_schedule(schedule, horizon, peak):
  """Returns `step -> learning rate`, traceable in `step`; float32.

  The rate rises linearly from 0 at step 0 to `peak` at the end of the warm-up, then
  follows `schedule.name`. Without a decay length it falls over the whole run: in
  tokens if the batch size ramps, else in steps.
  Raises ConfigError for lengths that contradict each other.
  """
  shape = registry.lookup(SCHEDULES, schedule.name, 'schedule.name')
  warmup, warmup_in_tokens = _length(schedule, 'warmup')
  end, decay_in_tokens = _length(schedule, 'decay')
  if end is None:
    decay_in_tokens = len(horizon.stages) > 1
    end = horizon.total_tokens if decay_in_tokens else horizon.total_steps
  warmup = warmup or 0
  start = warmup
  if warmup_in_tokens and not decay_in_tokens:
    start = horizon.step_at_tokens(warmup)
  elif decay_in_tokens and not warmup_in_tokens:
    start = horizon.tokens_at(warmup)
  share_after = shape(schedule, float(start), float(end))

  def learning_rate(step):
    step = jnp.asarray(step, jnp.int32)
    tokens = horizon.traced_tokens_at(step)
    steps = step.astype(jnp.float32)
    warm = (tokens if warmup_in_tokens else steps) / max(float(warmup), 1.0)
    since = (tokens if decay_in_tokens else steps) - float(start)
    share = share_after(jnp.maximum(since, 0.0))
    if warmup:
      share = jnp.where(warm < 1, warm, share)
    return jnp.asarray(peak * share, jnp.float32)

  return learning_rate


def _length(schedule, what):
  """Returns (length or None, whether it is in tokens) of 'warmup' or 'decay'."""
  steps = getattr(schedule, f'{what}_steps')
  tokens = getattr(schedule, f'{what}_tokens')
  if steps is not None and tokens is not None:
    raise ConfigError(
      f'schedule.{what}_steps={steps}: schedule.{what}_tokens={tokens} is given too;'
      ' keep one and set the other to None.'
    )
  return (steps, False) if tokens is None else (tokens, True)


def _require_room(cfg, start, end):
  if start >= end:
    raise ConfigError(
      f'schedule.name={cfg.name!r}: the warm-up ends at {start:.0f} and the decay at'
      f' {end:.0f}; lower {_given(cfg, "warmup")}, or lengthen the run or raise'
      f' {_given(cfg, "decay")}.'
    )


def _given(cfg, what):
  """Returns the field that gives the length of 'warmup' or 'decay', with its value."""
  for unit in ('tokens', 'steps'):
    if (length := getattr(cfg, f'{what}_{unit}')) is not None:
      return f'schedule.{what}_{unit}={length}'
  return f'schedule.{what}_steps'


def _refuse_decay(cfg):
  if cfg.decay_steps is not None or cfg.decay_tokens is not None:
    raise ConfigError(
      f'schedule.name={cfg.name!r}: has no decay length; set schedule.decay_steps and'
      ' schedule.decay_tokens to None.'
    )
