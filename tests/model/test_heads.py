"""Task heads: their values by hand, and where they stand in a model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import bind, dense
from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.model import heads
from gpt_jax.model.gpt import GPT
from tests import tiny_runs

CONFIG = tiny_runs.tiny_config({'model.vocab_size': 11, 'model.tie_embeddings': False})
TOKENS = jnp.arange(8).reshape(2, 4)


def variables_of(head):
  model = GPT(CONFIG.model, bind(dense.attend, CONFIG.model), task_head=head)
  return model, model.init(jax.random.key(0), TOKENS)


def leaves(variables):
  return dict(pytree.named_leaves(jax.tree.map(lambda x: x, variables['params'])))


@pytest.mark.parametrize('name', sorted(heads.HEADS))
def test_a_head_takes_the_place_of_the_language_model_head(name):
  config = tiny_runs.tiny_config({'objective.head': name})
  model, variables = variables_of(heads.make_head(config, 3))
  outputs, _ = model.apply(variables, TOKENS)
  assert outputs.shape == (2, 4, 3)
  assert outputs.dtype == jnp.float32
  assert not any(leaf.startswith('head/') for leaf in leaves(variables))
  assert any(leaf.startswith('task_head/') for leaf in leaves(variables))


def test_outputs_are_the_linear_map_of_the_stream():
  model, variables = variables_of(heads.LinearHead(CONFIG.model, 3))
  x_BTD, head_VD, _ = model.apply(variables, TOKENS, method='hidden')
  assert head_VD is None
  head = jax.tree.map(np.asarray, variables['params'])['task_head']
  kernel, bias = (head[name].value for name in ('kernel', 'bias'))
  outputs, _ = model.apply(variables, TOKENS)
  np.testing.assert_allclose(outputs, np.asarray(x_BTD) @ kernel + bias, atol=1e-5)
  one = model.apply(variables, x_BTD[:, 0], method='apply_task_head')
  np.testing.assert_allclose(one, outputs[:, 0], atol=1e-6)


def test_the_pooler_is_a_tanh_before_the_linear_map():
  head = heads.MLPHead(CONFIG.model, 2)
  x_BD = jax.random.normal(jax.random.key(1), (3, CONFIG.model.d_model))
  params = jax.tree.map(
    lambda box: box.value,
    head.init(jax.random.key(0), x_BD)['params'],
    is_leaf=lambda leaf: hasattr(leaf, 'value'),
  )
  pooled = np.tanh(x_BD @ params['pooler_kernel'] + params['pooler_bias'])
  expected = pooled @ params['out']['kernel'] + params['out']['bias']
  np.testing.assert_allclose(head.apply({'params': params}, x_BD), expected, atol=1e-5)


def test_no_outputs_mean_no_task_head():
  assert heads.make_head(CONFIG, 0) is None


def test_a_misspelt_head_names_the_nearest_one():
  with pytest.raises(ConfigError, match="did you mean 'linear'"):
    tiny_runs.tiny_config({'objective.head': 'linaer'})
