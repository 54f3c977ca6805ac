"""A user's table of synonyms: lines `word<TAB>synonym,synonym`."""

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Mapping

from gpt_jax.core.errors import ConfigError, DataError


@dataclasses.dataclass(frozen=True)
class SynonymTable:
  """Word in lower case -> its synonyms."""

  synonyms: Mapping[str, tuple[str, ...]]

  @functools.cached_property
  def longest(self):
    """The number of characters of the longest word."""
    return max(map(len, self.synonyms), default=0)

  def of(self, word):
    """Returns the synonyms of a word, () for none; case does not count."""
    return self.synonyms.get(word.lower(), ())


def read(path):
  """Returns the SynonymTable of a UTF-8 file; empty lines and those with # are skipped.

  A word on several lines has the synonyms of all. Raises ConfigError for a file that is
  missing, DataError naming the line of one that has another form.
  """
  path = pathlib.Path(path)
  try:
    lines = _content(path).decode('utf-8').splitlines()
  except UnicodeDecodeError as error:
    raise DataError(f'{path}: not UTF-8 ({error}); save it as such.') from error
  found = {}
  for number, line in enumerate(lines, start=1):
    if not line.strip() or line.startswith('#'):
      continue
    word, tab, listed = line.partition('\t')
    word = word.strip().lower()
    synonyms = [each.strip() for each in listed.split(',')]
    if not word or not tab or not all(synonyms):
      raise DataError(
        f'{path}, line {number}: {line!r:.80}: expected word<TAB>synonym,synonym.'
      )
    known = found.setdefault(word, [])
    known += [each for each in synonyms if each.lower() != word and each not in known]
  if not any(found.values()):
    raise DataError(f'{path}: has no synonyms; expected lines word<TAB>synonym.')
  return SynonymTable({word: tuple(each) for word, each in found.items() if each})


def digest(path):
  """Returns the sha256, in hex, of a table's file; ConfigError for one missing."""
  return hashlib.sha256(_content(pathlib.Path(path))).hexdigest()


def _content(path):
  try:
    return path.read_bytes()
  except OSError as error:
    raise ConfigError(
      f'synonyms {str(path)!r}: cannot be read: {error.strerror}; expected a file of'
      ' lines word<TAB>synonym,synonym.'
    ) from error
