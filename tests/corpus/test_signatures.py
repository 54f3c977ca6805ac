"""MinHash against the Jaccard similarity that it estimates."""

import numpy as np
import pytest

from gpt_jax.corpus import signatures, words


def two_texts(similarity, seed, size=400):
  """Returns two lists of n-grams, and their Jaccard similarity."""
  rng = np.random.default_rng(seed)
  shared = round(2 * size * similarity / (1 + similarity))
  grams = words.mixed(rng.integers(1 << 63, size=2 * size - shared, dtype=np.uint64))
  return grams[:size], grams[size - shared :], shared / (2 * size - shared)


@pytest.fixture(scope='module')
def minhash():
  return signatures.MinHash(ngram_words=5, bands=16, rows=8)


@pytest.mark.parametrize('similarity', [0.0, 0.3, 0.5, 0.8, 0.95])
def test_hashes_agree_as_often_as_texts_are_alike(minhash, similarity):
  share, bits, collisions, trials = [], [], 0, 60
  for seed in range(trials):
    one, other, exact = two_texts(similarity, seed)
    both = np.stack([minhash._least(one), minhash._least(other)])
    share.append((both[0] == both[1]).mean() - exact)
    packed = minhash.bits(both)
    differing = int(np.bitwise_count(packed[0] ^ packed[1]).sum())
    bits.append(1 - 2 * differing / 128 - exact)
    keys = minhash.keys(both)
    collisions += bool((keys[0] == keys[1]).any())
  # Means of 60 trials of 128 coins each: five standard errors.
  assert abs(np.mean(share)) < 5 * 0.5 / np.sqrt(128 * trials)
  assert abs(np.mean(bits)) < 5 * 1.0 / np.sqrt(128 * trials)
  expected = minhash.recall(similarity)
  error = np.sqrt(max(expected * (1 - expected), 0.01) / trials)
  assert abs(collisions / trials - expected) < 5 * error


def test_similarity_leaves_out_the_band_that_was_shared(minhash):
  """120 of 128 hashes can differ; half of their bits do where texts are unlike."""
  one = np.zeros((1, 16), np.uint8)
  other = np.packbits([[0] * 68 + [1] * 60], axis=1)
  assert minhash.similarity(one, one).tolist() == [1.0]
  assert minhash.similarity(one, other).tolist() == [0.0]


def test_long_texts_have_the_signature_of_all_their_words(minhash, monkeypatch):
  text = ' '.join(map(str, range(3000)))
  whole = minhash.signature(text)
  monkeypatch.setattr(words, '_BLOCK', 100)
  np.testing.assert_array_equal(minhash.signature(text), whole)


def test_short_texts_are_one_ngram_and_empty_ones_none(minhash):
  assert minhash.signature('--') is None
  assert (minhash.signature('a b') == minhash.signature('A, b!')).all()
  assert (minhash.signature('a b') != minhash.signature('b a')).any()


def test_keys_of_different_bands_differ(minhash):
  keys = minhash.keys(np.full((1, 128), 7, np.uint32))
  assert len(set(keys[0].tolist())) == 16
