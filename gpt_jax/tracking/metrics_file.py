"""The metrics of a run as `metrics.jsonl`: one JSON object a line, written at once.

`step`, `tokens` (seen so far), `time` (seconds since 1970) and flat names such as
`train/loss` or `validation/loss`; null for what is not a finite number. A step may have
two lines, one of training and one of evaluation; `read` merges them.
"""

import io
import json
import math
import os

from gpt_jax.core.errors import StorageError
from gpt_jax.storage import growing, objects
from gpt_jax.storage.places import place
from gpt_jax.storage.urls import is_remote
from gpt_jax.tracking import append_file
from gpt_jax.workdir import files


class MetricsFile:
  """Appends lines to `path`, after those of the steps up to `restored_step`."""

  def __init__(self, path, restored_step=0):
    path, kept = place(path), None
    # A run that resumes repeats the steps after its checkpoint: their old lines are
    # dropped, and so is a last line that a crash left unfinished.
    if path.exists():
      try:
        kept = [r for r in read_lines(path) if r['step'] <= restored_step]
      except OSError as error:
        raise StorageError(
          f'cannot read {path}: {error.strerror or error}; expected the file that an'
          ' earlier start of this run wrote, or none.'
        ) from error
    text = ''.join(json.dumps(r) + '\n' for r in kept or ())
    if is_remote(path):
      self._file = _open_parts(path, text)
      return
    if kept is not None:
      if path.is_dir():  # of a run that was copied from a bucket
        objects.remove_tree(path)
      files.write_text(path, text)
    self._file = append_file.Appender(path)

  def write(self, step, values, *, tokens, time):
    record = {'step': int(step), 'tokens': int(tokens), 'time': round(float(time), 3)}
    record |= {name: _number(value) for name, value in values.items()}
    self._file.append((json.dumps(record, allow_nan=False) + '\n').encode())

  def flush(self):
    """Returns once readers see all lines, or StorageError says why they do not."""
    self._file.flush()

  def close(self):
    self._file.close()


def _open_parts(path, text):
  """Returns what appends in a bucket, after `text`, which is all that is kept."""
  names = growing.next_names(path, '.jsonl')
  file = growing.Growing(path, names, content=text.encode())
  if text:
    growing.keep_newest(path)
  return file


def read_lines(path):
  """Returns the objects of a file, or of its parts, in order, and whole lines alone."""
  records = []
  # A power cut can leave bytes that are not UTF-8: their line is dropped as well.
  with _opened(place(path)) as file:
    for line in file:
      try:
        record = json.loads(line)
      except json.JSONDecodeError:
        continue
      if isinstance(record, dict) and isinstance(record.get('step'), int):
        records.append(record)
  return records


def tail(path, count):
  """Returns the last bytes of a file of metrics, about `count`; OSError without one."""
  path = place(path)
  if path.is_dir():
    return growing.read_tail(path)
  if is_remote(path):
    return path.read_bytes()[-count:]
  with open(path, 'rb') as file:
    file.seek(max(0, file.seek(0, os.SEEK_END) - count))
    return file.read()


def _opened(path):
  if path.is_dir():
    return io.StringIO(growing.read_parts(path).decode(errors='replace'))
  if is_remote(path):  # a run that was copied from a disk
    return io.StringIO(path.read_bytes().decode(errors='replace'))
  return open(path, encoding='utf-8', errors='replace')


def read(path):
  """Returns `{name: [(step, value), ...]}` by rising step; the last line counts.

  `tokens` and `time` are names, too. Nulls are left out.
  """
  return by_name(read_lines(path))


def by_name(records):
  """Returns what `read` does, of the objects of a file."""
  columns = {}
  for record in records:
    for name, value in record.items():
      if name != 'step' and value is not None:
        columns.setdefault(name, {})[record['step']] = value
  return {name: sorted(points.items()) for name, points in columns.items()}


def _number(value):
  """Returns a JSON number from a Python, NumPy or JAX scalar, or None."""
  value = value.item() if hasattr(value, 'item') else value
  return value if isinstance(value, int) or math.isfinite(value) else None
