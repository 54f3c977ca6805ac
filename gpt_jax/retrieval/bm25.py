"""BM25 over the terms of passages, by the package bm25s (arXiv:2407.03618)."""

import logging

import numpy as np

from gpt_jax.core import extras

K1, B = 1.5, 0.75
"""Saturation of repeats and weight of the length; Robertson and Zaragoza, 2009."""


def _package():
  package = extras.load(
    'bm25s', extra='retrieval', package='bm25s', use='Search by words'
  )
  logging.getLogger('bm25s').setLevel(logging.WARNING)  # it tells each step
  return package


def require():
  """Raises ConfigError where the package is missing."""
  _package()


class WordIndex:
  """Scores of passages for the terms of a question."""

  def __init__(self, found):
    """Takes a bm25s.BM25 that has its scores; `build` and `load` make one."""
    self._found = found

  @classmethod
  def build(cls, terms_of_passages):
    """Returns the WordIndex of the terms of each passage."""
    made = _package().BM25(method='lucene', k1=K1, b=B)
    # One that no passage has keeps a corpus of stop words and signs from being empty.
    rows = [list(row) or [''] for row in terms_of_passages]
    made.index(rows, show_progress=False)
    return cls(made)

  @classmethod
  def load(cls, folder):
    """Returns the WordIndex that `save` wrote."""
    return cls(_package().BM25.load(folder, show_progress=False))

  def save(self, folder):
    """Writes it into a folder."""
    self._found.save(folder, show_progress=False)

  def scores(self, terms):
    """Returns float32 [N], 0 for passages that share no term."""
    known = [term for term in terms if term in self._found.vocab_dict and term]
    if not known:
      return np.zeros(self._found.scores['num_docs'], np.float32)
    return np.asarray(self._found.get_scores(known), np.float32)
