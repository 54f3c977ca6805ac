"""The log of requests: a JSON object a line, without the text of anybody.

Time, id, key, model, route, sizes, times, outcome and counts. Prompts and answers are
in it only where the server was told so, and then redacted.
"""

import datetime
import json
import os
import pathlib
import threading

from gpt_jax.core.errors import StorageError
from gpt_jax.serving.request_record import OK

MAX_TEXT_CHARS = 10_000
PROBES = {'/healthz', '/readyz', '/metrics'}
"""Routes that machines ask every few seconds: logged only where they fail."""
FILE_MODE = 0o600


def entry(record):
  """Returns what the log says of a RequestRecord, as JSON values."""
  started = datetime.datetime.fromtimestamp(record.started_at, datetime.UTC)
  times = {
    'queue_seconds': record.seconds('started', 'admitted'),
    'first_token_seconds': record.seconds('started', 'first_token'),
    'token_seconds': record.seconds_per_token,
    'seconds': record.seconds('started', 'ended'),
  }
  found = dict(
    time=started.isoformat(timespec='milliseconds').replace('+00:00', 'Z'),
    id=record.id,
    key=record.key_id,
    method=record.method,
    route=record.route,
    model=record.model,
    stream=record.is_streamed,
    status=record.status,
    outcome=record.outcome,
    request_bytes=record.request_bytes,
    prompt_tokens=record.prompt_tokens,
    reused_tokens=record.reused_tokens,
    new_tokens=record.new_tokens,
    limit=record.limit,
    trace=record.trace_id,
    redactions=dict(record.redactions),
    filter_hits={
      f'{side}/{rule}': count for (side, rule), count in record.filter_hits.items()
    },
  )
  found |= {name: None if s is None else round(s, 6) for name, s in times.items()}
  return {name: value for name, value in found.items() if value not in (None, {})}


class RequestLog:
  """Appends entries to a file, or to standard output; used from any thread.

  Rotation needs no signal: a file that was renamed or removed is made anew at the next
  entry. Entries that cannot be written are counted in `lost`, and no request fails.
  """

  def __init__(self, path, redact=None):
    """Takes the path, `-` for standard output.

    Args:
      redact: `text -> text`, which prompts and answers pass before they are logged;
        None: they are not logged.
    """
    self._redact, self._lock, self.lost = redact, threading.Lock(), 0
    try:
      self._file = _StandardOutput() if str(path) == '-' else _RotatedFile(path)
    except OSError as error:
      raise StorageError(
        f'--request_log={path}: cannot be written ({error.strerror}); expected a file'
        ' in a folder that can be, or - for standard output.'
      ) from error

  def write(self, record, prompt=None, answer=None):
    """Appends the entry of a RequestRecord; texts only where they are asked for."""
    if record.route in PROBES and record.outcome == OK:
      return
    found = entry(record)
    if self._redact is not None:
      texts = {'prompt': prompt, 'answer': answer}
      found |= {
        name: self._redact(text)[:MAX_TEXT_CHARS]
        for name, text in texts.items()
        if text is not None
      }
    # One write a line: lines of several processes in one file stay whole.
    line = (json.dumps(found, ensure_ascii=False) + '\n').encode('utf-8', 'replace')
    with self._lock:
      try:
        self._file.write(line)
      except OSError:
        self.lost += 1

  def close(self):
    with self._lock:
      self._file.close()


class _StandardOutput:
  def write(self, line):
    os.write(1, line)

  def close(self):
    pass


class _RotatedFile:
  """A file that grows under its name, whatever others do with the one it had."""

  def __init__(self, path):
    self._path, self._fd = pathlib.Path(path), -1
    self._path.parent.mkdir(parents=True, exist_ok=True)
    self._open()

  def write(self, line):
    if self._fd < 0 or self._was_rotated():
      self.close()
      self._open()
    os.write(self._fd, line)

  def close(self):
    if self._fd >= 0:
      os.close(self._fd)
      self._fd = -1

  def _open(self):
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    self._fd = os.open(self._path, flags, FILE_MODE)

  def _was_rotated(self):
    try:
      there, here = os.stat(self._path), os.fstat(self._fd)
    except FileNotFoundError:
      return True
    return (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino)
