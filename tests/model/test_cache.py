"""The key-value cache: writing rows, and decoding with it as without."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks
from gpt_jax.model import stacking
from gpt_jax.model.cache import KVCache, Place, bytes_of_row, empty_cache
from tests import small_models as small
from tests import tiny_runs

DECODERS = {
  'gpt2': {},
  'grouped rotary': dict(position='rope', num_kv_heads=2),
  'multi-query alibi': dict(position='alibi', num_kv_heads=1),
  'sinusoidal, unrolled': dict(position='sinusoidal', scan_layers=False),
  'local layers': dict(layer_pattern=('global', 'local:3'), position='rope'),
}


def test_writing_changes_the_given_rows_and_no_other():
  empty = KVCache(jnp.zeros((2, 1, 5, 3)), jnp.zeros((2, 1, 5, 3)))
  new_BGTK = jnp.ones((2, 1, 2, 3))
  cache = empty.write(new_BGTK, 2 * new_BGTK, Place(jnp.array([0, 3])))
  np.testing.assert_array_equal(cache.k_BGSK[0, 0, :, 0], [1, 1, 0, 0, 0])
  np.testing.assert_array_equal(cache.v_BGSK[1, 0, :, 0], [0, 0, 0, 2, 2])


def test_a_row_takes_keys_and_values_of_each_layer_and_head():
  cfg = small.model_config(num_layers=3, num_heads=4, num_kv_heads=2, head_dim=8)
  assert bytes_of_row(cfg, 10) == 2 * 3 * 2 * 8 * 10 * 4  # k and v in float32
  # With a scale in float32 for each eight numbers.
  assert bytes_of_row(cfg, 10, 'int8') == 2 * 3 * 2 * (8 + 4) * 10


def test_local_layers_keep_their_window_only():
  cfg = small.model_config(layer_pattern=('local:3', 'global'), num_layers=2)
  full = small.model_config(num_layers=2)
  assert bytes_of_row(cfg, 100) * 200 == bytes_of_row(full, 100) * 103


def test_a_cache_keeps_its_dtype():
  zeros_BGSK = jnp.zeros((1, 1, 4, 2), jnp.bfloat16)
  cache = KVCache(zeros_BGSK, zeros_BGSK)
  new_BGTK = jnp.ones((1, 1, 1, 2), jnp.float32)
  assert (
    cache.write(new_BGTK, new_BGTK, Place(jnp.array([0]))).k_BGSK.dtype == jnp.bfloat16
  )


@pytest.mark.parametrize(
  'name', tiny_runs.mostly_slow(DECODERS, 'grouped rotary', 'local layers')
)
def test_cached_decoding_matches_the_full_forward_pass(name):
  model = small.make_gpt(
    small.resolve(**{f'model__{k}': v for k, v in DECODERS[name].items()})
  )
  params, tokens_BT = small.random_params(model), small.random_tokens()
  full_BTV = small.logits_of(model)(params, tokens_BT)
  step = decoder(model)
  cache = empty_cache(model.cfg, 2, 10)
  first_BTV, cache = step(params, tokens_BT[:, :3], cache)
  logits = [first_BTV]
  for t in range(3, 8):
    next_BTV, cache = step(params, tokens_BT[:, t : t + 1], cache)
    logits.append(next_BTV)
  np.testing.assert_allclose(jnp.concatenate(logits, 1), full_BTV, atol=1e-4)
  np.testing.assert_array_equal(cache['length_B'], [8, 8])


def test_bfloat16_decoding_stays_close_to_the_full_forward_pass():
  model = small.make_gpt(small.resolve(model__dtype='bfloat16', model__position='rope'))
  params, tokens_BT = small.random_params(model), small.random_tokens()
  full_BTV = small.logits_of(model)(params, tokens_BT)
  step = jax.jit(model.apply)  # optimized as in a run
  _, cache = step(
    {'params': params}, tokens_BT[:, :7], cache=empty_cache(model.cfg, 2, 8, 'bfloat16')
  )
  last_BTV, _ = step({'params': params}, tokens_BT[:, 7:], cache=cache)
  assert cache['layers']['block_0'].k_BGSK.dtype == jnp.bfloat16
  np.testing.assert_allclose(last_BTV[:, 0], full_BTV[:, 7], atol=0.2)


def test_rows_of_different_lengths_decode_as_if_alone():
  model = small.make_gpt(small.resolve(model__position='rope'))
  params, tokens_BT = small.random_params(model), small.random_tokens()
  full_BTV = small.logits_of(model)(params, tokens_BT)
  step = decoder(model)
  _, cache = step(params, tokens_BT[:, :6], empty_cache(model.cfg, 2, 10))
  lengths_B = np.array([4, 2])  # what follows them is overwritten
  cache = cache | {'length_B': jnp.asarray(lengths_B)}
  for more in range(2):
    next_B1 = tokens_BT[np.arange(2), lengths_B + more][:, None]
    logits_BTV, cache = step(params, next_B1, cache)
    expected_BV = full_BTV[np.arange(2), lengths_B + more]
    np.testing.assert_allclose(logits_BTV[:, 0], expected_BV, atol=1e-4)


def test_a_prefix_sees_itself_both_ways_and_decodes_causally():
  model = small.make_gpt(small.resolve(model__position='rope'))
  params, tokens_BT = small.random_params(model), small.random_tokens()
  mask = masks.prefix(jnp.array([4, 4]))
  full_BTV = small.logits_of(model)(params, tokens_BT, mask)
  step = decoder(model)
  cache = empty_cache(model.cfg, 2, 8)
  prefix_BTV, cache = step(params, tokens_BT[:, :4], cache, mask)
  rest_BTV, cache = step(params, tokens_BT[:, 4:], cache)
  decoded_BTV = jnp.concatenate([prefix_BTV, rest_BTV], 1)
  np.testing.assert_allclose(decoded_BTV, full_BTV, atol=1e-4)


def test_stacked_and_unrolled_models_decode_alike():
  scanned = small.make_gpt(small.resolve())
  cfg = dataclasses.replace(scanned.cfg, scan_layers=False)
  unrolled = scanned.clone(cfg=cfg)
  params, tokens_BT = small.random_params(scanned), small.random_tokens()
  logits = [
    decoder(model)(tree, tokens_BT, empty_cache(model.cfg, 2, 8))[0]
    for model, tree in ((scanned, params), (unrolled, stacking.unstack(params)))
  ]
  np.testing.assert_allclose(*logits, atol=1e-5)


def test_grouped_heads_make_the_cache_smaller_by_their_ratio():
  sizes = [
    sum(
      leaf.size
      for leaf in jax.tree.leaves(
        empty_cache(small.model_config(num_kv_heads=heads), 1, 8)['layers']
      )
    )
    for heads in (4, 2, 1)
  ]
  assert sizes[0] == 2 * sizes[1] == 4 * sizes[2]


def test_eight_bits_cost_little_loss():
  # A window that is crossed: rings hold eight bits too.
  model = small.make_gpt(
    small.resolve(
      model__layer_pattern=('local:3', 'global'),
      model__position='rope',
      model__head_dim=32,
      model__d_model=64,
    )  # fmt: skip
  )
  params, tokens_BT = small.random_params(model), small.random_tokens(4, 24)
  full_BTV = small.logits_of(model)(params, tokens_BT)
  step, losses = decoder(model), {}
  for dtype in ('float32', 'int8'):
    cache = empty_cache(model.cfg, 4, 24, dtype)
    parts_BTV = []
    for start in range(0, 24, 4):
      logits_BTV, cache = step(params, tokens_BT[:, start : start + 4], cache)
      parts_BTV.append(logits_BTV)
    log_probs_BTV = jax.nn.log_softmax(jnp.concatenate(parts_BTV, 1)[:, :-1])
    targets_BT1 = tokens_BT[:, 1:, None]
    losses[dtype] = -jnp.take_along_axis(log_probs_BTV, targets_BT1, 2).mean()
  assert cache['layers']['block_1'].k_BGSK.values_GSK.dtype == jnp.int8
  targets_BT1 = tokens_BT[:, 1:, None]
  full = jax.nn.log_softmax(full_BTV[:, :-1])
  loss = -jnp.take_along_axis(full, targets_BT1, 2).mean()
  assert losses['float32'] == pytest.approx(float(loss), abs=1e-5)
  # Weights of a random model are ten times those of a trained one; of losses near 10
  # this is a share of 1e-3.
  assert 0 < abs(float(losses['int8'] - loss)) < 0.02, losses


def test_numbers_of_eight_bits_are_within_half_a_step():
  x_BGTK = 100 * jax.random.normal(jax.random.key(0), (2, 2, 5, 16))
  cache = empty_cache(small.model_config(num_kv_heads=2, head_dim=16), 2, 5, 'int8')
  block = jax.tree.map(lambda leaf: leaf[0], cache['layers']['block_0'])
  k_BGSK, _ = block.write(x_BGTK, x_BGTK, Place(jnp.zeros(2, int))).read(jnp.float32)
  largest_BGT1 = jnp.abs(x_BGTK).max(-1, keepdims=True)
  assert float((jnp.abs(k_BGSK - x_BGTK) / largest_BGT1).max()) <= 0.501 / 127


def decoder(model):
  def step(params, tokens_BT, cache, mask=None):
    return model.apply({'params': params}, tokens_BT, mask, cache=cache)

  return small.jit(step)
