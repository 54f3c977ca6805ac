"""Learning rates, in steps and in tokens."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from gpt_jax.config import load
from gpt_jax.core.errors import ConfigError
from gpt_jax.optimizers import schedules
from gpt_jax.program.horizon import make_horizon

CONFIG = load.resolve(base.get_config())


def horizon(seq_len=8, **train):
  values = dict(steps=None, tokens=None, batch_size=4, grad_accum=1) | train
  return make_horizon(dataclasses.replace(CONFIG.train, **values), seq_len)


def rates(name, run, peak=1.0, steps=None, **fields):
  cfg = dataclasses.replace(CONFIG.schedule, name=name, **fields)
  schedule = jax.jit(jax.vmap(schedules.make_schedule(cfg, run, peak)))
  return np.asarray(
    schedule(jnp.asarray(steps if steps is not None else np.arange(101)))
  )


def gpt3():
  """Appendix B of arXiv:2005.14165: 32k tokens up to 3.2M, 300B in all."""
  return horizon(
    2048,
    tokens=300_000_000_000,
    batch_size=1600,
    ramp_start_batch_size=16,
    ramp_tokens=4_000_000_000,
  )


def test_gpt3_schedule_in_tokens():
  run = gpt3()
  assert 0 <= run.total_tokens - 300_000_000_000 < 1600 * 2048
  at = [0, 187_500_000, 375_000_000, (375_000_000 + 260_000_000_000) // 2]
  at += [260_000_000_000, 299_000_000_000]
  steps = [run.step_at_tokens(tokens) for tokens in at]
  seen = np.array([run.tokens_at(step) for step in steps], float)
  after = np.array([run.tokens_at(step + 1) for step in steps], float)
  got = rates(
    'cosine',
    run,
    0.6e-4,
    steps,
    warmup_tokens=375_000_000,
    decay_tokens=260_000_000_000,
  )
  progress = np.clip((seen - 375e6) / (260e9 - 375e6), 0, 1)
  want = 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * progress))
  want = 0.6e-4 * np.where(after < 375e6, after / 375e6, want)
  np.testing.assert_allclose(got, want, rtol=2e-6)
  # The landmarks of the paper: near 0, half way up, peak, half way down, 10 % twice.
  first = 16 * 2048 / 375e6
  np.testing.assert_allclose(got / 0.6e-4, [first, 0.5, 1, 0.55, 0.1, 0.1], rtol=2e-3)


def test_cosine_equals_optax_when_everything_is_in_steps():
  # From one step's share of the peak in nine steps to the peak; then optax's decay.
  oracle = optax.join_schedules(
    [
      optax.linear_schedule(3e-5, 3e-4, 9),
      optax.cosine_decay_schedule(3e-4, 80 - 10, 0.1),
    ],
    [10],
  )
  got = rates('cosine', horizon(steps=100), 3e-4, warmup_steps=10, decay_steps=80)
  want = jax.vmap(oracle)(jnp.arange(101))
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize('name', sorted(schedules.SCHEDULES))
def test_every_schedule_rises_to_its_peak_and_only_falls_after(name):
  got = rates(name, horizon(steps=100), 2.0, warmup_steps=10)
  np.testing.assert_allclose(got[:10], 0.2 * np.arange(1, 11), rtol=1e-6)
  assert got[10] == 2.0
  assert np.all(np.diff(got[10:]) <= 0)
  assert got[-1] >= 2.0 * CONFIG.schedule.final_fraction * (1 - 1e-6)


@pytest.mark.parametrize('name', sorted(schedules.SCHEDULES))
def test_lengths_in_tokens_equal_lengths_in_steps_without_a_ramp(name):
  run = horizon(steps=100)
  by_steps = rates(name, run, warmup_steps=7)
  by_tokens = rates(name, run, warmup_tokens=7 * 32)
  np.testing.assert_allclose(by_tokens, by_steps, rtol=1e-5)


@pytest.mark.parametrize('name', ['cosine', 'linear', 'wsd'])
def test_decaying_schedules_end_at_the_final_fraction(name):
  got = rates(name, horizon(steps=100), warmup_steps=5, final_fraction=0.25)
  np.testing.assert_allclose(got[100], 0.25, rtol=1e-6)
  assert got[99] > 0.25


@pytest.mark.parametrize(
  'lengths',
  [
    dict(warmup_steps=10, decay_tokens=1200),
    dict(warmup_tokens=200, decay_steps=40),
    dict(warmup_tokens=200, decay_tokens=1200),
    dict(warmup_steps=10),
  ],
)
def test_in_a_batch_ramp_lengths_follow_steps_or_tokens_as_given(lengths):
  run = horizon(steps=50, batch_size=8, ramp_start_batch_size=1, ramp_tokens=800)
  got = rates('linear', run, steps=np.arange(51), final_fraction=0.0, **lengths)
  tokens = np.array([run.tokens_at(step) for step in range(51)])
  steps = np.arange(51)
  warm_clock, warm = (tokens, 200) if 'warmup_tokens' in lengths else (steps, 10)
  after_clock = steps + 1
  if 'warmup_tokens' in lengths:
    after_clock = np.array([run.tokens_at(step + 1) for step in range(51)])
  peak_step = int(np.argmax(warm_clock >= warm))
  # Without a length the decay spans the run in tokens, as the batch size changes.
  clock = steps if 'decay_steps' in lengths else tokens
  end = lengths.get('decay_steps') or lengths.get('decay_tokens') or run.total_tokens
  start = 200 if 'warmup_tokens' in lengths and clock is tokens else clock[peak_step]
  after = 1 - np.clip((clock - start) / (end - start), 0, 1)
  want = np.where(after_clock < warm, after_clock / warm, after)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_inverse_sqrt_halves_when_the_steps_quadruple():
  got = rates('inverse_sqrt', horizon(steps=100), warmup_steps=10, final_fraction=0.0)
  np.testing.assert_allclose([got[10], got[40], got[90]], [1, 0.5, 1 / 3], rtol=1e-6)


def test_wsd_holds_its_peak_until_the_cooldown():
  got = rates('wsd', horizon(steps=100), warmup_steps=10, cooldown_fraction=0.2)
  np.testing.assert_array_equal(got[10:81], 1.0)
  np.testing.assert_allclose(got[90], 0.55, rtol=1e-5)


@pytest.mark.parametrize('cooldown', [0.0, 0.01, 0.5, 1.0])
def test_wsd_is_at_its_end_whatever_the_cooldown(cooldown):
  fields = dict(decay_steps=50, final_fraction=0.25, cooldown_fraction=cooldown)
  got = rates('wsd', horizon(steps=100), **fields)
  begin = 50 - round(50 * cooldown)
  np.testing.assert_array_equal(got[: begin + 1][:50], 1.0)
  np.testing.assert_allclose(got[50:], 0.25, rtol=1e-6)


@pytest.mark.parametrize('name', sorted(schedules.SCHEDULES))
@pytest.mark.parametrize(
  'warmup',
  [
    dict(warmup_steps=1),
    dict(warmup_steps=7),
    dict(warmup_tokens=1),
    dict(warmup_tokens=100),
  ],
)
def test_every_step_of_a_run_has_a_rate_above_zero(name, warmup):
  run = horizon(steps=40, batch_size=8, ramp_start_batch_size=1, ramp_tokens=400)
  got = rates(name, run, steps=np.arange(40), final_fraction=0.0, **warmup)
  assert got.min() > 0
  # Nothing is above the peak, which the warm-up itself reaches.
  length, in_tokens = next(iter(warmup.values())), 'warmup_tokens' in warmup
  last = run.step_at_tokens(length) - 1 if in_tokens else length - 1
  assert got[last] == got.max() == 1


def test_without_warmup_the_first_step_has_the_peak():
  assert rates('cosine', horizon(steps=100), 0.5)[0] == 0.5


@pytest.mark.parametrize(
  'fields, message',
  [
    (
      dict(name='cosine', warmup_steps=1, warmup_tokens=1),
      'warmup_tokens=1 is given too',
    ),
    (dict(name='cosine', decay_steps=9, decay_tokens=9), 'decay_tokens=9 is given too'),
    (dict(name='cosine', warmup_steps=10), 'warm-up ends at 10'),
    (dict(name='linear', warmup_steps=5, decay_steps=5), 'warm-up ends at 5'),
    (dict(name='cosine', warmup_tokens=10**6), 'schedule.warmup_tokens=1000000'),
    (dict(name='wsd', warmup_tokens=10**6), 'schedule.warmup_tokens=1000000'),
    (dict(name='wsd', warmup_steps=9, cooldown_fraction=0.5), 'cool-down would begin'),
    (dict(name='constant', decay_steps=5), 'no decay length'),
    (dict(name='inverse_sqrt'), 'give schedule.warmup_steps'),
    (dict(name='cosin'), "did you mean 'cosine'"),
  ],
)
def test_impossible_schedules_are_refused_with_a_remedy(fields, message):
  cfg = dataclasses.replace(CONFIG.schedule, **fields)
  with pytest.raises(ConfigError, match=message):
    schedules.make_schedule(cfg, horizon(steps=10), 1.0)
