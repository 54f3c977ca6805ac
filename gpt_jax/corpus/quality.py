"""The documents of a shard on their way through the quality steps.

Each `GlobalStep` is a pass over the corpus of its own, in which it surveys what the
steps before it leave; the last pass writes. In every pass a document meets the same
steps in the same order, so its number among those that reach a global step is the same
in each.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from gpt_jax.corpus.step import Document, GlobalStep, Step


@dataclasses.dataclass(frozen=True)
class LeftOut:
  """A document that step number `step` left out."""

  step: int
  reason: str
  because_of: int = -1  # document that stays instead, as `Removal.because_of`


Decided = Mapping[int, LeftOut]
"""Number of a document, among those of a shard that reach a global step -> LeftOut."""


@dataclasses.dataclass(frozen=True)
class Known:
  """What earlier passes over a shard have found."""

  decided: Mapping[int, Decided]  # by the number of each global step that has decided
  asked_to: int = -1  # the last step whose `keep` has been asked about all documents
  refused: Decided = dataclasses.field(default_factory=dict)  # what these answered


class Filter:
  """Asks the steps about the documents of one shard, in order."""

  def __init__(self, steps: Sequence[Step], known: Known):
    """Documents go no further than the first global step that has not decided."""
    self._steps, self._known, self._decided = list(steps), known, known.decided
    self._reached, self._count = dict.fromkeys(known.decided, 0), 0
    self.refused = dict(known.refused)
    """Number of a document in the shard -> LeftOut by the `keep` of a step."""

  @property
  def is_last(self):
    """Whether all steps have decided: what stays is written."""
    return undecided(self._steps, self._decided) is None

  def judge(self, document: Document) -> LeftOut | None:
    """Returns None for a document that stays, as far as the steps have decided."""
    index = self._count
    self._count += 1
    for number, step in enumerate(self._steps):
      if number > self._known.asked_to and (reason := step.keep(document)):
        self.refused[index] = LeftOut(number, reason)
      if index in self.refused and self.refused[index].step == number:
        return self.refused[index]
      if not isinstance(step, GlobalStep):
        continue
      if number not in self._decided:
        return None
      mine = self._reached[number]
      self._reached[number] += 1
      if mine in self._decided[number]:
        return self._decided[number][mine]
    return None

  def cuts(self, document: Document):
    """Yields (LeftOut, pieces that stay) of steps that cut something out of it."""
    for number, step in enumerate(self._steps):
      if (found := step.cut(document)) is not None:
        pieces, reason = found
        yield LeftOut(number, reason), pieces

  def copies(self, document: Document) -> int:
    """Returns how many times a document that stays is written."""
    result = 1
    for step in self._steps:
      result *= step.copies(document)
    return result


def undecided(steps, decided):
  """Returns the number of the first global step without decisions; None if all have."""
  for number, step in enumerate(steps):
    if isinstance(step, GlobalStep) and number not in decided:
      return number
  return None
