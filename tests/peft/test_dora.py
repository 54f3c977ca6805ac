"""DoRA against its formula, with the norm as a constant of the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.peft import dora, linears
from tests import small_models
from tests.peft import adapted_models


def test_norms_are_those_of_outputs():
  cfg = small_models.model_config()
  out = next(each for each in linears.find(cfg) if each.path.endswith('out'))
  kernel = np.random.default_rng(0).normal(size=out.shape)
  wanted = np.linalg.norm(kernel.reshape(2, 16, 16), axis=1)
  np.testing.assert_allclose(dora.norm(out, jnp.asarray(kernel)), wanted, rtol=1e-5)


def test_a_merged_kernel_has_the_magnitudes():
  program = adapted_models.build('dora')
  params = adapted_models.state_of(program, is_trained=True).params
  plain = adapted_models.merged(program, params)
  query = plain['layers']['block_0']['attention']['query']['kernel']
  trained = params['layers']['block_0']['attention']['query']
  found = np.linalg.norm(np.asarray(query), axis=1)
  wanted = np.abs(np.asarray(trained[dora.MAGNITUDE]))
  np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.slow
def test_the_norm_takes_no_gradient():
  program = adapted_models.build('dora', {'model.scan_layers': False})
  params = adapted_models.state_of(program, is_trained=True).params
  tokens_BT = small_models.random_tokens(vocab=32)

  def loss(scale):
    # All of A B in one direction: without the norm in the gradient the output grows.
    changed = jax.tree_util.tree_map_with_path(
      lambda path, leaf: leaf * scale if path[-1].key == 'lora_b' else leaf, params
    )
    return program.model.apply({'params': changed}, tokens_BT)[0][0, 0, 0]

  slope = jax.grad(loss)(1.0)
  step = 1e-2
  difference = (loss(1 + step) - loss(1 - step)) / (2 * step)
  assert np.abs(slope - difference) > 1e-3 * np.abs(difference)
