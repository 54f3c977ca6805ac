"""L2-SP: its gradient, new heads, sharding, and a start that survives a resume."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.program import l2_sp
from gpt_jax.train import loop
from tests import tiny_runs
from tests.program import tiny_labels

L2_SP = {'regularization.l2_sp': 0.1, 'init_from': 'runs/before'}
"""Programs do not read `init_from`; runs do."""


def test_the_gradient_is_that_of_the_penalty():
  rng = np.random.default_rng(0)
  now, first = ({'a': rng.normal(size=(3, 4)).astype('f4'), 'b': None} for _ in 'ab')
  zeros = jax.tree.map(jnp.zeros_like, now)
  penalty, gradient = l2_sp.add(0.3, zeros, now, first)

  def formula(a):
    return 0.5 * 0.3 * jnp.sum((a - first['a']) ** 2)

  value, wanted = jax.value_and_grad(formula)(now['a'])
  np.testing.assert_allclose(penalty, value, rtol=1e-5)
  np.testing.assert_allclose(gradient['a'], wanted, rtol=1e-5)


def test_fresh_parameters_start_at_zero():
  params = {'embed': {'embedding': jnp.ones(3)}, 'task_head': {'kernel': jnp.ones(2)}}
  first = l2_sp.start_of(params, ['task_head/kernel'])
  assert (first['embed']['embedding'] == 1).all()
  assert (first['task_head']['kernel'] == 0).all()


def gradient_from(program, start):
  """Returns what a step subtracts, with w0 of `start(params)`."""
  state = program.init(0)
  before = jax.tree.map(np.asarray, state.params)
  first = jax.tree.map(
    lambda value, like: jax.device_put(value, like.sharding),
    start(before),
    state.start,
  )
  state = dataclasses.replace(state, start=first)
  batch = jax.device_put(tiny_labels.batch(), program.batch_sharding)
  state, metrics = program.step(state, batch)
  after = jax.tree.map(np.asarray, state.params)
  return jax.tree.map(np.subtract, before, after), before, metrics


@pytest.mark.parametrize('grad_accum', [1, 2])
def test_a_step_adds_the_pull_to_the_plain_gradient(grad_accum):
  program = tiny_labels.build(L2_SP | {'train.grad_accum': grad_accum})
  found, params, metrics = gradient_from(
    program, lambda params: jax.tree.map(lambda p: 0.5 * p, params)
  )
  plain, others = tiny_labels.moved(tiny_labels.build())
  wanted = jax.tree.map(lambda g, p: g + 0.1 * 0.5 * p, plain, params)
  tiny_labels.assert_close(found, wanted)
  squares = sum(np.sum((0.5 * p) ** 2) for p in jax.tree.leaves(params))
  np.testing.assert_allclose(metrics['l2_sp'], 0.05 * squares, rtol=1e-5)
  total = others['loss'] + metrics['l2_sp']
  np.testing.assert_allclose(metrics['objective'], total, rtol=1e-5)


def test_the_start_is_sharded_as_the_parameters_are():
  program = tiny_labels.build(L2_SP | tiny_labels.MESH, devices=8)
  state = program.abstract_state
  places = [
    jax.tree.map(lambda leaf: leaf.sharding, tree)
    for tree in (state.start, state.params)
  ]
  assert places[0] == places[1]
  found, params, _ = gradient_from(program, lambda params: params)
  alone, _ = tiny_labels.moved(tiny_labels.build())
  found['embed']['embedding'] = found['embed']['embedding'][:50]
  tiny_labels.assert_close(found, alone, atol=1e-5)


def test_frozen_parameters_have_no_start():
  groups = ({'match': 'embed', 'freeze': True},)
  program = tiny_labels.build(L2_SP | {'optimizer.groups': groups})
  assert program.abstract_state.start['embed']['embedding'] is None


def test_a_run_from_nowhere_is_refused():
  with pytest.raises(ConfigError, match='init_from, which is empty'):
    tiny_runs.tiny_config({'regularization.l2_sp': 0.1})


@pytest.mark.slow
def test_a_resumed_run_is_pulled_to_the_same_start(tmp_path):
  """Also when the run it came from is gone; the new head is pulled to zero."""
  first, whole, parts = (tmp_path / name for name in ('first', 'whole', 'parts'))
  base = tiny_runs.ONE_LAYER | {'eval.every_steps': 0, 'checkpoint.every_steps': 2}
  loop.train(tiny_runs.tiny_config(base | {'train.steps': 2}), first, quiet=True)
  tuned = tiny_runs.tiny_config(
    base | {
      'init_from': str(first), 'regularization.l2_sp': 0.1, 'train.steps': 4,
      'model.tie_embeddings': False, 'init.rules': ({'fresh': 'head/kernel'},),
    }
  )  # fmt: skip
  loop.train(tuned, whole, quiet=True)
  tiny_runs.train_until_crash(tuned, parts, 2)
  first.rename(tmp_path / 'gone')
  loop.train(tuned, parts, quiet=True)
  assert tiny_runs.start_steps(parts) == [0, 2]
  one, other = (tiny_runs.saved_arrays(folder) for folder in (whole, parts))
  tiny_runs.assert_same(one, other)
  source = tiny_runs.saved_arrays(tmp_path / 'gone')
  starts = {name: one[name] for name in one if "['start']" in name}
  assert any(name.endswith("['embed']['embedding']") for name in starts)
  for name, values in starts.items():
    if "['head']" in name:
      assert (values == 0).all()
    else:
      np.testing.assert_array_equal(values, source[name.replace('start', 'params')])
