"""Whether the fields of an experiment hold what their annotations say.

A comma forgotten or a text in place of a tuple is told as that, by field and line,
before anything stumbles over it.
"""

import dataclasses
import numbers
import re
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from gpt_jax.sweeps.mistakes import Mistake

_WORDS = {
  str: 'a text', int: 'a whole number', float: 'a number', bool: 'True or False',
  tuple: 'a tuple', Mapping: 'a dict', Callable: 'a function',
}  # fmt: skip
_OVERRIDES = 'a dict of overrides, {config field: value}'
_OF_FIELD = {
  'base': 'the name of a config',
  'columns': 'a dict of a metric or a function for each heading',
  'overrides': _OVERRIDES,
  'sweep': 'settings made by vary, product, ...',
  'sweep[]': 'a dict {config field: value}',
  'rows[]': _OVERRIDES,
  'columns[]': 'a metric or a function',
}
"""What is expected of a field, or of each of its items (`[]`), in better words."""
_WAYS_OUT = {
  'sweep': "one setting alone is ({'FIELD': VALUE},), with its comma",
  'sweep[]': 'to combine two axes: product(a, b)',
}


def mistakes_of(experiment):
  """Returns the Mistakes of fields of an Experiment that have another type."""
  return list(_of_fields(experiment, '', ()))


def _of_fields(one, place, anchors):
  for field, hint in typing.get_type_hints(type(one)).items():
    yield from _of_value(getattr(one, field), hint, place, field, (*anchors, field))


def _of_value(value, hint, place, field, anchors):
  kind, args = typing.get_origin(hint) or hint, typing.get_args(hint)
  if kind in (typing.Union, types.UnionType):
    tried = [list(_of_value(value, arg, place, field, anchors)) for arg in args]
    if all(tried):
      yield _mistake(value, _words(field, hint), place, field, anchors)
  elif not _is_a(value, kind):
    way_out = _WAYS_OUT.get(re.sub(r'\[.*', '[]', field), '')
    if kind is tuple and not way_out:
      way_out = 'a tuple of one ends in a comma'
    yield _mistake(value, _words(field, hint), place, field, anchors, way_out)
  elif dataclasses.is_dataclass(kind):
    yield from _of_fields(value, _named(value, place, field), anchors)
  elif kind is tuple and args:
    told, wanted = set(), typing.get_origin(args[0]) or args[0]
    for i, item in enumerate(value):
      # Of two axes that nobody has combined, the first one says it.
      if type(item) not in told:
        yield from _of_value(item, args[0], place, f'{field}[{i}]', anchors)
      if not _is_a(item, wanted):
        told.add(type(item))
  elif kind is Mapping:
    for key, item in value.items():
      inner = f'{field}[{key!r}]'
      if isinstance(key, str) and key:
        yield from _of_value(item, args[1], place, inner, (*anchors, key))
      else:
        text = f'{place}{inner}: expected a name, a text that is not empty'
        yield Mistake(text, anchors)


def _is_a(value, kind):
  if kind is Any:
    return True
  if kind in (int, float):
    wanted = numbers.Integral if kind is int else numbers.Real
    return isinstance(value, wanted) and not isinstance(value, bool)
  if kind is tuple:  # any sequence that is no text will do
    return isinstance(value, (tuple, list, range))
  return value is None if kind is types.NoneType else isinstance(value, kind)


def _named(one, place, field):
  """Returns how a Size, Claim, Figure, Line or Range is called in messages."""
  name = getattr(one, 'name', getattr(one, 'label', None))
  if not isinstance(name, str) or not name:
    return f'{place}{field}: '
  return f'{place}{type(one).__name__.lower()} {name!r}: '


def _words(field, hint):
  name, is_item, _ = field.partition('[')
  if (words := _OF_FIELD.get(f'{name}[]' if is_item else name)) is not None:
    return words
  kind = typing.get_origin(hint) or hint
  if kind in (typing.Union, types.UnionType):
    parts = [arg for arg in typing.get_args(hint) if arg is not types.NoneType]
    return ' or '.join(_words('', part) for part in parts)
  if kind is tuple and typing.get_args(hint):
    of = typing.get_args(hint)[0]
    return f'a tuple of {_words("", of).removeprefix("a ")}s'
  return _WORDS.get(kind) or f'a {kind.__name__}'


def _mistake(value, words, place, field, anchors, way_out=''):
  text = f'{place}{field}={reprlib.repr(value)}: expected {words}'
  text += '' if value is None else f', not {type(value).__name__}'
  return Mistake(f'{text}; {way_out}' if way_out else text, anchors)
