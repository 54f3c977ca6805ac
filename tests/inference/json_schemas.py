"""Fifty JSON schemas: every keyword that a grammar can keep, alone and nested."""

PERSON = {
  'type': 'object',
  'properties': {
    'name': {'type': 'string', 'minLength': 1, 'maxLength': 12},
    'age': {'type': 'integer', 'minimum': 0, 'maximum': 150},
  },
  'required': ['name', 'age'],
  'additionalProperties': False,
}
TREE = {
  '$defs': {
    'node': {
      'type': 'object',
      'properties': {
        'value': {'type': 'integer'},
        'children': {'type': 'array', 'items': {'$ref': '#/$defs/node'}},
      },
      'required': ['value', 'children'],
      'additionalProperties': False,
    }
  },
  '$ref': '#/$defs/node',
}


def _object(required=(), closed=True, **properties):
  schema = {'type': 'object', 'properties': properties, 'required': list(required)}
  return schema | ({'additionalProperties': False} if closed else {})


def _array(items, **bounds):
  return {'type': 'array', 'items': items, **bounds}


STRING, INTEGER, NUMBER = {'type': 'string'}, {'type': 'integer'}, {'type': 'number'}
SCHEMAS = {
  'anything': True,
  'empty': {},
  'null': {'type': 'null'},
  'boolean': {'type': 'boolean'},
  'string': STRING,
  'integer': INTEGER,
  'number': NUMBER,
  'object': {'type': 'object'},
  'array': {'type': 'array'},
  'several types': {'type': ['string', 'null', 'integer']},
  'const': {'const': 'exactly this'},
  'const number': {'const': 12.5},
  'const object': {'const': {'a': [1, None, True]}},
  'enum': {'enum': ['red', 'green', 'blue']},
  'mixed enum': {'enum': ['a', 1, None, False, [2]]},
  'short string': {'type': 'string', 'maxLength': 3},
  'long string': {'type': 'string', 'minLength': 20, 'maxLength': 30},
  'exact length': {'type': 'string', 'minLength': 5, 'maxLength': 5},
  'pattern': {'type': 'string', 'pattern': '^[A-Z]{2}-[0-9]{4}$'},
  'repeated pattern': {'type': 'string', 'pattern': '^(ab|cd)+$'},
  'date': {'type': 'string', 'format': 'date'},
  'time': {'type': 'string', 'format': 'time'},
  'date and time': {'type': 'string', 'format': 'date-time'},
  'email': {'type': 'string', 'format': 'email'},
  'uuid': {'type': 'string', 'format': 'uuid'},
  'ipv4': {'type': 'string', 'format': 'ipv4'},
  'least and most': {'type': 'integer', 'minimum': 100, 'maximum': 999},
  'negative': {'type': 'integer', 'maximum': -5},
  'between': {'type': 'number', 'exclusiveMinimum': 0, 'exclusiveMaximum': 1},
  'multiple': {'type': 'integer', 'multipleOf': 5},
  'numbers': _array(NUMBER, maxItems=5),
  'exactly three': _array(INTEGER, minItems=3, maxItems=3),
  'at least two': _array({'type': 'boolean'}, minItems=2),
  'tuple': {
    'type': 'array',
    'prefixItems': [STRING, INTEGER],
    'items': False,
    'minItems': 2,
  },
  'array of arrays': _array(_array(INTEGER, maxItems=2), maxItems=3),
  'person': PERSON,
  'people': _array(PERSON, minItems=1, maxItems=3),
  'optional fields': _object(a=INTEGER, b=STRING, c={'type': 'null'}),
  'one required of three': _object(['b'], a=INTEGER, b=STRING, c=NUMBER),
  'open object': _object(['id'], closed=False, id=INTEGER),
  'map of integers': {'type': 'object', 'additionalProperties': INTEGER},
  'named by pattern': {
    'type': 'object',
    'patternProperties': {'^x_[a-z]+$': INTEGER},
    'additionalProperties': False,
  },
  'deep': _object(
    ['a'], a=_object(['b'], b=_object(['c'], c=_object(['d'], d=STRING)))
  ),
  'wide': _object(
    [f'f{i}' for i in range(12)], **{f'f{i}': INTEGER for i in range(12)}
  ),
  'any of': {'anyOf': [{'type': 'integer', 'minimum': 10}, PERSON, {'type': 'null'}]},
  'one of': {'oneOf': [{'type': 'string', 'maxLength': 4}, {'type': 'integer'}]},
  'all of': {'allOf': [_object(['a'], closed=False, a=INTEGER), {'required': ['a']}]},
  'reference': {
    '$defs': {'point': _object(['x', 'y'], x=NUMBER, y=NUMBER)},
    **_object(['from', 'to'], **{n: {'$ref': '#/$defs/point'} for n in ('from', 'to')}),
  },
  'tree': TREE,
  'order': _object(
    ['id', 'items', 'paid'],
    id={'type': 'string', 'pattern': '^[0-9a-f]{8}$'},
    items=_array(
      _object(['sku', 'count'], sku=STRING, count={'type': 'integer', 'minimum': 1}),
      minItems=1,
    ),
    paid={'type': 'boolean'},
    note={'anyOf': [STRING, {'type': 'null'}]},
  ),
}
