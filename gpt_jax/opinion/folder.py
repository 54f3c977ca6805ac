"""The folder of a monitor: its state, and logs that agree with it after any kill.

state.json is replaced as a whole; points.jsonl and alerts.jsonl grow before that, and
state.json has their sizes. What a killed monitor wrote beyond them is cut off at the
next start, and made again from the same events: nothing is counted or alerted twice.
"""

import contextlib
import fcntl
import json
import os
import pathlib

from gpt_jax.core.errors import StorageError
from gpt_jax.workdir import files

STATE, LOCK = 'state.json', 'lock'
LOGS = ('points', 'alerts')
SHOWN_BYTES = 4 << 20
"""Of a log that has grown for months a page shows the end."""


class Folder:
  """A locked folder; `close` it, or use it in a with statement."""

  def __init__(self, path):
    """Makes the folder; StorageError where it cannot be written or is in use."""
    self.path = pathlib.Path(files.check_writable(path))
    self._lock = open(self.path / LOCK, 'a', encoding='utf-8')  # noqa: SIM115
    try:
      fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      self._lock.close()
      raise StorageError(
        f'--state={path}: another monitor works here; stop it, or give another folder.'
      ) from error

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    self._lock.close()

  def log(self, name):
    """Returns the path of one of LOGS."""
    return self.path / f'{name}.jsonl'

  def load(self):
    """Returns the state that was committed last, None in a new folder.

    Cuts logs to what it knows of. Raises StorageError where a log is shorter than that.
    """
    path = self.path / STATE
    state = files.read_json(path) if path.is_file() else None
    for name in LOGS:
      size = state['sizes'][name] if state else 0
      log = self.log(name)
      there = log.stat().st_size if log.exists() else 0
      if there < size:
        raise StorageError(
          f'{log}: has {there:,} bytes, {path} knows of {size:,}: it was changed by'
          ' somebody else; restore it, or begin in another --state folder.'
        )
      if there > size:
        os.truncate(log, size)
    return state

  def commit(self, state, points, alerts):
    """Makes new points, alerts and the state that goes with them last."""
    sizes = {
      name: _append(self.log(name), lines)
      for name, lines in zip(LOGS, (points, alerts), strict=True)
    }
    text = json.dumps(state | dict(sizes=sizes), allow_nan=False)
    files.write_text(self.path / STATE, text)

  def read(self, name, last=SHOWN_BYTES):
    """Returns the records in the `last` bytes of a log."""
    with contextlib.suppress(FileNotFoundError), open(self.log(name), 'rb') as file:
      start = max(0, file.seek(0, os.SEEK_END) - last)
      file.seek(start)
      lines = file.read().split(b'\n')
      return [json.loads(line) for line in lines[bool(start) :] if line]
    return []


def _append(path, records):
  """Returns the size of a log after `records`, which are on the disk then."""
  try:
    with open(path, 'ab') as file:
      for record in records:
        line = json.dumps(record, ensure_ascii=False, allow_nan=False)
        file.write(line.encode('utf-8') + b'\n')
      file.flush()
      if records:
        os.fsync(file.fileno())
      return file.tell()
  except OSError as error:
    raise StorageError(f'cannot write {path} ({error.strerror or error}).') from error
