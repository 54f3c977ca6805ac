"""A text on the host ends at its stop id, its length, or where a guide says."""

import numpy as np

from gpt_jax.inference.request import Request
from gpt_jax.inference.token_log_probs import LogProbs
from gpt_jax.inference.writing import Writing


def taken(*parts, **settings):
  writing = Writing(Request(prompt_ids=[1], **{'max_new_tokens': 6} | settings))
  for ids in parts:
    writing.take(np.array(ids), log_probs(ids))
  return writing.result()


def log_probs(ids):
  """Returns LogProbs that name their place, with four likeliest tokens."""
  written = -np.array(ids, np.float32)
  return LogProbs(
    written, np.tile(written[:, None], 4), np.tile(np.arange(4), (len(ids), 1))
  )


def test_a_stop_id_is_no_part_of_the_text_and_drops_what_follows():
  text = taken([4, 5], [9, 4, 4], stop_ids=(9,))
  assert (text.ids.tolist(), text.finish) == ([4, 5], 'stop')


def test_a_text_ends_at_its_length():
  text = taken([4, 5, 6, 7], [4, 5, 6, 7])
  assert (text.ids.tolist(), text.finish) == ([4, 5, 6, 7, 4, 5], 'length')
  assert taken(max_new_tokens=0).finish == 'length'


def test_log_probabilities_are_those_of_the_kept_tokens():
  text = taken([4, 5], [6, 9, 4], stop_ids=(9,), log_probs=2)
  assert text.log_probs.written.tolist() == [-4, -5, -6]
  assert text.log_probs.top.shape == text.log_probs.top_id.shape == (3, 2)
  assert taken([4], log_probs=0).log_probs.top.shape == (1, 0)
  assert taken([4]).log_probs is None
