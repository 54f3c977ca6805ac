"""Sentences with a tag for each word, in columns and in lines."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import tagged_words

SENTENCES = [(['EU', 'rejects'], ['B-ORG', 'O']), (['\u3000', '很'], ['O', 'B-X'])]


def test_columns_give_sentences_without_document_lines(write):
  text = '-DOCSTART- -X- -X- O\n\n'
  for words, tags in SENTENCES:
    rows = zip(words, tags, strict=True)
    text += ''.join(f'{word} NNP\tB-NP {tag}\n' for word, tag in rows) + '\n\n'
  for name, written in (('a', text), ('b', text.rstrip()), ('c', text + '\r\n')):
    path = write(name, written)
    found = list(tagged_words.read_conll([path], 'utf-8'))
    pairs = [(record.values['words'], record.values['tags']) for record in found]
    assert pairs == SENTENCES
    assert [record.place for record in found] == [f'{path}, line 3', f'{path}, line 7']


def test_lines_of_characters_give_the_same(write):
  text = ''.join(f'{" ".join(w)}\t{" ".join(t)}\n' for w, t in SENTENCES)
  found = list(tagged_words.read_char_tags([write('a', text)], 'utf-8'))
  pairs = [(record.values['words'], record.values['tags']) for record in found]
  assert pairs == SENTENCES


@pytest.mark.parametrize(
  'read, text, message',
  [
    (tagged_words.read_conll, 'a X O\nb O\n', 'line 2: 2 columns .*expected 3, as in'),
    (tagged_words.read_conll, '\nword\n', 'line 2: 1 columns .*a word and a tag'),
    (tagged_words.read_char_tags, 'a b O O', 'line 1: 1 columns .*expected 2'),
    (tagged_words.read_char_tags, 'a\tO\na b\tO', 'line 2: 2 characters and 1 tags'),
  ],
)
def test_words_without_tags_are_named(write, read, text, message):
  with pytest.raises(DataError, match=message):
    list(read([write('a', text)], 'utf-8'))
