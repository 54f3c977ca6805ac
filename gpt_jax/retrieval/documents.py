"""The documents of a folder: which files there are, and what each of them says."""

import dataclasses
import hashlib
import os
import pathlib

from gpt_jax.core.errors import DataError
from gpt_jax.retrieval.formats import FORMATS, Section


@dataclasses.dataclass(frozen=True)
class Document:
  """One file, read."""

  name: str  # below the folder, with slashes
  sections: tuple[Section, ...]


def files_of(folder):
  """Returns ({name: path} of the files that are documents, names of the other files).

  Hidden files, and what lies in hidden folders, are neither. `folder` may be one file.
  Raises DataError where there is no document.
  """
  root = pathlib.Path(folder)
  if root.is_file():
    paths = [root]
    root = root.parent
  elif root.is_dir():
    paths = sorted(_walk(root))
  else:
    raise DataError(f'--documents={folder}: there is no such folder or file.')
  found, others = {}, []
  for path in paths:
    name = path.relative_to(root).as_posix()
    if path.suffix.lower() in FORMATS:
      found[name] = path
    else:
      others.append(name)
  if not found:
    raise DataError(
      f'--documents={folder}: has no document; expected files that end in'
      f' {" ".join(FORMATS)}'
      + (f', and it has {", ".join(others[:5])}.' if others else '; it is empty.')
    )
  return found, others


def read_bytes(path):
  """Returns (content of a file, its SHA-256 as hex). Raises DataError."""
  try:
    content = path.read_bytes()
  except OSError as error:
    raise DataError(f'{path}: cannot be read: {error.strerror or error}.') from error
  return content, hashlib.sha256(content).hexdigest()


def read(name, path, content):
  """Returns the Document of a file's content. Raises DataError for what is no text."""
  try:
    text = content.decode('utf-8-sig')
    problem = 'byte 0 is in it' if '\0' in text else ''
  except UnicodeDecodeError as error:
    text, problem = '', f'byte {error.start} is not UTF-8'
  if problem:
    raise DataError(
      f'{path}: is no text ({problem}); save it as UTF-8, or move it out of the folder.'
    )
  sections = FORMATS[path.suffix.lower()](text, str(path))
  return Document(name, tuple(one for one in sections if any(one.paragraphs)))


def _walk(root):
  for folder, folders, names in os.walk(root):
    folders[:] = sorted(one for one in folders if not one.startswith('.'))
    for name in names:
      if not name.startswith('.'):
        yield pathlib.Path(folder) / name
