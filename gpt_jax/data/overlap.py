"""Held-out documents that training reads as well: it is said, not refused.

Seen are the splits of one corpus: `all` beside a part of it, and slices of a TFDS set.
A set that has the very split of training, to be scored on it, is meant so.
"""

from gpt_jax.core.errors import note_once
from gpt_jax.data import tfds_sets

_CORPUS = ('source', 'path', 'name', 'data_dir', 'text_field', 'seed')


def note_overlap(train, held_out, name):
  """Says that the eval set `name` shares documents with training, if it does.

  `train` and `held_out` are DataConfigs without a mixture.
  """
  if any(getattr(train, field) != getattr(held_out, field) for field in _CORPUS):
    return
  if train.split == held_out.split or not _share(train, held_out):
    return
  note_once(
    f'eval.sets.{name}: data.split={held_out.split!r} has documents of the training'
    f' data, data.split={train.split!r}: its metrics are not held-out ones'
  )


def _share(train, held_out):
  if train.source != 'tfds':
    return 'all' in (train.split, held_out.split)
  return any(
    file == other and start < other_stop and other_start < stop
    for file, start, stop in tfds_sets.ranges(train)
    for other, other_start, other_stop in tfds_sets.ranges(held_out)
  )
