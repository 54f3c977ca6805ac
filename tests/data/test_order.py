"""The order of small epochs is Grain's, index by index, and is made in milliseconds."""

import grain
import numpy as np
import pytest

from gpt_jax.data import order, pipeline


def grain_order(count, seed, indices):
  shuffled = grain.MapDataset.range(count).shuffle(seed=seed).repeat()
  return [int(shuffled[i]) for i in indices]


@pytest.mark.parametrize('count', [1, 2, 3, 50, 257, 4096, 65535, 65536])
@pytest.mark.parametrize('seed', [0, 12345, 2**32 - 1])
def test_every_index_is_that_of_grain(count, seed):
  # The beginning, the end of an epoch, and the next one, whose seed may be 0 again.
  indices = sorted({0, 1, count // 2, count - 1, count, count + 1})
  ours = order.EpochOrder(0, count, seed)
  assert [ours(i, None) for i in indices] == grain_order(count, seed, indices)


@pytest.mark.parametrize('count', [1, 2, 3, 50, 1000, 65536])
def test_an_epoch_has_every_number_once(count):
  numbers = order.permutation(count, 7)
  np.testing.assert_array_equal(np.sort(numbers), np.arange(count))


def test_members_of_a_mixture_keep_their_orders(monkeypatch):
  packings, weights = [range(7), range(300), range(5)], [0.2, 0.5, 0.3]
  shuffled = [True, True, False]

  def numbers():
    mixed = pipeline._training_order(packings, weights, shuffled, 3).repeat()
    return [int(mixed[n]) for n in range(64)]

  ours = numbers()
  monkeypatch.setattr(order, 'MAX_COUNT', 0)
  assert numbers() == ours
