"""Prepared TensorFlow Datasets, read from ArrayRecord files without TensorFlow.

`data.name` is NAME or NAME:VERSION; `data.split` a split or a slice, as `train[:10%]`;
the folder is `data.data_dir`, else TFDS_DATA_DIR, else the default of TFDS.
"""

import hashlib
import logging
import os
import re
from typing import Any

from gpt_jax.core.errors import DataError
from gpt_jax.core.registry import nearest
from gpt_jax.data import records
from gpt_jax.data.corpus import READ_ERRORS, Corpus, first_line, skip_damaged
from gpt_jax.data.fields import known_fields
from gpt_jax.data.text_source import TextSource
from gpt_jax.storage import mirror
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote


class _Examples(Corpus):
  def __init__(self, builder, split, record):
    self._examples = builder.as_data_source(split=split)
    self._name, self._record = builder.name, record
    self.fields, self.num_labels = record.fields, record.num_labels
    self.fingerprint = {
      'name': builder.name,
      'version': str(builder.version),
      'examples': len(self._examples),
      **record.fingerprint,
      'files': shard_digest(builder.info.splits[split].filepaths),
    }
    whole = builder.info.splits.values()
    share = len(self._examples) / max(1, sum(part.num_examples for part in whole))
    self.num_bytes = round(share * sum(part.num_bytes for part in whole))

  def __len__(self):
    return len(self._examples)

  def document(self, i):
    return self._record.first_text(self._read(i), self.place(i)).encode()

  def record(self, i):
    return self._record.document(self._read(i), self.place(i))

  def _read(self, i):
    try:
      return self._examples[i]
    except READ_ERRORS as error:
      raise DataError(
        f'{self.place(i)} (from 0) is damaged ({first_line(error)}); prepare the set'
        ' again, or allow data.max_corrupt_records records to be left out.'
      ) from error

  def place(self, i):
    return f'TFDS set {self._name}, example {i}'


def shard_digest(paths):
  """Returns a short hash of the names and sizes of a set's shards."""
  listed = [(os.path.basename(path), os.path.getsize(path)) for path in paths]
  return hashlib.sha256(repr(sorted(listed)).encode()).hexdigest()[:16]


@known_fields(records.declared_fields)
def make(data):
  """Returns the source of the prepared set `data.name` at `data.split`.

  Raises DataError when it is not prepared, saying how to; downloads nothing.
  """
  if not data.name:
    raise DataError(
      'data.name is empty: data.source="tfds" needs NAME or NAME:VERSION.'
    )
  builder = prepared_builder(data)
  record = _record(data, builder.info.features)
  try:
    copy_records(builder, data)
    corpus = _Examples(builder, data.split, record)
  except ValueError as error:
    raise DataError(
      f'data.split={data.split!r}: {data.name} has {", ".join(builder.info.splits)};'
      ' give one of them or a slice such as train[90%:] as validation.'
    ) from error
  if not len(corpus):
    raise DataError(f'data.split={data.split!r}: no examples of {data.name} lie in it.')
  corpus = skip_damaged(corpus, data)
  return TextSource(corpus, data.split, data.source, is_presplit=True)


def ranges(data):
  """Returns [(file, first record, end)] of `data.split`; it is one that there is."""
  parts = prepared_builder(data).info.splits[data.split].file_instructions
  return [
    (part.filename, part.skip, part.skip + part.take)
    if part.take >= 0  # -1: to the end of the file
    else (part.filename, part.skip, part.examples_in_shard)
    for part in parts
  ]


def _record(data, features: Any):  # a dict of them in every set that has fields
  options = ('prompt_field', 'response_field') if data.prompt_field else ('text_field',)
  for option in (*options, *(('label_field',) if data.label_field else ())):
    name = getattr(data, option)
    if name not in features:
      raise DataError(
        f'data.{option}={name!r}: {data.name} has the fields'
        f' {", ".join(sorted(features))}; set data.{option} to one of them.'
      )
  if not data.label_field:
    return records.Record(data)
  label = features[data.label_field]
  num_labels = getattr(label, 'num_classes', data.num_labels)
  if num_labels is None and not data.label_names:
    raise DataError(
      f'data.label_field={data.label_field!r}: {data.name} does not say how many'
      ' classes it has; set data.num_labels or data.label_names.'
    )
  return records.Record(data, getattr(label, 'names', ()), num_labels)


def prepared_builder(data) -> Any:
  """Returns TFDS's builder of `data.name` in `data.data_dir`; DataError as `make`."""
  import tensorflow_datasets as tfds

  asked = _data_dir(data)
  logging.getLogger('absl').setLevel(logging.ERROR)  # it warns of sets it does not find
  folder = asked
  if is_remote(asked):  # ArrayRecord reads a disk alone
    about = mirror.kept_folder(_remote_set(data), lambda name: not _has_records(name))
    folder = str(about.parent)
  try:
    builder = tfds.builder(data.name, data_dir=folder or None)
    if not builder.is_prepared():
      raise FileNotFoundError(builder.data_path)
  # TFDS raises many kinds of errors for an absent set, ModuleNotFoundError of packages
  # that only its preparation needs among them.
  except (LookupError, ValueError, OSError, ImportError, AssertionError) as error:
    raise DataError(_how_to_prepare(data.name, asked)) from error
  if builder.info.file_format and builder.info.file_format.value != 'array_record':
    raise DataError(
      f'data.name={data.name!r}: prepared as {builder.info.file_format.value}, which'
      " only TensorFlow reads; prepare it again with file_format='array_record'."
    )
  return builder


def copy_records(builder, data):
  """Copies the files of `data.split` of a set in a bucket to this machine."""
  if not is_remote(_data_dir(data)):
    return
  folder = mirror.kept_folder(_remote_set(data), lambda name: False)
  files = builder.info.splits[data.split].filepaths
  names = {os.path.relpath(file, folder) for file in files}
  mirror.kept_folder(_remote_set(data), names.__contains__)


def _data_dir(data):
  return data.data_dir or os.environ.get('TFDS_DATA_DIR', '')


def _remote_set(data):
  """Returns the folder of a set in a bucket: NAME of NAME/CONFIG:VERSION."""
  name = data.name.partition(':')[0].partition('/')[0]
  return place(f'{_data_dir(data).rstrip("/")}/{name}')


def _has_records(name):
  """Returns whether a file has records of a set: NAME-SPLIT.FORMAT-00000-of-00001."""
  return re.search(r'-\d{5}(-of-\d{5})?$', name) is not None


def _how_to_prepare(name, folder):
  shown = folder or '~/tensorflow_datasets'
  there = place(shown, can_be_bucket=True)
  prepared = sorted(p.parts[-3] for p in there.glob('*/*/dataset_info.json'))
  hint = nearest(name, prepared)
  return (
    f'data.name={name!r}: no such TFDS set is prepared in {shown} (prepared there:'
    f' {", ".join(dict.fromkeys(prepared)) or "none"}'
    + (f'; did you mean {hint!r}?' if hint else '')
    + '). Set data.data_dir or TFDS_DATA_DIR to the folder that has it, read plain text'
    ' instead (data.source=text with data.path=FILE), or prepare it'
    ' once where TensorFlow and a network are:\n'
    '  pip install tensorflow-datasets tensorflow-cpu array_record'
    ' importlib_resources\n'
    f'  python -c "import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir='
    f"{shown!r}, file_format='array_record').download_and_prepare("
    "file_format='array_record')\""
  )
