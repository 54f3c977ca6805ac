"""Blockwise attention: which blocks it visits, what it costs, what it refuses, float64.

Its values and gradients, mask by mask: test_kernels.py.
"""

import functools
import re

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.attention import blockwise, dense, masks
from gpt_jax.core.errors import ConfigError
from tests import small_models as small
from tests.attention.test_kernels import VARIANTS, out_and_grads

LENGTHS = (512, 2048, 4096, 16384)


@pytest.mark.slow
@pytest.mark.parametrize(
  'case',
  [
    'groups with everything',
    'window both sides',
    'cached, prefix',
    'more queries',
  ],
)
def test_in_float64_it_is_dense_attention_to_the_last_digits(case):
  with jax.enable_x64():
    got = out_and_grads(VARIANTS['blockwise, uneven blocks'], case, 'float64')
    expected = out_and_grads(dense.attend, case, 'float64')
  for array, wanted in zip(got, expected, strict=True):
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, wanted, atol=1e-13)


@pytest.mark.parametrize(
  'mask',
  [
    masks.causal(),
    masks.causal().with_window(5),
    masks.bidirectional(),
    masks.bidirectional().with_window(6),
    masks.prefix(jnp.array([3])).with_window(6),
  ],
  ids=['causal', 'window', 'bidirectional', 'window both sides', 'prefix'],
)
@pytest.mark.parametrize('T,S', [(32, 32), (30, 30), (9, 30), (30, 9)])
def test_a_pair_is_visited_when_a_query_may_see_a_key(mask, T, S):
  """A prefix may be of any length when the program runs: then all keys are possible."""
  blocks = blockwise.Blocks(T, S, 4, 8)
  known = mask if mask.prefix_B is None else masks.bidirectional(None)
  seen_TS = np.asarray(known.with_window(mask.window).allowed(T, S)[0])
  expected = [
    (t, s)
    for t in range(0, T, 4)
    for s in range(0, S, 8)
    if seen_TS[t : t + 4, s : s + 8].any()
  ]
  assert [tuple(pair) for pair in blocks.pairs(mask)] == expected


def test_blocks_hidden_by_the_mask_cost_nothing():
  """A causal mask leaves n (n + 1) / 2 of n^2 blocks, a window of one block 2 n - 1."""
  full = flops(masks.bidirectional(), 4096)
  # 7 matmuls, each of 2 K FLOPs a pair and head.
  assert full == 7 * 2 * 64 * 4096**2 * 2
  assert flops(masks.causal(), 4096) == full * (8 * 9 / 2) / 8**2
  assert flops(masks.causal(), 16384) / flops(masks.bidirectional(), 16384) < 0.52
  assert flops(masks.causal().with_window(512), 4096) == full * 15 / 8**2


def test_compiled_loops_iterate_once_per_visited_pair():
  text = compiled(blockwise.attend, 1024).as_text()
  iterations = [int(n) for n in re.findall(r'known_trip_count[^}]*?"n":"(\d+)"', text)]
  assert iterations == [10, 10]  # 4 + 3 + 2 + 1 blocks of 256, forward and backward


def test_memory_is_linear_in_the_length():
  """Temporary bytes of forward and backward pass, as the compiler counts them."""
  assert slope_of_memory(blockwise.attend) <= 1.2
  assert slope_of_memory(dense.attend) >= 1.7


def test_rows_that_see_nothing_are_zero_without_gradient():
  x_BHTK = np.random.default_rng(0).normal(size=(1, 2, 8, 4)).astype(np.float32)
  mask = masks.causal(jnp.array([[1, 1, 1, 0, 0, 0, 0, 0]]))
  run = small.jit(forward_and_backward(blocks_of(3), mask))
  for array_BHTK in run(x_BHTK, x_BHTK, x_BHTK, np.ones_like(x_BHTK)):
    assert np.isfinite(array_BHTK).all() and not array_BHTK[:, :, 3:].any()


def test_huge_scores_do_not_overflow():
  x_BHTK = 1e4 * np.ones((1, 1, 8, 4), np.float32) * np.arange(1, 9)[:, None]
  run = small.jit(forward_and_backward(blocks_of(2), masks.causal()))
  out_BHTK, *grads = run(x_BHTK, x_BHTK, x_BHTK, x_BHTK)
  np.testing.assert_allclose(out_BHTK, x_BHTK, rtol=1e-6)  # the last key wins
  assert all(np.isfinite(grad).all() for grad in grads)


def test_rows_and_heads_stay_on_their_devices():
  mesh = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ('data', 'tensor'))
  sharding = NamedSharding(mesh, PartitionSpec('data', 'tensor'))
  x_BHTK = jax.ShapeDtypeStruct((4, 4, 32, 8), jnp.float32, sharding=sharding)
  k_BGSK = jax.ShapeDtypeStruct((4, 2, 32, 8), jnp.float32, sharding=sharding)
  run = small.jit(forward_and_backward(blocks_of(8), masks.causal()))
  text = run.lower(x_BHTK, k_BGSK, k_BGSK, x_BHTK).compile().as_text()
  assert 'f32[2,1,32,8]' in text
  assert not re.findall(r'all-gather|all-reduce|all-to-all|collective-permute', text)


def test_one_token_goes_to_the_dense_kernel():
  q_BHTK, k_BHSK = jnp.ones((2, 2, 1, 4)), jnp.ones((2, 2, 64, 4))
  mask = masks.Mask(query_start_B=jnp.array([3, 9]))

  def program(attend):
    run = functools.partial(attend, mask=mask, scale=1.0)
    return str(jax.make_jaxpr(run)(q_BHTK, k_BHSK, k_BHSK))

  assert program(blockwise.attend) == program(dense.attend)


@pytest.mark.parametrize('names,num_scans', [(('attended',), 2), ((), 3)])
def test_saving_its_results_spares_a_second_forward_pass(names, num_scans):
  policy = jax.checkpoint_policies.save_only_these_names(*names)

  @functools.partial(jax.checkpoint, policy=policy)
  def total(q_BHTK):
    out_BHTK = blockwise.attend(q_BHTK, q_BHTK, q_BHTK, masks.causal(), scale=1.0)
    return jnp.sin(out_BHTK).sum()

  jaxpr = jax.make_jaxpr(jax.grad(total))(jnp.ones((1, 2, 8, 4)))
  assert sum(eqn.primitive.name == 'scan' for eqn, _ in equations(jaxpr)) == num_scans


def test_dropout_is_refused_with_the_kernel_that_can():
  q_BHTK = jnp.ones((1, 1, 4, 4))
  with pytest.raises(ConfigError, match=r'model.attention_dropout.*kernel="dense"'):
    blockwise.attend(
      q_BHTK, q_BHTK, q_BHTK, masks.causal(), scale=1.0, dropout=lambda x: x
    )
  with pytest.raises(ConfigError, match=r'model.attention_dropout=0.1.*dense'):
    small.resolve(attention__kernel='blockwise', model__dropout=0.1)
  small.resolve(attention__kernel='blockwise', attention__softcap=2.0)


def blocks_of(size):
  return functools.partial(blockwise.attend, block=size)


def forward_and_backward(attend, mask):
  def run(q_BHTK, k_BHTK, v_BHTK, cotangent_BHTK):
    out_BHTK, vjp = jax.vjp(
      lambda *qkv: attend(*qkv, mask, scale=1.0), q_BHTK, k_BHTK, v_BHTK
    )
    return out_BHTK, *vjp(cotangent_BHTK)

  return run


def compiled(attend, length):
  shape = jax.ShapeDtypeStruct((1, 2, length, 64), jnp.bfloat16)
  run = small.jit(forward_and_backward(attend, masks.causal()))
  return run.lower(*[shape] * 4).compile()


def slope_of_memory(attend):
  """Returns the exponent of the length in the temporary memory, by least squares."""
  sizes = [
    compiled(attend, length).memory_analysis().temp_size_in_bytes for length in LENGTHS
  ]
  return np.polyfit(np.log(LENGTHS), np.log(sizes), 1)[0]


def flops(mask, length):
  """Returns the FLOPs of all matmuls, those in a scan once per iteration."""
  shape = jax.ShapeDtypeStruct((1, 2, length, 64), jnp.bfloat16)
  run = forward_and_backward(blockwise.attend, mask)
  total = 0
  for eqn, iterations in equations(jax.make_jaxpr(run)(*[shape] * 4)):
    if eqn.primitive.name == 'dot_general':
      (over, _), _ = eqn.params['dimension_numbers']
      summed = np.prod([eqn.invars[0].aval.shape[axis] for axis in over])
      total += iterations * 2 * eqn.outvars[0].aval.size * summed
  return total


def equations(jaxpr, iterations=1):
  """Yields (equation, how often it runs) of a jaxpr and all that it calls."""
  for eqn in jaxpr.eqns:
    yield eqn, iterations
    repeats = eqn.params['length'] if eqn.primitive.name == 'scan' else 1
    for inner in jax.extend.core.jaxprs_in_params(eqn.params):
      yield from equations(inner, iterations * repeats)
