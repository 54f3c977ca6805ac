"""The common test of attention kernels: every registered kernel, every mask.

A kernel gives the dense one's values and gradients, or raises ConfigError with a fix.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import KERNELS, blockwise, dense, masks
from gpt_jax.core.errors import ConfigError
from tests import small_models as small

B, H, T, S, K = 2, 4, 16, 16, 8

SEGMENTS_BT = jnp.array([[1] * 5 + [2] * 9 + [0] * 2, [1] * 16])
SLOPES_H = jnp.array([0.5, 0.25, 0.125, 0.0625])

# The blockwise kernel as it is sees the 16 tokens of these cases as one block.
VARIANTS = KERNELS | {
  'blockwise, uneven blocks': functools.partial(blockwise.attend, block=5),
}

CASES = {
  'causal': dict(mask=masks.causal()),
  'bidirectional': dict(mask=masks.bidirectional()),
  'window': dict(mask=masks.causal().with_window(5)),
  'window both sides': dict(mask=masks.bidirectional().with_window(5)),
  'prefix': dict(mask=masks.prefix(jnp.array([0, 7]))),
  'segments': dict(mask=masks.causal(SEGMENTS_BT)),
  'segments in a window': dict(mask=masks.causal(SEGMENTS_BT).with_window(3)),
  'alibi': dict(mask=masks.causal().with_slopes(SLOPES_H)),
  'prefix in a window': dict(mask=masks.prefix(jnp.array([0, 7])).with_window(4)),
  'decoding': dict(mask=masks.Mask(query_start_B=jnp.array([3, 15])), num_queries=1),
  'cached, 7 queries': dict(
    mask=masks.Mask(query_start_B=jnp.array([2, 9])), num_queries=7
  ),
  'cached, 8 queries': dict(
    mask=masks.Mask(query_start_B=jnp.array([2, 8])), num_queries=8
  ),
  'cached, prefix': dict(
    mask=masks.Mask(query_start_B=jnp.array([2, 9]), prefix_B=jnp.array([0, 12])),
    num_queries=7,
  ),
  'prefix of padding': dict(mask=masks.prefix(jnp.array([15, 16]), SEGMENTS_BT)),
  'padding of an encoder': dict(mask=masks.bidirectional(SEGMENTS_BT), num_kv_heads=2),
  'keys of other segments': dict(
    mask=masks.Mask(segments_BT=SEGMENTS_BT, segments_BS=jnp.full((B, S), 2))
  ),
  'more queries than a window reaches': dict(
    mask=masks.causal().with_window(3), num_queries=23
  ),
  'fewer queries': dict(mask=masks.causal(), num_queries=7),
  'more queries': dict(mask=masks.causal(), num_queries=23),
  'two groups': dict(mask=masks.causal(), num_kv_heads=2),
  'multi-query': dict(mask=masks.causal(SEGMENTS_BT), num_kv_heads=1),
  'virtual keys': dict(mask=masks.causal().with_virtual(3)),
  'virtual keys, segments in a window': dict(
    mask=masks.causal(SEGMENTS_BT).with_window(3).with_virtual(3), num_kv_heads=2
  ),
  'virtual keys of an encoder': dict(
    mask=masks.bidirectional(SEGMENTS_BT).with_virtual(2), softcap=1.5
  ),
  'virtual keys before a window': dict(
    mask=masks.causal(SEGMENTS_BT).with_window(6).with_virtual(4, precede=True)
  ),
  'virtual keys before all, alibi': dict(
    mask=masks.causal().with_slopes(SLOPES_H).with_virtual(4, precede=True)
  ),
  'virtual keys near all, alibi': dict(
    mask=masks.causal().with_slopes(SLOPES_H).with_virtual(4)
  ),
  'virtual keys before a cache, 7 queries': dict(
    mask=masks.Mask(query_start_B=jnp.array([2, 9])).with_virtual(3), num_queries=7
  ),
  'virtual keys, decoding': dict(
    mask=masks.Mask(query_start_B=jnp.array([3, 15])).with_virtual(3), num_queries=1
  ),
  'virtual keys alone': dict(
    mask=masks.Mask(
      segments_BT=SEGMENTS_BT, segments_BS=jnp.full((B, S), 3), num_virtual=2
    )
  ),
  'soft-cap': dict(mask=masks.causal(), softcap=1.5),
  'groups with everything': dict(
    mask=masks.causal(SEGMENTS_BT).with_window(6).with_slopes(SLOPES_H),
    num_kv_heads=2,
    softcap=1.5,
  ),
}


@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=[pytest.mark.slow] * (name == 'blockwise, uneven blocks'))
    for name in sorted(set(VARIANTS) - {'dense'})
  ],
)
def test_values_and_gradients_equal_the_dense_kernels(name, case):
  for array, expected in zip(
    unless_refused(name, case, 'float32'), from_dense(case), strict=True
  ):
    np.testing.assert_allclose(array, expected, atol=4e-6)


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
@pytest.mark.parametrize('name', sorted(VARIANTS))
def test_half_precision_costs_only_its_rounding(name, case):
  for array, expected in zip(
    unless_refused(name, case, 'bfloat16'), from_dense(case), strict=True
  ):
    error = np.linalg.norm(array.astype(np.float32) - expected)
    # 8 bits: weights, scores' gradients and results are each off by up to 0.4 %.
    assert error < 0.01 * np.linalg.norm(expected)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('name', sorted(KERNELS))
def test_the_output_has_shape_and_dtype_of_the_queries(name, dtype):
  q_BHTK, k_BGSK, v_BGSK, _ = (x.astype(dtype) for x in operands(T, 2))
  out_BHTK = jax.eval_shape(
    lambda *qkv: KERNELS[name](*qkv, masks.causal(), scale=0.4), q_BHTK, k_BGSK, v_BGSK
  )
  assert (out_BHTK.shape, out_BHTK.dtype.name) == ((B, H, T, K), dtype)


def unless_refused(name, case, dtype):
  """Returns `out_and_grads` of a kernel; a refusal that names a fix is as good."""
  try:
    return out_and_grads(VARIANTS[name], case, dtype)
  except ConfigError as refusal:
    assert 'use attention.kernel=' in str(refusal)
    pytest.skip(str(refusal))


@functools.cache
def from_dense(case):
  return out_and_grads(dense.attend, case, 'float32')


def out_and_grads(attend, case, dtype):
  """Returns the output and the gradients of queries, keys and values in one case."""
  options = dict(num_queries=T, num_kv_heads=H, softcap=0.0) | CASES[case]
  mask = options['mask']
  arrays = operands(
    options['num_queries'], options['num_kv_heads'], S + mask.num_virtual
  )
  q_BHTK, k_BGSK, v_BGSK, cotangent_BHTK = (x.astype(dtype) for x in arrays)

  @small.jit
  def run(q_BHTK, k_BGSK, v_BGSK):
    out_BHTK, vjp = jax.vjp(
      lambda *qkv: attend(*qkv, mask, scale=0.4, softcap=options['softcap']),
      q_BHTK, k_BGSK, v_BGSK,
    )  # fmt: skip
    return out_BHTK, *vjp(cotangent_BHTK)

  return [np.asarray(array) for array in run(q_BHTK, k_BGSK, v_BGSK)]


def operands(num_queries, num_kv_heads, num_keys=S):
  """Returns queries, keys, values and a cotangent that half precision can hold."""
  rng = np.random.default_rng(0)
  shape_BHTK = (B, H, num_queries, K)
  shape_BGSK = (B, num_kv_heads, num_keys, K)
  shapes = (shape_BHTK, shape_BGSK, shape_BGSK, shape_BHTK)
  arrays = [jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in shapes]
  return [array.astype(jnp.float32) for array in arrays]
