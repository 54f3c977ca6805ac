"""Activations: each is its formula, and a gated one says so."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.model.activations import ACTIVATIONS
from gpt_jax.model.layers import MLP
from tests import numpy_gpt
from tests import small_models as small


@pytest.mark.parametrize('name', sorted(ACTIVATIONS))
def test_activations_equal_their_formula(name):
  x = np.linspace(-4, 4, 33)
  np.testing.assert_allclose(
    ACTIVATIONS[name](jnp.asarray(x, jnp.float32)), numpy_gpt.ACTIVATIONS[name](x),
    atol=1e-5,
  )  # fmt: skip


def mlp_names(activation):
  """Returns the names of the linear maps in an MLP with `activation`."""
  mlp = MLP(small.model_config(activation=activation))
  shapes = jax.eval_shape(mlp.init, jax.random.key(0), jnp.ones((1, 2, 16)))
  return set(nn.unbox(shapes['params']))


def test_a_gated_activation_from_outside_declares_itself(monkeypatch):
  monkeypatch.setitem(ACTIVATIONS, 'mine', ACTIVATIONS['geglu'])
  assert mlp_names('mine') == {'up', 'gate', 'down'}
  assert small.model_config(activation='mine', d_model=48).d_ff == 128  # 8/3, not 4
  outside = 'jax.numpy:tanh'
  assert mlp_names(outside) == {'up', 'down'}
  assert small.model_config(activation=outside, d_model=48).d_ff == 4 * 48


def test_a_misspelt_activation_gets_the_nearest_name():
  with pytest.raises(ConfigError, match="model.activation='gulu'.*mean 'gelu'"):
    small.model_config(activation='gulu')
