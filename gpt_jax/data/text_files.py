"""Plain text: a file, a glob or a folder; .gz too. Each file is one document.

A byte-order mark is dropped, nothing else.
"""

from gpt_jax.data import files
from gpt_jax.data.documents import open_files

SUFFIXES = ('.txt', '.text', '.md', '.rst', '.tokens')
_BYTE_ORDER_MARK = b'\xef\xbb\xbf'


class _Files:
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
  """Returns the source of `data.path` at `data.split`."""
  return open_files(data, SUFFIXES, _Files)
