"""SQuAD: questions about paragraphs, with answers that are spans of them.

Versions 1.1 (arXiv:1606.05250) and 2.0, whose questions may have no answer
(arXiv:1806.03822).
"""

from typing import Any

from gpt_jax.core.errors import DataError
from gpt_jax.examples import json_files
from gpt_jax.examples.record import Record, shown, value


def read(paths, encoding):
  """Yields {'id', 'title', 'context', 'question', 'answers': [{'text', 'start'}]}.

  `answers` is [] where there is none, and not there where the file tells none, as that
  of a test set. Raises DataError for an answer that does not stand at its offset, which
  counts characters.
  """
  for path in paths:
    content = json_files.parsed(path, encoding)
    if not isinstance(content, dict):
      raise DataError(f"{path}: expected an object with 'data', not {shown(content)}.")
    for number, article in enumerate(value(content, 'data', path, list), start=1):
      place = f'{path}, article {number}'
      paragraphs = value(article, 'paragraphs', place, list)
      for one, paragraph in enumerate(paragraphs, start=1):
        where = f'{place}, paragraph {one}'
        for question in value(paragraph, 'qas', where, list):
          yield _record(path, where, article, paragraph, question)


def _record(path, where, article, paragraph, question):
  name = str(value(question, 'id', where, (str, int)))
  place = f'{path}, question {name}'
  context = value(paragraph, 'context', where, str)
  values: dict[str, Any] = {
    'id': name,
    'title': str(article.get('title', '')),
    'context': context,
    'question': value(question, 'question', place, str),
  }
  if question.get('is_impossible'):
    values['answers'] = []
  elif 'answers' in question:
    given = value(question, 'answers', place, list)
    values['answers'] = [_answer(answer, context, place) for answer in given]
  return Record(values, place)


def _answer(answer, context, place):
  text = value(answer, 'text', place, str)
  start = value(answer, 'answer_start', place, int)
  found = context[start : start + len(text)] if start >= 0 else ''
  if not text or found != text:
    raise DataError(
      f'{place}: answer_start={start} has {shown(found)}; expected the answer'
      f' {shown(text)}. {_fix(text, start, context)}'
    )
  return {'text': text, 'start': start}


def _fix(text, start, context):
  places, position = [], context.find(text) if text else -1
  while position >= 0:
    places.append(position)
    position = context.find(text, position + 1)
  if not places:
    return 'The paragraph does not have it: correct its text, or leave the answer out.'
  closest = min(places, key=lambda position: abs(position - start))
  return f'It stands at {closest}: set answer_start to that (characters, not bytes).'
