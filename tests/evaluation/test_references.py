"""References are given by example and read by number."""

from gpt_jax.evaluation import references


def test_streams_hold_the_kth_references():
  assert references.streams([['a', 'b'], ['c'], ['d', 'e', 'f']]) == [
    ['a', 'c', 'd'],
    ['b', None, 'e'],
    [None, None, 'f'],
  ]
