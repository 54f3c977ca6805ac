"""Weight decay, learning-rate scale and freezing of each parameter, by its name.

By name, as the number of dimensions says nothing: a stack of layers makes a bias
two-dimensional and an attention kernel four-dimensional.
"""

import dataclasses
import difflib
import math
import re

from gpt_jax.core.errors import ConfigError, Problem, require_none
from gpt_jax.core.registry import nearest
from gpt_jax.optimizers import last_layers

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

  What `train_last_layers` leaves out is frozen too. A parameter belongs to the first
  group that matches its name, whose `weight_decay` overrides the mask. Raises
  ConfigError for unknown keys, values out of range, and regular expressions that match
  nothing an earlier group has left.
  """
  require_none(problems(cfg))
  decays = _decaying(cfg.decay_mask, names)
  settings = {
    name: Setting(1.0, cfg.weight_decay if name in decays else 0.0, False)
    for name in names
  }
  unassigned = list(names)
  for i, group in enumerate(cfg.groups):
    field, fields = f'optimizer.groups[{i}].match', dict(group)
    pattern = fields.pop('match')
    matching = _matching(field, pattern, names)
    members = [name for name in matching if name in unassigned]
    if not members:
      raise ConfigError(
        f'{field}={pattern!r}: every parameter it matches belongs to an earlier'
        ' group; put this group before.'
      )
    for name in members:
      settings[name] = dataclasses.replace(settings[name], **fields)
      unassigned.remove(name)
  for name in last_layers.frozen(cfg.train_last_layers, names):
    settings[name] = dataclasses.replace(settings[name], freeze=True)
  if names and all(setting.freeze for setting in settings.values()):
    raise ConfigError(_why_nothing_trains(cfg))
  return settings


def _why_nothing_trains(cfg):
  if cfg.train_last_layers is None:
    return 'optimizer.groups: freeze every parameter; nothing would train.'
  return (
    f'optimizer.train_last_layers={cfg.train_last_layers}: with optimizer.groups='
    f'{cfg.groups!r} it freezes every parameter; nothing would train. Where the'
    ' embedding is the only output layer (model.tie_embeddings), leave some layers.'
  )


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
  matching = [name for name in names if re.search(pattern, name)]
  if not matching:
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.0)
    raise ConfigError(
      f'{field}={pattern!r}: matches no parameter name; the nearest are'
      f' {", ".join(close)}.'
    )
  return matching


def problems(cfg):
  """Returns the Problems of `groups` and `decay_mask`, whatever the parameters are."""
  found = _pattern_problems('optimizer.decay_mask', cfg.decay_mask)
  for i, group in enumerate(cfg.groups):
    found += _group_problems(f'optimizer.groups[{i}]', group)
  return found


def _group_problems(field, group):
  if not isinstance(group, dict) or 'match' not in group or len(group) == 1:
    text = f'={group!r}: expected "match" and at least one of {", ".join(_KEYS)}'
    return [Problem(field, text)]
  found = _pattern_problems(f'{field}.match', group['match'])
  for key, value in group.items():
    if key not in ('match', *_KEYS):
      hint = nearest(key, ('match', *_KEYS))
      known = f'did you mean {hint!r}?' if hint else f'expected {", ".join(_KEYS)}'
      found.append(Problem(f'{field}.{key}', f': unknown key; {known}'))
    elif key == 'freeze' and type(value) is not bool:
      found.append(Problem(f'{field}.{key}', f'={value!r}: expected True or False'))
    elif key in ('learning_rate_scale', 'weight_decay') and (
      type(value) not in (int, float) or not 0 <= value < math.inf
    ):
      found.append(
        Problem(f'{field}.{key}', f'={value!r}: expected a number, 0 or more')
      )
  return found


def _pattern_problems(field, pattern):
  try:
    re.compile(pattern)
  except (re.error, TypeError) as error:
    text = f'={pattern!r}: expected a regular expression ({error})'
    return [Problem(field, text)]
  return []
