"""Where the linear maps of a model are in theirs: modules, and patterns that pick them.

Follows from the table of a family (`interop.families`): `'D (P H K)' -> 'D H K'` of
`h.0.attn.c_attn.weight` says that one module of theirs is three linear maps of ours,
side by side in its outputs.
"""

import dataclasses
import re

import numpy as np

from gpt_jax.interop.mapping import Entry, sizes_of
from gpt_jax.objectives import describe
from gpt_jax.peft import linears, lora_updates


@dataclasses.dataclass(frozen=True)
class Module:
  """A linear layer of theirs."""

  name: str
  other_names: tuple[str, ...]
  paths: tuple[str, ...]  # of our linear maps, unrolled: several lie side by side
  inside: str  # axes of its inputs, as in an Entry, and their letters of ours
  outside: str
  our_inside: str
  our_outside: str
  sizes: dict[str, int]

  def entry(self, leaf, axes, our_axes):
    """Returns the Entry of a tensor that stands at this module.

    `axes` and `our_axes`: formats of `inside` and `outside`, such as 'R {inside}'.
    """
    ours = tuple(f'{path}/{leaf}' for path in self.paths)
    return Entry(
      self.name,
      ours,
      axes.format(inside=self.inside, outside=self.outside),
      our_axes.format(inside=self.our_inside, outside=self.our_outside),
    )


def modules_of(family, config):
  """Returns the Modules that are linear maps of the blocks of a Config."""
  ours = {
    one.path: one
    for linear in linears.find(config.model)
    for one in lora_updates.unrolled(linear)
  }
  sizes = sizes_of(config, describe(config).num_outputs)
  found = []
  for entry in family.table(config):
    paths = tuple(name.removesuffix('/kernel') for name in entry.ours)
    if not entry.theirs.endswith('.weight') or not set(paths) <= ours.keys():
      continue
    found.append(_module(family, entry, paths, ours[paths[0]], sizes))
  return found


def _module(family, entry, paths, linear, sizes):
  letters = entry.our_axes.split()
  _, kernel, out = linear.letters
  inside = [x for x, letter in zip(letters, kernel, strict=True) if letter not in out]
  outside = [x for x, letter in zip(letters, kernel, strict=True) if letter in out]
  groups = re.findall(r'\([^)]*\)|\w', entry.their_axes)
  (reads,) = [one for one in groups if set(re.findall(r'\w', one)) == set(inside)]
  (writes,) = [one for one in groups if one != reads]
  name = entry.theirs.removesuffix('.weight')
  others = {name.removeprefix(family.prefix)}
  others |= {
    other.removesuffix('.weight')
    for other in entry.other_names
    if other.endswith('.weight')
  }
  return Module(
    name, tuple(sorted(others - {name})), paths, reads, writes, ' '.join(inside),
    ' '.join(outside), sizes,
  )  # fmt: skip


def to_theirs(entry, arrays, sizes):
  """Returns the tensor of an Entry, made of arrays of ours."""
  return np.concatenate(list(entry.gather(arrays, sizes))).reshape(
    entry.their_shape(sizes)
  )


def to_ours(entry, tensor, sizes):
  """Returns the arrays of ours that a tensor of an Entry holds."""
  flat, found = tensor.reshape(-1), []
  for place in range(len(entry.ours)):
    array = np.empty(entry.our_shape(sizes), tensor.dtype)
    entry.fill(array, place, sizes, lambda start, stop: flat[start:stop])
    found.append(array)
  return found


# Patterns, as peft reads them: the text of a list matches the end of a module's name.


def all_names(family, config):
  """Returns the names of all modules with weights, linear or not."""
  return {
    name.removesuffix('.weight')
    for entry in family.table(config)
    for name in (entry.theirs, *entry.aliases)
    if name.endswith('.weight')
  }


def shortest(chosen, everywhere):
  """Returns the shortest ends of names that are those of `chosen`, and of no others."""
  others, found = set(everywhere) - set(chosen), set()
  for name in chosen:
    parts = name.split('.')
    ends = ['.'.join(parts[-count:]) for count in range(1, len(parts) + 1)]
    clear = (end for end in ends if not any(_ends(other, end) for other in others))
    found.add(next(clear, name))
  return sorted(found)


def shortest_by(values, everywhere=()):
  """Returns {end of a name: value} of `{name: value}`, unambiguous."""
  found = {}
  for value in dict.fromkeys(values.values()):
    mine = [name for name, one in values.items() if one == value]
    found |= dict.fromkeys(shortest(mine, {*values, *everywhere}), value)
  return found


def _ends(name, end):
  return name == end or name.endswith(f'.{end}')


def check(fields):
  """Adds to the problems of `fields` what `is_picked` cannot read."""
  targets = fields.peek('target_modules')
  for name, types in (
    ('target_modules', str),
    ('exclude_modules', str),
    ('layers_to_transform', int),
    ('layers_pattern', str),
  ):
    value = fields.peek(name, [])
    values = value if isinstance(value, list) else [value]
    if not all(type(one) is types for one in values):
      kind = 'whole numbers' if types is int else 'texts'
      fields.refuse(f'{name}={value!r}: expected one or a list of {kind}')
  if not targets:
    fields.refuse(f'target_modules={targets!r}: expected names of modules')


def is_picked(fields, name):
  """Returns whether the fields of a LoRA or (IA)^3 config pick the module `name`.

  `fields`: target_modules, exclude_modules, layers_to_transform, layers_pattern.
  """
  excluded, targets = fields.get('exclude_modules'), fields.get('target_modules')
  if excluded and is_listed(excluded, name):
    return False
  if targets == 'all-linear':
    return True
  if not is_listed(targets or [], name):
    return False
  layers = fields.get('layers_to_transform')
  if isinstance(targets, str) or layers is None or layers == []:
    return True
  layers = [layers] if isinstance(layers, int) else layers
  return _layer_of(name, fields.get('layers_pattern')) in layers


def is_listed(pattern, name):
  """Returns whether a text (of all of a name) or a list of ends matches a name."""
  if isinstance(pattern, str):
    return re.fullmatch(pattern, name) is not None
  return any(_ends(name, end) for end in pattern)


def _layer_of(name, pattern):
  patterns = [pattern] if isinstance(pattern, str) else pattern or [r'[^.]*']
  for one in patterns:
    if found := re.match(rf'(?:^|.*?\.){one}\.(\d+)\.', name):
      return int(found[1])
  return None


def value_at(pattern, name, default):
  """Returns what a rank_pattern or alpha_pattern says of a module."""
  for key, value in (pattern or {}).items():
    if re.match(rf'(.*\.)?({key})$', name):
      return value
  return default
