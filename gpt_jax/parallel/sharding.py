"""One table from the logical axes that model code names to the axes of the mesh.

Parameters carry logical names beside their shapes; activations are pinned by
`ShardingRules.constrain(x, 'batch', 'time', 'act_embed')` after each block. A preset says where
each name lives. Adding a way to parallelise is adding a column to `PRESETS`.
"""

import dataclasses
import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import lookup
from gpt_jax.parallel.mesh import slices_of

_BATCH = {'batch': ('data', 'fsdp')}
# Scales and biases of the width ('embed_vector') stay whole: gathering some KiB is all
# delay, and XLA:TPU makes it a sum of shards in zeros that everything waits for.
_FSDP = _BATCH | {'embed': 'fsdp'}
_TENSOR = {
  'vocab': 'tensor', 'heads': 'tensor', 'kv_heads': 'tensor', 'mlp': 'tensor',
  'act_heads': 'tensor', 'act_kv_heads': 'tensor', 'act_mlp': 'tensor',
  'act_vocab': 'tensor',
  # Between products the stream lies in pieces of time: what would be the same work on
  # every device of the axis, norms above all, is shared. arXiv:2205.05198, section 4.
  'stream_time': 'tensor',
}  # fmt: skip

PRESETS = {
  # Every device holds all parameters and a share of the batch (data parallelism).
  'replicated': _BATCH,
  # Parameters and optimizer state cut along the width. ZeRO-3, arXiv:1910.02054.
  'fsdp': _FSDP,
  # Heads, MLP and vocabulary cut as well. Megatron-LM, arXiv:1909.08053.
  'fsdp_tensor': _FSDP | _TENSOR,
  # Time cut too: activations of long sequences spread over the sequence axis.
  'sequence': _FSDP
  | _TENSOR
  | {'time': 'sequence', 'stream_time': ('sequence', 'tensor')},
}


RESIDUAL_AXES = ('batch', 'stream_time', 'act_embed')
"""Logical axes of the residual stream, BTD."""

EMBED_AXES = ('read_batch', 'read_time', 'embed')
"""Those of rows as they are read from tables, BTD: cut in width as the tables are, and
like the stream along the mesh axes that this leaves."""


@dataclasses.dataclass(frozen=True, eq=False)
class ShardingRules:
  """Where each logical axis lives on one mesh."""

  mesh: Mesh
  mesh_axes: dict[str, str | tuple[str, ...] | None]
  """Logical axis -> the mesh axes it is sharded over; absent or None: replicated."""

  def spec(self, names):
    """Returns the PartitionSpec of an array whose dimensions have logical `names`."""
    spec = [self.mesh_axes.get(name) for name in names]
    used = [axis for part in spec if part for axis in _as_tuple(part)]
    if len(used) != len(set(used)):
      placed = {name: part for name, part in zip(names, spec, strict=True) if part}
      raise ConfigError(
        f'parallel.overrides: {placed} cut two dimensions of one array along the same'
        ' mesh axis; give one of them None.'
      )
    return PartitionSpec(*spec)

  def sharding(self, names=()):
    """Returns the NamedSharding of an array with logical `names`; () replicates."""
    return NamedSharding(self.mesh, self.spec(names))

  def constrain(self, x, *names):
    """Returns `x` pinned to where its logical axes live; a hint only XLA sees."""
    assert len(names) == x.ndim, (names, x.shape)
    return jax.lax.with_sharding_constraint(x, self.sharding(names))

  @property
  def spans_slices(self):
    """Whether the devices lie in several TPU slices, which a slower network joins."""
    return len(slices_of(self.mesh.devices.flat)) > 1

  def mesh_axes_of(self, name):
    """Returns the mesh axes of one logical axis as a tuple."""
    return _as_tuple(self.mesh_axes.get(name) or ())

  def num_shards(self, name):
    """Returns into how many parts the logical axis `name` is cut."""
    return math.prod(self.mesh.shape[axis] for axis in self.mesh_axes_of(name))

  def check(self, array_name, shape, names):
    """Raises ConfigError when a dimension does not divide over its mesh axes."""
    for size, name in zip(shape, names, strict=True):
      shards = self.num_shards(name)
      if size % shards:
        raise ConfigError(
          f'{array_name}: its {name!r} dimension of {size} does not divide over'
          f' {shards} devices ({self.mesh_axes[name]!r}); change parallel.mesh so that they'
          f' are one of {_divisors(size, 4 * shards)}, or keep the axis whole with'
          f' parallel.overrides.{name}=None.'
        )


def _divisors(size, largest):
  """Returns the divisors of `size` up to `largest`, as text."""
  found = [n for n in range(1, min(size, largest) + 1) if size % n == 0]
  return ', '.join(map(str, found))


def _as_tuple(axes):
  return (axes,) if isinstance(axes, str) else axes


def make_sharding_rules(parallel, mesh):
  """Returns the ShardingRules of a ParallelConfig on `mesh`."""
  preset = lookup(PRESETS, parallel.preset, 'parallel.preset')
  rules = ShardingRules(mesh, preset | parallel.overrides)
  by_width = rules.mesh_axes_of('embed')
  for read, name in (('read_batch', 'batch'), ('read_time', 'stream_time')):
    axes = rules.mesh_axes_of(name)
    rules.mesh_axes[read] = tuple(axis for axis in axes if axis not in by_width)
  return rules


def constrain(rules, x, *names):
  """Returns `x` pinned by `rules`; as it is where they are None, on one device."""
  return x if rules is None else rules.constrain(x, *names)
