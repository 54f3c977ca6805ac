"""Rules of multiple choice look at places and lengths alone."""

import pytest

from gpt_jax.baselines import choice_rules
from gpt_jax.core.errors import DataError

CHOICES = [['aa', 'b', 'cc'], ['x', 'yyy']]


def test_each_rule_gives_the_number_of_a_choice():
  assert choice_rules.first_choice(CHOICES) == [0, 0]
  assert choice_rules.longest_choice(CHOICES) == [0, 1]
  assert choice_rules.shortest_choice(CHOICES) == [1, 0]
  assert choice_rules.first_choice([]) == []


@pytest.mark.parametrize(
  'rule',
  [
    choice_rules.first_choice,
    choice_rules.longest_choice,
    choice_rules.shortest_choice,
  ],
)
def test_an_example_without_choices_is_refused(rule):
  with pytest.raises(DataError, match=r'choices\[1\] is empty'):
    rule([['a'], []])
