"""Answers to multiple choice that read no question: a place, or a length."""

from gpt_jax.core.errors import DataError


def first_choice(choices_of):
  """Returns 0 for each example: its first choice."""
  return [_require(choices, row) * 0 for row, choices in enumerate(choices_of)]


def longest_choice(choices_of):
  """Returns for each example the number of its choice with the most characters.

  Of equally long ones the first.
  """
  return [_extreme(choices, row, max) for row, choices in enumerate(choices_of)]


def shortest_choice(choices_of):
  """Returns for each example the number of its choice with the fewest characters."""
  return [_extreme(choices, row, min) for row, choices in enumerate(choices_of)]


def _extreme(choices, row, choose):
  return choose(range(_require(choices, row)), key=lambda k: len(choices[k]))


def _require(choices, row):
  """Returns how many `choices` there are; raises DataError without any."""
  if not choices:
    raise DataError(f'choices[{row}] is empty: expected at least one.')
  return len(choices)
