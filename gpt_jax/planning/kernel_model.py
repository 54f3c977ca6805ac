"""How long attention kernels take on a TPU: a model, since XLA gives them no cycles.

Splash attention visits the pairs of query and key blocks that the mask allows. For each
pair it does two matmuls (forward), three (dq), four (dkv) or five (all gradients in one
kernel), whose width or depth is the head dimension, padded to the lanes of the matrix
unit; and for each score vector work: exponentials, maxima, masks. The two are added; a
kernel takes that, or the time of its bytes if it is longer.
"""

import dataclasses
import json
import math
import re

_LANES = 1024
_HEAD_DIM_MINOR = 1  # in the kernel's metadata; 2 has the sequence innermost


@dataclasses.dataclass(frozen=True)
class Phase:
  matmuls: int
  vector_cycles: float  # per 1024 scores
  blocks: tuple[str, str]
  """Names of the block sizes of queries and keys in the kernel's metadata."""
  streams_queries: (
    bool  # for each block of keys; else keys and values for each of queries
  )


# Vector cycles are fitted to an estimate, not to a measurement: 12 layers of 12 heads
# of 64, 8 rows of 1024 tokens on a v5e take 3.7 ms forward, 9.3 ms with all gradients
# in one kernel, 13.0 ms in two.
PHASES = {
  'forward': Phase(2, 2.3, ('block_q', 'block_kv'), False),
  'dq': Phase(3, 3.8, ('block_q_dq', 'block_kv_dq'), False),
  'dkv': Phase(4, 4.3, ('block_q_dkv', 'block_kv_dkv'), True),
  'all gradients': Phase(5, 5.8, ('block_q_dkv', 'block_kv_dkv'), True),
}


@dataclasses.dataclass(frozen=True)
class Work:
  phase: str
  seconds: float
  flops: int  # of its matmuls, unpadded, in the blocks that the mask allows


def work(kernel, chip, *, causal, window_of=lambda op_name: None):
  """Returns the Work of an hlo.types.Kernel on a chips.TPU; None: no splash attention.

  `window_of`: op_name -> how many keys back the layer sees; None: all.
  """
  found = re.match(r'splash_m[hq]a_(fwd|dq|dkv)', kernel.name)
  arrays = [dims for dtype, dims in kernel.operands if 'f' in dtype and len(dims) >= 3]
  if not found or len(arrays) < 3 or not kernel.metadata:
    return None
  settings = json.loads(json.loads(f'"{kernel.metadata}"'))
  (num_queries, width), (num_keys, _) = (
    _sequence_last(dims, settings.get(layout, _HEAD_DIM_MINOR))
    for dims, layout in zip(arrays, ('q_layout', 'k_layout'), strict=False)
  )
  name = _phase(found.group(1), kernel, arrays[0])
  phase = PHASES[name]
  block_q, block_k = (settings[size] for size in phase.blocks)
  # Rows sharded over devices are a share of all: causal work is balanced.
  visible = visible_blocks(
    max(num_queries, num_keys), num_keys, block_q, block_k,
    causal=causal, window=window_of(kernel.op_name),
  ) * min(1.0, num_queries / num_keys)  # fmt: skip
  heads = math.prod(arrays[0][:-2])
  scores = heads * visible * block_q * block_k
  padded = -(-width // chip.matrix_lanes) * chip.matrix_lanes
  flops = phase.matmuls * 2 * scores
  streamed = heads * visible * 2 * padded * 2  # two arrays of 16 bits
  streamed *= block_q if phase.streams_queries else block_k
  compute = flops * padded / chip.peak_flops
  compute += phase.vector_cycles * scores / _LANES / chip.cores / chip.clock_hz
  memory = (kernel.hbm_bytes + streamed) / chip.hbm_bandwidth
  return Work(name, max(compute, memory), int(flops * width))


def visible_blocks(num_queries, num_keys, block_q, block_k, *, causal, window):
  """Returns how many pairs of blocks have a query that sees one of the keys."""
  total = 0
  for first in range(0, num_queries, block_q):
    last = min(first + block_q, num_queries) - 1
    low = 0 if window is None else max(0, first - window + 1)
    high = last if causal else num_keys - 1
    if window is not None and not causal:
      high = min(high, last + window - 1)
    total += min(high, num_keys - 1) // block_k - low // block_k + 1
  return total


def _sequence_last(dims, layout):
  return dims[-2:] if layout == _HEAD_DIM_MINOR else dims[:-3:-1]


def _phase(name, kernel, queries):
  if name == 'fwd':
    return 'forward'
  # The kernel with all gradients returns dq once for each block of keys.
  has_all = any(len(dims) > len(queries) for _, dims in kernel.results)
  return 'all gradients' if name == 'dkv' and has_all else name
