"""Orders of unseen items, and their fusion."""

import numpy as np

from gpt_jax.recommend import candidates


def test_orders_leave_out_what_is_seen_and_keep_ties():
  order = candidates.order([1.0, 3.0, 1.0, 2.0], seen={3})
  assert order.tolist() == [1, 0, 2]


def test_fusion_adds_reciprocal_ranks():
  fused = candidates.fuse([np.array([2, 0]), np.array([2, 1])], 3)
  np.testing.assert_allclose(fused, [1 / 62, 1 / 62, 2 / 61])


def test_the_first_stage_has_every_unseen_item_once():
  class Scorer:
    def scores(self, history):
      return np.arange(6.0) * len(history)

  found = candidates.first_stage([Scorer(), Scorer()], (0, 1), {0, 1})
  assert found.tolist() == [5, 4, 3, 2]
