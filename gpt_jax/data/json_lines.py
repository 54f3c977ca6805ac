"""JSON lines: one object a line, whose fields `records.py` reads; .gz too."""

import codecs
import json

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import encodings, files, records
from gpt_jax.data.corpus import Corpus, locate
from gpt_jax.data.fields import known_fields
from gpt_jax.data.text_files import open_files

SUFFIXES = ('.jsonl', '.ndjson')


class _Lines(Corpus):
  def __init__(self, paths, record):
    self._paths, self._record = paths, record
    local = files.local(paths)
    self._buffers = [files.read_utf8(path, record.encoding) for path in local]
    self._rows = [_line_starts(buffer) for buffer in self._buffers]
    self._ends = np.cumsum([len(rows) for rows in self._rows])
    self.fingerprint = {**files.fingerprint(local), **record.fingerprint}
    self.fields, self.num_labels = record.fields, record.num_labels
    self.num_bytes = sum(len(buffer) for buffer in self._buffers)
    if not len(self):
      raise DataError(f'data.path: {paths[0]} has no records, only blank lines.')

  def __len__(self):
    return int(self._ends[-1])

  def document(self, i):
    return self._record.first_text(self._read(i), self.place(i)).encode()

  def record(self, i):
    return self._record.document(self._read(i), self.place(i))

  def _read(self, i):
    file, row = locate(self._ends, i)
    buffer, start = self._buffers[file], int(self._rows[file][row])
    end = buffer.find(b'\n', start)
    line = buffer[start : end if end >= 0 else len(buffer)]
    return json_object(line, self.place(i))

  def place(self, i):
    file, row = locate(self._ends, i)
    start = int(self._rows[file][row])
    return f'{self._paths[file]} (record {row + 1}, byte {start})'


def _line_starts(buffer):
  """Returns the offsets of the lines of `buffer` that are not blank."""
  starts, start = [], 3 if buffer[:3] == codecs.BOM_UTF8 else 0
  while start < len(buffer):
    end = buffer.find(b'\n', start)
    end = end if end >= 0 else len(buffer)
    if buffer[start:end].strip():
      starts.append(start)
    start = end + 1
  return np.array(starts, np.int64)


def json_object(record, place):
  """Returns the dict of a JSON object in UTF-8; `place` is for the error."""
  try:
    fields = json.loads(str(record, 'utf-8'))
  except UnicodeDecodeError as error:
    raise encodings.not_utf8(place, error.start, error.reason, record) from error
  except RecursionError as error:
    raise DataError(f'{place}: JSON that is nested too deeply to be read.') from error
  except ValueError as error:
    raise DataError(f'{place}: not JSON ({error}).') from error
  if not isinstance(fields, dict):
    raise DataError(f'{place}: expected a JSON object, not {type(fields).__name__}.')
  return fields


@known_fields(records.declared_fields)
def make(data):
  """Returns the source of the lines of `data.path` at `data.split`."""
  record = records.Record(data)
  return open_files(data, SUFFIXES, lambda paths: _Lines(paths, record))
