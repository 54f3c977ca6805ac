"""Sentences end where English and Chinese end them; the lead is the first of them."""

import pytest

from gpt_jax.baselines import lead


@pytest.mark.parametrize(
  'text, sentences',
  [
    ('It rained. We left! Why? ', ['It rained.', 'We left!', 'Why?']),
    ('It cost 3.5 dollars. Yes.', ['It cost 3.5 dollars.', 'Yes.']),
    ('Mr. Smith met J. Doe. They ate.', ['Mr. Smith met J. Doe.', 'They ate.']),
    ('She said "Go." He went.', ['She said "Go."', 'He went.']),
    ('Wait... what?', ['Wait...', 'what?']),
    ('我来了。你呢？走吧！', ['我来了。', '你呢？', '走吧！']),
    ('他说：“好。”然后走了。', ['他说：“好。”', '然后走了。']),
    ('a title\n\nThe text', ['a title', 'The text']),
    ('no end', ['no end']),
    (' \n ', []),
    ('', []),
  ],
)
def test_sentences_end_at_their_marks(text, sentences):
  assert lead.sentences(text) == sentences


def test_spans_are_places_in_the_text():
  text = '  One here.  Two, 二。三 '
  spans = lead.sentence_spans(text)
  assert [text[start:end] for start, end in spans] == lead.sentences(text)
  assert spans == sorted(spans)
  # Nothing but white space is left out.
  left = text
  for start, end in reversed(spans):
    left = left[:start] + left[end:]
  assert not left.strip()


def test_the_lead_is_the_first_sentences():
  assert lead.lead_sentences(['A b.  C d. E.', 'F'], 2) == ['A b. C d.', 'F']
  assert lead.lead_sentences(['我来了。你呢？走吧！'], 2) == ['我来了。你呢？']
  assert lead.lead_sentences(['', 'A.'], 1) == ['', 'A.']


def test_lines_of_a_dialogue_are_joined():
  dialogue = 'Ann: Hi. How are you?\n\nBen: Fine.\r\nAnn: Bye.'
  assert lead.lead_lines([dialogue, ''], 2) == ['Ann: Hi. How are you? Ben: Fine.', '']
