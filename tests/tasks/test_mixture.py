"""Shares of members, and the rows that an epoch has of each."""

import collections

import numpy as np
import pytest

from gpt_jax.tasks import mixture


def test_at_temperature_one_shares_are_sizes():
  np.testing.assert_allclose(mixture.shares([90, 10], [None] * 2, 1.0), [0.9, 0.1])


def test_a_high_temperature_makes_members_equal():
  found = mixture.shares([9000, 10], [None] * 2, 1e6)
  np.testing.assert_allclose(found, [0.5, 0.5], atol=1e-3)
  # n^(1/2): 30 to 10.
  np.testing.assert_allclose(mixture.shares([900, 100], [None] * 2, 2), [0.75, 0.25])


def test_a_fixed_share_stays_and_the_rest_is_divided():
  found = mixture.shares([30, 1000, 10], [None, 0.2, None], 1.0)
  np.testing.assert_allclose(found, [0.6, 0.2, 0.2])


def test_by_size_every_row_comes_once_an_epoch():
  counts = [7, 3]
  for epoch in range(3):
    rows = mixture.rows_of_epoch(
      counts, mixture.shares(counts, [None] * 2, 1), 0, epoch
    )
    assert sorted(rows) == list(range(10))


def test_rows_of_a_member_come_in_passes_across_epochs():
  counts, share_of = [8, 4], [0.75, 0.25]
  drawn = [mixture.rows_of_epoch(counts, share_of, 5, epoch) for epoch in range(4)]
  assert [len(rows) for rows in drawn] == [12] * 4
  small = [int(row) for rows in drawn for row in rows if row >= 8]
  assert len(small) == 12
  assert set(collections.Counter(small).values()) == {3}


@pytest.mark.parametrize('seed', [0, 1])
def test_an_epoch_is_a_function_of_seed_and_number(seed):
  one, again = (mixture.rows_of_epoch([5, 5], [0.5, 0.5], seed, 2) for _ in range(2))
  np.testing.assert_array_equal(one, again)
  assert one.tolist() != mixture.rows_of_epoch([5, 5], [0.5, 0.5], seed, 3).tolist()
