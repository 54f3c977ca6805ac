"""Texts that begin alike share the tokens of a row; each text can be read off it."""

import numpy as np
import pytest

from gpt_jax.attention.shared_prefix import TreeMask
from gpt_jax.inference import packing

ROW = 16
TEXTS = [[1, 2, 3, 4, 5], [1, 2, 3, 6], [1, 2, 7, 8, 9, 9], [4, 4], [1, 2, 3, 4, 5]]
CONTEXTS = [2, 2, 2, 1, 3]


def pack(shares_contexts_only=False):
  texts = [np.array(ids) for ids in TEXTS]
  return packing.pack(texts, CONTEXTS, ROW, shares_contexts_only=shares_contexts_only)


def read_back(rows, place):
  """Returns the tokens that the token at `place` sees, itself last."""
  row, t = divmod(int(place), ROW)
  mask = TreeMask(positions_BT=rows.positions_BT, end_BT=rows.end_BT)
  seen_S = np.asarray(mask.allowed(ROW, ROW))[row, t]
  positions = rows.positions_BT[row][seen_S]
  assert positions.tolist() == list(range(len(positions)))
  return rows.tokens_BT[row][seen_S].tolist()


@pytest.mark.parametrize('shares_contexts_only', [False, True])
def test_each_target_is_predicted_after_its_own_text(shares_contexts_only):
  rows = pack(shares_contexts_only)
  for i, (ids, context_len) in enumerate(zip(TEXTS, CONTEXTS, strict=True)):
    places = rows.pair_place_N[rows.pair_text_N == i]
    found = [read_back(rows, place) for place in places]
    assert found == [ids[:n] for n in range(context_len, len(ids))]
    assert rows.target_N[rows.pair_text_N == i].tolist() == ids[context_len:]


def test_a_common_beginning_is_read_once():
  assert (pack().end_BT > 0).sum() == len('1 2 3 4 7 8 9 4'.split())


def test_different_contexts_read_both_ways_share_nothing():
  # The contexts 1 2 (three times), 1 2 3 and 4.
  assert (pack(True).end_BT > 0).sum() == len('1 2 3 4 7 8 9'.split()) + 4 + 1


def test_batches_keep_the_place_of_each_target_in_its_rows():
  rng = np.random.default_rng(0)
  texts = [rng.integers(0, 9, rng.integers(3, ROW)) for _ in range(20)]
  rows = packing.pack(texts, [2] * 20, ROW)
  parts = list(rows.batches(3))
  assert [len(part.tokens_BT) for part in parts[:-1]] == [3] * (len(parts) - 1)
  found = [
    (text, tuple(read_back(part, place)), target)
    for part in parts
    for text, place, target in zip(*part[4:], strict=True)
  ]
  wanted = [
    (i, tuple(ids[:n]), ids[n])
    for i, ids in enumerate(texts)
    for n in range(2, len(ids))
  ]
  assert sorted(found) == sorted(wanted)


def test_a_row_holds_the_longest_text_and_several_short_ones():
  assert packing.row_length(5) == packing.SHORT_ROW
  assert packing.row_length(1000) == 1024
