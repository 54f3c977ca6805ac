"""The attention layer: heads, groups, norms of queries and keys, positions, dropout."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import bind, dense, masks
from gpt_jax.core import pytree
from gpt_jax.model.attention import Attention
from gpt_jax.model.positions import rope_angles
from tests import small_models as small

B, T, D = 2, 6, 16


def layer(window=None, kernel=dense.attend, **overrides):
  cfg = small.model_config(**overrides)
  return Attention(cfg, bind(kernel, cfg), None, window)


def inputs():
  return jnp.asarray(np.random.default_rng(1).normal(size=(B, T, D)), jnp.float32)


def angles(start, cfg):
  return rope_angles(cfg, start + jnp.arange(T)[None])


def params_of(attention, seed=0):
  def init(key):
    where = angles(0, attention.cfg)
    return attention.init(key, inputs(), masks.causal(), where, None, None, True)

  shapes = nn.unbox(jax.eval_shape(init, jax.random.key(0))['params'])
  rng = np.random.default_rng(seed)
  return pytree.map_named(
    lambda _, leaf: jnp.asarray(rng.normal(size=leaf.shape), jnp.float32), shapes
  )


def run(attention, params, x_BTD, mask=None, start=0, deterministic=True, rngs=None):
  mask = masks.causal() if mask is None else mask
  out_BTD, cache = attention.apply(
    {'params': params}, x_BTD, mask, angles(start, attention.cfg), None, None,
    deterministic, rngs=rngs,
  )  # fmt: skip
  assert cache is None
  return out_BTD


def test_grouped_heads_equal_repeated_keys_and_values():
  grouped, full = layer(num_kv_heads=2), layer()
  params = params_of(grouped)
  repeated = params | {
    name: {'kernel': jnp.repeat(params[name]['kernel'], 2, 1),
           'bias': jnp.repeat(params[name]['bias'], 2, 0)}
    for name in ('key', 'value')
  }  # fmt: skip
  np.testing.assert_allclose(
    run(grouped, params, inputs()), run(full, repeated, inputs()), atol=1e-4
  )


def test_heads_may_be_wider_than_their_share_of_the_model():
  params = params_of(layer(head_dim=10, num_kv_heads=1))
  assert params['query']['kernel'].shape == (D, 4, 10)
  assert params['key']['kernel'].shape == (D, 1, 10)
  assert params['out']['kernel'].shape == (4, 10, D)


def test_queries_and_keys_with_a_norm_forget_their_length():
  attention = layer(qk_norm='rmsnorm', bias=False)
  params = params_of(attention)
  louder = params | {
    name: {'kernel': 50 * params[name]['kernel']} for name in ('query', 'key')
  }
  np.testing.assert_allclose(
    run(attention, louder, inputs()), run(attention, params, inputs()), atol=1e-3
  )
  assert params['query_norm']['scale'].shape == (4,)


def test_rotary_attention_depends_on_distances_only():
  attention = layer(position='rope')
  params = params_of(attention)
  np.testing.assert_allclose(
    run(attention, params, inputs(), start=0),
    run(attention, params, inputs(), start=7),
    atol=1e-4,
  )


def test_attention_without_positions_does_not_know_the_order():
  attention = layer(position='none')
  params, everything = params_of(attention), masks.bidirectional()
  order_T = np.array([3, 1, 5, 0, 2, 4])
  np.testing.assert_allclose(
    run(attention, params, inputs()[:, order_T], everything),
    run(attention, params, inputs(), everything)[:, order_T],
    atol=1e-4,
  )


def test_a_window_as_long_as_the_text_is_no_window():
  params = params_of(layer())
  full = run(layer(), params, inputs())
  np.testing.assert_array_equal(run(layer(window=T), params, inputs()), full)
  assert np.abs(run(layer(window=2), params, inputs()) - full).max() > 0.1


def test_zero_queries_average_the_values_they_see():
  attention = layer(init='mup')
  params = params_of(attention)
  params['query'] = jax.tree.map(jnp.zeros_like, params['query'])
  out_BTD = run(attention, params, inputs())
  v_BTHK = jnp.einsum('BTD,DHK->BTHK', inputs(), params['value']['kernel'])
  mean_BTHK = jnp.cumsum(v_BTHK, 1) / (jnp.arange(T) + 1)[:, None, None]
  mean_BTHK += params['value']['bias']
  expected_BTD = jnp.einsum('BTHK,HKD->BTD', mean_BTHK, params['out']['kernel'])
  np.testing.assert_allclose(out_BTD, expected_BTD + params['out']['bias'], atol=1e-4)


def test_attention_dropout_keeps_the_mean_and_needs_training():
  attention = layer(attention_dropout=0.5)
  params = params_of(attention)
  quiet = run(attention, params, inputs())
  np.testing.assert_array_equal(quiet, run(layer(), params, inputs()))

  def noisy(key):
    rngs = {'dropout': key}
    return run(attention, params, inputs(), deterministic=False, rngs=rngs)

  draws_NBTD = small.jit(jax.vmap(noisy))(jax.random.split(jax.random.key(0), 4000))
  spread_BTD = np.asarray(draws_NBTD).std(0)
  assert spread_BTD.max() > 0.1
  # The first token sees one weight; its mean over draws is exact but for the sampling.
  error_BTD = np.abs(draws_NBTD.mean(0) - quiet)
  assert (error_BTD <= 5 * spread_BTD / np.sqrt(4000) + 1e-5).all()


def test_a_kernel_is_asked_for_dropout_only_when_there_is_some():
  seen = []

  def spy(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, softcap, dropout):
    seen.append((scale, softcap, dropout is not None))
    return dense.attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=scale)

  for rate, deterministic in ((0.0, False), (0.5, True), (0.5, False)):
    attention = layer(attention_dropout=rate, kernel=spy)
    params = params_of(attention)
    seen.clear()
    rngs = {'dropout': jax.random.key(0)}
    run(attention, params, inputs(), deterministic=deterministic, rngs=rngs)
    assert seen == [(0.5, 0.0, rate > 0 and not deterministic)]


@pytest.mark.parametrize('init,scale', [('gpt2', 0.5), ('fan_in', 0.5), ('mup', 0.25)])
def test_scores_are_scaled_by_1_over_sqrt_k_or_under_mup_by_k(init, scale):
  scales = []

  def spy(q_BHTK, k_BGSK, v_BGSK, mask, *, scale, **_):
    scales.append(scale)
    return q_BHTK

  params_of(layer(init=init, kernel=spy))
  assert scales == [scale]
