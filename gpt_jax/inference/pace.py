"""How many tokens to write before those who read along, or wait, are seen to."""

import collections
import contextlib
import time

SECONDS = 0.05
"""How long someone who reads along waits for the next piece of a text, if a token does
not take longer."""
MOST = 8
"""Tokens of a round for a reader, however fast they are."""
REMEMBERED = 4  # rounds, of which the fastest counts: others compiled or were held up


class Pace:
  """A number of tokens a round: at most `most`, and as many as `seconds` allow."""

  def __init__(self, most=MOST, seconds: float | None = SECONDS):
    """`seconds=None`: always `most`. Else the first round has one token."""
    self._most, self._seconds = most, seconds
    self._token_seconds = collections.deque(maxlen=REMEMBERED)

  def tokens(self):
    """Returns how many tokens the next round is to write, at least 1."""
    if self._seconds is None:
      return self._most
    if not self._token_seconds:
      return 1
    fitting = self._seconds / max(min(self._token_seconds), 1e-9)
    return max(1, min(self._most, int(fitting)))

  @contextlib.contextmanager
  def round(self, tokens):
    """Writing `tokens` tokens of each text is what happens inside."""
    start = time.perf_counter()
    yield
    self._token_seconds.append((time.perf_counter() - start) / tokens)
