"""Rows of a task as a dataset: samples by number, as `data.pipeline.Dataset` has them.

Sample n is a function of n alone. In training an epoch is a whole number of batches:
rows of like length go together, and the last batch is filled up with empty rows, which
weigh nothing. In evaluation the rows stand in ascending length.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_jax.data import fields as data_fields
from gpt_jax.data import packing
from gpt_jax.tasks import buckets
from gpt_jax.tasks.task import Row, Task

SORTED_BATCHES = 32
"""Batches whose rows are sorted by length among each other: the order stays random."""
EMPTY = -1


@dataclasses.dataclass(frozen=True, eq=False)
class TaskDataset:
  """What the loop, evaluation and the loader read of a task's split."""

  task: Task
  records: list[Any]  # examples.record.Record to be scored; [] in training
  rows: list[Row]
  owners: np.ndarray  # int [rows]: the record of each; EMPTY where it has several
  batch_size: int
  seq_len: int
  widths: tuple[int, ...]
  fingerprint: dict[str, Any]
  seed: int = 0
  shuffle: bool = True
  for_eval: bool = False
  augment: Callable[[int, int], Row] | None = None
  """(row, epoch) -> the row of a changed record; None: always the same."""
  draw: Callable[[int], np.ndarray] | None = None
  """Epoch -> the rows that it has, as many as there are; None: each once."""
  prefetch_batches: int = 2
  warn_after_seconds: float = 60.0
  timeout_seconds: float = 1800.0
  # What only texts have.
  entropy = None
  stores: dict[str, Any] = dataclasses.field(default_factory=dict)
  reads_at_once = 1

  @property
  def fields(self):
    return self.task.fields

  @property
  def num_labels(self):
    return self.task.num_outputs

  @functools.cached_property
  def num_tokens(self):
    """Tokens of an epoch, without padding."""
    return int(self.lengths.sum())

  @functools.cached_property
  def lengths(self):
    """Tokens of each row, int [rows]."""
    return np.array([len(row.tokens) for row in self.rows], np.int64)

  def __len__(self):
    if self.for_eval:
      return len(self.rows)
    return -(-len(self.rows) // self.batch_size) * self.batch_size

  @property
  def num_samples(self):
    return len(self)

  def sample(self, n):
    """Returns sample n as `data.packing.Packing` does, padded to the longest width."""
    row = self._row(n)
    width = self.widths[-1] + 1  # a row ends in padding: targets are one place later
    tokens = row.tokens if row else np.zeros(0, np.int32)
    count = len(tokens)
    made = {'tokens': _padded(tokens, width, 'tokens')}
    for name in self.fields:
      values = row.fields[name] if row else tokens
      made[name] = _padded(values, width, name)
    lengths = np.array(row.lengths if row and row.lengths else [count])
    made['segments'], made['positions'] = packing.layout(lengths, width)
    return made

  def columns(self, numbers):
    """Returns how many columns of samples `numbers`, a range, hold more than padding.

    They are those of a bucket, and the same on every process.
    """
    rows = (self._row(n) for n in numbers if n < len(self) or not self.for_eval)
    longest = max((len(row.tokens) for row in rows if row), default=1)
    return buckets.width_of(longest, self.widths) + 1

  @property
  def most_columns(self):
    """How many columns a batch with the longest row has."""
    if self.augment is not None:  # which may lengthen a row
      return self.widths[-1] + 1
    return buckets.width_of(int(self.lengths.max()), self.widths) + 1

  def number(self, n):
    """Returns the row of sample n, EMPTY for none."""
    if self.for_eval:
      return int(self._by_length[n])
    epoch, place = divmod(n, len(self))
    return int(self._order(epoch)[place])

  def _row(self, n):
    number = self.number(n)
    if number == EMPTY:
      return None
    if self.augment is None or self.for_eval:
      return self.rows[number]
    return self._augmented(number, n // len(self))

  @functools.cached_property
  def _by_length(self):
    return np.argsort(self.lengths, kind='stable')

  def _order(self, epoch):
    return _ordered(self, epoch)

  def _augmented(self, number, epoch):
    assert self.augment is not None
    return _changed(self, number, epoch)


def digest(rows):
  """Returns a hash of all that the model reads of `rows`."""
  found = hashlib.sha256()
  for row in rows:
    for name, values in (('tokens', row.tokens), *sorted(row.fields.items())):
      found.update(f'{name} {len(values)}'.encode())
      found.update(np.ascontiguousarray(values, np.int32).tobytes())
  return found.hexdigest()[:20]


# Module-level caches: methods of a frozen dataclass cannot keep one of their own.
@functools.lru_cache(maxsize=8)
def _ordered(dataset, epoch):
  """Returns the rows of an epoch in order, EMPTY where the last batch has no more."""
  count, size = len(dataset.rows), dataset.batch_size
  rng = np.random.default_rng([dataset.seed, epoch])
  if dataset.draw is not None:
    order = dataset.draw(epoch)
  else:
    order = rng.permutation(count) if dataset.shuffle else np.arange(count)
  if dataset.shuffle:
    span = size * SORTED_BATCHES
    order = np.concatenate(
      [
        part[np.argsort(dataset.lengths[part], kind='stable')]
        for part in (order[start : start + span] for start in range(0, count, span))
      ]
    )
  filled = np.append(order, np.full(len(dataset) - count, EMPTY))
  batches = filled.reshape(-1, size)
  if dataset.shuffle:
    batches = batches[rng.permutation(len(batches))]
  return batches.reshape(-1)


@functools.lru_cache(maxsize=4096)
def _changed(dataset, number, epoch):
  return dataset.augment(number, epoch)


def _padded(values, width, name):
  padded = np.full(width, data_fields.padding(name), np.int32)
  padded[: len(values)] = values
  return padded
