"""What one collective instruction sends: its kind, its group and its bytes."""

import dataclasses

from gpt_jax.hlo import parser
from gpt_jax.hlo.types import BETWEEN_SLICES, GATHER_BY_SUM, Collective


def read(kind, instruction, computation, module, asynchronous):
  """Returns [Collective] of an instruction of `kind`; two for a sum that also gathers.

  XLA:TPU may write a gather as part of an all-reduce: each device writes its shard into
  zeros, and the sum of those is the full array, at twice a gather's bytes.
  """
  group = parser.replica_group(instruction, module.num_partitions)
  operands = [computation.instructions[name] for name in instruction.operands]
  if kind == 'collective-permute':
    operands = operands[:1]  # the others are destinations
  parts = {kind: operands}
  if kind == 'all-reduce':
    shards = [
      each for each in operands if _is_shard(each, len(group), computation, module)
    ]
    sums = [each for each in operands if each not in shards]
    parts = {GATHER_BY_SUM: shards, kind: sums}
  overlap = None if asynchronous else ()  # known once its end is found
  return [
    Collective(part, group, asynchronous, 1, _payload(part, arrays, group), overlap)
    for part, arrays in parts.items()
    if arrays
  ]


def between_slices(recv):
  """Returns [Collective] of a recv from the host, which has it from other slices."""
  received = parser.arrays(recv.type)[0]  # the others are its handles
  size = parser.array_bytes(*received)
  return [Collective(BETWEEN_SLICES, (), True, 1, size, None)]


def as_reduce_scatter(collective):
  """Returns an all-reduce of which each device keeps one slice as a reduce-scatter."""
  is_reduction = collective.kind == 'all-reduce'
  return dataclasses.replace(
    collective, kind='reduce-scatter' if is_reduction else collective.kind
  )


def _payload(kind, operands, group):
  payload = sum(parser.num_bytes(operand.type) for operand in operands)
  return payload * len(group) if kind == 'all-gather' else payload


def _is_shard(value, num_devices, computation, module):
  # That is, a constant array with the device's shard written in.
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
