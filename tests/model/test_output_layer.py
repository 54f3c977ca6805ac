"""The layers between the stream and logits, and the pooler, by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.model.output_layer import HeadTransform, Pooler
from tests import small_models as small
from tests import tiny_runs


def _random(module, x):
  params = nn.unbox(module.init(jax.random.key(0), x)['params'])
  keys = jax.random.split(jax.random.key(1), len(jax.tree.leaves(params)))
  keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
  params = jax.tree.map(lambda p, k: jax.random.normal(k, p.shape), params, keys)
  return params, module.apply({'params': params}, x)


def test_the_pooler_is_tanh_of_a_map_of_the_first_token():
  cfg = small.resolve().model
  x_BTD = jax.random.normal(jax.random.key(2), (2, 3, cfg.d_model))
  params, pooled_BD = _random(Pooler(cfg), x_BTD)
  dense = params['dense']
  expected_BD = np.tanh(x_BTD[:, 0] @ dense['kernel'] + dense['bias'])
  np.testing.assert_allclose(pooled_BD, expected_BD, atol=1e-6)


def test_the_transform_is_a_map_an_activation_and_a_norm():
  cfg = small.resolve(model__activation='relu').model
  x_BTD = jax.random.normal(jax.random.key(2), (2, 3, cfg.d_model))
  params, out_BTD = _random(HeadTransform(cfg), x_BTD)
  dense, norm = params['dense'], params['out_norm']
  y_BTD = np.maximum(x_BTD @ dense['kernel'] + dense['bias'], 0)
  y_BTD = y_BTD - y_BTD.mean(-1, keepdims=True)
  y_BTD = y_BTD / np.sqrt((y_BTD**2).mean(-1, keepdims=True) + cfg.norm_eps)
  expected_BTD = y_BTD * norm['scale'] + norm['bias']
  np.testing.assert_allclose(out_BTD, expected_BTD, atol=1e-5)


def test_a_model_without_output_layer_returns_its_stream():
  config = small.resolve(model__head='none')
  model = small.make_gpt(config)
  params, tokens_BT = small.random_params(model), small.random_tokens()
  assert not [name for name in params if 'head' in name]
  outputs, _ = model.apply({'params': params}, tokens_BT)
  x_BTD, head_VD, _ = model.apply({'params': params}, tokens_BT, method='hidden')
  assert head_VD is None
  np.testing.assert_array_equal(outputs, x_BTD)
  assert outputs.dtype == jnp.float32


def test_token_types_add_the_row_of_their_embedding():
  config = small.resolve(model__token_types=2, model__num_layers=1)
  model = small.make_gpt(config)
  params, tokens_BT = small.random_params(model), small.random_tokens()
  types_BT = jnp.ones_like(tokens_BT)
  ones, _ = model.apply({'params': params}, tokens_BT, token_types_BT=types_BT)
  zeros, _ = model.apply({'params': params}, tokens_BT)
  assert np.abs(ones - zeros).max() > 1e-3
  table = params['token_type']['embedding'][::-1]
  swapped = params | {'token_type': {'embedding': table}}
  again, _ = model.apply({'params': swapped}, tokens_BT)
  np.testing.assert_array_equal(again, ones)


def test_an_output_bias_and_the_fused_loss_are_refused():
  with pytest.raises(ConfigError, match='model.head_bias'):
    tiny_runs.tiny_config({'model.head_bias': True, 'objective.loss': 'fused'})
