"""Rows of one batch, each with an adapter of its own, are the rows of merged models."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax import peft
from gpt_jax.core.errors import ConfigError
from gpt_jax.peft import batched
from gpt_jax.peft.low_rank import LORA_A, LORA_B
from tests import small_models as small
from tests.peft import adapters

KINDS = {
  'scanned': {},
  'unrolled': dict(model__scan_layers=False),
  'gqa': dict(
    model__num_kv_heads=2, model__position='rope', model__activation='swiglu'
  ),
}


@pytest.mark.parametrize('kind', KINDS)
def test_each_row_is_that_of_the_merged_model(kind):
  fields = KINDS[kind]
  options = adapters.OPTIONS | {'pissa': adapters.PISSA}
  config, params, adapter, merged = adapters.several(options, **fields)
  plain = small.make_gpt(config)
  cfg = adapters.config_of(**fields | dict(model__scan_layers=False)).model
  model = peft.make_gpt(adapter, cfg, plain.attend)
  names = ['pissa', None, 'wide', 'mixed', 'narrow', 'wide']
  numbers_B = np.array([adapter.number(name) for name in names], np.int32)
  tokens_BT = small.random_tokens(batch=len(names))
  apply = small.logits_of(model)
  rows_BTV = apply(batched.with_choice(params, numbers_B), tokens_BT)
  of_base = adapters.base(**fields)[1]
  logits = small.logits_of(plain)
  for i, name in enumerate(names):
    row_1T = tokens_BT[i : i + 1]
    expected = logits(merged[name] if name else of_base, row_1T)
    # The order of float32 sums; logits are up to 10.
    np.testing.assert_allclose(rows_BTV[i : i + 1], expected, atol=2e-4)
    if name:
      assert np.abs(expected - logits(of_base, row_1T)).max() > 0.1
    one = batched.with_choice(params, numbers_B[i])
    np.testing.assert_allclose(apply(one, tokens_BT)[i], rows_BTV[i], atol=2e-4)


def test_without_a_choice_it_is_the_base():
  config, params, adapter, _ = adapters.several()
  plain = small.make_gpt(config)
  cfg = adapters.config_of(model__scan_layers=False).model
  model = peft.make_gpt(adapter, cfg, plain.attend)
  tokens_BT = small.random_tokens()
  found = small.logits_of(model)(params, tokens_BT)
  expected = small.logits_of(plain)(adapters.base()[1], tokens_BT)
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stacks_have_the_largest_rank_and_zeros_elsewhere():
  _, params, adapter, _ = adapters.several()
  attention = params['layers_1']['block_0']['attention']
  assert attention['query'][LORA_A].shape == (4, 16, 4)  # base, wide, narrow, mixed
  assert attention['key'][LORA_B].shape == (4, 4, 4, 4)
  is_zero = {
    name: [not jnp.any(each) for each in attention[name][LORA_B]]
    for name in ('query', 'key', 'out')
  }
  assert is_zero['query'] == [True, False, False, True]
  assert is_zero['key'] == [True, False, True, True]
  assert is_zero['out'] == [True, False, True, False]
  assert not jnp.any(attention['query'][LORA_A][2, :, 2:])  # rank 2 of 4
  assert adapter.added['layers_1/block_0/attention/query/lora_a'].axes == (
    None, 'embed', None,
  )  # fmt: skip


def test_an_unknown_name_is_refused_with_the_nearest():
  adapter = adapters.several()[2]
  assert [adapter.number(name) for name in (None, 'wide', 'mixed')] == [0, 1, 3]
  with pytest.raises(ConfigError, match="adapter='wid'.*did you mean 'wide'"):
    adapter.number('wid')
  with pytest.raises(ConfigError, match='wide, narrow, mixed; name one, or None'):
    adapter.number('zzz')


@pytest.mark.parametrize('option', [dict(dora=True), dict(biases='all')])
def test_what_is_more_than_a_product_has_no_factors(option):
  fields = dict(model__bias=True)
  adapter = peft.make_adapter(adapters.config_of(option, **fields))
  assert adapter.factors is None
