"""Labels are kept apart, in order, and no further from their levels than they must."""

import numpy as np
import pytest

from gpt_jax.tracking import labels


def test_labels_with_room_stay_where_they_are():
  np.testing.assert_allclose(labels.spread([3.0, 1.0, 2.0], 0.5), [3.0, 1.0, 2.0])


def test_two_close_labels_move_by_the_same():
  np.testing.assert_allclose(labels.spread([1.0, 1.02], 0.1), [0.96, 1.06])


@pytest.mark.parametrize('seed', range(5))
def test_many_labels_keep_their_order_and_a_gap(seed):
  levels = np.random.default_rng(seed).normal(size=12)
  places = labels.spread(levels, 0.3)
  assert (np.argsort(places) == np.argsort(levels)).all()
  assert np.diff(np.sort(places)).min() > 0.3 - 1e-9
  assert places.mean() == pytest.approx(levels.mean())


def test_no_label_is_no_place():
  assert len(labels.spread([], 1.0)) == 0


def test_labels_of_several_lines_have_the_room_they_need():
  places = labels.spread([0.0, 0.0, 0.0], [1.0, 3.0, 1.0])
  np.testing.assert_allclose(np.diff(places), [2.0, 2.0])
  np.testing.assert_allclose(places, labels.spread([0.0, 0.0, 0.0], 2.0))
