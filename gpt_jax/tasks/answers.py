"""What records of questions about a text have: contexts and answers."""

from gpt_jax.core.errors import DataError
from gpt_jax.evaluation import chinese
from gpt_jax.tasks.task import Task


def check_answers(record, needs_start=True):
  """Raises DataError unless `answers`, if there, is a list of {'text', 'start'}.

  [] says that there is no answer; None, or no field, that none is known.
  """
  answers = record.values.get('answers')
  if answers is None:
    return
  kinds = {'text': str, 'start': int} if needs_start else {'text': str}
  is_right = isinstance(answers, list) and all(
    isinstance(one, dict)
    and all(isinstance(one.get(key), kind) for key, kind in kinds.items())
    and one['text'].strip()
    for one in answers
  )
  if not is_right:
    raise DataError(
      f'{record.place}: answers={str(answers)[:80]}: expected a list of'
      f' {{{", ".join(repr(key) for key in kinds)}}}, [] where there is no answer.'
    )


def answer_texts(record):
  """Returns the texts of a record's answers, [] where it has none, None if unknown."""
  answers = record.values.get('answers')
  return None if answers is None else [one['text'] for one in answers]


def language_of(name, records):
  """Returns `name`, of `answer_scores.TOKENS`; of 'auto' that of the contexts."""
  if name != 'auto':
    return name
  contexts = [record.values['context'] for record in records]
  return 'zh' if chinese.is_chinese(contexts) else 'en'


class QuestionTask(Task):
  """Base of tasks that answer questions: what is right, its scores, and a baseline.

  Predictions have the answer as `text`, '' for none.
  """

  def gold(self, record):
    return answer_texts(record)

  def score(self, records, predictions):
    from gpt_jax.evaluation.answer_scores import answer_scores

    return answer_scores(
      [self.gold(record) for record in records],
      [one['text'] for one in predictions],
      language_of(self.cfg.options.language, records),
    )

  def baselines(self, train, records):
    from gpt_jax.baselines.nearest_answer import nearest_answer

    del train
    found = nearest_answer(
      [record.values['context'] for record in records],
      [record.values['question'] for record in records],
    )
    return {'nearest sentence': found}
