"""What one collective instruction moves: its kind, its group and its bytes."""

import dataclasses

from gpt_jax.hlo import parser
from gpt_jax.hlo.types import BETWEEN_SLICES, GATHER_BY_SUM, Collective

_GATHERED = ('all-gather',)  # the payload is what comes out; elsewhere what goes in


def read(kind, instruction, computation, module, asynchronous):
  """Returns [Collective] of an instruction; two for a sum that also gathers.

  XLA:TPU may write gathers as part of an all-reduce: each device writes its shard into
  zeros, and the sum of those is the whole array, at twice a gather's bytes.

  Args:
    kind: one of hlo_records.COLLECTIVES.
    module: that of the computation.
  """
  group = parser.replica_group(instruction, module.num_partitions)
  operands = [computation.instructions[name] for name in instruction.operands]
  if kind == 'collective-permute':
    operands = operands[:1]  # the others say where it goes
  parts = {kind: operands}
  if kind == 'all-reduce':
    shards = [
      each for each in operands if _is_shard(each, len(group), computation, module)
    ]
    sums = [each for each in operands if each not in shards]
    parts = {GATHER_BY_SUM: shards, kind: sums}
  window = None if asynchronous else ()
  return [
    Collective(part, group, asynchronous, 1, _payload(part, arrays, group), window)
    for part, arrays in parts.items()
    if arrays
  ]


def from_host(recv):
  """Returns [Collective] of what a recv brings from other slices."""
  arrived = parser.arrays(recv.type)[0]  # the others are its handles
  size = parser.array_bytes(*arrived)
  return [Collective(BETWEEN_SLICES, (), True, 1, size, None)]


def as_scatter(collective):
  """Returns an all-reduce, of which one slice is kept, as the scatter that it is."""
  is_reduction = collective.kind == 'all-reduce'
  return dataclasses.replace(
    collective, kind='reduce-scatter' if is_reduction else collective.kind
  )


def _payload(kind, operands, group):
  payload = sum(parser.num_bytes(operand.type) for operand in operands)
  return payload * len(group) if kind in _GATHERED else payload


def _is_shard(value, num_devices, computation, module):
  """Returns whether `value` is one number all over but for a device's share of it."""
  fusion = value if value.opcode == 'fusion' else None
  inner = module.computations[value.called] if fusion else computation
  update = inner.root if fusion else value
  if update.opcode != 'dynamic-update-slice':
    return False
  base, shard = (inner.instructions[name] for name in update.operands[:2])
  if fusion and base.opcode == 'parameter':
    base = computation.instructions[fusion.operands[int(base.literal)]]
  sizes = [parser.num_bytes(each.type) for each in (update, shard)]
  return base.opcode == 'broadcast' and sizes[0] == sizes[1] * num_devices
