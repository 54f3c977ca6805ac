"""Masks as data: what a query sees, by rule and by the dense matrix."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.attention import masks

T = 6


def seen(mask, num_queries=T, num_keys=T):
  return np.asarray(mask.allowed(num_queries, num_keys)).astype(int)


def test_causal_sees_itself_and_the_past():
  np.testing.assert_array_equal(seen(masks.causal())[0], np.tril(np.ones((T, T))))


def test_bidirectional_sees_everything():
  assert seen(masks.bidirectional()).all()


@pytest.mark.parametrize('window', [1, 2, 5, 100])
def test_a_window_counts_the_query_itself(window):
  counts_T = seen(masks.causal().with_window(window))[0].sum(1)
  np.testing.assert_array_equal(counts_T, np.minimum(np.arange(T) + 1, window))


def test_a_window_of_an_encoder_reaches_to_both_sides():
  seen_TS = seen(masks.bidirectional().with_window(2))[0]
  index = np.arange(T)
  np.testing.assert_array_equal(seen_TS, np.abs(index[:, None] - index[None]) < 2)


def test_virtual_keys_are_seen_by_all_but_padding():
  segments_BT = jnp.array([[1, 1, 2, 2, 2, 0]])
  for mask in (masks.causal(segments_BT), masks.bidirectional(segments_BT)):
    alone_TS = np.asarray(mask.with_window(2).dense(T, T))[0, 0]
    dense_TS = np.asarray(mask.with_window(2).with_virtual(3).dense(T, T + 3))[0, 0]
    np.testing.assert_array_equal(dense_TS[:, 3:], alone_TS)
    np.testing.assert_array_equal(dense_TS[:5, :3], 0)
    assert (dense_TS[5] < -1e38).all()


@pytest.mark.parametrize('start', [None, 4])
def test_virtual_keys_may_lie_right_before_the_row(start):
  # Then they are what the first keys of a longer row are.
  P, start_B = 3, None if start is None else jnp.array([start])
  slopes_H = jnp.array([0.5, 0.25])
  mask = masks.causal().with_window(4).with_slopes(slopes_H)
  mask = dataclasses.replace(mask, query_start_B=start_B)
  longer = jnp.array([P]) if start is None else start_B + P
  wanted = dataclasses.replace(mask, query_start_B=longer).dense(2, T + P)
  found = mask.with_virtual(P, precede=True).dense(2, T + P)
  np.testing.assert_array_equal(found, wanted)


def test_no_window_changes_nothing():
  mask = masks.causal()
  assert mask.with_window(None) is mask


def test_a_prefix_is_visible_to_every_query_of_its_row():
  seen_BTS = seen(masks.prefix(jnp.array([0, 3, 6])))
  np.testing.assert_array_equal(seen_BTS[0], np.tril(np.ones((T, T))))
  assert seen_BTS[1, :, :3].all()
  np.testing.assert_array_equal(seen_BTS[1, :, 3:], np.tril(np.ones((T, T)))[:, 3:])
  assert seen_BTS[2].all()


def test_a_window_limits_the_prefix_too():
  seen_TS = seen(masks.prefix(jnp.array([3])).with_window(2))[0]
  np.testing.assert_array_equal(
    seen_TS,
    [
      [1, 1, 0, 0, 0, 0],
      [1, 1, 1, 0, 0, 0],
      [0, 1, 1, 0, 0, 0],
      [0, 0, 1, 1, 0, 0],
      [0, 0, 0, 1, 1, 0],
      [0, 0, 0, 0, 1, 1],
    ],
  )


def test_segments_are_apart_and_padding_is_hidden():
  seen_TS = seen(masks.causal(jnp.array([[1, 1, 2, 2, 0, 0]])))[0]
  np.testing.assert_array_equal(
    seen_TS,
    [
      [1, 0, 0, 0, 0, 0],
      [1, 1, 0, 0, 0, 0],
      [0, 0, 1, 0, 0, 0],
      [0, 0, 1, 1, 0, 0],
      [0, 0, 0, 0, 0, 0],
      [0, 0, 0, 0, 0, 0],
    ],
  )


@pytest.mark.parametrize('window', [None, 2])
def test_decoding_sees_the_rows_of_the_full_matrix(window):
  whole_TS = seen(masks.causal().with_window(window))[0]
  for start, length in itertools.product(range(T), (1, 2)):
    if start + length > T:
      continue
    step = masks.Mask(query_start_B=jnp.array([start, 0])).with_window(window)
    step_BTS = seen(step, length, T)
    np.testing.assert_array_equal(step_BTS[0], whole_TS[start : start + length])
    np.testing.assert_array_equal(step_BTS[1], whole_TS[:length])


def test_key_segments_may_differ_from_query_segments():
  mask = masks.Mask(
    causal=False, segments_BT=jnp.array([[2]]), segments_BS=jnp.array([[1, 2, 2, 0]])
  )
  np.testing.assert_array_equal(seen(mask, 1, 4), [[[0, 1, 1, 0]]])


def test_the_dense_matrix_is_alibi_where_visible_else_lowest():
  slopes_H = jnp.array([0.5, 0.25])
  dense_BHTS = np.asarray(masks.causal().with_slopes(slopes_H).dense(3, 3))
  low = np.finfo(np.float32).min
  for h, slope in enumerate((0.5, 0.25)):
    np.testing.assert_array_equal(
      dense_BHTS[0, h],
      [[0, low, low], [-slope, 0, low], [-2 * slope, -slope, 0]],
    )


def test_alibi_of_an_encoder_is_symmetric():
  bias_BHTS = masks.bidirectional().with_slopes(jnp.array([1.0])).dense(3, 3)
  np.testing.assert_array_equal(bias_BHTS, np.swapaxes(bias_BHTS, 2, 3))


@pytest.mark.parametrize(
  'mask, T, S',
  [
    (masks.causal(), 5, 5),
    (masks.causal(), 7, 4),
    (masks.causal().with_window(2), 7, 4),
    (masks.bidirectional().with_window(2), 4, 7),
    (masks.causal(jnp.array([[1, 1, 0, 2, 0]])), 5, 5),
    (masks.prefix(jnp.array([3]), jnp.array([[1, 0, 0, 1, 0]])), 5, 5),
    (masks.bidirectional(jnp.array([[0, 0, 2, 2, 1]])).with_window(1), 5, 5),
    (masks.Mask(query_start_B=jnp.array([3, 0])).with_window(2), 2, 6),
    (
      masks.Mask(segments_BT=jnp.array([[1, 2]]), segments_BS=jnp.array([[0, 2]])),
      2,
      2,
    ),
  ],
)  # fmt: skip
def test_blind_queries_are_those_without_a_visible_key(mask, T, S):
  expected_BT = ~np.asarray(mask.allowed(T, S)).any(-1)
  blind_BT = mask.blind(T, S)
  if blind_BT is None:
    assert not expected_BT.any()
  else:
    np.testing.assert_array_equal(blind_BT, expected_BT)
  out_BHTK = jnp.ones((len(expected_BT), 2, T, 3))
  hidden_BHTK = np.broadcast_to(expected_BT[:, None, :, None], out_BHTK.shape)
  np.testing.assert_array_equal(mask.zero_blind(out_BHTK, S), 1.0 - hidden_BHTK)


def test_masks_of_unpadded_rows_cost_no_zeros():
  assert masks.causal().with_window(3).blind(T, T) is None
  assert masks.prefix(jnp.array([2])).blind(T, T) is None


def test_a_row_without_visible_keys_stays_finite():
  dense_BHTS = masks.causal(jnp.zeros((1, T), jnp.int32)).dense(T, T)
  assert np.isfinite(dense_BHTS).all()
  assert np.isfinite(jax.nn.softmax(dense_BHTS - 50.0)).all()


def test_a_mask_is_a_pytree_whose_rules_are_static():
  mask = masks.causal(jnp.ones((1, T), jnp.int32)).with_window(3)
  leaves, structure = jax.tree.flatten(mask)
  assert len(leaves) == 1
  assert jax.tree.unflatten(structure, leaves).window == 3
  assert structure != jax.tree.structure(mask.with_window(4))


RULES = {
  'window': masks.bidirectional().with_window(3),
  'segments': masks.causal(jnp.array([[1, 1, 2, 2, 2, 0], [1] * 6])),
  'prefix': masks.prefix(jnp.array([0, 4])),
  'cache': masks.Mask(query_start_B=jnp.array([0, 2])),
  'alibi': masks.causal().with_slopes(jnp.array([0.5, 0.25])),
}


@pytest.mark.parametrize('mask', RULES.values(), ids=RULES.keys())
def test_a_tile_equals_its_part_of_the_matrix(mask):
  matrix_BHTS = np.asarray(mask.dense(T, T))

  @jax.jit
  def tile(query, key):
    return mask.tile(query, key, 2, 3).dense(2, 3)

  for query, key in itertools.product((0, 2, 4), (0, 3)):
    part_BHTS = matrix_BHTS[:, :, query : query + 2, key : key + 3]
    np.testing.assert_array_equal(tile(query, key), part_BHTS)


def test_padding_a_mask_adds_hidden_tokens():
  mask = masks.bidirectional(jnp.array([[1, 1, 2, 2, 2, 2]]))
  seen_TS = seen(mask.pad(1, 2), T + 1, T + 2)[0]
  np.testing.assert_array_equal(seen_TS[:T, :T], seen(mask)[0])
  assert not seen_TS[T:].any() and not seen_TS[:, T:].any()
