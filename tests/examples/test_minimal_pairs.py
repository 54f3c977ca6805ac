"""BLiMP's pairs are questions whose first choice is right."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import minimal_pairs


def test_the_good_sentence_is_the_answer(write):
  pair = {'sentence_good': 'She sees herself.', 'sentence_bad': 'She sees himself.'}
  (found,) = minimal_pairs.read([write('a.jsonl', [pair])], 'utf-8')
  assert found.values['choices'][found.values['label']] == pair['sentence_good']
  assert found.values['prompt'] == ''
  del pair['sentence_bad']
  with pytest.raises(DataError, match="line 1: no 'sentence_bad'"):
    list(minimal_pairs.read([write('b.jsonl', [pair])], 'utf-8'))
