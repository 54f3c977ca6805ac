"""The figures of a run as `metrics.jsonl`: written as they come, read back by anyone.

One JSON object a line: `step`, `tokens` (seen so far), `time` (seconds since 1970) and
flat names such as `train/loss` or `validation/loss`. What is not a finite number is
null, so that every line is valid JSON. A step may have two lines, one with what
training measured and one with what evaluation did; `read` brings them together.
"""

import contextlib
import json
import math
import pathlib

from gpt_jax import storage
from gpt_jax.errors import StorageError


class MetricsFile:
  """Appends lines to `path`, after those of the steps up to `restored_step`.

  A run that resumes repeats the steps after its checkpoint: their old lines, and a last
  line that a crash left unfinished, are dropped, so that the file tells one story.
  """

  def __init__(self, path, restored_step=0):
    self._path = pathlib.Path(path)
    with _storage_errors(self._path):
      self._path.parent.mkdir(parents=True, exist_ok=True)
      if self._path.exists():
        kept = [r for r in read_lines(path) if r['step'] <= restored_step]
        storage.write_text(self._path, ''.join(json.dumps(r) + '\n' for r in kept))
      self._file = open(self._path, 'a', encoding='utf-8')

  def write(self, step, values, *, tokens, time):
    """Appends one line; whoever follows the file sees it at once."""
    record = {'step': int(step), 'tokens': int(tokens), 'time': round(float(time), 3)}
    record |= {name: _number(value) for name, value in values.items()}
    with _storage_errors(self._path):
      self._file.write(json.dumps(record, allow_nan=False) + '\n')
      self._file.flush()

  def close(self):
    self._file.close()


def read_lines(path):
  """Returns the file's objects in order, without a line that is not finished."""
  records = []
  # A power cut can leave bytes that are no text: their line is dropped like a torn one.
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
  """Returns `{name: [(step, value), ...]}` by rising step, later lines over earlier.

  `tokens` and `time` are names like the metrics'. Nulls are left out.
  """
  columns = {}
  for record in read_lines(path):
    for name, value in record.items():
      if name != 'step' and value is not None:
        columns.setdefault(name, {})[record['step']] = value
  return {name: sorted(points.items()) for name, points in columns.items()}


def _number(value):
  """Returns a JSON number from a Python, NumPy or JAX scalar, or None."""
  value = value.item() if hasattr(value, 'item') else value
  return value if isinstance(value, int) or math.isfinite(value) else None


@contextlib.contextmanager
def _storage_errors(path):
  """Turns an OSError into a StorageError that names the path."""
  try:
    yield
  except OSError as error:
    raise StorageError(
      f'cannot write {path}: {error.strerror or error}; expected a folder that can be'
      ' written, with room on its disk.'
    ) from error
