"""Whether the devices can hold the state of a run, before anything is allocated."""

import collections

import jax

from gpt_jax.core import pytree
from gpt_jax.core.errors import ConfigError
from gpt_jax.parallel import free_memory


def check_fits(abstract, what='parameters and optimizer state'):
  """Raises ConfigError when these arrays exceed the free memory of a device."""
  # Activations come on top: `step_memory.check` counts them, once the step is compiled.
  needed = bytes_by_device(abstract)
  # The virtual devices of a CPU share its memory.
  hosts = {device for device in needed if device.platform == 'cpu'}
  groups = [hosts] if hosts else [{device} for device in needed]
  for group in groups:
    wanted = sum(needed[device] for device in group)
    free = free_memory.free_on(next(iter(group)))
    if free is not None and wanted > free:
      raise ConfigError(
        f'out of memory: model.num_layers, model.d_model, model.d_ff, model.vocab_size:'
        f' {what} take {free_memory.gib(wanted)} on {min(group, key=str)}, where'
        f' {free_memory.gib(free)} are free; make the model smaller, or shard it over'
        ' more devices (parallel.mesh). gpt-jax plan says what fits where.'
      )


def bytes_by_device(abstract):
  """Returns `{device of this process: bytes}` of abstract arrays with shardings."""
  totals = collections.Counter()
  for leaf in jax.tree_util.tree_leaves(abstract):
    if leaf.sharding is None:
      continue
    size = pytree.array_bytes(leaf.sharding.shard_shape(leaf.shape), leaf.dtype)
    for device in leaf.sharding.addressable_devices:
      totals[device] += size
  return totals
