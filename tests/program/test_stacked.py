"""Runs in a stack move as each would alone; those that wait do not move."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.program import literals, stacked

RATES = (0.1, 0.2, 0.4)


def step(state, batch, rate):
  new = {'w': state['w'] - rate * batch['x'].sum(0), 'step': state['step'] + 1}
  return new, {'loss': (state['w'] ** 2).sum()}


def states():
  device = jax.devices()[0]
  return [
    jax.device_put({'w': jnp.full(3, float(i)), 'step': jnp.int32(i)}, device)
    for i in range(3)
  ]


def traced():
  batch = {'x': jax.ShapeDtypeStruct((2, 3), jnp.float32)}
  return [
    literals.trace(functools.partial(step, rate=rate), states()[0], batch)
    for rate in RATES
  ]


def batch(i):
  return {'x': np.full((2, 3), i + 1, np.float32)}


@pytest.mark.parametrize('num_devices', [1, 2, 3])
def test_each_run_makes_its_own_step(num_devices):
  stack = stacked.Stack(states(), jax.devices()[:num_devices])
  metrics = stack.step('key', traced, {i: batch(i) for i in range(3)})
  for i, rate in enumerate(RATES):
    wanted, of_run = step(states()[i], batch(i), rate)
    jax.tree.map(np.testing.assert_allclose, stack.take(i), wanted)
    np.testing.assert_allclose(metrics['loss'][i], of_run['loss'])


def test_runs_that_are_not_named_stay_as_they_are():
  stack = stacked.Stack(states(), jax.devices()[:2])
  stack.step('key', traced, {1: batch(1)})
  jax.tree.map(np.testing.assert_array_equal, stack.take(0), states()[0])
  assert stack.take(1)['step'] == 2


def test_a_state_can_be_put_in_the_place_of_another():
  stack = stacked.Stack(states(), jax.devices()[:2])
  stack.put(2, states()[0])
  jax.tree.map(np.testing.assert_array_equal, stack.take(2), states()[0])
  assert stack.take(2)['w'].devices() == {jax.devices()[0]}


def test_both_ways_to_compute_a_share_agree():
  members = traced()
  lifted = literals.lift(members)
  numbers = jax.tree.map(lambda *x: np.stack(x), *map(lifted.numbers, members))
  stack = functools.partial(jax.tree.map, lambda *x: jnp.stack(x))
  given = numbers, stack(*states()), stack(*map(batch, range(3)))
  active = np.array([True, False, True])
  for way in (stacked._at_once, stacked._in_turn):
    found, metrics = way(lifted, *given, active)
    assert found['step'].tolist() == [1, 1, 3]
    np.testing.assert_allclose(metrics['loss'][2], 12.0)


def test_the_devices_of_a_stack_do_not_communicate():
  stack = stacked.Stack(states(), jax.devices()[:2])
  stack.step('key', traced, {0: batch(0)})
  program, numbers = stack._programs['key']
  rows = {'x': np.zeros((4, 2, 3), np.float32)}
  arguments = numbers, stack._states, rows, np.ones(4, bool)
  text = program.lower(*arguments).compile().as_text()
  assert not any(name in text for name in ('all-', 'permute', 'reduce-scatter'))
