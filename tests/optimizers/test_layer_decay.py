"""The rate of each layer is the optimizer's, times a power of the decay."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from gpt_jax import optimizers
from gpt_jax.config import load
from gpt_jax.core import pytree
from gpt_jax.model import stacking
from gpt_jax.optimizers import layer_decay

CFG = dataclasses.replace(
  load.resolve(base.get_config()).optimizer,
  layer_decay=0.5, weight_decay=0.1, decay_mask='all', clip_norm=0.0,
)  # fmt: skip


def tree(num_layers=3):
  """Returns parameters of a model of `num_layers` layers, stacked."""
  shapes = {
    'embed/embedding': (5, 4),
    'layers/block_0/attention/out/kernel': (num_layers, 2, 2, 4),
    'layers/block_0/mlp/up/kernel': (num_layers, 4, 6),
    'layers/block_0/mlp_norm/scale': (num_layers, 4),
    'final_norm/scale': (4,),
    'task_head/kernel': (4, 3),
  }
  rng = np.random.default_rng(0)
  return pytree.nested(
    {name: jnp.asarray(rng.normal(size=s), 'float32') for name, s in shapes.items()}
  )


def first_update(cfg, params):
  transform = optimizers.make_optimizer(cfg, lambda step: 1.0, params)
  gradients = jax.tree.map(lambda p: jnp.sin(7 * p), params)
  return jax.jit(transform.update)(gradients, transform.init(params), params)[0]


@pytest.mark.parametrize('name', sorted(optimizers.OPTIMIZERS))
def test_updates_shrink_by_the_power_of_their_depth(name):
  """The same optimizer without decay, times 0.5^(3 - l), 0.5^4 and 1."""
  params = tree()
  cfg = dataclasses.replace(CFG, name=name)
  got = first_update(cfg, params)
  plain = first_update(dataclasses.replace(cfg, layer_decay=1.0), params)

  def expected(name, update):
    if name.startswith('embed'):
      return update / 16
    if name.startswith('layers'):
      shape = (3, *[1] * (update.ndim - 1))
      return update * np.array([1 / 8, 1 / 4, 1 / 2]).reshape(shape)
    return update

  wanted = pytree.map_named(expected, plain)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), got, wanted)


def test_unrolled_layers_have_the_rates_of_stacked_ones():
  params = tree()
  stacked = first_update(CFG, params)
  apart = stacking.stack(first_update(CFG, stacking.unstack(params)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), stacked, apart)


def test_blocks_of_a_cycle_are_layers_of_their_own():
  shape = jax.ShapeDtypeStruct((2, 4), jnp.float32)
  params = {'layers': {'block_0': {'scale': shape}, 'block_1': {'scale': shape}}}
  found = layer_decay.multipliers(0.5, params)
  np.testing.assert_allclose(found['layers/block_0/scale'][:, 0], [1 / 16, 1 / 4])
  np.testing.assert_allclose(found['layers/block_1/scale'][:, 0], [1 / 8, 1 / 2])


def test_without_decay_nothing_is_multiplied():
  assert layer_decay.multipliers(1.0, tree()) == {}
  assert layer_decay.metric_rates(1.0, 3, 0.1) == {}


def test_the_rate_of_the_embeddings_is_told():
  rates = layer_decay.metric_rates(0.5, 3, 0.16)
  assert rates == {'learning_rate_embeddings': pytest.approx(0.01)}


def test_decay_of_weights_follows_when_coupled_to_the_rate():
  """Where the gradient is zero, coupled decay is the whole update."""
  params = tree()
  transform = optimizers.make_optimizer(CFG, lambda step: 1.0, params)
  zeros = jax.tree.map(jnp.zeros_like, params)
  updates, _ = transform.update(zeros, transform.init(params), params)
  share = -np.asarray(updates['embed']['embedding'] / params['embed']['embedding'])
  np.testing.assert_allclose(share, 1e-3 * 0.1 / 16, rtol=1e-5)
