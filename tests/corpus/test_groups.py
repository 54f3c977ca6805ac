"""Grouping through files against grouping in memory."""

import collections

import numpy as np

from gpt_jax.corpus import groups

RECORD = np.dtype([('key', '<u8'), ('number', '<i8')])


def test_slices_bring_together_all_that_share_a_key(tmp_path):
  rng = np.random.default_rng(0)
  keys = rng.integers(1 << 64, size=40, dtype=np.uint64)
  blocks, first = [], 0
  for size in (50, 1, 0, 80):
    block = np.zeros(size, RECORD)
    block['key'] = rng.choice(keys, size)
    block['number'] = np.arange(first, first + size)[::-1]
    blocks, first = [*blocks, block], first + size
  expected = collections.defaultdict(list)
  for key, number in sorted(np.concatenate(blocks).tolist()):
    expected[key].append(number)

  found = collections.defaultdict(list)
  read = list(groups.slices(tmp_path / 'new', blocks, RECORD, ('key', 'number')))
  for records in read:
    places, firsts = groups.later_members(records, ('key',))
    for number in np.delete(np.arange(len(records)), places):
      found[int(records['key'][number])].append(int(records['number'][number]))
    for place, start in zip(places, firsts, strict=True):
      assert records['key'][place] == records['key'][start]
      found[int(records['key'][place])].append(int(records['number'][place]))
  assert found == expected
  assert [int(r['key'][0] >> np.uint64(56)) for r in read] == sorted(
    {int(key >> np.uint64(56)) for key in np.concatenate(blocks)['key']}
  )
  assert not list((tmp_path / 'new').iterdir())


def test_of_connected_numbers_the_first_stays():
  pairs = np.array([[7, 9], [3, 9], [20, 4], [4, 5], [8, 8]])
  numbers = np.unique(pairs)
  found = groups.stays(pairs, numbers, np.zeros(len(numbers), bool))
  assert found.tolist() == [[5, 4], [7, 3], [9, 3], [20, 4]]
  found = groups.stays(pairs, numbers, np.isin(numbers, [9, 5, 20]))
  assert found.tolist() == [[3, 9], [4, 5], [7, 9], [20, 5]]
  none = np.zeros((0, 2), np.int64)
  assert groups.stays(none, none[:, 0], none[:, 0] > 0).shape == (0, 2)
