"""Copies are found however they lie in the corpus."""

import dataclasses

import pytest

from gpt_jax.corpus import exact
from tests.corpus import texts


def step(tmp_path, same):
  return exact.Exact(exact.Options(same=same), tmp_path)


TEXTS = ['A b, c.', 'other', 'A  b,\nc. ', 'a B c', 'A b, c.', 'a b d', '']


@pytest.mark.parametrize(
  'same, expected',
  [
    ('bytes', {4: 0}),
    ('spaces', {2: 0, 4: 0}),
    ('words', {2: 0, 3: 0, 4: 0}),
  ],
)
def test_all_but_the_first_copy_go(tmp_path, same, expected):
  documents = [texts.document(text) for text in TEXTS]
  assert texts.removed(step(tmp_path, same), documents) == expected


def test_a_held_out_copy_stays_and_training_ones_go(tmp_path):
  splits = ['train', 'validation', 'train', 'test', 'all']
  documents = [texts.document('the same', split) for split in splits]
  found = texts.removed(step(tmp_path, 'bytes'), documents)
  assert found == {0: 1, 2: 1, 3: 1, 4: 1}


@pytest.mark.parametrize('same', ['bytes', 'spaces', 'words'])
def test_long_texts_that_end_differently_are_no_copies(tmp_path, same, monkeypatch):
  monkeypatch.setattr('gpt_jax.corpus.step.LONG_BYTES', 9)
  documents = [texts.document(f'红楼梦{end}') for end in ('里', '外', '里')]
  shortened = [dataclasses.replace(each, text='红楼梦') for each in documents]
  assert texts.removed(step(tmp_path, same), shortened) == {2: 0}
