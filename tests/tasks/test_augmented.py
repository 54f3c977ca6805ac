"""Edited training examples: by seed, epoch and number; in training alone."""

import dataclasses

import numpy as np
import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.data import loader
from gpt_jax.data.tokenizers import ByteTokenizer
from gpt_jax.examples.record import Record
from gpt_jax.program import task_data
from gpt_jax.tasks import augmented
from tests.tasks import text_tasks

BYTES = ByteTokenizer()
EDITS = {'task.augmentation.swap': 0.3, 'task.augmentation.delete': 0.3}
WORDS = 'one two three four five six seven eight nine ten'.split()


def config(overrides=None):
  labels = {'objective.name': 'class_labels', 'task.label_names': ('no', 'yes')}
  labels |= {'objective.options.num_labels': 2, 'train.batch_size': 4}
  return text_tasks.config('classification', labels | (overrides or {}))


RECORDS = [
  Record({'text': ' '.join(WORDS[: 2 + n]), 'label': 'yes'}, f'a.tsv, line {n}')
  for n in range(8)
]


def dataset(overrides=None, for_eval=False):
  settings = config(overrides)
  return task_data.make_dataset(settings, BYTES, RECORDS, 'train', for_eval)


def epoch_of(made, epoch):
  """Returns {number of the row: its text} of an epoch."""
  samples = range(epoch * len(made), (epoch + 1) * len(made))
  found = {}
  for n in samples:
    sample = made.sample(n)
    found[made.number(n)] = BYTES.decode(sample['tokens'][sample['segments'] > 0])
  return found


def test_texts_follow_from_seed_epoch_and_number():
  made, again = dataset(EDITS), dataset(EDITS)
  plain = epoch_of(dataset(), 0)
  first, second = epoch_of(made, 0), epoch_of(made, 1)
  assert first != plain and first != second
  assert epoch_of(again, 1) == second and epoch_of(again, 0) == first
  assert epoch_of(dataset(EDITS | {'data.seed': 5}), 0) != first
  for number, text in first.items():
    assert set(text.split()) <= set(plain[number].split())


def test_evaluation_and_rates_of_zero_change_nothing():
  plain = dataset(for_eval=True)
  edited = dataset(EDITS, for_eval=True)
  for n in range(len(plain)):
    np.testing.assert_array_equal(plain.sample(n)['tokens'], edited.sample(n)['tokens'])
  assert dataset().augment is None


def test_batches_are_as_wide_as_their_edited_rows():
  made = dataset({'task.augmentation.delete': 0.6, 'task.buckets': (8, 16, 32)})
  with loader.Loader(made).batches(0, iter([4] * 6)) as batches:
    for batch in batches:
      longest = int(batch['segments'].sum(axis=1).max())
      width = batch['tokens'].shape[1] - 1
      assert width == next(w for w in (8, 16, 32, 64) if w >= longest)


def test_the_label_stays_at_the_end_of_an_edited_row():
  made = dataset(EDITS)
  for n in range(len(made)):
    sample = made.sample(n)
    count = int(sample['segments'].sum())
    assert sample['labels'][count - 1] == 1
    assert (np.delete(sample['labels'], count - 1) == -1).all()


def test_entities_of_tagged_words_stay():
  # What a task of tagged words has in common with this one is its config.
  cfg = dataclasses.replace(config(EDITS).task, name='ner')
  task = type('Tagger', (), {'name': 'ner', 'cfg': cfg})()
  tags = ['O', 'B-X', 'I-X', 'O', 'O', 'B-Y', 'O', 'O', 'O', 'O']
  record = Record({'words': WORDS, 'tags': tags}, '')
  seen = set()
  for epoch in range(10):
    values = augmented.changed(task, record, None, seed=0, epoch=epoch, index=3).values
    pairs = list(zip(values['words'], values['tags'], strict=True))
    assert [pair for pair in pairs if pair[1] != 'O'] == [
      ('two', 'B-X'), ('three', 'I-X'), ('six', 'B-Y'),
    ]  # fmt: skip
    seen.add(tuple(pairs))
  assert len(seen) > 5


def test_each_text_of_a_pair_is_edited_for_itself():
  cfg = dataclasses.replace(config(EDITS).task, name='pairs')
  task = type('Pairs', (), {'name': 'pairs', 'cfg': cfg})()
  text = ' '.join(WORDS)
  record = Record({'text': text, 'text_b': text, 'label': 'yes'}, '')
  values = augmented.changed(task, record, None, seed=0, epoch=0, index=1).values
  assert values['text'] != values['text_b'] and values['label'] == 'yes'


@pytest.mark.parametrize(
  'settings, message',
  [
    ({'task.augmentation.synonyms': 0.1}, 'needs a file of synonyms'),
    (EDITS | {'task.too_long': 'window'}, 'not with task.augmentation'),
  ],
)
def test_what_cannot_be_edited_is_told(settings, message):
  with pytest.raises(ConfigError, match=message):
    config(settings)


def test_tasks_that_write_edit_nothing():
  with pytest.raises(ConfigError, match="'translation' edits no texts; classification"):
    text_tasks.config('translation', EDITS)
