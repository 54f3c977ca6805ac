"""JSON lines: one object a line, its text in the field `data.text_field`; .gz too."""

import json

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import files
from gpt_jax.data.corpus import Corpus, locate
from gpt_jax.data.text_files import open_files


class _Lines(Corpus):
  def __init__(self, paths, text_field):
    self._paths, self._field = paths, text_field
    self._buffers = [files.read_bytes(path) for path in paths]
    self._rows = [_line_starts(buffer) for buffer in self._buffers]
    self._ends = np.cumsum([len(rows) for rows in self._rows])
    self.fingerprint = {**files.fingerprint(paths), 'text_field': text_field}
    self.num_bytes = sum(len(buffer) for buffer in self._buffers)
    if not len(self):
      raise DataError(f'data.path: {paths[0]} has no records, only blank lines.')

  def __len__(self):
    return int(self._ends[-1])

  def document(self, i):
    file, row = locate(self._ends, i)
    buffer, start = self._buffers[file], int(self._rows[file][row])
    end = buffer.find(b'\n', start)
    line = buffer[start : end if end >= 0 else len(buffer)]
    return text_of(line, self._field, self.place(i)).encode()

  def place(self, i):
    file, row = locate(self._ends, i)
    start = int(self._rows[file][row])
    return f'{self._paths[file]} (record {row + 1}, byte {start})'


def _line_starts(buffer):
  """Returns the offsets of the lines of `buffer` that are not blank."""
  starts, start = [], 0
  while start < len(buffer):
    end = buffer.find(b'\n', start)
    end = end if end >= 0 else len(buffer)
    if buffer[start:end].strip():
      starts.append(start)
    start = end + 1
  return np.array(starts, np.int64)


def text_of(record, text_field, place):
  """Returns the text in `text_field` of a JSON object; `place` is for the error."""
  try:
    fields = json.loads(record)
  except ValueError as error:
    raise DataError(f'{place}: not JSON ({error}).') from error
  if not isinstance(fields, dict):
    raise DataError(f'{place}: expected a JSON object, not {type(fields).__name__}.')
  if text_field not in fields:
    raise DataError(
      f'{place}: no field {text_field!r}; it has {", ".join(sorted(fields))}: set'
      ' data.text_field to one of them.'
    )
  text = fields[text_field]
  if not isinstance(text, str):
    raise DataError(
      f'{place}: data.text_field={text_field!r} is {type(text).__name__}, expected'
      ' text.'
    )
  return text


def make(data):
  """Returns the source of the lines of `data.path` at `data.split`."""
  suffixes = ('.jsonl', '.ndjson')
  return open_files(data, suffixes, lambda paths: _Lines(paths, data.text_field))
