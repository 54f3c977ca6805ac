"""Fields: arrays of integers aligned with the tokens of a document, and their padding.

A source lists those that its documents have in `Source.fields`. They are kept beside
the tokens (`token_cache.py`) and packed with them (`packing.py`).
"""

import dataclasses
import re

import numpy as np

from gpt_jax.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Field:
  """How one field is kept, and its values where no document says any."""

  dtype: type  # on disk; samples are int32
  padding: int  # where a row holds no token, and on an end token that has none
  absent: int | None  # of a document without the field; None: it has to have it


FIELDS = {
  'loss_mask': Field(np.uint8, padding=0, absent=1),
  'labels': Field(np.int32, padding=-1, absent=-1),
  'bytes': Field(np.int32, padding=0, absent=None),
}
"""`loss_mask`: 1 on tokens to be predicted, 0 on those that are only read. `labels`:
the class of a document on its last token, -1 on all others. `bytes`: of the text that a
token accounts for, in evaluation with tokenizers that do not spell it out. The name of
any other field is free: int32, padded with 0."""

_PACKED = ('tokens', 'segments', 'positions')  # what a sample has besides


def field(name):
  """Returns the `Field` of a name."""
  return FIELDS.get(name, Field(np.int32, padding=0, absent=None))


def padding(name):
  """Returns the value of entry `name` of a sample where a row holds no token."""
  return 0 if name in _PACKED else field(name).padding


def check(names):
  """Raises ConfigError where the `fields` of a source cannot be names of fields."""
  for name in names:
    if name in _PACKED or not re.fullmatch(r'[a-z][a-z0-9_]*', name):
      raise ConfigError(
        f'Source.fields={tuple(names)}: {name!r} cannot be the name of a field; use'
        f' small letters, digits and _, and none of {", ".join(_PACKED)}.'
      )


def known_fields(names):
  """Decorates the factory of a source: `names(data)` are its fields, nothing read.

  `gpt-jax plan` takes them from there; without it a batch has tokens alone.
  """

  def mark(make):
    make.fields = names
    return make

  return mark
