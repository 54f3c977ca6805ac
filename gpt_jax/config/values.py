"""Values of config fields by the types and ranges of a section's dataclass.

A problem names field, value, expectation and the nearest valid name.
"""

import ast
import dataclasses
import functools
import math
import types
import typing

from ml_collections import ConfigDict

from gpt_jax.config import schema
from gpt_jax.config.migrate import RENAMED_FIELDS, RENAMED_VALUES
from gpt_jax.config.schema import Config, DataConfig
from gpt_jax.core.errors import Problem
from gpt_jax.core.registry import nearest

_ATOMS = frozenset((str, int, float, bool, type(None)))
MAX_BUILT = 10_000  # sections that are kept
MAX_TEXT = 4096  # the longest path of Linux
NESTED_DICTS = (
  'parallel.mesh', 'parallel.overrides', 'data.mixture', 'eval.sets', 'task.files',
  'task.mixture',
  'task.columns',
)  # fmt: skip


def plain(value, sequence: type = tuple) -> typing.Any:
  """Returns `value` of plain dicts, and of tuples or lists, all the way down."""
  # Exact types first: a sweep makes this of a thousand configs.
  kind = type(value)
  if kind in _ATOMS:
    return value
  if isinstance(value, (dict, ConfigDict)):
    items = value.items()
  elif isinstance(value, (list, tuple)):
    return sequence([plain(item, sequence) for item in value])
  elif dataclasses.is_dataclass(value) and not isinstance(value, type):
    items = [(name, getattr(value, name)) for name in _field_names(kind)]
  else:
    return value
  return {
    key: item if type(item) in _ATOMS else plain(item, sequence) for key, item in items
  }


@functools.cache
def _field_names(cls):
  return [field.name for field in dataclasses.fields(cls)]


def override(values, key, value, problems, cls: type = Config, prefix=''):
  """Puts dotted `key` into `values` of `cls`, or adds to `problems` why it cannot.

  A string is read by the type of its field. `prefix`: of the names in problems.
  """
  *parents, last = key.split('.')
  node, dotted = values, ''
  for part in parents:
    dotted += part
    if not isinstance(node.get(part), dict):
      problems.append(unknown(prefix + dotted, part, node))
      return
    node, dotted = node[part], dotted + '.'
  is_free = any(key.startswith(name + '.') for name in NESTED_DICTS) and cls is Config
  annotation = _annotation(cls, key)
  if last not in node and annotation is None and not is_free:
    known = {**node, **_hints(cls, parents)}
    field = f'data.{key}' if cls is DataConfig else key
    problems.append(unknown(prefix + key, last, known, field))
    return
  if isinstance(value, str):
    value = _parse(value, annotation, _limits(cls, key))
  node[last] = plain(value)


def unknown(dotted, name, node, field=None):
  """Returns the Problem of a name that `node` lacks; `field`: the same in `data`."""
  if new := RENAMED_FIELDS.get(field or dotted):
    is_part = field not in (None, dotted)  # there, data fields go without the `data.`
    new = new.removeprefix('data.') if is_part else new
    return Problem(dotted, f': renamed; it is {new} now')
  if dotted == name and (found := fields_named(name)):  # without its section
    return Problem(dotted, f': unknown key; did you mean {" or ".join(found)}?')
  hint = nearest(name, node)
  known = (
    f'did you mean {hint!r}?' if hint else f'known here: {", ".join(sorted(node))}'
  )
  return Problem(dotted, f': unknown key; {known}')


def fields_named(name):
  """Returns the dotted fields of a Config whose name or last part is `name`."""
  found = [name] if _annotation(Config, name) else []
  for section in type_hints(Config):
    found += [f'{section}.{name}'] * (name in _hints(Config, [section]))
  return found


def _annotation(cls, key):
  *parents, last = key.split('.')
  return _hints(cls, parents).get(last)


def _limits(cls, key):
  *parents, last = key.split('.')
  for part in parents:
    cls = _hints(cls, ()).get(part)
  fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
  return next((field.metadata for field in fields if field.name == last), {})


def _hints(cls, parents):
  """Returns `{field: type}` of the section below `cls` that `parents` lead to."""
  for part in parents:
    cls = _hints(cls, ()).get(part)
  return type_hints(cls) if dataclasses.is_dataclass(cls) else {}


@functools.cache  # a sweep resolves thousands of configs
def type_hints(cls):
  """Returns `{field: type}` of a dataclass; not to be changed."""
  return typing.get_type_hints(cls)


def _parse(text, annotation, limits):
  """Returns `text` of the command line as a value of `annotation`, if it is one.

  For a tuple, a Python list or tuple gives the items. Any other text is one item as it
  stands, or items between commas where the field says that none holds any.
  """
  allowed = _alternatives(annotation)
  if type(None) in allowed and text in ('None', 'none', ''):
    return None
  if bool in allowed and text.lower() in ('true', 'false'):
    return text.lower() == 'true'
  if annotation is str:
    return text
  value = _literal(text)
  if tuple in allowed and not isinstance(value, tuple | list):
    is_of_texts = str in typing.get_args(annotation)
    if limits.get('is_comma_separated'):
      return tuple(part.strip() for part in text.split(',')) if text else ()
    return (text if is_of_texts else value,)
  if int in allowed and isinstance(value, float) and value.is_integer():
    return int(value)  # so that 1e9 tokens can be written as such
  return value


def _literal(text):
  """Returns the Python value that `text` spells, or `text` where it spells none."""
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text


@functools.cache
def _alternatives(annotation):
  """Returns the plain classes a value may have: `int | None` -> (int, NoneType)."""
  if isinstance(annotation, types.UnionType):
    parts = typing.get_args(annotation)
  else:
    parts = (annotation,)
  return tuple(typing.get_origin(part) or part for part in parts)


def build(cls, values, prefix, problems):
  """Returns dataclass `cls` of nested dicts, None where fields lack; adds problems."""
  # Thousands of points of a sweep have most sections in common, which are frozen. The
  # repr tells True from 1 and 1 from 1.0, as the checks do.
  key = (cls, prefix, repr(values)) if prefix else None
  if key in _BUILT:
    return _BUILT[key]
  found = []
  built = _build(cls, values, prefix, found)
  problems += found
  if key and not found and len(_BUILT) < MAX_BUILT:
    _BUILT[key] = built
  return built


_BUILT = {}  # (class, prefix, values as text) -> a section without problems


def _build(cls, values, prefix, problems):
  hints = type_hints(cls)
  for name in values:
    if name not in hints:
      problems.append(unknown(f'{prefix}{name}', name, hints))
  values = defaults(cls) | values
  built = {}
  for field in dataclasses.fields(cls):
    dotted, annotation = prefix + field.name, hints[field.name]
    if field.name not in values:
      is_core = cls.__module__ == schema.__name__
      way_out = 'start the config from configs/base.py' if is_core else 'set it'
      problems.append(Problem(dotted, f': missing; {way_out}'))
    elif dataclasses.is_dataclass(annotation):
      section = values[field.name]
      if isinstance(section, dict):
        built[field.name] = build(annotation, section, dotted + '.', problems)
      else:
        problems.append(Problem(dotted, f'={section!r}: expected a section of fields'))
    else:
      built[field.name] = _checked(
        dotted, values[field.name], annotation, field, problems
      )
  return cls(**built) if len(built) == len(hints) else None


def defaults(cls):
  """Returns the defaults of an entry's options; other sections have none."""
  found = {}
  for field in dataclasses.fields(cls):
    if field.default is not dataclasses.MISSING:
      found[field.name] = plain(field.default)
    elif field.default_factory is not dataclasses.MISSING:
      found[field.name] = plain(field.default_factory())
  return found


def _checked(dotted, value, annotation, field, problems):
  """Returns `value` in the field's type; adds what is wrong with its type or range."""
  allowed = _alternatives(annotation)
  if typing.Any in allowed:  # a check looks into those, where there is anything to know
    return value
  if float in allowed and type(value) is int and abs(value) < 2**63:
    value = float(value)
  if type(value) is tuple and tuple in allowed:
    (item,) = set(typing.get_args(annotation)) - {...}
    return tuple(
      _checked(f'{dotted}[{i}]', part, item, field, problems)
      for i, part in enumerate(value)
    )
  name = dotted.partition('[')[0]
  if isinstance(value, str) and (new := RENAMED_VALUES.get((name, value))):
    problems.append(Problem(name, f': {value!r} was renamed; it is {new!r} now'))
  elif text := _wrong_type(value, allowed) or _out_of_range(value, field.metadata):
    problems.append(Problem(dotted, text))
  return value


def _wrong_type(value, allowed):
  """Returns why `value` is of no type in `allowed`, None where it is."""
  if type(value) is int and abs(value) >= 2**63:
    return ': expected a number of at most 64 bits'
  # bool is an int to isinstance, but never what somebody means by a number.
  if type(value) not in allowed:
    expected = ' or '.join(t.__name__.replace('NoneType', 'None') for t in allowed)
    return f'={value!r}: expected {expected}, not {type(value).__name__}'
  if isinstance(value, float) and not math.isfinite(value):
    return f'={value!r}: expected a finite number'
  if isinstance(value, str) and (len(value) > MAX_TEXT or '\0' in value):
    return (
      f'={value[:40]!r}...: expected at most {MAX_TEXT} characters, none of them a zero'
      ' byte'
    )
  return None


def _out_of_range(value, limits):
  """Returns why `value` lies outside a field's `limits`, None where it does not."""
  if value is None or isinstance(value, dict):
    return None
  if 'choices' in limits and value not in limits['choices']:
    hint = nearest(value, limits['choices'])
    known = f'expected one of {", ".join(limits["choices"])}'
    return f'={value!r}: {known}' + (f'; did you mean {hint!r}?' if hint else '')
  if 'at_least' in limits and value < limits['at_least']:
    return f'={value!r}: expected at least {limits["at_least"]}'
  if 'at_most' in limits and value > limits['at_most']:
    return f'={value!r}: expected at most {limits["at_most"]}'
  if 'below' in limits and value >= limits['below']:
    return f'={value!r}: expected less than {limits["below"]}'
  if 'above' in limits and value <= limits['above']:
    return f'={value!r}: expected more than {limits["above"]}'
  return None
