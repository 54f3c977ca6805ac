"""One line of the stream: a text with its time and source, or why it is none."""

import dataclasses
import datetime
import hashlib
import json
import math

MAX_BYTES = 1 << 20
"""Of a line; longer ones are refused."""
AHEAD_SECONDS = 86_400.0
"""A time that lies further ahead of the clock is a mistake, and would close buckets."""
MILLISECONDS = 1e11
"""Numbers from here on are milliseconds since 1970."""


class BadLine(ValueError):
  """A line that is no event; the message says why, and is counted."""


@dataclasses.dataclass(frozen=True)
class Event:
  """A text to be judged."""

  text: str
  time: float
  """Seconds since 1970: the event's own, or that of its arrival."""
  source: str
  key: str
  """A digest of the event's `id`, '' without one: an id is counted once."""
  has_time: bool


def parse(line, now):
  """Returns the Event of a line of JSON, bytes; raises BadLine.

  `text` is needed. `time` may be seconds or milliseconds since 1970 or ISO 8601 (UTC
  where it names no zone), `source` and `id` any text or number.
  """
  if len(line) > MAX_BYTES:
    raise BadLine(f'longer than {MAX_BYTES:,} bytes')
  try:
    fields = json.loads(line.decode('utf-8'))
  except UnicodeDecodeError as error:
    raise BadLine('not UTF-8') from error
  except (ValueError, RecursionError) as error:
    raise BadLine('not JSON') from error
  if not isinstance(fields, dict):
    raise BadLine('not a JSON object')
  text = fields.get('text')
  if not isinstance(text, str) or not text.strip():
    raise BadLine('no text')
  text = text.encode('utf-8', 'replace').decode('utf-8')  # no half surrogates
  given = fields.get('time')
  has_time = given not in (None, '')
  arrived = fields.get('arrived')  # of a line that waited in the journal
  time = _seconds(given if has_time else arrived or now, now)
  named = fields.get('id')
  key = '' if named is None else hashlib.sha256(repr(named).encode()).hexdigest()[:16]
  return Event(text, time, _short(fields.get('source')), key, has_time)


def _seconds(given, now):
  try:
    if isinstance(given, bool) or not isinstance(given, int | float | str):
      raise ValueError
    seconds = _of_text(given.strip()) if isinstance(given, str) else float(given)
  except (ValueError, OverflowError) as error:
    raise BadLine('time is neither a number nor ISO 8601') from error
  if seconds >= MILLISECONDS:
    seconds /= 1000
  if not math.isfinite(seconds) or seconds < 0:
    raise BadLine('time is before 1970 or not finite')
  if seconds > now + AHEAD_SECONDS:
    raise BadLine('time is more than a day ahead')
  return seconds


def _of_text(text):
  try:
    return float(text)
  except ValueError:
    found = datetime.datetime.fromisoformat(text)
    if found.tzinfo is None:
      found = found.replace(tzinfo=datetime.UTC)
    return found.timestamp()


def _short(source):
  return '' if source is None else str(source)[:80].encode('utf-8', 'replace').decode()
