"""Rows as samples: epochs, buckets, and the order of evaluation."""

import collections

import numpy as np
import pytest

from gpt_jax.data import loader
from gpt_jax.tasks.dataset import EMPTY, TaskDataset, digest
from gpt_jax.tasks.task import Row
from tests.tasks import tiny_tasks

LENGTHS = [3, 9, 4, 17, 5, 30, 6, 7, 8, 12, 2]
WIDTHS = (8, 16, 32)


def row_of(number, length):
  tokens = np.full(length, number + 1, np.int32)
  labels = np.full(length, -1, np.int32)
  labels[-1] = number % 2
  return Row(tokens, {'labels': labels, 'token_types': np.zeros(length, np.int32)})


def dataset(batch_size=4, **settings):
  rows = [row_of(i, length) for i, length in enumerate(LENGTHS)]
  task = tiny_tasks.task_of('classification', 'class_labels', ('no', 'yes'))
  options = dict(
    batch_size=batch_size, seq_len=32, widths=WIDTHS, seed=3,
    fingerprint={'for_eval': settings.get('for_eval', False)},
  )  # fmt: skip
  return TaskDataset(
    task=task, records=rows, rows=rows, owners=np.arange(len(rows)),
    **(options | settings),
  )  # fmt: skip


def test_every_epoch_has_each_row_once_and_whole_batches():
  data = dataset()
  assert len(data) == 12
  for epoch in range(3):
    numbers = [data.number(n) for n in range(epoch * 12, (epoch + 1) * 12)]
    assert collections.Counter(numbers) == {EMPTY: 1, **dict.fromkeys(range(11), 1)}


def test_epochs_differ_and_a_sample_is_a_function_of_its_number():
  one, again = dataset(), dataset()
  orders = [[one.number(n) for n in range(e * 12, e * 12 + 12)] for e in range(4)]
  assert len(set(map(tuple, orders))) == 4
  assert orders[2] == [again.number(n) for n in range(24, 36)]
  other = dataset(seed=4)
  assert orders[0] != [other.number(n) for n in range(12)]


def test_an_empty_row_weighs_nothing():
  data = dataset()
  n = next(n for n in range(12) if data.number(n) == EMPTY)
  sample = data.sample(n)
  assert not sample['segments'].any()
  assert (sample['labels'] == -1).all()


def test_rows_of_like_length_go_together():
  data = dataset(batch_size=2)
  spread = [
    abs(len(one.tokens) - len(two.tokens))
    for one, two in (
      (data._row(n), data._row(n + 1)) for n in range(0, 10, 2)
    )
    if one and two
  ]  # fmt: skip
  assert np.mean(spread) < np.mean(np.abs(np.diff(LENGTHS)))


def test_batches_are_cut_to_a_bucket_and_lose_no_token():
  data = dataset()
  with loader.Loader(data).batches(0, [4] * 6) as batches:
    for i, batch in enumerate(batches):
      longest = max(batch['segments'].sum(axis=1))
      assert batch['tokens'].shape[1] - 1 in WIDTHS
      assert longest < batch['tokens'].shape[1]
      whole = [data.sample(n)['segments'].sum() for n in range(i * 4, i * 4 + 4)]
      np.testing.assert_array_equal(batch['segments'].sum(axis=1), whole)


def test_processes_cut_their_rows_to_the_same_width():
  data = dataset()
  shapes = []
  for index in range(2):
    with loader.Loader(data, index, 2).batches(0, [4] * 3) as batches:
      shapes.append([batch['tokens'].shape for batch in batches])
  assert shapes[0] == shapes[1]


def test_the_widest_batch_is_known_before_it_comes():
  data = dataset()
  widest = max(data.columns(range(n, n + 4)) for n in range(0, 12, 4))
  assert data.most_columns == widest == 33
  assert dataset(augment=lambda number, epoch: None, widths=(32, 64)).most_columns == 65


def test_evaluation_reads_every_row_once_by_length():
  data = dataset(for_eval=True)
  numbers = [data.number(n) for n in range(len(data))]
  assert sorted(numbers) == list(range(len(LENGTHS)))
  lengths = [LENGTHS[number] for number in numbers]
  assert lengths == sorted(lengths)


def test_without_shuffling_rows_keep_their_order():
  data = dataset(shuffle=False)
  assert [data.number(n) for n in range(11)] == list(range(11))


@pytest.mark.parametrize('name', ['tokens', 'labels'])
def test_the_digest_notices_any_change(name):
  rows = [row_of(i, length) for i, length in enumerate(LENGTHS)]
  before = digest(rows)
  changed = rows[3].tokens if name == 'tokens' else rows[3].fields['labels']
  changed[0] += 1
  assert digest(rows) != before
