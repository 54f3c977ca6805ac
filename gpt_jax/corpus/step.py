"""What a quality step is: it looks at documents, and says which are left out and why.

Steps run in the order in which they are given; what one leaves out no later one sees.
A `Step` decides about a document alone. A `GlobalStep` needs all of them: its `survey`
of each is made by many processes, then `decide` reads all surveys in corpus order.
Nothing may depend on which process looks at which document, or in what order.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gpt_jax.config.schema import Config

LONG_BYTES = 16 << 20
"""`Document.text` ends here, in UTF-8: any document passes in bounded memory."""

HEAD_CHARS = 1 << 20
"""What steps look at that hold lists of words or sentences: a longer one is alike."""


@dataclasses.dataclass(frozen=True)
class Document:
  """One document, before it is tokenized."""

  member: str  # of `data.mixture`; '' without one
  split: str  # train, validation or test; `all` where it is cut by position
  place: str  # file and record, for people
  text: str  # at most LONG_BYTES; prompt and response with a newline between
  num_bytes: int  # UTF-8, of all its text
  digest: bytes  # sha256 of all its text
  is_divisible: bool = True  # not a record of several fields

  @property
  def is_training(self):
    """Whether any of it is trained on."""
    return self.split in ('train', 'all')

  @property
  def is_whole(self):
    """Whether `text` is all of it."""
    return self.num_bytes <= LONG_BYTES


@dataclasses.dataclass(frozen=True)
class Context:
  """What a step may use besides its options."""

  config: Config  # of `--config`; `config.eval.sets` names held-out data
  folder: (
    pathlib.Path
  )  # of this step alone, for files that it needs; local, may be lost


class Step:
  """A step that decides about each document alone."""

  def keep(self, document: Document) -> str | None:
    """Returns None to keep `document`, else the reason, a few words without numbers.

    Documents are counted by reason in the report, with examples of each.
    """
    return None

  def cut(self, document: Document) -> tuple[Sequence[tuple[int, int]], str] | None:
    """Returns ([(start, end)], reason): the pieces of `document.text` that stay.

    Asked about what is kept and is divisible; each piece becomes a document. None: all
    of it stays. What is cut out stands in the report under the reason.
    """
    return None

  def copies(self, document: Document) -> int:
    """Returns how often `document`, which stays, is written: at least once.

    What is held out is written once, whatever this is.
    """
    return 1

  def example(self, document: Document) -> str:
    """Returns what the report shows of a document that was left out or cut."""
    return document.text

  def describe(self) -> dict[str, Any]:
    """Returns what the report says about the step besides its counts; plain JSON."""
    return {}


class GlobalStep(Step):
  """A step that decides about each document by all of them.

  `keep` and `copies` are asked too, before the survey.
  """

  dtype: np.dtype  # of a survey
  shape: tuple[int, ...] = ()

  def survey(self, document: Document) -> Any:
    """Returns what `decide` has to know of `document`: of `dtype` and `shape`."""
    raise NotImplementedError

  def decide(self, surveys: 'Surveys') -> Iterator['Removal']:
    """Yields those that are left out, in any order; called in one process."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Removal:
  """That document `number` of the surveys is left out."""

  number: int
  reason: str
  because_of: int = -1  # number of the document that stays in its place; -1: none


class Surveys(Iterable[np.ndarray]):
  """Arrays [documents, *shape] of all documents in corpus order; to be read often."""

  def __init__(self, read, counts):
    """`read(i)` returns array i, `counts` how many documents each one has."""
    self._read, self._counts = read, tuple(counts)

  def __iter__(self):
    for i, count in enumerate(self._counts):
      if count:
        yield self._read(i)

  @property
  def num_documents(self):
    return sum(self._counts)
