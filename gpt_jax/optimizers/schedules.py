"""The learning rate at each step of a run: a warm-up, then a decay by name.

Warm-up and decay may each be given in steps or in tokens. The two differ while the
batch size ramps up: a length in tokens then follows the tokens seen. Both count from
the start of the run; the warm-up counts the step itself as well, so that every step
learns: `warmup_steps` n makes the rates 1/n, 2/n, ... 1 of the peak.
"""

import jax.numpy as jnp
import optax

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, Problem, require_none


def cosine(cfg, start, end):
  """Returns a cosine from 1 to `final_fraction`. arXiv:1608.03983, no restarts."""
  _check_order(cfg, start, end)
  return optax.cosine_decay_schedule(1.0, end - start, alpha=cfg.final_fraction)


def linear(cfg, start, end):
  """Returns a line from 1 to `final_fraction`."""
  _check_order(cfg, start, end)
  return optax.linear_schedule(1.0, cfg.final_fraction, end - start)


def inverse_sqrt(cfg, start, end):
  """Returns sqrt(warm-up / elapsed) >= `final_fraction`. arXiv:1706.03762, eq. 3."""
  del end
  _refuse_decay(cfg)
  if not start:
    raise ConfigError(
      'schedule.name="inverse_sqrt": falls in units of its warm-up; give'
      ' schedule.warmup_steps or schedule.warmup_tokens.'
    )
  return lambda x: jnp.maximum(jnp.sqrt(start / (start + x)), cfg.final_fraction)


def wsd(cfg, start, end):
  """Returns 1, then a line to `final_fraction` at the end. arXiv:2404.06395."""
  cooldown = cfg.cooldown_fraction * end
  if start > end - cooldown:
    raise ConfigError(
      f'schedule.cooldown_fraction={cfg.cooldown_fraction}: the cool-down would begin'
      f' before the warm-up ends; lower it, or {_given(cfg, "warmup")}.'
    )
  if not cooldown:  # of no length, which optax takes for none at all
    return lambda x: jnp.where(x < end - start, 1.0, cfg.final_fraction)
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
"""Each entry: `(cfg, start, end) -> (x -> fraction of the peak)`; the warm-up ends at
`start`, the decay at `end`, and x counts from `start`: floats, all in steps or all in
tokens. The fraction is 1 at x = 0 and never rises."""


def make_schedule(schedule, horizon, peak):
  """Returns `step -> learning rate`, traceable in `step`; float32.

  The rate rises linearly, by the share of the warm-up done when a step is, to `peak` at
  its last step, then follows `schedule.name`; by default to the end of the run, in
  tokens if the batch size ramps, else in steps. Raises ConfigError for lengths that
  contradict each other.
  """
  shape = registry.lookup(SCHEDULES, schedule.name, 'schedule.name')
  require_none(problems(schedule))
  warmup, warmup_in_tokens = _length(schedule, 'warmup')
  if schedule.warmup_fraction is not None:
    warmup = int(schedule.warmup_fraction * horizon.total_steps)
  end, decay_in_tokens = _length(schedule, 'decay')
  if end is None:
    decay_in_tokens = horizon.ramps
    end = horizon.total_tokens if decay_in_tokens else horizon.total_steps
  warmup = warmup or 0
  start = warmup
  if warmup_in_tokens and not decay_in_tokens:
    start = horizon.step_at_tokens(warmup)
  elif decay_in_tokens and not warmup_in_tokens:
    start = horizon.tokens_at(warmup)
  decay = shape(schedule, float(start), float(end))

  def learning_rate(step):
    step = jnp.asarray(step, jnp.int32)
    steps, tokens = step.astype(jnp.float32), horizon.traced_tokens_at(step)
    since = (tokens if decay_in_tokens else steps) - float(start)
    fraction = decay(jnp.maximum(since, 0.0))
    if warmup:
      # With this step: the share of the steps before it would make step 0 idle.
      done = horizon.traced_tokens_at(step + 1) if warmup_in_tokens else steps + 1.0
      warm = done / float(warmup)
      fraction = jnp.where(warm < 1, warm, fraction)
    return jnp.asarray(peak * fraction, jnp.float32)

  return learning_rate


def problems(schedule):
  """Returns a Problem for each length of a ScheduleConfig that is given twice."""
  found = []
  for what in ('warmup', 'decay'):
    steps = getattr(schedule, f'{what}_steps')
    tokens = getattr(schedule, f'{what}_tokens')
    if steps is not None and tokens is not None:
      text = f'schedule.{what}_tokens={tokens} is given too; set one of the two to None'
      found.append(Problem(f'schedule.{what}_steps', f'={steps}: {text}'))
  share = schedule.warmup_fraction
  if share is not None and (schedule.warmup_steps or schedule.warmup_tokens):
    text = f'={share}: schedule.warmup_steps or warmup_tokens is given too; set one to'
    found.append(Problem('schedule.warmup_fraction', f'{text} None'))
  return found


def _length(schedule, what):
  """Returns (length or None, whether it is in tokens) of 'warmup' or 'decay'."""
  steps = getattr(schedule, f'{what}_steps')
  tokens = getattr(schedule, f'{what}_tokens')
  return (steps, False) if tokens is None else (tokens, True)


def _check_order(cfg, start, end):
  if start >= end:
    raise ConfigError(
      f'schedule.name={cfg.name!r}: the warm-up ends at {start:.0f} and the decay at'
      f' {end:.0f}; lower {_given(cfg, "warmup")}, or lengthen the run or raise'
      f' {_given(cfg, "decay")}.'
    )


def _given(cfg, what):
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
