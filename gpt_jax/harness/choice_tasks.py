"""Questions with choices: which one a model finds likeliest after the question.

Prompts and metrics are those of lm-evaluation-harness; it is not needed here.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gpt_jax.core.errors import DataError
from gpt_jax.harness import sets

BLIMP = (
  'anaphor_number_agreement',
  'determiner_noun_agreement_1',
  'irregular_past_participle_verbs',
)


class Question(NamedTuple):
  """A context and what may follow it, of which `answer` is right."""

  context: str
  choices: list[str]
  answer: int


class Task(NamedTuple):
  """Where questions come from."""

  records: Callable[..., list[dict[str, Any]]]
  """`(data_dir)` -> records of the set."""
  question: Callable[[dict[str, Any]], Question]
  separator: str = ' '
  """Between a context and a choice."""


def _piqa(record):
  context = f'Question: {record["goal"]}\nAnswer:'
  return Question(context, [record['sol1'], record['sol2']], record['label'])


def _blimp(record):
  return Question('', [record['sentence_good'], record['sentence_bad']], 0)


def _sst2(record):
  asked = 'Question: Is this sentence positive or negative?\nAnswer:'
  choices = ['negative', 'positive']
  return Question(f'{record["sentence"]}\n{asked}', choices, record['label'])


def _rte(record):
  asked = f'Question: {record["sentence2"]} True or False?\nAnswer:'
  return Question(f'{record["sentence1"]}\n{asked}', ['True', 'False'], record['label'])


def _ag_news(record):
  asked = 'Question: Is this about world, sports, business or technology?\nAnswer:'
  choices = ['world', 'sports', 'business', 'technology']
  text = f'{record["title"]}\n{record["description"]}'
  return Question(f'{text}\n{asked}', choices, record['label'])


def _chnsenticorp(record):
  asked = '问题：这条评论是正面的还是负面的？\n回答：'
  return Question(f'{record["text"]}\n{asked}', ['负面', '正面'], record['label'])


TASKS = {
  'piqa': Task(sets.piqa, _piqa),
  'sst2': Task(sets.sst2, _sst2),
  'rte': Task(sets.rte, _rte),
  'ag_news': Task(sets.ag_news, _ag_news),
  'chnsenticorp': Task(sets.chnsenticorp, _chnsenticorp, separator=''),
} | {
  f'blimp_{name}': Task(functools.partial(sets.blimp, name), _blimp) for name in BLIMP
}
GROUPS = {'blimp': [f'blimp_{name}' for name in BLIMP]}


def questions(name, data_dir=None, limit=None):
  """Returns the Questions of a task, the first `limit`. Raises DataError."""
  task = TASKS[name]
  try:
    found = [task.question(record) for record in task.records(data_dir)]
  except (KeyError, ValueError) as error:
    if isinstance(error, DataError):
      raise
    raise DataError(f'task {name}: its data has another form ({error!r}).') from error
  if not found:
    raise DataError(f'task {name}: its data set is empty.')
  return found[:limit]


def score(run, name, asked, advance=lambda count: None):
  """Returns the Scores of each choice of the Questions `asked` of a task."""
  separator = TASKS[name].separator
  return run.score_many(
    [(q.context, [separator + choice for choice in q.choices]) for q in asked], advance
  )


def metrics(asked, scores):
  """Returns the metrics of Questions by the Scores of their choices.

  `acc`: the likeliest choice is right; `acc_norm`: the likeliest per character; each
  with its standard error.
  """
  hits, hits_norm = [], []
  for question, group in zip(asked, scores, strict=True):
    log_probs = np.array([each.log_prob for each in group])
    lengths = np.array([len(choice) for choice in question.choices])
    hits.append(np.argmax(log_probs) == question.answer)
    hits_norm.append(np.argmax(log_probs / lengths) == question.answer)
  result: dict[str, float] = {'questions': len(asked)}
  for name, values in (('acc', hits), ('acc_norm', hits_norm)):
    result[name] = float(np.mean(values))
    # Of a mean of independent answers, as the harness has it.
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    result[f'{name}_stderr'] = deviation / math.sqrt(len(values))
  return result
