"""ArrayRecord files whose records are UTF-8 text, or JSON objects with fields.

The first record decides which: when it is a JSON object that has `data.text_field`, all
have to be. Where other fields are asked for, all are JSON objects (`records.py`). Sets
written by TFDS hold protocol buffers instead: data.source=tfds.
"""

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import encodings, files, records
from gpt_jax.data.corpus import READ_ERRORS, Corpus, first_line, locate
from gpt_jax.data.fields import known_fields
from gpt_jax.data.json_lines import json_object
from gpt_jax.data.text_files import open_files

SUFFIXES = ('.array_record', '.arrayrecord')
_MAX_UNREADABLE = 100  # records at the start that may be damaged


class _Records(Corpus):
  """`ends`: how many records there are up to the end of each file."""

  def __init__(self, paths, record):
    from array_record.python import array_record_data_source

    self._paths, self._record, self._shards = paths, record, []
    open_file = array_record_data_source.ArrayRecordDataSource
    local = files.local(paths)
    # One by one, so that an error can name its file.
    for path, here in zip(paths, local, strict=True):
      try:
        self._shards.append(open_file([str(here)]))
      except READ_ERRORS as error:
        raise DataError(
          f'data.path: {path} cannot be read as ArrayRecord ({first_line(error)}); copy'
          ' it again from where it came from, or leave it out of data.path.'
        ) from error
    self.ends = np.cumsum([len(shard) for shard in self._shards])
    self.fields, self.num_labels = record.fields, record.num_labels
    self._is_json = bool(self.fields) or self._first_is_json()
    self.fingerprint = {**files.fingerprint(local), **record.fingerprint}
    self.num_bytes = self.fingerprint['bytes']

  def __len__(self):
    return int(self.ends[-1])

  def document(self, i):
    record = self._read(i)
    if not self._is_json:
      return record
    place = self.place(i)
    return self._record.first_text(json_object(record, place), place).encode()

  def record(self, i):
    place = self.place(i)
    return self._record.document(json_object(self._read(i), place), place)

  def place(self, i):
    shard, record = locate(self.ends, i)
    return f'{self._paths[shard]}, record {record}'

  def _read(self, i):
    shard, record = locate(self.ends, i)
    try:
      content = self._shards[shard][record]
    except READ_ERRORS as error:
      raise DataError(
        f'{self.place(i)} (from 0) is damaged ({first_line(error)}); copy the file'
        ' again from where it came from, or allow data.max_corrupt_records records to'
        ' be left out.'
      ) from error
    return encodings.to_utf8(content, self._record.encoding, self.place(i))

  def _first_is_json(self):
    for i in range(min(len(self), _MAX_UNREADABLE)):
      try:
        return _has_field(self._read(i), self._record.first_field, self.place(i))
      except DataError:
        continue
    return False


def _has_field(record, text_field, place):
  """Returns whether it is a JSON object with the field; DataError for a broken one."""
  is_object = record.lstrip().startswith(b'{')
  return is_object and text_field in json_object(record, place)


@known_fields(records.declared_fields)
def make(data):
  """Returns the source of the records of `data.path` at `data.split`."""
  return open_files(data, SUFFIXES, lambda paths: open_corpus(paths, data))


def open_corpus(paths, data):
  """Returns the `Corpus` of the records of `paths`."""
  return _Records(paths, records.Record(data))
