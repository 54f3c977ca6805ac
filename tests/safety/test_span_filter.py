"""Nothing that a detector may want is shown; overlapping spans are hidden whole."""

from gpt_jax.safety.span_filter import Span, SpanFilter


class Planned:
  """A Detector of spans that are told beforehand, each found at its end."""

  def __init__(self, *spans):
    self._spans, self._read = list(spans), 0

  def feed(self, piece):
    self._read += len(piece)
    found = [span for span in self._spans if span.end <= self._read]
    self._spans = [span for span in self._spans if span.end > self._read]
    open_starts = [span.start for span in self._spans if span.start < self._read]
    return found, min([self._read, *open_starts])

  def finish(self):
    return []


def redact(start, end, rank=0, name='word'):
  return Span(start, end, rank, name, 'redact', f'[{name}]')


def shown(detectors, text):
  """Returns the Filter and what it shows, piece by piece of one character."""
  one = SpanFilter(detectors)
  return one, [one.feed(char) for char in text] + [one.finish()]


def test_a_span_is_hidden_from_its_first_character_on():
  _, pieces = shown([Planned(redact(2, 4))], 'abcdef')
  assert pieces == ['a', 'b', '', '[word]', 'e', 'f', '']


def test_one_label_stands_for_spans_that_overlap():
  one, pieces = shown(
    [Planned(redact(1, 3), redact(1, 4, 1, 'b')), Planned(redact(2, 5, 0, 'c'))],
    'abcdef',
  )
  assert ''.join(pieces) == 'a[word]f'
  assert one.counts == {('word', 'redact'): 1}


def test_spans_that_touch_have_their_own_labels():
  one, pieces = shown([Planned(redact(0, 2), redact(2, 4))], 'abcd')
  assert ''.join(pieces) == '[word][word]'
  assert one.counts.total() == 2


def test_nothing_follows_a_refusal():
  refuse = Span(2, 4, 0, 'rule', 'refuse')
  one, pieces = shown([Planned(refuse, redact(4, 5))], 'abcdef')
  assert ''.join(pieces) == 'ab'
  assert one.refused == refuse and one.counts == {('rule', 'refuse'): 1}


def test_what_is_logged_is_shown_and_counted():
  one, pieces = shown([Planned(Span(1, 3, 0, 'rule', 'log'))], 'abcd')
  assert ''.join(pieces) == 'abcd' and one.counts == {('rule', 'log'): 1}
