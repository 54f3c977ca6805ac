"""The metrics of a run as `metrics.jsonl`: one JSON object a line, written at once.

`step`, `tokens` (seen so far), `time` (seconds since 1970) and flat names such as
`train/loss` or `validation/loss`; null for what is not a finite number. A step may have
two lines, one of training and one of evaluation; `read` merges them.
"""

import json
import math
import os
import pathlib

from gpt_jax.core.errors import StorageError
from gpt_jax.tracking import append_file
from gpt_jax.workdir import files


class MetricsFile:
  """Appends lines to `path`, after those of the steps up to `restored_step`."""

  def __init__(self, path, restored_step=0):
    path = pathlib.Path(path)
    # A run that resumes repeats the steps after its checkpoint: their old lines are
    # dropped, and so is a last line that a crash left unfinished.
    if os.path.exists(path):
      try:
        kept = [r for r in read_lines(path) if r['step'] <= restored_step]
      except OSError as error:
        raise StorageError(
          f'cannot read {path}: {error.strerror or error}; expected the file that an'
          ' earlier start of this run wrote, or none.'
        ) from error
      files.write_text(path, ''.join(json.dumps(r) + '\n' for r in kept))
    self._file = append_file.Appender(path)

  def write(self, step, values, *, tokens, time):
    record = {'step': int(step), 'tokens': int(tokens), 'time': round(float(time), 3)}
    record |= {name: _number(value) for name, value in values.items()}
    self._file.append((json.dumps(record, allow_nan=False) + '\n').encode())

  def close(self):
    self._file.close()


def read_lines(path):
  """Returns the file's objects in order, without unfinished lines."""
  records = []
  # A power cut can leave bytes that are not UTF-8: their line is dropped as well.
  with open(path, encoding='utf-8', errors='replace') as file:
    for line in file:
      try:
        record = json.loads(line)
      except json.JSONDecodeError:
        continue
      if isinstance(record, dict) and isinstance(record.get('step'), int):
        records.append(record)
  return records


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
