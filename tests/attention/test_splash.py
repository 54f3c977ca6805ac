"""The splash kernel, interpreted: the dense one's numbers, by blocks, and refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import dense, masks, splash
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel.mesh import make_mesh
from gpt_jax.parallel.sharding import make_sharding_rules
from tests import small_models as small

B, H, T, K = 2, 2, 256, 64
SEGMENTS_BT = np.repeat([[1, 2, 2, 3], [1, 1, 1, 2]], T // 4, axis=1)

CASES = {
  'causal': dict(mask=masks.causal()),
  'bidirectional': dict(mask=masks.bidirectional()),
  'window': dict(mask=masks.causal().with_window(90)),
  'window both sides': dict(mask=masks.bidirectional().with_window(90)),
  'segments': dict(mask=masks.causal(SEGMENTS_BT)),
  'padding': dict(mask=masks.causal(np.where(SEGMENTS_BT == 3, 0, SEGMENTS_BT))),
  'soft-cap': dict(mask=masks.causal(), softcap=1.5),
  'one group': dict(mask=masks.causal(SEGMENTS_BT).with_window(90), G=1),
  'heads of 80': dict(mask=masks.causal(SEGMENTS_BT), K=80),
  'heads of 160, one group': dict(mask=masks.causal(), K=160, G=1),
}

REFUSED = {
  'dropout': dict(dropout=lambda weights: weights),
  'alibi': dict(mask=masks.causal().with_slopes(jnp.ones(H))),
  'prefix': dict(mask=masks.prefix(jnp.ones(B, jnp.int32))),
  'cache': dict(mask=masks.Mask(query_start_B=jnp.zeros(B, jnp.int32))),
  'uneven rows': dict(T=200),
}


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
  """Splits rows into blocks small enough that some of them are skipped."""
  monkeypatch.setattr(splash, 'BLOCK', 128)
  monkeypatch.setattr(splash, 'GRADIENT_BLOCK', 128)


def operands(G=H, T=T, K=K, dtype=jnp.float32):
  rng = np.random.default_rng(0)
  shapes = [(B, H, T, K), (B, G, T, K), (B, G, T, K)]
  return [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]


def out_and_grads(attend, arrays, mask, softcap=0.0):
  def total(q_BHTK, k_BGSK, v_BGSK):
    out_BHTK = attend(q_BHTK, k_BGSK, v_BGSK, mask, scale=0.2, softcap=softcap)
    return jnp.sum(jnp.sin(out_BHTK.astype(jnp.float32))), out_BHTK

  grad = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)
  (_, out_BHTK), grads = small.jit(grad)(*arrays)
  return out_BHTK, *grads


@pytest.mark.slow
@pytest.mark.parametrize('case', CASES)
def test_values_and_gradients_are_the_dense_kernels(case):
  options = dict(CASES[case])
  arrays = operands(options.pop('G', H), K=options.pop('K', K))
  found = out_and_grads(splash.attend, arrays, **options)
  for array, expected in zip(
    found, out_and_grads(dense.attend, arrays, **options), strict=True
  ):
    np.testing.assert_allclose(array, expected, atol=2e-5)


def test_half_precision_costs_its_rounding():
  arrays = operands(dtype=jnp.bfloat16)
  wide = [array.astype(jnp.float32) for array in arrays]
  found = out_and_grads(splash.attend, arrays, masks.causal())
  expected = out_and_grads(dense.attend, wide, masks.causal())
  for array, want in zip(found, expected, strict=True):
    assert array.dtype == jnp.bfloat16
    error = np.linalg.norm(np.asarray(array, np.float32) - want)
    assert error < 0.015 * np.linalg.norm(want)


def rules_of(preset, **mesh):
  config = small.resolve(parallel__preset=preset, parallel__mesh=mesh)
  return make_sharding_rules(config.parallel, make_mesh(config.parallel.mesh))


def test_on_a_mesh_each_device_has_its_rows_and_heads():
  rules = rules_of('fsdp_tensor', data=4, tensor=2)
  arrays = [jnp.concatenate([array] * 2) for array in operands()]
  segments_BT = np.concatenate([SEGMENTS_BT] * 2)
  attend = functools.partial(splash.attend, rules=rules)
  found = out_and_grads(attend, arrays, masks.causal(segments_BT))
  expected = out_and_grads(dense.attend, arrays, masks.causal(segments_BT))
  for array, want in zip(found, expected, strict=True):
    np.testing.assert_allclose(array, want, atol=2e-5)


@pytest.mark.parametrize('case', REFUSED)
def test_what_it_cannot_do_is_refused_with_one_that_can(case):
  options = dict(mask=masks.causal()) | REFUSED[case]
  arrays = operands(T=options.pop('T', T))
  mask = options.pop('mask')
  with pytest.raises(ConfigError, match=r'use attention\.kernel="(dense|blockwise)"'):
    splash.attend(*arrays, mask, scale=1.0, **options)


def test_sharded_time_is_refused():
  with pytest.raises(ConfigError, match='whole rows'):
    splash.attend(
      *operands(), masks.causal(), scale=1.0, rules=rules_of('sequence', sequence=8)
    )


def test_blocks_are_even_and_as_large_as_allowed():
  assert splash._block(1024, 512) == 512
  assert splash._block(1280, 512) == 256
  assert splash._block(384, 512) == 384
