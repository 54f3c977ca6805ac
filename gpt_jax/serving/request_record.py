"""What is kept of one request: sizes, times, outcome, counts; nothing of its text.

The server fills a RequestRecord while it answers; metrics, log and traces read it.
"""

import collections
import dataclasses
import time

OK = 'ok'
"""The outcome of a request that was answered in full."""
CANCELLED = 'cancelled'
"""The client went away before the end."""


@dataclasses.dataclass(eq=False)
class RequestRecord:
  """One request; times are of `time.monotonic`, None for what has not happened."""

  id: str
  route: str
  """The path as the router names it, never what a client typed."""
  method: str = 'POST'
  key_id: str | None = None
  model: str | None = None
  is_streamed: bool = False
  started_at: float = dataclasses.field(default_factory=time.time)
  """Seconds of the epoch."""
  started: float = dataclasses.field(default_factory=time.monotonic)
  admitted: float | None = None
  """It left the queue: its prompt is being read."""
  first_token: float | None = None
  ended: float | None = None
  request_bytes: int = 0
  prompt_tokens: int = 0
  reused_tokens: int = 0
  """Of the prompt, those that the engine had read for another request."""
  new_tokens: int = 0
  status: int | None = None
  """Of the HTTP answer."""
  outcome: str = OK
  """OK, CANCELLED, or the class of the error, such as `rate_limit_exceeded`."""
  redactions: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  """Kind of what was replaced -> how often."""
  filter_hits: collections.Counter = dataclasses.field(
    default_factory=collections.Counter
  )
  """(`prompt` or `answer`, name of the rule) -> how often."""
  limit: str | None = None
  """Which limit refused it, such as `requests_per_minute`."""
  trace_id: str | None = None
  """Of its trace, 32 hexadecimal digits, where traces are taken."""

  def seconds(self, begin, end):
    """Returns the seconds between two times by name; None where one is missing."""
    first, last = getattr(self, begin), getattr(self, end)
    return None if first is None or last is None else max(0.0, last - first)

  @property
  def seconds_per_token(self):
    """Mean seconds from a new token to the next; None for fewer than two."""
    writing = self.seconds('first_token', 'ended')
    if writing is None or self.new_tokens < 2:
      return None
    return writing / (self.new_tokens - 1)
