"""Prefix tuning is the plain model after explicit keys and values."""

import dataclasses

import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.model import stacking
from gpt_jax.model.gpt import GPT
from gpt_jax.peft import prefix
from tests import small_models as small
from tests.peft import virtual_models as virtual


@pytest.mark.parametrize('name', ['prefix', 'p_tuning_v2'])
@pytest.mark.parametrize('case', virtual.GPTS)
def test_outputs_are_those_after_past_keys_and_values(name, case):
  adapted, plain, params = virtual.make(name, **virtual.GPTS[case])
  tokens_BT = small.random_tokens()
  expected = past_logits(adapted, plain, params, tokens_BT)
  virtual.is_close(small.logits_of(adapted)(params, tokens_BT), expected)


def test_encoders_see_the_prefix_from_everywhere():
  fields = dict(model__norm_position='post', objective__name='masked_lm')
  adapted, plain, params = virtual.make('p_tuning_v2', **fields)
  tokens_BT, num_real = small.random_tokens(), 5
  expected = past_logits(
    adapted, plain, params, tokens_BT[:, :num_real], masks.bidirectional(),
    room=num_real,
  )  # fmt: skip
  segments_BT = (np.arange(8) < num_real).astype(np.int32)[None].repeat(2, 0)
  mask = masks.bidirectional(segments_BT)
  found = small.logits_of(adapted)(params, tokens_BT, mask)
  virtual.is_close(found[:, :num_real], expected)


def past_logits(adapted, plain, params, tokens_BT, mask=None, room=16):
  """Returns logits of the plain model after the prefix as its cache."""
  cfg = dataclasses.replace(plain.cfg, scan_layers=False)
  tree = stacking.unstack(virtual.plain_params(adapted, params))
  cache = virtual.past_of(adapted, params, 2, room)
  model = GPT(cfg, plain.attend)
  return model.apply({'params': tree}, tokens_BT, mask, cache=cache)[0]


@pytest.mark.parametrize('kernel', ['dense', 'blockwise'])
def test_each_document_of_a_row_sees_the_prefix(kernel):
  adapted, _, params = virtual.make('prefix', kernel, model__position='rope')
  tokens_BT = small.random_tokens()
  segments_BT = np.array([[1] * 3 + [2] * 5] * 2)
  positions_BT = np.array([[0, 1, 2, 0, 1, 2, 3, 4]] * 2)
  logits = small.logits_of(adapted)
  together = logits(params, tokens_BT, masks.causal(segments_BT), positions_BT)
  virtual.is_close(together[:, :3], logits(params, tokens_BT[:, :3]))
  virtual.is_close(together[:, 3:], logits(params, tokens_BT[:, 3:]))


def test_the_mlp_makes_the_keys_of_layers_in_their_order():
  adapted, _, params = virtual.make('prefix', model__num_kv_heads=2)
  tree = virtual.leaves(params)
  mlp = {n.split('/')[1]: x for n, x in tree.items() if n.startswith('prefix/')}
  hidden_PH = np.tanh(mlp['embedding'] @ mlp['hidden_kernel'] + mlp['hidden_bias'])
  kernel = mlp['out_kernel'].reshape(512, -1)
  # The order of Hugging Face peft: key and value of layer 0, those of layer 1, ...
  flat = hidden_PH @ kernel + mlp['out_bias'].reshape(-1)
  past = flat.reshape(virtual.P, 2 * 2, 2, 4).transpose(1, 2, 0, 3)
  made = virtual.leaves(prefix.expand(params, cfg=adapted.cfg))
  for layer in range(2):
    for i, name in enumerate(('prefix_key', 'prefix_value')):
      found = made[f'layers/block_0/attention/{name}'][layer]
      np.testing.assert_allclose(found, past[2 * layer + i], rtol=1e-5, atol=1e-5)
  assert not any(name.startswith('prefix/') for name in made)


def test_direct_prefixes_are_those_of_p_tuning_v2():
  direct = virtual.make('prefix', **{'peft__options.reparametrize': False})[0].adapter
  other = virtual.make('p_tuning_v2')[0].adapter
  assert {n: x.shape for n, x in direct.added.items()} == {
    n: x.shape for n, x in other.added.items()
  }
