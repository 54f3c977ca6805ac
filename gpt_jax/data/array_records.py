"""ArrayRecord files whose records are UTF-8 text, or JSON objects with a text field.

The first record decides which: when it is a JSON object that has `data.text_field`, all
have to be. Sets written by TFDS hold protocol buffers instead: data.source=tfds.
"""

import json

from gpt_jax.data import files
from gpt_jax.data.documents import open_files
from gpt_jax.data.json_lines import text_of
from gpt_jax.errors import DataError


class _Records:
  def __init__(self, paths, text_field):
    from array_record.python import array_record_data_source

    self._paths, self._field = paths, text_field
    try:
      self._records = array_record_data_source.ArrayRecordDataSource(
        [str(path) for path in paths]
      )
      self._is_json = _has_field(self._records[0], text_field)
    except (RuntimeError, ValueError, IndexError) as error:
      raise DataError(
        f'data.path: {paths[0]} cannot be read as ArrayRecord: {error}'
      ) from error
    self.fingerprint = {**files.fingerprint(paths), 'text_field': text_field}
    self.num_bytes = self.fingerprint['bytes']

  def __len__(self):
    return len(self._records)

  def document(self, i):
    record = self._records[i]
    if not self._is_json:
      return record
    return text_of(record, self._field, self.place(i)).encode()

  def place(self, i):
    more = f' and {len(self._paths) - 1} more files' if len(self._paths) > 1 else ''
    return f'{self._paths[0]}{more}, record {i}'


def _has_field(record, text_field):
  try:
    fields = json.loads(record)
  except ValueError:  # not UTF-8 or not JSON
    return False
  return isinstance(fields, dict) and text_field in fields


def make(data):
  """Returns the source of `data.path` at `data.split`."""
  return open_files(
    data,
    ('.array_record', '.arrayrecord'),
    lambda paths: _Records(paths, data.text_field),
  )
