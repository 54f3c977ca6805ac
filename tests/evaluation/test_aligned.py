"""What cannot be compared is refused with place, value and what was expected."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import aligned


def test_lists_of_other_lengths_and_empty_ones_are_refused():
  aligned.require_aligned('M', gold=[1, 2], predicted=[1, 1], probabilities=None)
  with pytest.raises(DataError, match='M: .*2 of gold, 1 of predicted'):
    aligned.require_aligned('M', gold=[1, 2], predicted=[1])
  with pytest.raises(DataError, match='there are no examples'):
    aligned.require_aligned('M', gold=[], predicted=[])


def test_names_and_their_positions_are_the_same_labels():
  ids_N = aligned.label_ids('M', 'gold', ['b', 0, 'a', 1], ['a', 'b'])
  assert ids_N.tolist() == [1, 0, 0, 1]


@pytest.mark.parametrize(
  'label, message',
  [
    ('positiv', r"gold\[1\]='positiv': unknown label.*did you mean 'positive'"),
    (2, r'gold\[1\]=2: expected a name of a class, or a number from 0 to 1'),
    (-1, r'gold\[1\]=-1'),
    (0.0, r'gold\[1\]=0.0'),
    (None, r'gold\[1\]=None'),
  ],
)
def test_an_unknown_label_is_named_with_its_place(label, message):
  with pytest.raises(DataError, match=message):
    aligned.label_ids('M', 'gold', [0, label], ['negative', 'positive'])


def test_a_class_that_stands_twice_is_refused():
  with pytest.raises(DataError, match="'a' stands twice"):
    aligned.label_ids('M', 'gold', ['a'], ['a', 'b', 'a'])


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 'x', None])
def test_numbers_are_finite(value):
  with pytest.raises(DataError, match='M: gold'):
    aligned.finite_numbers('M', 'gold', [1.0, value])
