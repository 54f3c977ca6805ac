"""Checks values by the part of JSON Schema that our OpenAPI page is written in.

One table says what a route takes: it is published and it is what is checked.
"""

import math
import re

from gpt_jax.core.registry import nearest
from gpt_jax.serving.errors import invalid

_TYPES = {
  'string': str,
  'boolean': bool,
  'array': list,
  'object': dict,
  'null': type(None),
}


def optional(schema):
  """Returns a schema that takes null as well."""
  if 'anyOf' in schema:
    return schema | {'anyOf': [*schema['anyOf'], {'type': 'null'}]}
  found = schema | {'type': [schema['type'], 'null']}
  return found | ({'enum': [*schema['enum'], None]} if 'enum' in schema else {})


def check(value, schema, path=''):
  """Returns `value` with whole numbers as ints; ApiError 400 names the field.

  Knows type, enum, minimum, maximum, minLength, maxLength, minItems, maxItems, items,
  properties, required, additionalProperties, maxProperties, pattern and anyOf.
  """
  if 'anyOf' in schema:
    return _check_any(value, schema, path)
  value = _check_type(value, schema, path)
  if 'enum' in schema and value not in schema['enum']:
    known = ', '.join(str(one) for one in schema['enum'] if one is not None)
    raise invalid(path, f'{_shown(value)} is not known; expected one of {known}.')
  if isinstance(value, bool) or value is None:
    return value
  if isinstance(value, int | float):
    _check_range(value, schema, path, 'minimum', 'maximum', '')
  elif isinstance(value, str):
    _check_range(len(value), schema, path, 'minLength', 'maxLength', ' characters')
    if 'pattern' in schema and not re.search(schema['pattern'], value):
      raise invalid(path, f'{_shown(value)}; expected {schema["pattern"]}.')
  elif isinstance(value, list):
    _check_range(len(value), schema, path, 'minItems', 'maxItems', ' entries')
    items = schema.get('items', {})
    if items.get('type') != 'integer' or not _are_whole(value, items):
      return [check(each, items, f'{path}[{i}]') for i, each in enumerate(value)]
  elif isinstance(value, dict):
    return _check_object(value, schema, path)
  return value


def _check_any(value, schema, path):
  errors = []
  for each in schema['anyOf']:
    if not _fits(value, each):
      continue
    try:
      return check(value, each, path)
    except Exception as error:
      errors.append(error)
  if errors:
    raise errors[0]
  raise invalid(path, f'{_shown(value)}; expected {_expected(schema)}.')


def _fits(value, schema):
  """Returns whether the types agree, those of the entries of lists included."""
  types = _types(schema)
  if types and not any(_is_type(value, one) for one in types):
    return False
  if isinstance(value, list) and value and _types(schema.get('items', {})):
    return any(_is_type(value[0], one) for one in _types(schema['items']))
  return True


def _types(schema):
  types = schema.get('type', ())
  return (types,) if isinstance(types, str) else tuple(types)


def _is_type(value, name):
  if name == 'integer':
    return _is_whole(value)
  if name == 'number':
    return isinstance(value, int | float) and not isinstance(value, bool)
  return isinstance(value, _TYPES[name])


def _is_whole(value):
  if isinstance(value, bool):
    return False
  return isinstance(value, int) or (
    isinstance(value, float) and math.isfinite(value) and value == int(value)
  )


def _check_type(value, schema, path):
  types = _types(schema)
  if types and not any(_is_type(value, one) for one in types):
    raise invalid(path or 'body', f'{_shown(value)}; expected {_expected(schema)}.')
  if 'integer' in types and isinstance(value, float):
    return int(value)
  return value


def _check_range(size, schema, path, low, high, unit):
  least, most = schema.get(low), schema.get(high)
  if (least is not None and size < least) or (most is not None and size > most):
    bounds = [f'at least {least:,}' if least is not None else '']
    bounds += [f'at most {most:,}' if most is not None else '']
    expected = ' and '.join(filter(None, bounds))
    raise invalid(path, f'{size:,}{unit}; expected {expected}{unit}.')


def _are_whole(values, items):
  """Returns whether all are ints in range: long lists of ids are checked at once."""
  if not all(type(value) is int for value in values):
    return False
  if not values:
    return True
  low, high = items.get('minimum', -math.inf), items.get('maximum', math.inf)
  return low <= min(values) and max(values) <= high


def _check_object(value, schema, path):
  properties, prefix = schema.get('properties', {}), f'{path}.' if path else ''
  for name in schema.get('required', ()):
    if name not in value:
      raise invalid(prefix + name, 'missing; it has to be given.')
  _check_range(len(value), schema, path, 'minProperties', 'maxProperties', ' members')
  others, found = schema.get('additionalProperties', True), {}
  for name, each in value.items():
    if name in properties:
      found[name] = check(each, properties[name], prefix + name)
    elif others is False:
      raise unknown(prefix + name, name, properties)
    else:
      rules = others if isinstance(others, dict) else {}
      found[name] = check(each, rules, prefix + name)
  return found


def unknown(path, name, properties):
  """Returns the ApiError of a field that is not supported."""
  hint = nearest(name[:80], list(properties))
  more = f'; did you mean {hint}?' if hint else '.'
  return invalid(path[:80], f'is not supported here{more}', 'unsupported_parameter')


def _expected(schema):
  if 'anyOf' in schema:
    return ' or '.join(dict.fromkeys(_expected(each) for each in schema['anyOf']))
  types = [one for one in _types(schema) if one != 'null']
  names = {'array': 'a list', 'object': 'an object', 'integer': 'a whole number'}
  found = ' or '.join(names.get(one, f'a {one}') for one in types) or 'null'
  if 'array' in types and (items := schema.get('items')):
    found += f' of entries that are each {_expected(items)}'
  return found


def _shown(value):
  if isinstance(value, dict):
    return 'an object'
  if isinstance(value, list):
    return 'a list'
  if value is None:
    return 'null'
  text = repr(value) if isinstance(value, str) else str(value).lower()
  return text[:60].encode('utf-8', 'backslashreplace').decode()
