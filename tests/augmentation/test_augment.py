"""What an example becomes in an epoch: a function of seed, epoch and index."""

import dataclasses

import pytest

from gpt_jax.augmentation import augment, tag_edits
from gpt_jax.augmentation.augment import augmented, augmented_tags
from gpt_jax.config.schema import AugmentationConfig

TEXT = 'the quick brown fox sees the lazy dog and the old cat'
WORDS, TAGS = TEXT.split(), ['O'] * 3 + ['B-X'] + ['O'] * 8
SOME = AugmentationConfig(swap=0.2, delete=0.2)


def texts(cfg, seeds=(0,), epochs=(0,), indices=range(8)):
  return [
    augmented(TEXT, cfg, None, seed=seed, epoch=epoch, index=index)
    for seed in seeds
    for epoch in epochs
    for index in indices
  ]


def test_seed_epoch_and_index_decide_the_text():
  assert texts(SOME) == texts(SOME)
  assert texts(SOME) != texts(SOME, seeds=[1])
  assert texts(SOME) != texts(SOME, epochs=[1])
  assert len(set(texts(SOME))) > 5
  # Not their sum, nor any order of them.
  here = dict(seed=1, epoch=2, index=3), dict(seed=3, epoch=2, index=1)
  assert len({augmented(TEXT, SOME, None, **each) for each in here}) == 2


def test_rates_of_0_leave_each_example_as_it_is():
  nothing = AugmentationConfig()
  assert set(texts(nothing)) == {TEXT}
  found = augmented_tags(WORDS, TAGS, nothing, None, seed=0, epoch=0, index=0)
  assert found == (WORDS, TAGS)


def test_a_share_of_the_examples_is_edited():
  half = dataclasses.replace(SOME, share=0.5)
  same = sum(text == TEXT for text in texts(half, indices=range(400)))
  unedited = sum(text == TEXT for text in texts(SOME, indices=range(400)))
  assert same == pytest.approx(200 + unedited / 2, abs=40)
  assert set(texts(dataclasses.replace(SOME, share=0.0))) == {TEXT}


def test_tagged_words_are_edited_with_their_tags():
  words, tags = augmented_tags(WORDS, TAGS, SOME, None, seed=0, epoch=0, index=1)
  assert words != WORDS and words[tags.index('B-X')] == 'fox'


def test_synonyms_come_from_the_table(tmp_path):
  (tmp_path / 'table.tsv').write_text('fox\twolf\nthe\ta\n')
  cfg = AugmentationConfig(synonyms=1.0, table=str(tmp_path / 'table.tsv'))
  table = augment.open_table(cfg)
  expected = TEXT.replace('fox', 'wolf').replace('the', 'a')
  assert augmented(TEXT, cfg, table, seed=0, epoch=0, index=0) == expected
  assert augment.open_table(AugmentationConfig()) is None


def test_each_edit_has_a_rate_in_the_section():
  fields = {field.name for field in dataclasses.fields(AugmentationConfig)}
  assert fields == {*augment.AUGMENTATIONS, 'table', 'share'}
  assert set(tag_edits.EDITS) <= fields


def test_what_needs_a_table_says_so():
  (problem,) = augment.problems(AugmentationConfig(insert=0.1))
  assert str(problem).startswith("augmentation.table='': augmentation.insert=0.1 needs")
  assert augment.problems(AugmentationConfig(insert=0.1, table='x')) == []
  found = augment.tag_problems(
    AugmentationConfig(insert=0.1, swap=0.1), 'task.augmentation'
  )
  assert [each.field for each in found] == [
    'task.augmentation.insert', 'task.augmentation.table',
  ]  # fmt: skip
