"""Questions answered from an index."""

import pytest

from gpt_jax.retrieval.passages import Passage
from gpt_jax.support import confidence, service
from tests.support import shop

PASSAGE = Passage('a.md', 'H', 'One is here. Mr. Two is 5.5 m tall, there. Three.')


@pytest.fixture
def made(tmp_path):
  return shop.make_service(tmp_path, shop.KnowingAnswerer())


def threshold(value):
  """Returns a Confidence that is the probability of the answerer alone."""
  return confidence.Confidence(
    (0, 0, 0), (1, 1, 1), (0, 0, 1), 0, value, 0.0, 0.0, 9, 9
  )


def test_an_answer_cites_where_it_is_from(made):
  found = made.answer('How tall is the lamp Lumo?')
  assert found.text == '45 cm [1]' and found.confidence is None
  (one,) = found.citations
  assert (one.number, one.place) == (1, 'lamps.md#Lamps')
  assert one.quote == 'The lamp Lumo is 45 cm tall.'
  values = found.to_dict()
  assert values['answer'] == '45 cm' and len(values['passages']) == 3


def test_below_the_threshold_nothing_is_said(made):
  made.confidence = threshold(0.2)
  sure, unsure = made.answer(shop.ASKED[0][0]), made.answer('Which lamp sings?')
  assert sure.is_sure and sure.confidence > 0.4
  assert not unsure.is_sure and unsure.confidence < 0.1
  assert unsure.text == '' and unsure.citations == ()
  assert unsure.to_dict()['answer'] is None


def test_nothing_is_found_for_words_that_nobody_knows(tmp_path):
  made = shop.make_service(tmp_path, with_vectors=False)
  found = made.answer('xyzzy')
  assert found is service.NOTHING and not found.is_sure
  assert made.knows('lamps') and not made.knows('xyzzy')


def test_search_may_be_for_something_else(made):
  found = made.answer('What colour?', 'Which colour has the cable?')
  assert found.hits[0].passage.file == 'lamps.md'


@pytest.mark.parametrize(
  'text, quote',
  [
    ('5.5 m', 'Mr. Two is 5.5 m tall, there.'),
    ('there. Three', 'Mr. Two is 5.5 m tall, there. Three'),
    ('not there', PASSAGE.text),
  ],
)
def test_the_sentence_with_the_answer_is_quoted(text, quote):
  assert service.cite(PASSAGE, text).quote == quote


def test_a_threshold_is_of_an_answerer_and_a_search(made):
  assert made.key == 'knowing / fused' and made.count == 2
