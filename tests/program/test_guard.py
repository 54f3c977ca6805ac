"""Which steps may update: finite ones that are no spike; others change no bit."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gpt_jax import objectives
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.program import guard
from gpt_jax.program.build import build_program
from tests import tiny_runs
from tests.train import bad_batches


def test_a_bad_step_changes_no_bit_but_the_step_and_its_rate():
  before = {'w': jnp.ones(3), 's': optax.ScaleByScheduleState(jnp.int32(4))}
  after = {'w': jnp.full(3, jnp.nan), 's': optax.ScaleByScheduleState(jnp.int32(5))}
  for loss, norm in ((np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, np.inf)):
    is_good = guard.is_good_step(jnp.float32(loss), jnp.float32(norm), None, 6.0)
    chosen = guard.select(is_good, after, before)
    np.testing.assert_array_equal(chosen['w'], before['w'])
    assert chosen['s'].count == 5
  is_good = guard.is_good_step(jnp.float32(1), jnp.float32(1), None, 6.0)
  assert np.isnan(guard.select(is_good, after, before)['w']).all()


def test_a_spike_stands_out_of_the_median_of_a_full_window():
  history = guard.empty_history(5)
  losses = [3.0, 3.1, 2.9, 3.2, 2.8]
  for loss in losses:
    assert guard.highest_loss(history, 6.0) == np.inf
    history = guard.append(history, loss)
  spread = 1.4826 * np.median(np.abs(np.array(losses) - 3.0))
  assert guard.highest_loss(history, 6.0) == pytest.approx(3.0 + 6 * spread, rel=1e-6)
  # The oldest leaves first, and equal losses make no spike of the next rounding.
  for _ in range(5):
    history = guard.append(history, 2.0)
  assert guard.highest_loss(history, 6.0) == pytest.approx(2.0 * 1.006)
  assert bool(guard.is_good_step(jnp.float32(2.01), jnp.float32(1), history, 6.0))
  assert not bool(guard.is_good_step(jnp.float32(2.02), jnp.float32(1), history, 6.0))


def build(overrides):
  config = tiny_runs.tiny_config(tiny_runs.ONE_LAYER | overrides)
  mesh = make_mesh(config.parallel.mesh, jax.devices()[:1])
  return build_program(config, vocab=objectives.Vocab(size=8, eos_id=None), mesh=mesh)


GOOD = {'tokens': np.tile(np.arange(17, dtype=np.int32) % 8, (8, 1))}


def test_a_skipped_step_leaves_the_state_of_the_step_before():
  program = build(bad_batches.RUN | bad_batches.NOT_FINITE)
  bad = {'tokens': np.full_like(GOOD['tokens'], bad_batches.BAD)}
  state, _ = program.step(program.init(0), GOOD)
  before = tiny_runs.named(state)
  state, metrics = program.step(state, bad)
  assert metrics['skipped'] == 1
  after = tiny_runs.named(state)
  counters = {n for n in after if (after[n] != before[n]).any()}
  assert all(after[name] == before[name] + 1 for name in counters)
  assert len(counters) == 2  # the step and the schedule's


@pytest.mark.slow
def test_float16_parameters_train_and_may_not_overflow():
  program = build({'model.param_dtype': 'float16', 'optimizer.learning_rate': 0.01})
  state, losses = program.init(0), []
  for _ in range(5):
    state, metrics = program.step(state, GOOD)
    assert metrics['skipped'] == 0
    losses.append(float(metrics['loss']))
  assert losses[-1] < 0.7 * losses[0]

  # Loss and gradient are finite, the weights after the update are not.
  program = build({'model.param_dtype': 'float16', 'optimizer.learning_rate': 1e6})
  before = tiny_runs.named(program.init(0))
  state, metrics = program.step(program.init(0), GOOD)
  assert metrics['skipped'] == 1
  assert np.isfinite([metrics['loss'], metrics['grad_norm']]).all()
  after = tiny_runs.named(state)
  changed = {n for n in after if (after[n] != before[n]).any()}
  assert len(changed) == 2  # the step and the schedule's


def test_updates_that_may_not_be_finite_are_checked():
  def checks(**overrides):
    fields = {key.replace('__', '.'): value for key, value in overrides.items()}
    return guard.must_check(tiny_runs.tiny_config(fields))

  assert not checks() and not checks(model__param_dtype='bfloat16')
  assert checks(model__param_dtype='float16')
  assert checks(optimizer__post_update='keep_zeros')
  assert checks(optimizer__name='gpt_jax.optimizers.elementwise:adamw')


def test_every_number_has_to_be_finite():
  tree = {'a': jnp.ones((2, 3)), 'b': jnp.ones(4)}
  assert guard.is_finite(tree)
  for value in (jnp.nan, jnp.inf, -jnp.inf):
    assert not guard.is_finite(tree | {'b': jnp.ones(4).at[2].set(value)})
