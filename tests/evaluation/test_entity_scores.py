"""Scores of entities are those of seqeval, and of counts of spans by hand."""

import random

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import tag_schemes
from gpt_jax.evaluation.entity_scores import entity_scores

seqeval = pytest.importorskip('seqeval.metrics', reason='needs gpt_jax[tasks]')
pytestmark = pytest.mark.extra


def spans(tags):
  """Returns the entities of valid IOB2 tags, {(first, end, type)}."""
  found, start = set(), None
  for place, tag in enumerate([*tags, 'O']):
    if start is not None and not tag.startswith('I'):
      found.add((start, place, tags[start][2:]))
      start = None
    if tag.startswith('B'):
      start = place
  return found


@pytest.fixture
def sentences():
  """Returns (gold, predicted) of 40 sentences of valid IOB2 tags."""
  rng = random.Random(0)

  def tags():
    return tag_schemes.to_iob2(
      rng.choices(['O', 'B-A', 'I-A', 'I-C'], k=9, weights=[3, 1, 2, 1])
    )

  gold = [tags() for _ in range(40)]
  return gold, [rng.choice([one, tags()]) for one in gold]


def test_scores_count_whole_entities(sentences):
  gold, predicted = sentences
  pairs = [(spans(g), spans(p)) for g, p in zip(gold, predicted, strict=True)]
  right = sum(len(g & p) for g, p in pairs)
  scores = entity_scores(gold, predicted)
  precision = right / sum(len(p) for _, p in pairs)
  recall = right / sum(len(g) for g, _ in pairs)
  assert scores.metrics == pytest.approx(
    {
      'precision': precision,
      'recall': recall,
      'f1': 2 * precision * recall / (precision + recall),
    }
  )
  # On valid tags the lenient mode of the package agrees.
  assert scores.metrics['f1'] == pytest.approx(seqeval.f1_score(gold, predicted))
  assert sum(row['support'] for row in scores.details['per_type']) == sum(
    len(g) for g, _ in pairs
  )


def test_rows_per_type_by_hand():
  gold = [['B-PER', 'I-PER', 'O', 'B-LOC'], ['B-LOC', 'O', 'O', 'O']]
  found = [['B-PER', 'O', 'O', 'B-LOC'], ['B-LOC', 'O', 'B-ORG', 'O']]
  scores = entity_scores(gold, found)
  by_type = {row.pop('type'): row for row in scores.details['per_type']}
  assert by_type['LOC'] == dict(precision=1.0, recall=1.0, f1=1.0, support=2)
  assert by_type['PER'] == dict(precision=0.0, recall=0.0, f1=0.0, support=1)
  assert by_type['ORG'] == dict(precision=0.0, recall=0.0, f1=0.0, support=0)
  assert scores.metrics['precision'] == 2 / 4
  assert scores.metrics['recall'] == 2 / 3


def test_a_predicted_entity_without_beginning_counts_for_nothing():
  scores = entity_scores([['B-PER', 'I-PER', 'O']], [['I-PER', 'I-PER', 'O']])
  assert scores.metrics == dict(precision=0.0, recall=0.0, f1=0.0)


def test_sentences_without_entities_score_zero():
  scores = entity_scores([['O', 'O']], [['O', 'O']])
  assert scores.metrics == dict(precision=0.0, recall=0.0, f1=0.0)
  assert scores.details == dict(per_type=[], num_sentences=1)


@pytest.mark.parametrize(
  'gold, predicted, message',
  [
    ([], [], 'there are no examples'),
    ([['O']], [['O', 'O']], 'sentence 0 has 1 gold and 2 predicted'),
    ([['I-PER']], [['O']], 'gold sentence 0: tag 0'),
    ([['O']], [['X-PER']], "predicted sentence 0: tag 0 is 'X-PER'"),
    ([['O']], [['S-PER']], "tag 0 is 'S-PER': expected B, I or O"),
  ],
)
def test_what_cannot_be_scored_is_refused(gold, predicted, message):
  with pytest.raises(DataError, match=message):
    entity_scores(gold, predicted)
