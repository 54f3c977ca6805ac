"""A pretrained model, read as the checkpoint of a run is: it has one step, 0.

What runs read from their own checkpoints by `checkpoints.reader.CheckpointReader`, this
gives of a model of others: names, shapes and arrays of ours, made tensor by tensor.
"""

import functools
import math
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gpt_jax import objectives
from gpt_jax.checkpoints import memory, tree_diff
from gpt_jax.core import progress, pytree
from gpt_jax.core.errors import CheckpointError, note_once
from gpt_jax.interop.mapping import CHUNK_BYTES, sizes_of
from gpt_jax.model import flops
from gpt_jax.model.gpt import GPT
from gpt_jax.model.heads import make_head

STEP = 0
MAX_LISTED = 30
_ALIGNMENT = 64  # of memory that jax takes over as it is


class ModelReader:
  """The parameters of a model of others.

  Args:
    family: of `families.FAMILIES`.
    config: the resolved Config that it has here; `model.param_dtype` is that of the
      parameters to be given, whatever the files have.
    tensors: `specs`, `dtype_of(name)`, `read(name, start, stop)` and `close()`, as of
      `safetensors_files.SafetensorsFiles`.
    tokenizer: that of the model.
  Raises CheckpointError unless the tensors are just those of the config.
  """

  def __init__(self, family, config, tensors, place, tokenizer):
    self.family, self.config, self.tensors = family, config, tensors
    self.directory, self.tokenizer = place, tokenizer
    self._entries = family.table(config)
    self._sizes = sizes_of(config, objectives.describe(config).num_outputs)
    self._wanted = dict(pytree.named_leaves(abstract_params(config)))
    self._names = self._match()
    self._sources = self._find_sources()

  def __enter__(self):
    return self

  def __exit__(self, *exception):
    self.close()

  def close(self):
    self.tensors.close()

  # What a CheckpointReader has

  def steps(self):
    return [STEP]

  def latest_step(self):
    return STEP

  def latest_valid_step(self, report=None):
    del report
    return STEP

  def items(self, step):
    self.require_valid(step)
    return ['params']

  def read_meta(self, step):
    """Returns what of a checkpoint's record there is of a model of others."""
    self.require_valid(step)
    return dict(fingerprints=dict(tokenizer=self.tokenizer.fingerprint))

  def require_valid(self, step):
    if step != STEP:
      raise CheckpointError(
        f'{self.directory}: a model of others has no step {step}, only step {STEP}.'
      )

  def abstract(self, step, item, sharding=None):
    """Returns the tree of ShapeDtypeStructs of the parameters; loads nothing."""
    self.items(step)
    leaves = {
      name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
      for name, leaf in self._wanted.items()
    }
    return pytree.nested(leaves)

  def restore(self, step, abstract_items):
    """Returns `{'params': tree}`, placed as the leaves of `abstract_items` say."""
    (item,) = abstract_items
    leaves = dict(pytree.named_leaves(abstract_items[item]))
    if missing := self._wanted.keys() - leaves.keys():
      raise CheckpointError(
        f'{self.directory}: has {_listed(sorted(missing))} besides.'
      )
    return {item: pytree.nested(self.restore_leaves(step, item, leaves))}

  def restore_leaves(self, step, item, leaves):
    """Returns `{name: array}` of some parameters, placed as ShapeDtypeStructs say."""
    self.require_valid(step)
    known = {name: self._wanted[name] for name in leaves if name in self._wanted}
    if found := tree_diff.differences(known, leaves, item):
      raise CheckpointError(tree_diff.report(self.directory, found))
    memory.require_fit({item: leaves}, self.directory)
    total, arrays = pytree.size_bytes(leaves), {}
    with progress.shown(f'reading {self.directory}', total) as advance:
      for name, leaf in leaves.items():
        arrays[name] = _placed(self._read(name, leaf), leaf.sharding)
        advance(pytree.size_bytes(leaf))
    return arrays

  # From their tensors to ours

  def _read(self, name, leaf):
    """Returns the parameter `name` as a numpy array that nobody else holds."""
    array = _empty(leaf.shape, np.dtype(leaf.dtype))
    for part, (entry, place) in self._parts_of(name, array):
      read = functools.partial(self.tensors.read, self._names[entry.theirs])
      entry.fill(part, place, self._sizes, read)
      for alias in entry.aliases:
        if alias in self._names:
          self._require_equal(self._names[entry.theirs], self._names[alias])
    return array

  def _parts_of(self, name, array):
    """Yields (part of `array`, its source): one, or one for each scanned layer."""
    if name in self._sources:
      yield array, self._sources[name]
      return
    rest = name.removeprefix('layers/')
    for i in range(len(array)):
      yield array[i], self._sources[f'layers_{i}/{rest}']

  def _require_equal(self, name, alias):
    count = math.prod(self.tensors.specs[name].shape)
    step = CHUNK_BYTES // 4
    for start in range(0, count, step):
      span = start, min(start + step, count)
      one, two = self.tensors.read(name, *span), self.tensors.read(alias, *span)
      if not np.array_equal(one, two):
        raise CheckpointError(
          f'{self.directory}: {alias} differs from {name}, though config.json says that'
          ' both are one (tie_word_embeddings). Set it to false there if the file is'
          ' right.'
        )

  def _match(self):
    """Returns {name in the table: name in the file}; raises with all that differs."""
    specs, prefix = self.tensors.specs, self.family.prefix
    names, problems = {}, []
    for entry in self._entries:
      for theirs in (entry.theirs, *entry.aliases):
        others = entry.other_names if theirs == entry.theirs else ()
        tried = (theirs, theirs.removeprefix(prefix), *others)
        name = next((name for name in tried if name in specs), None)
        if name is not None:
          names[theirs] = name
          problems += self._spec_problems(entry, name)
        elif theirs == entry.theirs:
          shape = list(entry.their_shape(self._sizes))
          problems.append(f'{theirs} {shape}: missing')
    ignored = re.compile('|'.join(self.family.ignored) or r'\Z\A')
    unused = re.compile('|'.join(self.family.unused) or r'\Z\A')
    rest = [n for n in specs if n not in set(names.values()) and not ignored.search(n)]
    if left_out := [name for name in rest if unused.search(name)]:
      note_once(
        f'{self.directory}: not read, as this architecture has no such part:'
        f' {", ".join(left_out)}.'
      )
    for name in rest:
      if name not in left_out:
        problems.append(f'{name} {specs[name]}: not a part of such a model')
    if problems:
      raise CheckpointError(
        f'{self.directory}: its tensors are not those of a {self.family.name} with its'
        f' config.json, {len(problems)} to settle:\n  {_listed(problems)}'
      )
    return names

  def _spec_problems(self, entry, name):
    shape, spec = entry.their_shape(self._sizes), self.tensors.specs[name]
    if spec.shape != shape:
      yield f'{name}: {list(spec.shape)}, expected {list(shape)} by config.json'
    if self.tensors.dtype_of(name) is None:
      yield f'{name}: of type {spec.dtype}, expected float32, bfloat16 or float16'

  def _find_sources(self):
    """Returns {our name, unrolled: (entry, its place in it)}; covers all of ours."""
    sources = {
      name: (entry, place)
      for entry in self._entries
      for place, name in enumerate(entry.ours)
    }
    ours = unrolled_names(self._wanted)
    assert ours == sources.keys(), (
      f'{self.family.name}: the table and the model differ in'
      f' {sorted(ours ^ sources.keys())[:6]}'
    )
    return sources


def unrolled_names(leaves):
  """Returns the names that scanned `leaves`, {name: leaf}, have in unrolled layers."""
  names = set()
  for name, leaf in leaves.items():
    rest = name.removeprefix('layers/')
    if rest == name:
      names.add(name)
    else:
      names |= {f'layers_{i}/{rest}' for i in range(leaf.shape[0])}
  return names


def abstract_params(config):
  """Returns the parameters of a Config as ShapeDtypeStructs, task head included."""
  head = make_head(config, objectives.describe(config).num_outputs)
  if head is None:
    return flops.abstract_params(config.model)  # remembered
  model, tokens_BT = GPT(config.model, task_head=head), jnp.zeros((1, 1), jnp.int32)
  variables = jax.eval_shape(model.init, jax.random.key(0), tokens_BT)
  return nn.unbox(variables['params'])


def common_dtype(tensors):
  """Returns the name of the type that holds all parameters without loss."""
  types = {tensors.dtype_of(name) for name in tensors.specs} - {None}
  if not types:
    raise CheckpointError(
      f'{tensors.path}: holds no tensors of floating-point numbers.'
    )
  found = functools.reduce(jnp.promote_types, sorted(types, key=str))
  if len(types) > 1:
    listed = ', '.join(sorted(map(str, types)))
    note_once(f'{tensors.path}: holds tensors of {listed}; all become {found}.')
  return str(found)


def _empty(shape, dtype):
  """Returns a new array in memory that jax takes over without a copy."""
  size = math.prod(shape) * dtype.itemsize
  buffer = np.empty(size + _ALIGNMENT, np.uint8)
  start = -buffer.ctypes.data % _ALIGNMENT
  return buffer[start : start + size].view(dtype).reshape(shape)


def _placed(array, sharding):
  if sharding is None or isinstance(sharding, jax.sharding.SingleDeviceSharding):
    return jax.device_put(array, sharding)
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index], dtype=array.dtype
  )


def _listed(problems):
  rest = len(problems) - MAX_LISTED
  return '\n  '.join(
    [*problems[:MAX_LISTED], *([f'... and {rest} more'] if rest > 0 else [])]
  )
