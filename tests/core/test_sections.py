"""Sections: frozen, by keyword only, with ranges that loading reads."""

import dataclasses

import pytest

from gpt_jax.core.sections import above, at_least, between, one_of, rate, section


@section
class Example:
  low: int = at_least(1)
  share: float = between(0.0, 1.0, default=0.5)
  decay: float = rate(default=0.9)
  size: float = above(0.0)
  kind: str = one_of('a', 'b', default='a')


def test_a_section_is_frozen_and_hashable():
  example = Example(low=1, size=2.0)
  assert (example.share, example.decay, example.kind) == (0.5, 0.9, 'a')
  assert hash(example) == hash(Example(low=1, size=2.0))
  with pytest.raises(dataclasses.FrozenInstanceError):
    example.low = 3


def test_fields_are_given_by_name_and_need_a_value_or_a_default():
  with pytest.raises(TypeError):
    Example(1, 2.0)
  with pytest.raises(TypeError, match='low'):
    Example(size=1.0)


def test_ranges_stand_with_their_fields():
  limits = {field.name: dict(field.metadata) for field in dataclasses.fields(Example)}
  assert limits == {
    'low': {'at_least': 1},
    'share': {'at_least': 0.0, 'at_most': 1.0},
    'decay': {'at_least': 0.0, 'below': 1.0},
    'size': {'above': 0.0},
    'kind': {'choices': ('a', 'b')},
  }
