"""Documents cut into passages: what is found, read and cited.

Paragraphs under one heading go together while they fit; one that is longer is cut
between sentences, and its parts share the sentences at the border.
"""

import dataclasses
import re

from gpt_jax.baselines import lead
from gpt_jax.core.errors import ConfigError
from gpt_jax.evaluation import chinese
from gpt_jax.retrieval import terms

JOINT = '\n\n'
_TOKEN = re.compile(rf'[{chinese.LETTER}]|[^\W{chinese.LETTER}]+')


@dataclasses.dataclass(frozen=True)
class Passage:
  """A piece of a document."""

  file: str
  heading: str
  text: str

  @property
  def place(self):
    """`file#heading`, as it is cited."""
    return f'{self.file}#{self.heading}' if self.heading else self.file

  @property
  def to_embed(self):
    """What an encoder reads, and BM25: its headings say what it is about."""
    return f'{self.heading}\n{self.text}' if self.heading else self.text


def check_sizes(max_words, overlap_words):
  """Raises ConfigError for sizes that cut nothing, or never come to an end."""
  if max_words < 8:
    raise ConfigError(f'--max_words={max_words}: expected 8 or more.')
  if not 0 <= overlap_words <= max_words // 2:
    raise ConfigError(
      f'--overlap_words={overlap_words}: expected 0 to half of --max_words={max_words}.'
    )


def cut(document, max_words, overlap_words):
  """Returns the Passages of a Document, of at most `max_words` each.

  Words are those of English, and Han characters (`terms.count`).
  """
  passages = []
  for section in document.sections:
    for text in _pieces(section.paragraphs, max_words, overlap_words):
      passages.append(Passage(document.name, section.heading, text))
  return passages


def _pieces(paragraphs, max_words, overlap_words):
  """Yields texts: paragraphs that fit together, and parts of those that are long."""
  together, size = [], 0
  for paragraph in paragraphs:
    length = terms.count(paragraph)
    if together and size + length > max_words:
      yield JOINT.join(together)
      together, size = [], 0
    if length > max_words:
      yield from _parts(paragraph, max_words, overlap_words)
    else:
      together.append(paragraph)
      size += length
  if together:
    yield JOINT.join(together)


def _parts(paragraph, max_words, overlap_words):
  """Yields the parts of a long paragraph, slices of it, in order."""
  spans = [
    piece
    for span in lead.sentence_spans(paragraph)
    for piece in _short_spans(paragraph, span, max_words)
  ]
  lengths = [terms.count(paragraph[start:end]) for start, end in spans]
  first = 0
  while first < len(spans):
    last, size = first, lengths[first]
    while last + 1 < len(spans) and size + lengths[last + 1] <= max_words:
      last += 1
      size += lengths[last]
    yield paragraph[spans[first][0] : spans[last][1]]
    if last + 1 == len(spans):
      return
    following, shared = last + 1, 0
    # At least one new sentence has to fit behind those that are shared.
    left = max_words - lengths[last + 1]
    while following - 1 > first:
      shared += lengths[following - 1]
      if shared > min(overlap_words, left):
        break
      following -= 1
    first = following


def _short_spans(text, span, max_words):
  """Yields the span of a sentence, or of parts of one that is too long by itself."""
  start, end = span
  if terms.count(text[start:end]) <= max_words:
    yield span
    return
  starts = [found.start() for found in _TOKEN.finditer(text, start, end)]
  borders = [start, *starts[max_words::max_words], end]
  yield from zip(borders, borders[1:], strict=False)
