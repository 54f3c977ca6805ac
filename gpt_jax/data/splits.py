"""Train, validation and test splits of a corpus that has none: 90 / 5 / 5 %.

From 100 documents on, each belongs to one split by a hash of its content, so copies of
a document never lie on both sides. Fewer documents are each cut by position: the first
90 % of their bytes are train, the next 5 % validation, the rest test.
"""

import hashlib

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

BOUNDS = {'train': (0.0, 0.9), 'validation': (0.9, 0.95), 'test': (0.95, 1.0)}
BOUNDS['validation+test'] = (0.9, 1.0)
BOUNDS['all'] = (0.0, 1.0)
MANY_DOCUMENTS = 100


def check(split):
  if split not in BOUNDS:
    hint = nearest(split, BOUNDS)
    raise ConfigError(
      f'data.split={split!r}: expected one of {", ".join(BOUNDS)}'
      + (f'; did you mean {hint!r}?' if hint else ' (slices are for data.source=tfds).')
    )


def contains(split, document):
  """Returns whether `document` (bytes) belongs to `split`, by its hash."""
  return contains_digest(split, hashlib.sha256(document).digest())


def contains_digest(split, digest):
  """Returns whether a document belongs to `split`, by the sha256 of its bytes."""
  low, high = BOUNDS[split]
  return low <= int.from_bytes(digest[:8], 'big') / 2**64 < high


def byte_range(split, document):
  """Returns (start, end) of the part of `document` (UTF-8 bytes) that is of `split`."""
  low, high = BOUNDS[split]
  return _character_start(document, low), _character_start(document, high)


def _character_start(document, fraction):
  position = int(len(document) * fraction)
  while position < len(document) and document[position] & 0xC0 == 0x80:
    position += 1
  return position
