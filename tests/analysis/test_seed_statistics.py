"""Means, spreads and paired tests, against numpy and scipy."""

import math

import numpy as np
import pytest
from scipy import stats

from gpt_jax.analysis import seed_statistics
from gpt_jax.analysis.results import NotEnoughData

ONE = {0: 1.0, 1: 1.25, 2: 0.75, 3: 1.5}
OTHER = {0: 1.5, 1: 1.375, 2: 1.0, 3: 2.5}


def test_a_summary_has_the_sample_deviation():
  summary = seed_statistics.Summary(ONE, 4)
  assert summary.mean == np.mean(list(ONE.values()))
  assert summary.spread == np.std(list(ONE.values()), ddof=1)
  assert summary.is_whole
  assert math.isnan(seed_statistics.Summary({0: 1.0}, 3).spread)
  assert not seed_statistics.Summary({0: 1.0}, 3).is_whole


@pytest.mark.parametrize('alternative', ['two-sided', 'less', 'greater'])
@pytest.mark.parametrize('margin', [0.0, -0.25])
def test_the_paired_test_is_that_of_scipy(alternative, margin):
  first, second = np.array(list(ONE.values())), np.array(list(OTHER.values()))
  expected = stats.ttest_rel(first, second + margin, alternative=alternative).pvalue
  assert seed_statistics.paired_p(first, second, alternative, margin) == expected


def test_a_comparison_is_over_the_seeds_of_both():
  found = seed_statistics.compare(ONE, {3: 2.5, 1: 1.375, 7: 0.0})
  assert found.num_seeds == 2
  assert found.difference == pytest.approx((1.5 - 2.5 + 1.25 - 1.375) / 2)
  assert found.p_value == stats.ttest_rel([1.25, 1.5], [1.375, 2.5]).pvalue


def test_equal_differences_have_the_limit_of_the_test():
  assert seed_statistics.paired_p([1.1, 1.3], [1.0, 1.2], 'greater') == 0.0
  assert seed_statistics.paired_p([1.1, 1.3], [1.0, 1.2], 'less') == 1.0
  assert seed_statistics.paired_p([1.0, 2.0], [1.0, 2.0]) == 1.0
  assert math.isnan(seed_statistics.paired_p([1.0, math.inf], [1.0, 2.0]))


def test_one_seed_has_no_p_value_and_none_is_an_error():
  assert math.isnan(seed_statistics.compare({0: 1.0}, {0: 2.0}).p_value)
  with pytest.raises(NotEnoughData, match='no seed'):
    seed_statistics.compare({0: 1.0}, {1: 2.0})
