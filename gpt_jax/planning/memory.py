"""What a step needs of a device: memory by class and buffer, and what is too much."""

import math
import re

import jax

GIB = 2**30
_UNITS = {'K': 2**-20, 'M': 2**-10, 'G': 1.0, 'T': 2**10}  # in GiB
LARGEST = 10


def of_arguments(state, batch):
  """Returns {class: GiB on a device} of a train state and a batch, by shape."""
  return dict(
    parameters=_gib_per_device(state.params),
    optimizer=_gib_per_device(state.opt_state),
    average=_gib_per_device(state.ema),
    batch=_gib_per_device(batch),
  )


def of_temporaries(compiled, usage):
  """Returns {class: GiB on a device} of what a compiled step has beside its arguments.

  The sum is XLA's own figure. `activations` is what the forward pass leaves for the
  backward pass, by the schedule (hlo_buffers.Usage); `temporaries` is the rest.
  """
  memory = compiled.memory_analysis()
  results = memory.output_size_in_bytes - memory.alias_size_in_bytes
  saved = min(usage.saved_bytes, memory.temp_size_in_bytes)
  return dict(
    activations=saved / GIB,
    temporaries=(memory.temp_size_in_bytes - saved) / GIB,
    results=max(0, results) / GIB,
    code=memory.generated_code_size_in_bytes / GIB,
  )


def largest(usage):
  """Returns the largest buffers of a step at its peak as dicts, arguments included."""
  saved = {(buffer.name, buffer.type) for buffer in usage.saved}
  found = [('argument', each) for each in usage.arguments] + [
    ('activation' if (each.name, each.type) in saved else 'temporary', each)
    for each in usage.at_peak
  ]
  found.sort(key=lambda pair: -pair[1].bytes)
  return tuple(
    dict(
      gib=buffer.bytes / GIB,
      type=buffer.type,
      kind=kind,
      origin=buffer.origin,
      source=buffer.source,
      instruction=buffer.name,
    )
    for kind, buffer in found[:LARGEST]
  )


def refusal(error):
  """Returns (GiB missing, GiB needed) where `error` says that memory is short.

  None for other errors; one of the two is None where the message does not tell it.
  """
  text = str(error)
  if 'RESOURCE_EXHAUSTED' not in text and 'Hbm' not in text:
    return None
  return shortage(text)


def shortage(message):
  """Returns (GiB missing, GiB needed) on a device, from XLA's refusal to compile.

  Either is None where the message does not tell. XLA gives up at the first sum that is
  too large, so both are lower bounds.
  """
  size = r'\(?(\d+(?:\.\d+)?)([KMGT])\)?'
  found = re.search(rf'[Uu]sed {size} of {size}', message) or re.search(
    rf'{size}[^.()]*exceeds[^.()]*{size}', message
  )
  if not found:
    return None, None
  needed, room = (float(found[i]) * _UNITS[found[i + 1]] for i in (1, 3))
  return needed - room, needed


def _gib_per_device(tree):
  """Returns what one device holds of a tree of sharded ShapeDtypeStructs."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  ) / GIB  # fmt: skip
