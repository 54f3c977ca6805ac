"""The tagger counts tags by word, and tags the unseen by ending and shape."""

import pytest

from gpt_jax.baselines import frequency_tagger
from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import tag_schemes

SENTENCES = [
  ['Anna', 'lives', 'in', 'Boston', '.'],
  ['Boston', 'has', 'Anna', 'Smith', '.'],
  ['Boston', 'University', 'opened', 'in', '1839', '.'],
  ['Kingston', 'is', 'near', '.'],
]
TAGS = [
  ['B-PER', 'O', 'O', 'B-LOC', 'O'],
  ['B-LOC', 'O', 'B-PER', 'I-PER', 'O'],
  ['B-ORG', 'I-ORG', 'O', 'O', 'O', 'O'],
  ['B-LOC', 'O', 'O', 'O'],
]


@pytest.fixture(scope='module')
def tagger():
  return frequency_tagger.fit(SENTENCES, TAGS)


def test_a_word_has_its_most_frequent_tag(tagger):
  # Boston: twice a place, once the start of an organization.
  assert tagger.predict([['Boston', '.']]) == [['B-LOC', 'O']]


def test_unseen_words_are_tagged_by_ending_and_shape(tagger):
  assert tagger.tag('Houston') == 'B-LOC'  # as Kingston, seen once
  assert tagger.tag('1776') == 'O'
  assert tagger.tag('jumped') == 'O'
  assert tagger.tag('%%') == 'O'


def test_tags_come_out_as_valid_iob2(tagger):
  predicted = tagger.predict([['Smith', 'in', 'University', 'Smith']])
  assert predicted == [['B-PER', 'O', 'B-ORG', 'B-PER']]
  tag_schemes.require_iob2(predicted[0], 'predicted')


def test_training_tags_may_be_of_another_scheme(tagger):
  bioes = [
    ['S-PER', 'O', 'O', 'S-LOC', 'O'],
    ['S-LOC', 'O', 'B-PER', 'E-PER', 'O'],
    ['B-ORG', 'E-ORG', 'O', 'O', 'O', 'O'],
    ['S-LOC', 'O', 'O', 'O'],
  ]
  assert frequency_tagger.fit(SENTENCES, bioes) == tagger


@pytest.mark.parametrize(
  'word, shape',
  [
    ('Berlin', 'Xx'),
    ('IBM', 'X'),
    ('1998', '9'),
    ('3.50', '9.9'),
    ('McDonald', 'XxXx'),
    ('co-op', 'x-x'),
    ('北京', 'x'),
  ],
)
def test_a_shape_is_the_kinds_of_characters(word, shape):
  assert frequency_tagger.shape(word) == shape


def test_what_cannot_be_learnt_from_is_refused():
  with pytest.raises(DataError, match='there are no examples'):
    frequency_tagger.fit([], [])
  with pytest.raises(DataError, match='sentence 0 has 2 words and 1 tags'):
    frequency_tagger.fit([['a', 'b']], [['O']])
  with pytest.raises(DataError, match="sentence 1: tag 0 is 'X'"):
    frequency_tagger.fit([['a'], ['b']], [['O'], ['X']])


@pytest.mark.shared
@pytest.mark.extra
def test_two_of_three_entities_in_news_are_found(shared_data):
  pytest.importorskip('seqeval', reason='needs gpt_jax[tasks]')
  from gpt_jax.evaluation.entity_scores import entity_scores

  def read(name):
    lines = (shared_data / 'conll2003' / f'{name}.txt').read_text().splitlines()
    sentences = [[]]
    for line in lines:
      if line.strip() and not line.startswith('-DOCSTART-'):
        sentences[-1].append(line.split())
      elif sentences[-1]:
        sentences.append([])
    kept = [rows for rows in sentences if rows]
    return (
      [[row[0] for row in rows] for rows in kept],
      [tag_schemes.to_iob2([row[-1] for row in rows]) for rows in kept],
    )

  fitted = frequency_tagger.fit(*read('train'))
  words, gold = read('dev')
  assert 0.6 < entity_scores(gold, fitted.predict(words)).metrics['f1'] < 0.75
