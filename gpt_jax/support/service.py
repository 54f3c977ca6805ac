"""One question, answered from an index: search, read, and say so where nothing fits."""

import dataclasses
from typing import Any

from gpt_jax.baselines import lead
from gpt_jax.retrieval import terms
from gpt_jax.retrieval.search import Hit
from gpt_jax.support import confidence as confidence_of
from gpt_jax.support.answer import NONE, Answer

MOST_SHOWN = 5  # passages that are found, or more if more are read


@dataclasses.dataclass(frozen=True)
class Citation:
  """Where an answer is from."""

  number: int  # as in the text: [1]
  place: str  # file#heading
  quote: str  # the sentence that has the answer

  def to_dict(self):
    """Returns it as JSON has it."""
    return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Found:
  """What the documents say to a question."""

  answer: Answer  # NONE where nothing fits
  hits: tuple[Hit, ...]
  confidence: float | None  # probability that they have the answer; None: not fitted
  is_sure: bool
  citations: tuple[Citation, ...]

  @property
  def text(self):
    """The answer with the numbers of its citations; '' for none."""
    numbers = ''.join(f' [{one.number}]' for one in self.citations)
    return f'{self.answer.text}{numbers}' if self.is_sure else ''

  def to_dict(self) -> dict[str, Any]:
    """Returns it as JSON has it."""
    return dict(
      answer=self.answer.text if self.is_sure else None,
      confidence=self.confidence,
      citations=[one.to_dict() for one in self.citations],
      passages=[hit.to_dict() for hit in self.hits],
    )


NOTHING = Found(NONE, (), None, False, ())
"""Where search finds nothing at all."""


class Service:
  """Answers questions by a Searcher and an Answerer."""

  def __init__(self, searcher, answerer, confidence=None, method=None, count=None):
    """Takes what searches and reads, and a Confidence; None: whatever is found is said.

    Args:
      method: of the search; None: its best.
      count: passages that are read; None: as many as the answerer likes.
    """
    self.searcher, self.answerer, self.confidence = searcher, answerer, confidence
    self.method = method or searcher.methods[-1]
    self.count = count or answerer.passages

  @property
  def key(self):
    """Under which the Confidence of this service is kept."""
    return key_of(self.answerer, self.method)

  def find(self, query, vector_D=None, hidden=None):
    """Returns the Hits of a query; the first `count` are read, all are shown.

    `vector_D`, `hidden`: as of `Searcher.search`.
    """
    most = max(self.count, MOST_SHOWN)
    return self.searcher.search(query, most, self.method, vector_D, hidden)

  def read(self, items, progress=None):
    """Returns the Answer to each (question, hits)."""
    return self.answerer.answer_many(
      [(question, hits[: self.count]) for question, hits in items], progress
    )

  def knows(self, text):
    """Returns whether a term of a text is in any passage."""
    return bool(self.searcher.index.words.scores(terms.terms(text)).any())

  def answer(self, question, query=None):
    """Returns what is Found for a question.

    `query`: what to search for; None: the question.
    """
    hits = self.find(query or question)
    if not hits:
      return NOTHING
    (found,) = self.read([(question, hits)])
    return self.judged(query or question, hits, found)

  def judged(self, question, hits, found):
    """Returns the Found of an Answer that was read in hits."""
    probability, is_sure = None, found.number is not None
    if self.confidence is not None:
      features = confidence_of.features_of(question, hits, found)
      probability = self.confidence.probability(features)
      is_sure = is_sure and probability >= self.confidence.threshold
    citations = (cite(hits[found.number].passage, found.text),) if is_sure else ()
    answer = found if is_sure else NONE
    return Found(answer, tuple(hits), probability, is_sure, citations)


def key_of(answerer, method):
  """Returns the name of the Confidence of an answerer and a search method."""
  return f'{answerer.name} / {method}'


def cite(passage, text, number=1):
  """Returns the Citation of an answer in a passage: the first sentence that has it."""
  spans = lead.sentence_spans(passage.text)
  place = passage.text.find(text)
  for start, end in spans:
    if place >= 0 and start <= place < end:
      end = max(end, place + len(text))
      return Citation(number, passage.place, passage.text[start:end])
  return Citation(number, passage.place, passage.text)
