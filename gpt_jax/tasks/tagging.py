"""Tags of words: named entities, or other spans of a sentence, in IOB2.

A word's label stands at its first piece, as in BERT (arXiv:1810.04805, section 5.3), so
that words of several pieces are tagged, trained and counted once.
"""

import dataclasses
import re

import numpy as np

from gpt_jax.core import registry
from gpt_jax.core.errors import ConfigError, DataError
from gpt_jax.core.sections import one_of, section
from gpt_jax.evaluation import chinese, tag_schemes
from gpt_jax.objectives.class_labels import NO_LABEL
from gpt_jax.tasks.task import Row, Task
from gpt_jax.tasks.words import WordPieces, space_between

OUTSIDE = 'O'
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")  # and each punctuation mark


@section
class TaggingOptions:
  """`task.options` of ner."""

  # last: for models that read left to right, whose first piece has not seen the word.
  labelled_piece: str = one_of('first', 'last', default='first')


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
  """Where the words of a sentence stand in a row."""

  words: np.ndarray  # int [n]: the word that a token answers for, -1 for none
  context: np.ndarray  # [n]: tokens up to the nearer end at which the text was cut


class Tagging(Task):
  """A task head over words; objective token_labels."""

  name = 'ner'
  inputs = ('words',)
  target = 'tags'
  objectives = ('token_labels',)
  fields = ('labels', 'token_types')
  metrics = ('f1', 'precision', 'recall')
  has_labels = True
  packages = (('seqeval.metrics', 'seqeval'),)

  def __init__(self, config):
    super().__init__(config)
    self._pieces = None
    for name in self.label_names:
      if _letter(name) not in 'OBI':
        raise ConfigError(
          f'task.label_names: {name!r}: expected tags of IOB2, O and B-TYPE, I-TYPE.'
        )

  def values_of(self, text):
    """Returns the words of a text: characters where it is Chinese."""
    if chinese.is_chinese([text]):
      return {'words': [character for character in text if not character.isspace()]}
    return {'words': _WORD.findall(text)}

  def check(self, record):
    words = record.values.get('words')
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
      raise DataError(
        f'{record.place}: words={str(words)[:60]!r}: expected a list of texts, which'
        f' task.name={self.name!r} reads; read the file with task.reader=conll or'
        ' char_tags, or map a list by task.columns.'
      )
    if not words or not all(words):
      raise DataError(f'{record.place}: words: one is empty; leave it out.')
    tags = self.gold(record)
    if tags is not None and len(tags) != len(words):
      raise DataError(
        f'{record.place}: {len(words)} words and {len(tags)} tags; expected a tag for'
        ' each word.'
      )

  def gold(self, record):
    """Returns the tags of a record in IOB2, None without any."""
    tags = record.values.get(self.target)
    if tags is None:
      return None
    words = record.values['words']

    def where(number):
      word = repr(words[number]) if number < len(words) else 'none'
      return f'{record.place_of(number)}: the tag of word {number + 1}, {word},'

    return tag_schemes.to_iob2(tags, where)

  def labels_of(self, records):
    """Returns O, then B-TYPE and I-TYPE of each type, by its name."""
    kinds = sorted(
      {
        tag_schemes.parse(tag, record.place)[1]
        for record in records
        for tag in self.gold(record) or ()
        if tag != OUTSIDE
      }
    )
    dashed = [f'-{kind}' if kind else '' for kind in kinds]
    return (OUTSIDE, *(f'{letter}{kind}' for kind in dashed for letter in 'BI'))

  def encode(self, record, encoder, is_training):
    del is_training
    words, labels = record.values['words'], self._label_ids_of(record)
    pieces = self._word_pieces(encoder.tokenizer).of(words, space_between(words))
    ids = np.concatenate(pieces)
    word_of = np.full(len(ids), -1)
    ends = np.cumsum([len(one) for one in pieces])
    is_last = self.cfg.options.labelled_piece == 'last'
    word_of[ends - 1 if is_last else np.append(0, ends[:-1])] = np.arange(len(words))
    # Places in `ids`, not ids, are what is cut: so it is known what a row holds.
    versions = [parts[0] for parts in encoder.fit([range(len(ids))])]
    read = {int(word) for places in versions for word in word_of[places]} - {-1}
    encoder.counts.unread_words += len(words) - len(read) if versions else 0
    return [_row(encoder, ids, word_of, labels, places) for places in versions]

  def decode(self, record, rows, outputs):
    words = record.values['words']
    best = np.full(len(words), -1.0)
    tags = [OUTSIDE] * len(words)
    for row, each in zip(rows, outputs, strict=True):
      chosen = np.argmax(np.asarray(each['outputs'], np.float32), axis=-1)
      for place in np.flatnonzero(row.note.words >= 0):
        word, context = row.note.words[place], row.note.context[place]
        if context > best[word]:
          best[word] = context
          tags[word] = self.label_names[chosen[place]]
    return _prediction(words, tag_schemes.to_iob2(tags))

  def score(self, records, predictions):
    from gpt_jax.evaluation.entity_scores import entity_scores

    gold = [self.gold(record) for record in records]
    return entity_scores(gold, [one['tags'] for one in predictions])

  def baselines(self, train, records):
    from gpt_jax.baselines import frequency_tagger

    tagger = frequency_tagger.fit(
      [record.values['words'] for record in train],
      [self.gold(record) for record in train],
    )
    sentences = [record.values['words'] for record in records]
    found = zip(sentences, tagger.predict(sentences), strict=True)
    return {
      'most frequent tag of each word': [_prediction(*each) for each in found],
    }

  def describe(self, record):
    words = record.values['words']
    return space_between(words).join(words)

  def _word_pieces(self, tokenizer):
    if self._pieces is None or self._pieces.tokenizer is not tokenizer:
      self._pieces = WordPieces(tokenizer)
    return self._pieces

  def _label_ids_of(self, record):
    """Returns the label of each word, int32; 0 in new records, which have none."""
    tags = self.gold(record)
    if tags is None:
      return np.zeros(len(record.values['words']), np.int32)
    for i, (word, tag) in enumerate(zip(record.values['words'], tags, strict=True)):
      if tag not in self._label_ids:
        raise DataError(
          f'{record.place_of(i)}: the tag of {word!r} is {tag!r} in IOB2: expected one'
          f' of {", ".join(self.label_names)} (task.label_names; empty: those of the'
          ' training split).'
        )
    return np.array([self._label_ids[tag] for tag in tags], np.int32)


@registry.entry(options=TaggingOptions)
def make(config):
  """Returns the task of a Config: words and their tags, in any of the usual schemes.

  What is too long loses its end or beginning, whose words are then O, and counted; or
  is read in windows, each word's tag from the one where it is farthest from a cut.
  """
  return Tagging(config)


def entities(words, tags):
  """Returns the entities of valid IOB2 `tags`: type, start, end (exclusive), text."""
  found = []
  for place, tag in enumerate(tags):
    letter, kind = tag_schemes.parse(tag, f'tag {place}')
    if letter == 'B':
      found.append(dict(type=kind, start=place, end=place + 1))
    elif letter == 'I':
      found[-1]['end'] = place + 1
  between = space_between(words)
  return [
    one | {'text': between.join(words[one['start'] : one['end']])} for one in found
  ]


def _prediction(words, tags):
  return dict(tags=tags, entities=entities(words, tags))


def _row(encoder, ids, word_of, labels, places):
  """Returns the Row of those `places` of the sentence's ids, which stand together."""
  tokens, types = encoder.frame(ids[places])
  start = len(encoder.begin)
  text = slice(start, start + len(places))
  words = np.full(len(tokens), -1)
  words[text] = word_of[places]
  row_labels = np.where(words >= 0, labels[words], NO_LABEL).astype(np.int32)
  context = np.zeros(len(tokens))
  context[text] = _context(places, len(ids))
  return Row(
    tokens, {'labels': row_labels, 'token_types': types}, Window(words, context)
  )


def _context(places, count):
  """Returns the tokens between each place and the nearer cut; the text's ends are none.

  `places`: those of one row, ascending, of 0 ... count - 1.
  """
  places = np.asarray(places)
  before = places - places[0] if places[0] else np.full(len(places), count)
  is_end = places[-1] == count - 1
  after = np.full(len(places), count) if is_end else places[-1] - places
  return np.minimum(before, after)


def _letter(tag):
  try:
    return tag_schemes.parse(tag, 'task.label_names')[0]
  except DataError:
    return '?'
