"""Questions to measure by."""

import json

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.examples import splits
from gpt_jax.retrieval.passages import Passage
from gpt_jax.support import questions
from gpt_jax.support.questions import Question


def write_squad(path, count=40):
  def paragraph(i):
    text = f'The code of house {i} is k{i}.'
    answer = dict(text=f'k{i}', answer_start=text.index(f'k{i}'))
    asked = dict(id=f'q{i}', question=f'What is code {i}?', answers=[answer])
    return dict(context=text, qas=[asked])

  data = [dict(title=f'House {i}', paragraphs=[paragraph(i)]) for i in range(count)]
  path.write_text(json.dumps(dict(data=data)))
  return path


def test_splits_are_those_of_a_training_on_the_file(tmp_path):
  path = write_squad(tmp_path / 'squad.json')
  found = questions.load(path, 'test')
  trained = splits.load({'all': str(path)}, 'squad', {}, 'train')
  assert 0 < len(found) < 20
  assert not {one.text for one in found} & {one.values['question'] for one in trained}
  assert (
    found[0].heading.startswith('House') and found[0].answers[0] in found[0].context
  )
  assert len(questions.load(path, 'all', 7)) == 7


def test_lines_say_where_the_answer_is(tmp_path):
  path = tmp_path / 'q.jsonl'
  path.write_text(
    '{"question": "a?", "answers": ["x"], "file": "f.md"}\n'
    '{"question": "b?", "answers": []}\n'
  )
  assert questions.load(path) == [
    Question('a?', ('x',), 'f.md'), Question('b?', ()),
  ]  # fmt: skip


@pytest.mark.parametrize(
  'line, said',
  [('{"question": "a?"}', "no 'answers'"), ('{"answers": []}', "no 'question'"),
   ('{"question": "a?", "answers": [1]}', 'a list of texts'),
   ('{"question": "a?", "answers": [], "file": 1}', 'have to be texts')],
)  # fmt: skip
def test_a_line_that_lacks_something_is_named(tmp_path, line, said):
  path = tmp_path / 'q.jsonl'
  path.write_text(line + '\n')
  with pytest.raises(DataError, match=f'q.jsonl.*1.*{said}'):
    questions.load(path)


@pytest.mark.parametrize(
  'passage, is_right',
  [
    (Passage('f', 'H', 'a text\nwith k1 in it, and more'), True),  # more paragraphs
    (Passage('f', 'H', 'with k1 in it'), True),  # a part
    (Passage('f', 'H', 'a text with'), False),  # the part without the answer
    (Passage('f', 'G', 'a text with k1 in it'), False),
    (Passage('f', 'H', 'k1 is another'), False),
  ],
)
def test_a_passage_is_right_with_the_answer_in_its_place(passage, is_right):
  asked = Question('?', ('k1',), '', 'H', 'a text with  k1 in it')
  assert asked.is_answered_by(passage) == is_right
