"""Linear maps of the same input as one product give what they give one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.core.pytree import named_leaves
from gpt_jax.model import joined, stacking
from tests import small_models as small

MODELS = {
  'as GPT-2': dict(bias=True),
  'as LLaMA': dict(
    num_kv_heads=2, activation='swiglu', position='rope', bias=False, norm='rmsnorm'
  ),
  'as Qwen2': dict(num_kv_heads=1, bias=False, qkv_bias=True, activation='swiglu'),
}


def made(name):
  """Returns (model, its unrolled parameters)."""
  fields = {f'model__{field}': value for field, value in MODELS[name].items()}
  model = small.make_gpt(small.resolve(model__scan_layers=False, **fields))
  return model, stacking.unstack(small.random_params(model))


def logits(model, params, tokens_BT):
  return model.apply({'params': params}, tokens_BT)[0]


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('length', [1, 5])
def test_joined_kernels_give_the_same_logits(name, length):
  model, params = made(name)
  tokens_BT = np.arange(3 * length).reshape(3, length) % 16
  wanted_BTV = logits(model, params, tokens_BT)
  found_BTV = logits(model, joined.join(params), tokens_BT)
  np.testing.assert_allclose(found_BTV, wanted_BTV, atol=1e-5)


def test_every_kernel_is_stored_once():
  _, params = made('as LLaMA')
  names = [name for name, _ in named_leaves(joined.join(params))]
  assert not [name for name in names if '/query/' in name or '/gate/' in name]
  assert sum(joined.NAME in name for name in names) == 4  # two in each of two layers
  assert _size(joined.join(params)) == _size(params)


def _size(params):
  return sum(leaf.size for leaf in jax.tree.leaves(params))


def test_kernels_in_few_bits_stay_apart():
  _, params = made('as GPT-2')
  attention = params['layers_0']['block_0']['attention']
  attention['query'] = attention['query'] | {
    'kernel': attention['query']['kernel'].astype(jnp.int8)
  }
  found = joined.join(params)['layers_0']['block_0']['attention']
  assert set(found) == set(attention)


def test_a_lone_half_stays_as_it_is():
  _, params = made('as GPT-2')
  mlp = params['layers_0']['block_0']['mlp']
  assert joined.join(params)['layers_0']['block_0']['mlp'] == mlp


def test_maps_of_which_only_some_have_a_bias_stay_apart():
  _, params = made('as GPT-2')
  attention = params['layers_0']['block_0']['attention']
  attention['key'] = {'kernel': attention['key']['kernel']}
  found = joined.join(params)['layers_0']['block_0']['attention']
  assert set(found) == set(attention)
