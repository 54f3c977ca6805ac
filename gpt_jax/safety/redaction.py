"""Personal data replaced by labels: `a@b.org` becomes `[EMAIL]`.

What was replaced is counted by kind and kept nowhere.
"""

import collections
import logging
import sys
import traceback

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError
from gpt_jax.safety import folding, kinds
from gpt_jax.safety.span_filter import Span, SpanFilter
from gpt_jax.safety.windows import Windows

NAME = 'name'
"""The kind that a model finds, not a form."""
ALL_KINDS = (*kinds.KINDS, NAME)
NAME_WINDOW_CHARS = 400


def label_of(kind):
  """Returns what stands in the place of what was replaced."""
  return f'[{kind.upper()}]'


def require_kinds(names, field, has_names):
  """Raises ConfigError, with the nearest name, for a kind that there is not."""
  for name in names:
    registry.choose(dict.fromkeys(ALL_KINDS), name, field)
    if name == NAME and not has_names:
      raise ConfigError(
        f'{field}={name!r}: names are found by a model; give a run that tags them, as'
        ' `names` of a policy or --names of gpt-jax redact.'
      )


class Redactor:
  """Replaces personal data of `names` of kinds; by default all that have a form.

  Args:
    names: of `ALL_KINDS`.
    find_names: `(texts) -> [[(start, end), ...], ...]`, the names of people in each.
  """

  def __init__(self, names=None, find_names=None):
    if names is None:
      names = [kind for kind in ALL_KINDS if kind != NAME or find_names]
    require_kinds(names, 'kinds', find_names is not None)
    self.kinds, self._find_names = tuple(names), find_names

  def redact(self, text):
    """Returns (the text with labels, Counter of what was replaced by kind)."""
    stream = self.stream()
    return stream.feed(text) + stream.finish(), stream.counts

  def stream(self):
    """Returns a RedactedStream, for a text that comes in pieces."""
    return RedactedStream(self.detectors())

  def detectors(self, rule='', action='redact'):
    """Returns Detectors of a new text, whose spans are called `rule` and the kind."""
    forms = [kind for kind in kinds.KINDS if kind in self.kinds]
    found: list = [FormDetector(forms, rule, action)] if forms else []
    if NAME in self.kinds:
      found.append(NameDetector(self._find_names, rule, action))
    return found


class RedactedStream:
  """A text in pieces; what is shown is `Redactor.redact` of the whole text."""

  def __init__(self, detectors):
    self._filter = SpanFilter(detectors)

  def feed(self, piece):
    """Returns what can be shown after one more piece."""
    return self._filter.feed(piece)

  def finish(self):
    """Returns the rest."""
    return self._filter.finish()

  @property
  def counts(self):
    """Counter of what was replaced so far, by kind."""
    return collections.Counter(
      {name: count for (name, _), count in self._filter.counts.items()}
    )


class FormDetector:
  """A Detector of personal data that has a form."""

  def __init__(self, forms, rule='', action='redact'):
    self._forms = [(kinds.KINDS[kind], kind) for kind in forms]
    self._rule, self._action = rule, action
    self._folded, self._start = folding.FoldedText(folding.NUMBERS), 0

  def feed(self, piece):
    self._folded.append(piece)
    end = kinds.undecided(self._folded.text, self._start)
    spans = self._spans(end)
    first = self._folded.place(end)
    dropped = end - kinds.CONTEXT_CHARS
    self._folded.drop(dropped)
    self._start = end - max(0, dropped)
    return spans, first

  def finish(self):
    return self._spans(len(self._folded.text))

  def _spans(self, end):
    """Returns Spans that begin before `end` in the folded text, from `_start` on."""
    if end <= self._start:
      return []
    spans = []
    for rank, (find, kind) in enumerate(self._forms):
      for first, last in find(self._folded.text, self._start):
        if first < end:
          spans.append(
            Span(
              *self._folded.span(first, last),
              rank,
              f'{self._rule}{kind}',
              self._action,
              label_of(kind),
            )
          )
    return spans


class NameDetector:
  """A Detector of the names that a model finds in windows of a text."""

  def __init__(self, find_names, rule='', action='redact'):
    self._find, self._rule, self._action = find_names, rule, action
    self._windows = Windows(NAME_WINDOW_CHARS)

  def feed(self, piece):
    spans = self._spans(self._windows.feed(piece))
    return spans, self._windows.start

  def finish(self):
    return self._spans(self._windows.finish())

  def _spans(self, windows):
    rank, name = len(kinds.KINDS), f'{self._rule}{NAME}'
    windows = [(start, text) for start, text in windows if text.strip()]
    found = self._find([text for _, text in windows]) if windows else []
    return [
      Span(start + first, start + last, rank, name, self._action, label_of(NAME))
      for (start, _), names in zip(windows, found, strict=True)
      for first, last in names
    ]


class LogFilter(logging.Filter):
  """Redacts what a logger writes; add it to a handler, so that it sees all records."""

  def __init__(self, redactor=None):
    super().__init__()
    self._redactor = redactor or Redactor()

  def filter(self, record):
    record.msg, record.args = self._redactor.redact(record.getMessage())[0], ()
    if record.exc_info:
      text = logging.Formatter().formatException(record.exc_info)
      record.exc_text, record.exc_info = self._redactor.redact(text)[0], None
    return True


def print_error(error, before=''):
  """Prints a traceback on standard error, personal data in its messages replaced."""
  text = before + ''.join(traceback.format_exception(error))
  print(Redactor().redact(text)[0], end='', file=sys.stderr, flush=True)
