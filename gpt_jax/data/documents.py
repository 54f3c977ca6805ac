"""A text source: the documents of one split of a corpus, read when they are asked for.

A corpus has `len(corpus)`, `corpus.document(i) -> UTF-8 bytes` (a memory map will do),
`corpus.place(i) -> str` for messages, `corpus.num_bytes` (about; for progress bars) and
`corpus.fingerprint` (a flat dict).
"""

import re

from gpt_jax.core.errors import DataError
from gpt_jax.data import files, skipping, splits

_PIECE = 1 << 20
# No pre-tokenizer of the GPT family has a token that runs over this point, so a text
# cut here has the same tokens as the whole.
_SAFE_CUT = re.compile(r'\w(?=[ \n])')


class TextSource:
  """Documents of `split`: `source[i] == {'text': str}`."""

  def __init__(self, corpus, split, kind):
    self.corpus, self.split = corpus, split
    self.fingerprint = {'source': kind, 'split': split, **corpus.fingerprint}
    # The corpus may know its splits better (TFDS, files by name) and pass 'all'.
    self._rule = split if split in splits.BOUNDS else 'all'
    self._indices = None

  @classmethod
  def whole(cls, corpus, split, kind):
    """Returns a source of all documents of a corpus that was split already."""
    source = cls(corpus, split, kind)
    source._rule = 'all'
    return source

  @property
  def skipped(self):
    """Damaged records left out so far, number -> reason."""
    return getattr(self.corpus, 'skipped', {})

  @property
  def num_bytes(self):
    """About how many bytes of text the split holds."""
    low, high = splits.BOUNDS[self._rule]
    return round(self.corpus.num_bytes * (high - low))

  @property
  def _is_cut(self):
    return self._rule != 'all' and len(self.corpus) < splits.MANY_DOCUMENTS

  def _documents(self):
    if self._indices is None:
      if self._rule == 'all' or self._is_cut:
        self._indices = range(len(self.corpus))
      else:
        self._indices = [
          i
          for i in range(len(self.corpus))
          if splits.takes(self._rule, self.corpus.document(i))
        ]
    return self._indices

  def __len__(self):
    return len(self._documents())

  def __getitem__(self, i):
    return {'text': ''.join(self.pieces(i))}

  def place(self, i):
    """Returns where document `i` comes from, for people: a file, a record in it."""
    return self.corpus.place(self._documents()[i])

  def pieces(self, i):
    """Yields document `i` as strings of about a million characters.

    Joined they are the document; tokenized one by one by a byte, character or
    byte-level BPE tokenizer they give the same tokens as the whole. Raises DataError
    for bytes that are not UTF-8.
    """
    index = self._documents()[i]
    document = self.corpus.document(index)
    start, end = splits.byte_range(self._rule if self._is_cut else 'all', document)
    position, rest = start, b''
    while position < end:
      block = rest + document[position : min(position + _PIECE, end)]
      position += len(block) - len(rest)
      text, rest = self._decode(block, position, position >= end, index)
      if position < end:
        cut = _last_safe_cut(text)
        text, rest = text[:cut], text[cut:].encode() + rest
      yield text

  def _decode(self, block, position, is_last, index):
    """Returns (text, the bytes of a character that the block's end cut in two)."""
    try:
      return str(block, 'utf-8'), b''
    except UnicodeDecodeError as error:
      if (
        not is_last
        and len(block) - error.start < 4
        and 'unexpected end' in error.reason
      ):
        return str(block[: error.start], 'utf-8'), block[error.start :]
      where = position - len(block) + error.start
      raise DataError(
        f'{self.corpus.place(index)}: byte {where} is not UTF-8 ({error.reason});'
        ' convert the file, for example: iconv -f latin1 -t utf-8 OLD > NEW'
      ) from error


def _last_safe_cut(text):
  """Returns where to cut `text`: before its last space after a word, else its end."""
  for tail in (min(len(text), 4096), len(text)):
    cuts = [match.end() for match in _SAFE_CUT.finditer(text, len(text) - tail)]
    if cuts:
      return cuts[-1]
  return len(text)


def open_files(data, suffixes, make_corpus):
  """Returns the source of the files of `data.path` at `data.split`.

  Where all files are named after splits (`train.txt valid.txt test.txt`) the names
  decide; otherwise the rule of `splits.py` does. `make_corpus(paths)` reads the files.
  """
  splits.check(data.split)
  paths = files.find(data, suffixes)
  chosen = splits.by_file_name(paths, data.split)
  make = TextSource.whole if chosen else TextSource
  corpus = skipping.wrap(make_corpus(chosen or paths), data)
  return make(corpus, data.split, data.source)
