"""JSON: an object a line, or one list of objects in a file."""

import json

from gpt_jax.core.errors import DataError
from gpt_jax.examples import content
from gpt_jax.examples.record import Record, shown

_ONE_LIST = ' If the file is one list of objects, set task.reader=json.'


def read_lines(paths, encoding):
  """Yields the objects of files that have one on each line; blank lines are none."""
  for path in paths:
    for place, line in content.filled_lines(path, encoding):
      yield Record(_an_object(_parsed_line(line, place), place), place)


def read_list(paths, encoding):
  """Yields the objects of files that are a list of objects each."""
  for path in paths:
    found = parsed(path, encoding)
    if not isinstance(found, list):
      is_squad = isinstance(found, dict) and 'data' in found
      hint = ' It looks like SQuAD: set task.reader=squad.' * is_squad
      raise DataError(f'{path}: expected a list of objects, not {shown(found)}.{hint}')
    for number, one in enumerate(found, start=1):
      place = f'{path}, object {number}'
      yield Record(_an_object(one, place), place)


def read_any(paths, encoding):
  """Yields the objects of .jsonl files line by line, of others from their one list."""
  for path in paths:
    is_lines = path.name.removesuffix('.gz').endswith(('.jsonl', '.ndjson'))
    yield from (read_lines if is_lines else read_list)([path], encoding)


def parsed(path, encoding):
  """Returns the one JSON value that a file is. Raises DataError, naming the line."""
  text = content.text_of(path, encoding)
  try:
    return json.loads(text)
  except RecursionError as error:
    raise _too_deep(path) from error
  except ValueError as error:
    line = getattr(error, 'lineno', 1)
    is_lines = 'Extra data' in str(error)
    hint = ' With an object on each line, set task.reader=jsonl.' * is_lines
    raise DataError(f'{path}, line {line}: not JSON ({error}).{hint}') from error


def _parsed_line(line, place):
  try:
    return json.loads(line)
  except RecursionError as error:
    raise _too_deep(place) from error
  except ValueError as error:
    hint = _ONE_LIST * (line.strip() in ('[', '[{', '{'))
    raise DataError(
      f'{place}: not JSON ({error}): {shown(line)}; expected an object.{hint}'
    ) from error


def _an_object(found, place):
  if isinstance(found, dict):
    return found
  hint = _ONE_LIST * isinstance(found, list)
  raise DataError(f'{place}: expected a JSON object, not {shown(found)}.{hint}')


def _too_deep(place):
  return DataError(f'{place}: JSON that is nested too deeply to be read.')
