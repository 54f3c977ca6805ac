"""SQuAD: every answer stands at its offset, or is an error."""

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import squad

CONTEXT = 'Ein Bär, und 三 mehr Bär.'


def article(**question):
  asked = {'id': 'q1', 'question': 'Wer?', 'answers': []} | question
  paragraph = {'context': CONTEXT, 'qas': [asked]}
  return {'version': '2.0', 'data': [{'title': 'Bären', 'paragraphs': [paragraph]}]}


def answers(*pairs):
  return [{'text': text, 'answer_start': start} for text, start in pairs]


def test_questions_have_context_title_and_answers(write):
  given = article(answers=answers(('Bär', 4), ('Bär', 20), ('三', 13)))
  (found,) = squad.read([write('a.json', given)], 'utf-8')
  values = found.values
  assert found.place.endswith('a.json, question q1')
  assert values['title'] == 'Bären' and values['question'] == 'Wer?'
  for answer in values['answers']:
    start = answer['start']
    assert values['context'][start : start + len(answer['text'])] == answer['text']


def test_a_question_without_an_answer_has_none(write):
  given = article(is_impossible=True, plausible_answers=answers(('x', 9)))
  (found,) = squad.read([write('a.json', given)], 'utf-8')
  assert found.values['answers'] == []


@pytest.mark.parametrize(
  'start, text, fix',
  [
    (5, 'Bär', "5 has 'är,'; expected the answer 'Bär'. It stands at 4: set"),
    (19, 'Bär', 'It stands at 20'),
    (-3, 'Bär', 'It stands at 4'),
    (0, 'Wolf', 'does not have it: correct its text'),
    (0, '', 'does not have it'),
  ],
)
def test_an_answer_beside_its_offset_is_named(write, start, text, fix):
  path = write('a.json', article(answers=answers((text, start))))
  with pytest.raises(DataError, match=f'a.json, question q1: answer_start=.*{fix}'):
    list(squad.read([path], 'utf-8'))


def test_a_file_of_a_test_set_has_questions_alone(write):
  content = article(answers=[])
  (question,) = content['data'][0]['paragraphs'][0]['qas']
  del question['answers']
  (record,) = squad.read([write('a.json', content)], 'utf-8')
  assert record.values['question'] and 'answers' not in record.values


@pytest.mark.parametrize(
  'content, message',
  [
    ([], "expected an object with 'data', not"),
    ({'version': '1.1'}, "no 'data'; there are 'version'"),
    ({'data': [{'title': 'x'}]}, "article 1: no 'paragraphs'"),
    (article(answers=None), "question q1: 'answers' is None; expected a list"),
    (article(answers=[{'text': 'Bär'}]), "question q1: no 'answer_start'"),
  ],
)
def test_other_json_is_named(write, content, message):
  with pytest.raises(DataError, match=message):
    list(squad.read([write('a.json', content)], 'utf-8'))
