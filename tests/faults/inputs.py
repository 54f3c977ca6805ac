"""Damaged token caches, and configs with hostile values."""

import collections

import jax
import numpy as np

from gpt_jax.config import load
from gpt_jax.core.errors import DataError
from gpt_jax.program import setup
from tests import tiny_runs
from tests.config import config_faults
from tests.faults import runs

MAX_VALUE_SECONDS = 120


def flip_tokens(count, rng, folder):
  """Flips a bit in the token cache, then reads every sample; returns the row."""
  text = runs.write_text(folder)
  config = tiny_runs.tiny_config(tiny_runs.TEXT | {'data.path': str(text)})

  def samples():
    tokenizer = setup.open_tokenizer(config, folder)
    data = setup.open_training_data(config, tokenizer, folder)
    return np.stack([data.sample(n)['tokens'] for n in range(len(data))])

  expected, outcomes, message = samples(), collections.Counter(), ''
  (cached,) = (folder / 'cache').iterdir()
  for _ in range(count):
    path = rng.choice(sorted(cached.iterdir()))
    content = path.read_bytes()
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    path.write_bytes(damaged)
    try:
      outcome = 'changed nothing' if (samples() == expected).all() else 'SILENT'
    except DataError as error:
      message, outcome = str(error), 'noticed, file named'
      outcome = outcome if str(path) in message else 'noticed, NOT NAMED'
    outcomes[outcome] += 1
    path.write_bytes(content)
  is_good = not any(name.isupper() or 'NOT' in name for name in outcomes)
  return runs.row('a bit of the token cache flipped', outcomes, is_good, message)


def load_hostile_values(fraction, rng, folder):
  """Loads all shipped configs with hostile values in some fields; returns the row."""

  def tries():
    for spec, values in config_faults.shipped().items():
      for field in config_faults.fields():
        if rng.random() >= fraction:
          continue
        for name, value in config_faults.VALUES.items():
          for form in (value, str(value)):
            outcome = config_faults.validate(values, field, form)
            yield f'{spec}: {field}={name}', *outcome

  return _row('hostile values when a config is loaded', tries())


def train_hostile_values(fraction, rng, folder):
  """Trains a step with the values that loading accepts; returns the row."""

  def tries():
    base = load.to_dict(tiny_runs.tiny_config())
    for field in config_faults.fields():
      jax.clear_caches()  # each value makes programs of its own
      for name, value in (config_faults.VALUES | {'link': 'link'}).items():
        accepted = config_faults.validate(base, field, value)[0] == 'passed'
        if not accepted or rng.random() >= fraction:
          continue
        with runs.time_limit(MAX_VALUE_SECONDS):
          yield f'{field}={name}', *config_faults.run(field, value)

  return _row('hostile values that loading accepts, trained', tries())


def _row(fault, tries):
  """Returns the row of `tries`: (value, outcome, message) of each."""
  outcomes, example, bugs = collections.Counter(), '', []
  for value, outcome, message in tries:
    outcomes[outcome] += 1
    if outcome in config_faults.BUGS:
      bugs.append(f'{value}: {outcome} {message[-600:]}')
    elif outcome == 'refused':
      example = example or message
  return runs.row(fault, outcomes, not bugs, '\n'.join(bugs) or example)
