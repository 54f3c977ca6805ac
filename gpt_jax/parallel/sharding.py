"""Which mesh axes shard which dimension: logical axis names, and presets for them."""

import dataclasses
import math

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gpt_jax.core.errors import ConfigError
from gpt_jax.core.registry import lookup
from gpt_jax.parallel.mesh import slices_of

_BATCH = {'batch': ('data', 'fsdp')}
# Scales and biases of the width ('embed_vector') stay replicated: gathering a few KiB
# is pure latency, and XLA:TPU does it by an all-reduce of zero-padded shards that
# everything waits for.
_FSDP = _BATCH | {'embed': 'fsdp'}
_TENSOR = {
  'vocab': 'tensor', 'heads': 'tensor', 'kv_heads': 'tensor', 'mlp': 'tensor',
  'act_heads': 'tensor', 'act_kv_heads': 'tensor', 'act_mlp': 'tensor',
  'act_vocab': 'tensor',
  # Sequence parallelism: between matmuls the residual stream is sharded in time, so
  # that norms are not repeated on each device. arXiv:2205.05198, section 4.
  'stream_time': 'tensor',
}  # fmt: skip

PRESETS = {
  # Data parallelism: parameters replicated, the batch sharded.
  'replicated': _BATCH,
  # Parameters and optimizer state sharded along the width. ZeRO-3, arXiv:1910.02054.
  'fsdp': _FSDP,
  # Heads, MLP and vocabulary sharded too. Megatron-LM, arXiv:1909.08053.
  'fsdp_tensor': _FSDP | _TENSOR,
  # Time sharded too: context parallelism, for the activations of long sequences.
  'sequence': _FSDP
  | _TENSOR
  | {'time': 'sequence', 'stream_time': ('sequence', 'tensor')},
}

# Letter of a kernel's dimension -> logical axis.
PARAMETER_AXES = {
  'D': 'embed', 'F': 'mlp', 'H': 'heads', 'G': 'kv_heads', 'K': 'head_dim',
}  # fmt: skip

# Those of activations inside a layer.
ACTIVATION_AXES = {
  'B': 'batch', 'T': 'time', 'F': 'act_mlp', 'H': 'act_heads', 'G': 'act_kv_heads',
  'K': 'head_dim',
}  # fmt: skip

# The residual stream, BTD: between layers time is sharded further.
RESIDUAL_AXES = ('batch', 'stream_time', 'act_embed')

# Rows just read from an embedding, BTD: sharded in width as the embedding is, and like
# the stream along the mesh axes that this leaves.
EMBED_AXES = ('read_batch', 'read_time', 'embed')


def parameter_axes(letters):
  """Returns the logical axes of a kernel, such as 'DHK'."""
  return tuple(PARAMETER_AXES[letter] for letter in letters)


def activation_axes(letters):
  """Returns the logical axes of an activation, such as 'BHTK' or the stream, 'BTD'."""
  if letters == 'BTD':
    return RESIDUAL_AXES
  return tuple(ACTIVATION_AXES[letter] for letter in letters)


@dataclasses.dataclass(frozen=True, eq=False)
class ShardingRules:
  """Where each logical axis lives on one mesh."""

  mesh: Mesh
  # Logical axis -> the mesh axes it is sharded over; absent or None: replicated.
  mesh_axes: dict[str, str | tuple[str, ...] | None]

  def spec(self, names):
    """Returns the PartitionSpec of an array whose dimensions have logical `names`."""
    spec = [self.mesh_axes.get(name) for name in names]
    used = [axis for part in spec if part for axis in _as_tuple(part)]
    if len(used) != len(set(used)):
      placed = {name: part for name, part in zip(names, spec, strict=True) if part}
      raise ConfigError(
        f'parallel.overrides: {placed} shard two dimensions of one array over the same'
        ' mesh axis; give one of them None.'
      )
    return PartitionSpec(*spec)

  def sharding(self, names=()):
    """Returns the NamedSharding of an array with logical `names`; () replicates."""
    return NamedSharding(self.mesh, self.spec(names))

  def constrain(self, x, *names):
    """Returns `x` with a sharding constraint by its logical axes."""
    assert len(names) == x.ndim, (names, x.shape)
    return jax.lax.with_sharding_constraint(x, self.sharding(names))

  @property
  def spans_slices(self):
    """Whether the devices lie in several TPU slices, joined by a slower network."""
    return len(slices_of(self.mesh.devices.flat)) > 1

  def mesh_axes_of(self, name):
    """Returns the mesh axes of one logical axis as a tuple."""
    return _as_tuple(self.mesh_axes.get(name) or ())

  def num_shards(self, name):
    """Returns into how many shards the logical axis `name` is divided."""
    return math.prod(self.mesh.shape[axis] for axis in self.mesh_axes_of(name))

  def check(self, array_name, shape, names):
    """Raises ConfigError when a dimension does not divide over its mesh axes."""
    for size, name in zip(shape, names, strict=True):
      shards = self.num_shards(name)
      if size % shards:
        raise ConfigError(
          f'{array_name}: its {name!r} dimension of {size} does not divide over'
          f' {shards} devices ({self.mesh_axes[name]!r}); change parallel.mesh so that'
          f' they are one of {_divisors(size, 4 * shards)}, or replicate the dimension'
          f' with parallel.overrides.{name}=None.'
        )


def _divisors(size, largest):
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
  """Returns `x` constrained by `rules`, or unchanged where they are None."""
  return x if rules is None else rules.constrain(x, *names)
