"""Plain text, a document a file; and how any files of `data.path` become a source."""

from gpt_jax.core.errors import note_once
from gpt_jax.data import files, split_files, splits
from gpt_jax.data.corpus import Corpus, skip_damaged
from gpt_jax.data.text_source import TextSource

_SUFFIXES = ('.txt', '.text', '.md', '.rst', '.tokens')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


def open_files(data, suffixes, open_corpus):
  """Returns the source of the files of `data.path` at `data.split`.

  Where files are named after splits (`train.txt valid.txt test.txt`) the names decide
  (`split_files.py`), otherwise `splits.py` does. `open_corpus(paths)` returns the
  `Corpus`.
  """
  splits.check(data.split)
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
  def __init__(self, paths):
    self._paths = paths
    self.fingerprint = files.fingerprint(paths)
    self.num_bytes = self.fingerprint['bytes']

  def __len__(self):
    return len(self._paths)

  def document(self, i):
    content = files.read_bytes(self._paths[i])
    return content[3:] if content[:3] == _BYTE_ORDER_MARK else content

  def place(self, i):
    return str(self._paths[i])


def make(data):
  """Returns the source of plain text; a byte-order mark is dropped, nothing else."""
  return open_files(data, _SUFFIXES, _TextFiles)
