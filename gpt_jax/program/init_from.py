"""Parameters of another run as the first ones of this: read, changed, accounted for.

`init.transform` says what becomes of what (`init_rules.py`). Scanned layers and
unrolled ones (model.scan_layers) are brought into this model's form before that.
"""

import dataclasses
import re

import jax
import jax.numpy as jnp

from gpt_jax.core import array_checksums, pytree, registry
from gpt_jax.core.errors import CheckpointError, ConfigError
from gpt_jax.program.init_rules import INIT_TRANSFORMS, Take
from gpt_jax.quantization import packed

KINDS = ('taken', 'renamed', 'changed', 'made', 'fresh', 'skipped')
"""Of a Report: `changed` in shape or dtype, `made` by a function of a transform."""

_UNROLLED = re.compile(r'layers_(\d+)/(.*)')


@dataclasses.dataclass(frozen=True)
class Report:
  """What became of the parameters, by name: each list is one kind."""

  source: str
  step: int
  kinds: dict[str, list[str]]  # of KINDS; only those that there are
  # Of parameters that were not changed but in dtype: their names there, with layers in
  # this model's form. Checksums are by the names that are saved.
  sources: dict[str, str] = dataclasses.field(default_factory=dict)
  checksums: dict[str, int] = dataclasses.field(default_factory=dict)
  adapter: 'Report | None' = None  # of the run of peft.init_from

  @property
  def is_whole(self):
    """Returns whether every parameter was taken as it is, and none was left."""
    return set(self.kinds) == {'taken'}

  def lines(self):
    """Returns a title, then a line for each kind: its count, and names in short."""
    yield f'init_from {self.source}, step {self.step}:'
    for kind, names in self.kinds.items():
      yield f'  {kind:<8} {len(names):>4}  {_short(names)}'
    if self.adapter:
      yield from (f'peft.{line}' if i == 0 else line for i, line in
                  enumerate(self.adapter.lines()))  # fmt: skip

  def as_json(self):
    found = dict(source=self.source, step=self.step) | self.kinds
    return found | (dict(adapter=self.adapter.as_json()) if self.adapter else {})


def init_params(config, fresh, store, step, added=None):
  """Returns (parameters, Report): those of `step` in `store` in place of `fresh` ones.

  `fresh` are parameters on the devices; arrays are placed as they are. Only what is
  wanted is read. With `added`, names of an Adapter's own parameters, these stay fresh,
  and the Report has sources and checksums. Raises CheckpointError for what does not
  fit, array by array.
  """
  saved = dict(pytree.named_leaves(store.abstract(step, 'params')))
  leaves, dtype = dict(pytree.named_leaves(fresh)), config.model.param_dtype
  target = {
    name: jax.ShapeDtypeStruct(leaf.shape, packed.dtype_in_full(leaf, dtype))
    for name, leaf in leaves.items()
    if name not in (added or ()) and not packed.is_part(name)
  }
  source, made = _in_form_of(saved, target)
  name = config.init.transform
  transform = registry.lookup(INIT_TRANSFORMS, name, 'init.transform')
  mapping = _checked(name, transform(config, source, target), source, target)
  takes = {name: _resolved(take, made) for name, take in mapping.items()}
  sums: dict[str, int] = {}
  found = _taken(
    store, step, saved, takes, leaves, dtype, None if added is None else sums
  )
  params = pytree.map_named(lambda name, leaf: found.get(name, leaf), fresh)
  kinds = _kinds(mapping, made, source, target)
  if added is None:
    return params, Report(config.init_from, step, kinds)
  sources = {
    name: take.names[0]
    for name, take in mapping.items()
    if take and not take.make and source[take.names[0]].shape == target[name].shape
  }
  return params, Report(config.init_from, step, kinds, sources, sums)


def read_taken(store, step, takes, leaves, dtype):
  """Returns ({name: array}, {saved name: checksum}) of `takes`, placed as `leaves`.

  `takes`: {name: Take of one array}, its layers in the form of `leaves`, which are
  ShapeDtypeStructs with shardings. `dtype`: of kernels of which `leaves` are codes.
  """
  saved = dict(pytree.named_leaves(store.abstract(step, 'params')))
  source, made = _in_form_of(saved, {take.names[0] for take in takes.values()})
  if missing := [name for name, take in takes.items() if take.names[0] not in source]:
    raise CheckpointError(f'{store.directory}: has no {missing[0]} any more.')
  resolved = {name: _resolved(take, made) for name, take in takes.items()}
  sums = {}
  return _taken(store, step, saved, resolved, leaves, dtype, sums), sums


def _taken(store, step, saved, takes, leaves, dtype, sums):
  """Returns {name: parameter} of `takes`, placed as `leaves`.

  Adds to `sums` the checksums of what was read, unless that is None.
  """
  found = {}
  for together in _read_together(takes, leaves):
    arrays = _read(store, step, saved, together, leaves)
    for name, take in together.items():
      leaf = leaves[name]
      if not packed.is_packed(leaf):
        found[name] = _make(name, take, arrays, leaf)
      elif take is not None:
        kernel = _make(name, take, arrays, packed.in_full(leaf, dtype))
        for each, array in packed.pack(name, kernel, leaf.dtype, leaves).items():
          found[each] = jax.device_put(array, leaves[each].sharding)
    if sums is not None:
      sums |= {name: array_checksums.checksum(array) for name, array in arrays.items()}
  return found


def _read_together(takes, leaves):
  """Yields `takes` in parts: few kernels are in memory before they are packed."""
  stored = [name for name in takes if packed.is_packed(leaves[name])]
  yield {name: take for name, take in takes.items() if name not in stored}
  parts = {}
  for name in stored:
    take = takes[name]
    parts.setdefault(take and take.names, {})[name] = take
  yield from parts.values()


def _in_form_of(saved, target):
  """Returns (leaves in the form of `target`, {name: Take of a leaf that is made})."""
  wants_stack = any(name.startswith('layers/') for name in target)
  has_stack = any(name.startswith('layers/') for name in saved)
  if wants_stack == has_stack:
    return saved, {}
  source, made, groups = {}, {}, {}
  for name, leaf in saved.items():
    found = _UNROLLED.fullmatch(name)
    if wants_stack and found:
      groups.setdefault(found[2], {})[int(found[1])] = name
    elif not wants_stack and name.startswith('layers/'):
      for i in range(leaf.shape[0]):
        one = f'layers_{i}/{name.removeprefix("layers/")}'
        source[one] = jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)
        made[one] = Take((name,), lambda stack, i=i: stack[i])
    else:
      source[name] = leaf
  for rest, layers in groups.items():
    names = tuple(layers[i] for i in sorted(layers))
    shape = (len(names), *saved[names[0]].shape)
    source[f'layers/{rest}'] = jax.ShapeDtypeStruct(shape, saved[names[0]].dtype)
    made[f'layers/{rest}'] = Take(names, lambda *layers: jnp.stack(layers))
  return source, made


def _checked(entry, mapping, source, target):
  """Returns the mapping of a transform as Takes; ConfigError where it cannot be."""
  field, result = f'init.transform={entry!r}', {}
  for name in target:
    if name not in mapping:
      raise ConfigError(f'{field}: says nothing about {name}; None is a fresh one.')
  for name, take in mapping.items():
    if name not in target:
      raise ConfigError(f'{field}: makes {name}, which this model does not have.')
    take = Take((take,)) if isinstance(take, str) else take
    unknown = [one for one in take.names if one not in source] if take else []
    if unknown:
      raise ConfigError(f'{field}: {name} is made of {unknown[0]}, which is not saved.')
    result[name] = take
  return result


def _resolved(take, made):
  """Returns `take` of saved names, where it is of `made` ones."""
  if take is None or not any(name in made for name in take.names):
    return take
  parts = [made.get(name, Take((name,))) for name in take.names]
  counts = [len(part.names) for part in parts]
  names = tuple(name for part in parts for name in part.names)

  def make(*arrays):
    values, rest = [], list(arrays)
    for part, count in zip(parts, counts, strict=True):
      given, rest = rest[:count], rest[count:]
      values.append(part.make(*given) if part.make else given[0])
    return take.make(*values) if take.make else values[0]

  return dataclasses.replace(take, names=names, make=make)


def _read(store, step, saved, takes, fresh):
  """Returns {saved name: array} of what `takes` need, each where it will be used."""
  wanted = {}
  for name, take in takes.items():
    if take is None:
      continue
    sharding = fresh[name].sharding
    if take.make or saved[take.names[0]].shape != fresh[name].shape:
      sharding = replicated(sharding)
    for one in take.names:
      place = sharding if one not in wanted else replicated(sharding)
      leaf = saved[one]
      wanted[one] = jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
  return store.restore_leaves(step, 'params', wanted)


def replicated(sharding):
  """Returns where an array lies whole on the devices of `sharding`."""
  if isinstance(sharding, jax.sharding.NamedSharding):
    return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
  return sharding


def _make(name, take, arrays, fresh):
  """Returns the parameter `name` in the shape, dtype and place of `fresh`."""
  if take is None:
    return fresh
  given = [arrays[one] for one in take.names]

  def make(fresh, *given):
    value = take.make(*given) if take.make else given[0]
    if take.overlap and value.ndim == fresh.ndim:
      part = tuple(map(slice, map(min, value.shape, fresh.shape)))
      value = fresh.at[part].set(value[part].astype(fresh.dtype))
    if value.shape != fresh.shape or (value.dtype != fresh.dtype and not take.cast):
      raise CheckpointError(
        f'init_from: {name} would be {_spec(value)}; expected {_spec(fresh)}. Mend'
        ' init.transform.'
      )
    return value.astype(fresh.dtype)

  if not take.make and _spec(given[0]) == _spec(fresh):
    return jax.device_put(given[0], fresh.sharding)  # as it is, in most cases there
  if not take.overlap:  # of `fresh` only shape and dtype matter, which it may be

    def make_of(*given):
      return make(fresh, *given)

    return jax.jit(make_of, out_shardings=fresh.sharding)(*given)
  return jax.jit(make, out_shardings=fresh.sharding)(fresh, *given)


def _kinds(mapping, made, source, target):
  """Returns {kind: names}, without empty kinds."""
  kinds = {kind: [] for kind in KINDS}
  for name, take in mapping.items():
    if take is None:
      kinds['fresh'].append(name)
    elif take.make:
      kinds['made'].append(name)
    elif (saved := _spec(source[take.names[0]])) != _spec(target[name]):
      kinds['changed'].append(f'{name} {saved} -> {_spec(target[name])}')
    elif take.names != (name,):
      kinds['renamed'].append(f'{take.names[0]} -> {name}')
    else:
      kinds['taken'].append(name)
  used = {one for take in mapping.values() if take for one in take.names}
  kinds['skipped'] = sorted(set(source) - used)
  return {kind: names for kind, names in kinds.items() if names}


def _spec(leaf):
  return f'{leaf.dtype.name}{list(leaf.shape)}'


def _short(names, most=3):
  """Returns the first names and how many more there are."""
  more = f', {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more
