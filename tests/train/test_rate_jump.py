"""What a longer or shorter run does to the learning rate, said where it jumps."""

import re

import numpy as np
import pytest

from gpt_jax.optimizers import schedules
from gpt_jax.program.horizon import make_horizon
from gpt_jax.train import rate_jump, resume
from tests import tiny_runs

RAMP = {'train.ramp_start_batch_size': 2, 'train.ramp_tokens': 500}
STRETCHED = ('cosine', 'linear', 'wsd')


def config(steps, name, more=None):
  lengths = {'train.steps': steps, 'schedule.name': name, 'schedule.warmup_steps': 2}
  return tiny_runs.tiny_config({'model.vocab_size': 16} | lengths | (more or {}))


def horizon_of(config):
  return make_horizon(config.train, config.data.seq_len)


def describe(old, new, step):
  return rate_jump.describe(old, horizon_of(old), new, horizon_of(new), step)


def rate(config, step):
  """Returns the rate by the formulas of the papers, floor 0.1, warm-up 2."""
  schedule, peak = config.schedule, config.optimizer.learning_rate
  end = schedule.decay_steps or config.train.steps
  x = min(1.0, (step - 2) / (end - 2))
  return (
    peak
    * {
      'cosine': 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * x)),
      'linear': 1 - 0.9 * x,
      'wsd': 1 - 0.9 * np.clip((step - 0.8 * end) / (0.2 * end), 0, 1),
    }[schedule.name]
  )


@pytest.mark.parametrize('name', STRETCHED)
@pytest.mark.parametrize('steps', [12, 20])
def test_a_jump_is_said_with_both_rates_and_the_way_without(name, steps):
  old, new = config(10, name), config(steps, name)
  said = describe(old, new, 10)
  rates = re.search(r'step 11 changes from (\S+) to ([\d.e-]+), ([\d.]+) times', said)
  expected = rate(old, 10), rate(new, 10), rate(new, 10) / rate(old, 10)
  np.testing.assert_allclose([float(x) for x in rates.groups()], expected, rtol=1e-2)
  field, value = re.search(r'--config\.(schedule\.\w+)=(\d+)', said).groups()
  kept = config(steps, name, {field: int(value)})
  assert describe(old, kept, 10) is None
  ours = [schedules.make_schedule(c.schedule, horizon_of(c), 1.0) for c in (old, kept)]
  np.testing.assert_allclose(*[[s(step) for step in range(10)] for s in ours])


@pytest.mark.parametrize('name', sorted(set(schedules.SCHEDULES) - set(STRETCHED)))
def test_a_schedule_that_does_not_end_with_the_run_says_nothing(name):
  assert describe(config(10, name), config(20, name), 10) is None


def test_in_a_ramp_the_way_without_is_in_tokens():
  old, new = config(10, 'linear', RAMP), config(20, 'linear', RAMP)
  end = horizon_of(old).total_tokens
  assert f'--config.schedule.decay_tokens={end},' in describe(old, new, 10)
  kept = config(20, 'linear', RAMP | {'schedule.decay_tokens': end})
  assert describe(old, kept, 10) is None
  assert resume.differences(saved(old), kept) == []


def test_before_the_cooldown_of_wsd_nothing_jumps():
  assert describe(config(10, 'wsd'), config(20, 'wsd'), 7) is None


def test_another_peak_is_said_as_well():
  new = config(10, 'cosine', {'optimizer.learning_rate': 0.02})
  said = describe(config(10, 'cosine'), new, 5)
  assert ', 2 times' in said and 'decay_steps' not in said


def saved(config):
  return resume.load.to_dict(config)


def test_the_old_end_may_be_given_afterwards_no_other():
  old = saved(config(10, 'cosine'))
  end = 'schedule.decay_steps'
  assert resume.differences(old, config(20, 'cosine', {end: 10})) == []
  assert resume.differences(old, config(20, 'cosine', {end: 11})) == [(end, None, 11)]
  old = saved(config(20, 'cosine', {end: 10}))
  assert resume.differences(old, config(20, 'cosine')) == [(end, 10, None)]
