"""Plain text, a document a file; and how any files of `data.path` become a source."""

import codecs

from gpt_jax.core.errors import note_once
from gpt_jax.data import encodings, files, split_files, splits
from gpt_jax.data.corpus import Corpus, skip_damaged
from gpt_jax.data.text_source import TextSource

SUFFIXES = ('.txt', '.text', '.md', '.rst', '.tokens')


def open_files(data, suffixes, open_corpus):
  """Returns the source of the files of `data.path` at `data.split`.

  Where files are named after splits (`train.txt valid.txt test.txt`) the names decide
  (`split_files.py`), otherwise `splits.py` does. `open_corpus(paths)` returns the
  `Corpus`.
  """
  splits.check(data.split)
  encodings.check(data)
  chosen, is_presplit = split_files.choose(files.find(data, suffixes), data)
  corpus = skip_damaged(open_corpus(chosen), data)
  source = TextSource(
    corpus, data.split, data.source, is_presplit=is_presplit, is_of_files=True
  )
  if source.is_cut:
    note_once(
      f'data.path={data.path!r}: {len(corpus)} document(s), fewer than'
      f' {splits.MANY_DOCUMENTS}: each is cut by position, 90 % train, then 5 %'
      ' validation, 5 % test (data.split_by)'
    )
  return source


class _TextFiles(Corpus):
  def __init__(self, paths, encoding):
    self._paths, self._encoding = paths, encoding
    self._local = files.local(paths)
    described = files.fingerprint(self._local)
    self.fingerprint = described | encodings.fingerprint(encoding)
    self.num_bytes = self.fingerprint['bytes']

  def __len__(self):
    return len(self._paths)

  def document(self, i):
    content = files.read_utf8(self._local[i], self._encoding)
    # A view: a slice of a memory map would be a copy of the file.
    return memoryview(content)[3:] if content[:3] == codecs.BOM_UTF8 else content

  def place(self, i):
    return str(self._paths[i])


def make(data):
  """Returns the source of plain text; a byte-order mark is dropped, nothing else."""
  return open_files(data, SUFFIXES, lambda paths: _TextFiles(paths, data.encoding))
