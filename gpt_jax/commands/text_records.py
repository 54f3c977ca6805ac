"""Texts as they are written, in a file of JSON lines."""

import json
import sys

from gpt_jax.core.errors import StorageError


def records(prompt, completions):
  """Returns a dict for each Completion of a prompt."""
  return [{'prompt': prompt, **each.to_dict()} for each in completions]


class TextRecords:
  """A file with a record for each text, in the order of the prompts.

  A prompt waits for those before it only: what is written stays if the rest is not. A
  file that is there is replaced at the first record, not by a request that is refused.
  """

  def __init__(self, path, prompts):
    self._path, self._prompts, self._waiting = path, prompts, {}
    self._file, self._place, self._count = None, 0, 0

  def __enter__(self):
    return self

  def __exit__(self, *error):
    if self._file is not None:
      self._file.close()
      print(f'{self._path}: {self._count} texts', file=sys.stderr)

  def write(self, i, completions):
    """Takes the Completions of prompt `i`. Raises StorageError."""
    self._waiting[i] = completions
    try:
      if self._file is None:
        self._file = open(self._path, 'w', encoding='utf-8')
      while self._place in self._waiting:
        completions = self._waiting.pop(self._place)
        for record in records(self._prompts[self._place], completions):
          self._file.write(json.dumps(record, ensure_ascii=False) + '\n')
          self._count += 1
        self._place += 1
      self._file.flush()
    except OSError as error:
      raise StorageError(f'--out={self._path}: {error}') from error
