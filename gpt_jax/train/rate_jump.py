"""The learning rate where a run is resumed with another schedule, length or peak."""

from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import schedules
from gpt_jax.program import setup
from gpt_jax.program.horizon import make_horizon

DECAY_FIELDS = {'schedule.decay_steps', 'schedule.decay_tokens'}
SMALLEST = 1e-3  # of the old rate: a jump that is worth a line


def describe(old, before, new, after, step):
  """Returns what happens to the learning rate at `step`, None where nothing does.

  `old` and `new` are Configs, `before` and `after` their Horizons.
  """
  try:
    rates = [_rate(old, before, step), _rate(new, after, step)]
  except ConfigError as error:  # a plug-in that is no longer there
    return f'the learning rate of the old config is not known: {error}'
  if abs(rates[1] - rates[0]) <= SMALLEST * rates[0]:
    return None
  times = f', {rates[1] / rates[0]:.3g} times' if rates[0] else ''
  said = (
    f'WARNING: the learning rate of step {step + 1} changes from {rates[0]:.3g} to'
    f' {rates[1]:.3g}{times}'
  )
  if _is_stretched(old, before, new, after):
    said += (
      f': schedule.name={new.schedule.name!r} decays to the end of the run, which was'
      f' step {before.total_steps} and is {after.total_steps}. Without the jump:'
      f' --config.{_old_end(before)}, which keeps the old decay'
    )
  return said


def keeps_decay(saved, new):
  """Returns whether schedule.decay_* of `new` is where the saved config decayed to."""
  old = setup.resolve(saved, must_import=False)
  before = make_horizon(old.train, old.data.seq_len)
  if old.schedule.decay_steps or old.schedule.decay_tokens:
    return False
  field, _, end = _old_end(before).partition('=')
  return _decay(new) == {field: int(end)}


def _decay(config):
  schedule = config.schedule
  given = dict(
    zip(
      sorted(DECAY_FIELDS), (schedule.decay_steps, schedule.decay_tokens), strict=True
    )
  )
  return {field: value for field, value in given.items() if value is not None}


def _rate(config, horizon, step):
  peak = config.optimizer.learning_rate
  return float(schedules.make_schedule(config.schedule, horizon, peak)(step))


def _is_stretched(old, before, new, after):
  same = old.schedule == new.schedule
  return same and not _decay(new) and before.total_steps != after.total_steps


def _old_end(before):
  """Returns the setting that says what the end of the decay is by default."""
  if before.ramps:
    return f'schedule.decay_tokens={before.total_tokens}'
  return f'schedule.decay_steps={before.total_steps}'
