"""The mask of a tree of texts shows each token its ancestors."""

import numpy as np

from gpt_jax.attention.shared_prefix import TreeMask

# a b c, a b d e, f g, and two tokens of padding: rows of `PATHS` are texts.
PATHS = [[0, 1, 2], [0, 1, 3, 4], [5, 6]]
END_BT = np.array([[5, 5, 3, 5, 5, 7, 7, 0, 0]])
POSITIONS_BT = np.array([[0, 1, 2, 2, 3, 0, 1, 0, 0]])


def seen_by_paths(is_seen):
  """Returns bool [T, T] where `is_seen(query place, key place)` within a text."""
  allowed_TS = np.zeros((9, 9), bool)
  for path in PATHS:
    for i, query in enumerate(path):
      for j, key in enumerate(path):
        allowed_TS[query, key] |= is_seen(i, j)
  return allowed_TS


def test_a_token_sees_what_comes_before_it_in_its_texts():
  mask = TreeMask(positions_BT=POSITIONS_BT, end_BT=END_BT)
  wanted_TS = seen_by_paths(lambda i, j: j <= i)
  np.testing.assert_array_equal(mask.allowed(9, 9)[0], wanted_TS)
  np.testing.assert_array_equal(mask.blind(9, 9)[0], ~wanted_TS.any(1))


def test_a_window_goes_by_positions_and_not_by_places():
  mask = TreeMask(positions_BT=POSITIONS_BT, end_BT=END_BT).with_window(2)
  wanted_TS = seen_by_paths(lambda i, j: 0 <= i - j < 2)
  np.testing.assert_array_equal(mask.allowed(9, 9)[0], wanted_TS)


def test_tokens_of_a_context_see_all_of_it():
  prefix_end_BT = np.array([[2, 2, 0, 0, 0, 6, 0, 0, 0]])
  mask = TreeMask(positions_BT=POSITIONS_BT, end_BT=END_BT, prefix_end_BT=prefix_end_BT)
  wanted_TS = seen_by_paths(lambda i, j: j <= i)
  wanted_TS[0, 1] = True  # a sees b; the context f has no other token
  np.testing.assert_array_equal(mask.allowed(9, 9)[0], wanted_TS)
