"""Whether the arrays of a checkpoint fit into memory, checked before they are read."""

import collections
import math

from gpt_jax.core import pytree
from gpt_jax.core.errors import CheckpointError
from gpt_jax.parallel import free_memory


def require_fit(abstract_items, source):
  """Raises CheckpointError naming the largest arrays when a device lacks the memory.

  Leaves are ShapeDtypeStructs with their sharding; `source` is for the message.
  """
  # A file of some kilobytes can declare an array of any size: zeros compress well.
  need = collections.Counter()
  sizes = {}
  for item, tree in abstract_items.items():
    for name, leaf in pytree.named_leaves(tree):
      shard = leaf.sharding.shard_shape(leaf.shape)
      sizes[f'{item}/{name}'] = math.prod(leaf.shape) * leaf.dtype.itemsize
      for device in leaf.sharding.addressable_devices:
        need[device] += math.prod(shard) * leaf.dtype.itemsize
  on_host = sum(n for device, n in need.items() if device.platform == 'cpu')
  checks = [(on_host, free_memory.host_bytes(), 'this machine')]
  for device, wanted in need.items():
    if device.platform != 'cpu':
      checks.append((wanted, free_memory.free_on(device), str(device)))
  for wanted, free, place in checks:
    if free is not None and wanted > free:  # unknown: passes
      largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
      listed = ', '.join(f'{name} {sizes[name] / 1e9:.3g} GB' for name in largest)
      raise CheckpointError(
        f'{source} declares arrays of {wanted / 1e9:.3g} GB for {place}, which has'
        f' {free / 1e9:.3g} GB free; the largest: {listed}. Nothing was read. Use more'
        ' devices, or check where this checkpoint comes from.'
      )


def refuse_large_chunks(saved, source):
  """Raises CheckpointError for an array of `saved` (metadata) with larger chunks."""
  # A chunk is decompressed whole: it could need any amount of memory.
  for name, leaf in pytree.named_leaves(saved):
    storage = getattr(leaf, 'storage', None)
    chunk = (storage and storage.chunk_shape) or ()
    if math.prod(chunk) > max(1, math.prod(leaf.shape)):
      raise CheckpointError(
        f'{source}: {name} has the shape {list(leaf.shape)} and declares chunks of'
        f' {list(chunk)}; expected chunks inside the array. Nothing was read. This'
        ' checkpoint was not written by gpt-jax: do not use it.'
      )
