"""Examples of a held-out set that training has, too."""

from gpt_jax.examples import leakage
from gpt_jax.examples.record import Record


def records(name, *rows):
  return [
    Record({'text': text, 'label': label}, f'{name}, line {i}')
    for i, (text, label) in enumerate(rows, start=1)
  ]


def test_copies_count_whatever_their_case_space_and_label():
  train = records('train', ('A  fine\tfilm', 1), ('bad', 0), ('bad', 0))
  test = records('test', ('a fine film ', 0), ('badly', 0), ('BAD', 1), ('bad', 1))
  found = leakage.count(train, test)
  assert (found.num_shared, found.num_other) == (3, 4)
  assert found.examples[:2] == (
    ('train, line 1', 'test, line 1'),
    ('train, line 2', 'test, line 3'),
  )
  assert leakage.count(train, test, num_examples=1).examples == found.examples[:1]


def test_all_parts_of_an_input_have_to_be_the_same():
  def pair(one, two):
    return Record({'text': one, 'text_b': two, 'label': 'x'}, 'here')

  assert (
    leakage.count([pair('a', 'b')], [pair('a', 'c'), pair('A', 'B')]).num_shared == 1
  )
  words = [Record({'words': ['EU', 'Rejects'], 'tags': ['O', 'O']}, 'here')]
  other = [Record({'words': ['EU', 'rejects'], 'tags': ['B', 'O']}, 'there')]
  assert leakage.count(words, other).num_shared == 1


def test_sets_are_compared_with_training_and_validation():
  train = records('train', ('a', 1), ('b', 0))
  held_out = records('dev', ('B', 1), ('c', 0))
  test = records('test', ('c ', 1), ('d', 1))
  assert leakage.reports(train, {'dev': held_out}, {'test': test}) == [
    'dev: 1 of 2 examples is also in train (50.0 %)',
    'test: 1 of 2 examples is also in dev (50.0 %)',
  ]
  assert leakage.reports(train, {}, {'test': test}) == []
  assert leakage.reports(train, {}, {}) == []


def test_the_report_says_how_many_and_the_share():
  report = leakage.Leakage(12, 1821, ()).report()
  assert report == 'test: 12 of 1,821 examples are also in train (0.7 %)'
  report = leakage.Leakage(1, 4, ()).report('validation')
  assert report == 'validation: 1 of 4 examples is also in train (25.0 %)'
  assert leakage.count([], []).report() == (
    'test: 0 of 0 examples are also in train (0.0 %)'
  )
