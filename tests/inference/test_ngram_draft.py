"""Prompt look-up copies what followed the longest, then latest, earlier occurrence."""

import jax.numpy as jnp
import numpy as np
import pytest

from gpt_jax.inference.ngram_draft import NgramDraft

WIDTH = 16


def reference(text, num_tokens, longest):
  """Returns the draft by the definition, of a list of ids."""
  for length in range(longest, 0, -1):
    tail = text[-length:]
    for end in range(len(text) - 2, length - 2, -1):
      if text[end - length + 1 : end + 1] == tail:
        copied = text[end + 1 :]
        return [copied[i % len(copied)] for i in range(num_tokens)]
  return [text[-1]] * num_tokens


def draft(texts, num_tokens=4, longest=3):
  text_BN = np.full((len(texts), WIDTH), 9, np.int32)  # what lies behind is not read
  for i, text in enumerate(texts):
    text_BN[i, : len(text)] = text
  last_B = jnp.array([len(text) - 1 for text in texts])
  return NgramDraft(num_tokens, longest)(jnp.asarray(text_BN), last_B).tolist()


@pytest.mark.parametrize(
  'text, expected',
  [
    ([1, 2, 3, 4, 5, 1, 2, 3], [4, 5, 1, 2]),
    ([1, 2, 7, 8, 1, 2, 5, 6, 1, 2], [5, 6, 1, 2]),  # the latest
    ([3, 1, 2, 7, 9, 1, 2, 8, 3, 1, 2], [7, 9, 1, 2]),  # the longest
    ([5, 5], [5, 5, 5, 5]),
    ([1, 2, 1], [2, 1, 2, 1]),
    ([1, 2, 3], [3, 3, 3, 3]),
    ([4], [4, 4, 4, 4]),
  ],
)
def test_a_draft_is_what_followed_before(text, expected):
  assert reference(text, 4, 3) == expected
  assert draft([text]) == [expected]


def test_drafts_of_random_texts_are_those_of_the_definition():
  rng = np.random.default_rng(0)
  texts = [rng.integers(0, 3, rng.integers(1, WIDTH + 1)).tolist() for _ in range(64)]
  for longest in (1, 2, 4):
    wanted = [reference(text, 5, longest) for text in texts]
    assert draft(texts, 5, longest) == wanted
