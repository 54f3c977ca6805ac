"""What an answerer says of the passages that were found for a question."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol

from gpt_jax.retrieval.search import Hit

MOST_KEPT = 20_000  # readings
LEAST = -20.0
"""Log-probabilities of answers are no lower; that of none is this one."""


@dataclasses.dataclass(frozen=True)
class Answer:
  """An answer, and which passage it is from."""

  text: str  # '' for none
  number: int | None  # of the passage, from 0; None where there is no answer
  log_prob: float
  """How sure the answerer is, in nats; comparable between its own answers only."""


NONE = Answer('', None, LEAST)


class Answerer(Protocol):
  """Answers questions from passages."""

  kind: str
  """Of `ANSWERERS`."""
  passages: int
  """How many of the best it reads, unless another number is asked for."""
  name: str
  """What messages call it, and what its calibration is kept under."""

  def answer_many(
    self, items: Sequence[tuple[str, Sequence[Hit]]], progress=None
  ) -> list[Answer]:
    """Returns the Answer to each (question, hits, the best first).

    `progress`: `(iterable, label, total) -> iterable` that displays a progress bar.
    """
    ...


class Readings:
  """Readings of passages for questions, each made once."""

  def __init__(self, read_many, rank_weight):
    """Takes `(pairs of question and text, progress) -> [(answer, log_prob)]`.

    `rank_weight`: as of `best`.
    """
    self._read_many, self._weight = read_many, rank_weight
    self._kept = {}

  def answer_many(self, items, progress=None):
    """Returns the Answers to (question, hits), as an Answerer does."""
    pairs = {(question, hit.passage.text) for question, hits in items for hit in hits}
    if len(self._kept) > MOST_KEPT:
      self._kept.clear()
    # Those of like length may be padded to one.
    missing = sorted(pairs - self._kept.keys(), key=lambda pair: (len(pair[1]), *pair))
    made = self._read_many(missing, progress) if missing else ()
    self._kept |= zip(missing, made, strict=True)
    return [
      best([self._kept[question, hit.passage.text] for hit in hits], hits, self._weight)
      for question, hits in items
    ]


def best(readings, hits, rank_weight):
  """Returns the best Answer of [(text, log_prob)], one for each hit.

  The score of a reading is its log-probability less `rank_weight` times the log of the
  passage's rank: that of the first is mostly the right one.
  """
  found, highest = NONE, -math.inf
  for number, ((text, log_prob), hit) in enumerate(zip(readings, hits, strict=True)):
    score = log_prob - rank_weight * math.log(hit.rank)
    if text and score > highest:
      found, highest = Answer(text, number, max(log_prob, LEAST)), score
  return found
