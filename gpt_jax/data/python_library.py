"""Real text that every Python has: its reference topics, docstrings and source code.

`python_docs` is about 2.3 million characters of English, `python_source` about 12 MB of
code. Both differ between Python versions; the fingerprint is that of the files.
"""

import ast
import functools
import hashlib
import os
import platform
import sysconfig
from pathlib import Path

from gpt_jax.core.errors import DataError
from gpt_jax.data import splits
from gpt_jax.data.corpus import Corpus
from gpt_jax.data.text_source import TextSource

_SKIPPED = {
  *('test', 'tests', 'idle_test'),
  *('site-packages', 'dist-packages', '__pycache__'),
}
_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def _modules():
  """Returns `((file name, UTF-8 bytes), ...)` of the standard library without tests."""
  root, paths = Path(sysconfig.get_path('stdlib')), []
  for folder, below, names in os.walk(root):
    below[:] = [name for name in below if name not in _SKIPPED]
    paths += [Path(folder, name) for name in names if name.endswith('.py')]
  read = (
    (path.relative_to(root).as_posix(), path.read_bytes()) for path in sorted(paths)
  )
  return tuple((name, content) for name, content in read if _is_utf8(content))


def _is_utf8(content):
  try:
    content.decode()
  except UnicodeDecodeError:
    return False
  return True


@functools.cache
def _topics():
  """Returns `((name, text), ...)`: the reference manual's sections behind `help()`."""
  try:
    from pydoc_data.topics import topics
  except ImportError:  # some distributions leave it out
    return ()
  return tuple(sorted(topics.items()))


@functools.cache
def _docs():
  """Returns `((name, bytes), ...)` of all topics and of each module's docstrings."""
  # A module's docstrings are one document, so near-copies within it stay in one split.
  found = [(f'topic {name}', text.strip() + '\n') for name, text in _topics()]
  for name, content in _modules():
    try:
      tree = ast.parse(content)
    except SyntaxError:  # templates that are not Python until filled in
      continue
    text = '\n\n'.join(filter(None, _docstrings(tree)))
    if text:
      found.append((f'docstrings of {name}', text + '\n'))
  return tuple((name, text.encode()) for name, text in found)


def _docstrings(node):
  if isinstance(node, _DOCUMENTED):
    yield (ast.get_docstring(node) or '').strip()
  for child in ast.iter_child_nodes(node):
    # Expressions hold no docstrings: leaving them out halves the time.
    if isinstance(child, (ast.stmt, ast.ExceptHandler)):
      yield from _docstrings(child)


class _Library(Corpus):
  """Texts by name, extracted when first read: `load() -> ((name, bytes), ...)`."""

  def __init__(self, load, fingerprint):
    self._load, self.fingerprint = load, fingerprint
    if not _modules():
      raise DataError(
        'data.source: this Python has no standard library as .py files; use'
        ' data.source=text with a data.path of your own.'
      )

  def __len__(self):
    return len(self._load())

  @property
  def num_bytes(self):  # as a property: the texts are not read before they are needed
    return sum(len(text) for _, text in self._load())

  def document(self, i):
    return self._load()[i][1]

  def place(self, i):
    return self._load()[i][0]


def _fingerprint():
  digest = hashlib.sha256()
  for name, content in _modules():
    digest.update(name.encode() + b'\0' + content)
  for name, text in _topics():
    digest.update(name.encode() + b'\0' + text.encode())
  return {'python': platform.python_version(), 'content': digest.hexdigest()[:16]}


def make_docs(data):
  """Returns reference topics and docstrings at `data.split`."""
  splits.check(data.split)
  return TextSource(_Library(_docs, _fingerprint()), data.split, data.source)


def make_code(data):
  """Returns the library's code at `data.split`, a file a document."""
  splits.check(data.split)
  return TextSource(_Library(_modules, _fingerprint()), data.split, data.source)
