"""Prepared TensorFlow Datasets; names NAME:SPLIT or NAME:VERSION:SPLIT, no files."""

import dataclasses
import re

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.data import encodings, tfds_sets
from gpt_jax.data.corpus import READ_ERRORS, first_line
from gpt_jax.examples.record import Record

_NAME = re.compile(r'([\w/]+(?::\d+\.\d+\.\d+)?):(\w+(?:\[.*\])?)')


@dataclasses.dataclass(frozen=True)
class _Asked:
  """What `tfds_sets` reads of a DataConfig."""

  name: str
  split: str
  data_dir: str


def read(paths, encoding, data_dir=''):
  """Yields the examples of prepared sets; `paths` are names such as `sst2:train[:10%]`.

  Text is decoded, a class is its name, other values are as TFDS has them; the folder is
  `data_dir`, else TFDS_DATA_DIR, else the default of TFDS. Raises DataError.
  """
  for path in paths:
    asked, builder = _opened(path, data_dir)
    features = builder.info.features
    examples = _examples(asked, builder)
    for i in range(len(examples)):
      place = f'TFDS set {asked.name}, {asked.split}, example {i}'
      try:
        example = examples[i]
      except READ_ERRORS as error:
        raise DataError(
          f'{place} is damaged ({first_line(error)}); prepare the set again.'
        ) from error
      values = {
        key: _plain(found, features[key], encoding, f'{place}, {key!r}')
        for key, found in example.items()
      }
      yield Record(values, place)


read.takes_names = True  # `splits.py` looks for no files


def _opened(path, data_dir):
  match = _NAME.fullmatch(str(path))
  if match is None:
    raise DataError(
      f'task.files={str(path)!r}: expected NAME:SPLIT of a TFDS set, such as'
      ' sst2_small:train or sst2_small:1.0.0:train[:10%].'
    )
  asked = _Asked(match[1], match[2], data_dir)
  return asked, tfds_sets.prepared_builder(asked)


def _examples(asked, builder):
  try:
    tfds_sets.copy_records(builder, asked)
    return builder.as_data_source(split=asked.split)
  except ValueError as error:
    raise DataError(
      f'task.files: {asked.name} has no split {asked.split!r}; it has'
      f' {", ".join(builder.info.splits)}, and slices of them such as train[:10%].'
    ) from error


def _plain(found, feature, encoding, place):
  if isinstance(found, bytes):
    return encodings.decode(found, encoding, place)
  if isinstance(found, np.generic):
    found = found.item()
  if getattr(feature, 'names', None) and isinstance(found, int) and found >= 0:
    return feature.int2str(found)  # -1 stands for no label
  return found
