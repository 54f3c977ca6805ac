"""The documents of one split of a corpus, decoded when they are asked for."""

import re

from gpt_jax.data import encodings, splits
from gpt_jax.data.source import Source

_PIECE_BYTES = 1 << 20
# Most tokenizers have no token across this position: what is learned from pieces (bpe)
# is what would be learned from the text. `long_texts.py` tokenizes them as one.
_SAFE_CUT = re.compile(r'\w(?=[ \n])')


class TextSource(Source):
  """Documents of `split` of a `Corpus`; `is_presplit`: all of them are of `split`.

  `is_of_files`: the same content may be split by one rule or another, so that the rule
  belongs to the fingerprint.
  """

  def __init__(self, corpus, split, name, *, is_presplit=False, is_of_files=False):
    self._corpus = corpus
    self.fingerprint = {'source': name, 'split': split, **corpus.fingerprint}
    self.fields, self.num_labels = corpus.fields, corpus.num_labels
    self._rule = 'all' if is_presplit else split
    self._indices = None
    if is_of_files and split != 'all':
      by_content = 'position' if self.is_cut else 'hash'
      self.fingerprint['split_rule'] = 'names' if is_presplit else by_content

  @property
  def skipped(self):
    return self._corpus.skipped

  @property
  def num_bytes(self):
    low, high = splits.BOUNDS[self._rule]
    return round(self._corpus.num_bytes * (high - low))

  @property
  def is_cut(self):
    """Whether each document is cut by position instead of belonging to one split."""
    is_few = len(self._corpus) < splits.MANY_DOCUMENTS
    return self._rule != 'all' and is_few and not self.fields

  def _documents(self):
    if self._indices is None:
      self._indices = range(len(self._corpus))
      if self._rule != 'all' and not self.is_cut:
        self._indices = [
          i
          for i in self._indices
          if splits.contains(self._rule, self._corpus.document(i))
        ]
    return self._indices

  def __len__(self):
    return len(self._documents())

  def __getitem__(self, i):
    if self.fields:
      return self._corpus.record(self._documents()[i])
    return {'text': ''.join(self.pieces(i))}

  def place(self, i):
    return self._corpus.place(self._documents()[i])

  def pieces(self, i):
    """Yields document `i` as strings of about a million characters.

    Raises DataError for bytes that are not UTF-8.
    """
    index = self._documents()[i]
    document = self._corpus.document(index)
    start, end = splits.byte_range(self._rule if self.is_cut else 'all', document)
    yield from decoded(document, start, end, lambda: self._corpus.place(index))


def decoded(document, start, end, place):
  """Yields bytes `start` to `end` of `document`, UTF-8, in strings of about a million.

  `place()` says where the document is. Raises DataError for bytes that are not UTF-8.
  """
  position, rest = start, b''
  while position < end:
    block = rest + document[position : min(position + _PIECE_BYTES, end)]
    position += len(block) - len(rest)
    text, rest = _decode(block, document, position, position >= end, place)
    if position < end:
      cut = _last_safe_cut(text)
      text, rest = text[:cut], text[cut:].encode() + rest
    yield text


def _decode(block, document, position, is_last, place):
  """Returns (text, the bytes of a character that the block's end cut in two)."""
  try:
    return str(block, 'utf-8'), b''
  except UnicodeDecodeError as error:
    is_cut_character = len(block) - error.start < 4 and 'unexpected end' in error.reason
    if is_cut_character and not is_last:
      return str(block[: error.start], 'utf-8'), block[error.start :]
    where = position - len(block) + error.start
    raise encodings.not_utf8(place(), where, error.reason, document) from error


def _last_safe_cut(text):
  """Returns where to cut `text`: before its last space after a word, else its end."""
  for tail in (min(len(text), 4096), len(text)):
    cuts = [match.end() for match in _SAFE_CUT.finditer(text, len(text) - tail)]
    if cuts:
      return cuts[-1]
  return len(text)
