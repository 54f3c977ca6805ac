"""Rows side by side: each once and whole, in segments of its own."""

import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.program import task_data
from gpt_jax.tasks import packed
from gpt_jax.tasks.dataset import EMPTY
from gpt_jax.tasks.task import Row
from tests.tasks import text_tasks


def rows_of(lengths):
  """Returns Rows whose tokens say which row they are of, and their place in it."""
  return [
    Row(np.arange(n) + 100 * i, {'loss_mask': np.full(n, i % 2)})
    for i, n in enumerate(lengths, start=1)
  ]


def test_every_row_stands_in_one_bin_once_and_whole():
  lengths = np.random.default_rng(0).integers(1, 17, size=60)
  made = packed.side_by_side(rows_of(lengths), 16, seed=0)
  found = {}
  for row in made:
    assert len(row.tokens) == sum(row.lengths) <= 16
    ends = np.cumsum(row.lengths)
    for start, end in zip([0, *ends], ends, strict=False):
      number = int(row.tokens[start] // 100)
      assert number not in found
      found[number] = row.tokens[start:end] - 100 * number
      assert set(row.fields['loss_mask'][start:end]) == {number % 2}
  assert sorted(found) == list(range(1, 61))
  for number, tokens in found.items():
    np.testing.assert_array_equal(tokens, np.arange(lengths[number - 1]))
  # Little is left empty: fewer rows than would be of half their width.
  assert len(made) < 2 * lengths.sum() / 16


def test_the_bins_follow_from_the_seed():
  rows = rows_of([3, 9, 5, 7, 2, 8] * 5)
  first, again, other = (packed.side_by_side(rows, 16, seed) for seed in (1, 1, 2))
  tokens = [[row.tokens.tolist() for row in made] for made in (first, again, other)]
  assert tokens[0] == tokens[1] != tokens[2]


def dataset(for_eval=False):
  """Returns a TaskDataset of 12 conversations of different lengths."""
  config = text_tasks.config(
    'dialogue', {'task.options.template': 'plain', 'train.batch_size': 2}
  )
  records = [
    Record(
      {
        'messages': [
          {'role': 'user', 'content': 'q' * n},
          {'role': 'assistant', 'content': 'r' * n},
        ]
      },
      f'a.json, object {n}',
    )
    for n in range(1, 13)
  ]
  tokenizer = ByteTokenizer()
  return task_data.make_dataset(config, tokenizer, records, 'train', for_eval)


def test_conversations_share_rows_in_training_alone():
  train, validation = dataset(), dataset(for_eval=True)
  assert len(train.rows) < len(validation.rows) == 12
  assert train.num_tokens == validation.num_tokens
  assert train.widths == (64,) and validation.widths[-1] == 64
  assert len(validation.widths) > 1
  assert set(train.owners) == {EMPTY}
  # An epoch has each conversation once: as many tokens that bear loss.
  epoch = [train.sample(n) for n in range(len(train))]
  masks = sum(int(sample['loss_mask'].sum()) for sample in epoch)
  assert masks == sum(int(row.fields['loss_mask'].sum()) for row in validation.rows)
  assert train.columns(range(2)) == 65


def test_no_token_attends_to_another_conversation():
  made = dataset()
  config = made.task.config
  objective = objectives.make_objective(
    config.objective, vocab=objectives.Vocab(257), seq_len=64
  )
  sample = max((made.sample(n) for n in range(4)), key=lambda s: s['segments'].max())
  assert sample['segments'].max() > 1
  batch = {name: jnp.array(values)[None] for name, values in sample.items()}
  example = objective(batch, jax.random.key(0))
  allowed = np.asarray(example.mask.allowed(64, 64)[0])
  owner = sample['segments'][:64]
  is_same = (owner[:, None] == owner[None]) & (owner[None] > 0)
  np.testing.assert_array_equal(allowed, is_same & np.tri(64, dtype=bool))
  # Each begins at position 0, and its first token is no target of the one before.
  starts = np.flatnonzero(np.diff(owner, prepend=0) > 0)
  assert (sample['positions'][starts] == 0).all()
  assert not np.asarray(example.weights_BT)[0, starts[1:] - 1].any()
