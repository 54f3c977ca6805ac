"""Shows a text piece by piece, as soon as no detector may still want its characters.

The whole text goes through the same steps, so what is shown does not depend on where it
is cut into pieces.
"""

import collections
from collections.abc import Iterable
from typing import NamedTuple, Protocol


class Span(NamedTuple):
  """Characters of the whole text that a detector found."""

  start: int
  end: int
  rank: int
  """Of spans that begin together, the lowest rank names what they are."""
  name: str
  action: str
  """'redact', 'refuse' or 'log'."""
  label: str = ''
  """Stands in the place of what is redacted."""


class Detector(Protocol):
  """Finds spans in a text that comes in pieces."""

  def feed(self, piece: str) -> tuple[Iterable[Span], int]:
    """Returns new Spans, and the first place where one may still begin.

    All spans that begin before that place have been returned.
    """
    ...

  def finish(self) -> Iterable[Span]:
    """Returns the last Spans: the text has ended."""
    ...


class SpanFilter:
  """What may be shown of a text: `redact` replaced, nothing from a `refuse` on.

  Of overlapping spans no character is shown, and one label stands for all.
  """

  def __init__(self, detectors):
    self._detectors = list(detectors)
    self._spans: list[Span] = []
    self._text, self._base = '', 0  # what was not shown yet, and where it begins
    self._shown, self._read = 0, 0
    self._ends: dict[str, int] = {}
    self.counts = collections.Counter()
    """How many spans there were, by (name, action)."""
    self.refused: Span | None = None

  def feed(self, piece):
    """Returns what may be shown now; '' once the text is refused."""
    if self.refused:
      return ''
    self._text += piece
    self._read += len(piece)
    limit = self._read
    for detector in self._detectors:
      spans, first = detector.feed(piece)
      self._spans += spans
      limit = min(limit, first)
    return self._release(limit)

  def finish(self):
    """Returns the rest of what may be shown."""
    if self.refused:
      return ''
    for detector in self._detectors:
      self._spans += detector.finish()
    return self._release(self._read)

  def _release(self, limit):
    ready = sorted(span for span in self._spans if span.start < limit)
    self._spans = [span for span in self._spans if span.start >= limit]
    shown = []
    for group in _by_start(ready):
      refusal = next((span for span in group if span.action == 'refuse'), None)
      if refusal:
        shown.append(self._show(refusal.start))
        self.counts[refusal.name, 'refuse'] += 1
        self.refused, self._text, self._spans = refusal, '', []
        return ''.join(shown)
      for span in group:
        if span.action == 'log':
          self._count(span, span.name)
      hidden = [span for span in group if span.action == 'redact']
      if hidden:
        first = hidden[0]
        shown.append(self._show(first.start))
        if self._count(first, ''):
          shown.append(first.label)
        self._ends[''] = max(self._ends[''], *(span.end for span in hidden))
        self._shown = max(self._shown, self._ends[''])
    shown.append(self._show(limit))
    self._text = self._text[self._shown - self._base :]
    self._base = self._shown
    return ''.join(shown)

  def _count(self, span, what):
    """Counts a span unless it overlaps one of `what` before; returns whether it did."""
    is_new = span.start >= self._ends.get(what, 0)
    self._ends[what] = max(span.end, self._ends.get(what, 0))
    if is_new:
      self.counts[span.name, span.action] += 1
    return is_new

  def _show(self, end):
    """Returns the text up to `end` that was not shown and is not hidden."""
    begin = self._shown
    self._shown = max(begin, end)
    return self._text[begin - self._base : max(begin, end) - self._base]


def _by_start(spans):
  """Returns sorted Spans in lists of one start each, by rank, longest first."""
  groups: dict[int, list[Span]] = {}
  for span in spans:
    groups.setdefault(span.start, []).append(span)
  return [
    sorted(group, key=lambda span: (span.rank, -span.end)) for group in groups.values()
  ]
