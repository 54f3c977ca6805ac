"""Planted near-duplicates are found; texts that only share phrases are not."""

import random

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.corpus import minhash
from gpt_jax.corpus.step import Context
from tests.corpus import texts

COUNT = 300  # words


def edited(text, share, seed):
  """Returns `text` with that share of its words replaced, at random places."""
  rng, found = random.Random(seed), text.split()
  for place in rng.sample(range(len(found)), round(share * len(found))):
    found[place] = f'new{place}'
  return ' '.join(found)


def jaccard(one, other, n=5):
  sets = []
  for text in (one, other):
    found = text.split()
    sets.append({tuple(found[i : i + n]) for i in range(len(found) - n + 1)})
  return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


@pytest.fixture(scope='module')
def originals():
  return [texts.prose(seed, COUNT) for seed in range(40)]


def test_planted_near_duplicates_are_found_and_no_others(tmp_path, originals):
  near = [edited(text, 0.01, seed) for seed, text in enumerate(originals[:20])]
  far = [edited(text, 0.12, seed) for seed, text in enumerate(originals[20:])]
  alike = [jaccard(a, b) for a, b in zip(originals, near + far, strict=True)]
  assert min(alike[:20]) > 0.88 and max(alike[20:]) < 0.5  # so they were planted
  documents = [texts.document(text) for text in originals + near + far]
  step = minhash.NearDuplicates(minhash.Options(), tmp_path)
  found = texts.removed(step, documents, size=7)
  assert found == {40 + i: i for i in range(20)}


def test_case_and_punctuation_hide_no_duplicate(tmp_path, originals):
  hidden = originals[0].upper().replace(' ', ', ')
  documents = [texts.document(text) for text in (originals[0], originals[1], hidden)]
  step = minhash.NearDuplicates(minhash.Options(), tmp_path)
  assert texts.removed(step, documents) == {2: 0}


def test_the_held_out_document_of_a_group_stays(tmp_path, originals):
  versions = [edited(originals[0], 0.004, seed) for seed in range(4)]
  splits = ['train', 'train', 'test', 'train']
  documents = [texts.document(*each) for each in zip(versions, splits, strict=True)]
  step = minhash.NearDuplicates(minhash.Options(), tmp_path)
  assert texts.removed(step, documents) == {0: 2, 1: 2, 3: 2}


def test_texts_without_words_are_no_duplicates(tmp_path):
  step = minhash.NearDuplicates(minhash.Options(), tmp_path)
  assert texts.removed(step, [texts.document('--'), texts.document('...')]) == {}


def test_bands_that_miss_most_pairs_are_refused(tmp_path):
  options = minhash.Options(threshold=0.4)
  with pytest.raises(ConfigError, match=r'only 1\.0% .* try rows=3:bands=42'):
    minhash.make(options, Context(None, tmp_path))
  found = minhash.make(
    minhash.Options(threshold=0.4, rows=3, bands=42), Context(None, tmp_path)
  )
  assert found.describe() == {
    'compared_at_threshold': pytest.approx(1 - (1 - 0.4**3) ** 42, abs=1e-3)
  }
