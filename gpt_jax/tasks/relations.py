"""Relations of two entities of a text: a class of the text with both marked in it.

Markers are those of R-BERT (arXiv:1905.08284, section 3): `$` around the head, `#`
around the tail, plain text that every vocabulary has.
"""

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.tasks.classification import Classification
from gpt_jax.tasks.task import Row
from gpt_jax.tasks.words import WordPieces

MARKERS = {'head': '$', 'tail': '#'}


class Relations(Classification):
  """A task head over the marked text; objective class_labels.

  With objective.options.pooling=marked the head reads the opening markers alone.
  """

  name = 'relations'
  inputs = ('text', *MARKERS)
  fields = ('labels', 'token_types', 'read')
  metrics = (
    'macro_f1', 'micro_f1', 'accuracy', 'macro_precision', 'macro_recall',
    'label_macro_f1',
  )  # fmt: skip

  def __init__(self, config):
    super().__init__(config)
    self._pieces = None

  def check(self, record):
    text = self.text_of(record, 'text')
    for field in MARKERS:
      span = record.values.get(field)
      if not _is_span(span, len(text)):
        raise DataError(
          f'{record.place}: {field}={span!r}: expected (start, end), characters of the'
          f' text, which has {len(text)}; end is the place after the last one.'
        )

  def parts(self, record):
    """Returns the text with its markers, for methods that read plain text."""
    return [self.describe(record)]

  def describe(self, record):
    return ' '.join(chunk for chunk, _ in chunks(record))

  def encode(self, record, encoder, is_training):
    del is_training
    texts, kinds = zip(*chunks(record), strict=True)
    pieces = self._word_pieces(encoder.tokenizer).of(texts)
    ids = np.concatenate(pieces)
    lengths = [len(one) for one in pieces]
    markers = np.flatnonzero(np.repeat([kind != '' for kind in kinds], lengths))
    places = _fitting(encoder, len(ids), markers)
    if places is None:
      return []
    starts = np.cumsum(lengths) - lengths
    opening = starts[[kind == 'open' for kind in kinds]]
    label = max(self.label_id(record), 0)
    return [_row(encoder, ids[places], np.isin(places, opening), label)]

  def score(self, records, predictions):
    from gpt_jax.evaluation.relation_scores import relation_scores

    gold = [str(self.gold(record)) for record in records]
    found = [one['label'] for one in predictions]
    return relation_scores(gold, found, self.label_names)

  def _word_pieces(self, tokenizer):
    if self._pieces is None or self._pieces.tokenizer is not tokenizer:
      self._pieces = WordPieces(tokenizer)
    return self._pieces


def make(config):
  """Returns the task of a Config: a text, the spans of head and tail, and a label.

  Of what is too long the tokens next to the markers are kept, whichever part
  task.too_long names, unless it says drop.
  """
  return Relations(config)


def chunks(record):
  """Returns [(text, kind)] of a record: kind is 'open', 'close', or '' for text."""
  values, marks = record.values, []
  for i, (field, marker) in enumerate(MARKERS.items()):
    start, end = values[field]
    # What closes comes before what opens; of two entities the longer is outside.
    marks += [
      (start, 1, -end, i, marker, 'open'),
      (end, 0, -start, -i, marker, 'close'),
    ]
  found, done = [], 0
  for place, *_, marker, kind in sorted(marks):
    found += [(values['text'][done:place].strip(), ''), (marker, kind)]
    done = place
  found.append((values['text'][done:].strip(), ''))
  return [(text, kind) for text, kind in found if text]


def _fitting(encoder, count, markers):
  """Returns the places, ascending, of `count` tokens that a row holds; None: dropped.

  All between the first and the last of `markers`, their places, if that fits, and as
  much around it; else what is nearest to one, which leaves out the middle between them.
  """
  most, counts = encoder.num_free(), encoder.counts
  counts.examples += 1
  places = np.arange(count)
  if count <= most:
    return places
  if encoder.too_long == 'drop':
    counts.dropped += 1
    return None
  counts.truncated += 1
  distance = np.abs(places[:, None] - markers).min(axis=1)
  first, last = markers[0], markers[-1]
  if last - first < most:
    distance[first : last + 1] = 0
  return np.sort(np.argsort(distance, kind='stable')[:most])


def _row(encoder, ids, is_read, label):
  tokens, types = encoder.frame(ids)
  labels = np.full(len(tokens), NO_LABEL, np.int32)
  labels[-1] = label
  read = np.zeros(len(tokens), np.int32)
  start = len(encoder.begin)
  read[start : start + len(ids)] = is_read
  return Row(tokens, {'labels': labels, 'token_types': types, 'read': read})


def _is_span(span, length):
  return (
    isinstance(span, list | tuple)
    and len(span) == 2
    and all(isinstance(place, int) for place in span)
    and 0 <= span[0] < span[1] <= length
  )
