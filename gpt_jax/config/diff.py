"""Where two configs, or other nested dicts of JSON values, differ."""

ABSENT = '(absent)'


def diff(old, new):
  """Returns `[(dotted.field, old, new), ...]` where two nested dicts differ, sorted.

  A field that one side lacks is ABSENT there. Tuples equal lists, as they do in JSON.
  """
  old, new = _flatten(old), _flatten(new)
  return [
    (field, old.get(field, ABSENT), new.get(field, ABSENT))
    for field in sorted(old.keys() | new.keys())
    if old.get(field, ABSENT) != new.get(field, ABSENT)
  ]


def _flatten(tree, prefix=''):
  flat = {}
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      flat |= _flatten(value, f'{prefix}{key}.')
    else:
      flat[f'{prefix}{key}'] = _as_json(value)
  return flat


def _as_json(value):
  if isinstance(value, tuple | list):
    return [_as_json(v) for v in value]
  if isinstance(value, dict):
    return {k: _as_json(v) for k, v in value.items()}
  return value
