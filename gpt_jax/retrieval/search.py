"""Passages ranked for a question: by words, by vectors, by both.

Reciprocal rank fusion: Cormack, Clarke and Buettcher, 2009
(doi 10.1145/1571941.1572114), the score of a passage is the sum of 1 / (60 + rank).
"""

import dataclasses

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval import terms
from gpt_jax.retrieval.passages import Passage

FUSION_CONSTANT = 60
DEPTH = 100  # of each ranking that is fused


@dataclasses.dataclass(frozen=True)
class Hit:
  """A passage that was found."""

  rank: int  # from 1
  passage: Passage
  bm25: float
  cosine: float | None  # None without an encoder
  score: float
  """What it was ranked by: one of these, or the fused score."""

  def to_dict(self):
    """Returns it as JSON has it."""
    return dict(
      rank=self.rank,
      file=self.passage.file,
      heading=self.passage.heading,
      text=self.passage.text,
      bm25=self.bm25,
      cosine=self.cosine,
      score=self.score,
    )


def by_words(bm25_N, cosine_N):
  """Returns BM25 as the score."""
  del cosine_N
  return bm25_N


def by_vectors(bm25_N, cosine_N):
  """Returns the cosine of question and passage as the score."""
  del bm25_N
  return cosine_N


def fused(bm25_N, cosine_N):
  """Returns the fused score of both rankings; passages that neither has get 0."""
  fused_N = np.zeros(len(bm25_N))
  for scores_N, least in ((bm25_N, 0.0), (cosine_N, -np.inf)):
    order = ranking(scores_N, DEPTH)
    order = order[scores_N[order] > least]
    fused_N[order] += 1 / (FUSION_CONSTANT + 1 + np.arange(len(order)))
  return fused_N


METHODS = {'bm25': by_words, 'dense': by_vectors, 'fused': fused}
"""Each entry: `(bm25_N, cosine_N) -> score_N`."""


def ranking(scores_N, count):
  """Returns the numbers of the `count` highest scores, descending; ties in order."""
  return np.argsort(-np.asarray(scores_N, float), kind='stable')[:count]


class Searcher:
  """Searches an Index."""

  def __init__(self, index, embed=None):
    """Takes an open Index, and `texts -> float32 [N, D]` if it has vectors."""
    self.index, self._embed = index, embed

  @property
  def methods(self):
    """Names of METHODS that this index can do, the best last."""
    return tuple(METHODS) if self._embed is not None else ('bm25',)

  def embed(self, questions):
    """Returns the vectors of questions, None without an encoder."""
    return None if self._embed is None else self._embed(list(questions))

  def search(self, question, count, method=None, vector_D=None, hidden=None):
    """Returns the `count` best Hits; fewer where passages share nothing with it.

    Args:
      method: of METHODS; None: the last that this index can do.
      vector_D: of the question, if it is known already.
      hidden: bool [N], passages to leave out.
    Raises ConfigError for a method that needs vectors that there are not.
    """
    name = method or self.methods[-1]
    score_of = registry.choose(METHODS, name, '--method')
    if name not in self.methods:
      raise ConfigError(
        f'--method={name}: {self.index.folder} has no vectors; make an index with'
        ' --encoder=RUN, or use --method=bm25.'
      )
    bm25_N = np.array(self.index.words.scores(terms.terms(question)))
    cosine_N = None
    if self._embed is not None:
      if vector_D is None:
        vector_D = self._embed([question])[0]
      cosine_N = self.index.vectors_ND @ vector_D
    if hidden is not None:
      bm25_N = np.where(hidden, 0.0, bm25_N)
      cosine_N = None if cosine_N is None else np.where(hidden, -np.inf, cosine_N)
    score_N = score_of(bm25_N, cosine_N)
    least = -np.inf if name == 'dense' else 0.0
    order = [i for i in ranking(score_N, count) if score_N[i] > least]
    return [
      Hit(
        rank,
        self.index.passages[i],
        float(bm25_N[i]),
        None if cosine_N is None else float(cosine_N[i]),
        float(score_N[i]),
      )
      for rank, i in enumerate(order, start=1)
    ]
