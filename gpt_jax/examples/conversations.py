"""Conversations: instructions with their answers, turns, and preferred answers."""

from typing import Any

from gpt_jax.core.errors import DataError
from gpt_jax.core.registry import nearest
from gpt_jax.examples import json_files
from gpt_jax.examples.record import Record, shown, value

ROLES = {
  'human': 'user', 'user': 'user', 'gpt': 'assistant', 'assistant': 'assistant',
  'system': 'system',
}  # fmt: skip
"""What a file calls who speaks -> the role of a message."""


def read_alpaca(paths, encoding):
  """Yields {'messages'} of objects with `instruction`, `input` and `output`.

  One of the user, the instruction and after a blank line the input where there is one;
  one of the assistant. Before them a `system` text and the pairs of `history`, where
  the object has them. .jsonl files have an object a line, others are a list.
  """
  for record in json_files.read_any(paths, encoding):
    values, place = record.values, record.place
    messages = []
    if values.get('system'):
      messages.append(message('system', value(values, 'system', place, str), place))
    for pair in values.get('history') or []:
      if not isinstance(pair, list) or len(pair) != 2:
        raise DataError(
          f"{place}: 'history' has {shown(pair)}; expected [question, answer]."
        )
      messages += _exchange(pair[0], pair[1], place)
    asked = value(values, 'instruction', place, str)
    if given := values.get('input'):
      asked += '\n\n' + value({'input': given}, 'input', place, str)
    messages += _exchange(asked, value(values, 'output', place, str), place)
    yield Record({'messages': messages}, place)


def read_sharegpt(paths, encoding):
  """Yields {'messages'} of `conversations`, lists of {'from', 'value'}.

  With `chosen` and `rejected`, where the object has them: two answers to the messages,
  each a message too.
  """
  for record in json_files.read_any(paths, encoding):
    values, place = record.values, record.place
    turns = value(values, 'conversations', place, list)
    if not turns:
      raise DataError(f"{place}: 'conversations' is empty; expected turns.")
    found: dict[str, Any] = {
      'messages': [
        _turn(turn, f'{place}, turn {number}') for number, turn in enumerate(turns, 1)
      ]
    }
    if 'chosen' in values or 'rejected' in values:
      for key in ('chosen', 'rejected'):
        found[key] = _turn(value(values, key, place, dict), f'{place}, {key}')
    yield Record(found, place)


def message(role, text, place):
  """Returns {'role', 'content'}; DataError for a text that is none or blank."""
  if not isinstance(text, str) or not text.strip():
    raise DataError(
      f'{place}: the text of the {role} is {shown(text)}; expected words. Mend or'
      ' delete the example.'
    )
  return {'role': role, 'content': text}


def _exchange(asked, answer, place):
  return [message('user', asked, place), message('assistant', answer, place)]


def _turn(turn, place):
  if not isinstance(turn, dict):
    raise DataError(f"{place}: {shown(turn)}; expected {{'from', 'value'}}.")
  speaker = value(turn, 'from', place, str)
  if speaker not in ROLES:
    hint = nearest(speaker, ROLES)
    raise DataError(
      f"{place}: 'from' is {speaker!r}; expected one of {', '.join(ROLES)}"
      + (f'; did you mean {hint!r}?' if hint else '.')
    )
  return message(ROLES[speaker], value(turn, 'value', place, str), place)
