"""What each parameter gets: decay or not, its own rate, or nothing at all.

Everything is decided by a parameter's name. Its number of dimensions would not do: a
stack of layers makes a bias two-dimensional and an attention kernel four-dimensional.
"""

import dataclasses
import difflib
import math
import re

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import nearest

MATRIX_NAMES = ('kernel', 'embedding')
"""Last parts of the names that decay='matrices' means; `scale` and `bias` are none."""


@dataclasses.dataclass(frozen=True)
class Setting:
  """How one parameter is updated; also the fields that a group may state."""

  learning_rate_scale: float
  weight_decay: float
  freeze: bool


_KEYS = tuple(field.name for field in dataclasses.fields(Setting))


def resolve(cfg, names):
  """Returns `{name: Setting}` from `decay`, `weight_decay` and `groups`.

  The first group whose `match` is found in a name has that parameter. A group that
  states `weight_decay` decides alone; otherwise `decay` says whether the common
  `weight_decay` applies.
  Raises ConfigError for unknown keys, for values out of range and for a regular
  expression that finds no parameter (or none that an earlier group has left).
  """
  decays = _decaying(cfg.decay_mask, names)
  settings = {
    name: Setting(1.0, cfg.weight_decay if name in decays else 0.0, False)
    for name in names
  }
  free = list(names)
  for i, group in enumerate(cfg.groups):
    field = f'optimizer.groups[{i}]'
    stated = _checked(field, dict(group))
    pattern = stated.pop('match')
    found = _search(f'{field}.match', pattern, names)
    taken = [name for name in found if name in free]
    if not taken:
      raise ConfigError(
        f'{field}.match={pattern!r}: every parameter it finds belongs to an earlier'
        ' group; put this group before.'
      )
    for name in taken:
      settings[name] = dataclasses.replace(settings[name], **stated)
      free.remove(name)
  if names and all(setting.freeze for setting in settings.values()):
    raise ConfigError('optimizer.groups: freeze every parameter; nothing would train.')
  return settings


def _decaying(decay, names):
  """Returns the names that `optimizer.decay_mask` selects."""
  if decay == 'all':
    return set(names)
  if decay == 'none':
    return set()
  if decay == 'matrices':
    return {name for name in names if name.split('/')[-1] in MATRIX_NAMES}
  return set(_search('optimizer.decay_mask', decay, names))


def _search(field, pattern, names):
  """Returns the names in which `pattern` is found; at least one."""
  try:
    compiled = re.compile(pattern)
  except (re.error, TypeError) as error:
    raise ConfigError(
      f'{field}={pattern!r}: expected a regular expression ({error}).'
    ) from error
  found = [name for name in names if compiled.search(name)]
  if not found:
    close = difflib.get_close_matches(str(pattern), names, n=3, cutoff=0.0)
    raise ConfigError(
      f'{field}={pattern!r}: found in no parameter name; the nearest are'
      f' {", ".join(close)}.'
    )
  return found


def _checked(field, group):
  """Returns `group` when its keys and values can be used."""
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
