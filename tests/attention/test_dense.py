"""The dense kernel against attention written one query at a time in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import dense, masks
from tests import numpy_gpt
from tests import small_models as small

B, H, T, K = 2, 4, 6, 4

SEGMENTS_BT = np.array([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
MASKS = {
  'causal': masks.causal(),
  'bidirectional': masks.bidirectional(),
  'window': masks.causal().with_window(3),
  'prefix': masks.prefix(jnp.array([0, 4])),
  'segments': masks.causal(jnp.asarray(SEGMENTS_BT)),
  'alibi': masks.causal().with_slopes(jnp.array([0.5, 0.25, 0.125, 0.0625])),
}


def allowed(name, b):
  """Returns what query t sees of key s in row b, from the words of the rule."""
  sees_TS = np.zeros((T, T), bool)
  for t in range(T):
    for s in range(T):
      past = s <= t
      same = SEGMENTS_BT[b, t] == SEGMENTS_BT[b, s] != 0
      sees_TS[t, s] = {
        'causal': past,
        'bidirectional': True,
        'window': past and t - s < 3,
        'prefix': past or s < (0, 4)[b],
        'segments': past and same,
        'alibi': past,
      }[name]
  return sees_TS


def operands(num_kv_heads=H, dtype=np.float32):
  rng = np.random.default_rng(0)
  shapes = ((B, H, T, K), (B, num_kv_heads, T, K), (B, num_kv_heads, T, K))
  return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize('num_kv_heads', [4, 2, 1])
@pytest.mark.parametrize('name', MASKS)
def test_output_equals_one_query_at_a_time(name, num_kv_heads):
  q_BHTK, k_BGSK, v_BGSK = operands(num_kv_heads)
  out_BHTK = dense.attend(q_BHTK, k_BGSK, v_BGSK, MASKS[name], scale=0.7, softcap=2.0)
  for b in range(B):
    for h in range(H):
      g = h // (H // num_kv_heads)
      expected_TK = numpy_gpt.attend_one_head(
        *(x.astype(np.float64) for x in (q_BHTK[b, h], k_BGSK[b, g], v_BGSK[b, g])),
        allowed(name, b), scale=0.7, softcap=2.0,
        slope=0.5 / 2**h if name == 'alibi' else 0.0,
      )  # fmt: skip
      np.testing.assert_allclose(out_BHTK[b, h], expected_TK, atol=1e-5)


def test_queries_that_see_nothing_give_zeros_without_gradient():
  q_BHTK, k_BGSK, v_BGSK = operands()
  mask = masks.causal(jnp.zeros((B, T), jnp.int32))
  out, vjp = jax.vjp(
    lambda *qkv: dense.attend(*qkv, mask, scale=1.0), q_BHTK, k_BGSK, v_BGSK
  )
  assert not out.any()
  assert not any(grad.any() for grad in vjp(jnp.ones_like(out)))


def test_huge_scores_do_not_overflow():
  q_BHTK, k_BGSK, v_BGSK = operands()
  out_BHTK = dense.attend(100 * q_BHTK, 100 * k_BGSK, v_BGSK, masks.causal(), scale=1.0)
  assert np.isfinite(out_BHTK).all()


def test_the_scale_is_not_rounded_to_half_precision():
  """1/48 in bfloat16 is 0.2 % off: a weight of exp(-8) would be wrong by 1.9 %."""
  q_1K = np.linspace(1, 2, 256).astype(jnp.bfloat16)[None]
  k_2K = np.stack([np.zeros(256), np.ones(256)]).astype(jnp.bfloat16)
  v_2K = np.stack([np.ones(256), np.zeros(256)]).astype(jnp.bfloat16)
  out_BHTK = dense.attend(
    *(jnp.asarray(x)[None, None] for x in (q_1K, k_2K, v_2K)),
    masks.bidirectional(),
    scale=1 / 48,
  )
  score = q_1K.astype(np.float64).sum() / 48
  # Weight and output are rounded to 8 bits each.
  assert float(out_BHTK[0, 0, 0, 0]) == pytest.approx(1 / (1 + np.exp(score)), rel=8e-3)


def test_dropout_is_applied_to_the_weights():
  q_BHTK, k_BGSK, v_BGSK = operands()
  attend = small.jit(
    lambda *qkv: dense.attend(*qkv, masks.causal(), scale=1.0, dropout=lambda w: w * 0)
  )
  np.testing.assert_array_equal(attend(q_BHTK, k_BGSK, v_BGSK), np.zeros((B, H, T, K)))
