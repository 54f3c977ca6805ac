"""Where weights, caches and rows lie while a model on several devices decodes."""

import dataclasses

import jax
from jax.sharding import NamedSharding, PartitionSpec

# Parameter dimension -> (its size in a ModelConfig, the activation beside it).
_SIZES = {
  'embed': ('d_model', 'act_embed'),
  'vocab': ('vocab_size', 'act_vocab'),
  'heads': ('num_heads', 'act_heads'),
  'kv_heads': ('num_kv_heads', 'act_kv_heads'),
  'mlp': ('d_ff', 'act_mlp'),
}


def decoding_rules(rules, cfg):
  """Returns the ShardingRules by which a model of ModelConfig `cfg` decodes.

  Made from those of training. Weights stay where they are and the activations of a few
  tokens travel (weight-stationary: arXiv:2211.05102, section 3.2), so a mesh axis that
  shards weights shards no rows; time is not sharded. A dimension that does not divide
  over its axes is replicated: a run decodes on meshes that could not train it.
  """
  axes = dict(rules.mesh_axes)
  for name, (field, activation) in _SIZES.items():
    if getattr(cfg, field) % rules.num_shards(name):
      axes[name] = axes[activation] = None
  stationary = set()
  for name in (*_SIZES, 'head_dim', 'position'):
    stationary |= set(dataclasses.replace(rules, mesh_axes=axes).mesh_axes_of(name))
  rows = tuple(a for a in rules.mesh_axes_of('batch') if a not in stationary)
  axes |= {
    'batch': rows,
    'read_batch': rows,
    'act_embed': axes.get('embed'),
    'time': None,
    'stream_time': None,
    'read_time': None,
  }
  return dataclasses.replace(rules, mesh_axes=axes)


def loop_options():
  """Returns the compiler options of programs that decode in a loop."""
  # XLA:CPU would convert all bfloat16 weights before the loop, and read them as float32
  # for each token.
  if jax.default_backend() != 'cpu':
    return None
  return {'xla_disable_hlo_passes': 'while-loop-invariant-code-motion'}


def preparation(cfg, params, adapter=None):
  """Returns the settings of `decode.prepare_params` for a model's parameters."""
  is_on_one_cpu = jax.default_backend() == 'cpu' and replicated(params) is None
  # XLA:CPU reads bfloat16 matrices fast in one of the two directions
  # (`core.matmul_cpu`). A copy is worth its memory where it is read for each token.
  transposes_head = (
    is_on_one_cpu
    and cfg.dtype == 'bfloat16'
    and cfg.tie_embeddings
    and not cfg.quantized_embedding
    and cfg.head != 'none'
  )
  # An adapter changes maps one by one, and rounded kernels are rounded by themselves.
  joins = is_on_one_cpu and adapter is None and cfg.fake_quantization == 'none'
  return dict(dtype=cfg.dtype, transposes_head=transposes_head, joins=joins)


def shards_weights(rules):
  """Returns whether any weight is divided over devices by `rules`."""
  return any(rules.num_shards(name) > 1 for name in _SIZES)


def unstacked_shardings(params):
  """Returns the sharding of each leaf of `stacking.unstack(params)`.

  None on one device. A layer cut out of a stack lies as the stack does.
  """
  if replicated(params) is None:
    return None
  shardings = jax.tree.map(lambda leaf: leaf.sharding, params)
  if 'layers' not in params:
    return shardings
  stacked, rest = (
    params['layers'],
    {k: v for k, v in shardings.items() if k != 'layers'},
  )

  def of_one_layer(leaf):
    return NamedSharding(leaf.sharding.mesh, PartitionSpec(*leaf.sharding.spec[1:]))

  for i in range(jax.tree.leaves(stacked)[0].shape[0]):
    rest[f'layers_{i}'] = jax.tree.map(of_one_layer, stacked)
  return rest


def replicated(params):
  """Returns the replicated sharding on the devices of `params`, None on one device."""
  sharding = jax.tree.leaves(params)[0].sharding
  if isinstance(sharding, NamedSharding) and sharding.mesh.size > 1:
    return NamedSharding(sharding.mesh, PartitionSpec())
  return None


def committed(tree):
  """Returns arrays that are bound to their devices, as those of a checkpoint are.

  Programs are compiled once for such arrays and once for others: of a state that is
  first the one and then the other, each would be compiled twice.
  """
  return jax.tree.map(lambda leaf: jax.device_put(leaf, leaf.sharding), tree)


def describe(rules, params):
  """Returns a line about how much of `params` each device holds."""
  held, total = {}, 0
  for leaf in jax.tree.leaves(params):
    total += leaf.nbytes
    for shard in leaf.addressable_shards:
      held[shard.device] = held.get(shard.device, 0) + shard.data.nbytes
  axes = {axis: size for axis, size in rules.mesh.shape.items() if size > 1}
  shown = ', '.join(f'{axis}={size}' for axis, size in axes.items())
  return (
    f'{max(held.values()) / 2**20:,.1f} MiB of {total / 2**20:,.1f} MiB of parameters'
    f' on each of {rules.mesh.size} devices ({shown})'
  )
