"""Answers without a model."""

import math

import pytest

from gpt_jax.support import answer
from gpt_jax.support.sentence_answerer import SentenceAnswerer
from tests.support import shop


@pytest.fixture(scope='module')
def searcher(tmp_path_factory):
  return shop.make_searcher(tmp_path_factory.mktemp('shop'), with_vectors=False)


@pytest.mark.parametrize('question, said, file', shop.ASKED)
def test_the_sentence_with_the_answer_is_found(searcher, question, said, file):
  hits = searcher.search(question, 5)
  (found,) = SentenceAnswerer().answer_many([(question, hits)])
  assert said in found.text and hits[found.number].passage.file == file
  assert found.log_prob <= 0


def test_headings_count_half(searcher):
  question = 'returns days'
  hits = searcher.search(question, 1)
  (found,) = SentenceAnswerer().answer_many([(question, hits)])
  assert found.text == 'Return lamps within 30 days.'
  # Both terms are in the sentence, whose 'return' is that of the heading, too.
  assert found.log_prob == pytest.approx(0)
  (other,) = SentenceAnswerer().answer_many([('returns bulbs', hits)])
  weights = [math.log(1 + 2 / 2)] * 2  # each term is in one of two sentences
  expected = (weights[0] + 0.5 * weights[1]) / sum(weights)
  assert other.log_prob == pytest.approx(math.log(expected))


def test_a_passage_that_shares_nothing_has_no_answer(searcher):
  hits = searcher.search('postage', 1)
  assert SentenceAnswerer().answer_many([('opera singers', hits)]) == [answer.NONE]
