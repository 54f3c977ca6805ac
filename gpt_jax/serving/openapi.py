"""The OpenAPI page, made of the table of routes: what it says is what is checked."""

_TEXT = {'type': 'string'}
_COUNT = {'type': 'integer', 'minimum': 0}
_ANY = {'type': 'object'}


def _object(properties, required=None):
  return {
    'type': 'object',
    'properties': properties,
    'required': list(properties) if required is None else required,
  }


def _list(items):
  return {'type': 'array', 'items': items}


ERROR = _object(
  {
    'error': _object(
      {
        'message': _TEXT,
        'type': _TEXT,
        'param': {'type': ['string', 'null']},
        'code': {'type': ['string', 'null']},
      }
    )
  }
)
_USAGE = _object({'prompt_tokens': _COUNT, 'total_tokens': _COUNT})
_ANSWER = {'id': _TEXT, 'object': _TEXT, 'created': _COUNT, 'model': _TEXT}
ANSWERS = {
  '/v1/models': _object({'object': _TEXT, 'data': _list(_object({'id': _TEXT}))}),
  '/v1/completions': _object(
    _ANSWER
    | {
      'choices': _list(
        _object({'index': _COUNT, 'text': _TEXT, 'finish_reason': _TEXT})
      ),
      'usage': _USAGE,
    }
  ),
  '/v1/chat/completions': _object(
    _ANSWER
    | {
      'choices': _list(
        _object({'index': _COUNT, 'message': _ANY, 'finish_reason': _TEXT})
      ),
      'usage': _USAGE,
    }
  ),
  '/v1/embeddings': _object(
    {
      'object': _TEXT,
      'model': _TEXT,
      'usage': _USAGE,
      'data': _list(
        _object(
          {
            'index': _COUNT,
            'embedding': {'anyOf': [_list({'type': 'number'}), _TEXT]},
          }
        )
      ),
    }
  ),
  '/v1/classify': _object(
    {'object': _TEXT, 'model': _TEXT, 'data': _list(_object({'index': _COUNT}))}
  ),
  '/tokenize': _object({'count': _COUNT, 'tokens': _list(_COUNT), 'context': _COUNT}),
  '/healthz': _object({'status': _TEXT}),
  '/readyz': _object({'status': _TEXT}),
}
"""Path -> schema of the answer; {} elsewhere."""
OTHER_TYPES = {
  '/metrics': 'text/plain',
  '/': 'text/html',
  '/static/chat.css': 'text/css',
  '/static/chat.js': 'text/javascript',
}
"""Path -> type of an answer that is no JSON."""
OF_BODIES = (400, 404, 408, 411, 413, 415)
ALWAYS = (500, 503)


def document(routes, models, has_keys, version):
  """Returns the OpenAPI 3.1 document of Routes; `models` are the names served."""
  paths = {}
  for route in routes:
    paths.setdefault(route.path, {})[route.method.lower()] = _operation(
      route, models, has_keys and not route.is_open
    )
  found = {
    'openapi': '3.1.0',
    'info': {'title': 'gpt-jax serve', 'version': version},
    'paths': paths,
    'components': {'schemas': {'Error': ERROR}},
  }
  if has_keys:
    found['components']['securitySchemes'] = {
      'key': {'type': 'http', 'scheme': 'bearer'}
    }
  return found


def _operation(route, models, is_locked):
  content = {'application/json': {'schema': ANSWERS.get(route.path, {})}}
  if route.path in OTHER_TYPES:
    content = {OTHER_TYPES[route.path]: {}}
  if route.takes and 'stream' in route.takes['properties']:
    content['text/event-stream'] = {}
  statuses = {400, *ALWAYS}
  found = {'summary': route.summary or route.path, 'responses': {}}
  if route.takes is not None:
    statuses |= {*OF_BODIES}
    schema = _with_models(route.takes, models)
    found['requestBody'] = {
      'required': True,
      'content': {'application/json': {'schema': schema}},
    }
  if is_locked:
    statuses |= {401, 403, 429}
    found['security'] = [{'key': []}]
  found['responses']['200'] = {'description': 'The answer.', 'content': content}
  for status in sorted(statuses):
    found['responses'][str(status)] = {
      'description': 'An error.',
      'content': {
        'application/json': {'schema': {'$ref': '#/components/schemas/Error'}}
      },
    }
  return found


def _with_models(schema, models):
  """Returns the schema of a body whose field `model` is one of the names."""
  properties = schema['properties']
  if 'model' not in properties:
    return schema
  named = {'type': 'string', 'enum': list(models)}
  return schema | {'properties': properties | {'model': named}}
