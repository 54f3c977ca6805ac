"""Weight decay, learning-rate scale and freezing of each parameter, by its name.

By name, as the number of dimensions says nothing: a stack of layers makes a bias
two-dimensional and an attention kernel four-dimensional.
"""

import dataclasses
import difflib
import math
import re

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

# Last parts of the names that decay_mask='matrices' selects; not `scale` and `bias`.
MATRIX_NAMES = ('kernel', 'embedding')


@dataclasses.dataclass(frozen=True)
class Setting:
  """How one parameter is updated; also the fields that a group may set."""

  learning_rate_scale: float
  weight_decay: float
  freeze: bool


_KEYS = tuple(field.name for field in dataclasses.fields(Setting))


def resolve(cfg, names):
  """Returns `{name: Setting}` from `decay_mask`, `weight_decay` and `groups`.

  A parameter belongs to the first group that matches its name, whose `weight_decay`
  overrides the mask. Raises ConfigError for unknown keys, values out of range, and
  regular expressions that match nothing an earlier group has left.
  """
  decays = _decaying(cfg.decay_mask, names)
  settings = {
    name: Setting(1.0, cfg.weight_decay if name in decays else 0.0, False)
    for name in names
  }
  unassigned = list(names)
  for i, group in enumerate(cfg.groups):
    field = f'optimizer.groups[{i}]'
    fields = _checked(field, dict(group))
    pattern = fields.pop('match')
    matching = _matching(f'{field}.match', pattern, names)
    members = [name for name in matching if name in unassigned]
    if not members:
      raise ConfigError(
        f'{field}.match={pattern!r}: every parameter it matches belongs to an earlier'
        ' group; put this group before.'
      )
    for name in members:
      settings[name] = dataclasses.replace(settings[name], **fields)
      unassigned.remove(name)
  if names and all(setting.freeze for setting in settings.values()):
    raise ConfigError('optimizer.groups: freeze every parameter; nothing would train.')
  return settings


def _decaying(decay_mask, names):
  if decay_mask == 'all':
    return set(names)
  if decay_mask == 'none':
    return set()
  if decay_mask == 'matrices':
    return {name for name in names if name.split('/')[-1] in MATRIX_NAMES}
  return set(_matching('optimizer.decay_mask', decay_mask, names))


def _matching(field, pattern, names):
  """Returns the names that the regular expression `pattern` matches; at least one."""
  try:
    compiled = re.compile(pattern)
  except (re.error, TypeError) as error:
    raise ConfigError(
      f'{field}={pattern!r}: expected a regular expression ({error}).'
    ) from error
  matching = [name for name in names if compiled.search(name)]
  if not matching:
    close = difflib.get_close_matches(str(pattern), names, n=3, cutoff=0.0)
    raise ConfigError(
      f'{field}={pattern!r}: matches no parameter name; the nearest are'
      f' {", ".join(close)}.'
    )
  return matching


def _checked(field, group):
  """Returns `group`; raises ConfigError for its keys and values."""
  for key in group:
    if key not in ('match', *_KEYS):
      hint = nearest(key, ('match', *_KEYS))
      known = (
        f'did you mean {hint!r}?' if hint else f'expected match, {", ".join(_KEYS)}.'
      )
      raise ConfigError(f'{field}.{key}: unknown key; {known}')
  if 'match' not in group or len(group) == 1:
    raise ConfigError(
      f'{field}={group!r}: expected "match" and at least one of {", ".join(_KEYS)}.'
    )
  for key in ('learning_rate_scale', 'weight_decay'):
    value = group.get(key, 0.0)
    if type(value) not in (int, float) or not 0 <= value < math.inf:
      raise ConfigError(f'{field}.{key}={value!r}: expected a number, 0 or more.')
  if type(group.get('freeze', False)) is not bool:
    raise ConfigError(f'{field}.freeze={group["freeze"]!r}: expected True or False.')
  return group
