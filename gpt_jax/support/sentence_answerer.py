"""Answers without a model: the sentence that shares most with the question.

Terms count by how rare they are among the sentences that are read (inverse document
frequency); the headings of a sentence count as well, since they say what it is about.
"""

import collections
import math

from gpt_jax.baselines import lead
from gpt_jax.retrieval import terms
from gpt_jax.support import answer

RANK_WEIGHT = 0.5
HEADING_WEIGHT = 0.5


class SentenceAnswerer:
  """Answers with a sentence; `log_prob` is the log of the share of the question's terms
  that it has, weighted, which is no probability."""

  kind = 'sentence'
  passages = 5
  name = 'sentence'

  def answer_many(self, items, progress=None):
    del progress
    return [answer.best(_read(*item), item[1], RANK_WEIGHT) for item in items]


def _read(question, hits):
  """Returns the best (sentence, log of the share of terms) of each hit."""
  asked = set(terms.terms(question))
  sentences = [
    [(text, set(terms.terms(text))) for text in lead.sentences(hit.passage.text)]
    for hit in hits
  ]
  counts = collections.Counter(
    term for rows in sentences for _, found in rows for term in asked & found
  )
  total = sum(map(len, sentences))
  weights = {term: math.log(1 + total / (1 + counts[term])) for term in asked}
  most = sum(weights.values()) or 1.0
  readings = []
  for hit, rows in zip(hits, sentences, strict=True):
    headings = set(terms.terms(hit.passage.heading))
    best = '', 0.0
    for text, found in rows:
      share = sum(
        weight * (1.0 if term in found else HEADING_WEIGHT * (term in headings))
        for term, weight in weights.items()
      )
      if share > best[1]:
        best = text, share
    readings.append((best[0], math.log(best[1] / most) if best[1] else answer.LEAST))
  return readings
