"""What a compiled program is made of, for its costs: ops, kernels, collectives."""

import dataclasses

COLLECTIVES = (
  'all-gather', 'all-reduce', 'reduce-scatter', 'all-to-all', 'ragged-all-to-all',
  'collective-permute', 'collective-broadcast',
)  # fmt: skip

BETWEEN_SLICES = 'slice-exchange'
"""What XLA:TPU makes of the part of a collective that leaves the slice: a send to the
host and a recv from it; the hosts sum up or concatenate meanwhile."""

GATHER_BY_SUM = 'all-gather by sum'
"""A gather that XLA:TPU writes as an all-reduce of shards in arrays of zeros."""

MATMUL, KERNEL = 'matmul', 'kernel'
ELEMENTWISE, DATA_MOVEMENT = 'elementwise', 'data movement'
"""Classes of ops: matmuls with what is fused to them; Pallas kernels; other arithmetic
and reductions; copies, slices and changes of layout."""


@dataclasses.dataclass(frozen=True)
class Kernel:
  name: str
  op_name: str  # its path in the model
  operands: tuple[tuple[str, tuple[int, ...]], ...]  # (dtype, dimensions) of each
  results: tuple[tuple[str, tuple[int, ...]], ...]
  metadata: str  # JSON by the kernel's author, quoted as in the text
  declared_flops: int
  hbm_bytes: int  # of operands and results, each once


@dataclasses.dataclass(frozen=True)
class Op:
  """One instruction that takes time, as one iteration of its loops runs it."""

  name: str
  op_name: str
  kind: str  # MATMUL, KERNEL, ELEMENTWISE or DATA_MOVEMENT
  flops: int  # of matmuls, two per multiply-add; of kernels by a model
  cycles: int
  hbm_bytes: int
  kernel: Kernel | None = None


@dataclasses.dataclass(frozen=True)
class Collective:
  """All collectives of a program with one kind and group, synchronous or not."""

  kind: str
  group: tuple[int, ...]
  """The partitions that the first of them joins; () between slices."""
  asynchronous: bool  # whether XLA lets other instructions run meanwhile
  count: int
  payload_bytes: int
  """Size of the replicated array: what a gather returns, what a reduction takes."""
  overlapped_cycles: tuple[tuple[str, int], ...] | None = ()
  """Of the ops between start and end, by class; None: the end is elsewhere, such as in
  the next iteration of a loop."""

  @property
  def wire_bytes(self):
    """Returns what each device receives on a ring: (n - 1)/n of the payload.

    Twice that for an all-reduce: a reduce-scatter and a gather.
    """
    if self.kind in ('collective-permute', 'collective-broadcast', BETWEEN_SLICES):
      return float(self.payload_bytes)
    n = len(self.group)
    rounds = 2 if self.kind in ('all-reduce', GATHER_BY_SUM) else 1
    return rounds * self.payload_bytes * (n - 1) / n
