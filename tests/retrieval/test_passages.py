"""Documents cut into passages."""

import pytest

from gpt_jax.core.errors import ConfigError
from gpt_jax.retrieval import passages, terms
from gpt_jax.retrieval.documents import Document
from gpt_jax.retrieval.formats import Section

SENTENCES = [f'Sentence {name} has five words.' for name in 'abcdefgh']


def cut(*paragraphs, size=10, overlap=0, heading=''):
  document = Document('a.md', (Section(heading, paragraphs),))
  return [one.text for one in passages.cut(document, size, overlap)]


def test_paragraphs_go_together_while_they_fit():
  assert cut('one two three', 'four five six', 'seven eight nine ten eleven') == [
    'one two three\n\nfour five six', 'seven eight nine ten eleven',
  ]  # fmt: skip


def test_a_long_paragraph_is_cut_between_sentences():
  text = ' '.join(SENTENCES)
  assert cut('short', text, 'end') == [
    'short', *(' '.join(SENTENCES[i : i + 2]) for i in range(0, 8, 2)), 'end',
  ]  # fmt: skip


def test_parts_share_the_sentences_at_their_border():
  found = cut(' '.join(SENTENCES[:5]), size=15, overlap=5)
  assert found == [' '.join(SENTENCES[:3]), ' '.join(SENTENCES[2:5])]


def test_a_sentence_that_is_too_long_is_cut_between_words():
  words = [f'w{i}' for i in range(25)]
  found = cut(' '.join(words))
  assert [terms.count(one) for one in found] == [10, 10, 5]
  assert ' '.join(found).split() == words
  han = ''.join(chr(0x4E00 + i) for i in range(25))
  assert ''.join(cut(han)) == han and len(cut(han)) == 3


@pytest.mark.parametrize('overlap', [0, 3, 5])
def test_every_word_is_in_a_passage_of_the_size(overlap):
  text = ' '.join(f'w{i}{"." if i % 7 == 6 else ""}' for i in range(100))
  found = cut(text, overlap=overlap)
  assert max(map(terms.count, found)) <= 10
  assert {word for one in found for word in one.split()} == set(text.split())


def test_a_passage_is_cited_by_file_and_heading():
  (one,) = passages.cut(Document('a.md', (Section('Orders', ('x y',)),)), 10, 0)
  assert (one.place, one.to_embed) == ('a.md#Orders', 'Orders\nx y')


@pytest.mark.parametrize('size, overlap', [(7, 0), (10, 6), (10, -1)])
def test_sizes_that_cut_nothing_are_refused(size, overlap):
  with pytest.raises(ConfigError, match='_words='):
    passages.check_sizes(size, overlap)
