"""Sweeps are lists of settings; their order and length are those of the algebra."""

import math

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.sweeps import (
  FromRow,
  chain,
  linear_range,
  log_range,
  only,
  product,
  rows,
  seeds,
  vary,
  zipped,
)


def test_a_product_has_all_pairs_the_last_axis_fastest():
  found = product(vary('a', 1, 2), seeds(0, 1))
  assert found == tuple({'a': a, 'seed': s} for a in (1, 2) for s in (0, 1))


def test_where_leaves_settings_out():
  found = product(vary('a', 1, 2), vary('b', 1, 2), where=lambda one: one['a'] < 2)
  assert found == ({'a': 1, 'b': 1}, {'a': 1, 'b': 2})
  assert only(found, lambda one: one['b'] == 2) == ({'a': 1, 'b': 2},)


def test_zip_pairs_and_chain_appends():
  pairs = zipped(vary('a', 1, 2), vary('b', 3, 4))
  assert pairs == ({'a': 1, 'b': 3}, {'a': 2, 'b': 4})
  assert chain(pairs, rows('x')) == (*pairs, {'row': 'x'})


def test_ranges_are_equally_spaced_and_keep_their_ends():
  values = [one['a'] for one in log_range('a', 1e-4, 1e-1, 4)]
  np.testing.assert_allclose(values, np.logspace(-4, -1, 4), rtol=1e-5)
  assert [one['a'] for one in linear_range('a', 10, 20, 3)] == [10, 15, 20]
  assert all(isinstance(one['a'], int) for one in log_range('a', 16, 128, 4))


@pytest.mark.parametrize(
  'make, text',
  [
    (lambda: vary('a'), 'no values'),
    (lambda: vary(3, 4), 'the name of a config field'),
    (lambda: vary('a', [1, 2]), 'give tuples'),
    (lambda: vary('a', {'b': 1}), 'a row of its own'),
    (lambda: product(vary('a', 1), vary('a', 2)), 'two axes'),
    (lambda: zipped(vary('a', 1), vary('b', 1, 2)), r'\[1, 2\]'),
    (lambda: log_range('a', 0, 1, 3), '0 < low'),
    (lambda: linear_range('a', 0, 1, 1), 'at least 2'),
    (lambda: linear_range('a', 0, 'b', 3), 'expected two numbers'),
    (lambda: log_range('a', 1, 2, 2.5), 'how many values'),
    (lambda: product({'a': 1}), "{'a': 1} is no sweep"),
    (lambda: zipped(vary('a', 1), 3), '3 is no sweep'),
    (lambda: chain(('a', 'b')), 'is no sweep'),
  ],
)
def test_what_makes_no_sweep_is_told(make, text):
  with pytest.raises(ConfigError, match=text):
    make()


def test_values_that_can_be_looked_up_are_axes():
  assert len(vary('a', None, ('x', 1), FromRow('b'), math.inf, 'text')) == 5
