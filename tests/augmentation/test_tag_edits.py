"""Edits of tagged words leave entities as they are."""

import numpy as np
import pytest

from gpt_jax.augmentation import tag_edits
from gpt_jax.augmentation.synonym_table import SynonymTable

TABLE = SynonymTable(
  {'met': ('saw', 'ran into'), 'in': ('at',), 'ada': ('Eva',), 'yesterday': ('today',)}
)
WORDS = 'Yesterday Ada Lovelace met Babbage and Rome in rainy old London .'.split()
TAGS = 'O B-PER I-PER O B-PER O I-LOC O O O I-LOC O'.split()


def entities(words, tags):
  """Returns the stretches of words that are not O, an I- after another kind anew."""
  found, before = [], 'O'
  for word, tag in zip(words, tags, strict=True):
    if tag != 'O' and (before == 'O' or tag[0] == 'B' or before[2:] != tag[2:]):
      found.append([tag[2:], word])
    elif tag != 'O':
      found[-1].append(word)
    before = tag
  return found


@pytest.mark.parametrize('name', tag_edits.EDITS)
@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
def test_entities_keep_their_words(name, rate):
  for seed in range(40):
    rng = np.random.default_rng(seed)
    words, tags = tag_edits.EDITS[name](WORDS, TAGS, rate, rng, TABLE)
    assert entities(words, tags) == entities(WORDS, TAGS)
    assert len(words) == len(tags) <= len(WORDS)
    if rate == 0:
      assert (words, tags) == (WORDS, TAGS)


def test_words_outside_are_replaced_by_single_words():
  words, _ = tag_edits.synonyms(WORDS, TAGS, 1.0, np.random.default_rng(0), TABLE)
  assert words == ['Today', 'Ada', 'Lovelace', 'saw', *WORDS[4:7], 'at', *WORDS[8:]]


def test_swaps_keep_all_words():
  words, tags = tag_edits.random_swap(WORDS, TAGS, 1.0, np.random.default_rng(0))
  assert sorted(words) == sorted(WORDS) and tags == TAGS and words != WORDS


def test_what_divides_entities_is_not_deleted():
  words, tags = tag_edits.random_delete(WORDS, TAGS, 1.0, np.random.default_rng(0))
  assert words == 'Ada Lovelace met Babbage and Rome old London'.split()
  assert tags == 'B-PER I-PER O B-PER O I-LOC O I-LOC'.split()


def test_a_sentence_without_entities_keeps_a_word():
  for seed in range(9):
    rng = np.random.default_rng(seed)
    words, tags = tag_edits.random_delete(['a', 'b'], ['O', 'O'], 1.0, rng)
    assert words in (['a'], ['b']) and tags == ['O']
  assert tag_edits.random_delete([], [], 1.0, rng) == ([], [])
