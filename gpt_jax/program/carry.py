"""What an override of the run's length or batch size carries along.

Lengths in a config file (warm-up, decay, ramp) are those of its own run: in a shorter
one they keep their share. Microbatches keep their rows, and a ramp its ratio. What is
overridden itself stays, and so does what the run has saved that goes on.
"""

import functools
import math
import sys

LENGTHS = (
  'schedule.warmup_steps', 'schedule.warmup_tokens', 'schedule.decay_steps',
  'schedule.decay_tokens', 'train.ramp_tokens',
)  # fmt: skip
BATCH = ('train.grad_accum', 'train.ramp_start_batch_size', 'train.ramp_tokens')
CAUSES = ('train.steps', 'train.tokens', 'train.batch_size')


def carry_along(values, overrides, saved=None):
  """Returns `overrides` and what follows from them for fields that they leave out.

  `values` are those of a config file, as nested dicts or a ConfigDict, `saved` those of
  the run that goes on, where there is one. Says on standard error what it adds. Values
  that are none are left to the checks of the config.
  """
  try:
    given = {field: _number(overrides[field]) for field in CAUSES if field in overrides}
    added = _added(values, given, saved, overrides.keys())
  except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError):
    return overrides
  added = {
    field: value
    for field, value in added.items()
    if field not in overrides and value != _get(values, field)
  }
  if added:
    causes = ', '.join(f'{field}={overrides[field]}' for field in given)
    _say(
      f'{causes} carries along: '
      + ', '.join(f'{f} {_get(values, f)} -> {new}' for f, new in added.items())
    )
  return overrides | added


def _added(values, given, saved, given_fields):
  added = {}
  size = given.get('train.batch_size')
  if size and saved is None:
    added |= _batch(values, size)
  elif size and _get(saved, 'train.batch_size') == size:
    added |= {field: _get(saved, field) for field in BATCH}
  if 'train.epochs' in given_fields:
    return added | dict.fromkeys({'train.steps', 'train.tokens'} - given_fields, None)
  if _get(values, 'train.epochs') and {'train.steps', 'train.tokens'} & given_fields:
    return added | {'train.epochs': None}  # whose steps, and so its share, are unknown
  length = {'train.steps', 'train.tokens'} & given.keys()
  if len(length) != 1 or given[min(length)] is None:
    return added  # unchanged, or both given: there is nothing to follow from
  (field,) = length
  other = 'train.tokens' if field == 'train.steps' else 'train.steps'
  added[other] = None  # gives way
  if saved is not None:
    return added | {field: _get(saved, field) for field in LENGTHS}
  return added | _lengths(values, given, added)


def _lengths(values, given, added):
  """Returns the lengths of a run that is shorter than that of the file."""
  share = _share(values, given)
  if share >= 1:
    return {}
  lengths = {field: added.get(field, _get(values, field)) for field in LENGTHS}
  needs_warmup = _get(values, 'schedule.name') == 'inverse_sqrt'
  return {
    field: max(math.floor(n * share), int('warmup' not in field or needs_warmup))
    for field, n in lengths.items()
    if n
  }


def _share(values, given):
  """Returns the length of the new run, as a share of that of the file; ramps aside."""
  for field in ('train.steps', 'train.tokens'):
    if field in given and _get(values, field):
      return given[field] / _get(values, field)
  rows = _get(values, 'train.batch_size')
  file = dict(steps=_get(values, 'train.steps'), tokens=_get(values, 'train.tokens'))
  seq_len = _get(values, 'data.seq_len')
  step_tokens = given.get('train.batch_size', rows) * seq_len
  if file['tokens']:
    return given['train.steps'] * step_tokens / file['tokens']
  return given['train.tokens'] / (file['steps'] * rows * seq_len)


def _batch(values, size):
  """Returns microbatches and ramp of another batch size."""
  old, parts = _get(values, 'train.batch_size'), _get(values, 'train.grad_accum')
  start, changed = _get(values, 'train.ramp_start_batch_size'), {}
  if parts > 1:
    rows = old // parts
    parts = next(n for n in range(1, size + 1) if size % n == 0 and size // n <= rows)
    changed['train.grad_accum'] = parts
  if start:
    most = start * size // old
    starts = [n for n in range(1, most + 1) if size % n == 0 and n % parts == 0]
    changed['train.ramp_start_batch_size'] = starts[-1] if starts else None
    if not starts:
      changed['train.ramp_tokens'] = None
  return changed


def _get(values, field):
  section, name = field.split('.')
  return values[section][name]


def _number(value):
  """Returns an override as an int, None where it is None."""
  if value in (None, 'None', 'none', ''):
    return None
  number = float(value)
  if isinstance(value, bool) or number != int(number) or number < 1:
    raise ValueError(value)
  return int(number)


@functools.cache  # several resolve the same
def _say(text):
  print(text, file=sys.stderr)
