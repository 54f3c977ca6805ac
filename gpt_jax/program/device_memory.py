"""Whether the devices can hold the state of a run, before anything is allocated."""

import collections
import math
import os

import jax

from gpt_jax.core.errors import ConfigError

GIB = 1 << 30


def check_fits(abstract_state):
  """Raises ConfigError when parameters and optimizer state exceed a device's memory."""
  # Activations come on top: `gpt-jax plan` counts them.
  needed = bytes_by_device(abstract_state)
  # The virtual devices of a CPU share its memory.
  hosts = {device for device in needed if device.platform == 'cpu'}
  groups = [hosts] if hosts else [{device} for device in needed]
  for group in groups:
    wanted = sum(needed[device] for device in group)
    available = memory_of(next(iter(group)))
    if available and wanted > available:
      raise ConfigError(
        f'model.num_layers, model.d_model, model.d_ff, model.vocab_size: parameters and'
        f' optimizer state take {wanted / GIB:,.1f} GiB on {min(group, key=str)}, which'
        f' has {available / GIB:,.1f} GiB; make the model smaller, or shard it over'
        ' more devices (parallel.mesh). gpt-jax plan says what fits where.'
      )


def bytes_by_device(abstract):
  """Returns `{device of this process: bytes}` of abstract arrays with shardings."""
  totals = collections.Counter()
  for leaf in jax.tree_util.tree_leaves(abstract):
    if leaf.sharding is None:
      continue
    size = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for device in leaf.sharding.addressable_devices:
      totals[device] += size
  return totals


def memory_of(device):
  """Returns the bytes that `device` can hold; None where that is unknown."""
  stats = device.memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  if device.platform != 'cpu':
    return None
  try:
    return os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
  except (ValueError, OSError):
    return None
