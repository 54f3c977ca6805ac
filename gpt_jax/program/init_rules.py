"""Which parameters of another run become which of this one: `init.transform`.

An entry is `(config, source, target) -> {target name: Take, source name, or None}`;
`source` and `target` are `{name: ShapeDtypeStruct}`, of the other run and of this one.
None is a fresh parameter. A target that is left out, or a Take whose array has another
shape, is an error of the entry; a source need not be used.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from gpt_jax.config import load
from gpt_jax.core import registry
from gpt_jax.core.errors import CheckpointError, ConfigError, Problem, note_once
from gpt_jax.core.registry import nearest
from gpt_jax.core.sections import section
from gpt_jax.program import inherit

KEYS = ('skip', 'rename', 'fresh', 'overlap', 'cast')
MAX_LISTED = 20  # names that an error lists before it counts the rest


@dataclasses.dataclass(frozen=True)
class Take:
  """A parameter made of one of the other run, or of several by `make(*arrays)`."""

  names: tuple[str, ...]
  make: Callable | None = None
  overlap: bool = False  # only the part that both shapes have; the rest is fresh
  cast: bool = False  # to the dtype of the target


def by_rules(config, source, target):
  """Returns the mapping of equal names, after `init.rules` in their order.

  skip     sources that are not taken         rename   regex and replacement: re.sub
  fresh    targets that start as always       cast     targets that may change the dtype
  overlap  targets that take the part that both shapes have, the rest being fresh
  Raises CheckpointError for whatever is left over, and ConfigError for a rule that
  matches nothing.
  """
  names = {name: name for name in source}  # of the other run -> renamed
  chosen = {'fresh': set(), 'overlap': set(), 'cast': set()}
  for i, rule in enumerate(config.init.rules):
    ((key, value),) = rule.items()
    field = f'init.rules[{i}]'
    if key in chosen:
      chosen[key] |= _matching(field, key, value, target)
      continue
    pattern = value if key == 'skip' else value[0]
    hit = _matching(field, key, pattern, names.values(), 'saved')
    for name, renamed in list(names.items()):
      if renamed in hit and key == 'skip':
        del names[name]
      elif renamed in hit:
        names[name] = re.sub(pattern, value[1], renamed)
  return _joined(names, source, target, chosen)


def matching(config, source, target):
  """Returns the mapping of what has the same name and shape; the rest is fresh."""
  del config
  return {
    name: Take((name,), cast=True)
    if name in source and _fits(source[name], leaf)
    else None
    for name, leaf in target.items()
  }


HEADS = re.compile('task_head|head|head_bias|head_transform|pooler')
"""First parts of names of what stands on a pretrained model's stream."""


def for_task(config, source, target):
  """Returns the mapping for fine-tuning: all but heads has to be there.

  A head that is saved in the same shape is taken, unless its labels have other names;
  others are fresh, and those of the source that this model has no place for are left.
  Dtypes may change. Raises CheckpointError for anything else that differs.
  """
  is_other = _has_other_labels(config)
  heads = [name for name in target if HEADS.fullmatch(name.partition('/')[0])]
  fresh = {
    name
    for name in heads
    if is_other or name not in source or not _fits(source[name], target[name])
  }
  names = {
    name: name
    for name in source
    if name in target or not HEADS.fullmatch(name.partition('/')[0])
  }
  chosen = {'fresh': fresh, 'overlap': set(), 'cast': set(target)}
  return _joined(names, source, target, chosen)


def _has_other_labels(config):
  """Returns whether init_from names its labels, and differently; says so."""
  if not config.init_from:
    return False
  source = inherit.source_config(config.init_from)
  theirs, ours = (
    tuple(one['task']['label_names'] or one['data']['label_names'])
    for one in (_with_task(source), load.to_dict(config))
  )
  if not theirs or not ours or theirs == ours:
    return False
  note_once(
    f'init_from={config.init_from!r}: its labels are {", ".join(theirs)}, here'
    f' {", ".join(ours)}: the task head is fresh.'
  )
  return True


def _with_task(config):
  return {'task': {'label_names': ()}} | config  # older runs have no tasks


_LAYER = re.compile(r'layers_(\d+)/(.*)')


@section
class Layers:
  """`init.options` of layers."""

  layers: tuple[int, ...] = ()
  """Of the other run, counted from 1, one for each here; (): spread evenly over all."""


@registry.entry(options=Layers)
def some_layers(config, source, target):
  """Returns the mapping that takes some layers, and all that is no layer as it is.

  DistilBERT (arXiv:1910.01108, section 3) starts from every other layer of its teacher.

  With a `model.layer_pattern` of several layers, a cycle of it is taken as a whole. A
  task head or output layer that is not saved in this shape is fresh. Raises ConfigError
  for layers that are not there, CheckpointError (by what reads them) for other shapes.
  """
  is_stacked = any(name.startswith('layers/') for name in target)
  cycle = len(config.model.layer_pattern)
  wanted, saved = config.model.num_layers // cycle, _num_groups(source, is_stacked)
  chosen = _chosen(config.init.options.layers, wanted, saved, cycle)
  mapping = {}
  for name, leaf in target.items():
    if is_stacked and name.startswith('layers/'):
      mapping[name] = Take((name,), lambda stack: stack[np.array(chosen)], cast=True)
      continue
    if found := _LAYER.fullmatch(name):
      name_there = f'layers_{chosen[int(found[1])]}/{found[2]}'
      mapping[name] = Take((name_there,), cast=True)
      continue
    is_head = HEADS.fullmatch(name.partition('/')[0]) is not None
    fits = name in source and source[name].shape == leaf.shape
    mapping[name] = None if is_head and not fits else Take((name,), cast=True)
  return mapping


def _chosen(asked, wanted, saved, cycle):
  """Returns the numbers, from 0, of the groups of layers that are taken."""
  unit = 'layers' if cycle == 1 else f'cycles of the {cycle} of model.layer_pattern'
  if asked and (len(asked) != wanted or not all(1 <= n <= saved for n in asked)):
    raise ConfigError(
      f'init.options.layers={asked!r}: expected {wanted} {unit}, each from 1 to'
      f' {saved}, as many as init_from has.'
    )
  if asked:
    return [n - 1 for n in asked]
  if wanted > saved:
    raise ConfigError(
      f'init.transform="layers": this model has {wanted} {unit}, init_from'
      f' {saved}; set model.num_layers to at most {saved * cycle}, or say which with'
      ' init.options.layers, where one may stand twice.'
    )
  return [int(n) for n in np.linspace(0, saved - 1, wanted).round()]


def _num_groups(source, is_stacked):
  if is_stacked:
    return next(leaf for n, leaf in source.items() if n.startswith('layers/')).shape[0]
  return 1 + max(int(found[1]) for name in source if (found := _LAYER.fullmatch(name)))


INIT_TRANSFORMS = {
  'rules': by_rules,
  'matching': matching,
  'for_task': for_task,
  'layers': some_layers,
}
"""Each entry: `(config, source, target) -> mapping`, as above."""


def _joined(names, source, target, chosen):
  """Returns the mapping by name, or raises CheckpointError with all that is wrong."""
  mapping, origin = dict.fromkeys(chosen['fresh']), {}
  wrong, remedies = [], {}
  for name, renamed in names.items():
    if renamed in origin and renamed in target:
      wrong.append(f'{renamed}: both {origin[renamed]} and {name} would become it')
    origin[renamed] = name
  for name, leaf in target.items():
    if name in mapping:
      continue
    if name not in origin:
      hint = nearest(name, [one for one in origin if one not in target])
      wrong.append(f'{name}: not saved' + (f' (saved as {hint}?)' if hint else ''))
      remedies.setdefault('fresh', []).append(name)
      continue
    take = Take(
      (origin[name],), None, name in chosen['overlap'], name in chosen['cast']
    )
    saved = source[origin[name]]
    for remedy in _remedies(saved, leaf, take):
      wrong.append(f'{name}: saved {_spec(saved)}, wanted {_spec(leaf)}')
      remedies.setdefault(remedy, []).append(name)
    mapping[name] = take
  for name, renamed in names.items():
    if renamed not in target:
      wrong.append(f'{name}: saved, not wanted')
      remedies.setdefault('skip', []).append(renamed)
  if wrong:
    raise CheckpointError(_refusal(list(dict.fromkeys(wrong)), remedies))
  return {name: mapping[name] for name in target}


def _remedies(saved, leaf, take):
  """Yields the rules that settle how `saved` differs from `leaf`."""
  has_overlap = len(saved.shape) == len(leaf.shape)
  if not (has_overlap if take.overlap else _fits(saved, leaf)):
    yield 'overlap' if has_overlap else 'fresh'
  if saved.dtype != leaf.dtype and not take.cast:
    yield 'cast'


def _refusal(wrong, remedies):
  rest = len(wrong) - MAX_LISTED
  lines = [*wrong[:MAX_LISTED], *([f'... and {rest} more'] if rest > 0 else [])]
  text = (
    f'init_from holds other parameters than this model has, {len(wrong)} to settle:\n  '
    + '\n  '.join(lines)
  )
  if {'overlap', 'fresh'} & remedies.keys():
    text += (
      '\nWhere this is to be the model of init_from: --config.init.model=keep takes its'
      ' sizes.'
    )
  if rest > 0 or not remedies:
    return f'{text}\nRules of {", ".join(KEYS)} (init.rules) settle them.'
  rules = [{kind: f'^({"|".join(names)})$'} for kind, names in remedies.items()]
  return (
    f'{text}\nOne way: --config.init.rules="{rules}"; fresh and rename settle them in'
    ' other ways.'
  )


def _fits(saved, leaf):
  return saved.shape == leaf.shape


def _spec(leaf):
  return f'{leaf.dtype.name}{list(leaf.shape)}'


def _matching(field, key, pattern, names, which="this model's"):
  found = {name for name in names if re.search(pattern, name)}
  if not found:
    hint = nearest(pattern, names)
    raise ConfigError(
      f'{field}.{key}={pattern!r}: matches none of {which} names'
      + (f'; the nearest is {hint}.' if hint else '.')
    )
  return found


def problems(config):
  """Returns the Problems of init.rules, whatever the parameters are."""
  found = []
  for i, rule in enumerate(config.init.rules):
    field = f'init.rules[{i}]'
    if not isinstance(rule, dict) or len(rule) != 1 or next(iter(rule)) not in KEYS:
      text = f'={rule!r}: expected a dict of one of {", ".join(KEYS)}'
      found.append(Problem(field, text))
      continue
    ((key, value),) = rule.items()
    is_pair = isinstance(value, tuple | list) and len(value) == 2
    if is_pair != (key == 'rename'):
      expected = '(regex, replacement)' if key == 'rename' else 'a regex'
      found.append(Problem(f'{field}.{key}', f'={value!r}: expected {expected}'))
      continue
    try:
      pattern: Any = value[0] if is_pair else value
      re.sub(re.compile(pattern), value[1] if is_pair else '', '')
    except (re.error, TypeError) as error:
      text = f'={value!r}: expected a regular expression ({error})'
      found.append(Problem(f'{field}.{key}', text))
  if config.init.rules and config.init.transform != 'rules':
    text = f'={config.init.transform!r}: init.rules are those of "rules"; drop one'
    found.append(Problem('init.transform', text))
  return found
