"""Online softmax over pairs of blocks: any order, any split, no key at all."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import dense, masks, online_softmax

B, G, R, T, K = 1, 2, 2, 8, 4
TILES = online_softmax.Tiles(query_size=4, key_size=2, softcap=0.0)
PAIRS = np.array([(t, s, t, s) for t in (0, 4) for s in (0, 2, 4, 6)], np.int32)


def arrays():
  rng = np.random.default_rng(0)
  shapes = [(B, G, R, T, K), (B, G, T, K), (B, G, T, K)]
  return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in shapes]


def run(pairs, mask=None, tiles=TILES, state=None):
  q_BGRTK, k_BGSK, v_BGSK = arrays()
  state = online_softmax.init(q_BGRTK) if state is None else state
  mask = masks.causal() if mask is None else mask
  return online_softmax.update(
    tiles, state, q_BGRTK, k_BGSK, v_BGSK, mask, tuple(pairs.T)
  )


def test_any_order_of_pairs_gives_dense_attention():
  q_BGRTK, k_BGSK, v_BGSK = arrays()
  q_BHTK = q_BGRTK.reshape(B, G * R, T, K)
  expected = dense.attend(q_BHTK, k_BGSK, v_BGSK, masks.causal(), scale=1.0)
  for order in (np.arange(8), np.random.default_rng(1).permutation(8)):
    out_BGRTK, _ = online_softmax.finalize(run(PAIRS[order]), jnp.float32)
    np.testing.assert_allclose(out_BGRTK.reshape(expected.shape), expected, atol=1e-6)


def test_a_state_can_be_updated_further():
  parts = run(PAIRS[3:], state=run(PAIRS[:3]))
  for array, expected in zip(parts, run(PAIRS), strict=True):
    np.testing.assert_allclose(array, expected, atol=1e-6)


def test_hidden_pairs_add_nothing_in_any_order():
  seen = PAIRS[PAIRS[:, 1] <= PAIRS[:, 0] + 3]
  hidden = PAIRS[PAIRS[:, 1] > PAIRS[:, 0] + 3]
  assert len(hidden)
  expected = online_softmax.finalize(run(seen), jnp.float32)
  for pairs in ((hidden, seen), (seen, hidden), (hidden, seen, hidden)):
    got = online_softmax.finalize(run(np.concatenate(pairs)), jnp.float32)
    for array, wanted in zip(got, expected, strict=True):
      np.testing.assert_allclose(array, wanted, atol=1e-6)


def test_queries_without_keys_get_zeros_and_no_weight_backward():
  nothing = masks.causal(jnp.zeros((B, T), jnp.int32))
  out_BGRTK, lse_BGRT = online_softmax.finalize(run(PAIRS, nothing), jnp.float32)
  assert not out_BGRTK.any()
  assert (np.exp(-np.asarray(lse_BGRT)) == 0).all()


def test_keys_beyond_the_last_one_are_padding():
  few = online_softmax.Tiles(4, 2, 0.0, num_keys=3)
  mask = masks.bidirectional()
  out_BGRTK, lse_BGRT = online_softmax.finalize(run(PAIRS, mask, few), jnp.float32)
  q_BGRTK, k_BGSK, v_BGSK = arrays()
  scores_BGRTS = np.einsum('bgrtk,bgsk->bgrts', q_BGRTK, k_BGSK[:, :, :3])
  expected = np.log(np.exp(scores_BGRTS).sum(-1))
  np.testing.assert_allclose(lse_BGRT, expected, rtol=1e-5)
  assert np.isfinite(out_BGRTK).all()


@pytest.mark.parametrize(
  'mask, visible',
  [
    (masks.causal(), [True, True, False]),
    (masks.causal().with_window(3), [False, True, False]),
    (masks.bidirectional(), [True, True, True]),
    (masks.bidirectional().with_window(3), [False, True, True]),
    (masks.prefix(jnp.array([1])), [True, True, True]),
    (masks.Mask(query_start_B=jnp.array([0]), window=1), [True, True, True]),
  ],
)
def test_a_pair_is_hidden_only_where_indices_alone_say_so(mask, visible):
  """Queries 4 and 5 against keys 0 and 1, 4 and 5, 6 and 7."""
  first_s = np.array([0, 4, 6])
  got = online_softmax.is_visible(mask, np.array(4), np.array(5), first_s, first_s + 1)
  assert list(got) == visible


def test_longer_rows_have_larger_blocks():
  assert [online_softmax.block_size(length) for length in (1024, 8192)] == [256, 512]
