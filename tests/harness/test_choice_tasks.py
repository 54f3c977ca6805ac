"""The likeliest choice counts; by metrics that can be worked out by hand."""

import math

import pytest

from gpt_jax.core.errors import DataError
from gpt_jax.harness import choice_tasks
from gpt_jax.harness.choice_tasks import Question
from gpt_jax.inference.scoring import Score


class Preferring:
  """A run that finds each text as likely as `log_prob(context, text)` says."""

  def __init__(self, log_prob):
    self._log_prob = log_prob

  def score_many(self, items, advance):
    advance(sum(len(choices) for _, choices in items))
    return [
      [Score(self._log_prob(context, text), 1, False) for text in choices]
      for context, choices in items
    ]


@pytest.mark.parametrize('name', choice_tasks.TASKS)
def test_a_model_that_knows_the_answers_has_them_all(name, data_dir):
  asked = choice_tasks.questions(name, data_dir)
  separator = choice_tasks.TASKS[name].separator
  right = {(q.context, separator + q.choices[q.answer]) for q in asked}
  run = Preferring(lambda context, text: 0.0 if (context, text) in right else -99.0)
  found = choice_tasks.metrics(asked, choice_tasks.score(run, name, asked))
  assert (found['acc'], found['acc_norm'], found['questions']) == (1, 1, len(asked))


def test_norm_divides_by_the_characters_of_a_choice():
  asked = [Question('', ['ab', 'abcd'], 1), Question('', ['ab', 'abcd'], 1)]
  scores = [[Score(-3.0, 1, False), Score(-4.0, 2, False)]] * 2
  found = choice_tasks.metrics(asked, scores)
  assert (found['acc'], found['acc_norm']) == (0, 1)


def test_the_standard_error_is_that_of_a_mean():
  asked = [Question('', ['a', 'b'], answer) for answer in (0, 0, 0, 1)]
  scores = [[Score(-1.0, 1, False), Score(-2.0, 1, False)]] * 4
  found = choice_tasks.metrics(asked, scores)
  assert found['acc'] == 0.75
  assert found['acc_stderr'] == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_questions_are_those_of_the_data(data_dir):
  first = choice_tasks.questions('piqa', data_dir, limit=1)
  assert first == [
    Question(
      'Question: open a jar\nAnswer:', ['turn the lid', 'turn the lid of the moon'], 0
    )
  ]


def test_data_of_another_form_is_named(tmp_path):
  (tmp_path / 'blimp').mkdir()
  (tmp_path / 'blimp' / f'{choice_tasks.BLIMP[0]}.jsonl').write_text('{"good": "x"}')
  with pytest.raises(DataError, match="another form .*'sentence_good'"):
    choice_tasks.questions(f'blimp_{choice_tasks.BLIMP[0]}', tmp_path)
