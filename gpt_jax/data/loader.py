"""Batches of a dataset for one host, prefetched by a background thread."""

import concurrent.futures
import dataclasses
import logging
import queue
import sys
import threading
import time
import traceback

import numpy as np

from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.data import fields

_END = object()
_POLL_SECONDS = 0.5  # the queue wakes the consumer at once; this is for a dead thread
_CLOSE_SECONDS = 30.0


class Loader:
  """The rows of host `process_index` of `process_count` in the batches of `dataset`.

  A global batch of size b is b consecutive samples; host h of H gets rows h * b / H to
  (h + 1) * b / H.
  """

  def __init__(self, dataset, process_index=0, process_count=1, prefetch_batches=None):
    self._dataset = dataset
    self._index, self._count = process_index, process_count
    self._ahead = prefetch_batches or dataset.prefetch_batches
    self._status = ReadStatus(dataset.warn_after_seconds, dataset.timeout_seconds)

  def batches(self, start_sample, batch_sizes):
    """Returns an iterator of batches: numpy int32, this host's rows [b / H, N].

    `batch_sizes` are global and may be endless. Close it (`close()` or a `with` block)
    to stop the thread, whose errors are raised by `next`.
    """
    return self.read(_consecutive(start_sample, batch_sizes))

  def read(self, ranges):
    """As `batches`, for (first sample, global size) of each batch in turn."""
    return _Prefetch(self._read(ranges), self._ahead, self._status)

  def _read(self, ranges):
    for start, size in ranges:
      rows = _rows('train.batch_size', size, self._count)
      first = start + self._index * rows
      self._status.activity = f'reading samples {first} to {first + rows - 1}'
      try:
        stacked = _stack(_samples(self._dataset, range(first, first + rows)))
        yield _cropped(self._dataset, stacked, range(start, start + size))
      except Exception as error:
        error.add_note(f'while {self._status.activity}')
        raise


def _consecutive(start, batch_sizes):
  for size in batch_sizes:
    yield start, size
    start += size


def evaluation_batches(
  dataset, batch_size, process_index=0, process_count=1, max_batches=0
):
  """Returns an iterator over one pass of a dataset opened with `for_eval=True`.

  The last batch is padded with rows whose `segments` are 0, so that every host gets the
  same number of batches of `batch_size` global rows. `max_batches` 0: all.
  """
  assert dataset.fingerprint['for_eval'], 'a training dataset has no end to stop at'
  rows = _rows('eval.batch_size', batch_size, process_count)
  status = ReadStatus(dataset.warn_after_seconds, dataset.timeout_seconds)

  def read():
    count = -(-len(dataset) // batch_size)
    for batch in range(min(count, max_batches) if max_batches else count):
      first = batch * batch_size + process_index * rows
      numbers = range(first, min(first + rows, len(dataset)))
      status.activity = f'reading samples from {first} on of an evaluation'
      samples = _samples(dataset, numbers)
      template = samples[0] if samples else dataset.sample(0)
      empty = {n: np.full_like(v, fields.padding(n)) for n, v in template.items()}
      stacked = _stack(samples + [empty] * (rows - len(samples)))
      first = batch * batch_size
      yield _cropped(dataset, stacked, range(first, first + batch_size))

  return _Prefetch(read(), dataset.prefetch_batches, status)


def _rows(field, size, process_count):
  if size % process_count:
    raise ConfigError(
      f'{field}={size}: does not divide over {process_count} processes; try'
      f' {max(1, round(size / process_count)) * process_count}.'
    )
  return size // process_count


def _samples(dataset, numbers):
  at_once = min(getattr(dataset, 'reads_at_once', 1), len(numbers))
  if at_once <= 1:
    return [dataset.sample(n) for n in numbers]
  with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
    return list(pool.map(dataset.sample, numbers))


def _cropped(dataset, stacked, numbers):
  """Returns rows without the padding that all of the batch `numbers` have."""
  columns = getattr(dataset, 'columns', None)  # None: all rows are of one length
  if columns is None:
    return stacked
  count = columns(numbers)
  return {name: values[:, :count] for name, values in stacked.items()}


def _stack(samples):
  return {name: np.stack([one[name] for one in samples]) for name in samples[0]}


@dataclasses.dataclass
class ReadStatus:
  """What a reading thread is doing, and how long its consumer waits for a batch."""

  warn_after_seconds: float
  timeout_seconds: float
  activity: str = 'starting'


class _Prefetch:
  """Iterates over `items`, up to `ahead` of them made early in a thread."""

  def __init__(self, items, ahead, status):
    self._status = status
    self._ready = queue.Queue(maxsize=ahead)
    self._stopped = threading.Event()
    # The thread holds no reference to this object, so that dropping it ends the thread.
    self._thread = threading.Thread(
      target=_fill, args=(items, self._ready, self._stopped), name='loader', daemon=True
    )
    self._thread.start()

  def __iter__(self):
    return self

  def __next__(self):
    if self._stopped.is_set():
      raise StopIteration
    item = self._wait()
    if item is _END or isinstance(item, BaseException):
      self.close()
      if item is _END:
        raise StopIteration
      raise item
    return item

  def _wait(self):
    """Returns the next item; DataError when the thread is dead or does not answer."""
    status, started = self._status, time.monotonic()
    warn_at, end = started + status.warn_after_seconds, started + status.timeout_seconds
    while True:
      try:
        return self._ready.get(timeout=_POLL_SECONDS)
      except queue.Empty:
        pass
      # In this order: a thread that has ended puts nothing into the queue any more.
      if not self._thread.is_alive() and self._ready.empty():
        raise DataError(
          f'the thread that reads data has died while {status.activity}; start again:'
          ' the run resumes from its last checkpoint.'
        )
      now = time.monotonic()
      if now >= end:
        self._stopped.set()
        raise DataError(
          f'data.timeout_seconds={status.timeout_seconds:g}: no batch for that long'
          f' while {status.activity}. The thread that reads data hangs here:\n'
          f'{self._stack()}Check the disk or mount of the data and start again: the run'
          ' resumes from its last checkpoint. Where reading is just slow, raise'
          ' data.timeout_seconds.'
        )
      if now >= warn_at:
        logging.warning('no batch for %.0f s while %s', now - started, status.activity)
        warn_at = now + status.warn_after_seconds

  def _stack(self):
    frame = sys._current_frames().get(self._thread.ident or 0)
    return ''.join(traceback.format_stack(frame)[-3:]) if frame else ''

  def close(self):
    self._stopped.set()
    self._thread.join(min(_CLOSE_SECONDS, self._status.timeout_seconds))

  def __enter__(self):
    return self

  def __exit__(self, *error):
    self.close()

  def __del__(self):
    self._stopped.set()


def _fill(items, ready, stopped):
  """Puts `items`, then `_END`, into the queue; or the error that stopped them."""
  try:
    for item in items:
      if not _put(item, ready, stopped):
        return
    _put(_END, ready, stopped)
  except BaseException as error:  # for the consumer to raise
    _put(error, ready, stopped)


def _put(item, ready, stopped):
  """Returns False when the consumer has stopped."""
  while not stopped.is_set():
    try:
      ready.put(item, timeout=0.1)
      return True
    except queue.Full:
      continue
  return False
